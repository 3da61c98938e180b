//! Definitions: qd_01.

use std::sync::Arc;

use super::{all_keys, defined, keys, next_change, page_keys, raw, state, things};
use crate::{
    backend::{
        CommitRequest, ItemData, Operation, Progress, ProjectionOperation, QueryDbOperation, SaveMode,
    },
    error::ErrorKind,
    event::Position,
    operation::wait,
    query::Query,
    query_db::{Index, ItemQuery, KeyField, QueryDbSpec},
    store::Store,
    testing::{
        fixture::Fixture,
        support::{CaseResult, backend, refused},
    },
};

fn by_status() -> Index {
    Index::new("by_status", ["status"])
}

fn with_statuses(store: &Store) -> crate::Result<crate::query_db::QueryDb> {
    let things = defined(store, QueryDbSpec::new().index(by_status()))?;
    for (key, status) in [("a", "open"), ("b", "done"), ("c", "open")] {
        things.save(key, &serde_json::json!({ "status": status, "rank": 3 })).wait()?;
    }
    Ok(things)
}

pub(in crate::testing) fn qd_01_a_definition_is_kept(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let spec = QueryDbSpec::new()
        .sub_id_field(KeyField::number("line"))
        .index(by_status().sort_by([KeyField::number("rank"), KeyField::string("a.b")]).include(["x"]))
        .index(Index::new("other", ["x"]).keys_only())
        .ttl_field("until")
        .changes(true);
    let things = store.define("Things", spec.clone()).wait()?;
    let info = things.info().wait()?.ok_or("it was defined")?;
    assert_eq!((info.query_db.as_str(), &info.spec, info.version), ("Things", &spec, 0));
    assert_eq!(info.owner, None);
    store.define("Things", spec.clone()).wait()?;
    assert_eq!(things.info().wait()?, Some(info));

    store.define("A", QueryDbSpec::new()).wait()?;
    store.define("things", QueryDbSpec::new()).wait()?;
    let names: Vec<String> = store.query_dbs().wait()?.into_iter().map(|info| info.query_db).collect();
    assert_eq!(names, ["A", "Things", "things"], "ascending, and of different case");
    Ok(())
}

pub(in crate::testing) fn qd_01_an_undefined_one_begins_with_its_first_item(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    assert_eq!((things.info().wait()?, store.query_dbs().wait()?), (None, vec![]));
    assert_eq!((things.scan().wait()?.items, things.load("a").wait()?), (vec![], vec![]));
    assert_eq!((things.delete("a").wait()?, things.purge_expired(9).wait()?), (0, 0));
    things.drop_index("none").wait()?;
    things.drop_query_db().wait()?;
    things.save_batch(Vec::<(String, u8)>::new()).wait()?;
    refused!(things.save("a", &1).wait(), ErrorKind::InvalidArgument { .. });
    refused!(things.increment("a", "n.", 1).wait(), ErrorKind::InvalidArgument { .. });
    assert_eq!(store.query_dbs().wait()?, [], "nothing of that makes it");

    things.save("a", &raw("{}")).wait()?;
    let info = things.info().wait()?.ok_or("it has an item")?;
    assert_eq!((info.spec, info.version), (QueryDbSpec::new(), 1));
    store.query_db("Counters")?.increment("c", "n", 1).wait()?;
    assert_eq!(store.query_dbs().wait()?.len(), 2);
    Ok(())
}

