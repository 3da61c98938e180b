//! The feed of changes: qd_14.

use std::time::Duration;

use super::{defined, next_change, raw, things};
use crate::{
    error::{BoxError, ErrorKind},
    query_db::{Change, ChangeKind, Index, QueryDb, QueryDbSpec, Removal},
    subscription::Subscription,
    testing::{
        fixture::Fixture,
        support::{CaseResult, PATIENCE, in_parallel, refused},
    },
};

const ADDED: ChangeKind = ChangeKind::Added;
const UPDATED: ChangeKind = ChangeKind::Updated;
const DELETED: ChangeKind = ChangeKind::Removed { reason: Removal::Deleted };

fn kept() -> QueryDbSpec {
    QueryDbSpec::new().changes(true)
}

/// Makes changes of each kind, with the versions from this one on: what the feed must tell.
fn change_much(
    things: &QueryDb,
    fixture: &dyn Fixture,
    from: u64,
) -> crate::Result<Vec<(u64, ChangeKind, String)>> {
    things.save("a", &raw("{}")).wait()?;
    things.save("a", &raw("{}")).ttl(Duration::from_secs(1)).wait()?;
    fixture.clock().advance(Duration::from_secs(2));
    things.save("a", &raw("{}")).wait()?;
    things.delete("none").wait()?;
    let refused = things.save("a", &raw("{}")).if_absent().wait();
    assert!(refused.is_err());
    things.increment("b", "n", 1).wait()?;
    things.increment("b", "n", 1).wait()?;
    things.save_batch([("c", raw("{}")), ("a", raw("{}"))]).wait()?;
    things.delete_batch(["a", "b", "c"]).wait()?;
    let told = [
        (ADDED, "a"),
        (UPDATED, "a"),
        (ADDED, "a"),
        (ADDED, "b"),
        (UPDATED, "b"),
        (ADDED, "c"),
        (UPDATED, "a"),
        (DELETED, "a"),
        (DELETED, "b"),
        (DELETED, "c"),
    ];
    Ok(told.into_iter().zip(from..).map(|((kind, key), version)| (version, kind, key.to_owned())).collect())
}

