//! Saving, finding, pruning, deleting and listing: sn_01 to sn_06.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::{places, snapshots, some, told};
use crate::{
    error::ErrorKind,
    event::{Payload, Position},
    limits::Limits,
    snapshot::{SnapshotInfo, SnapshotPlace, Subject},
    store::Store,
    testing::{
        fixture::Fixture,
        support::{CaseResult, Numbers, numbered, orders, refused},
    },
};

pub(in crate::testing) fn sn_01_a_snapshot_is_what_was_saved(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_225_600_123_456);
    fixture.clock().set(now);
    let snapshots = snapshots(&store)?;
    snapshots.save("order-1", 42, &("paid", 3)).schema("order.v2").wait()?;
    fixture.clock().advance(Duration::from_secs(1));
    let found = snapshots.latest("order-1").wait()?.ok_or("it was saved")?;
    assert_eq!((&*found.log, &found.subject, found.at), ("orders", &Subject::stream("order-1"), 42));
    assert_eq!((found.schema.as_deref(), found.recorded_at), (Some("order.v2"), now));
    assert_eq!(found.state, Payload::Json(r#"["paid",3]"#.into()));
    assert_eq!(found.decode::<(&str, u32)>()?, ("paid", 3));
    refused!(found.decode::<u32>(), ErrorKind::Decode);

    snapshots.save_bytes("order-2", 1, [0, 159, 146, 150]).wait()?;
    let found = snapshots.latest("order-2").wait()?.ok_or("it was saved")?;
    assert_eq!((found.schema.as_deref(), &found.state), (None, &Payload::Bytes(vec![0, 159, 146, 150])));
    refused!(found.decode::<u32>(), ErrorKind::Decode);
    Ok(())
}

pub(in crate::testing) fn sn_01_streams_queries_and_logs_are_apart(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (here, there) = (snapshots(&store)?, store.event_log("other")?.snapshots());
    here.save("a", 1, "stream").wait()?;
    here.save(Subject::query("a"), Position::new(2), "query").wait()?;
    here.save("aa", 3, "longer").wait()?;
    there.save("a", 4, "elsewhere").wait()?;
    assert_eq!(told(here.latest("a").wait()?), some(1, "\"stream\""));
    assert_eq!(told(here.latest(Subject::query("a")).wait()?), some(2, "\"query\""));
    assert_eq!(told(there.latest(String::from("a")).wait()?), some(4, "\"elsewhere\""));
    assert_eq!(here.delete("a", 9).wait()?, 1);
    let a = String::from("a");
    assert_eq!(told(here.latest(Subject::query("a")).wait()?), some(2, "\"query\""));
    assert_eq!(told(here.latest(Subject::stream("aa")).wait()?), some(3, "\"longer\""));
    assert_eq!(told(there.latest(&a).wait()?), some(4, "\"elsewhere\""));
    Ok(())
}

pub(in crate::testing) fn sn_01_saving_again_replaces(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?;
    snapshots.save("s", 1, "first").schema("v1").wait()?;
    snapshots.save("s", 1, "second").wait()?;
    let found = snapshots.latest("s").wait()?.ok_or("it was saved")?;
    assert_eq!((found.schema.as_deref(), found.decode::<String>()?), (None, "second".to_owned()));
    assert_eq!(places(&snapshots.list("s").wait()?), [1]);
    Ok(())
}

pub(in crate::testing) fn sn_01_names_and_places_are_checked(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?;
    let long = "x".repeat(1_025);
    for name in ["", "a\nb", long.as_str()] {
        let query = Subject::query(name);
        refused!(snapshots.save(name, 1, &1).wait(), ErrorKind::InvalidArgument { field: "stream", .. });
        refused!(snapshots.latest(name).wait(), ErrorKind::InvalidArgument { field: "stream", .. });
        refused!(snapshots.latest_for(name, "v").wait(), ErrorKind::InvalidArgument { field: "stream", .. });
        refused!(snapshots.before(name, 1).wait(), ErrorKind::InvalidArgument { field: "stream", .. });
        refused!(snapshots.delete(name, 1).wait(), ErrorKind::InvalidArgument { field: "stream", .. });
        refused!(snapshots.list(name).wait(), ErrorKind::InvalidArgument { field: "stream", .. });
        refused!(snapshots.latest(&query).wait(), ErrorKind::InvalidArgument { field: "query", .. });
        let write = snapshots.save("s", 1, &1).schema(name);
        refused!(write.wait(), ErrorKind::InvalidArgument { field: "schema", .. });
    }
    refused!(snapshots.save("s", 0, &1).wait(), ErrorKind::InvalidArgument { field: "at", .. });
    refused!(snapshots.save("s", 1 << 47, &1).wait(), ErrorKind::TooLarge { field: "at", .. });
    let no_json = std::collections::BTreeMap::from([((1, 2), 3)]);
    refused!(snapshots.save("s", 1, &no_json).wait(), ErrorKind::InvalidArgument { field: "state", .. });
    assert_eq!(store.snapshots().wait()?.items, []);
    snapshots.save("s", (1 << 47) - 1, &1).wait()?;
    snapshots.save("日".repeat(341), 1, &1).schema("é").wait()?;
    Ok(())
}

pub(in crate::testing) fn sn_01_a_state_has_a_limit(fixture: &dyn Fixture) -> CaseResult {
    let limits = Limits { snapshot_bytes: 2_000, ..Limits::default() };
    let store = fixture.open(limits)?;
    let snapshots = snapshots(&store)?;
    snapshots.save_bytes("s", 1, vec![b' '; 2_000]).wait()?;
    let write = snapshots.save_bytes("s", 2, vec![b' '; 2_001]);
    refused!(write.wait(), ErrorKind::TooLarge { field: "snapshot state", limit: 2_000, actual: 2_001 });
    assert_eq!(places(&snapshots.list("s").wait()?), [1]);
    Ok(())
}

pub(in crate::testing) fn sn_01_a_save_is_part_of_a_batch(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (log, snapshots) = (orders(&store)?, snapshots(&store)?);
    let mut batch = store.batch();
    let placed = batch.add(log.append("s", 0, numbered(3)));
    let saved = batch.add(snapshots.save("s", 3, "three").schema("v1"));
    let deleted = batch.add(snapshots.delete("s", 2));
    let committed = batch.commit().wait()?;
    assert_eq!((committed[placed].last_seq_nr, committed[saved].pruned, committed[deleted]), (3, 0, 0));

    let before = store.snapshots().wait()?;
    let mut batch = store.batch();
    batch.add(snapshots.save("s", 3, "other").keep(1));
    batch.add(snapshots.save("s", 4, "four").keep(1));
    batch.add(snapshots.delete("s", 9));
    batch.add(snapshots.save("t", 1, "one"));
    let guard = batch.require_head(&log, "s", 9);
    let error = refused!(batch.commit().wait(), ErrorKind::Conflict { .. });
    assert_eq!(error.index(), Some(guard.index()));
    assert_eq!(store.snapshots().wait()?, before);
    assert_eq!(told(snapshots.latest("s").wait()?), some(3, "\"three\""));
    Ok(())
}

pub(in crate::testing) fn sn_01_a_repeated_batch_answers_as_the_first_time(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?;
    let commit = |state: &str| {
        let mut batch = store.batch().id(Uuid::from_u128(7));
        let saved: Vec<_> = (1..=5).map(|at| batch.add(snapshots.save("s", at, state))).collect();
        let deleted = batch.add(snapshots.delete("s", 3));
        let committed = batch.commit().wait()?;
        let pruned: Vec<_> = saved.into_iter().map(|slot| committed[slot].pruned).collect();
        Ok::<_, crate::Error>((pruned, committed[deleted]))
    };
    let first = commit("first")?;
    assert_eq!(first, (vec![0, 0, 0, 1, 1], 1));
    assert_eq!(commit("second")?, first);
    assert_eq!(told(snapshots.latest("s").wait()?), some(5, "\"first\""));
    Ok(())
}

pub(in crate::testing) fn sn_01_compaction_keeps_and_dropping_removes(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (log, snapshots) = (orders(&store)?, snapshots(&store)?);
    log.append("s", 0, numbered(3)).wait()?;
    snapshots.save("s", 2, "two").wait()?;
    snapshots.save(Subject::query("q"), Position::new(2), "two").wait()?;
    let elsewhere = store.event_log("other")?.snapshots();
    elsewhere.save("s", 1, "one").wait()?;
    log.compact("s", 3).wait()?;
    log.trim(Position::new(3)).wait()?;
    assert_eq!(told(snapshots.latest("s").wait()?), some(2, "\"two\""));

    let mut batch = store.batch();
    batch.add(log.drop_log());
    batch.require_head(&log, "s", 9);
    refused!(batch.commit().wait(), ErrorKind::Conflict { .. });
    assert_eq!(snapshots.all().wait()?.items.len(), 2, "the drop was taken back");
    log.drop_log().wait()?;
    assert_eq!(snapshots.all().wait()?.items, []);
    assert_eq!(told(elsewhere.latest("s").wait()?), some(1, "\"one\""));
    Ok(())
}

pub(in crate::testing) fn sn_01_snapshots_are_kept_over_reopening(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    snapshots(&store)?.save("s", 3, &"x".repeat(5_000)).schema("v1").wait()?;
    snapshots(&store)?.save(Subject::query("q"), Position::new(9), "nine").wait()?;
    let before = (store.snapshots().wait()?, snapshots(&store)?.latest("s").wait()?);
    let store = fixture.reopen(store)?;
    assert_eq!((store.snapshots().wait()?, snapshots(&store)?.latest("s").wait()?), before);
    Ok(())
}

pub(in crate::testing) fn sn_02_latest_is_the_highest_place(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?;
    assert_eq!(snapshots.latest("s").wait()?, None);
    for at in [10, 30, 20] {
        snapshots.save("s", at, &at).wait()?;
    }
    assert_eq!(told(snapshots.latest("s").wait()?), some(30, "30"));
    assert_eq!(snapshots.latest("t").wait()?, None);
    assert_eq!(snapshots.latest(Subject::query("s")).wait()?, None);
    Ok(())
}

pub(in crate::testing) fn sn_03_before_is_strictly_below(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?;
    for at in [10, 20] {
        snapshots.save("s", at, &at).wait()?;
    }
    let before = |at| snapshots.before("s", at).wait().map(|found| found.map(|found| found.at));
    assert_eq!((before(0)?, before(10)?, before(11)?), (None, None, Some(10)));
    assert_eq!((before(20)?, before(21)?, before(u64::MAX)?), (Some(10), Some(20), Some(20)));
    let query = Subject::query("q");
    snapshots.save(&query, Position::new(5), &5).wait()?;
    assert_eq!(told(snapshots.before(&query, Position::new(6)).wait()?), some(5, "5"));
    assert_eq!(snapshots.before(query, Position::new(5)).wait()?, None);
    Ok(())
}

pub(in crate::testing) fn sn_04_delete_is_inclusive_and_idempotent(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?;
    for at in [10, 20, 30] {
        snapshots.save("s", at, &at).wait()?;
    }
    snapshots.save("t", 1, &1).wait()?;
    assert_eq!((snapshots.delete("s", 9).wait()?, snapshots.delete("unknown", 9).wait()?), (0, 0));
    assert_eq!((snapshots.delete("s", 20).wait()?, snapshots.delete("s", 20).wait()?), (2, 0));
    assert_eq!(places(&snapshots.list("s").wait()?), [30]);
    assert_eq!(snapshots.delete("s", u64::MAX).wait()?, 1);
    assert_eq!(snapshots.latest("s").wait()?, None);
    assert_eq!(places(&snapshots.all().wait()?), [1]);
    Ok(())
}

pub(in crate::testing) fn sn_05_three_are_kept(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?;
    snapshots.save("t", 1, &1).wait()?;
    let pruned: Vec<u64> = (1..=5)
        .map(|at| snapshots.save("s", at * 10, &at).wait().map(|saved| saved.pruned))
        .collect::<Result<_, _>>()?;
    assert_eq!(pruned, [0, 0, 0, 1, 1]);
    assert_eq!(places(&snapshots.list("s").wait()?), [30, 40, 50]);
    assert_eq!(places(&snapshots.list("t").wait()?), [1], "another subject is another matter");
    Ok(())
}

pub(in crate::testing) fn sn_05_how_many_is_a_choice(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let all = snapshots(&store)?.keep(0);
    for at in 1..=10 {
        assert_eq!(all.save("s", at, &at).wait()?.pruned, 0);
    }
    assert_eq!(all.list("s").wait()?.items.len(), 10);
    assert_eq!(all.save("s", 11, &11).keep(4).wait()?.pruned, 7);
    assert_eq!(places(&all.list("s").wait()?), [8, 9, 10, 11]);
    assert_eq!(all.save("s", 11, &12).keep(1).wait()?.pruned, 3);
    assert_eq!(all.save("s", 12, &12).keep(u64::MAX).wait()?.pruned, 0);
    assert_eq!(places(&all.list("s").wait()?), [11, 12]);
    Ok(())
}

pub(in crate::testing) fn sn_05_what_was_just_saved_stays(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?.keep(2);
    for at in [10, 20] {
        snapshots.save("s", at, &at).wait()?;
    }
    assert_eq!(snapshots.save("s", 5, &5).wait()?.pruned, 0);
    assert_eq!(places(&snapshots.list("s").wait()?), [5, 10, 20]);
    assert_eq!(snapshots.save("s", 6, &6).wait()?.pruned, 1);
    assert_eq!(places(&snapshots.list("s").wait()?), [6, 10, 20]);
    assert_eq!(snapshots.save("s", 30, &30).wait()?.pruned, 2);
    assert_eq!(places(&snapshots.list("s").wait()?), [20, 30]);
    Ok(())
}

pub(in crate::testing) fn sn_06_other_schemas_are_passed_over(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?;
    snapshots.save("s", 1, &1).schema("v1").wait()?;
    snapshots.save("s", 2, &2).schema("v2").wait()?;
    snapshots.save("s", 3, &3).wait()?;
    let latest_for = |schema: &str| snapshots.latest_for("s", schema).wait().map(told);
    assert_eq!((latest_for("v1")?, latest_for("v2")?), (some(1, "1"), some(2, "2")));
    assert_eq!((latest_for("v3")?, latest_for("")?, latest_for("V1")?), (None, None, None));
    assert_eq!(told(snapshots.latest("s").wait()?), some(3, "3"));
    assert_eq!(told(snapshots.before("s", 3).wait()?), some(2, "2"));
    Ok(())
}

/// Some snapshots in a random order, and their places as they should be listed.
fn scattered(store: &Store) -> crate::Result<Vec<SnapshotPlace>> {
    let mut numbers = Numbers(11);
    let mut saved = std::collections::BTreeSet::new();
    for _ in 0..150 {
        let log = numbers.one_of(&["a", "b", "b.c"]);
        let name = numbers.one_of(&["x", "x y", "xä", "日", "\u{10ffff}"]);
        let at = 1 + numbers.below(5);
        let snapshots = store.event_log(log)?.snapshots().keep(0);
        let subject = if numbers.below(2) == 0 {
            snapshots.save(name, at, &"x".repeat(500)).wait()?;
            Subject::stream(name)
        } else {
            snapshots.save(Subject::query(name), Position::new(at), &1).wait()?;
            Subject::Query(name.to_owned())
        };
        saved.insert(SnapshotPlace { log: log.into(), subject, at });
    }
    Ok(saved.into_iter().collect())
}

fn place(info: &SnapshotInfo) -> SnapshotPlace {
    SnapshotPlace { log: info.log.clone(), subject: info.subject.clone(), at: info.at }
}

pub(in crate::testing) fn sn_01_listings_are_in_order_and_lose_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let expected = scattered(&store)?;
    let b: Arc<str> = "b".into();
    let of_b: Vec<_> = expected.iter().filter(|place| place.log == b).cloned().collect();
    let subject = Subject::stream("xä");
    let of_subject: Vec<_> = of_b.iter().filter(|place| place.subject == subject).cloned().collect();
    assert!(!of_subject.is_empty() && of_subject.len() < of_b.len() && of_b.len() < expected.len());

    let snapshots = store.event_log("b")?.snapshots();
    let listings: [(&dyn Fn() -> crate::Read<SnapshotInfo>, _); 3] = [
        (&|| store.snapshots(), expected),
        (&|| snapshots.all(), of_b),
        (&|| snapshots.list(&subject), of_subject),
    ];
    for (listing, expected) in listings {
        let backwards: Vec<_> = expected.iter().rev().cloned().collect();
        for limit in [1, 2, 7, 1_000] {
            let up: crate::Result<Vec<_>> = listing().limit(limit).each().wait_iter().collect();
            assert_eq!(up?.iter().map(place).collect::<Vec<_>>(), expected, "pages of {limit}");
            let down: crate::Result<Vec<_>> =
                listing().descending().limit(limit).each().wait_iter().collect();
            assert_eq!(down?.iter().map(place).collect::<Vec<_>>(), backwards, "pages of {limit}");
        }
    }
    Ok(())
}

