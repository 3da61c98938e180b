//! Task buckets in ordered maps, each row with its checksum.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use super::state::Transaction;
use crate::{
    backend::{
        DeadTasksRead, Finding, ObjectRow, ObjectsRead, Outcome, TaskBucketOperation, TaskBucketStats,
        TaskRows, TriggerRow, TriggerState, TriggersRead, VerifyReport, bucket_checksum, check_row,
        operate_on_bucket,
    },
    error::Result,
    limits::Limits,
    page::Page,
    query_db::after_prefix,
    task_bucket::{DeadTask, Object, ObjectInfo, TaskBucketInfo, page_of},
};

/// The task buckets of a store.
#[derive(Debug, Default)]
pub(super) struct TaskBuckets {
    buckets: BTreeMap<Arc<str>, Bucket>,
    /// What the batch under way has changed, and what was there before.
    undo: Vec<Undo>,
    changed: BTreeSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct Bucket {
    counter: u64,
    checksum: u32,
    objects: BTreeMap<String, KeptObject>,
    triggers: BTreeMap<u64, KeptTrigger>,
    /// The first triggers, by the time at which they are due.
    due: BTreeSet<(u64, u64)>,
    /// What is no dead letter, by key.
    by_key: BTreeSet<(String, u64)>,
    dead: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
struct KeptObject {
    row: ObjectRow,
    bytes: Arc<[u8]>,
    checksum: u32,
}

#[derive(Debug, Clone)]
struct KeptTrigger {
    row: TriggerRow,
    checksum: u32,
}

#[derive(Debug)]
enum Undo {
    Counter(Arc<str>, Option<(u64, u32)>),
    Object(Arc<str>, String, Option<KeptObject>),
    Trigger(Arc<str>, u64, Option<KeptTrigger>),
}

impl KeptObject {
    fn row(&self, bucket: &str) -> Result<&ObjectRow> {
        check_row(
            "an object whose checksum does not match",
            bucket,
            self.row.checksum(bucket),
            self.checksum,
        )?;
        Ok(&self.row)
    }
}

impl KeptTrigger {
    fn row(&self, bucket: &str) -> Result<&TriggerRow> {
        check_row(
            "a trigger whose checksum does not match",
            bucket,
            self.row.checksum(bucket),
            self.checksum,
        )?;
        Ok(&self.row)
    }
}

impl Bucket {
    fn counter(&self, name: &str) -> Result<u64> {
        let computed = bucket_checksum(name, self.counter);
        check_row("a bucket whose checksum does not match", name, computed, self.checksum)?;
        Ok(self.counter)
    }

    fn info(&self, name: &str) -> Result<TaskBucketInfo> {
        Ok(TaskBucketInfo::new(name.to_owned(), self.counter(name)?))
    }

    /// Puts a trigger, or nothing, in the place of a number, and answers what was there.
    fn replace(&mut self, trigger: u64, new: Option<KeptTrigger>) -> Option<KeptTrigger> {
        let was = self.triggers.remove(&trigger);
        if let Some(KeptTrigger { row, .. }) = &was {
            self.due.remove(&(row.due_at, trigger));
            self.by_key.remove(&(row.key.clone(), trigger));
            self.dead.remove(&trigger);
        }
        if let Some(kept) = new {
            match kept.row.state {
                TriggerState::Dead => drop(self.dead.insert(trigger)),
                state => {
                    self.by_key.insert((kept.row.key.clone(), trigger));
                    if state == TriggerState::First {
                        self.due.insert((kept.row.due_at, trigger));
                    }
                }
            }
            self.triggers.insert(trigger, kept);
        }
        was
    }

    fn rows(&self, bucket: &str, numbers: impl Iterator<Item = u64>) -> Result<Vec<TriggerRow>> {
        numbers
            .filter_map(|number| self.triggers.get(&number))
            .map(|kept| kept.row(bucket).cloned())
            .collect()
    }
}

/// The keys of a prefix, which ends before `end`, that a listing has still before it; `None` if there can be none.
fn keys_left<'a>(
    prefix: &'a str,
    end: Option<&'a str>,
    after: Option<&'a str>,
    descending: bool,
) -> Option<(Bound<&'a str>, Bound<&'a str>)> {
    let whole = (Bound::Included(prefix), end.map_or(Bound::Unbounded, Bound::Excluded));
    let Some(after) = after else { return Some(whole) };
    let (is_below, is_above) = (after < prefix, end.is_some_and(|end| after >= end));
    match (descending, is_below, is_above) {
        (false, true, _) | (true, _, true) => Some(whole),
        (false, _, true) | (true, true, _) => None,
        (false, false, false) => Some((Bound::Excluded(after), whole.1)),
        (true, false, false) => Some((whole.0, Bound::Excluded(after))),
    }
}

impl TaskBuckets {
    fn bucket(&mut self, name: &Arc<str>) -> &mut Bucket {
        self.buckets.entry(name.clone()).or_default()
    }

