//! Conditions, filters, order and counting: qd_10, qd_11, qd_15.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::{all_keys, defined, page_keys, raw};
use crate::{
    error::ErrorKind,
    query_db::{Filter, Index, ItemQuery, KeyField, KeyValue, QueryDb, QueryDbSpec, Sort, field},
    store::Store,
    testing::{
        fixture::Fixture,
        support::{CaseResult, Numbers, refused},
    },
};

/// Strings in the order of their UTF-8 bytes, which is not that of UTF-16.
const STRINGS: [&str; 12] =
    ["", " ", "10", "9", "A", "a", "a ", "ab", "é", "\u{ffee}", "\u{10000}", "\u{10ffff}"];

fn found(things: &QueryDb, query: &ItemQuery) -> crate::Result<Vec<String>> {
    let forwards = page_keys(&things.query(query).wait()?);
    let mut backwards = page_keys(&things.query(query).descending().wait()?);
    backwards.reverse();
    assert_eq!(forwards, backwards, "{query:?}");
    assert_eq!(things.count_items(query).wait()?, forwards.len() as u64, "{query:?}");
    Ok(forwards)
}

/// A QueryDb with numbers under one partition, and in an index.
fn numbers(store: &Store, numbers: &[&str]) -> crate::Result<QueryDb> {
    let by = Index::new("by", ["k"]).sort_by([KeyField::number("n")]);
    let things = defined(store, QueryDbSpec::new().sub_id_field(KeyField::number("n")).index(by))?;
    for n in numbers {
        things.save("p", &raw(&format!(r#"{{"k":"x","n":{n}}}"#))).wait()?;
    }
    Ok(things)
}

pub(in crate::testing) fn qd_10_every_sort_condition(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = numbers(&store, &["1", "2", "3", "2.5"])?;
    things.save("q", &raw(r#"{"k":"y","n":2}"#)).wait()?;
    for (sort, expected) in [
        (Sort::eq(2), &["p/2"][..]),
        (Sort::eq(4), &[]),
        (Sort::lt(2), &["p/1"]),
        (Sort::le(2), &["p/1", "p/2"]),
        (Sort::gt(2), &["p/2.5", "p/3"]),
        (Sort::ge(2), &["p/2", "p/2.5", "p/3"]),
        (Sort::between(2, 2.5), &["p/2", "p/2.5"]),
        (Sort::between(3, 2), &[]),
        (Sort::lt(-1e300), &[]),
    ] {
        assert_eq!(found(&things, &ItemQuery::key("p").sort(sort.clone()))?, expected, "{sort:?}");
        let index = ItemQuery::index("by", ["x"]).sort(sort.clone());
        assert_eq!(found(&things, &index)?, expected, "by index, {sort:?}");
    }
    assert_eq!(found(&things, &ItemQuery::key("none"))?, [""; 0]);
    Ok(())
}

pub(in crate::testing) fn qd_10_begins_with(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let by = Index::new("by", ["k"]).sort_by(["s"]);
    let things = defined(&store, QueryDbSpec::new().sub_id_field("s").index(by))?;
    let subs = ["", "a", "a%", "a_", "ab", "abc", "b", "\u{d7ff}", "\u{e000}", "\u{10ffff}", "\u{10ffff}x"];
    for s in subs {
        things.save("p", &json!({ "k": "x", "s": s })).wait()?;
    }
    for prefix in ["", "a", "ab", "a%", "a_", "abcd", "\u{d7ff}", "\u{10ffff}", "B", "*"] {
        let matching = subs.into_iter().filter(|sub| sub.starts_with(prefix));
        let expected: Vec<String> =
            matching.map(|sub| if sub.is_empty() { "p".to_owned() } else { format!("p/{sub}") }).collect();
        let sort = || Sort::begins_with(prefix);
        assert_eq!(found(&things, &ItemQuery::key("p").sort(sort()))?, expected, "{prefix:?}");
        assert_eq!(found(&things, &ItemQuery::index("by", ["x"]).sort(sort()))?, expected, "{prefix:?}");
    }
    Ok(())
}

pub(in crate::testing) fn qd_10_filters_look_at_any_field(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, QueryDbSpec::new().sub_id_field("s").index(Index::new("by", ["k"])))?;
    for (sub, n, tags) in [("1", 5, json!(["a"])), ("2", 15, json!(["b", "a"])), ("3", 25, json!("abc"))] {
        things.save("p", &json!({ "s": sub, "k": "x", "n": n, "o": { "tags": tags } })).wait()?;
    }
    things.save("p", &json!({ "s": "4", "k": "x" })).wait()?;
    for (filter, expected) in [
        (field("n").ge(15), &["p/2", "p/3"][..]),
        (field("n").between(5, 15).and(field("n").ne(5)), &["p/2"]),
        (field("o.tags").contains("a"), &["p/1", "p/2", "p/3"]),
        (field("o.tags").begins_with("ab").or(field("n").lt(10)), &["p/1", "p/3"]),
        (!field("n").exists(), &["p/4"]),
        (field("n").not_exists() & field("s").exists(), &["p/4"]),
        (field("n").is_in([json!(25), json!("5")]), &["p/3"]),
        (field("s").gt("2"), &["p/3", "p/4"]),
        (Filter::And(vec![]), &["p/1", "p/2", "p/3", "p/4"]),
        (Filter::Or(vec![]), &[]),
        (r#"n < 20 and not o.tags = ["a"]"#.parse()?, &["p/2"]),
    ] {
        let partition = ItemQuery::key("p").filter(filter.clone());
        assert_eq!(found(&things, &partition)?, expected, "{filter}");
        let index = ItemQuery::index("by", ["x"]).filter(filter.clone());
        assert_eq!(found(&things, &index)?, expected, "{filter}");
    }
    let both = ItemQuery::key("p").sort(Sort::le("2")).filter(field("n").gt(1)).filter(field("n").lt(10));
    assert_eq!(found(&things, &both)?, ["p/1"], "a second filter adds to the first");
    let page = things.query(ItemQuery::key("p").filter(field("n").ge(15))).limit(1).wait()?;
    assert_eq!(page_keys(&page), ["p/2"], "the limit counts what is returned");
    let rest =
        things.query(ItemQuery::key("p").filter(field("n").ge(15))).limit(1).after(page.next).wait()?;
    assert_eq!((page_keys(&rest), rest.next), (vec!["p/3".to_owned()], None));
    Ok(())
}

pub(in crate::testing) fn qd_10_bad_queries_are_refused(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let by = Index::new("by", ["a", "b"]).sort_by([KeyField::number("n")]);
    let things = defined(&store, QueryDbSpec::new().index(by).index(Index::new("plain", ["a"])))?;
    things.save("p", &raw(r#"{"a":"x","b":"y","n":1}"#)).wait()?;
    let ab = || ItemQuery::index("by", ["x", "y"]);
    let mixed: [KeyValue; 2] = ["x".into(), 1.into()];
    for (query, argument) in [
        (ItemQuery::index("none", ["x"]), "index"),
        (ItemQuery::index("not a name", ["x"]), "index"),
        (ItemQuery::index("by", ["x"]), "index key"),
        (ItemQuery::index("by", ["x", "y", "z"]), "index key"),
        (ItemQuery::index("by", mixed), "index key"),
        (ItemQuery::index("by", ["x", "a\u{0}"]), "index key"),
        (ab().sort(Sort::eq("1")), "sort"),
        (ab().sort(Sort::between(1, "2")), "sort"),
        (ab().sort(Sort::begins_with("1")), "sort"),
        (ab().sort(Sort::lt(f64::NAN)), "sort"),
        (ab().sort_prefix([1]).sort(Sort::eq(1)), "sort"),
        (ab().sort_prefix([1, 2]), "sort prefix"),
        (ab().sort_prefix(["1"]), "sort prefix"),
        (ItemQuery::index("plain", ["x"]).sort(Sort::eq("x")), "sort"),
        (ItemQuery::key("p").sort(Sort::eq(1)), "sort"),
        (ItemQuery::key("p").sort_prefix(["x"]), "sort prefix"),
        (ItemQuery::key(""), "partition key"),
        (ItemQuery::key("p").filter(field("a..b").eq(1)), "field"),
        (ItemQuery::key("p").filter(field("").exists()), "field"),
    ] {
        for result in [things.query(&query).wait().map(drop), things.count_items(&query).wait().map(drop)] {
            refused!(result, ErrorKind::InvalidArgument { field, .. } if *field == argument);
        }
    }
    let error =
        refused!(things.query(ItemQuery::index("none", ["x"])).wait(), ErrorKind::InvalidArgument { .. });
    let told = format!("{error} {:?}", error.hint());
    assert!(told.contains("by, plain"), "it names the indexes that there are: {told}");
    let deep = (0..40).fold(field("a").exists(), |filter, _| !filter);
    refused!(things.query(ItemQuery::key("p").filter(deep)).wait(), ErrorKind::TooLarge { .. });
    let wide = Filter::Or(vec![field("a").exists(); 257]);
    refused!(things.query(ItemQuery::key("p").filter(wide)).wait(), ErrorKind::TooLarge { .. });
    refused!(things.scan().limit(0).wait(), ErrorKind::InvalidArgument { field: "limit", .. });
    let unknown = store.query_db("Unknown")?;
    refused!(
        unknown.query(ItemQuery::index("by", ["x"])).wait(),
        ErrorKind::InvalidArgument { field: "index", .. }
    );
    assert_eq!(unknown.count_items(ItemQuery::key("p")).wait()?, 0);
    Ok(())
}

pub(in crate::testing) fn qd_10_a_page_looks_at_so_many_items(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, QueryDbSpec::new().sub_id_field(KeyField::number("n")))?;
    let item = |n: u32| ("p", json!({ "n": n }));
    things.save_batch((0..10_000).map(item)).wait()?;
    let last = ItemQuery::key("p").filter(field("n").ge(9_999));
    let page = things.query(&last).wait()?;
    assert_eq!((page_keys(&page), &page.next), (vec!["p/9999".to_owned()], &None), "10,000 are within it");

    things.save_batch([item(10_000)]).wait()?;
    let last = ItemQuery::key("p").filter(field("n").ge(10_000));
    let page = things.query(&last).limit(5).wait()?;
    assert_eq!(page.items, [], "it ends before it has found something");
    let all = things.query(&last).wait()?;
    assert_eq!((page_keys(&all), all.next), (vec!["p/10000".to_owned()], None), "all without a limit");
    assert_eq!(things.scan().wait()?.items.len(), 10_001);
    let page = things.query(&last).limit(5).after(page.next.ok_or("there is more")?).wait()?;
    assert_eq!((page_keys(&page), page.next), (vec!["p/10000".to_owned()], None));
    let page = things.query(&last).descending().limit(1).wait()?;
    assert_eq!(page_keys(&page), ["p/10000"]);
    assert_eq!(things.query(&last).each().wait_iter().count(), 1, "iterating goes on");
    assert_eq!(things.count_items(&last).wait()?, 1, "counting goes through everything");
    Ok(())
}

pub(in crate::testing) fn qd_11_numbers_are_ordered_as_numbers(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let written = [
        "10",
        "9",
        "-9223372036854775808",
        "9223372036854775807",
        "9223372036854775806",
        "9007199254740993",
        "9007199254740992",
        "9007199254740994.0",
        "-0.0",
        "5e-324",
        "0.1",
        "0.30000000000000004",
        "0.3",
        "31.245270191439438",
        "1e21",
        "-1.7976931348623157e308",
        "1.5",
    ];
    let things = numbers(&store, &written)?;
    let expected = [
        "p/-1.7976931348623157e+308",
        "p/-9223372036854775808",
        "p/0",
        "p/5e-324",
        "p/0.1",
        "p/0.3",
        "p/0.30000000000000004",
        "p/1.5",
        "p/9",
        "p/10",
        "p/31.245270191439438",
        "p/9007199254740992",
        "p/9007199254740993",
        "p/9007199254740994",
        "p/9223372036854775806",
        "p/9223372036854775807",
        "p/1e+21",
    ];
    assert_eq!(found(&things, &ItemQuery::key("p"))?, expected);
    assert_eq!(found(&things, &ItemQuery::index("by", ["x"]))?, expected);
    let one = |sort: Sort| found(&things, &ItemQuery::index("by", ["x"]).sort(sort));
    assert_eq!(one(Sort::eq(9_007_199_254_740_993_i64))?, ["p/9007199254740993"]);
    assert_eq!(one(Sort::eq(9_007_199_254_740_992.0))?, ["p/9007199254740992"], "by value");
    assert_eq!(one(Sort::eq(0.0))?, ["p/0"]);
    assert_eq!(one(Sort::eq(31.245_270_191_439_438))?, ["p/31.245270191439438"]);
    assert_eq!(one(Sort::gt(9_223_372_036_854_775_807_i64))?, ["p/1e+21"]);
    assert_eq!(one(Sort::lt(f64::from(i32::MIN)))?.len(), 2);
    Ok(())
}

pub(in crate::testing) fn qd_11_strings_are_ordered_by_bytes(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let by = Index::new("by", ["k"]).sort_by(["s"]);
    let things = defined(&store, QueryDbSpec::new().sub_id_field("s").index(by))?;
    for s in STRINGS.iter().rev() {
        things.save("p", &json!({ "k": "x", "s": s })).wait()?;
        if !s.is_empty() {
            things.save(*s, &json!({ "s": "" })).wait()?;
        }
    }
    let name = |s: &&str| if s.is_empty() { "p".to_owned() } else { format!("p/{s}") };
    let expected: Vec<String> = STRINGS.iter().map(name).collect();
    assert_eq!(found(&things, &ItemQuery::key("p"))?, expected);
    assert_eq!(found(&things, &ItemQuery::index("by", ["x"]))?, expected);
    for pair in STRINGS.windows(2) {
        let between = ItemQuery::index("by", ["x"]).sort(Sort::between(pair[0], pair[1]));
        assert_eq!(found(&things, &between)?.len(), 2, "{pair:?}");
    }
    let mut partitions = all_keys(&things)?;
    partitions.retain(|key| !key.starts_with('p'));
    assert_eq!(partitions, STRINGS[1..], "partitions too");
    Ok(())
}

pub(in crate::testing) fn qd_11_ties_are_broken_by_the_primary_key(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let by = Index::new("by", ["k"]).sort_by([KeyField::number("n")]);
    let things = defined(&store, QueryDbSpec::new().sub_id_field(KeyField::number("id")).index(by))?;
    for partition in ["b", "a", "\u{10000}", "\u{ffee}", "ab"] {
        for id in [10, 9, -1] {
            let n = if id == 9 { json!(1.0) } else { json!(1) };
            things.save(partition, &json!({ "id": id, "k": "x", "n": n })).wait()?;
        }
    }
    let names = ["a", "ab", "b", "\u{ffee}", "\u{10000}"];
    let expected: Vec<String> =
        names.iter().flat_map(|name| [-1, 9, 10].map(|id| format!("{name}/{id}"))).collect();
    assert_eq!(found(&things, &ItemQuery::index("by", ["x"]))?, expected);
    assert_eq!(found(&things, &ItemQuery::index("by", ["x"]).sort(Sort::eq(1)))?, expected);
    Ok(())
}

pub(in crate::testing) fn qd_11_filters_never_convert(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, QueryDbSpec::new().sub_id_field(KeyField::number("i")))?;
    let values: Vec<Value> = [
        "null",
        "true",
        "false",
        "0",
        "1",
        "1.0",
        "-0.0",
        "\"\"",
        "\"1\"",
        "\"true\"",
        "[]",
        "[1]",
        "{}",
        "{\"a\":1,\"b\":2}",
        "{\"b\":2.0,\"a\":1}",
    ]
    .iter()
    .map(|json| serde_json::from_str(json))
    .collect::<Result<_, _>>()?;
    for (i, value) in values.iter().enumerate() {
        things.save("p", &json!({ "i": i, "v": value })).wait()?;
    }
    for value in &values {
        let equal = things.count_items(ItemQuery::key("p").filter(field("v").eq(value.clone()))).wait()?;
        let expected = values.iter().filter(|other| is_same(value, other)).count() as u64;
        assert_eq!(equal, expected, "{value}");
        let not = things.count_items(ItemQuery::key("p").filter(field("v").ne(value.clone()))).wait()?;
        assert_eq!(not, values.len() as u64 - expected, "{value}");
        let up = things.count_items(ItemQuery::key("p").filter(field("v").ge(value.clone()))).wait()?;
        let expected = values.iter().filter(|other| order(other, value).is_some_and(Ordering::is_ge)).count();
        assert_eq!(up, expected as u64, "{value}");
    }
    Ok(())
}

fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| is_same(value, other)))
        }
        _ => left == right,
    }
}

