//! Putting, getting, deleting and listing: tb_01 and tb_02.

use std::time::{Duration, SystemTime};

use super::{Told, bucket, claim, keys, once};
use crate::{
    error::ErrorKind,
    limits::Limits,
    page::Page,
    task_bucket::{ObjectInfo, TaskKind},
    testing::{
        fixture::Fixture,
        support::{CaseResult, backend, orders, refused},
    },
};

fn listed(page: &Page<ObjectInfo>) -> Vec<&str> {
    page.into_iter().map(|info| info.key.as_str()).collect()
}

pub(in crate::testing) fn tb_01_an_object_is_what_was_put(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_225_600_123_456);
    fixture.clock().set(now);
    let bucket = bucket(&store)?;
    assert_eq!(bucket.get("a").wait()?, None);
    assert_eq!(bucket.head("a").wait()?, None);
    let put = bucket.put("a", [0, 159, 146, 150]).content_type("image/png").wait()?;
    assert!(!put.replaced);
    let object = bucket.get("a").wait()?.ok_or("it was put")?;
    assert_eq!(object.bytes, [0, 159, 146, 150]);
    assert_eq!(Some(&object.info), bucket.head("a").wait()?.as_ref());
    let info = &object.info;
    assert_eq!((info.key.as_str(), info.version, info.length), ("a", put.version, 4));
    assert_eq!((info.content_type.as_deref(), info.recorded_at), (Some("image/png"), now));
    refused!(bucket.get_text("a").wait(), ErrorKind::Decode);

    let again = bucket.put("a", "text").wait()?;
    assert!(again.replaced && again.version > put.version);
    assert_eq!(bucket.get_text("a").wait()?.as_deref(), Some("text"));
    assert_eq!(bucket.head("a").wait()?.ok_or("it was put")?.content_type, None);
    bucket.put("empty", "").wait()?;
    assert_eq!(bucket.get_text("empty").wait()?.as_deref(), Some(""));
    assert_eq!(store.task_bucket("other")?.get("a").wait()?, None);
    Ok(())
}

pub(in crate::testing) fn tb_01_if_absent_does_not_replace(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    bucket.put("a", "first").if_absent().wait()?;
    refused!(bucket.put("a", "second").if_absent().wait(), ErrorKind::AlreadyExists);
    assert_eq!(bucket.get_text("a").wait()?.as_deref(), Some("first"));
    assert!(bucket.delete("a").wait()?);
    assert!(!bucket.delete("a").wait()?);
    let third = bucket.put("a", "third").if_absent().wait()?;
    assert!(!third.replaced);
    // The refused put left nothing: two puts, two triggers.
    assert_eq!(store.stats().wait()?.task_buckets[0].triggers, 2);
    Ok(())
}

pub(in crate::testing) fn tb_01_names_and_sizes_are_checked(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.open(Limits { object_bytes: 10, ..Limits::default() })?;
    refused!(store.task_bucket("no spaces"), ErrorKind::InvalidArgument { field: "bucket", .. });
    let bucket = bucket(&store)?;
    let long = "x".repeat(1_025);
    for key in ["", "a\nb", long.as_str()] {
        refused!(bucket.put(key, "x").wait(), ErrorKind::InvalidArgument { field: "key", .. });
        refused!(bucket.get(key).wait(), ErrorKind::InvalidArgument { field: "key", .. });
        refused!(bucket.head(key).wait(), ErrorKind::InvalidArgument { field: "key", .. });
        refused!(bucket.delete(key).wait(), ErrorKind::InvalidArgument { field: "key", .. });
    }
    refused!(bucket.list("a\nb").wait(), ErrorKind::InvalidArgument { field: "prefix", .. });
    let write = bucket.put("a", "x").content_type("");
    refused!(write.wait(), ErrorKind::InvalidArgument { field: "content type", .. });
    bucket.put("a", vec![0; 10]).wait()?;
    let write = bucket.put("a", vec![0; 11]);
    refused!(write.wait(), ErrorKind::TooLarge { field: "object", limit: 10, actual: 11 });
    assert_eq!(bucket.head("a").wait()?.ok_or("it was put")?.length, 10);
    Ok(())
}

pub(in crate::testing) fn tb_01_listings_are_in_order_and_lose_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.open(Limits { read_events: 6, ..Limits::default() })?;
    let bucket = bucket(&store)?;
    for key in ["b/2", "a", "b/10", "b", "b/é", "b/\u{10ffff}x", "c"] {
        bucket.put(key, key).without_trigger().wait()?;
    }
    assert_eq!(listed(&bucket.list("b/").wait()?), ["b/10", "b/2", "b/é", "b/\u{10ffff}x"]);
    assert_eq!(listed(&bucket.list("b/").descending().limit(2).wait()?), ["b/\u{10ffff}x", "b/é"]);
    assert_eq!(listed(&bucket.list("d").wait()?), [""; 0]);
    // A place outside the prefix has all of it behind it, or none.
    for (after, up, down) in [("a", 4, 0), ("b/", 4, 0), ("b/2", 2, 1), ("b0", 0, 4), ("c", 0, 4)] {
        let read = || bucket.list("b/").after(after.to_owned());
        let counted = (read().wait()?.items.len(), read().descending().wait()?.items.len());
        assert_eq!(counted, (up, down), "{after}");
    }
    refused!(bucket.list("").wait(), ErrorKind::TooLarge { .. });
    for descending in [false, true] {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let read = bucket.list("").limit(2).after(after);
            let page = if descending { read.descending() } else { read }.wait()?;
            all.extend(page.items.iter().map(|info| info.key.clone()));
            after = page.next.clone();
            if after.is_none() {
                break;
            }
            // What goes while the listing goes on disturbs nothing else.
            bucket.put("b/99", "x").without_trigger().wait()?;
            bucket.delete("b/99").wait()?;
        }
        let mut expected = vec!["a", "b", "b/10", "b/2", "b/é", "b/\u{10ffff}x", "c"];
        if descending {
            expected.reverse();
        }
        assert_eq!(all, expected);
    }
    assert_eq!(bucket.list("").each().wait_iter().count(), 7);
    Ok(())
}

