//! A projection for each writer, of a log that its batches append to, with dead letters; and a checkpoint that its batches
//! set themselves.

use std::{collections::BTreeMap, future::Future, future::poll_fn, pin::Pin, task::Poll, time::Duration};

use larder::{
    BoxError, Event, EventLog, FailurePolicy, NewEvent, Position, Projection, ProjectionBatch, Query,
    QueryDb, Store, WriteBatch,
};
use larder_runtime::wait_timeout;
use serde_json::{Value, json};

use crate::{
    check::{Contents, batches_there, worked},
    ledger::Record,
    step::StepId,
    violation::{OrUnusable, Promise, Violation},
};

/// What the projections count.
const SEEN: &str = "crash.seen";
/// The event that a projection passes over.
const BAD: &str = "Bad";
/// What it says then.
const REASON: &str = "a bad event";
/// Longer than it takes to catch up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The log of a writer, and the projection that reads it.
fn read_by(store: &Store, writer: u32) -> larder::Result<(EventLog, Projection)> {
    let projection = store.projection(format!("crash.reader-{writer}"))?.on_failure(FailurePolicy::Skip);
    Ok((store.event_log(format!("crash.letters-{writer}"))?, projection))
}

/// The projection of a writer whose checkpoint the batches set.
fn set_by_batches(store: &Store, writer: u32) -> larder::Result<Projection> {
    store.projection(format!("crash.set-{writer}"))
}

fn is_bad(index: u32) -> bool {
    index.is_multiple_of(3)
}

/// Adds a batch's event to the log that is projected, and its checkpoint.
pub(crate) fn add(batch: &mut WriteBatch, store: &Store, step: StepId) -> larder::Result<()> {
    let (log, _) = read_by(store, step.writer)?;
    let event_type = if is_bad(step.index) { BAD } else { "Good" };
    batch.add(log.append_if([NewEvent::new(event_type, &step.index)], None));
    batch.add(set_by_batches(store, step.writer)?.set_checkpoint(checkpoint(step)));
    Ok(())
}

fn checkpoint(step: StepId) -> Position {
    Position::new(u64::from(step.index) + 1)
}

/// Runs the writer's projection until it has taken every event of its log; false if that takes too long.
///
/// # Errors
/// What the store answers.
pub(crate) fn catch_up(store: &Store, writer: u32) -> larder::Result<bool> {
    let (log, projection) = read_by(store, writer)?;
    let Some(head) = log.info().wait()?.map(|info| info.head) else { return Ok(true) };
    let seen = store.query_db(SEEN)?;
    let key = writer.to_string();
    let count = move |event: &Event, batch: &mut ProjectionBatch| -> Result<(), BoxError> {
        let number = event.decode::<i64>()?;
        if event.event_type == BAD {
            return Err(REASON.into());
        }
        batch.add(seen.increment(&*key, "count", 1));
        batch.add(seen.increment(&*key, "sum", number));
        Ok(())
    };
    let mut running = projection.run(&log, Query::all(), count);
    let mut waiting = projection.wait_for(head);
    let caught_up = poll_fn(|context| match Pin::new(&mut running).poll(context) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        _ => Pin::new(&mut waiting).poll(context),
    });
    wait_timeout(Box::pin(caught_up), PATIENCE).map_or(Ok(false), |ended| ended.map(|()| true))
}

/// The checkpoint and the event of a batch are there if its other events are; what a projection has made of the events
/// came together with its checkpoint.
///
/// # Errors
/// The first that is lost, invented or garbled.
pub(crate) fn check(
    store: &Store,
    contents: &Contents,
    records: &BTreeMap<StepId, Record>,
    point: usize,
) -> Result<(), Violation> {
    let seen = store.query_db(SEEN).or_unusable("query_db")?;
    for (writer, batches) in batches_there(records, contents) {
        let steps: Vec<StepId> = batches.iter().map(|record| record.step.id).collect();
        let set = set_by_batches(store, writer).and_then(|projection| projection.checkpoint().wait());
        let (set, expected) = (set.or_unusable("checkpoint")?, steps.last().map(|step| checkpoint(*step)));
        if set != expected.unwrap_or(Position::START) {
            let what = format!("the checkpoint of writer {writer} is {set}, its batches set {expected:?}");
            return Err(Violation::of(Promise::AllOrNothing, what));
        }
        let events = check_events(store, writer, &steps)?;
        check_projected(store, &seen, writer, &events, worked(records, writer, point))?;
    }
    Ok(())
}

/// Reads the log that is projected: each event's position and the number of its step.
fn check_events(store: &Store, writer: u32, steps: &[StepId]) -> Result<Vec<(Position, u32)>, Violation> {
    let (log, _) = read_by(store, writer).or_unusable("event_log")?;
    let events = log.query(Query::all()).wait().or_unusable("query")?.items;
    let number = |event: &Event| event.decode::<u32>().unwrap_or(u32::MAX);
    let found: Vec<(Position, u32)> = events.iter().map(|event| (event.position, number(event))).collect();
    if found.iter().map(|(_, number)| *number).eq(steps.iter().map(|step| step.index)) {
        return Ok(found);
    }
    let what = format!("{} has {found:?}, the batches are {steps:?}", log.name());
    Err(Violation::of(Promise::AllOrNothing, what))
}

