//! What must be in a writer's buckets.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::ready,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use larder::{DeadTask, Object, Store, StoreStats, Task, TaskBucket, TaskKind, WorkOptions};
use larder_runtime::wait_timeout;

use super::{ATTEMPTS, FAILED, bytes, content_type, deleted_key, failing, handled, key, number_of, put_key};
use crate::{
    check::{Contents, batches_there, worked},
    ledger::{Ledger, Record},
    step::StepId,
    violation::{OrUnusable, Promise, Violation},
};

/// Longer than it takes to handle what there is.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a writer's buckets hold after its batches.
#[derive(Debug, Default)]
struct Model {
    /// The batch that put the object of each key.
    objects: BTreeMap<u32, StepId>,
    /// The tasks of each key, in order.
    tasks: BTreeMap<u32, VecDeque<TaskKind>>,
    /// The batches, each of which put an object whose task is to fail.
    batches: Vec<StepId>,
}

impl Model {
    fn after(batches: &[&Record]) -> Result<Self, Violation> {
        let mut model = Self::default();
        for record in batches {
            let step = record.step.id;
            model.objects.insert(put_key(step), step);
            model.tasks.entry(put_key(step)).or_default().push_back(TaskKind::ObjectCreated);
            if let Some(number) = deleted_key(step).filter(|number| model.objects.remove(number).is_some()) {
                model.tasks.entry(number).or_default().push_back(TaskKind::ObjectRemoved);
            }
            let acknowledged = record.target.checked_sub(1).and_then(|number| u32::try_from(number).ok());
            if let Some(number) = acknowledged {
                let task = model.tasks.get_mut(&number).and_then(VecDeque::pop_front);
                task.ok_or_else(|| {
                    let what = format!("{step} acknowledged a task of {}, whose put is gone", key(number));
                    Violation::of(Promise::NothingLost, what)
                })?;
            }
            model.batches.push(step);
        }
        Ok(model)
    }

    fn count(&self) -> usize {
        self.tasks.values().map(VecDeque::len).sum()
    }
}

/// The objects of a bucket, each by listing it and reading it.
fn objects(bucket: &TaskBucket) -> Result<Vec<Object>, Violation> {
    let listed = bucket.list("").wait().or_unusable("list objects")?.items;
    let read = |info: larder::ObjectInfo| {
        let object = bucket.get(&info.key).wait().or_unusable("get an object")?;
        object.filter(|object| object.info == info).ok_or_else(|| {
            let what = format!("{} is listed, and is not to be had", info.key);
            Violation::of(Promise::Consistent, what)
        })
    };
    listed.into_iter().map(read).collect()
}

/// A batch's objects and tasks are there if its events are, and only then; what a batch acknowledged is not; what failed
/// is a dead letter.
///
/// # Errors
/// The first that is lost, invented or garbled.
pub(crate) fn check(
    store: &Store,
    contents: &Contents,
    records: &BTreeMap<StepId, Record>,
    point: usize,
) -> Result<(), Violation> {
    let there = batches_there(records, contents);
    let stats = store.stats().wait().or_unusable("stats")?;
    for (writer, batches) in there {
        let model = Model::after(&batches)?;
        let bucket = handled(store, writer).or_unusable("task_bucket")?;
        check_objects(&bucket, &model)?;
        let dead = bucket.dead_letters().wait().or_unusable("dead letters")?.items;
        if let Some(dead) = dead.first() {
            return Err(Violation::of(Promise::NothingInvented, format!("nobody gave up {dead:?}")));
        }
        check_count(&stats, &bucket, model.count())?;
        let bucket = failing(store, writer).or_unusable("task_bucket")?;
        let dead = check_failing(&bucket, &model, worked(records, writer, point))?;
        check_count(&stats, &bucket, model.batches.len() - dead)?;
    }
    Ok(())
}

fn check_objects(bucket: &TaskBucket, model: &Model) -> Result<(), Violation> {
    let found = objects(bucket)?;
    let mut versions = BTreeMap::new();
    for object in &found {
        let name = || format!("object {} of {}", object.info.key, bucket.name());
        let step =
            number_of(&object.info.key).and_then(|number| model.objects.get(&number)).ok_or_else(|| {
                let what = format!("{} is there, the events of its batch are not, or it was deleted", name());
                Violation::of(Promise::NothingInvented, what)
            })?;
        if object.bytes != bytes(*step) || object.info.content_type != content_type(*step) {
            let what = format!("{} is not what {step} put: {object:?}", name());
            return Err(Violation::of(Promise::AllOrNothing, what));
        }
        versions.insert(step, object.info.version);
    }
    if found.len() < model.objects.len() {
        let what = format!("{}: {} of {:?}", bucket.name(), found.len(), model.objects);
        return Err(Violation::of(Promise::NothingLost, what));
    }
    if !versions.values().is_sorted_by(|one, next| one < next) {
        let what = format!("{}: versions in the order of the batches: {versions:?}", bucket.name());
        return Err(Violation::of(Promise::Consistent, what));
    }
    Ok(())
}