pub(in crate::testing) fn tb_01_stats_and_verify_count_them(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    bucket.put("a", "12345").wait()?;
    bucket.put("b", "678").without_trigger().wait()?;
    store.task_bucket("another")?.put("c", "").wait()?;
    let stats = store.stats().wait()?.task_buckets;
    let told: Vec<_> = stats
        .iter()
        .map(|bucket| (bucket.name.as_str(), bucket.objects, bucket.bytes, bucket.triggers))
        .collect();
    assert_eq!(told, [("another", 1, 0, 1), ("mails", 2, 8, 1)]);
    let report = store.verify(crate::Progress::default()).wait()?;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.objects, report.triggers), (3, 2));
    Ok(())
}

pub(in crate::testing) fn tb_02_a_trigger_commits_with_its_put(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let (log, bucket) = (orders(&store)?, bucket(&store)?);
    let mut batch = store.batch();
    batch.add(bucket.put("a", "x"));
    let guard = batch.require_head(&log, "order-1", 9);
    let error = refused!(batch.commit().wait(), ErrorKind::Conflict { .. });
    assert_eq!(error.index(), Some(guard.index()));
    assert_eq!(bucket.get("a").wait()?, None);
    assert_eq!(claim(&backend(&store)?, 9)?, []);

    let mut batch = store.batch().id(uuid::Uuid::from_u128(5));
    let put = batch.add(bucket.put("a", "x"));
    let deleted = batch.add(bucket.delete("nothing").with_trigger());
    let committed = batch.commit().wait()?;
    assert!(!committed[deleted]);
    let mut repeated = store.batch().id(uuid::Uuid::from_u128(5));
    let again = repeated.add(bucket.put("a", "x"));
    repeated.add(bucket.delete("nothing").with_trigger());
    assert_eq!(repeated.commit().wait()?[again], committed[put]);
    let claimed = claim(&backend(&store)?, 9)?;
    assert_eq!(keys(&claimed), ["a"]);
    assert_eq!((claimed[0].version, claimed[0].kind), (committed[put].version, TaskKind::ObjectCreated));
    Ok(())
}

pub(in crate::testing) fn tb_02_a_task_tells_what_became_of_its_object(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    let first = bucket.put("replaced", "old").wait()?;
    bucket.put("replaced", "new").without_trigger().wait()?;
    bucket.put("gone", "x").wait()?;
    bucket.delete("gone").with_trigger().wait()?;
    bucket.put("silent", "x").without_trigger().wait()?;
    let told = Told::default();
    let tell = told.clone();
    bucket
        .work(once(), move |task| {
            let current = task.is_current();
            let (kind, text, version) =
                (task.kind, task.text().unwrap_or("?").to_owned(), task.object_version);
            tell.tell(format!("{} {kind} {text:?} {current} {}", task.key, version.is_some()));
            if task.key == "replaced" {
                assert!(task.version == first.version && version > Some(first.version));
            }
            async { Ok(()) }
        })
        .wait()?;
    let mut lines = told.lines();
    lines.sort();
    let expected = [
        "gone ObjectCreated \"\" false false",
        "gone ObjectRemoved \"\" false false",
        "replaced ObjectCreated \"new\" false true",
    ];
    assert_eq!(lines, expected);
    Ok(())
}

pub(in crate::testing) fn tb_02_what_is_never_due_is_kept(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    bucket.put("never", "x").not_before(Duration::MAX).wait()?;
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 44);
    bucket.put("hardly ever", "x").not_before(last).wait()?;
    bucket.put("now", "x").wait()?;
    fixture.clock().advance(Duration::from_secs(1 << 40));
    assert_eq!(keys(&claim(&backend(&store)?, 9)?), ["now"]);
    assert!(store.verify(crate::Progress::default()).wait()?.is_sound());
    Ok(())
}

pub(in crate::testing) fn tb_02_objects_and_triggers_are_kept_over_reopening(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    bucket(&store)?.put("a", "x").content_type("text/plain").wait()?;
    let first = claim(&backend(&store)?, 1)?;
    let store = fixture.reopen(store)?;
    assert_eq!(bucket(&store)?.get_text("a").wait()?.as_deref(), Some("x"));
    assert_eq!(claim(&backend(&store)?, 1)?, []);
    fixture.clock().advance(Duration::from_secs(10));
    let second = claim(&backend(&store)?, 1)?;
    assert_eq!((first[0].attempt, second[0].attempt), (1, 2));
    assert_eq!(first[0].lease.trigger, second[0].lease.trigger);
    Ok(())
}
