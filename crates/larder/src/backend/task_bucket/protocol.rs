//! How triggers go from a put to their acknowledgement: written once, over the few rows that a backend keeps.
//!
//! Of a key's triggers the one with the lowest number is *first*, and only that one can be claimed. What ends it (an
//! acknowledgement, or becoming a dead letter) makes the next one first. A claim moves the time at which the trigger is
//! due to the end of its lease, so that a lease that runs out is a trigger that is due: nobody has to look for those.

use std::sync::Arc;

use super::{
    Claimed, Due, Lease, ObjectData, ObjectRow, TaskBucketOperation, TaskBucketOutcome, TriggerRow,
    TriggerState, later, restore::restore,
};
use crate::{
    backend::Outcome,
    error::{Error, ErrorKind},
    limits::check_number,
    task_bucket::{ObjectPut, TaskKind},
};

/// The rows of the buckets of a store, inside a transaction.
pub(crate) trait Rows {
    /// Why a row was not read or written.
    type Failure: From<Error>;

    /// The last number of a bucket's counter; `None` if the bucket does not exist.
    fn counter(&mut self, bucket: &Arc<str>) -> Result<Option<u64>, Self::Failure>;
    /// Sets a bucket's counter. The bucket comes to be if it does not exist.
    fn set_counter(&mut self, bucket: &Arc<str>, counter: u64) -> Result<(), Self::Failure>;
    /// The next number of a bucket's counter, from 1. The bucket comes to be if it does not exist.
    fn next_number(&mut self, bucket: &Arc<str>) -> Result<u64, Self::Failure> {
        let next = self.counter(bucket)?.unwrap_or(0) + 1;
        self.set_counter(bucket, next)?;
        Ok(next)
    }
    /// The object of a key.
    fn object(&mut self, bucket: &Arc<str>, key: &str) -> Result<Option<ObjectRow>, Self::Failure>;
    /// Writes an object, in place of the one of its key.
    fn set_object(&mut self, bucket: &Arc<str>, row: ObjectRow, bytes: &[u8]) -> Result<(), Self::Failure>;
    /// Removes the object of a key.
    fn remove_object(&mut self, bucket: &Arc<str>, key: &str) -> Result<(), Self::Failure>;
    /// The trigger of a number.
    fn trigger(&mut self, bucket: &Arc<str>, trigger: u64) -> Result<Option<TriggerRow>, Self::Failure>;
    /// The trigger of a key with the lowest number that is no dead letter.
    fn first_of(&mut self, bucket: &Arc<str>, key: &str) -> Result<Option<TriggerRow>, Self::Failure>;
    /// First triggers that are due, those that are due longest first.
    fn due(&mut self, bucket: &Arc<str>, now: u64, limit: usize) -> Result<Vec<TriggerRow>, Self::Failure>;
    /// Dead letters above a number, ascending.
    fn dead(&mut self, bucket: &Arc<str>, above: u64, limit: usize)
    -> Result<Vec<TriggerRow>, Self::Failure>;
    /// Writes a trigger, in place of the one of its number.
    fn set_trigger(&mut self, bucket: &Arc<str>, row: &TriggerRow) -> Result<(), Self::Failure>;
    /// Removes the trigger of a number.
    fn remove_trigger(&mut self, bucket: &Arc<str>, trigger: u64) -> Result<(), Self::Failure>;
    /// Has the bucket announced after the commit: somebody may find something due, or due at another time.
    fn announce(&mut self, bucket: &Arc<str>);
}

/// What is kept of an error.
pub(crate) const ERROR_BYTES: usize = 4 << 10;
/// How many dead letters are moved at a time.
const DEAD_AT_A_TIME: usize = 256;

