//! Saving, deleting and counting: qd_04 to qd_07.

use super::{all_keys, defined, keys, raw, state, things};
use crate::{
    error::ErrorKind,
    query_db::{Index, ItemKey, ItemQuery, KeyField, Number, QueryDbSpec, Saved},
    testing::{
        fixture::Fixture,
        support::{CaseResult, in_parallel, refused},
    },
};

pub(in crate::testing) fn qd_04_a_save_is_an_upsert(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    assert_eq!(things.save("a", &raw(r#"{"n":1}"#)).wait()?, Saved::new("a".into(), 1, true));
    assert_eq!(things.save("a", &raw(r#"{"n":2}"#)).wait()?, Saved::new("a".into(), 2, false));
    let item = things.load_one("a").wait()?.ok_or("it was saved")?;
    assert_eq!((item.json.as_str(), item.version), (r#"{"n":2}"#, 2));
    assert_eq!(things.scan().wait()?.items, [item]);
    Ok(())
}

pub(in crate::testing) fn qd_04_what_a_save_requires(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    let save = |json: &str| things.save("a", &raw(json));
    let error = refused!(save("{}").if_present().wait(), ErrorKind::NotFound);
    assert!(error.context().contains(&("item", "a".into())), "{error:?}");
    refused!(save("{}").if_version(1).wait(), ErrorKind::Conflict { expected: 1, actual: 0 });
    assert_eq!(store.query_dbs().wait()?, []);

    assert_eq!(save(r#"{"n":1}"#).if_absent().wait()?.version, 1);
    refused!(save("{}").if_absent().wait(), ErrorKind::AlreadyExists);
    refused!(save("{}").if_version(None).wait(), ErrorKind::Conflict { expected: 0, actual: 1 });
    refused!(save("{}").if_version(7).wait(), ErrorKind::Conflict { expected: 7, actual: 1 });
    assert_eq!(things.load_one("a").wait()?.map(|item| item.json), Some(r#"{"n":1}"#.into()));
    assert_eq!(save(r#"{"n":2}"#).if_version(1).wait()?.version, 2, "refusals took no version");
    assert_eq!(save(r#"{"n":3}"#).if_present().wait()?.version, 3);
    things.delete("a").wait()?;
    refused!(save("{}").if_present().wait(), ErrorKind::NotFound);
    refused!(save("{}").if_version(3).wait(), ErrorKind::Conflict { expected: 3, actual: 0 });
    assert_eq!(save("{}").if_version(0).wait()?.version, 5, "0 stands for absent, as in the error");
    refused!(save("{}").if_version(0).wait(), ErrorKind::Conflict { expected: 0, actual: 5 });
    assert_eq!(things.delete("a").wait()?, 1);
    assert_eq!(save("{}").if_version(None).wait()?, Saved::new("a".into(), 7, true));
    Ok(())
}

pub(in crate::testing) fn qd_04_versions_rise_through_the_query_db(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (things, other) = (things(&store)?, store.query_db("Other")?);
    let save = |key: &str| things.save(key, &raw("{}")).wait();
    assert_eq!((save("a")?.version, save("b")?.version), (1, 2));
    assert_eq!(other.save("a", &raw("{}")).wait()?.version, 1, "each has its own");
    things.delete("b").wait()?;
    things.increment("c", "n", 1).wait()?;
    assert_eq!(things.delete("none").wait()?, 0);
    assert_eq!((save("b")?.version, things.load_one("a").wait()?.map(|item| item.version)), (5, Some(1)));
    assert_eq!(things.info().wait()?.map(|info| info.version), Some(5));
    Ok(())
}

pub(in crate::testing) fn qd_04_one_wins_the_same_version(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    for round in 0..20 {
        let version = things.load_one("a").wait()?.map(|item| item.version);
        let won = in_parallel(4, |_| match things.save("a", &raw("{}")).if_version(version).wait() {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error.into()),
        })?;
        assert_eq!(won.into_iter().filter(|won| *won).count(), 1, "round {round}");
    }
    Ok(())
}

pub(in crate::testing) fn qd_05_a_batch_takes_effect_in_order(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    let saved = things.save_batch([("a", raw("{}")), ("b", raw("{}")), ("a", raw(r#"{"n":2}"#))]).wait()?;
    let answer: Vec<_> = saved.iter().map(|saved| (saved.version, saved.added)).collect();
    assert_eq!(answer, [(1, true), (2, true), (3, false)]);
    assert_eq!(things.load_one("a").wait()?.map(|item| item.json), Some(r#"{"n":2}"#.into()));
    assert_eq!(things.delete_batch(["a", "none", "a", "b"]).wait()?, 2);
    assert_eq!(things.delete_batch(Vec::<ItemKey>::new()).wait()?, 0);
    assert_eq!(things.save_batch(Vec::<(String, u8)>::new()).wait()?, []);
    assert_eq!(state(&things)?, (vec![], Some(5)));

    let many = (0..5_000).map(|n| (format!("k{n:04}"), serde_json::json!({ "n": n })));
    assert_eq!(things.save_batch(many).wait()?.len(), 5_000);
    assert_eq!(things.delete_batch((0..4_999).map(|n| format!("k{n:04}"))).wait()?, 4_999);
    assert_eq!(all_keys(&things)?, ["k4999"]);
    Ok(())
}

pub(in crate::testing) fn qd_05_one_bad_item_writes_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, QueryDbSpec::new().index(Index::new("by", ["s"])).changes(true))?;
    things.save("a", &raw(r#"{"s":"x"}"#)).wait()?;
    let before = state(&things)?;
    let batch = [("a", raw(r#"{"s":"y"}"#)), ("b", raw("{}")), ("c", raw(r#"{"s":1}"#))];
    refused!(things.save_batch(batch).wait(), ErrorKind::InvalidArgument { field: "item", .. });
    refused!(things.delete_batch(["a", ""]).wait(), ErrorKind::InvalidArgument { .. });
    assert_eq!(state(&things)?, before);
    assert_eq!(things.count_items(ItemQuery::index("by", ["x"])).wait()?, 1);
    assert_eq!(things.count_items(ItemQuery::index("by", ["y"])).wait()?, 0);
    assert_eq!(things.save("d", &raw("{}")).wait()?.version, 2);
    assert!(store.verify(crate::backend::Progress::default()).wait()?.is_sound());
    Ok(())
}

pub(in crate::testing) fn qd_06_a_partition_or_one_item(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, QueryDbSpec::new().sub_id_field("s").index(Index::new("by", ["s"])))?;
    let lines =
        |partition: &'static str| ["1", "2", "3"].map(|sub| (partition, serde_json::json!({ "s": sub })));
    for partition in ["a", "ab", "A", "b"] {
        things.save_batch(lines(partition)).wait()?;
    }
    assert_eq!(things.delete_one(("a", "2")).wait()?, 1);
    assert_eq!(things.delete_one(("a", "2")).wait()?, 0);
    assert_eq!(things.delete_one("a").wait()?, 0, "no item has an empty sub key");
    assert_eq!(keys(&things.load("a").wait()?), ["a/1", "a/3"]);
    assert_eq!((things.delete("a").wait()?, things.delete("a").wait()?), (2, 0));
    assert_eq!((things.load("a").wait()?.len(), things.load("ab").wait()?.len()), (0, 3));
    assert_eq!(things.delete_batch([("A", "1"), ("b", "3"), ("c", "1")]).wait()?, 2);
    assert_eq!(all_keys(&things)?, ["A/2", "A/3", "ab/1", "ab/2", "ab/3", "b/1", "b/2"]);
    assert_eq!(things.count_items(ItemQuery::index("by", ["1"])).wait()?, 2);
    Ok(())
}

pub(in crate::testing) fn qd_07_adds_to_a_field(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    let json = |key: &str| -> crate::Result<Option<String>> {
        Ok(things.load_one(key).wait()?.map(|item| item.json))
    };
    assert_eq!(things.increment("a", "orders", 1).wait()?, 1.into());
    assert_eq!(things.increment("a", "orders", 41).wait()?, 42.into());
    assert_eq!(things.increment("a", "orders", -50).wait()?, Number::from(-8));
    assert_eq!(things.increment("a", "orders", 0).wait()?, Number::from(-8));
    assert_eq!(json("a")?, Some(r#"{"orders":-8}"#.into()));
    assert_eq!(things.increment("a", r"by.da\.y", 0.5).wait()?, 0.5.into());
    assert_eq!(json("a")?, Some(r#"{"orders":-8,"by":{"da.y":0.5}}"#.into()));

    things.save("b", &raw("{ \"x\" : [1e0],\n \"n\": 1e0 , \"s\":\"\\u00e9\" }")).wait()?;
    assert_eq!(things.increment("b", "n", 2).wait()?, 3.into());
    assert_eq!(
        json("b")?,
        Some("{ \"x\" : [1e0],\n \"n\": 3 , \"s\":\"\\u00e9\" }".into()),
        "the rest stays"
    );
    let big = 9_007_199_254_740_993_i64;
    assert_eq!(things.increment("b", "big", big).wait()?, big.into());
    assert_eq!(things.increment("b", "big", 1).wait()?, (big + 1).into(), "integers are exact");
    assert_eq!(
        things.load_one("b").wait()?.map(|item| item.version),
        things.info().wait()?.map(|i| i.version)
    );
    Ok(())
}

pub(in crate::testing) fn qd_07_what_cannot_be_added_to_is_refused(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    let json = format!(
        r#"{{"max":{},"min":{},"huge":1.7e308,"text":"1","none":null,"list":[1],"flag":true}}"#,
        i64::MAX,
        i64::MIN
    );
    things.save("a", &raw(&json)).wait()?;
    let before = state(&things)?;
    let refuse = |field: &str, by: Number| {
        refused!(things.increment("a", field, by).wait(), ErrorKind::InvalidArgument { .. })
    };
    let error = refuse("max", 1.into());
    assert!(error.to_string().contains("overflows"), "{error}");
    refuse("min", (-1).into());
    refuse("huge", 1.7e308.into());
    for field in ["text", "none", "list", "flag", "max.n", "text.n", "", "a..b"] {
        refuse(field, 1.into());
    }
    refuse("fresh", f64::INFINITY.into());
    refuse("fresh", f64::NAN.into());
    refused!(
        things.increment(("a", "1"), "n", 1).wait(),
        ErrorKind::InvalidArgument { field: "sub key", .. }
    );
    assert_eq!(state(&things)?, before);
    assert_eq!(things.increment("a", "max", -1).wait()?, (i64::MAX - 1).into());
    Ok(())
}

pub(in crate::testing) fn qd_07_counters_know_the_definition(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let spec = QueryDbSpec::new()
        .sub_id_field(KeyField::number("line"))
        .index(Index::new("by_count", [KeyField::number("n")]).sort_by(["name"]));
    let things = defined(&store, spec)?;
    assert_eq!(things.increment(("a", 7), "n", 2).wait()?, 2.into());
    let item = things.load_one(("a", 7)).wait()?.ok_or("it was made")?;
    assert_eq!(item.json, r#"{"line":7,"n":2}"#, "with its sub id");
    refused!(things.increment("a", "n", 1).wait(), ErrorKind::InvalidArgument { field: "sub key", .. });
    refused!(
        things.increment(("a", "7"), "n", 1).wait(),
        ErrorKind::InvalidArgument { field: "sub key", .. }
    );
    refused!(things.increment(("a", 7), "line", 1).wait(), ErrorKind::InvalidArgument { field: "field", .. });
    refused!(things.increment(("a", 7), "name", 1).wait(), ErrorKind::InvalidArgument { field: "item", .. });

    things.save("b", &raw(r#"{"line":1,"name":"x","n":5}"#)).wait()?;
    assert_eq!(things.increment(("b", 1), "n", 1).wait()?, 6.into());
    let count = |n: i32| things.count_items(ItemQuery::index("by_count", [n])).wait();
    assert_eq!((count(5)?, count(6)?, count(2)?), (0, 1, 0), "indexes follow");
    Ok(())
}

pub(in crate::testing) fn qd_07_nothing_is_counted_twice_or_lost(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    let totals = in_parallel(4, |_| {
        (0..50)
            .map(|_| Ok(things.increment("a", "n", 1).wait()?.as_i64().ok_or("whole")?))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let mut totals: Vec<i64> = totals.into_iter().flatten().collect();
    totals.sort_unstable();
    assert_eq!(totals, (1..=200).collect::<Vec<_>>(), "each answer is a total of its own");
    Ok(())
}