pub(in crate::testing) fn qd_14_every_change_in_commit_order(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    things.save("before", &raw("{}")).wait()?;
    let mut changes = things.changes();
    let expected = change_much(&things, fixture, 2)?;
    for expected in expected {
        assert_eq!(next_change(&mut changes)?, expected);
    }
    assert!(changes.try_next().wait_timeout(Duration::from_millis(20)).is_none(), "and no more");
    // Through new definitions, which are no changes, and through the end.
    let spec = || QueryDbSpec::new().index(Index::new("by", ["k"]));
    defined(&store, spec())?;
    things.save("d", &raw(r#"{"k":"x"}"#)).wait()?;
    defined(&store, spec().changes(true))?;
    things.drop_index("by").wait()?;
    things.delete("d").wait()?;
    defined(&store, spec().changes(false))?;
    things.save("e", &raw("{}")).wait()?;
    for expected in [(12, ADDED, "d".into()), (13, DELETED, "d".into()), (14, ADDED, "e".into())] {
        assert_eq!(next_change(&mut changes)?, expected);
    }
    things.save("f", &raw("{}")).wait()?;
    things.drop_query_db().wait()?;
    let replaced = (16, ChangeKind::Replaced, String::new());
    assert_eq!(next_change(&mut changes)?, replaced, "what came before it no longer matters");
    Ok(())
}

pub(in crate::testing) fn qd_14_an_undefined_one_can_be_followed(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    let mut changes = things.changes();
    assert!(changes.try_next().wait_timeout(Duration::from_millis(5)).is_none());
    things.save("a", &raw("{}")).wait()?;
    assert_eq!(next_change(&mut changes)?, (1, ADDED, "a".into()));
    defined(&store, QueryDbSpec::new().index(Index::new("by", ["k"])))?;
    things.save("b", &raw("{}")).wait()?;
    assert_eq!(next_change(&mut changes)?, (2, ADDED, "b".into()), "through a new definition");
    things.drop_query_db().wait()?;
    things.save("a", &raw("{}")).wait()?;
    assert_eq!(next_change(&mut changes)?, (3, ChangeKind::Replaced, String::new()), "everything is gone");
    assert_eq!(next_change(&mut changes)?, (4, ADDED, "a".into()), "and a new beginning");
    Ok(())
}

pub(in crate::testing) fn qd_14_a_drop_is_told(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, kept())?;
    things.save_batch([("a", raw("{}")), ("b", raw("{}"))]).wait()?;
    let mut changes = things.changes();
    things.drop_query_db().wait()?;
    things.drop_query_db().wait()?;
    assert_eq!(next_change(&mut changes)?, (3, ChangeKind::Replaced, String::new()), "once");
    let silent = |changes: &mut Subscription<Change>| {
        changes.try_next().wait_timeout(Duration::from_millis(20)).is_none()
    };
    assert!(silent(&mut changes));
    let mut later = things.changes();
    assert!(silent(&mut later), "nothing was missed by one who begins now");
    things.save("a", &raw("{}")).wait()?;
    for changes in [&mut changes, &mut later] {
        assert_eq!(next_change(changes)?, (4, ADDED, "a".into()));
    }
    // All in one batch: what the drop removed is told as gone, and what came after it.
    let mut batch = store.batch();
    batch.add(things.save("b", &raw("{}")));
    batch.add(things.drop_query_db());
    batch.add(things.save("c", &raw("{}")));
    batch.commit().wait()?;
    assert_eq!(next_change(&mut changes)?, (6, ChangeKind::Replaced, String::new()));
    assert_eq!(next_change(&mut changes)?, (7, ADDED, "c".into()));
    Ok(())
}

pub(in crate::testing) fn qd_14_a_dropped_one_can_be_followed_after_reopening(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, kept())?;
    things.save("a", &raw("{}")).wait()?;
    things.drop_query_db().wait()?;
    let store = fixture.reopen(store)?;
    let things = super::things(&store)?;
    let mut changes = things.changes();
    assert!(changes.try_next().wait_timeout(Duration::from_millis(20)).is_none());
    let mut behind = things.changes().after(1);
    let error = behind.try_next().wait_timeout(PATIENCE).ok_or("the feed is silent")?;
    refused!(error, ErrorKind::ChangesTruncated { oldest: 3 });
    things.save("b", &raw("{}")).wait()?;
    for changes in [&mut changes, &mut behind] {
        assert_eq!(next_change(changes)?, (3, ADDED, "b".into()));
    }
    Ok(())
}

pub(in crate::testing) fn qd_14_kept_changes_can_be_resumed(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, kept())?;
    let expected = change_much(&things, fixture, 1)?;
    for after in 0..=10_u64 {
        let mut changes = things.changes().after(after);
        for expected in &expected[usize::try_from(after)?..] {
            assert_eq!(&next_change(&mut changes)?, expected);
        }
    }
    let mut changes = things.changes().after(10);
    things.save("d", &raw("{}")).wait()?;
    assert_eq!(next_change(&mut changes)?, (11, ADDED, "d".into()));
    Ok(())
}

pub(in crate::testing) fn qd_14_a_refused_batch_is_not_told(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, kept())?;
    let mut changes = things.changes();
    let mut batch = store.batch();
    batch.add(things.save("a", &raw("{}")));
    batch.add(things.drop_query_db());
    batch.add(things.save("b", &raw("{}")));
    batch.add(things.save("b", &raw("{}")).if_absent());
    refused!(batch.commit().wait(), ErrorKind::AlreadyExists);
    let mut batch = store.batch();
    batch.add(things.save("a", &raw("{}")));
    batch.add(things.delete("a"));
    batch.commit().wait()?;
    assert_eq!(next_change(&mut changes)?, (1, ADDED, "a".into()));
    assert_eq!(next_change(&mut changes)?, (2, DELETED, "a".into()));
    Ok(())
}