/// Does what an operation says, at this time.
pub(crate) fn operate<R: Rows>(
    rows: &mut R,
    operation: &TaskBucketOperation,
    now: u64,
) -> Result<Outcome, R::Failure> {
    use TaskBucketOperation as O;
    let outcome = match operation {
        O::Put { bucket, object, if_absent, trigger } => {
            TaskBucketOutcome::Put(put(rows, bucket, object, *if_absent, *trigger, now)?)
        }
        O::Delete { bucket, key, trigger } => {
            TaskBucketOutcome::Deleted(delete(rows, bucket, key, *trigger, now)?)
        }
        O::Claim { bucket, limit, lease, max_attempts } => {
            TaskBucketOutcome::Claimed(claim(rows, bucket, *limit, *lease, *max_attempts, now)?)
        }
        O::Renew { bucket, lease, duration } => {
            let mut row = held(rows, bucket, *lease, now)?;
            row.due_at = later(now, *duration);
            rows.set_trigger(bucket, &row)?;
            return Ok(Outcome::Done);
        }
        O::Acknowledge { bucket, lease } => {
            let row = held(rows, bucket, *lease, now)?;
            rows.remove_trigger(bucket, row.trigger)?;
            promote(rows, bucket, &row.key)?;
            return Ok(Outcome::Done);
        }
        O::Fail { bucket, lease, error, retry_after } => {
            let row = held(rows, bucket, *lease, now)?;
            fail(rows, bucket, row, shortened(error), *retry_after, now)?;
            return Ok(Outcome::Done);
        }
        O::Redrive { bucket, trigger } => {
            TaskBucketOutcome::Moved(each_dead(rows, bucket, *trigger, |rows, row| {
                rows.remove_trigger(bucket, row.trigger)?;
                add(rows, bucket, TriggerRow { due_at: now, attempts: 0, ..row })
            })?)
        }
        O::Discard { bucket, trigger } => {
            TaskBucketOutcome::Moved(each_dead(rows, bucket, *trigger, |rows, row| {
                rows.remove_trigger(bucket, row.trigger)
            })?)
        }
        O::Restore { bucket, rows: exported } => {
            restore(rows, bucket, exported)?;
            return Ok(Outcome::Done);
        }
    };
    Ok(Outcome::TaskBucket(outcome))
}

fn put<R: Rows>(
    rows: &mut R,
    bucket: &Arc<str>,
    object: &ObjectData,
    if_absent: bool,
    trigger: Option<Due>,
    now: u64,
) -> Result<ObjectPut, R::Failure> {
    let existing = rows.object(bucket, &object.key)?;
    if let Some(existing) = existing.as_ref().filter(|_| if_absent) {
        let error = Error::new(ErrorKind::AlreadyExists).with("bucket", &**bucket);
        return Err(error.with("key", existing.key.clone()).into());
    }
    let version = next_number(rows, bucket)?;
    let ObjectData { key, content_type, bytes } = object;
    let row = ObjectRow {
        key: key.clone(),
        version,
        content_type: content_type.clone(),
        recorded_at: now,
        length: bytes.len() as u64,
        bytes_checksum: crc32c::crc32c(bytes),
    };
    rows.set_object(bucket, row, bytes)?;
    if let Some(due) = trigger {
        add(rows, bucket, created(TaskKind::ObjectCreated, key, version, due.time(now)))?;
    }
    Ok(ObjectPut::new(version, existing.is_some()))
}

fn delete<R: Rows>(
    rows: &mut R,
    bucket: &Arc<str>,
    key: &str,
    trigger: bool,
    now: u64,
) -> Result<bool, R::Failure> {
    let Some(existing) = rows.object(bucket, key)? else { return Ok(false) };
    rows.remove_object(bucket, key)?;
    if trigger {
        add(rows, bucket, created(TaskKind::ObjectRemoved, key, existing.version, now))?;
    }
    Ok(true)
}

fn created(kind: TaskKind, key: &str, version: u64, due_at: u64) -> TriggerRow {
    TriggerRow {
        trigger: 0,
        kind,
        key: key.to_owned(),
        version,
        state: TriggerState::Behind,
        due_at,
        attempts: 0,
        claims: 0,
        holder: 0,
        error: None,
    }
}

/// Writes a trigger under the next number, behind the others of its key.
fn add<R: Rows>(rows: &mut R, bucket: &Arc<str>, row: TriggerRow) -> Result<(), R::Failure> {
    let is_first = rows.first_of(bucket, &row.key)?.is_none();
    let state = if is_first { TriggerState::First } else { TriggerState::Behind };
    let trigger = next_number(rows, bucket)?;
    rows.set_trigger(bucket, &TriggerRow { trigger, state, ..row })?;
    rows.announce(bucket);
    Ok(())
}