/// Only numbers and strings have an order.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// What a query names, worked out from the items themselves.
pub(in crate::testing) fn qd_10_random_queries_match_by_definition(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let by = Index::new("by", ["k"]).sort_by([KeyField::number("n"), KeyField::string("s")]);
    let things = defined(&store, QueryDbSpec::new().sub_id_field("s").index(by))?;
    let mut random = Numbers(0x0071_d010);
    let mut model: Vec<((String, String), String, f64)> = Vec::new();
    for _ in 0..300 {
        let partition = random.one_of(&["p", "q", "é"]).to_owned();
        let s = STRINGS[usize::try_from(random.below(12))?].to_owned();
        let (k, n) =
            (random.one_of(&["x", "y"]).to_owned(), f64::from(u32::try_from(random.below(9))?) / 2.0 - 2.0);
        model.retain(|(key, ..)| *key != (partition.clone(), s.clone()));
        if random.below(5) == 0 {
            things.delete_one((partition.as_str(), s.as_str())).wait()?;
            continue;
        }
        things.save(&partition, &json!({ "s": s, "k": k, "n": n })).wait()?;
        model.push(((partition, s), k, n));
    }
    model.sort_by(|left, right| left.2.total_cmp(&right.2).then_with(|| sorted(left).cmp(&sorted(right))));
    for _ in 0..200 {
        let (k, bound) =
            (random.one_of(&["x", "y", "z"]), f64::from(u32::try_from(random.below(9))?) / 2.0 - 2.0);
        let (sort, holds): (Sort, fn(f64, f64) -> bool) = match random.below(5) {
            0 => (Sort::lt(bound), |n, bound| n < bound),
            1 => (Sort::le(bound), |n, bound| n <= bound),
            2 => (Sort::gt(bound), |n, bound| n > bound),
            3 => (Sort::ge(bound), |n, bound| n >= bound),
            _ => (Sort::between(bound, bound + 1.0), |n, bound| n >= bound && n <= bound + 1.0),
        };
        let partition = random.one_of(&["p", "q", "é"]);
        let matching = model.iter().filter(|(_, item_k, n)| item_k == k && holds(*n, bound));
        let expected: Vec<String> = matching
            .map(|((partition, s), ..)| crate::ItemKey::new(partition.as_str(), s.as_str()).to_string())
            .collect();
        let query = ItemQuery::index("by", [k]).sort(sort);
        assert_eq!(found(&things, &query)?, expected, "{query:?}");
        let expected = model.iter().filter(|((p, _), item_k, n)| p == partition && item_k == k && *n > bound);
        let query = ItemQuery::key(partition).filter(field("k").eq(k).and(field("n").gt(bound)));
        assert_eq!(things.count_items(&query).wait()?, expected.count() as u64, "{query:?}");
    }
    Ok(())
}

