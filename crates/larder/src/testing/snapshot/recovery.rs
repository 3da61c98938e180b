//! Recovery from a snapshot and the events after it: sn_08.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::snapshots;
use crate::{
    backend::{Backend, BoxFuture, EventRead, EventSource},
    error::{BoxError, ErrorKind, Result},
    event::{Event, Position},
    event_log::EventLog,
    page::Page,
    snapshot::{Recovered, Subject},
    store::Store,
    testing::{
        fixture::Fixture,
        support::{CaseResult, backend, event, none, numbered, orders, refused, tagged},
        wrapper::Wrapper,
    },
};

/// The state of these cases: what was counted, in order.
type Counted = Vec<u64>;

fn count(mut counted: Counted, event: &Event) -> Result<Counted, BoxError> {
    counted.push(event.decode()?);
    Ok(counted)
}

fn recover(log: &EventLog, stream: &str) -> Result<Recovered<Counted>> {
    log.snapshots().recover(stream, None, Counted::new, count).wait()
}

fn recover_query(log: &EventLog) -> Result<Recovered<Counted, Position>> {
    log.snapshots().recover_query("q", tagged("q"), None, Counted::new, count).wait()
}

pub(in crate::testing) fn sn_08_from_a_snapshot_and_the_events_after_it(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let recovered = recover(&log, "s")?;
    assert_eq!(
        (recovered.state, recovered.at, recovered.snapshot_at, recovered.events),
        (vec![], 0, None, 0)
    );

    log.append("other", 0, numbered(2)).wait()?;
    log.append("s", 0, numbered(5)).wait()?;
    let recovered = recover(&log, "s")?;
    assert_eq!((recovered.state, recovered.at), (vec![1, 2, 3, 4, 5], 5));
    assert_eq!((recovered.snapshot_at, recovered.events), (None, 5));

    log.snapshots().save("s", 3, &[30, 31, 32]).wait()?;
    let recovered = recover(&log, "s")?;
    assert_eq!((recovered.state, recovered.at), (vec![30, 31, 32, 4, 5], 5));
    assert_eq!((recovered.snapshot_at, recovered.events), (Some(3), 2));

    log.snapshots().save("s", 5, &[50]).wait()?;
    let recovered = recover(&log, "s")?;
    assert_eq!((recovered.state, recovered.snapshot_at, recovered.events), (vec![50], Some(5), 0));
    log.append("s", recovered.at, numbered(1)).wait()?;
    Ok(())
}

pub(in crate::testing) fn sn_08_over_many_pages(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let tagged = |events: Vec<crate::NewEvent>| events.into_iter().map(|event| event.tag("q"));
    log.append("s", 0, tagged(numbered(2_500))).wait()?;
    let expected: Counted = (1..=2_500).collect();
    assert_eq!(recover(&log, "s")?.state, expected);
    let recovered = recover_query(&log)?;
    assert_eq!((recovered.state, recovered.at, recovered.events), (expected, Position::new(2_500), 2_500));
    Ok(())
}

pub(in crate::testing) fn sn_08_a_schema_chooses_the_snapshot(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(4)).wait()?;
    log.snapshots().save("s", 2, &[20]).schema("v1").wait()?;
    log.snapshots().save("s", 3, "of another form").schema("v2").wait()?;
    let recovered = log.snapshots().recover("s", Some("v1"), Counted::new, count).wait()?;
    assert_eq!((recovered.state, recovered.snapshot_at), (vec![20, 3, 4], Some(2)));
    let recovered = log.snapshots().recover("s", Some("v3"), Counted::new, count).wait()?;
    assert_eq!((recovered.state, recovered.snapshot_at), (vec![1, 2, 3, 4], None));
    refused!(recover(&log, "s"), ErrorKind::Decode);
    Ok(())
}

