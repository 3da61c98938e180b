//! Task buckets: objects under keys, and durable triggers that are handled at least once.

mod kind;
mod object;
mod options;
mod put;
mod task;
mod work;

use std::{future::Future, sync::Arc};

pub(crate) use self::object::{check_object_size, page_of};
pub use self::{
    kind::{Acknowledge, DeleteObject, DiscardDeadTasks, ObjectPut, Put, RedriveDeadTasks},
    object::{DeadTask, Object, ObjectInfo, TaskBucketInfo, TaskKind},
    options::WorkOptions,
    put::NotBefore,
    task::Task,
};
use crate::{
    backend::{DeadTasksRead, Due, ObjectData, ObjectsRead, Operation, TaskBucketOperation},
    error::{BoxError, ErrorKind, Result},
    limits::{check_key, check_text},
    operation::{Call, Read, Write},
    store::Store,
};

/// A bucket of objects. A put leaves a trigger in the same commit, and [`work`](Self::work) handles each trigger at
/// least once. Cheap to clone.
///
/// ```
/// use larder::{Store, WorkOptions};
///
/// # fn main() -> larder::Result<()> {
/// let mails = Store::memory().task_bucket("mails")?;
/// mails.put("confirm/order-1.json", r#"{"to":"ann@example.com"}"#).content_type("application/json").wait()?;
///
/// let mut options = WorkOptions::default();
/// options.until_empty = true; // else it goes on until the store is closed
/// mails
///     .work(options, |task| async move {
///         assert_eq!((task.key.as_str(), task.attempt), ("confirm/order-1.json", 1));
///         assert!(task.text()?.contains("ann@example.com"));
///         Ok(()) // an error, or a panic, is a failed attempt
///     })
///     .wait()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TaskBucket {
    store: Store,
    name: Arc<str>,
}

