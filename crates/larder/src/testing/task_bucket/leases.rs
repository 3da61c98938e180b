//! Claims and leases, beneath the worker: tb_03 and tb_04.

use std::{collections::HashSet, time::Duration};

use super::{acknowledge, bucket, claim, commit, keys};
use crate::{
    backend::TaskBucketOperation,
    clock::Clock,
    error::ErrorKind,
    testing::{
        fixture::Fixture,
        support::{CaseResult, backend, in_parallel, refused},
    },
};

pub(in crate::testing) fn tb_03_a_lease_has_one_holder_until_it_runs_out(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    bucket(&store)?.put("a", "x").wait()?;
    let backend = backend(&store)?;
    let first = claim(&backend, 9)?;
    fixture.clock().advance(Duration::from_micros(9_999_999));
    assert_eq!(claim(&backend, 9)?, []);
    fixture.clock().advance(Duration::from_micros(1));
    // It has run out, though nobody has taken it yet.
    refused!(acknowledge(&backend, first[0].lease), ErrorKind::LeaseLost);
    let second = claim(&backend, 9)?;
    assert_eq!(keys(&second), ["a"]);
    refused!(acknowledge(&backend, first[0].lease), ErrorKind::LeaseLost);
    acknowledge(&backend, second[0].lease)?;
    refused!(acknowledge(&backend, second[0].lease), ErrorKind::LeaseLost);
    fixture.clock().advance(Duration::from_secs(3_600));
    assert_eq!(claim(&backend, 9)?, []);
    Ok(())
}

pub(in crate::testing) fn tb_03_a_lease_is_renewed_from_now(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    bucket(&store)?.put("a", "x").wait()?;
    let backend = backend(&store)?;
    let lease = claim(&backend, 1)?[0].lease;
    let renew = || {
        commit(&backend, TaskBucketOperation::Renew { bucket: "mails".into(), lease, duration: 10_000_000 })
    };
    for _ in 0..5 {
        fixture.clock().advance(Duration::from_secs(9));
        renew()?;
        assert_eq!(claim(&backend, 1)?, []);
    }
    fixture.clock().advance(Duration::from_secs(10));
    refused!(renew(), ErrorKind::LeaseLost);
    assert_eq!(claim(&backend, 1)?.len(), 1);
    Ok(())
}

pub(in crate::testing) fn tb_03_who_never_comes_back_leaves_a_dead_letter(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    bucket.put("a", "x").wait()?;
    let backend = backend(&store)?;
    for attempt in 1..=3 {
        assert_eq!(claim(&backend, 1)?[0].attempt, attempt);
        fixture.clock().advance(Duration::from_secs(10));
    }
    assert_eq!(claim(&backend, 1)?, []);
    let letters = bucket.dead_letters().wait()?.items;
    assert_eq!((letters.len(), letters[0].attempts), (1, 3));
    assert!(letters[0].error.contains("did not come back"), "{}", letters[0].error);
    Ok(())
}

pub(in crate::testing) fn tb_03_claims_take_who_waits_longest(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    bucket.put("later", "x").not_before(Duration::from_secs(5)).wait()?;
    let at = fixture.clock().now() + Duration::from_secs(3);
    bucket.put("sooner", "x").not_before(at).wait()?;
    bucket.put("now", "x").wait()?;
    let backend = backend(&store)?;
    assert_eq!(keys(&claim(&backend, 9)?), ["now"]);
    fixture.clock().advance(Duration::from_secs(9));
    assert_eq!(keys(&claim(&backend, 1)?), ["sooner"]);
    assert_eq!(keys(&claim(&backend, 9)?), ["later"]);
    Ok(())
}

pub(in crate::testing) fn tb_03_concurrent_claims_share_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    for n in 0..100 {
        bucket.put(format!("key-{n}"), "x").wait()?;
    }
    let backend = backend(&store)?;
    let claims = in_parallel(4, |_| {
        let mut all = Vec::new();
        loop {
            let claimed = claim(&backend, 3)?;
            if claimed.is_empty() {
                return Ok(all);
            }
            all.extend(claimed.into_iter().map(|claimed| claimed.key));
        }
    })?;
    let all: Vec<_> = claims.into_iter().flatten().collect();
    assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (100, 100));
    Ok(())
}

pub(in crate::testing) fn tb_04_one_of_a_key_at_a_time_in_order(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    let versions = [bucket.put("a", "1").wait()?.version, bucket.put("a", "2").wait()?.version];
    bucket.put("b", "1").wait()?;
    let backend = backend(&store)?;
    let first = claim(&backend, 9)?;
    assert_eq!(keys(&first), ["a", "b"]);
    assert_eq!(claim(&backend, 9)?, []);

    let (bucket_name, lease) = ("mails".into(), first[0].lease);
    let error = String::from("not yet");
    commit(
        &backend,
        TaskBucketOperation::Fail { bucket: bucket_name, lease, error, retry_after: Some(5_000_000) },
    )?;
    refused!(acknowledge(&backend, lease), ErrorKind::LeaseLost);
    bucket.put("b", "2").wait()?;
    acknowledge(&backend, first[1].lease)?;
    assert_eq!(keys(&claim(&backend, 9)?), ["b"]);

    fixture.clock().advance(Duration::from_secs(5));
    let again = claim(&backend, 9)?;
    assert_eq!((again[0].version, again[0].attempt, again.len()), (versions[0], 2, 1));
    acknowledge(&backend, again[0].lease)?;
    let next = claim(&backend, 9)?;
    assert_eq!((next[0].version, next[0].attempt, next.len()), (versions[1], 1, 1));
    Ok(())
}

pub(in crate::testing) fn tb_04_a_dead_letter_lets_the_next_one_go(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let bucket = bucket(&store)?;
    for text in ["1", "2", "3"] {
        bucket.put("a", text).wait()?;
    }
    let backend = backend(&store)?;
    for _ in 0..2 {
        let lease = claim(&backend, 9)?[0].lease;
        let fail = TaskBucketOperation::Fail {
            bucket: "mails".into(),
            lease,
            error: "é".repeat(9_000),
            retry_after: None,
        };
        commit(&backend, fail)?;
    }
    let letters = bucket.dead_letters().wait()?.items;
    assert_eq!((letters.len(), letters[0].attempts, letters[0].error.len()), (2, 1, 4_096));
    let last = claim(&backend, 9)?;
    assert_eq!((last.len(), last[0].version > letters[1].version), (1, true));

    // A re-driven one queues behind the others of its key, as good as new.
    assert_eq!(bucket.redrive(letters[1].trigger).wait()?, 1);
    assert_eq!(bucket.redrive(letters[1].trigger).wait()?, 0);
    assert_eq!(claim(&backend, 9)?, []);
    acknowledge(&backend, last[0].lease)?;
    let redriven = claim(&backend, 9)?;
    assert_eq!((redriven[0].version, redriven[0].attempt), (letters[1].version, 1));
    assert_eq!((&redriven[0].key, redriven[0].kind), (&letters[1].key, letters[1].kind));
    assert_ne!(redriven[0].lease.trigger, letters[1].trigger, "its number is new");
    assert_eq!(bucket.discard(None).wait()?, 1);
    assert_eq!(bucket.dead_letters().wait()?.items, []);
    assert!(store.verify(crate::Progress::default()).wait()?.is_sound());
    Ok(())
}