pub(in crate::testing) fn sn_08_a_snapshot_beyond_the_head_is_refused(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, [event("A").tag("q")]).wait()?;
    log.snapshots().save("s", 2, &[2]).wait()?;
    refused!(recover(&log, "s"), ErrorKind::Corrupted);
    log.snapshots().save("unknown", 1, &[1]).wait()?;
    refused!(recover(&log, "unknown"), ErrorKind::Corrupted);
    log.snapshots().save(Subject::query("q"), Position::new(2), &[2]).wait()?;
    refused!(recover_query(&log), ErrorKind::Corrupted);
    log.append("s", 1, numbered(1)).wait()?;
    assert_eq!((recover(&log, "s")?.state, recover_query(&log)?.state), (vec![2], vec![2]));
    Ok(())
}

pub(in crate::testing) fn sn_08_a_compacted_stream_needs_a_snapshot(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(5)).wait()?;
    log.compact("s", 3).wait()?;
    refused!(recover(&log, "s"), ErrorKind::Corrupted);
    log.snapshots().save("s", 2, &[2]).wait()?;
    refused!(recover(&log, "s"), ErrorKind::Corrupted);
    log.snapshots().save("s", 3, &[3]).schema("v1").wait()?;
    assert_eq!(recover(&log, "s")?.state, [3, 4, 5]);
    let of_v2 = log.snapshots().recover("s", Some("v2"), Counted::new, count).wait();
    refused!(of_v2, ErrorKind::Corrupted);

    log.compact("s", 5).wait()?;
    refused!(recover(&log, "s"), ErrorKind::Corrupted);
    log.snapshots().save("s", 5, &[5]).wait()?;
    assert_eq!(recover(&log, "s")?.state, [5]);
    log.raise_mark("copy", 4).wait()?;
    refused!(recover(&log, "copy"), ErrorKind::Corrupted);
    log.trim(Position::new(5)).wait()?;
    assert_eq!(recover(&log, "s")?.state, [5]);
    Ok(())
}

pub(in crate::testing) fn sn_08_from_a_query(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    assert_eq!(recover_query(&log)?.at, Position::START);
    for n in 1..=6_u64 {
        let event = crate::NewEvent::new("Counted", &n);
        log.append_if([if n % 2 == 0 { event.tag("q") } else { event }], None).wait()?;
    }
    log.append("s", 0, numbered(1)).wait()?;
    let recovered = recover_query(&log)?;
    assert_eq!((recovered.state, recovered.at, recovered.events), (vec![2, 4, 6], Position::new(7), 3));

    log.snapshots().save(Subject::query("q"), Position::new(4), &[40]).wait()?;
    let recovered = recover_query(&log)?;
    assert_eq!((recovered.state, recovered.snapshot_at), (vec![40, 6], Some(Position::new(4))));
    let condition = none(tagged("q"), recovered.at);
    log.append_if([event("Decided").tag("q")], condition.clone()).wait()?;
    refused!(log.append_if([event("Decided")], condition).wait(), ErrorKind::ConditionFailed { .. });
    let bad = log.snapshots().recover_query("q", crate::QueryItem::new(), None, Counted::new, count).wait();
    refused!(bad, ErrorKind::InvalidArgument { .. });
    Ok(())
}

pub(in crate::testing) fn sn_08_a_compacted_match_needs_a_snapshot(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    let tagged = |events: Vec<crate::NewEvent>| events.into_iter().map(|event| event.tag("q"));
    log.append("s", 0, tagged(numbered(30))).wait()?;
    log.append("unrelated", 0, numbered(5)).wait()?;
    log.append("later", 0, tagged(numbered(2))).wait()?;
    log.compact("unrelated", 5).wait()?;
    assert_eq!(recover_query(&log)?.state.len(), 32, "what does not match may go");

    log.compact("s", 25).wait()?;
    refused!(recover_query(&log), ErrorKind::Corrupted);
    log.snapshots().save(Subject::query("q"), Position::new(24), &[24]).wait()?;
    refused!(recover_query(&log), ErrorKind::Corrupted);
    log.snapshots().save(Subject::query("q"), Position::new(25), &[25]).wait()?;
    assert_eq!(recover_query(&log)?.state, [25, 26, 27, 28, 29, 30, 1, 2]);
    log.compact("later", 2).wait()?;
    refused!(recover_query(&log), ErrorKind::Corrupted);
    Ok(())
}

