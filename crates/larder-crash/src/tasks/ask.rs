//! What is asked of the buckets of a damaged store, as lines that say everything.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{Arc, Mutex, PoisonError},
};

use larder::{DeadTask, Object, ObjectInfo, Store, Task, TaskBucket, WorkOptions};

use super::{ATTEMPTS, KEYS, failing, handled, key};
use crate::step::StepId;

/// Each question's answer, a line for each thing.
type Answers = BTreeMap<String, larder::Result<Vec<String>>>;

/// Everything that is asked of the buckets of writer 0 and changes nothing.
pub(crate) fn ask(store: &Store) -> Answers {
    let mut answers = Answers::new();
    let (Ok(handled), Ok(failing)) = (handled(store, 0), failing(store, 0)) else { return answers };
    let numbers = (0..KEYS).map(key).collect::<Vec<_>>();
    let steps = (0..60).map(|index| StepId { writer: 0, index }.to_string()).collect::<Vec<_>>();
    for (bucket, keys, prefix) in [(&handled, numbers, "key/"), (&failing, steps, "0-1")] {
        let name = bucket.name();
        let infos = |page: larder::Page<ObjectInfo>| page.items.iter().map(info).collect();
        let letters =
            |page: larder::Page<DeadTask>| page.items.iter().map(|dead| format!("{dead:?}")).collect();
        let mut list = |question: &str, read: larder::Read<ObjectInfo>| {
            answers.insert(format!("{question} of {name}"), read.wait().map(infos));
        };
        list("all objects", bucket.list(""));
        list("all objects, backwards", bucket.list("").descending().limit(1_000));
        list("objects of a prefix", bucket.list(prefix));
        let read = bucket.dead_letters().wait();
        answers.insert(format!("dead letters of {name}"), read.map(letters));
        let read = bucket.dead_letters().descending().limit(1_000).wait();
        answers.insert(format!("dead letters of {name}, backwards"), read.map(letters));
        for key in keys {
            let read = bucket.get(&key).wait();
            answers.insert(
                format!("object {key} of {name}"),
                read.map(|found| found.iter().map(object).collect()),
            );
            let read = bucket.head(&key).wait();
            answers.insert(
                format!("head of {key} of {name}"),
                read.map(|found| found.iter().map(info).collect()),
            );
        }
    }
    answers
}

fn info(info: &ObjectInfo) -> String {
    format!("{info:?}")
}

fn object(object: &Object) -> String {
    format!("{:?} {:?}", object.info, object.bytes)
}

/// Handles the tasks that are due, and answers them by key: each task, and the object that came with it. A worker that
/// could not go on says so.
pub(crate) fn handle(store: &Store) -> (BTreeMap<String, Vec<String>>, larder::Result<()>) {
    let told = Arc::new(Mutex::new(BTreeMap::<String, Vec<String>>::new()));
    let buckets = [handled(store, 0), failing(store, 0)];
    let ended = buckets.into_iter().try_for_each(|bucket| work(&bucket?, told.clone()));
    (std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner)), ended)
}

fn work(bucket: &TaskBucket, told: Arc<Mutex<BTreeMap<String, Vec<String>>>>) -> larder::Result<()> {
    let name = bucket.name().to_owned();
    let mut options = WorkOptions::default();
    (options.once, options.max_attempts) = (true, ATTEMPTS);
    let work = bucket.work(options, move |task: Task| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = told.entry(format!("tasks of {} of {name}", task.key)).or_default();
        lines.push(format!("{} {} {}", task.trigger(), task.kind, task.version));
        if let Some(version) = task.object_version {
            lines.push(format!("{version} {:?} {:?}", task.content_type, task.bytes));
        }
        ready(Ok(()))
    });
    work.wait()
}