/// The rest of an item's place in the index: sort field, partition key, sub key.
fn sorted(item: &((String, String), String, f64)) -> (&str, &str, &str) {
    let ((partition, s), ..) = item;
    (s, partition, s)
}

pub(in crate::testing) fn qd_15_counting(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = numbers(&store, &["1", "2", "3"])?;
    things.save("q", &raw(r#"{"k":"x","n":1}"#)).wait()?;
    let count = |query: ItemQuery| things.count_items(query).wait();
    assert_eq!(count(ItemQuery::key("p"))?, 3);
    assert_eq!(count(ItemQuery::key("p").sort(Sort::ge(2)).filter(field("n").lt(3)))?, 1);
    assert_eq!(count(ItemQuery::index("by", ["x"]))?, 4);
    assert_eq!(count(ItemQuery::index("by", ["z"]))?, 0);
    let stats = store.stats().wait()?.query_dbs;
    assert_eq!((stats.len(), stats[0].items, stats[0].expired), (1, 4, 0));
    assert_eq!(Some(&stats[0].info), things.info().wait()?.as_ref());
    let report = store.verify(crate::backend::Progress::default()).wait()?;
    assert!(report.is_sound(), "{report:?}");
    assert!(report.items == 4 && report.index_entries >= 4, "{report:?}");
    Ok(())
}