    /// Makes the changes of the batch final, and names the channels of what it changed.
    pub(super) fn keep(&mut self) -> Vec<Arc<str>> {
        self.undo.clear();
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|name| format!("bucket/{name}").into()).collect()
    }

    /// Takes back everything since the last batch.
    pub(super) fn revert(&mut self) {
        self.changed.clear();
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Counter(name, None) => drop(self.buckets.remove(&name)),
                Undo::Counter(name, Some((counter, checksum))) => {
                    let bucket = self.bucket(&name);
                    (bucket.counter, bucket.checksum) = (counter, checksum);
                }
                Undo::Object(name, key, Some(was)) => drop(self.bucket(&name).objects.insert(key, was)),
                Undo::Object(name, key, None) => drop(self.bucket(&name).objects.remove(&key)),
                Undo::Trigger(name, trigger, was) => drop(self.bucket(&name).replace(trigger, was)),
            }
        }
    }

    pub(super) fn object(&self, bucket: &str, key: &str) -> Result<Option<Object>> {
        let found = self.buckets.get(bucket).and_then(|bucket| bucket.objects.get(key));
        let Some(kept) = found else { return Ok(None) };
        let row = kept.row(bucket)?;
        row.check_bytes(bucket, &kept.bytes)?;
        Ok(Some(Object::of(row.clone(), kept.bytes.to_vec())))
    }

    pub(super) fn info(&self, bucket: &str, key: &str) -> Result<Option<ObjectInfo>> {
        let found = self.buckets.get(bucket).and_then(|bucket| bucket.objects.get(key));
        found.map(|kept| kept.row(bucket).cloned().map(ObjectInfo::from)).transpose()
    }

    pub(super) fn objects(&self, request: &ObjectsRead, limits: &Limits) -> Result<Page<ObjectInfo>> {
        let ObjectsRead { bucket: name, prefix, after, limit, descending, .. } = request;
        let Some(bucket) = self.buckets.get(name) else { return page_of([], *limit, limits) };
        let end = after_prefix(prefix);
        let Some(left) = keys_left(prefix, end.as_deref(), after.as_deref(), *descending) else {
            return page_of([], *limit, limits);
        };
        let rows = bucket.objects.range::<str, _>(left);
        let info = |(_, kept): (_, &KeptObject)| kept.row(name).cloned().map(ObjectInfo::from);
        if *descending {
            page_of(rows.rev().map(info), *limit, limits)
        } else {
            page_of(rows.map(info), *limit, limits)
        }
    }

    pub(super) fn dead_letters(&self, request: &DeadTasksRead, limits: &Limits) -> Result<Page<DeadTask>> {
        let DeadTasksRead { bucket: name, after, limit, descending, .. } = request;
        let Some(bucket) = self.buckets.get(name) else { return page_of([], *limit, limits) };
        let letter = |number: &u64| {
            let kept = bucket.triggers.get(number);
            kept.map(|kept| kept.row(name).cloned().map(DeadTask::of))
        };
        if *descending {
            let end = after.map_or(Bound::Unbounded, Bound::Excluded);
            page_of(bucket.dead.range((Bound::Unbounded, end)).rev().filter_map(letter), *limit, limits)
        } else {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            page_of(bucket.dead.range((start, Bound::Unbounded)).filter_map(letter), *limit, limits)
        }
    }

    pub(super) fn infos(&self) -> Result<Vec<TaskBucketInfo>> {
        self.buckets.iter().map(|(name, bucket)| bucket.info(name)).collect()
    }

    pub(super) fn bucket_info(&self, name: &str) -> Result<Option<TaskBucketInfo>> {
        self.buckets.get(name).map(|bucket| bucket.info(name)).transpose()
    }

    pub(super) fn triggers(&self, request: &TriggersRead) -> Result<Vec<TriggerRow>> {
        let TriggersRead { bucket: name, after, limit } = request;
        let Some(bucket) = self.buckets.get(name) else { return Ok(Vec::new()) };
        let above = bucket.triggers.range((Bound::Excluded(*after), Bound::Unbounded));
        above.take(*limit).map(|(_, kept)| kept.row(name).cloned()).collect()
    }

    pub(super) fn next_due(&self, bucket: &str) -> Option<u64> {
        self.buckets.get(bucket)?.due.first().map(|(due_at, _)| *due_at)
    }

    pub(super) fn stats(&self) -> Vec<TaskBucketStats> {
        let stats = |(name, bucket): (&Arc<str>, &Bucket)| {
            let bytes = bucket.objects.values().map(|kept| kept.row.length).sum();
            let (live, dead) = (bucket.by_key.len() as u64, bucket.dead.len() as u64);
            TaskBucketStats::new(name.to_string(), bucket.objects.len() as u64, bytes, live, dead)
        };
        self.buckets.iter().map(stats).collect()
    }

    pub(super) fn verify(&self, report: &mut VerifyReport) {
        for (name, bucket) in &self.buckets {
            let mut problems = Vec::new();
            if bucket_checksum(name, bucket.counter) != bucket.checksum {
                problems.push("a bucket whose checksum does not match".to_owned());
            }
            for (key, kept) in &bucket.objects {
                report.objects += 1;
                let checked = kept.row(name).and_then(|row| row.check_bytes(name, &kept.bytes));
                problems.extend(checked.err().map(|error| error.to_string()));
                if kept.row.key != *key || kept.row.version > bucket.counter {
                    problems.push(format!("an object under another's key: {key}"));
                }
            }
            let mut firsts = BTreeMap::new();
            for (number, kept) in &bucket.triggers {
                report.triggers += 1;
                problems.extend(kept.row(name).err().map(|error| error.to_string()));
                if kept.row.state != TriggerState::Dead {
                    let should = firsts.insert(kept.row.key.as_str(), ()).is_none();
                    if should != (kept.row.state == TriggerState::First) {
                        problems.push(format!("trigger {number} is out of its key's order"));
                    }
                }
            }
            for problem in problems {
                let problem = format!("bucket {name}: {problem}");
                report.find(Finding { log: None, position: None, problem });
            }
        }
    }

    /// Changes what is stored behind the back of its checksum, for tests.
    #[cfg(test)]
    pub(super) fn damage(&mut self, damage: impl Fn(&mut ObjectRow)) {
        self.buckets.values_mut().flat_map(|bucket| bucket.objects.values_mut()).for_each(|kept| {
            damage(&mut kept.row);
        });
    }
}

