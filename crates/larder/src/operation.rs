//! Operations as values: lazy futures, tied to no executor, that a plain thread can wait on too.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
pub use larder_runtime::wait;
pub(crate) use larder_runtime::{Owned, wait_timeout};

use crate::{
    backend::{BoxFuture, CommitReply, CommitRequest, Operation, Outcome},
    error::{Error, Result},
    page::{Page, Row},
    store::Store,
    subscription::{Next, WaitIter},
};

/// The kind of a [`Write`]: what it answers. Sealed.
pub trait WriteKind: crate::page::sealed::Sealed + Send + Sync + 'static {
    /// What the committed write answers.
    type Outcome: Clone + Send + Sync + 'static;
    #[doc(hidden)]
    fn outcome(outcome: &Outcome) -> Option<&Self::Outcome>;
}

/// A write as a value: await it, [wait](Write::wait) on it, or add it to a
/// [`WriteBatch`](crate::WriteBatch).
///
/// Nothing happens until then. Once polled it is on its way, and dropping it does not cancel the commit: one that
/// was dropped, by a timeout say, may have happened. (Only while its store is still being opened, or the queue of
/// writes is full, does dropping it take it back.)
///
/// ```
/// use larder::{NewEvent, Store};
///
/// # fn main() -> larder::Result<()> {
/// let store = Store::memory();
/// let log = store.event_log("orders")?;
/// let write = log.append("order-1", 0, [NewEvent::new("Placed", &1)]);
/// let appended = write.wait()?; // or `write.await?`, or `batch.add(write)`
/// assert_eq!(appended.last_seq_nr, 1);
/// # Ok(())
/// # }
/// ```
#[must_use = "a write does nothing until it is awaited, waited on or added to a batch"]
pub struct Write<O: WriteKind> {
    state: WriteState,
    kind: PhantomData<fn() -> O>,
}

enum WriteState {
    Ready { store: Store, operation: Result<Operation>, finish: Option<Finish> },
    Running(Owned<BoxFuture<'static, Result<CommitReply>>>),
    Done,
}

/// What is done to an operation once nothing changes it any more.
type Finish = Box<dyn FnOnce(Operation) -> Result<Operation> + Send + Sync>;

fn finished(operation: Result<Operation>, finish: Option<Finish>) -> Result<Operation> {
    match finish {
        Some(finish) => operation.and_then(finish),
        None => operation,
    }
}

impl<O: WriteKind> Write<O> {
    pub(crate) fn new(store: Store, operation: Result<Operation>) -> Self {
        Self { state: WriteState::Ready { store, operation, finish: None }, kind: PhantomData }
    }

    /// Has this done to the operation when it is on its way, after every [`map`](Self::map).
    pub(crate) fn finished_by(
        mut self,
        last: impl FnOnce(Operation) -> Result<Operation> + Send + Sync + 'static,
    ) -> Self {
        if let WriteState::Ready { finish, .. } = &mut self.state {
            *finish = Some(Box::new(last));
        }
        self
    }

    /// Changes the operation before it runs.
    pub(crate) fn map(mut self, change: impl FnOnce(Operation) -> Result<Operation>) -> Self {
        if let WriteState::Ready { operation, .. } = &mut self.state {
            let taken = std::mem::replace(operation, Err(Error::new(crate::ErrorKind::Closed)));
            *operation = taken.and_then(change);
        }
        self
    }

    /// What to run, and on which store; for a batch.
    pub(crate) fn into_parts(self) -> (Store, Result<Operation>) {
        match self.state {
            WriteState::Ready { store, operation, finish } => (store, finished(operation, finish)),
            WriteState::Running(_) | WriteState::Done => {
                panic!("a write that was polled is on its way already")
            }
        }
    }

    /// Commits and waits for the answer on this thread, which may do the commit itself when no other writer is
    /// at it.
    ///
    /// # Errors
    /// As documented where the write was made.
    pub fn wait(mut self) -> Result<O::Outcome> {
        self.start(true);
        wait(self)
    }

