//! A write as a value.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    client::Shared,
    error::Result,
    value::{Key, Value},
};

/// One write of a batch.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) key: Key,
    /// None removes.
    pub(crate) value: Option<Value>,
}

/// A write as a value: await it, or [wait](Write::wait) on it. Nothing happens until then.
///
/// With `auto_flush`, it is done when it is synced to disk, together with those of other callers; reads see it from
/// then on. Once polled it is on its way, and dropping it does not take it back.
///
/// ```
/// use larder_kv::{Client, ClientOptions};
///
/// # fn main() -> larder_kv::Result<()> {
/// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
/// client.put("settings/theme", "dark").wait()?; // or `.await?`
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `InvalidArgument`, `TooLarge`, `Full`, `Closed`, `Poisoned` and `Io`: nothing was written. `CommitUnknown`: it may
/// be on disk or not; this client does not show it, and writes no more.
#[must_use = "a write does nothing until it is awaited or waited on"]
pub struct Write {
    shared: Arc<Shared>,
    ops: Option<Result<Vec<Op>>>,
}

impl Write {
    pub(crate) fn new(shared: Arc<Shared>, ops: Result<Vec<Op>>) -> Self {
        Self { shared, ops: Some(ops) }
    }

    /// Writes and waits for the answer on this thread, which may do the writing itself.
    ///
    /// # Errors
    /// Those of a [`Write`].
    pub fn wait(self) -> Result<()> {
        larder_runtime::wait(self)
    }
}

impl Future for Write {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(ops) = self.ops.take() else { panic!("polled after it was done") };
        Poll::Ready(ops.and_then(|ops| self.shared.commit(&ops)))
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Write").field(&self.ops).finish()
    }
}