pub(in crate::testing) fn sn_08_large_matches_are_not_taken_for_compacted(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    for n in 1..=12_u64 {
        // JSON of a megabyte, nearly all of it blank.
        let large = format!("{n}{}", " ".repeat(900 << 10));
        log.append_if([crate::NewEvent::json("Counted", large).tag("q")], None).wait()?;
    }
    log.append("unrelated", 0, numbered(1)).wait()?;
    log.compact("unrelated", 1).wait()?;
    assert_eq!(recover_query(&log)?.state, (1..=12).collect::<Vec<_>>());
    Ok(())
}

pub(in crate::testing) fn sn_08_what_evolve_says_is_told(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(3)).wait()?;
    let fail = |_: Counted, _: &Event| Err::<Counted, BoxError>("no such event".into());
    let error = refused!(log.snapshots().recover("s", None, Counted::new, fail).wait(), ErrorKind::Decode);
    let source = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(source.as_deref(), Some("no such event"));
    let typed = |_: Counted, event: &Event| Ok(vec![event.decode::<String>()?.len() as u64]);
    refused!(log.snapshots().recover("s", None, Counted::new, typed).wait(), ErrorKind::Decode);
    Ok(())
}

/// Loses the event with this `seq_nr`, or runs something just before events are read, once.
struct Between<F> {
    inner: Arc<dyn Backend>,
    lost: Option<u64>,
    once: AtomicBool,
    run: F,
}

impl<F> std::fmt::Debug for Between<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Between")
    }
}

impl<F: Fn() + Send + Sync + 'static> Wrapper for Between<F> {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    fn read_events(&self, request: EventRead) -> BoxFuture<'_, Result<Page<Event>>> {
        Box::pin(async move {
            if matches!(request.source, EventSource::Stream { .. }) && !self.once.swap(true, Ordering::SeqCst)
            {
                (self.run)();
            }
            let mut page = self.inner.read_events(request).await?;
            page.items.retain(|event| Some(event.seq_nr) != self.lost);
            Ok(page)
        })
    }
}

fn between(store: &Store, lost: Option<u64>, run: impl Fn() + Send + Sync + 'static) -> Result<EventLog> {
    let inner = backend(store)?;
    orders(&Store::with_backend(Arc::new(Between { inner, lost, once: AtomicBool::new(false), run })))
}

pub(in crate::testing) fn sn_08_a_hole_is_refused(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(5)).wait()?;
    for lost in 1..=5 {
        refused!(recover(&between(&store, Some(lost), || ())?, "s"), ErrorKind::Corrupted);
    }
    log.snapshots().save("s", 2, &[2]).wait()?;
    for lost in 1..=2 {
        assert_eq!(recover(&between(&store, Some(lost), || ())?, "s")?.state, [2, 3, 4, 5]);
    }
    for lost in 3..=5 {
        refused!(recover(&between(&store, Some(lost), || ())?, "s"), ErrorKind::Corrupted);
    }
    Ok(())
}

pub(in crate::testing) fn sn_08_compaction_meanwhile_is_no_hole(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(5)).wait()?;
    let theirs = log.clone();
    let meanwhile = move || {
        theirs.snapshots().save("s", 4, &[40]).wait().expect("it is saved");
        theirs.compact("s", 4).wait().expect("it is compacted");
    };
    let recovered = recover(&between(&store, None, meanwhile)?, "s")?;
    assert_eq!((recovered.state, recovered.snapshot_at), (vec![40, 5], Some(4)));
    // Without a new snapshot, it is what it looks like.
    let theirs = log.clone();
    let meanwhile = move || {
        theirs.compact("s", 5).wait().expect("it is compacted");
    };
    refused!(recover(&between(&store, None, meanwhile)?, "s"), ErrorKind::Corrupted);
    assert!(snapshots(&store)?.latest("s").wait()?.is_some());
    Ok(())
}
