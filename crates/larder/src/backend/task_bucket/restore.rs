//! A bucket comes back as it was exported: in parts, if it is large.

use std::sync::Arc;

use super::{ObjectData, ObjectRow, Rows, TaskBucketRow, TriggerRow, TriggerState};
use crate::error::{Error, ErrorKind};

/// Writes rows of an export as they are.
pub(super) fn restore<R: Rows>(
    rows: &mut R,
    bucket: &Arc<str>,
    exported: &[TaskBucketRow],
) -> Result<(), R::Failure> {
    exported.iter().try_for_each(|row| match row {
        TaskBucketRow::Begin { counter } => begin(rows, bucket, *counter),
        TaskBucketRow::Object { object, version, recorded_at } => {
            restore_object(rows, bucket, object, *version, *recorded_at)
        }
        TaskBucketRow::Trigger(row) => restore_trigger(rows, bucket, row.clone()),
        TaskBucketRow::End { counter } => end(rows, bucket, *counter),
    })
}

/// Until the bucket is whole its counter is one higher: other processes look at it, so that the end has to move it.
fn begin<R: Rows>(rows: &mut R, bucket: &Arc<str>, counter: u64) -> Result<(), R::Failure> {
    if rows.counter(bucket)?.is_some() {
        let error = Error::new(ErrorKind::AlreadyExists);
        return Err(error.with_hint("a bucket is imported only where there is none of its name").into());
    }
    rows.set_counter(bucket, counter + 1)
}

fn end<R: Rows>(rows: &mut R, bucket: &Arc<str>, counter: u64) -> Result<(), R::Failure> {
    // If somebody has put something meanwhile, it has moved already.
    if rows.counter(bucket)? == Some(counter + 1) {
        rows.set_counter(bucket, counter)?;
    }
    rows.announce(bucket);
    Ok(())
}

fn restore_object<R: Rows>(
    rows: &mut R,
    bucket: &Arc<str>,
    object: &ObjectData,
    version: u64,
    recorded_at: u64,
) -> Result<(), R::Failure> {
    check_given(rows, bucket, version)?;
    let ObjectData { key, content_type, bytes } = object;
    if rows.object(bucket, key)?.is_some() {
        return Err(refused(format!("there is an object `{key}`")).into());
    }
    let row = ObjectRow {
        key: key.clone(),
        version,
        content_type: content_type.clone(),
        recorded_at,
        length: bytes.len() as u64,
        bytes_checksum: crc32c::crc32c(bytes),
    };
    rows.set_object(bucket, row, bytes)
}

fn restore_trigger<R: Rows>(rows: &mut R, bucket: &Arc<str>, mut row: TriggerRow) -> Result<(), R::Failure> {
    check_given(rows, bucket, row.trigger.max(row.version))?;
    if rows.trigger(bucket, row.trigger)?.is_some() {
        return Err(refused(format!("there is a trigger {}", row.trigger)).into());
    }
    if row.state != TriggerState::Dead {
        row.state = match rows.first_of(bucket, &row.key)? {
            None => TriggerState::First,
            Some(first) if first.trigger < row.trigger => TriggerState::Behind,
            Some(first) => {
                let reason = format!("trigger {} comes after {} of its key", row.trigger, first.trigger);
                return Err(refused(reason).into());
            }
        };
    }
    // Leases stay where they were held.
    (row.claims, row.holder) = (0, 0);
    rows.set_trigger(bucket, &row)?;
    rows.announce(bucket);
    Ok(())
}

/// Refuses a number that the bucket has not given: while it is restored, its counter is above all of them.
fn check_given<R: Rows>(rows: &mut R, bucket: &Arc<str>, number: u64) -> Result<(), R::Failure> {
    match rows.counter(bucket)? {
        Some(counter) if number < counter => Ok(()),
        Some(_) => Err(refused(format!("number {number} is above the bucket's counter")).into()),
        None => Err(refused("its first row is missing".into()).into()),
    }
}

fn refused(reason: String) -> Error {
    Error::invalid("import", reason).with_hint("a bucket is imported only where there is none of its name")
}