impl TaskRows for TaskBuckets {
    type Failure = crate::Error;

    fn counter(&mut self, name: &Arc<str>) -> Result<Option<u64>> {
        self.buckets.get(name).map(|bucket| bucket.counter(name)).transpose()
    }

    fn set_counter(&mut self, name: &Arc<str>, counter: u64) -> Result<()> {
        let was = self.buckets.get(name).map(|bucket| (bucket.counter, bucket.checksum));
        self.undo.push(Undo::Counter(name.clone(), was));
        let bucket = self.bucket(name);
        (bucket.counter, bucket.checksum) = (counter, bucket_checksum(name, counter));
        Ok(())
    }

    fn object(&mut self, name: &Arc<str>, key: &str) -> Result<Option<ObjectRow>> {
        let kept = self.buckets.get(name).and_then(|bucket| bucket.objects.get(key));
        kept.map(|kept| kept.row(name).cloned()).transpose()
    }

    fn set_object(&mut self, name: &Arc<str>, row: ObjectRow, bytes: &[u8]) -> Result<()> {
        let (key, checksum) = (row.key.clone(), row.checksum(name));
        let kept = KeptObject { row, bytes: bytes.into(), checksum };
        let was = self.bucket(name).objects.insert(key.clone(), kept);
        self.undo.push(Undo::Object(name.clone(), key, was));
        Ok(())
    }

