//! Several writes, all or nothing.

use std::sync::Arc;

use crate::{
    client::Shared,
    error::{Error, Result},
    value::{Key, Value, check_key, check_value},
    wal::{
        frame::{FRAME_HEAD_BYTES, MAX_FRAME_BYTES},
        record::RECORD_HEAD_BYTES,
    },
    write::{Op, Ops, Write},
};

/// Writes that take effect together or not at all, in their order, also across a crash.
///
/// ```
/// use larder_kv::{Client, ClientOptions};
///
/// # fn main() -> larder_kv::Result<()> {
/// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
/// let mut batch = client.batch();
/// batch.put("account/1", "90").put("account/2", "110").remove("transfer/7");
/// batch.commit().wait()?; // or `.await?`
/// assert_eq!(client.size(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    shared: Arc<Shared>,
    ops: Result<Vec<Op>>,
    frame_bytes: usize,
}

impl Batch {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, ops: Ok(Vec::new()), frame_bytes: FRAME_HEAD_BYTES }
    }

    /// Adds a put. A key or value that cannot be accepted is reported by the commit.
    pub fn put(&mut self, key: impl Into<Key>, value: impl Into<Value>) -> &mut Self {
        let (key, value) = (key.into(), value.into());
        self.add(check_key(&key).and_then(|()| check_value(&value)), Op { key, value: Some(value) })
    }

    /// Adds a removal.
    pub fn remove(&mut self, key: impl Into<Key>) -> &mut Self {
        let key = key.into();
        self.add(check_key(&key), Op { key, value: None })
    }

    /// The number of writes in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.as_ref().map_or(0, Vec::len)
    }

    /// Whether there is no write in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The writes as one: await it, or wait on it. An empty batch writes nothing, and is done when
    /// everything before it is.
    ///
    /// # Errors
    /// `InvalidArgument`, `TooLarge` (key, value, or the whole beyond 128 MiB), and those of [`Write`]. Nothing
    /// was written then, except after `CommitUnknown`.
    pub fn commit(self) -> Write {
        Write::new(self.shared, self.ops.map(Ops::Many))
    }

    fn add(&mut self, checked: Result<()>, op: Op) -> &mut Self {
        let bytes = RECORD_HEAD_BYTES + op.key.len() + op.value.as_deref().map_or(0, <[u8]>::len);
        let Ok(ops) = &mut self.ops else { return self };
        self.frame_bytes += bytes;
        if let Err(error) = checked {
            self.ops = Err(error.with("write", (ops.len() + 1).to_string()));
        } else if self.frame_bytes > MAX_FRAME_BYTES {
            self.ops = Err(Error::too_large("batch", MAX_FRAME_BYTES as u64, self.frame_bytes as u64));
        } else {
            ops.push(op);
        }
        self
    }
}