pub(in crate::testing) fn qd_14_too_old_is_told_once(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, kept())?;
    let batch = |from: u32| (from..from + 2_000).map(|n| (format!("{}", n % 7), raw("{}")));
    for thousand in 0..6 {
        things.save_batch(batch(thousand * 2_000)).wait()?;
    }
    let mut changes = things.changes().after(2_000);
    assert_eq!(next_change(&mut changes)?.0, 2_001, "10,000 are kept");
    for thousand in 6..9 {
        things.save_batch(batch(thousand * 2_000)).wait()?;
    }
    let mut changes = things.changes().after(1);
    let error = changes.try_next().wait_timeout(PATIENCE).ok_or("the feed is silent")?;
    let error = refused!(error, ErrorKind::ChangesTruncated { .. });
    let ErrorKind::ChangesTruncated { oldest } = *error.kind() else { return Err(error.into()) };
    assert!(oldest > 2 && oldest <= 8_001, "{oldest}");
    for version in oldest..=18_000 {
        assert_eq!(next_change(&mut changes)?.0, version, "it goes on with the oldest, and lacks none");
    }
    Ok(())
}

pub(in crate::testing) fn qd_14_a_version_that_was_never_given_is_told(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, kept())?;
    things.save("a", &raw("{}")).wait()?;
    for place in [2, u64::MAX] {
        let last = things.info().wait()?.ok_or("it is defined")?.version;
        let mut changes = things.changes().after(place.max(last + 1));
        let error = changes.try_next().wait_timeout(PATIENCE).ok_or("the feed is silent")?;
        let error = refused!(error, ErrorKind::ChangesTruncated { .. });
        assert_eq!(*error.kind(), ErrorKind::ChangesTruncated { oldest: last + 1 });
        things.save("a", &raw("{}")).wait()?;
        assert_eq!(next_change(&mut changes)?.0, last + 1, "it goes on from where the feed was");
    }
    Ok(())
}

pub(in crate::testing) fn qd_14_no_gap_while_writers_never_stop(fixture: &dyn Fixture) -> CaseResult {
    const EACH: u64 = 150;
    let store = fixture.store()?;
    let (things, other) = (defined(&store, kept())?, store.query_db("Other")?);
    let follow = |mut changes: Subscription<Change>| -> Result<Vec<Change>, BoxError> {
        let mut seen: Vec<Change> = Vec::new();
        while seen.last().is_none_or(|last| last.version < 3 * EACH) {
            let next = changes.try_next().wait_timeout(PATIENCE).ok_or("the feed is silent")??;
            seen.push(next.ok_or("the feed ended")?);
        }
        Ok(seen)
    };
    let answers = in_parallel(5, |thread| match thread {
        0 => follow(things.changes().after(0)),
        1 => {
            std::thread::sleep(Duration::from_millis(10));
            follow(things.changes().after(0))
        }
        writer => {
            for n in 0..EACH {
                things.save(format!("{}", n % 5), &serde_json::json!({ "by": writer })).wait()?;
                other.save("x", &raw("{}")).wait()?;
            }
            Ok(Vec::new())
        }
    })?;
    for seen in &answers[..2] {
        let versions: Vec<u64> = seen.iter().map(|change| change.version).collect();
        assert_eq!(versions, (1..=3 * EACH).collect::<Vec<_>>());
    }
    Ok(())
}

pub(in crate::testing) fn qd_14_closing_ends_it(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = things(&store)?;
    let mut changes = things.changes();
    store.close().wait()?;
    let next = changes.try_next().wait_timeout(PATIENCE).ok_or("the feed is silent")??;
    assert_eq!(next, None);
    Ok(())
}

pub(in crate::testing) fn qd_14_kept_changes_survive_reopening(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let things = defined(&store, kept())?;
    let expected = change_much(&things, fixture, 1)?;
    let store = fixture.reopen(store)?;
    let things = super::things(&store)?;
    things.save("d", &raw("{}")).wait()?;
    let mut changes = things.changes().after(0);
    for expected in expected.into_iter().chain([(11, ADDED, "d".to_owned())]) {
        assert_eq!(next_change(&mut changes)?, expected);
    }
    Ok(())
}
