//! What a damaged store is asked, and how its answers differ.

use std::collections::BTreeMap;

use larder::{ErrorKind, Event, Item, Query, QueryItem, Snapshot, Store};

use super::may_refuse;
use crate::{
    items, letters, snapshots,
    step::{BUCKETS, LOG, TYPES},
    tasks,
    violation::{Promise, Violation},
};

/// Everything that is asked of a store.
pub(super) struct Answers {
    events: BTreeMap<String, larder::Result<Vec<Event>>>,
    numbers: BTreeMap<String, larder::Result<String>>,
    snapshots: BTreeMap<String, larder::Result<Vec<Snapshot>>>,
    pub(super) items: BTreeMap<String, larder::Result<Vec<Item>>>,
    /// Objects, dead letters, checkpoints, changes: each as a line that says everything.
    lines: BTreeMap<String, larder::Result<Vec<String>>>,
}

/// How the answers of a damaged store differ.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub(super) failed: bool,
    pub(super) missing: Option<String>,
    pub(super) numbers: bool,
}

impl Difference {
    pub(super) fn is_none(&self) -> bool {
        !self.failed && self.missing.is_none() && !self.numbers
    }
}

impl Answers {
    pub(super) fn of(store: &Store) -> Self {
        let items = items::ask(store);
        let mut lines = tasks::ask(store);
        lines.extend(letters::ask(store));
        lines.insert("changes of items".into(), items::ask_changes(store));
        let (events, numbers, snapshots) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut answers = Self { events, numbers, snapshots, items, lines };
        answers.numbers.insert("logs".into(), store.logs().wait().map(|logs| format!("{logs:?}")));
        let Ok(log) = store.event_log(LOG) else { return answers };
        let mut ask = |name: String, read: larder::Read<Event>| {
            answers.events.insert(name, read.wait().map(|page| page.items));
        };
        ask("all".into(), log.query(Query::all()));
        ask("all, backwards".into(), log.query(Query::all()).descending().limit(10_000));
        for stream in ["shared", "own-0-0", "own-0-1", "own-0-2"] {
            ask(format!("stream {stream}"), log.read(stream, ..));
            ask(format!("stream {stream} from 2"), log.read(stream, 2..=5));
        }
        for bucket in 0..BUCKETS {
            let item = QueryItem::new().tag(format!("bucket:{bucket}"));
            ask(format!("bucket {bucket}"), log.query(item.clone()));
            ask(format!("bucket {bucket}, typed"), log.query(item.types([TYPES[0]])));
        }
        for event_type in TYPES {
            ask(format!("type {event_type}"), log.query(QueryItem::new().types([event_type])));
        }
        let streams = log.streams().wait().map(|page| format!("{:?}", page.items));
        answers.numbers.insert("streams".into(), streams);
        let head = log.head("shared").wait().map(|head| head.to_string());
        answers.numbers.insert("head".into(), head);
        let latest = |found: larder::Result<Option<Snapshot>>| found.map(|found| found.into_iter().collect());
        let snapshots = log.snapshots();
        answers.snapshots.insert("all snapshots".into(), snapshots::read_all(&log));
        answers.snapshots.insert("latest snapshot".into(), latest(snapshots.latest("writer-0").wait()));
        let of_schema = snapshots.latest_for("writer-0", "step").wait();
        answers.snapshots.insert("latest snapshot of a schema".into(), latest(of_schema));
        answers
    }

    pub(super) fn error(&self) -> Option<String> {
        let events = self.events.values().filter_map(|answer| answer.as_ref().err());
        let numbers = self.numbers.values().filter_map(|answer| answer.as_ref().err());
        let snapshots = self.snapshots.values().filter_map(|answer| answer.as_ref().err());
        let items = self.items.values().filter_map(|answer| answer.as_ref().err());
        let lines = self.lines.values().filter_map(|answer| answer.as_ref().err());
        let mut errors = events.chain(numbers).chain(snapshots).chain(items).chain(lines);
        errors.next().map(ToString::to_string)
    }

