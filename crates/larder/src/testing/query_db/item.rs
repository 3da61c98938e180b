//! What an item is, and loading it: qd_02, qd_03.

use super::{all_keys, defined, keys, raw, state, things};
use crate::{
    error::ErrorKind,
    limits::Limits,
    query_db::{Index, ItemKey, KeyField, QueryDbSpec},
    testing::{
        fixture::Fixture,
        support::{CaseResult, refused},
    },
};

pub(in crate::testing) fn qd_02_only_objects_are_items(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    for json in ["null", "true", "1", "\"{}\"", "[]", "[{}]"] {
        refused!(things.save("a", &raw(json)).wait(), ErrorKind::InvalidArgument { field: "item", .. });
    }
    for json in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"b":[{"c":{"a":1,"x":0,"a":2}}]}"#,
        r#"{"":1,"":1}"#,
    ] {
        let error =
            refused!(things.save("a", &raw(json)).wait(), ErrorKind::InvalidArgument { field: "item", .. });
        assert!(error.to_string().contains("duplicate key"), "{error}");
    }
    let batch = [("a", raw("{}")), ("b", raw("[]")), ("c", raw("{}"))];
    refused!(things.save_batch(batch).wait(), ErrorKind::InvalidArgument { field: "item", .. });
    assert_eq!(state(&things)?, (vec![], None), "nothing of that was written");
    Ok(())
}

pub(in crate::testing) fn qd_02_text_survives_as_it_was(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    for (n, json) in [
        "{}",
        "{ \"b\" : 1e+21,\n\t\"a\": -0.0, \"c\": 1.50, \"d\": 123456789012345678901234567890 }",
        r#"{"s":"\u00e9\/\"\\ \u0000","k\u0065y":"😀\ud83d\ude00"}"#,
        r#"{"deep":{"a":[[],[{}],null,true,false]}}"#,
    ]
    .iter()
    .enumerate()
    {
        let key = format!("k{n}");
        things.save(&key, &raw(json)).wait()?;
        let item = things.load_one(&key).wait()?.ok_or("it was saved")?;
        assert_eq!((item.json.as_str(), item.expires_at), (*json, None));
    }
    Ok(())
}

