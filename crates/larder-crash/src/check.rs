//! The comparison: a store that was reopened against what was acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use larder::{Event, EventLog, Query, QueryItem, Store, backend::Progress};

use crate::{
    items,
    ledger::{Answer, Fate, Ledger, Record},
    letters, snapshots,
    step::{BUCKETS, Deed, LOG, Name, Part, PlannedEvent, Step, StepId, TYPES},
    tasks,
    violation::{OrUnusable, Promise, Violation},
};

/// A snapshot of everything a log shows.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Every visible event, by position.
    pub events: Vec<Event>,
    /// The place in `events` of each event, by its name.
    pub by_name: HashMap<Name, usize>,
}

impl Contents {
    /// Whether the events of a batch are there: its part without a stream is never compacted.
    pub(crate) fn holds(&self, batch: &Step) -> bool {
        let parts = batch.parts().iter().enumerate().filter(|(_, part)| part.stream.is_none());
        let mut names = parts.map(|(part, _)| Name { step: batch.id, part, index: 0 });
        names.any(|name| self.by_name.contains_key(&name))
    }
}

/// The batches of each writer whose events are there, in order: none, for a writer of none.
pub(crate) fn batches_there<'a>(
    records: &'a BTreeMap<StepId, Record>,
    contents: &Contents,
) -> BTreeMap<u32, Vec<&'a Record>> {
    let mut there: BTreeMap<u32, Vec<&Record>> = BTreeMap::new();
    for (id, record) in records {
        let batches = there.entry(id.writer).or_default();
        if record.step.is_batch() && contents.holds(&record.step) {
            batches.push(record);
        }
    }
    there
}

/// Of a writer's steps of work: the last that was done by this point, and the last that had begun.
pub(crate) fn worked(
    records: &BTreeMap<StepId, Record>,
    writer: u32,
    point: usize,
) -> (Option<u32>, Option<u32>) {
    let work = records.values().filter(|record| record.step.deed == Deed::Work);
    let begun = work.filter(|record| record.step.id.writer == writer && record.submitted_at <= point);
    let (mut last_done, mut last_begun) = (None, None);
    for record in begun {
        last_begun = Some(record.step.id.index);
        if let Fate::Must(_) = record.fate(point) {
            last_done = last_begun;
        }
    }
    (last_done, last_begun)
}

/// Checks that a store holds what it must, at this point of the trace, and nothing else.
///
/// # Errors
/// The first promise that was not kept.
pub(crate) fn check_contents(store: &Store, ledger: &Ledger, point: usize) -> Result<Contents, Violation> {
    let log = store.event_log(LOG).or_unusable("event_log")?;
    let page = log.query(Query::all()).wait().or_unusable("query all")?;
    let contents = name_all(page.items)?;
    let records = ledger.records();
    check_submitted(&contents, &records, point)?;
    let marks = Marks::of(&records, point);
    for record in records.values() {
        check_record(record, point, &contents, &marks)?;
    }
    snapshots::check(&log, &contents, &records, point)?;
    items::check(store, &contents, &records)?;
    tasks::check(store, &contents, &records, point)?;
    letters::check(store, &contents, &records, point)?;
    drop(records);
    check_once(&contents)?;
    check_streams(&log, &contents, &marks)?;
    check_queries(&log, &contents)?;
    Ok(contents)
}

/// Checks that `verify` finds nothing.
///
/// # Errors
/// What it found.
pub(crate) fn check_sound(store: &Store) -> Result<(), Violation> {
    let report = store.verify(Progress::default()).wait().or_unusable("verify")?;
    match report.findings.first() {
        None => Ok(()),
        Some(finding) => {
            let count = report.findings.len();
            Err(Violation::of(Promise::Usable, format!("verify has {count} findings, first: {finding}")))
        }
    }
}

fn name_all(events: Vec<Event>) -> Result<Contents, Violation> {
    let mut by_name = HashMap::with_capacity(events.len());
    for (place, event) in events.iter().enumerate() {
        if place > 0 && events[place - 1].position >= event.position {
            let found = format!("position {} after {}", event.position, events[place - 1].position);
            return Err(Violation::of(Promise::Consistent, found));
        }
        let Some(name) = Name::of(event) else {
            return Err(Violation::of(
                Promise::NothingInvented,
                format!("an event without a name: {event:?}"),
            ));
        };
        if by_name.insert(name, place).is_some() {
            return Err(Violation::of(Promise::NothingInvented, format!("{name} is there twice")));
        }
    }
    Ok(Contents { events, by_name })
}