pub(in crate::testing) fn sn_01_a_listing_starts_anywhere(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let expected = scattered(&store)?;
    let snapshots = store.event_log("b")?.snapshots();
    let elsewhere = SnapshotPlace { log: "bb".into(), subject: Subject::stream("none"), at: 3 };
    for after in expected.iter().step_by(7).chain([&elsewhere]) {
        let of_b = |beyond: &dyn Fn(&SnapshotPlace) -> bool| {
            expected.iter().filter(|place| &*place.log == "b" && beyond(place)).cloned().collect::<Vec<_>>()
        };
        let page = snapshots.all().after(after.clone()).wait()?;
        assert_eq!(page.items.iter().map(place).collect::<Vec<_>>(), of_b(&|place| place > after));
        let page = snapshots.all().after(after.clone()).descending().wait()?;
        let mut below = of_b(&|place| place < after);
        below.reverse();
        assert_eq!(page.items.iter().map(place).collect::<Vec<_>>(), below);
    }
    Ok(())
}

pub(in crate::testing) fn sn_01_everything_or_too_large(fixture: &dyn Fixture) -> CaseResult {
    let limits = Limits { read_events: 3, ..Limits::default() };
    let store = fixture.open(limits)?;
    let snapshots = snapshots(&store)?.keep(0);
    for at in 1..=3 {
        snapshots.save("s", at, &at).wait()?;
    }
    assert_eq!(places(&snapshots.list("s").wait()?), [1, 2, 3]);
    snapshots.save("s", 4, &4).wait()?;
    refused!(snapshots.list("s").wait(), ErrorKind::TooLarge { limit: 3, .. });
    assert_eq!(snapshots.list("s").limit(10).wait()?.items.len(), 4);
    assert_eq!(snapshots.list("s").each().wait_iter().count(), 4);
    Ok(())
}

pub(in crate::testing) fn sn_01_stats_and_verify_count_them(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?;
    assert_eq!(store.stats().wait()?.snapshots, crate::SnapshotStats::default());
    for at in 1..=3 {
        snapshots.save_bytes("s", at, vec![1; 100]).wait()?;
    }
    snapshots.save(Subject::query("s"), Position::new(1), &1).wait()?;
    let stats = store.stats().wait()?.snapshots;
    assert_eq!((stats.snapshots, stats.subjects), (4, 2));
    assert_eq!(stats.bytes, snapshots.all().wait()?.items.iter().map(|info| info.stored_bytes).sum::<u64>());
    let report = store.verify(crate::Progress::default()).wait()?;
    assert_eq!((report.snapshots, report.findings), (4, Vec::new()));
    Ok(())
}