/// As many tasks are left as there should be.
fn check_count(stats: &StoreStats, bucket: &TaskBucket, expected: usize) -> Result<(), Violation> {
    let stats = stats.task_buckets.iter().find(|stats| stats.name == bucket.name());
    let found = stats.map_or(0, |stats| stats.triggers);
    if found == expected as u64 {
        return Ok(());
    }
    let what = format!("{}: {found} tasks are left, it should be {expected}", bucket.name());
    Err(Violation::of(Promise::AllOrNothing, what))
}

/// Checks the bucket whose tasks fail; answers how many have.
fn check_failing(
    bucket: &TaskBucket,
    model: &Model,
    (done, begun): (Option<u32>, Option<u32>),
) -> Result<usize, Violation> {
    let mut expected: BTreeSet<String> = model.batches.iter().map(StepId::to_string).collect();
    for object in objects(bucket)? {
        let step = object.info.key.parse::<StepId>().ok();
        if !expected.remove(&object.info.key) || step.is_none_or(|step| object.bytes != bytes(step)) {
            let what = format!("{} has {object:?}, the events of its batch are not there", bucket.name());
            return Err(Violation::of(Promise::NothingInvented, what));
        }
    }
    if let Some(lost) = expected.first() {
        return Err(Violation::of(
            Promise::NothingLost,
            format!("object {lost} of {} is gone", bucket.name()),
        ));
    }
    let dead = bucket.dead_letters().wait().or_unusable("dead letters")?.items;
    let mut found = BTreeSet::new();
    for letter in &dead {
        let step = letter.key.parse::<StepId>().ok().filter(|step| model.batches.contains(step));
        let may_be = step.is_some_and(|step| begun.is_some_and(|begun| step.index < begun));
        if !may_be || !has_failed(letter) || !found.insert(step) {
            return Err(Violation::of(Promise::NothingInvented, format!("nobody gave up {letter:?}")));
        }
    }
    let must_be = |step: &&StepId| done.is_some_and(|done| step.index < done);
    match model.batches.iter().filter(must_be).find(|step| !found.contains(&Some(**step))) {
        None => Ok(found.len()),
        Some(lost) => {
            let what = format!("the task of {lost} in {} was given up, and is not", bucket.name());
            Err(Violation::of(Promise::NothingLost, what))
        }
    }
}

fn has_failed(letter: &DeadTask) -> bool {
    let is_known = letter.error == FAILED || letter.error.contains("did not come back");
    is_known && letter.kind == TaskKind::ObjectCreated && letter.attempts > 0
}

/// Handles everything that is left, whose leases have run out: it is handed out in the order of its key, with the object
/// as it is.
///
/// # Errors
/// The first task that is lost, invented or garbled.
pub(crate) fn check_delivery(store: &Store, ledger: &Ledger, contents: &Contents) -> Result<(), Violation> {
    let records = ledger.records();
    for (writer, batches) in batches_there(&records, contents) {
        let model = Model::after(&batches)?;
        let bucket = handled(store, writer).or_unusable("task_bucket")?;
        if model.count() > 0 {
            check_order(&bucket, &model, &handle_all(&bucket)?)?;
        }
    }
    Ok(())
}