pub(in crate::testing) fn qd_02_the_sub_key_is_a_fields_value(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, QueryDbSpec::new().sub_id_field("line.id"))?;
    let saved = things.save("a", &raw(r#"{"line":{"id":"1"}}"#)).wait()?;
    assert_eq!(saved.key, ItemKey::new("a", "1"));
    things.save("a", &raw(r#"{"line":{"id":"2"}}"#)).wait()?;
    things.save("a", &raw(r#"{"line":{"id":""}}"#)).wait()?;
    things.save("a", &raw(r#"{"line":{"id":"1"},"again":true}"#)).wait()?;
    assert_eq!(all_keys(&things)?, ["a", "a/1", "a/2"]);
    let before = state(&things)?;
    for json in [
        "{}",
        r#"{"line":"1"}"#,
        r#"{"line":{}}"#,
        r#"{"line":{"id":null}}"#,
        r#"{"line":{"id":1}}"#,
        r#"{"line":{"id":["1"]}}"#,
        r#"{"line.id":"1"}"#,
        r#"{"line":{"id":"a\nb"}}"#,
    ] {
        refused!(things.save("a", &raw(json)).wait(), ErrorKind::InvalidArgument { .. });
    }
    let error =
        refused!(things.save("a", &raw("{}")).wait(), ErrorKind::InvalidArgument { field: "item", .. });
    assert!(error.to_string().contains("`line.id`"), "{error}");
    assert_eq!(state(&things)?, before);

    let numbers = store.define("Numbers", QueryDbSpec::new().sub_id_field(KeyField::number("n"))).wait()?;
    for json in [r#"{"n":"1"}"#, r#"{"n":true}"#, r#"{"n":null}"#] {
        refused!(numbers.save("a", &raw(json)).wait(), ErrorKind::InvalidArgument { field: "item", .. });
    }
    numbers.save("a", &raw(r#"{"n":1}"#)).wait()?;
    numbers.save("a", &raw(r#"{"n":1.0,"same":true}"#)).wait()?;
    assert_eq!(all_keys(&numbers)?, ["a/1"], "by value");
    assert_eq!(numbers.load_one(("a", 1.0)).wait()?, numbers.load_one(("a", 1)).wait()?);
    assert_eq!(numbers.load_one(("a", "1")).wait()?, None, "a string is another key");
    Ok(())
}

pub(in crate::testing) fn qd_02_wrong_types_in_key_fields_are_refused(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let by = Index::new("by", ["status"]).sort_by([KeyField::number("rank")]);
    let things = defined(&store, QueryDbSpec::new().index(by))?;
    things.save("a", &raw(r#"{"status":"open","rank":1}"#)).wait()?;
    let before = state(&things)?;
    for json in [
        r#"{"status":1,"rank":1}"#,
        r#"{"status":"open","rank":"1"}"#,
        r#"{"status":"open","rank":{}}"#,
        r#"{"status":["open"]}"#,
        r#"{"rank":"1"}"#,
        r#"{"status":"a\u0007"}"#,
    ] {
        refused!(things.save("a", &raw(json)).wait(), ErrorKind::InvalidArgument { .. });
    }
    assert_eq!(state(&things)?, before);
    for json in [r#"{"status":null,"rank":1}"#, "{}", r#"{"status":"","rank":-1e300}"#] {
        things.save("a", &raw(json)).wait()?;
    }
    Ok(())
}

pub(in crate::testing) fn qd_02_keys_are_checked(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, QueryDbSpec::new().sub_id_field("s"))?;
    let long = "x".repeat(1_025);
    for key in ["", "a\nb", "\u{7f}", long.as_str()] {
        refused!(
            things.save(key, &raw("{}")).wait(),
            ErrorKind::InvalidArgument { field: "partition key", .. }
        );
        refused!(things.load(key).wait(), ErrorKind::InvalidArgument { field: "partition key", .. });
        refused!(things.load_one(key).wait(), ErrorKind::InvalidArgument { field: "partition key", .. });
        refused!(things.delete(key).wait(), ErrorKind::InvalidArgument { field: "partition key", .. });
        refused!(things.delete_one((key, "1")).wait(), ErrorKind::InvalidArgument { .. });
        refused!(things.increment((key, "1"), "n", 1).wait(), ErrorKind::InvalidArgument { .. });
    }
    for sub in ["a\nb", long.as_str()] {
        refused!(things.load_one(("a", sub)).wait(), ErrorKind::InvalidArgument { field: "sub key", .. });
        refused!(things.delete_one(("a", sub)).wait(), ErrorKind::InvalidArgument { field: "sub key", .. });
    }
    refused!(things.load_one(("a", f64::NAN)).wait(), ErrorKind::InvalidArgument { field: "sub key", .. });
    for key in ["é".repeat(512), "日本 😀 'q' \"d\" %_*?".into(), "\u{10ffff}".into(), "x".repeat(1_024)]
    {
        things.save(&key, &serde_json::json!({ "s": key })).wait()?;
        let item = things.load_one((key.as_str(), key.as_str())).wait()?.ok_or("it was saved")?;
        assert_eq!(item.key, ItemKey::new(key.as_str(), key.as_str()));
        assert_eq!(keys(&things.load(&key).wait()?), [item.key.to_string()]);
    }
    Ok(())
}

pub(in crate::testing) fn qd_02_an_item_has_a_limit(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.open(Limits { item_bytes: 100, ..Limits::default() })?;
    let things = things(&store)?;
    let of = |bytes: usize| raw(&format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)));
    things.save("a", &of(100)).wait()?;
    let write = things.save("a", &of(101));
    refused!(write.wait(), ErrorKind::TooLarge { field: "item", limit: 100, actual: 101 });
    things.save("a", &of(94)).wait()?;
    refused!(things.increment("a", "n", 100).wait(), ErrorKind::TooLarge { field: "item", limit: 100, .. });
    assert_eq!(things.increment("a", "n", 1).wait()?, 1.into(), "no longer than 100 bytes with it");
    Ok(())
}

pub(in crate::testing) fn qd_03_a_partition_in_the_order_of_sub_keys(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, QueryDbSpec::new().sub_id_field(KeyField::number("n")))?;
    for n in ["10", "9", "-0.5", "9.5", "0", "-1e3", "9007199254740993", "9007199254740992"] {
        things.save("a", &raw(&format!("{{\"n\":{n}}}"))).wait()?;
        things.save("ab", &raw(&format!("{{\"n\":{n}}}"))).wait()?;
    }
    let expected =
        ["a/-1000", "a/-0.5", "a/0", "a/9", "a/9.5", "a/10", "a/9007199254740992", "a/9007199254740993"];
    assert_eq!(keys(&things.load("a").wait()?), expected);
    assert_eq!(keys(&things.load_one(("a", -0.0)).wait()?), ["a/0"]);
    assert_eq!(things.load_one("a").wait()?, None);
    assert_eq!(things.load("A").wait()?, []);
    assert_eq!(store.query_db("None")?.load_one("a").wait()?, None);
    Ok(())
}

pub(in crate::testing) fn qd_03_everything_or_too_large(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.open(Limits { read_events: 10, ..Limits::default() })?;
    let things = defined(&store, QueryDbSpec::new().sub_id_field(KeyField::number("n")))?;
    let item = |n: u32| ("a", serde_json::json!({ "n": n }));
    things.save_batch((0..10).map(item)).wait()?;
    assert_eq!((things.load("a").wait()?.len(), things.scan().wait()?.items.len()), (10, 10));
    things.save_batch([item(10)]).wait()?;
    refused!(things.load("a").wait(), ErrorKind::TooLarge { limit: 10, .. });
    refused!(things.scan().wait(), ErrorKind::TooLarge { limit: 10, .. });
    let query = crate::query_db::ItemQuery::key("a");
    refused!(things.query(&query).wait(), ErrorKind::TooLarge { limit: 10, .. });
    assert_eq!(things.query(&query).limit(11).wait()?.items.len(), 11);
    assert_eq!((all_keys(&things)?.len(), things.count_items(&query).wait()?), (11, 11));
    Ok(())
}
