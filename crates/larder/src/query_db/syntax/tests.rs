//! What is read is what was meant, and what is written is read again.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::query_db::{
    field,
    filter::{Filter, Test},
    query::Sort,
};

fn filter(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_test_can_be_written() {
    for (text, meant) in [
        ("a = 1", field("a").eq(1)),
        ("a==1", field("a").eq(1)),
        (r#"a <> "x""#, field("a").ne("x")),
        ("a != null", field("a").ne(Value::Null)),
        ("a<-1.5", field("a").lt(-1.5)),
        ("a<=1", field("a").le(1)),
        ("a>1", field("a").gt(1)),
        ("a>=1", field("a").ge(1)),
        ("a between 1 and 2", field("a").between(1, 2)),
        (r#"a BEGINS_WITH "x \" y""#, field("a").begins_with("x \" y")),
        (r#"a contains {"b":[1]}"#, field("a").contains(json!({ "b": [1] }))),
        ("a exists", field("a").exists()),
        ("a not exists", field("a").not_exists()),
        ("not a exists", !field("a").exists()),
        (r#"a in (1,"x", [2])"#, field("a").is_in([json!(1), json!("x"), json!([2])])),
        ("a in ()", field("a").is_in(Vec::<Value>::new())),
        (r"a.b\.c = true", field(r"a.b\.c").eq(true)),
        (r#""in.a b" = 1"#, field("in.a b").eq(1)),
        ("größe=1", field("größe").eq(1)),
    ] {
        assert_eq!(filter(text), meant, "{text}");
    }
}

#[test]
fn not_binds_more_than_and_and_and_more_than_or() {
    let (a, b, c) = (|| field("a").exists(), || field("b").exists(), || field("c").exists());
    assert_eq!(filter("a exists or b exists and c exists"), a().or(b().and(c())));
    assert_eq!(filter("(a exists or b exists) and c exists"), a().or(b()).and(c()));
    assert_eq!(filter("not a exists and b exists"), (!a()).and(b()));
    assert_eq!(filter("not (a exists and b exists)"), !(a().and(b())));
    assert_eq!(filter("a between 1 and 2 and b exists"), field("a").between(1, 2).and(b()));
    assert_eq!(filter("true or false"), Filter::Or(vec![Filter::And(vec![]), Filter::Or(vec![])]));
}

#[test]
fn an_error_names_the_column() {
    for (text, column, reason) in [
        ("", 1, "a field should be here, not the end"),
        ("a", 2, "a test ("),
        ("a = ", 5, "a JSON value should be here, not the end"),
        ("a = open", 5, "`open` is not a JSON value; text is in double quotes"),
        ("ä = \"open", 10, "not a JSON value: EOF"),
        ("a = 01", 6, "not a JSON value: invalid number"),
        ("a = {\"b\" 1}", 10, "not a JSON value: expected `:`"),
        ("a begins_with 5", 15, "a text in double quotes should be here, not `5`"),
        ("a between 1, 2", 12, "`and` should be here, not `,`"),
        ("a in 1", 6, "`(` should be here, not `1`"),
        ("a in (1 2)", 9, "`,` or `)` should be here, not `2`"),
        ("(a = 1", 7, "`and`, `or` or `)` should be here, not the end"),
        ("a = 1)", 6, "the end should be here, not `)`"),
        ("a = 1 b = 2", 7, "the end should be here, not `b`"),
        ("a = 1 and", 10, "a field should be here, not the end"),
        ("and = 1", 1, "a field should be here, not `and`"),
        ("a..b = 1", 1, "has an empty name"),
        ("a not 1", 7, "`exists` should be here, not `1`"),
        ("a ~ 1", 3, "not `~`"),
    ] {
        let error = text.parse::<Filter>().expect_err(text);
        let told = error.to_string();
        assert!(told.contains(&format!("at column {column}: ")) && told.contains(reason), "{text}: {told}");
        let crate::ErrorKind::InvalidArgument { field: "filter", .. } = error.kind() else {
            panic!("{error:?}")
        };
        assert!(error.context().contains(&("column", column.to_string())), "{error:?}");
    }
    let deep = format!("{}a = 1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(deep.parse::<Filter>().is_err());
    assert!(format!("{}a = 1", "not ".repeat(100_000)).parse::<Filter>().is_err());
}

#[test]
fn sort_conditions() {
    for (text, meant) in [
        (r#"= "a""#, Sort::eq("a")),
        ("sub < 1", Sort::lt(1)),
        ("sort<=1", Sort::le(1)),
        ("> 9007199254740993", Sort::gt(9_007_199_254_740_993_i64)),
        (">= -0.5", Sort::ge(-0.5)),
        (r#"SUB between "a" AND "b""#, Sort::between("a", "b")),
        (r#"begins_with """#, Sort::begins_with("")),
    ] {
        let read: Sort = text.parse().unwrap();
        assert_eq!(read, meant, "{text}");
        assert_eq!(read.to_string().parse::<Sort>().unwrap(), meant, "{read}");
    }
    for (text, column) in
        [("", 1), ("day = 1", 1), ("= null", 3), ("<> 1", 2), ("begins_with 1", 13), ("= 1 2", 5)]
    {
        let error = text.parse::<Sort>().expect_err(text);
        assert!(error.to_string().contains(&format!("at column {column}: ")), "{text}: {error}");
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn paths() -> impl Strategy<Value = String> {
    let name = prop_oneof!["[a-c]", "and|NOT|in|true|exists|between", "[^.\\\\]{1,6}"];
    prop::collection::vec(name, 1..3).prop_map(|names| names.join("."))
}

fn conditions() -> impl Strategy<Value = Filter> {
    let test = prop_oneof![
        values().prop_map(Test::Eq),
        values().prop_map(Test::Ne),
        values().prop_map(Test::Lt),
        values().prop_map(Test::Le),
        values().prop_map(Test::Gt),
        values().prop_map(Test::Ge),
        (values(), values()).prop_map(|(from, to)| Test::Between(from, to)),
        any::<String>().prop_map(Test::BeginsWith),
        values().prop_map(Test::Contains),
        Just(Test::Exists),
        Just(Test::NotExists),
        prop::collection::vec(values(), 0..3).prop_map(Test::In),
    ];
    (paths(), test).prop_map(|(path, test)| Filter::Field { path, test })
}

/// Every filter but those that join a single one, which are the same as that one.
fn filters() -> impl Strategy<Value = Filter> {
    let joined = |filters: Vec<Filter>, join: fn(Vec<Filter>) -> Filter| {
        if filters.len() == 1 { filters[0].clone() } else { join(filters) }
    };
    conditions().prop_recursive(4, 24, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(move |filters| joined(filters, Filter::And)),
            prop::collection::vec(inner.clone(), 0..4).prop_map(move |filters| joined(filters, Filter::Or)),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(filter in filters()) {
        prop_assert_eq!(filter.to_string().parse::<Filter>().map_err(|error| error.to_string()), Ok(filter));
    }

    #[test]
    fn no_text_does_worse_than_an_error(text in any::<String>(), cut in "[a-c<>=!(),\" 0-9.andotrib_ws\\[\\]{}]{0,24}") {
        for text in [text, cut] {
            if let Ok(filter) = text.parse::<Filter>() {
                prop_assert_eq!(filter.to_string().parse::<Filter>().map_err(|error| error.to_string()), Ok(filter));
            }
            drop(text.parse::<Sort>());
        }
    }
}