/// Handles what is there, and answers it.
fn handle_all(bucket: &TaskBucket) -> Result<Vec<Task>, Violation> {
    let handled = Arc::new(Mutex::new(Vec::new()));
    let note = handled.clone();
    let mut options = WorkOptions::default();
    (options.until_empty, options.concurrency, options.max_attempts) = (true, KEYS_AT_ONCE, ATTEMPTS);
    let work = bucket.work(options, move |task| {
        note.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        ready(Ok(()))
    });
    match wait_timeout(work, PATIENCE) {
        Some(ended) => ended.or_unusable("work")?,
        None => {
            let what = format!("{}: a task is never handed out", bucket.name());
            return Err(Violation::of(Promise::Usable, what));
        }
    }
    Ok(std::mem::take(&mut *handled.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// All keys are handled side by side.
const KEYS_AT_ONCE: usize = super::KEYS as usize;

fn check_order(bucket: &TaskBucket, model: &Model, found: &[Task]) -> Result<(), Violation> {
    let mut kinds: BTreeMap<u32, VecDeque<TaskKind>> = BTreeMap::new();
    let mut last = BTreeMap::new();
    for task in found {
        let number = number_of(&task.key).unwrap_or(u32::MAX);
        kinds.entry(number).or_default().push_back(task.kind);
        if last.insert(number, task.trigger()).is_some_and(|last| last >= task.trigger()) {
            let what = format!("{}: {task:?} comes after a later one", bucket.name());
            return Err(Violation::of(Promise::Consistent, what));
        }
        let put_by = model.objects.get(&number).filter(|_| task.kind == TaskKind::ObjectCreated);
        if task.bytes != put_by.map(|step| bytes(*step)).unwrap_or_default() {
            let what = format!("{}: {task:?} has not the object of {put_by:?}", bucket.name());
            return Err(Violation::of(Promise::NothingGarbled, what));
        }
    }
    let mut expected = model.tasks.clone();
    expected.retain(|_, tasks| !tasks.is_empty());
    if kinds == expected {
        return Ok(());
    }
    let what = format!("{}: the tasks were {kinds:?}, they should be {expected:?}", bucket.name());
    Err(Violation::of(Promise::NothingLost, what))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        step::{LOG, Name, Step},
        tasks::{add, claim, fail_all, target},
    };

    /// A store with the first two batches of writer 0, the second of which acknowledges a task of the first.
    struct Two {
        store: Store,
        steps: [StepId; 2],
        records: BTreeMap<StepId, Record>,
    }

    impl Two {
        fn new() -> Self {
            let ids = (0..).map(|index| Step::of(1, StepId { writer: 0, index }));
            let batches: Vec<Step> = ids.filter(Step::is_batch).take(2).collect();
            let (store, mut records) = (Store::memory(), BTreeMap::new());
            for step in &batches {
                let task = claim(&store, 0).unwrap();
                let mut batch = store.batch();
                add(&mut batch, &store, step.id, task.as_ref()).unwrap();
                batch.commit().wait().unwrap();
                let (step, target) = (Arc::new(step.clone()), target(task.as_ref()));
                records.insert(step.id, Record { step, submitted_at: 0, target, answer: None });
            }
            Self { store, steps: [batches[0].id, batches[1].id], records }
        }

        /// What the check says if the events of these batches are there.
        fn promise(&self, there: &[StepId]) -> Option<Promise> {
            let name = |step: &StepId| {
                let part = self.records[step].step.parts().iter().position(|part| part.stream.is_none());
                Name { step: *step, part: part.unwrap(), index: 0 }
            };
            let by_name: HashMap<Name, usize> = there.iter().map(|step| (name(step), 0)).collect();
            let contents = Contents { events: Vec::new(), by_name };
            check(&self.store, &contents, &self.records, 0).err().map(|violation| violation.promise)
        }
    }

    /// The check can fail: objects without their events, events without their objects, tasks that are lost, left or given up.
    #[test]
    fn what_did_not_come_together_is_found() {
        let two = Two::new();
        assert!(two.store.event_log(LOG).is_ok());
        let [first, second] = two.steps;
        assert_eq!(two.promise(&[first, second]), None);
        assert!(two.promise(&[]).is_some());
        assert!(two.promise(&[first]).is_some(), "an acknowledgement without its batch");
        assert!(two.promise(&[second]).is_some(), "a put without its batch");
        let bucket = handled(&two.store, 0).unwrap();
        bucket.put(key(put_key(second)), "other").without_trigger().wait().unwrap();
        assert_eq!(two.promise(&[first, second]), Some(Promise::AllOrNothing));
        let again = bucket.put(key(put_key(second)), bytes(second)).without_trigger();
        match content_type(second) {
            Some(content_type) => again.content_type(content_type).wait().unwrap(),
            None => again.wait().unwrap(),
        };
        assert_eq!(two.promise(&[first, second]), None);
        bucket.delete("nothing").wait().unwrap();
        fail_all(&two.store, 0).unwrap();
        assert_eq!(two.promise(&[first, second]), Some(Promise::NothingInvented), "nobody had begun to");
    }

    /// So can the check of what is handed out.
    #[test]
    fn what_is_not_handed_out_is_found() {
        let two = Two::new();
        let model = |target| {
            let mut records = two.records.clone();
            records.get_mut(&two.steps[1]).unwrap().target = target;
            Model::after(&records.values().collect::<Vec<_>>()).unwrap()
        };
        let acknowledged = two.records[&two.steps[1]].target;
        assert!(acknowledged > 0);
        let bucket = handled(&two.store, 0).unwrap();
        let found = handle_all(&bucket).unwrap();
        assert_eq!(check_order(&bucket, &model(acknowledged), &found), Ok(()));
        let lost = check_order(&bucket, &model(0), &found).unwrap_err();
        assert_eq!(lost.promise, Promise::NothingLost, "{lost}");
    }
}