impl TaskBucket {
    pub(crate) fn new(store: Store, name: &str) -> Self {
        Self { store, name: name.into() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is known of it; `None` if nothing was ever put into it.
    ///
    /// # Errors
    /// `Closed`, `Corrupted`, `Io`.
    pub fn info(&self) -> Call<Option<TaskBucketInfo>> {
        let (store, bucket) = (self.store.clone(), self.name.clone());
        Call::new(async move { store.backend().await?.task_bucket_info(bucket).await })
    }

    /// Puts an object under a key, in place of the one that is there, and a trigger `ObjectCreated`. Options:
    /// [`content_type`](Write::content_type), [`if_absent`](Write::if_absent), [`not_before`](Write::not_before),
    /// [`without_trigger`](Write::without_trigger).
    ///
    /// # Errors
    /// `AlreadyExists` with `if_absent`; `TooLarge` above [`Limits::object_bytes`](crate::Limits::object_bytes);
    /// `InvalidArgument`; those of any commit: `Locked`, `Full`, `Closed`, `ReadOnly`, `Poisoned`, `CommitUnknown`,
    /// `Io`.
    pub fn put(&self, key: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Write<Put> {
        let (key, bytes) = (key.into(), bytes.into());
        let checked = check_key("key", &key).and_then(|()| check_object_size(&bytes, self.store.limits()));
        let operation = checked.map(|()| TaskBucketOperation::Put {
            bucket: self.name.clone(),
            object: ObjectData { key, content_type: None, bytes },
            if_absent: false,
            trigger: Some(Due::After(0)),
        });
        self.write(operation)
    }

    /// The object of a key.
    ///
    /// # Errors
    /// `InvalidArgument`, `Corrupted`, `Closed`, `Io`.
    pub fn get(&self, key: impl Into<String>) -> Call<Option<Object>> {
        let (store, bucket, key) = (self.store.clone(), self.name.clone(), key.into());
        Call::new(async move {
            check_key("key", &key)?;
            store.backend().await?.read_object(bucket, key).await.map_err(|error| error.during("get object"))
        })
    }

    /// The text of a key's object.
    ///
    /// # Errors
    /// `Decode` if its bytes are not UTF-8; else those of [`get`](Self::get).
    pub fn get_text(&self, key: impl Into<String>) -> Call<Option<String>> {
        let object = self.get(key);
        Call::new(async move { object.await?.map(Object::into_text).transpose() })
    }

    /// What is known of the object of a key, without reading its bytes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn head(&self, key: impl Into<String>) -> Call<Option<ObjectInfo>> {
        let (store, bucket, key) = (self.store.clone(), self.name.clone(), key.into());
        Call::new(async move {
            check_key("key", &key)?;
            store.backend().await?.object_info(bucket, key).await
        })
    }

    /// Deletes the object of a key, and answers whether there was one. It leaves a trigger `ObjectRemoved` if
    /// [asked](Write::with_trigger). Triggers of the object that wait are still handled.
    ///
    /// # Errors
    /// `InvalidArgument`; those of any commit.
    pub fn delete(&self, key: impl Into<String>) -> Write<DeleteObject> {
        let (bucket, key) = (self.name.clone(), key.into());
        let checked = check_key("key", &key);
        self.write(checked.map(|()| TaskBucketOperation::Delete { bucket, key, trigger: false }))
    }

    /// The objects whose keys begin with this, in the order of UTF-8 bytes, without their bytes. The empty prefix lists
    /// all.
    ///
    /// # Errors
    /// `InvalidArgument`; `TooLarge` if they are more than a page holds and no limit is given; `Corrupted`, `Closed`,
    /// `Io`.
    pub fn list(&self, prefix: impl Into<String>) -> Read<ObjectInfo> {
        let (bucket, prefix) = (self.name.clone(), prefix.into());
        let checked = if prefix.is_empty() { Ok(()) } else { check_text("prefix", &prefix) };
        let request = checked.map(|()| ObjectsRead {
            bucket,
            prefix,
            after: None,
            limit: None,
            max_bytes: None,
            descending: false,
        });
        Read::new(self.store.clone(), request)
    }

    /// Handles triggers, each at least once, inside this call: it needs to be polled, and ends with the store (or when
    /// [asked](WorkOptions::until_empty)).
    ///
    /// A trigger is claimed under a lease, which is renewed while its handler runs. `Ok` acknowledges the trigger. An
    /// error, or a panic, is a failed attempt, which is repeated after a while (exponential backoff with jitter), and
    /// after so many attempts becomes a dead letter. Triggers of one key are handled in order, one at a time; those of
    /// other keys go on. If the lease is lost all the same (the process was stopped for longer than that), the
    /// handler's future is dropped and another worker takes over, so a handler must bear being repeated; see
    /// [`Task::acknowledge`] for effects that take place exactly once.
    ///
    /// Handlers share the thread that polls this call. One that blocks it keeps leases from being renewed: it should
    /// hand long work to a thread.
    ///
    /// # Errors
    /// What keeps it from going on: `InvalidArgument`, `ReadOnly`, `Poisoned`, `CommitUnknown`, `Corrupted`, `Io`.
    pub fn work<F, Fut>(&self, options: WorkOptions, handler: F) -> Call<()>
    where
        F: Fn(Task) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let bucket = self.clone();
        Call::new(async move {
            let ended = work::run(bucket, options, handler).await;
            match ended {
                Err(error) if *error.kind() == ErrorKind::Closed => Ok(()),
                ended => ended.map_err(|error| error.during("work")),
            }
        })
    }

    /// The triggers that were given up, by number.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn dead_letters(&self) -> Read<DeadTask> {
        let bucket = self.name.clone();
        let request = DeadTasksRead { bucket, after: None, limit: None, max_bytes: None, descending: false };
        Read::new(self.store.clone(), Ok(request))
    }

    /// Has dead letters handled again, behind the other triggers of their keys: one, or all for `None`. Answers how
    /// many there were.
    ///
    /// # Errors
    /// Those of any commit.
    pub fn redrive(&self, trigger: impl Into<Option<u64>>) -> Write<RedriveDeadTasks> {
        let (bucket, trigger) = (self.name.clone(), trigger.into());
        self.write(Ok(TaskBucketOperation::Redrive { bucket, trigger }))
    }

    /// Removes dead letters: one, or all for `None`. Answers how many there were.
    ///
    /// # Errors
    /// Those of any commit.
    pub fn discard(&self, trigger: impl Into<Option<u64>>) -> Write<DiscardDeadTasks> {
        let (bucket, trigger) = (self.name.clone(), trigger.into());
        self.write(Ok(TaskBucketOperation::Discard { bucket, trigger }))
    }

    fn write<O: crate::WriteKind>(&self, operation: Result<TaskBucketOperation>) -> Write<O> {
        Write::new(self.store.clone(), operation.map(Operation::TaskBucket))
    }
}
