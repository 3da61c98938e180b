//! The options of puts and deletions.

use std::time::{Duration, SystemTime};

use super::kind::{DeleteObject, Put};
use crate::{
    backend::{Due, ObjectData, Operation, TaskBucketOperation},
    clock::micros_since_epoch,
    limits::check_key,
    operation::Write,
};

/// Before when a trigger is not handled: a time, or a duration from the commit on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotBefore {
    /// At this time, by the store's clock.
    At(SystemTime),
    /// So long after the commit.
    After(Duration),
}

impl From<SystemTime> for NotBefore {
    fn from(time: SystemTime) -> Self {
        Self::At(time)
    }
}

impl From<Duration> for NotBefore {
    fn from(duration: Duration) -> Self {
        Self::After(duration)
    }
}

/// Microseconds; what is longer than can be told means that.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Write<Put> {
    fn change(self, change: impl FnOnce(&mut ObjectData, &mut bool, &mut Option<Due>)) -> Self {
        self.map(|mut operation| {
            if let Operation::TaskBucket(TaskBucketOperation::Put { object, if_absent, trigger, .. }) =
                &mut operation
            {
                change(object, if_absent, trigger);
            }
            Ok(operation)
        })
    }

    /// Says what kind of bytes they are, as `application/json`.
    pub fn content_type(self, content_type: impl Into<String>) -> Self {
        let content_type = content_type.into();
        let checked = check_key("content type", &content_type);
        self.map(|operation| checked.map(|()| operation))
            .change(|object, _, _| object.content_type = Some(content_type))
    }

    /// Fails with `AlreadyExists` if there is an object under the key.
    pub fn if_absent(self) -> Self {
        self.change(|_, if_absent, _| *if_absent = true)
    }

    /// Has the trigger handled at this time, or after this duration, at the earliest. Later triggers of the key wait
    /// for it.
    pub fn not_before(self, not_before: impl Into<NotBefore>) -> Self {
        let due = match not_before.into() {
            NotBefore::At(time) => Due::At(micros_since_epoch(time)),
            NotBefore::After(duration) => Due::After(micros(duration)),
        };
        self.change(|_, _, trigger| *trigger = Some(due))
    }

    /// Leaves no trigger: the object is only stored.
    pub fn without_trigger(self) -> Self {
        self.change(|_, _, trigger| *trigger = None)
    }
}

impl Write<DeleteObject> {
    /// Leaves a trigger `ObjectRemoved` if there is an object.
    pub fn with_trigger(self) -> Self {
        self.map(|mut operation| {
            if let Operation::TaskBucket(TaskBucketOperation::Delete { trigger, .. }) = &mut operation {
                *trigger = true;
            }
            Ok(operation)
        })
    }
}