    fn start(&mut self, on_callers_thread: bool) {
        if let WriteState::Ready { .. } = self.state {
            let WriteState::Ready { store, operation, finish } =
                std::mem::replace(&mut self.state, WriteState::Done)
            else {
                return;
            };
            let future = Box::pin(async move {
                let operations = vec![finished(operation, finish)?];
                let backend = store.backend().await?;
                backend.commit(CommitRequest { id: None, operations, on_callers_thread }).await
            });
            self.state = WriteState::Running(Owned::new(future));
        }
    }
}

impl<O: WriteKind> Future for Write<O> {
    type Output = Result<O::Outcome>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.start(false);
        let WriteState::Running(future) = &mut self.state else { panic!("polled after it was done") };
        let reply = ready!(future.get_mut().as_mut().poll(context));
        self.state = WriteState::Done;
        Poll::Ready(reply.map(|reply| outcome::<O>(&reply.outcomes[0]).clone()))
    }
}

/// The outcome of an operation of this kind.
pub(crate) fn outcome<O: WriteKind>(outcome: &Outcome) -> &O::Outcome {
    O::outcome(outcome).expect("a backend answers each operation with its own kind of outcome")
}

impl<O: WriteKind> fmt::Debug for Write<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            WriteState::Ready { operation, .. } => f.debug_tuple("Write").field(operation).finish(),
            WriteState::Running(_) | WriteState::Done => f.write_str("Write(..)"),
        }
    }
}

/// A call without options: await it, or [wait](larder_runtime::Call::wait) on it.
///
/// ```
/// use larder::Store;
///
/// # fn main() -> larder::Result<()> {
/// let store = Store::open("memory:").wait()?; // or `.await?`
/// assert_eq!(store.event_log("orders")?.head("order-1").wait()?, 0);
/// # Ok(())
/// # }
/// ```
pub type Call<T, E = Error> = larder_runtime::Call<T, E>;

/// A paged read: await it for one page, or turn it into an iteration over everything with [`Read::each`].
///
/// ```
/// use larder::{NewEvent, Store};
///
/// # fn main() -> larder::Result<()> {
/// let log = Store::memory().event_log("orders")?;
/// log.append("order-1", 0, (0..5).map(|n| NewEvent::new("Counted", &n))).wait()?;
/// let last = log.read("order-1", ..).descending().limit(1).wait()?;
/// assert_eq!(last.items[0].seq_nr, 5);
/// # Ok(())
/// # }
/// ```
#[must_use = "a read does nothing until it is awaited or waited on"]
pub struct Read<T: Row> {
    state: ReadState<T>,
}

enum ReadState<T: Row> {
    Ready { store: Store, request: Result<T::Request> },
    Running(Owned<BoxFuture<'static, Result<Page<T>>>>),
    Done,
}

impl<T: Row> Read<T> {
    pub(crate) fn new(store: Store, request: Result<T::Request>) -> Self {
        Self { state: ReadState::Ready { store, request } }
    }

    fn with(mut self, change: impl FnOnce(&mut T::Request) -> Result<()>) -> Self {
        if let ReadState::Ready { request, .. } = &mut self.state
            && let Ok(inner) = request
            && let Err(error) = change(inner)
        {
            *request = Err(error);
        }
        self
    }

    /// Starts after this place, exclusive; `None` starts at the beginning.
    pub fn after(self, after: impl Into<Option<T::After>>) -> Self {
        self.with(|request| {
            *T::page_options(request).after = after.into();
            Ok(())
        })
    }

    /// Returns at most this many; the page's `next` leads to the rest. Must be at least 1.
    pub fn limit(self, limit: usize) -> Self {
        self.with(|request| {
            if limit == 0 {
                return Err(Error::invalid("limit", "0; the least is 1"));
            }
            *T::page_options(request).limit = Some(limit);
            Ok(())
        })
    }

    /// Reads backwards, from the end.
    pub fn descending(self) -> Self {
        self.with(|request| {
            *T::page_options(request).descending = true;
            Ok(())
        })
    }

    /// Everything, one by one, in constant memory: pages are read as they are needed.
    ///
    /// A `limit` set before bounds each page, not the whole.
    ///
    /// # Panics
    /// If the read was polled before.
    pub fn each(self) -> Each<T> {
        let ReadState::Ready { store, request } = self.state else {
            panic!("a read that was polled is on its way already")
        };
        Each { store, request: Some(request), items: Vec::new().into_iter(), in_flight: None }
    }

