//! Cases of altered SQLite files: fl_02.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use uuid::Uuid;

use crate::{
    backend::Progress,
    config::Config,
    error::ErrorKind,
    event::Position,
    event_log::EventLog,
    query::Query,
    store::Store,
    testing::{
        fixture::{Fixture, ScratchDir},
        support::{CaseResult, event, everything, orders, refused, tagged},
    },
};

/// A file with ten events in stream `s` (positions 1 to 10) and one in `t`, closed.
struct Original {
    dir: ScratchDir,
    events: Vec<crate::Event>,
}

impl Original {
    fn new() -> Result<Self, crate::BoxError> {
        let dir = ScratchDir::new()?;
        let store = Store::open(Config::sqlite(dir.path().join("original.db"))).wait()?;
        let log = orders(&store)?;
        for n in 0..10_u64 {
            let new = crate::NewEvent::new("Counted", &format!("number {n}"))
                .metadata_json(format!("{{\"n\":{n}}}"))
                .tags(["all".to_owned(), format!("n:{n}")])
                .id(Uuid::from_u128(n.into()));
            log.append("s", n, [new]).wait()?;
        }
        log.append("t", 0, [event("Other")]).wait()?;
        let events = everything(&log)?;
        store.close().wait()?;
        Ok(Self { dir, events })
    }

    /// A copy in which this SQL was run behind the store's back.
    fn altered(&self, sql: &str) -> Result<PathBuf, crate::BoxError> {
        let path = self.dir.path().join("altered.db");
        std::fs::copy(self.dir.path().join("original.db"), &path)?;
        let connection = Connection::open(&path)?;
        connection.execute_batch(sql).map_err(|error| format!("{sql}: {error}"))?;
        assert!(connection.total_changes() > 0, "it altered nothing: {sql}");
        connection.close().map_err(|(_, error)| error)?;
        Ok(path)
    }

    /// Asserts that a read gives nothing but what was appended, or `Corrupted`; which of them?
    fn is_reported(&self, what: &str, read: crate::Result<crate::Page<crate::Event>>) -> bool {
        match read {
            Ok(page) => {
                for event in &page {
                    assert!(self.events.contains(event), "{what}: wrong data: {event:?}");
                }
                false
            }
            Err(error) => {
                assert_eq!(*error.kind(), ErrorKind::Corrupted, "{what}: {error:?}");
                true
            }
        }
    }
}

fn open(path: &Path) -> crate::Result<(Store, EventLog)> {
    let store = Store::open(Config::sqlite(path)).wait()?;
    let log = orders(&store)?;
    Ok((store, log))
}

/// Alterations of the event at position 4 (`seq_nr` 4 of `s`), in what it says or where it belongs.
const ALTERED_EVENTS: [&str; 16] = [
    "UPDATE event SET payload = '\"number 4\"' WHERE place & 0xffffff = 4",
    "UPDATE event SET payload = CAST(payload AS BLOB) WHERE place & 0xffffff = 4",
    "UPDATE event SET event_type = 'counted' WHERE place & 0xffffff = 4",
    "UPDATE event SET tags = 'all' WHERE place & 0xffffff = 4",
    "UPDATE event SET tags = NULL WHERE place & 0xffffff = 4",
    "UPDATE event SET id = randomblob(16) WHERE place & 0xffffff = 4",
    "UPDATE event SET id = NULL WHERE place & 0xffffff = 4",
    "UPDATE event SET metadata = '{}' WHERE place & 0xffffff = 4",
    "UPDATE event SET metadata = NULL WHERE place & 0xffffff = 4",
    "UPDATE event SET recorded_at = recorded_at + 1 WHERE place & 0xffffff = 4",
    "UPDATE event SET checksum = checksum + 1 WHERE place & 0xffffff = 4",
    "UPDATE event SET checksum = 0 WHERE place & 0xffffff = 4",
    "UPDATE event SET seq_nr = 40 WHERE place & 0xffffff = 4",
    "UPDATE event SET stream = (SELECT stream FROM stream WHERE name = 't'), seq_nr = 2
     WHERE place & 0xffffff = 4",
    "UPDATE event SET payload = (SELECT payload FROM event WHERE place & 0xffffff = 5)
     WHERE place & 0xffffff = 4",
    // All of the next event's row, checksum included: only its place differs.
    "UPDATE event SET (event_type, tags, id, metadata, payload, recorded_at, checksum)
       = (SELECT event_type, tags, id, metadata, payload, recorded_at, checksum
          FROM event WHERE place & 0xffffff = 5)
     WHERE place & 0xffffff = 4",
];

pub(in crate::testing) fn fl_02_an_altered_event_is_never_data(_: &dyn Fixture) -> CaseResult {
    let original = Original::new()?;
    for sql in ALTERED_EVENTS {
        let (store, log) = open(&original.altered(sql)?)?;
        let reported = original.is_reported(sql, log.query(Query::all()).wait());
        assert!(reported, "a read of everything met it: {sql}");
        original.is_reported(sql, log.query(Query::all()).descending().wait());
        original.is_reported(sql, log.read("s", ..).wait());
        original.is_reported(sql, log.read("s", 4..=4).wait());
        original.is_reported(sql, log.read("t", ..).wait());
        original.is_reported(sql, log.query(tagged("all")).wait());
        original.is_reported(sql, log.query(tagged("n:3")).wait());
        assert_eq!(log.read("s", ..=3).wait()?.items, original.events[..3], "the others are fine: {sql}");
        store.close().wait()?;
    }
    Ok(())
}

