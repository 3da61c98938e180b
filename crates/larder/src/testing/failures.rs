//! Cases of the rules `fl_*` that need no broken disk. Full disks, failing syncs, lost writes and flipped bits
//! are injected by the crate `larder-crash`.

#[cfg(feature = "sqlite")]
pub(super) mod sqlite;

use std::time::Duration;

use uuid::Uuid;

use super::{
    fixture::Fixture,
    support::{CaseResult, event, everything, in_parallel, numbered, orders, refused},
};
use crate::{backend::Progress, clock::Clock, error::ErrorKind, event_log::Expected, query::Query};

pub(super) fn fl_01_what_was_acknowledged_is_there(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let acknowledged = in_parallel(4, |thread| {
        let mut last = 0;
        for _ in 0..25 {
            last = log.append(format!("s{thread}"), Expected::Any, numbered(2)).wait()?.last_seq_nr;
        }
        Ok(last)
    })?;
    let before = everything(&log)?;
    let store = fixture.reopen(store)?;
    let log = orders(&store)?;
    for (thread, last) in acknowledged.into_iter().enumerate() {
        assert_eq!(log.head(format!("s{thread}")).wait()?, last);
    }
    assert_eq!(everything(&log)?, before);
    assert_eq!(store.verify(Progress::default()).wait()?.findings, []);
    Ok(())
}

pub(super) fn fl_01_an_error_wrote_nothing(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, [event("A").id(Uuid::from_u128(1))]).wait()?;
    let before = (everything(&log)?, log.info().wait()?);
    refused!(log.append("s", 7, numbered(2)).wait(), ErrorKind::Conflict { .. });
    refused!(log.append("s", 1, [event("B").id(Uuid::from_u128(1))]).wait(), ErrorKind::AlreadyExists);
    refused!(
        log.append_if(numbered(2), super::support::none(Query::all(), crate::Position::START)).wait(),
        ErrorKind::ConditionFailed { .. }
    );
    refused!(log.raise_mark("s", 9).wait(), ErrorKind::InvalidArgument { .. });
    assert_eq!((everything(&log)?, log.info().wait()?), before);
    log.append("s", 1, numbered(1)).wait()?;
    Ok(())
}

pub(super) fn fl_02_a_sound_store_verifies(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    assert!(store.verify(Progress::default()).wait()?.is_sound(), "an empty one");
    let log = orders(&store)?;
    for n in 0..20 {
        let new = [event("A").tags(["a", "b"]), event("B").metadata_json("{}").id(Uuid::from_u128(n))];
        log.append(format!("s{}", n % 3), Expected::Any, new).wait()?;
        log.append_if([event("C").tag("c")], None).wait()?;
    }
    log.compact("s1", 5).wait()?;
    log.raise_mark("copy", 5).wait()?;
    log.trim(crate::Position::new(9)).wait()?;
    store.event_log("dropped")?.append("s", 0, numbered(5)).wait()?;
    store.event_log("dropped")?.drop_log().wait()?;
    let report = store.verify(Progress::default()).wait()?;
    assert_eq!(report.findings, []);
    assert!(report.events >= everything(&log)?.len() as u64, "it looked at all there is: {report:?}");
    Ok(())
}

pub(super) fn fl_03_time_is_the_stores_clock(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for days in [1, 400, 4_000] {
        fixture.clock().advance(Duration::from_secs(days * 86_400));
        log.append("s", Expected::Any, numbered(1)).wait()?;
        let last = log.read("s", ..).descending().limit(1).wait()?;
        assert_eq!(last.items[0].recorded_at, fixture.clock().now());
    }
    Ok(())
}

pub(super) fn fl_03_a_batch_id_outlives_any_wait_but_the_clocks(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let commit = || {
        let mut batch = store.batch().id(Uuid::from_u128(1));
        let slot = batch.add(log.append("s", Expected::Any, numbered(1)));
        batch.commit().wait().map(|committed| committed[slot].last_seq_nr)
    };
    assert_eq!(commit()?, 1);
    fixture.clock().set(fixture.clock().now() - Duration::from_secs(3_600));
    assert_eq!(commit()?, 1, "a clock that went back forgets nothing");
    fixture.clock().advance(Duration::from_secs(27 * 3_600));
    assert_eq!(commit()?, 2);
    Ok(())
}