    /// Reads the page on this thread.
    ///
    /// # Errors
    /// As documented where the read was made.
    pub fn wait(self) -> Result<Page<T>> {
        wait(self)
    }
}

impl<T: Row> Future for Read<T> {
    type Output = Result<Page<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let ReadState::Ready { .. } = self.state {
            let ReadState::Ready { store, request } = std::mem::replace(&mut self.state, ReadState::Done)
            else {
                unreachable!("it was ready a moment ago")
            };
            self.state = ReadState::Running(Owned::new(read_page(store, request)));
        }
        let ReadState::Running(future) = &mut self.state else { panic!("polled after it was done") };
        let page = ready!(future.get_mut().as_mut().poll(context));
        self.state = ReadState::Done;
        Poll::Ready(page)
    }
}

/// One page as a future of its own.
pub(crate) fn read_page<T: Row>(
    store: Store,
    request: Result<T::Request>,
) -> BoxFuture<'static, Result<Page<T>>> {
    Box::pin(async move {
        let request = request?;
        let backend = store.backend().await?;
        T::read(&*backend, request).await
    })
}

impl<T: Row> Unpin for Read<T> {}

impl<T: Row> fmt::Debug for Read<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Read(..)")
    }
}

/// Everything that a [`Read`] finds, one by one, in constant memory.
///
/// A [`Stream`]; or [`try_next`](Each::try_next), or [`wait_iter`](Each::wait_iter) on a plain thread.
///
/// ```
/// use larder::{NewEvent, Store};
///
/// # fn main() -> larder::Result<()> {
/// let log = Store::memory().event_log("orders")?;
/// log.append("order-1", 0, (0..5).map(|n| NewEvent::new("Counted", &n))).wait()?;
/// let all: larder::Result<Vec<_>> = log.read("order-1", 2..).each().wait_iter().collect();
/// assert_eq!(all?.len(), 4);
/// # Ok(())
/// # }
/// ```
#[must_use = "it reads nothing until it is asked for the next item"]
pub struct Each<T: Row> {
    store: Store,
    /// The next page; `None` at the end.
    request: Option<Result<T::Request>>,
    items: std::vec::IntoIter<T>,
    in_flight: Option<Owned<BoxFuture<'static, Result<Page<T>>>>>,
}

/// How much a page of an iteration holds at most.
pub(crate) const EACH_ROWS: usize = 1_000;
pub(crate) const EACH_BYTES: usize = 4 << 20;

impl<T: Row> Each<T> {
    /// The next item; `None` at the end.
    pub fn try_next(&mut self) -> Next<'_, Self> {
        Next::new(self)
    }

    /// An iterator that waits on this thread.
    pub fn wait_iter(self) -> WaitIter<Self> {
        WaitIter::new(self)
    }

    /// Takes the request for the next page, leaving what to do after it to `turn_page`.
    fn next_request(&mut self) -> Option<Result<T::Request>> {
        let mut request = self.request.take()?;
        if let Ok(request) = &mut request {
            let options = T::page_options(request);
            options.limit.get_or_insert(EACH_ROWS);
            options.max_bytes.get_or_insert(EACH_BYTES);
            self.request = Some(Ok(request.clone()));
        }
        Some(request)
    }

    fn turn_page(&mut self, page: Page<T>) {
        match (page.next, &mut self.request) {
            (Some(next), Some(Ok(request))) => *T::page_options(request).after = Some(next),
            _ => self.request = None,
        }
        self.items = page.items.into_iter();
    }
}

impl<T: Row> Stream for Each<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        loop {
            if let Some(item) = self.items.next() {
                return Poll::Ready(Some(Ok(item)));
            }
            if let Some(page) = &mut self.in_flight {
                let page = ready!(page.get_mut().as_mut().poll(context));
                self.in_flight = None;
                match page {
                    Ok(page) => self.turn_page(page),
                    Err(error) => {
                        self.request = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                continue;
            }
            let Some(request) = self.next_request() else { return Poll::Ready(None) };
            self.in_flight = Some(Owned::new(read_page(self.store.clone(), request)));
        }
    }
}

impl<T: Row> Unpin for Each<T> {}

impl<T: Row> fmt::Debug for Each<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Each(..)")
    }
}