    fn remove_object(&mut self, name: &Arc<str>, key: &str) -> Result<()> {
        let was = self.bucket(name).objects.remove(key);
        self.undo.push(Undo::Object(name.clone(), key.to_owned(), was));
        Ok(())
    }

    fn trigger(&mut self, name: &Arc<str>, trigger: u64) -> Result<Option<TriggerRow>> {
        let kept = self.buckets.get(name).and_then(|bucket| bucket.triggers.get(&trigger));
        kept.map(|kept| kept.row(name).cloned()).transpose()
    }

    fn first_of(&mut self, name: &Arc<str>, key: &str) -> Result<Option<TriggerRow>> {
        let Some(bucket) = self.buckets.get(name) else { return Ok(None) };
        let first = bucket.by_key.range((key.to_owned(), 0)..=(key.to_owned(), u64::MAX)).next();
        Ok(bucket.rows(name, first.map(|(_, number)| *number).into_iter())?.pop())
    }

    fn due(&mut self, name: &Arc<str>, now: u64, limit: usize) -> Result<Vec<TriggerRow>> {
        let Some(bucket) = self.buckets.get(name) else { return Ok(Vec::new()) };
        bucket.rows(name, bucket.due.range(..=(now, u64::MAX)).take(limit).map(|(_, number)| *number))
    }

    fn dead(&mut self, name: &Arc<str>, above: u64, limit: usize) -> Result<Vec<TriggerRow>> {
        let Some(bucket) = self.buckets.get(name) else { return Ok(Vec::new()) };
        bucket.rows(name, bucket.dead.range(above + 1..).take(limit).copied())
    }

    fn set_trigger(&mut self, name: &Arc<str>, row: &TriggerRow) -> Result<()> {
        let kept = KeptTrigger { row: row.clone(), checksum: row.checksum(name) };
        let was = self.bucket(name).replace(row.trigger, Some(kept));
        self.undo.push(Undo::Trigger(name.clone(), row.trigger, was));
        Ok(())
    }

    fn remove_trigger(&mut self, name: &Arc<str>, trigger: u64) -> Result<()> {
        let was = self.bucket(name).replace(trigger, None);
        self.undo.push(Undo::Trigger(name.clone(), trigger, was));
        Ok(())
    }

    fn announce(&mut self, name: &Arc<str>) {
        self.changed.insert(name.clone());
    }
}

impl Transaction<'_> {
    pub(super) fn change_task_bucket(&mut self, operation: &TaskBucketOperation) -> Result<Outcome> {
        let now = self.now;
        operate_on_bucket(self.task_buckets, operation, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each page begins where the last one ended: what came before is not looked at again.
    #[test]
    fn a_page_begins_where_the_last_one_ended() {
        let left = |after, descending| keys_left("b/", Some("b0"), after, descending);
        let (low, high) = (Bound::Included("b/"), Bound::Excluded("b0"));
        let five = Bound::Excluded("b/5");
        let expected = [
            (None, Some((low, high)), Some((low, high))),
            (Some("a"), Some((low, high)), None),
            (Some("b/"), Some((Bound::Excluded("b/"), high)), Some((low, Bound::Excluded("b/")))),
            (Some("b/5"), Some((five, high)), Some((low, five))),
            (Some("b0"), None, Some((low, high))),
            (Some("c"), None, Some((low, high))),
        ];
        for (after, up, down) in expected {
            assert_eq!((left(after, false), left(after, true)), (up, down), "{after:?}");
        }
        let last = keys_left("\u{10ffff}", None, Some("\u{10ffff}x"), false);
        assert_eq!(last, Some((Bound::Excluded("\u{10ffff}x"), Bound::Unbounded)));
    }
}