pub(in crate::testing) fn qd_01_more_indexes_are_built(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = with_statuses(&store)?;
    let before = state(&things)?;
    let by_rank = Index::new("by_rank", [KeyField::number("rank")]).sort_by(["status"]);
    defined(&store, QueryDbSpec::new().index(by_rank))?;
    let page = things.query(ItemQuery::index("by_rank", [3])).wait()?;
    assert_eq!(page_keys(&page), ["b", "a", "c"]);
    let open = things.query(ItemQuery::index("by_status", ["open"])).wait()?;
    assert_eq!(page_keys(&open), ["a", "c"], "an index that is not named stays");
    assert_eq!(state(&things)?, before, "versions stay");
    let names: Vec<String> =
        things.info().wait()?.ok_or("it exists")?.spec.indexes.into_iter().map(|index| index.name).collect();
    assert_eq!(names, ["by_status", "by_rank"]);
    things.save("d", &serde_json::json!({ "status": "e", "rank": 3 })).wait()?;
    assert_eq!(things.count_items(ItemQuery::index("by_rank", [3])).wait()?, 4);
    assert!(store.verify(Progress::default()).wait()?.is_sound());
    Ok(())
}

pub(in crate::testing) fn qd_01_an_item_that_violates_a_new_index_is_named(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let things = with_statuses(&store)?;
    things.save("odd", &serde_json::json!({ "rank": "first" })).wait()?;
    let before = (state(&things)?, things.info().wait()?);
    let by_rank = Index::new("by_rank", [KeyField::number("rank")]);
    let spec = QueryDbSpec::new().index(by_rank.clone()).changes(true);
    let error = refused!(defined(&store, spec.clone()), ErrorKind::InvalidArgument { field: "item", .. });
    assert!(error.context().contains(&("item", "odd".into())), "{error:?}");
    assert_eq!((state(&things)?, things.info().wait()?), before);
    refused!(things.query(ItemQuery::index("by_rank", [3])).wait(), ErrorKind::InvalidArgument { .. });
    things.delete("odd").wait()?;
    defined(&store, spec)?;
    assert_eq!(things.count_items(ItemQuery::index("by_rank", [3])).wait()?, 3);
    Ok(())
}

pub(in crate::testing) fn qd_01_changes_are_kept_until_told_otherwise(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let spec = QueryDbSpec::new;
    let things = defined(&store, spec().changes(true))?;
    let keeps = || Ok::<_, crate::Error>(things.info().wait()?.is_some_and(|info| info.spec.keeps_changes()));
    things.save("a", &raw("{}")).wait()?;
    defined(&store, spec().index(by_status()))?;
    assert!(keeps()?, "a definition that says nothing of it");
    assert_eq!(next_change(&mut things.changes().after(0))?.0, 1);
    defined(&store, spec().changes(false))?;
    assert!(!keeps()?);
    defined(&store, spec())?;
    assert!(!keeps()?);
    defined(&store, spec().changes(true))?;
    assert!(keeps()?);
    assert_eq!(things.info().wait()?.map(|info| info.spec.indexes.len()), Some(1));
    Ok(())
}

pub(in crate::testing) fn qd_01_another_key_layout_is_refused(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let spec = || QueryDbSpec::new().index(by_status());
    let things = defined(&store, spec().sub_id_field("line").ttl_field("until"))?;
    let before = things.info().wait()?;
    for other in [
        spec().ttl_field("until"),
        spec().sub_id_field("row").ttl_field("until"),
        spec().sub_id_field(KeyField::number("line")).ttl_field("until"),
        spec().sub_id_field("line"),
        spec().sub_id_field("line").ttl_field("expires"),
    ] {
        let error = refused!(defined(&store, other), ErrorKind::InvalidArgument { field: "QueryDb", .. });
        assert!(error.to_string().contains("key layout"), "{error}");
    }
    let changed = Index::new("by_status", ["status"]).keys_only();
    let other = QueryDbSpec::new().sub_id_field("line").ttl_field("until").index(changed);
    refused!(defined(&store, other), ErrorKind::InvalidArgument { field: "index", .. });
    assert_eq!(things.info().wait()?, before);
    Ok(())
}