/// Whatever is there was submitted, and says what was submitted.
fn check_submitted(
    contents: &Contents,
    records: &BTreeMap<StepId, Record>,
    point: usize,
) -> Result<(), Violation> {
    for (name, place) in &contents.by_name {
        let event = &contents.events[*place];
        let record = records.get(&name.step);
        let Some(record) = record.filter(|record| record.fate(point) != Fate::Never) else {
            return Err(Violation::of(
                Promise::NothingInvented,
                format!("{name} was refused or never submitted"),
            ));
        };
        let part = record.step.parts().get(name.part);
        let planned = part.and_then(|part| Some((part, part.events.get(name.index)?)));
        let is_it = |(part, planned): (&Part, &PlannedEvent)| {
            planned.is(event) && part.stream.as_deref() == event.stream.as_deref()
        };
        if !planned.is_some_and(is_it) {
            return Err(Violation::of(Promise::NothingGarbled, format!("{name} reads {event:?}")));
        }
    }
    Ok(())
}

/// Where streams may be, and must be, compacted.
#[derive(Debug, Default)]
struct Marks {
    certain: HashMap<String, u64>,
    possible: HashMap<String, BTreeSet<u64>>,
}

impl Marks {
    fn of(records: &BTreeMap<StepId, Record>, point: usize) -> Self {
        let mut marks = Self::default();
        for record in records.values() {
            let Some((stream, through)) = record.compaction() else { continue };
            let fate = record.fate(point);
            if fate == Fate::Never {
                continue;
            }
            marks.possible.entry(stream.to_owned()).or_default().insert(through);
            if let Fate::Must(_) = fate {
                let certain = marks.certain.entry(stream.to_owned()).or_default();
                *certain = through.max(*certain);
            }
        }
        marks
    }

    fn certain(&self, stream: &str) -> u64 {
        self.certain.get(stream).copied().unwrap_or_default()
    }

    fn highest(&self, stream: &str) -> u64 {
        self.possible.get(stream).and_then(|marks| marks.last().copied()).unwrap_or_default()
    }

    fn allow(&self, stream: &str, mark: u64) -> bool {
        let possible = mark == 0 || self.possible.get(stream).is_some_and(|marks| marks.contains(&mark));
        possible && mark >= self.certain(stream)
    }
}

/// An acknowledged append is there in its place, unless compacted; one on its way is there as a whole or not.
fn check_record(record: &Record, point: usize, contents: &Contents, marks: &Marks) -> Result<(), Violation> {
    let step = &record.step;
    match record.fate(point) {
        Fate::Must(Answer::Appended(appended)) => {
            for (number, part) in step.parts().iter().enumerate() {
                for index in 0..part.events.len() {
                    let name = Name { step: step.id, part: number, index };
                    let place = appended[number].map(|appended| {
                        let seq_nr =
                            if appended.first_seq_nr == 0 { 0 } else { appended.first_seq_nr + index as u64 };
                        (appended.first_position.get() + index as u64, seq_nr)
                    });
                    check_place(name, part.stream.as_deref(), place, contents, marks)?;
                }
            }
            Ok(())
        }
        Fate::May => check_whole(record, contents, marks),
        Fate::Must(_) | Fate::Never => Ok(()),
    }
}

fn check_place(
    name: Name,
    stream: Option<&str>,
    place: Option<(u64, u64)>,
    contents: &Contents,
    marks: &Marks,
) -> Result<(), Violation> {
    let highest = stream.map_or(0, |stream| marks.highest(stream));
    let certain = stream.map_or(0, |stream| marks.certain(stream));
    let found = contents.by_name.get(&name).map(|place| &contents.events[*place]);
    match (found, place) {
        (None, Some((_, seq_nr))) if stream.is_some() && seq_nr <= highest => Ok(()),
        (None, _) => Err(Violation::of(
            Promise::NothingLost,
            format!("{name} was acknowledged at {place:?} and is gone"),
        )),
        (Some(event), Some(place)) if (event.position.get(), event.seq_nr) != place => {
            let (position, seq_nr) = (event.position, event.seq_nr);
            let found = format!("{name} was acknowledged at {place:?} and is at {position}, {seq_nr}");
            Err(Violation::of(Promise::NothingLost, found))
        }
        (Some(event), _) if stream.is_some() && event.seq_nr <= certain => {
            let found = format!("{name} is compacted (seq_nr {} <= {certain}) and visible", event.seq_nr);
            Err(Violation::of(Promise::NothingLost, found))
        }
        (Some(_), _) => Ok(()),
    }
}

