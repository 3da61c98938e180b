//! Cases of a log's history, out as rows and in again: fm_03, as far as a backend has a part in it.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    fixture::Fixture,
    support::{CaseResult, backend, event, everything, none, numbered, orders, refused, tagged, typed},
};
use crate::{
    backend::{CommitRequest, HistoryRead, HistoryRow, Operation, Progress},
    error::ErrorKind,
    event::{Event, Position},
    event_log::{EventLog, Expected},
    query::Query,
    store::Store,
};

const START: Position = Position::START;

/// A log with something of everything.
fn varied(store: &Store) -> Result<EventLog, crate::BoxError> {
    let log = orders(store)?;
    log.audit_conditions(true).wait()?;
    for n in 0..4_u64 {
        let new = [event("A").tags(["a", "s"]).id(Uuid::from_u128(n.into())), event("B").metadata_json("{}")];
        log.append("s", 2 * n, new).wait()?;
        log.append(format!("t{n}"), Expected::Any, numbered(2)).wait()?;
        log.append_if([event("Free").tag("f")], none(typed("Never"), START)).wait()?;
    }
    log.raise_mark("copied", 40).wait()?;
    log.compact("s", 3).wait()?;
    log.compact("t2", 2).wait()?;
    log.trim(Position::new(2)).wait()?;
    log.forget(Position::new(1)).wait()?;
    Ok(log)
}

/// Everything, in pages of this size.
fn history(store: &Store, log: &str, limit: usize) -> Result<Vec<HistoryRow>, crate::BoxError> {
    let (log, mut rows, mut after): (Arc<str>, _, _) = (log.into(), Vec::new(), None);
    loop {
        let request = HistoryRead { log: log.clone(), after, limit };
        let page = crate::wait(backend(store)?.read_history(request))?;
        assert!(page.rows.len() <= limit);
        rows.extend(page.rows);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(rows),
        }
    }
}

fn restore(store: &Store, log: &str, rows: Vec<HistoryRow>) -> crate::Result<()> {
    let operations = vec![Operation::Restore { log: log.into(), rows }];
    let request = CommitRequest { id: None, operations, on_callers_thread: false };
    crate::wait(backend(store)?.commit(request)).map(drop)
}

/// A row as it is in a log of another name: only derived ids differ.
fn renamed(row: HistoryRow, log: &str) -> HistoryRow {
    match row {
        HistoryRow::Event(event) => {
            let data = crate::backend::EventData {
                id: event.given_id(),
                event_type: event.event_type,
                payload: event.payload,
                metadata: event.metadata,
                tags: event.tags,
            };
            let stream = event.stream.map(|stream| (stream, event.seq_nr));
            HistoryRow::Event(Event::recorded(log.into(), event.position, stream, event.recorded_at, data))
        }
        other => other,
    }
}

fn section(row: &HistoryRow) -> u8 {
    match row {
        HistoryRow::Stream { .. } => 0,
        HistoryRow::Event(_) | HistoryRow::Trace { .. } => 1,
        HistoryRow::AppendId(_) => 2,
        HistoryRow::Condition { .. } => 3,
        HistoryRow::Log { .. } => 4,
    }
}

pub(super) fn fm_03_history_holds_everything_in_order(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = varied(&store)?;
    let rows = history(&store, "orders", 1_000)?;
    assert!(rows.is_sorted_by_key(section));
    let counts = [0, 1, 2, 3, 4].map(|wanted| rows.iter().filter(|row| section(row) == wanted).count());
    // Marks of s, t2, copied and of nothing else; 20 positions but for the forgotten one.
    assert_eq!(counts, [3, 19, 4, 4, 1], "{rows:#?}");
    let visible = rows.iter().filter_map(|row| match row {
        HistoryRow::Event(event) => Some(event.clone()),
        _ => None,
    });
    assert_eq!(visible.collect::<Vec<_>>(), everything(&log)?);
    let place = |row: &HistoryRow| match row {
        HistoryRow::Event(event) => Some(event.position),
        HistoryRow::Trace { position, .. } => Some(*position),
        _ => None,
    };
    assert!(rows.iter().filter_map(place).is_sorted_by(|one, next| one < next));
    for limit in [1, 2, 3, 7] {
        assert_eq!(history(&store, "orders", limit)?, rows, "in pages of {limit}");
    }
    assert_eq!(history(&store, "unknown", 10)?, []);
    Ok(())
}

