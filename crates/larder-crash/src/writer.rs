//! Writers: threads that do their steps, and note what they are told.

use std::{collections::HashMap, sync::Arc};

use larder::{
    AppendCondition, Appended, ErrorKind, EventLog, Expected, Position, QueryItem, Store, Task, wait,
};

use crate::{
    items,
    ledger::Answer,
    letters, snapshots,
    step::{Deed, LOG, Part, Step, StepId},
    tasks,
};

/// Who is told of each step before it is submitted and after it is answered.
pub(crate) trait Witness: Sync {
    /// It is about to be submitted; `target` is where a compaction goes, or which task a batch acknowledges.
    fn submitted(&self, step: &Arc<Step>, target: u64);
    /// It was answered.
    fn answered(&self, id: StepId, answer: &Answer);
}

/// A writer, and what it knows of its own streams.
#[derive(Debug)]
pub(crate) struct Writer {
    store: Store,
    log: EventLog,
    seed: u64,
    number: u32,
    heads: HashMap<String, u64>,
}

impl Writer {
    /// A writer on a store.
    ///
    /// # Errors
    /// None, for a sound store.
    pub(crate) fn new(store: &Store, seed: u64, number: u32) -> larder::Result<Self> {
        let log = store.event_log(LOG)?;
        Ok(Self { store: store.clone(), log, seed, number, heads: HashMap::new() })
    }

    /// Does one step, and notes it in the witness.
    ///
    /// # Errors
    /// What the store answered, unless a condition of the step failed as it may.
    pub(crate) fn step(&mut self, index: u32, witness: &dyn Witness) -> larder::Result<Answer> {
        let step = Arc::new(Step::of(self.seed, StepId { writer: self.number, index }));
        let task = if step.is_batch() { tasks::claim(&self.store, self.number)? } else { None };
        let target = match &step.deed {
            Deed::Compact { stream, keep } => self.head(stream)?.saturating_sub(*keep),
            Deed::Append { .. } | Deed::Work => tasks::target(task.as_ref()),
        };
        let expected = match &step.deed {
            Deed::Append { parts, exact: true, .. } => match &parts[0].stream {
                Some(stream) => Expected::Exact(self.head(stream)?),
                None => Expected::Any,
            },
            _ => Expected::Any,
        };
        witness.submitted(&step, target);
        let result = self.perform(&step, target, expected, task.as_ref());
        let (answer, error) = match result {
            Ok(answer) => (answer, None),
            Err(error) => match error.kind() {
                ErrorKind::ConditionFailed { .. } if is_conditional(&step) => (Answer::Refused, None),
                ErrorKind::CommitUnknown => (Answer::Unknown, Some(error)),
                // It consists of several commits.
                _ if step.deed == Deed::Work => (Answer::Unknown, Some(error)),
                _ => (Answer::Refused, Some(error)),
            },
        };
        witness.answered(step.id, &answer);
        match error {
            Some(error) => {
                self.heads.clear();
                Err(error)
            }
            None => Ok(answer),
        }
    }

    fn head(&mut self, stream: &str) -> larder::Result<u64> {
        if let Some(head) = self.heads.get(stream) {
            return Ok(*head);
        }
        let head = self.log.head(stream).wait()?;
        self.heads.insert(stream.to_owned(), head);
        Ok(head)
    }

    fn perform(
        &mut self,
        step: &Step,
        target: u64,
        expected: Expected,
        task: Option<&Task>,
    ) -> larder::Result<Answer> {
        match &step.deed {
            Deed::Compact { stream, .. } => {
                let compacted = self.log.compact(stream.as_str(), target).wait()?;
                Ok(Answer::Compacted(compacted.through))
            }
            Deed::Work => {
                let is_done = tasks::fail_all(&self.store, self.number)?
                    && letters::catch_up(&self.store, self.number)?;
                Ok(if is_done { Answer::Worked } else { Answer::Unknown })
            }
            Deed::Append { parts, .. } => {
                let appended = append(&self.store, &self.log, step, expected, task)?;
                for part in parts {
                    if let Some(head) = part.stream.as_ref().and_then(|stream| self.heads.get_mut(stream)) {
                        *head += part.events.len() as u64;
                    }
                }
                // A store that answers before it knows says "nothing".
                let known = |appended: Appended| (appended.count() > 0).then_some(appended);
                Ok(Answer::Appended(appended.into_iter().map(known).collect()))
            }
        }
    }
}

/// Appends a step's parts; several in a batch, with changes of every other surface beside them, and the acknowledgement
/// of a task.
///
/// # Errors
/// What the store answers.
pub(crate) fn append(
    store: &Store,
    log: &EventLog,
    step: &Step,
    expected: Expected,
    task: Option<&Task>,
) -> larder::Result<Vec<Appended>> {
    let Deed::Append { parts, once, as_future, .. } = &step.deed else { return Ok(Vec::new()) };
    let once = once.as_deref();
    let write = |part: &Part| {
        let events = part.events.iter().map(super::step::PlannedEvent::to_new);
        match (&part.stream, once) {
            (Some(stream), _) => {
                let mut write = log.append(stream.as_str(), expected, events);
                if let Some(once) = once {
                    write = write.condition(no_such_tag(once));
                }
                write
            }
            (None, once) => log.append_if(events, once.map(no_such_tag)),
        }
    };
    if let [part] = &parts[..] {
        let write = write(part);
        let appended = if *as_future { wait(write)? } else { write.wait()? };
        return Ok(vec![appended]);
    }
    let items = items::define(store)?;
    let mut batch = store.batch().id(items::batch_id(step.id));
    let slots: Vec<_> = parts.iter().map(|part| batch.add(write(part))).collect();
    batch.add(snapshots::save(log, step.id));
    items::add(&mut batch, &items, step.id);
    tasks::add(&mut batch, store, step.id, task)?;
    letters::add(&mut batch, store, step.id)?;
    let committed = batch.commit().wait()?;
    Ok(slots.into_iter().map(|slot| committed[slot]).collect())
}

/// The condition that no event carries this tag.
#[must_use]
pub(crate) fn no_such_tag(tag: &str) -> AppendCondition {
    AppendCondition { fail_if_events_match: QueryItem::new().tag(tag).into(), after: Position::START }
}

fn is_conditional(step: &Step) -> bool {
    matches!(&step.deed, Deed::Append { once: Some(_), .. })
}
