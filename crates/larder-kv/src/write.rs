//! A write as a value.

use std::{
    fmt,
    future::Future,
    ops::Deref,
    pin::Pin,
    slice,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crate::{
    client::Shared,
    completion::Completion,
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

/// What a write does: nearly always one thing, which then takes no room elsewhere.
#[derive(Debug)]
pub(crate) enum Ops {
    One(Op),
    Many(Vec<Op>),
}

impl Deref for Ops {
    type Target = [Op];

    fn deref(&self) -> &[Op] {
        match self {
            Self::One(op) => slice::from_ref(op),
            Self::Many(ops) => ops,
        }
    }
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
/// `InvalidArgument`, `TooLarge` (also if all entries together, but for values from 2 KiB on, would take about 30 GiB of
/// memory), `Full`, `Closed`, `Poisoned` and `Io`: nothing was written. `CommitUnknown`: it may
/// be on disk or not; this client writes no more, and does not show it if writes wait for the disk.
#[must_use = "a write does nothing until it is awaited or waited on"]
pub struct Write {
    shared: Arc<Shared>,
    state: State,
}

#[derive(Debug)]
enum State {
    Ready(Result<Ops>),
    Flush,
    Waiting(Arc<Completion<Result<()>>>),
    Done,
}

impl Write {
    pub(crate) fn new(shared: Arc<Shared>, ops: Result<Ops>) -> Self {
        Self { shared, state: State::Ready(ops) }
    }

    /// Writes nothing, and is done when everything before it is durable.
    pub(crate) fn flush(shared: Arc<Shared>) -> Self {
        Self { shared, state: State::Flush }
    }

    /// Writes and waits for the answer on this thread, which may do the writing itself.
    ///
    /// # Errors
    /// Those of a [`Write`].
    pub fn wait(mut self) -> Result<()> {
        match self.start() {
            Start::Done(answer) => answer,
            Start::Commit(ops) => self.shared.core.commit_here(ops),
            Start::Started => larder_runtime::wait(self),
        }
    }

    /// Does what can be done without waiting.
    fn start(&mut self) -> Start {
        let core = &self.shared.core;
        let ops = match std::mem::replace(&mut self.state, State::Done) {
            State::Ready(ops) => ops.map(|ops| (ops, core.is_durable())),
            State::Flush => Ok((Ops::Many(Vec::new()), core.options.enable_wal)),
            started => {
                self.state = started;
                return Start::Started;
            }
        };
        match core.check_open().and(ops) {
            Ok((ops, true)) => Start::Commit(ops),
            Ok((ops, false)) => Start::Done(core.commit_buffered(&ops)),
            Err(error) => Start::Done(Err(error)),
        }
    }
}

enum Start {
    Done(Result<()>),
    /// To be written, and waited for.
    Commit(Ops),
    Started,
}

impl Future for Write {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match self.start() {
            Start::Done(answer) => return Poll::Ready(answer),
            Start::Commit(ops) => {
                let completion = Completion::new();
                // Known before the crew is called, so that an early answer finds somebody to tell.
                let pending = completion.poll(context);
                debug_assert!(pending.is_pending(), "nobody else has it yet");
                self.shared.core.commit_by_crew(ops, &completion)?;
                self.state = State::Waiting(completion);
                return Poll::Pending;
            }
            Start::Started => {}
        }
        let State::Waiting(completion) = &self.state else { panic!("polled after it was done") };
        let answer = ready!(completion.poll(context));
        self.state = State::Done;
        Poll::Ready(answer)
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Write").field(&self.state).finish()
    }
}