fn next_number<R: Rows>(rows: &mut R, bucket: &Arc<str>) -> Result<u64, R::Failure> {
    let number = rows.next_number(bucket)?;
    check_number("bucket version", number)?;
    Ok(number)
}

fn claim<R: Rows>(
    rows: &mut R,
    bucket: &Arc<str>,
    limit: usize,
    lease: u64,
    max_attempts: u32,
    now: u64,
) -> Result<Vec<Claimed>, R::Failure> {
    let mut claimed = Vec::new();
    for mut row in rows.due(bucket, now, limit)? {
        if row.attempts >= max_attempts {
            let error = row.error.take().filter(|_| row.holder == 0);
            let error =
                error.unwrap_or_else(|| "its handler did not come back before the lease ran out".into());
            fail(rows, bucket, row, error, None, now)?;
            continue;
        }
        row.attempts += 1;
        row.claims += 1;
        row.holder = row.claims;
        row.due_at = later(now, lease);
        rows.set_trigger(bucket, &row)?;
        let lease = Lease { trigger: row.trigger, token: row.holder };
        let TriggerRow { kind, key, version, attempts: attempt, .. } = row;
        claimed.push(Claimed { lease, kind, key, version, attempt });
    }
    Ok(claimed)
}

/// The trigger under this lease. One that has run out is lost, whether or not somebody else has taken it.
fn held<R: Rows>(rows: &mut R, bucket: &Arc<str>, lease: Lease, now: u64) -> Result<TriggerRow, R::Failure> {
    let row = rows.trigger(bucket, lease.trigger)?;
    let is_held = |row: &TriggerRow| {
        row.state == TriggerState::First && row.holder == lease.token && lease.token > 0 && row.due_at > now
    };
    row.filter(is_held).ok_or_else(|| {
        let error = Error::new(ErrorKind::LeaseLost).with("bucket", &**bucket);
        error.with("trigger", lease.trigger.to_string()).into()
    })
}

fn fail<R: Rows>(
    rows: &mut R,
    bucket: &Arc<str>,
    mut row: TriggerRow,
    error: String,
    retry_after: Option<u64>,
    now: u64,
) -> Result<(), R::Failure> {
    row.holder = 0;
    row.error = Some(error);
    row.due_at = later(now, retry_after.unwrap_or(0));
    if retry_after.is_none() {
        row.state = TriggerState::Dead;
    }
    rows.set_trigger(bucket, &row)?;
    promote(rows, bucket, &row.key)
}

/// Makes the lowest of a key's triggers its first.
fn promote<R: Rows>(rows: &mut R, bucket: &Arc<str>, key: &str) -> Result<(), R::Failure> {
    if let Some(mut first) = rows.first_of(bucket, key)?
        && first.state != TriggerState::First
    {
        first.state = TriggerState::First;
        rows.set_trigger(bucket, &first)?;
    }
    // Others may wait for this one's time, or for the end of its lease; other processes see it by the counter.
    rows.next_number(bucket)?;
    rows.announce(bucket);
    Ok(())
}

/// Runs over the dead letters that are there now, and says how many they were.
fn each_dead<R: Rows>(
    rows: &mut R,
    bucket: &Arc<str>,
    trigger: Option<u64>,
    mut run: impl FnMut(&mut R, TriggerRow) -> Result<(), R::Failure>,
) -> Result<u64, R::Failure> {
    if let Some(trigger) = trigger {
        let row = rows.trigger(bucket, trigger)?.filter(|row| row.state == TriggerState::Dead);
        return match row {
            Some(row) => run(rows, row).map(|()| 1),
            None => Ok(0),
        };
    }
    let (mut done, mut above) = (0, 0);
    loop {
        let dead = rows.dead(bucket, above, DEAD_AT_A_TIME)?;
        let Some(last) = dead.last() else { return Ok(done) };
        above = last.trigger;
        done += dead.len() as u64;
        dead.into_iter().try_for_each(|row| run(rows, row))?;
    }
}

/// As much of an error's text as is stored, in whole characters.
pub(crate) fn shortened(error: &str) -> String {
    error[..error.floor_char_boundary(ERROR_BYTES)].to_owned()
}
