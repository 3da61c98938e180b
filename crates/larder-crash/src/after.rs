//! What a store must still do after a crash: take new events, recognise retries, see what was compacted.

use larder::{ErrorKind, Expected, NewEvent, Position, Query, Store};

use crate::{
    check::Contents,
    ledger::{Answer, Fate, Ledger, Record},
    step::{LOG, Name, SHARED, Step},
    tasks,
    violation::{OrUnusable, Promise, Violation},
    writer::{append, no_such_tag},
};

/// Checks that the store takes writes as if nothing had happened. Changes it.
///
/// # Errors
/// The first promise that was not kept.
pub(crate) fn check_writable(
    store: &Store,
    ledger: &Ledger,
    point: usize,
    contents: &Contents,
) -> Result<(), Violation> {
    check_new_event(store)?;
    // Not every time: it takes longer than the rest.
    if point.is_multiple_of(4) {
        tasks::check_delivery(store, ledger, contents)?;
    }
    check_retries(store, ledger, point, contents)?;
    check_conditions(store, ledger, point, contents)
}

fn check_new_event(store: &Store) -> Result<(), Violation> {
    let log = store.event_log(LOG).or_unusable("event_log")?;
    let head = log.head(SHARED).wait().or_unusable("head")?;
    let before = log.query(Query::all()).wait().or_unusable("query all")?.through;
    let event = NewEvent::json("Reopened", "{}").tag("after");
    let appended = log.append(SHARED, head, [event]).wait().or_unusable("append after reopening")?;
    if appended.last_seq_nr != head + 1 || appended.last_position <= before {
        return Err(Violation::of(Promise::Consistent, format!("after {head}, {before} came {appended:?}")));
    }
    let found = log.query(larder::QueryItem::new().tag("after")).wait().or_unusable("query by tag")?;
    if found.items.last().is_none_or(|event| event.position != appended.last_position) {
        return Err(Violation::of(Promise::Consistent, "an event after reopening is not found by its tag"));
    }
    Ok(())
}

/// Repeats the last acknowledged append with ids, and the last one whose outcome the caller never learned.
fn check_retries(store: &Store, ledger: &Ledger, point: usize, contents: &Contents) -> Result<(), Violation> {
    let (mut acknowledged, mut unknown) = (None, None);
    // Whoever comes after a crash has no lease: a batch that acknowledges a task cannot be repeated as it was.
    let can_repeat = |record: &&Record| record.step.has_ids() && record.target == 0;
    for record in ledger.records().values().filter(can_repeat) {
        match record.fate(point) {
            Fate::Must(Answer::Appended(appended)) => {
                acknowledged = Some((record.step.clone(), appended.clone()));
            }
            Fate::May => unknown = Some(record.step.clone()),
            Fate::Must(_) | Fate::Never => {}
        }
    }
    if let Some((step, first)) = acknowledged
        && first.iter().all(Option::is_some)
    {
        let again = retry(store, &step)?.map(|again| again.into_iter().map(Some).collect::<Vec<_>>());
        if again.as_ref() != Some(&first) {
            let found = format!("{}: acknowledged as {first:?}, its retry as {again:?}", step.id);
            return Err(Violation::of(Promise::Truthful, found));
        }
    }
    if let Some(step) = unknown {
        let there = |part: usize| contents.by_name.contains_key(&Name { step: step.id, part, index: 0 });
        let was_there = there(0);
        retry(store, &step)?;
        check_only_once(store, &step, was_there)?;
    }
    Ok(())
}

/// Repeats an append; `None` if its condition failed, which a retry that was recognised does not.
fn retry(store: &Store, step: &Step) -> Result<Option<Vec<larder::Appended>>, Violation> {
    let log = store.event_log(LOG).or_unusable("event_log")?;
    match append(store, &log, step, Expected::Any, None) {
        Ok(appended) => Ok(Some(appended)),
        Err(error) if matches!(error.kind(), ErrorKind::ConditionFailed { .. }) => Ok(None),
        Err(error) => Err(Violation::unusable("retry", &error)),
    }
}

fn check_only_once(store: &Store, step: &Step, was_there: bool) -> Result<(), Violation> {
    let log = store.event_log(LOG).or_unusable("event_log")?;
    for part in step.parts() {
        for planned in &part.events {
            let name = &planned.tags()[0];
            let found = log.query(larder::QueryItem::new().tag(name)).wait().or_unusable("query by tag")?;
            // It may have been compacted, or its condition may have failed; but never twice.
            if found.items.len() > 1 || was_there && found.items.is_empty() && part.stream.is_none() {
                let found = format!("{name} is there {} times after its retry", found.items.len());
                return Err(Violation::of(Promise::NothingInvented, found));
            }
        }
    }
    Ok(())
}

/// Conditions see acknowledged events, hidden ones too.
fn check_conditions(
    store: &Store,
    ledger: &Ledger,
    point: usize,
    contents: &Contents,
) -> Result<(), Violation> {
    let log = store.event_log(LOG).or_unusable("event_log")?;
    let (mut hidden, mut visible) = (None, None);
    for record in ledger.records().values() {
        let Fate::Must(Answer::Appended(_)) = record.fate(point) else { continue };
        let name = Name { step: record.step.id, part: 0, index: 0 };
        if contents.by_name.contains_key(&name) { visible = Some(name) } else { hidden = Some(name) }
    }
    for name in hidden.into_iter().chain(visible) {
        let event = NewEvent::json("Never", "{}");
        match log.append_if([event], no_such_tag(&name.to_string())).wait() {
            Err(error) if matches!(error.kind(), ErrorKind::ConditionFailed { .. }) => {}
            answer => {
                let found = format!("a condition did not see {name}: {answer:?}");
                return Err(Violation::of(Promise::Consistent, found));
            }
        }
    }
    // None of the refused events may have been written.
    let refused = log.query(larder::QueryItem::new().types(["Never"])).after(Position::START).wait();
    match refused.or_unusable("query by type")?.items.len() {
        0 => Ok(()),
        count => Err(Violation::of(Promise::NothingInvented, format!("{count} refused events are there"))),
    }
}