    pub(super) fn compare(&self, original: &Self) -> Result<Difference, Violation> {
        let mut difference = Difference::default();
        for (question, answer) in &self.events {
            let Some(Ok(expected)) = original.events.get(question) else { continue };
            match answer {
                Err(error) => {
                    may_refuse(question, error)?;
                    difference.failed = true;
                }
                Ok(events) => {
                    if let Some(missing) = compare_events(question, events, expected)? {
                        difference.missing = Some(missing);
                    }
                }
            }
        }
        for (question, answer) in &self.snapshots {
            let Some(Ok(expected)) = original.snapshots.get(question) else { continue };
            match answer {
                Err(error) => {
                    may_refuse(question, error)?;
                    difference.failed = true;
                }
                Ok(found) => {
                    if let Some(wrong) = found.iter().find(|snapshot| snapshots::step_of(snapshot).is_none())
                    {
                        let what = format!("{question} answers a wrong snapshot: {wrong:?}");
                        return Err(Violation::of(Promise::NothingGarbled, what));
                    }
                    if found != expected {
                        difference.missing = Some(format!("{question}: one is missing"));
                    }
                }
            }
        }
        for (question, answer) in &self.items {
            let Some(Ok(expected)) = original.items.get(question) else { continue };
            match answer {
                // The registry's entry is not found: so are no items.
                Err(error) if matches!(error.kind(), ErrorKind::InvalidArgument { field: "index", .. }) => {
                    difference.missing = Some(format!("{question}: {error}"));
                }
                Err(error) => {
                    may_refuse(question, error)?;
                    difference.failed = true;
                }
                Ok(found) => {
                    difference.missing = items::compare(question, found, expected)?.or(difference.missing);
                }
            }
        }
        for (question, answer) in &self.lines {
            let Some(Ok(expected)) = original.lines.get(question) else { continue };
            match answer {
                Err(error) => {
                    may_refuse(question, error)?;
                    difference.failed = true;
                }
                Ok(found) => {
                    difference.missing = compare_lines(question, found, expected)?.or(difference.missing);
                }
            }
        }
        for (question, answer) in &self.numbers {
            let expected = original.numbers.get(question).and_then(|expected| expected.as_ref().ok());
            match answer {
                Err(error) => {
                    may_refuse(question, error)?;
                    difference.failed = true;
                }
                Ok(numbers) => difference.numbers |= Some(numbers) != expected,
            }
        }
        Ok(difference)
    }
}

/// Every line is one of those expected, in their order; tells how many are missing.
pub(super) fn compare_lines(
    question: &str,
    found: &[String],
    expected: &[String],
) -> Result<Option<String>, Violation> {
    let mut left = expected.iter();
    if let Some(wrong) = found.iter().find(|line| !left.any(|other| other == *line)) {
        return Err(Violation::of(Promise::NothingGarbled, format!("{question}: {wrong}")));
    }
    Ok((found.len() < expected.len()).then(|| format!("{question}: {} of {}", found.len(), expected.len())))
}

/// Every event returned is one of those expected, in their order; tells of the first that is missing.
fn compare_events(question: &str, events: &[Event], expected: &[Event]) -> Result<Option<String>, Violation> {
    let mut rest = expected.iter();
    let mut missing = None;
    for event in events {
        loop {
            match rest.next() {
                Some(next) if next == event => break,
                Some(next) => {
                    missing
                        .get_or_insert_with(|| format!("{question}: position {} is missing", next.position));
                }
                None => {
                    let found = format!("{question} answers a wrong event: {event:?}");
                    return Err(Violation::of(Promise::NothingGarbled, found));
                }
            }
        }
    }
    let next = rest.next().map(|next| format!("{question}: position {} is missing", next.position));
    Ok(missing.or(next))
}