fn check_projected(
    store: &Store,
    seen: &QueryDb,
    writer: u32,
    events: &[(Position, u32)],
    (done, begun): (Option<u32>, Option<u32>),
) -> Result<(), Violation> {
    let (_, projection) = read_by(store, writer).or_unusable("projection")?;
    let checkpoint = projection.checkpoint().wait().or_unusable("checkpoint")?;
    let taken: Vec<_> = events.iter().filter(|(position, _)| *position <= checkpoint).collect();
    let name = projection.name();
    if let Some((_, early)) = taken.iter().find(|(_, number)| begun.is_none_or(|begun| *number > begun)) {
        let what = format!("{name} has come to {checkpoint}, nobody asked it to take event {early}");
        return Err(Violation::of(Promise::NothingInvented, what));
    }
    let must_be = |(_, number): &&(Position, u32)| done.is_some_and(|done| *number < done);
    if let Some((position, _)) = events.iter().filter(must_be).find(|(position, _)| *position > checkpoint) {
        let what = format!("{name} had taken the event at {position}, and is at {checkpoint}");
        return Err(Violation::of(Promise::NothingLost, what));
    }
    let (bad, good): (Vec<_>, Vec<_>) = taken.into_iter().partition(|(_, number)| is_bad(*number));
    let letters = projection.dead_letters().wait().or_unusable("dead letters")?;
    let is_sound = |letter: &larder::DeadLetter| letter.event_type == BAD && letter.error == REASON;
    let positions = letters.iter().map(|letter| letter.position);
    if !positions.eq(bad.iter().map(|(position, _)| *position)) || !letters.iter().all(is_sound) {
        let what = format!("{name} is at {checkpoint}; dead letters {letters:?}, bad events {bad:?}");
        return Err(Violation::of(Promise::AllOrNothing, what));
    }
    let item = seen.load_one((writer.to_string(), "")).wait().or_unusable("load")?;
    let found = item.and_then(|item| item.decode::<Value>().ok());
    let sum: u64 = good.iter().map(|(_, number)| u64::from(*number)).sum();
    let expected = (!good.is_empty()).then(|| json!({ "count": good.len(), "sum": sum }));
    if found == expected {
        return Ok(());
    }
    let what = format!("{name} is at {checkpoint}; it has counted {found:?}, it should be {expected:?}");
    Err(Violation::of(Promise::AllOrNothing, what))
}

/// What is asked of the projections of a damaged store, of writer 0, as lines that say everything.
pub(crate) fn ask(store: &Store) -> BTreeMap<String, larder::Result<Vec<String>>> {
    let mut answers = BTreeMap::new();
    let (Ok((log, reader)), Ok(set)) = (read_by(store, 0), set_by_batches(store, 0)) else { return answers };
    for projection in [&reader, &set] {
        let info = projection.info().wait();
        let line = |info: larder::ProjectionInfo| {
            format!("{} {:?} {:?} {:?}", info.checkpoint, info.log, info.query, info.failure)
        };
        answers.insert(
            format!("{} itself", projection.name()),
            info.map(|info| info.map(line).into_iter().collect()),
        );
    }
    let letters = reader.dead_letters().wait();
    let letters = letters.map(|letters| letters.iter().map(|letter| format!("{letter:?}")).collect());
    answers.insert("dead letters of the projection".into(), letters);
    let events = log.query(Query::all()).wait();
    let events = events.map(|page| page.items.iter().map(|event| format!("{event:?}")).collect());
    answers.insert("events to project".into(), events);
    if let Ok(seen) = store.query_db(SEEN) {
        let items = seen.scan().wait();
        let items = items.map(|page| page.items.iter().map(|item| format!("{item:?}")).collect());
        answers.insert("what the projection has counted".into(), items);
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use super::*;
    use crate::{
        ledger::Answer,
        step::{Deed, Name, Step},
    };

    /// The check can fail: a checkpoint without its events, events that were not taken, and ones that were taken twice.
    #[test]
    fn what_did_not_come_together_is_found() {
        let store = Store::memory();
        let of = |index| Step::of(1, StepId { writer: 0, index });
        let batch = (0..).map(of).find(Step::is_batch).unwrap();
        let work = (batch.id.index..).map(of).find(|step| step.deed == Deed::Work).unwrap();
        let part = batch.parts().iter().position(|part| part.stream.is_none()).unwrap();
        let name = Name { step: batch.id, part, index: 0 };
        let (id, work_id) = (batch.id, work.id);
        let mut records: BTreeMap<StepId, Record> = [batch, work]
            .map(|step| (step.id, Record { step: Arc::new(step), submitted_at: 0, target: 0, answer: None }))
            .into();
        let promise = |names: &[Name], records: &BTreeMap<StepId, Record>| {
            let by_name: HashMap<Name, usize> = names.iter().map(|name| (*name, 0)).collect();
            let contents = Contents { events: Vec::new(), by_name };
            check(&store, &contents, records, 0).err().map(|violation| violation.promise)
        };
        assert_eq!(promise(&[], &records), None);
        assert_eq!(promise(&[name], &records), Some(Promise::AllOrNothing));
        let mut changes = store.batch();
        add(&mut changes, &store, id).unwrap();
        changes.commit().wait().unwrap();
        assert_eq!(promise(&[], &records), Some(Promise::AllOrNothing));
        assert_eq!(promise(&[name], &records), None);
        records.get_mut(&work_id).unwrap().answer = Some((Answer::Worked, 0));
        assert_eq!(promise(&[name], &records), Some(Promise::NothingLost));
        assert!(catch_up(&store, 0).unwrap());
        assert_eq!(promise(&[name], &records), None);
        store.query_db(SEEN).unwrap().increment("0", "count", 1).wait().unwrap();
        assert_eq!(promise(&[name], &records), Some(Promise::AllOrNothing));
        records.remove(&work_id);
        assert_eq!(promise(&[name], &records), Some(Promise::NothingInvented));
    }
}