fn check_whole(record: &Record, contents: &Contents, marks: &Marks) -> Result<(), Violation> {
    let (mut there, mut missing) = (0, 0);
    for (part, planned) in record.step.parts().iter().enumerate() {
        for index in 0..planned.events.len() {
            let name = Name { step: record.step.id, part, index };
            match contents.by_name.get(&name) {
                Some(_) => there += 1,
                None if planned.stream.as_ref().is_some_and(|stream| marks.highest(stream) > 0) => {}
                None => missing += 1,
            }
        }
    }
    if there > 0 && missing > 0 {
        let found = format!("{}: {there} events are there, {missing} are not", record.step.id);
        return Err(Violation::of(Promise::AllOrNothing, found));
    }
    Ok(())
}

/// Of the appends that competed for a tag, one won.
fn check_once(contents: &Contents) -> Result<(), Violation> {
    let mut winners: HashMap<&str, StepId> = HashMap::new();
    for (name, place) in &contents.by_name {
        let tags = &contents.events[*place].tags;
        for tag in tags.iter().filter(|tag| tag.starts_with("once:")) {
            let winner = winners.entry(tag).or_insert(name.step);
            if *winner != name.step {
                let found = format!("{tag}: both {winner} and {} passed the condition", name.step);
                return Err(Violation::of(Promise::Consistent, found));
            }
        }
    }
    Ok(())
}

/// Reading by stream agrees with reading everything; streams have no holes.
fn check_streams(log: &EventLog, contents: &Contents, marks: &Marks) -> Result<(), Violation> {
    let mut streams: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in &contents.events {
        if let Some(stream) = &event.stream {
            streams.entry(stream).or_default().push(event);
        }
    }
    let listed = log.streams().wait().or_unusable("streams")?;
    for info in &listed {
        let expected = streams.remove(info.stream.as_str()).unwrap_or_default();
        let read = log.read(info.stream.as_str(), ..).wait().or_unusable("read stream")?;
        if !read.items.iter().eq(expected.iter().copied()) {
            let found = format!("reading {} differs from the query of everything", info.stream);
            return Err(Violation::of(Promise::Consistent, found));
        }
        let seq_nrs = expected.iter().map(|event| event.seq_nr);
        if !seq_nrs.eq(info.compacted_through + 1..=info.head) {
            let found = format!(
                "{}: {} events visible, mark {}, head {}",
                info.stream,
                expected.len(),
                info.compacted_through,
                info.head
            );
            return Err(Violation::of(Promise::Consistent, found));
        }
        if !marks.allow(&info.stream, info.compacted_through) {
            let found = format!("{}: nobody compacted through {}", info.stream, info.compacted_through);
            return Err(Violation::of(Promise::NothingInvented, found));
        }
        let head = log.head(info.stream.as_str()).wait().or_unusable("head")?;
        if head != info.head {
            return Err(Violation::of(Promise::Consistent, format!("{}: two heads", info.stream)));
        }
    }
    match streams.keys().next() {
        None => Ok(()),
        Some(stream) => {
            Err(Violation::of(Promise::Consistent, format!("{stream} has events and is not listed")))
        }
    }
}

/// Queries by tag and type agree with reading everything.
fn check_queries(log: &EventLog, contents: &Contents) -> Result<(), Violation> {
    let buckets = (0..BUCKETS).map(|bucket| QueryItem::new().tag(format!("bucket:{bucket}")));
    let typed = QueryItem::new().types([TYPES[0], TYPES[1]]).tag("bucket:0");
    let once = QueryItem::new().tag("once:1");
    for item in buckets.chain([typed, once, QueryItem::new().types([TYPES[2]])]) {
        let page = log.query(item.clone()).wait().or_unusable("query by tag")?;
        let matching = contents.events.iter().filter(|event| item.matches(&event.event_type, &event.tags));
        if !page.items.iter().eq(matching) {
            let found = format!("the query {item:?} differs from the query of everything");
            return Err(Violation::of(Promise::Consistent, found));
        }
    }
    Ok(())
}