pub(in crate::testing) fn fl_02_verify_finds_an_altered_event(_: &dyn Fixture) -> CaseResult {
    let original = Original::new()?;
    for sql in ALTERED_EVENTS {
        let (store, _) = open(&original.altered(sql)?)?;
        let report = store.verify(Progress::default()).wait()?;
        let there = report.findings.iter().any(|found| found.position == Some(Position::new(4)));
        assert!(there, "{sql}: {report:?}");
        assert!(report.findings.iter().all(|found| found.log.as_deref() == Some("orders")), "{report:?}");
        store.close().wait()?;
    }
    Ok(())
}

pub(in crate::testing) fn fl_02_a_subscription_reports_it_too(_: &dyn Fixture) -> CaseResult {
    let original = Original::new()?;
    let (_store, log) = open(&original.altered(ALTERED_EVENTS[0])?)?;
    let mut live = log.subscribe(Query::all());
    refused!(live.try_next().wait(), ErrorKind::Corrupted);
    let mut beyond = log.subscribe(Query::all()).after(Position::new(4));
    assert_eq!(beyond.try_next().wait()?, Some(original.events[4].clone()));
    let each: crate::Result<Vec<_>> = log.read("s", ..).each().wait_iter().collect();
    refused!(each, ErrorKind::Corrupted);
    Ok(())
}

pub(in crate::testing) fn fl_02_names_are_part_of_the_checksum(_: &dyn Fixture) -> CaseResult {
    let original = Original::new()?;
    let (store, log) = open(&original.altered("UPDATE stream SET name = 'renamed' WHERE name = 's'")?)?;
    refused!(log.read("renamed", ..).wait(), ErrorKind::Corrupted);
    assert!(!store.verify(Progress::default()).wait()?.is_sound());
    store.close().wait()?;
    let (store, _) = open(&original.altered("UPDATE log SET name = 'renamed'")?)?;
    refused!(store.event_log("renamed")?.query(Query::all()).wait(), ErrorKind::Corrupted);
    assert!(!store.verify(Progress::default()).wait()?.is_sound());
    store.close().wait()?;
    Ok(())
}

/// What no checksum of a single event can tell.
const STRUCTURAL: [&str; 11] = [
    "DELETE FROM event WHERE place & 0xffffff = 4",
    "UPDATE event SET payload = NULL WHERE place & 0xffffff = 4",
    "UPDATE event SET place = place + 1000 WHERE place & 0xffffff = 4",
    "UPDATE stream SET mark = 4 WHERE name = 's'",
    "UPDATE stream SET mark_position = 4 WHERE name = 's'",
    "DELETE FROM stream WHERE name = 's'",
    "UPDATE log SET trimmed = 4",
    "UPDATE log SET head = head - 2",
    "DELETE FROM append_id WHERE first_position = 4",
    "UPDATE append_id SET first_position = 5 WHERE first_position = 4",
    "UPDATE append_id SET id = randomblob(16) WHERE first_position = 4",
];

pub(in crate::testing) fn fl_02_verify_finds_what_does_not_fit_together(_: &dyn Fixture) -> CaseResult {
    let original = Original::new()?;
    let mut missed = Vec::new();
    for sql in STRUCTURAL {
        let (store, _) = open(&original.altered(sql)?)?;
        missed.extend(store.verify(Progress::default()).wait()?.is_sound().then_some(sql));
        store.close().wait()?;
    }
    assert!(missed.is_empty(), "not found: {missed:#?}");
    Ok(())
}

pub(in crate::testing) fn fl_02_verify_compares_the_index_with_the_events(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let (store, log) = open(&path)?;
    // Enough for postings to be merged into their table, which later commits do.
    let tags = |n: u64| (0..60).map(move |k| format!("{k}:{}", n % 10));
    for n in 0..4 {
        let events = (0..2_500).map(|n| event("A").tags(tags(n)));
        log.append("s", n * 2_500, events).wait()?;
    }
    assert!(store.verify(Progress::default()).wait()?.is_sound());
    store.close().wait()?;
    let original = std::fs::read(&path)?;
    for sql in [
        "DELETE FROM posting WHERE key = (SELECT min(key) FROM posting)",
        "UPDATE posting SET key = key + 1000000 WHERE key = (SELECT min(key) FROM posting)",
        "UPDATE posting SET value = value + 1 WHERE key = (SELECT min(key) FROM posting)",
        "INSERT INTO posting VALUES (12345, 7, 8)",
    ] {
        std::fs::write(&path, &original)?;
        let connection = Connection::open(&path)?;
        connection.execute_batch(sql)?;
        assert!(connection.total_changes() > 0, "it altered nothing: {sql}");
        connection.close().map_err(|(_, error)| error)?;
        let (store, _) = open(&path)?;
        let report = store.verify(Progress::default()).wait()?;
        assert!(!report.is_sound(), "{sql}: {report:?}");
        store.close().wait()?;
    }
    Ok(())
}
