//! What is in an index, and what comes out of it: qd_09.

use serde_json::json;

use super::{defined, page_keys, raw};
use crate::{
    query_db::{Index, ItemQuery, KeyField, KeyValue, QueryDbSpec, Sort, field},
    testing::{fixture::Fixture, support::CaseResult},
};

pub(in crate::testing) fn qd_09_key_fields_are_a_tuple(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, QueryDbSpec::new().index(Index::new("by", ["a", "b"])))?;
    for (key, a, b) in [("1", "x", "yz"), ("2", "xy", "z"), ("3", "x", "y"), ("4", "", "x"), ("5", "x", "")] {
        things.save(key, &json!({ "a": a, "b": b })).wait()?;
    }
    for (key, a, b) in [("1", "x", "yz"), ("2", "xy", "z"), ("3", "x", "y"), ("4", "", "x"), ("5", "x", "")] {
        assert_eq!(page_keys(&things.query(ItemQuery::index("by", [a, b])).wait()?), [key]);
    }
    assert_eq!(things.count_items(ItemQuery::index("by", ["X", "y"])).wait()?, 0, "case counts");
    Ok(())
}

pub(in crate::testing) fn qd_09_an_index_is_sparse(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let spec = QueryDbSpec::new()
        .index(Index::new("both", ["a"]).sort_by([KeyField::number("n")]))
        .index(Index::new("one", ["a"]));
    let things = defined(&store, spec)?;
    for (key, item) in [
        ("1", r#"{"a":"x","n":1}"#),
        ("2", r#"{"a":"x"}"#),
        ("3", r#"{"n":1}"#),
        ("4", r#"{"a":null,"n":1}"#),
        ("5", r#"{"a":"x","n":null}"#),
        ("6", r#"{"A":"x","n":1}"#),
    ] {
        things.save(key, &raw(item)).wait()?;
    }
    let found = |index: &str| -> crate::Result<Vec<String>> {
        Ok(page_keys(&things.query(ItemQuery::index(index, ["x"])).wait()?))
    };
    assert_eq!((found("both")?, found("one")?), (vec!["1".into()], vec!["1".into(), "2".into(), "5".into()]));
    things.save("1", &raw(r#"{"a":"x"}"#)).wait()?;
    things.save("2", &raw(r#"{"a":"y","n":0}"#)).wait()?;
    things.delete("5").wait()?;
    assert_eq!((found("both")?, found("one")?), (vec![], vec!["1".to_owned()]), "indexes follow each change");
    assert_eq!(things.scan().wait()?.items.len(), 5);
    assert!(store.verify(crate::backend::Progress::default()).wait()?.is_sound());
    Ok(())
}

pub(in crate::testing) fn qd_09_paths_may_be_nested(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let spec = QueryDbSpec::new()
        .index(Index::new("nested", ["a.b.c"]))
        .index(Index::new("dotted", [r"a\.b.c"]))
        .index(Index::new("odd", ["it's \"ü\" [0] $ *"]));
    let things = defined(&store, spec)?;
    things.save("1", &json!({ "a": { "b": { "c": "x" } } })).wait()?;
    things.save("2", &json!({ "a.b": { "c": "x" } })).wait()?;
    things.save("3", &json!({ "a.b.c": "x", "a": { "b.c": "x" } })).wait()?;
    things.save("4", &json!({ "it's \"ü\" [0] $ *": "x" })).wait()?;
    things.save("5", &json!({ "a": [{ "b": { "c": "x" } }] })).wait()?;
    for (index, key) in [("nested", "1"), ("dotted", "2"), ("odd", "4")] {
        let page = things.query(ItemQuery::index(index, ["x"])).wait()?;
        assert_eq!(page_keys(&page), [key], "{index}");
    }
    Ok(())
}

pub(in crate::testing) fn qd_09_projections(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let by = |name: &str| Index::new(name, ["a"]).sort_by([KeyField::number("n.x")]);
    let spec = QueryDbSpec::new()
        .sub_id_field("id")
        .index(by("all"))
        .index(by("keys").keys_only())
        .index(by("some").include(["b", "none"]));
    let things = defined(&store, spec)?;
    let text = r#"{ "b": [1.50, 2], "id":"7", "c":0, "n":{"y":1,"x":1e0}, "a":"k" }"#;
    things.save("p", &raw(text)).wait()?;
    let json = |index: &str| -> crate::Result<String> {
        let query = ItemQuery::index(index, ["k"]).filter(field("c").eq(0));
        let page = things.query(query).wait()?;
        assert_eq!((page_keys(&page), page.items[0].version), (vec!["p/7".to_owned()], 1));
        Ok(page.items[0].json.clone())
    };
    assert_eq!(json("all")?, text);
    assert_eq!(json("keys")?, r#"{"id":"7","n":{"x":1e0},"a":"k"}"#, "in the form and order of the item");
    assert_eq!(json("some")?, r#"{"b":[1.50, 2],"id":"7","n":{"x":1e0},"a":"k"}"#);
    assert_eq!(things.query(ItemQuery::key("p")).wait()?.items[0].json, text, "not by its own key");
    Ok(())
}

pub(in crate::testing) fn qd_09_several_sort_fields(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let by = Index::new("by", ["k"]).sort_by([KeyField::string("s"), KeyField::number("n")]);
    let things = defined(&store, QueryDbSpec::new().index(by))?;
    let mut key = 0;
    for s in ["b", "a", "ab"] {
        for n in [10, 9, -1] {
            key += 1;
            things.save(format!("{key}"), &json!({ "k": "x", "s": s, "n": n })).wait()?;
        }
    }
    let all = || ItemQuery::index("by", ["x"]);
    let found =
        |query: ItemQuery| -> crate::Result<Vec<String>> { Ok(page_keys(&things.query(query).wait()?)) };
    assert_eq!(found(all())?, ["6", "5", "4", "9", "8", "7", "3", "2", "1"]);
    assert_eq!(found(all().sort(Sort::begins_with("a")))?, ["6", "5", "4", "9", "8", "7"]);
    assert_eq!(found(all().sort_prefix(["a"]))?, ["6", "5", "4"]);
    assert_eq!(found(all().sort_prefix(["a"]).sort(Sort::ge(9)))?, ["5", "4"]);
    let both: [KeyValue; 2] = ["ab".into(), 9.into()];
    assert_eq!(found(all().sort_prefix(both))?, ["8"]);
    assert_eq!(found(all().sort(Sort::eq("b")))?, ["3", "2", "1"]);
    let page = things.query(all().sort_prefix(["b"])).descending().limit(2).wait()?;
    assert_eq!(page_keys(&page), ["1", "2"]);
    let rest = things.query(all().sort_prefix(["b"])).descending().after(page.next).wait()?;
    assert_eq!(page_keys(&rest), ["3"]);
    Ok(())
}