pub(super) fn fm_03_what_is_restored_is_the_same_log(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = varied(&store)?;
    let rows = history(&store, "orders", 1_000)?;
    let expected: Vec<_> = rows.iter().cloned().map(|row| renamed(row, "copy")).collect();
    // In parts, as an import does.
    for part in expected.chunks(4) {
        restore(&store, "copy", part.to_vec())?;
    }
    assert_eq!(history(&store, "copy", 1_000)?, expected);

    let copy = store.event_log("copy")?;
    for stream in log.streams().wait()? {
        assert_eq!(copy.head(&stream.stream).wait()?, stream.head, "{stream:?}");
    }
    let retry = || [event("A").tags(["a", "s"]).id(Uuid::from_u128(0)), event("B").metadata_json("{}")];
    assert_eq!(copy.append("s", 0, retry()).wait()?, log.append("s", 0, retry()).wait()?, "ids are known");
    for query in [tagged("s"), typed("Free"), Query::all()] {
        let refused = |log: &EventLog| {
            let error = log.append_if([event("X")], none(&query, START)).wait().err();
            error.map(|error| error.kind().clone())
        };
        assert_eq!(refused(&copy), refused(&log), "traces are there: {query:?}");
    }
    let next = [&log, &copy].map(|log| log.append("s", 8, numbered(1)).wait());
    let [ours, theirs] = next;
    assert_eq!(ours?, theirs?);
    assert_eq!(store.verify(Progress::default()).wait()?.findings, []);
    Ok(())
}

pub(super) fn fm_03_restoring_needs_room_above_the_head(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let log = orders(&store)?;
    log.append("s", 0, numbered(3)).wait()?;
    let rows: Vec<_> =
        history(&store, "orders", 1_000)?.into_iter().filter(|row| section(row) == 1).collect();
    let target = store.event_log("target")?;
    target.append("s", 0, numbered(2)).wait()?;
    let moved = |rows: &[HistoryRow]| rows.iter().cloned().map(|row| renamed(row, "target")).collect();
    let before = everything(&target)?;
    let refused = |rows: &[HistoryRow]| {
        refused!(restore(&store, "target", moved(rows)), ErrorKind::InvalidArgument { field: "import", .. });
    };
    refused(&rows[..1]);
    refused(&rows); // its last event fits, the others do not
    assert_eq!(everything(&target)?, before, "all or nothing");
    restore(&store, "target", moved(&rows[2..]))?;
    assert_eq!(target.head("s").wait()?, 3);

    let gap = store.event_log("gap")?;
    let result = restore(&store, "gap", rows[1..].iter().cloned().map(|row| renamed(row, "gap")).collect());
    refused!(result, ErrorKind::InvalidArgument { field: "import", .. });
    assert_eq!(gap.info().wait()?, None, "a stream does not start with its second event");
    Ok(())
}

pub(super) fn fm_03_restoring_what_is_there_is_refused(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    varied(&store)?;
    let rows = history(&store, "orders", 1_000)?;
    for row in &rows {
        let result = restore(&store, "orders", vec![row.clone()]);
        if section(row) == 4 {
            result?; // A log's own row says nothing that could be there twice.
        } else {
            refused!(result, ErrorKind::InvalidArgument { field: "import", .. });
        }
    }
    assert_eq!(history(&store, "orders", 1_000)?, rows);

    // A mark has its place among the events, like them.
    let mark = |stream: &str, position| HistoryRow::Stream {
        stream: stream.into(),
        compacted_through: 3,
        compacted_position: Position::new(position),
    };
    refused!(
        restore(&store, "orders", vec![mark("among-others", 20)]),
        ErrorKind::InvalidArgument { field: "import", .. }
    );
    let head = Position::new(21);
    let whole =
        HistoryRow::Log { head, trimmed_through: START, compacted_through: head, audits_conditions: true };
    restore(&store, "orders", vec![mark("nowhere", 0), mark("above", 21), whole])?;
    assert_eq!(store.event_log("orders")?.head("above").wait()?, 3);
    assert_eq!(store.verify(Progress::default()).wait()?.findings, []);
    Ok(())
}