pub(in crate::testing) fn qd_01_definitions_are_checked(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let spec = QueryDbSpec::new;
    for wrong in [
        spec().index(Index::new("i", Vec::<KeyField>::new())),
        spec().index(Index::new("", ["a"])),
        spec().index(Index::new("a b", ["a"])),
        spec().index(Index::new("i", ["a"])).index(Index::new("i", ["b"])),
        spec().index(Index::new("i", ["a..b"])),
        spec().index(Index::new("i", [""])),
        spec().sub_id_field(r"a\b"),
        spec().ttl_field("a."),
    ] {
        refused!(defined(&store, wrong.clone()), ErrorKind::InvalidArgument { .. });
    }
    let many =
        |count: usize| (0..count).fold(spec(), |spec, n| spec.index(Index::new(format!("i{n}"), ["a"])));
    refused!(defined(&store, many(33)), ErrorKind::TooLarge { field: "indexes", limit: 32, .. });
    let wide = |count: usize| spec().index(Index::new("i", (0..count).map(|n| format!("f{n}"))));
    refused!(defined(&store, wide(9)), ErrorKind::TooLarge { field: "index fields", limit: 8, .. });
    for name in ["", "a b", "a/b", "Ü", &"x".repeat(129)] {
        refused!(store.define(name, spec()).wait(), ErrorKind::InvalidArgument { field: "QueryDb", .. });
        refused!(store.query_db(name), ErrorKind::InvalidArgument { field: "QueryDb", .. });
    }
    assert_eq!(store.query_dbs().wait()?, []);
    let things = defined(&store, many(32))?;
    things.save("a", &raw(r#"{"a":"x"}"#)).wait()?;
    assert_eq!(things.count_items(ItemQuery::index("i31", ["x"])).wait()?, 1);
    Ok(())
}

pub(in crate::testing) fn qd_01_an_index_can_be_dropped(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = with_statuses(&store)?;
    let before = state(&things)?;
    things.drop_index("by_status").wait()?;
    let query = ItemQuery::index("by_status", ["open"]);
    refused!(things.query(&query).wait(), ErrorKind::InvalidArgument { field: "index", .. });
    things.drop_index("by_status").wait()?;
    assert_eq!(state(&things)?, before);
    things.save("d", &raw(r#"{"status":1}"#)).wait()?;
    refused!(
        defined(&store, QueryDbSpec::new().index(by_status())),
        ErrorKind::InvalidArgument { field: "item", .. }
    );
    things.save("d", &raw(r#"{"status":"open"}"#)).wait()?;
    defined(&store, QueryDbSpec::new().index(by_status().keys_only()))?;
    let page = things.query(&query).wait()?;
    assert_eq!(page_keys(&page), ["a", "c", "d"]);
    assert_eq!(page.items[0].json, r#"{"status":"open"}"#, "as it is defined now");
    assert!(store.verify(Progress::default()).wait()?.is_sound());
    Ok(())
}

pub(in crate::testing) fn qd_01_a_query_db_can_be_dropped(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = with_statuses(&store)?;
    let last = things.info().wait()?.ok_or("it exists")?.version;
    things.drop_query_db().wait()?;
    assert_eq!((things.info().wait()?, store.query_dbs().wait()?), (None, vec![]));
    assert_eq!((all_keys(&things)?, things.load_one("a").wait()?), (vec![], None));
    refused!(things.query(ItemQuery::index("by_status", ["open"])).wait(), ErrorKind::InvalidArgument { .. });
    things.drop_query_db().wait()?;
    assert_eq!(store.stats().wait()?.query_dbs, []);

    let spec = QueryDbSpec::new().sub_id_field("line").index(Index::new("by_status", ["line"]));
    defined(&store, spec.clone())?;
    assert_eq!(things.info().wait()?.map(|info| info.spec), Some(spec), "as if it had never been");
    let saved = things.save("a", &raw(r#"{"line":"1"}"#)).wait()?;
    assert!(saved.version > last, "versions are never used again");
    assert_eq!(keys(&things.load("a").wait()?), ["a/1"]);

    things.drop_query_db().wait()?;
    things.save("a", &raw("{}")).wait()?;
    assert_eq!(things.info().wait()?.map(|info| info.spec), Some(QueryDbSpec::new()));
    assert!(store.verify(Progress::default()).wait()?.is_sound());
    Ok(())
}

/// A deploy that comes while the rebuild of its predecessor is under way.
pub(in crate::testing) fn qd_01_a_definition_can_change_during_a_rebuild(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let by = |name: &str, field: &str| Index::new(name, [field]);
    let spec = || QueryDbSpec::new().index(by("a", "a")).index(by("b", "b")).index(by("c", "c"));
    let things = defined(&store, spec().changes(true))?;
    let backend = backend(&store)?;
    let commit = |operations: Vec<Operation>| {
        wait(backend.commit(CommitRequest { id: None, operations, on_callers_thread: true }))
    };
    let (start, end, projection): (_, _, Arc<str>) = (Position::START, Position::new(1), "p".into());
    let change = |operation: ProjectionOperation| commit(vec![Operation::Projection(operation)]);
    let owns = vec!["Things".to_owned()];
    let (query, log) = (Query::all(), "orders".into());
    change(ProjectionOperation::Register { projection: projection.clone(), log, query, owns })?;
    change(ProjectionOperation::BeginRebuild { projection: projection.clone() })?;
    let at = ProjectionOperation::SetRebuildCheckpoint {
        projection: projection.clone(),
        expected: start,
        position: end,
    };
    let item = ItemData {
        partition: "1".into(),
        json: r#"{"a":"x","b":"y","c":"z","d":"w"}"#.into(),
        ttl: None,
        mode: SaveMode::Overwrite,
    };
    let save = QueryDbOperation::Save { query_db: "Things~rebuild".into(), item };
    commit(vec![Operation::Projection(at), Operation::QueryDb(save)])?;

    // `b` is of another field now, `a` comes last, and there is a new one.
    things.drop_index("b").wait()?;
    things.drop_index("a").wait()?;
    let changed = QueryDbSpec::new().index(by("b", "d")).index(by("d", "d")).index(by("a", "a"));
    defined(&store, changed)?;
    let spec = things.info().wait()?.ok_or("it is defined")?.spec;
    change(ProjectionOperation::FinishRebuild {
        projection: projection.clone(),
        expected: start,
        rebuilt: end,
    })?;

    assert_eq!(things.info().wait()?.map(|info| info.spec), Some(spec));
    for (index, value, count) in [("a", "x", 1), ("b", "w", 1), ("b", "y", 0), ("c", "z", 1), ("d", "w", 1)] {
        assert_eq!(things.count_items(ItemQuery::index(index, [value])).wait()?, count, "{index} {value}");
        assert_eq!(things.query(ItemQuery::index(index, [value])).wait()?.items.len() as u64, count);
    }
    let report = store.verify(Progress::default()).wait()?;
    assert!(report.is_sound(), "{report:?}");
    Ok(())
}

pub(in crate::testing) fn qd_01_everything_is_kept_over_reopening(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = with_statuses(&store)?;
    things.delete("c").wait()?;
    let before = (things.info().wait()?, state(&things)?);
    let other = store.define("Other", QueryDbSpec::new().sub_id_field(KeyField::number("n"))).wait()?;
    other.save("a", &raw(r#"{"n":-0.5}"#)).wait()?;
    other.drop_query_db().wait()?;
    let store = fixture.reopen(store)?;
    let things = super::things(&store)?;
    assert_eq!((things.info().wait()?, state(&things)?), before);
    assert_eq!(things.count_items(ItemQuery::index("by_status", ["open"])).wait()?, 1);
    assert_eq!(things.save("d", &raw("{}")).wait()?.version, 5);
    let other = store.query_db("Other")?;
    assert_eq!(other.info().wait()?, None);
    assert_eq!(other.save("a", &raw("{}")).wait()?.version, 3, "also of one that was dropped");
    assert!(store.verify(Progress::default()).wait()?.is_sound());
    Ok(())
}
