//! The lines of a task bucket.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Hex, Line, bad, time};
use crate::{
    backend::{END_OF_TIME, ERROR_BYTES, ObjectData, TaskBucketRow, TriggerRow, TriggerState},
    clock::micros_since_epoch,
    error::{Error, Result},
    limits::{Limits, check_key},
    task_bucket::{Object, check_object_size},
};

/// Where a trigger is on its way. One under a lease waits for the end of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::transfer) enum TriggerPlace {
    /// It is to be handled once it is due, and first of its key.
    Waiting,
    /// It is a dead letter.
    Dead,
}

impl<'a> Line<'a> {
    /// The line of an object.
    pub(in crate::transfer) fn of_object(object: &'a Object) -> Self {
        let Object { info, bytes } = object;
        Self::Object {
            key: (&info.key).into(),
            version: info.version,
            content_type: info.content_type.as_deref().map(Cow::from),
            recorded_at_us: micros_since_epoch(info.recorded_at),
            bytes_hex: Hex::of(bytes),
        }
    }

    /// The line of a trigger.
    pub(in crate::transfer) fn of_trigger(row: &'a TriggerRow) -> Self {
        Self::Trigger {
            trigger: row.trigger,
            kind: row.kind,
            key: (&row.key).into(),
            version: row.version,
            state: match row.state {
                TriggerState::Dead => TriggerPlace::Dead,
                TriggerState::First | TriggerState::Behind => TriggerPlace::Waiting,
            },
            due_at_us: row.due_at,
            attempts: row.attempts,
            error: row.error.as_deref().map(Cow::from),
        }
    }

    /// The object or trigger of a line, checked as a put checks it; `None` for another line.
    pub(in crate::transfer) fn into_task_bucket_row(
        self,
        counter: u64,
        limits: &Limits,
    ) -> Result<Option<TaskBucketRow>> {
        match self {
            Self::Object { key, version, content_type, recorded_at_us, bytes_hex } => {
                check_key("key", &key)?;
                content_type.as_deref().map_or(Ok(()), |kind| check_key("content type", kind))?;
                check_given(version, counter)?;
                check_time(recorded_at_us)?;
                let bytes = bytes_hex.into_bytes();
                check_object_size(&bytes, limits)?;
                let (key, content_type) = (key.into_owned(), content_type.map(Cow::into_owned));
                let object = ObjectData { key, content_type, bytes };
                Ok(Some(TaskBucketRow::Object { object, version, recorded_at: recorded_at_us }))
            }
            Self::Trigger { trigger, kind, key, version, state, due_at_us, attempts, error } => {
                check_key("key", &key)?;
                check_given(trigger, counter)?;
                check_given(version, counter)?;
                check_time(due_at_us)?;
                let length = error.as_deref().unwrap_or_default().len();
                if length > ERROR_BYTES {
                    return Err(Error::too_large("error", ERROR_BYTES as u64, length as u64));
                }
                Ok(Some(TaskBucketRow::Trigger(TriggerRow {
                    trigger,
                    kind,
                    key: key.into_owned(),
                    version,
                    state: match state {
                        TriggerPlace::Waiting => TriggerState::Behind,
                        TriggerPlace::Dead => TriggerState::Dead,
                    },
                    due_at: due_at_us,
                    attempts,
                    claims: 0,
                    holder: 0,
                    error: error.map(Cow::into_owned),
                })))
            }
            _ => Ok(None),
        }
    }
}

/// Refuses a number that the bucket has not given.
fn check_given(number: u64, counter: u64) -> Result<()> {
    if (1..=counter).contains(&number) {
        return Ok(());
    }
    Err(bad(format!("number {number} of a bucket whose counter is {counter}")))
}

fn check_time(micros: u64) -> Result<()> {
    if micros > END_OF_TIME { Err(bad("a time is out of range")) } else { time(micros).map(drop) }
}
