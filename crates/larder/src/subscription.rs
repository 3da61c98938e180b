//! Subscriptions: the past, then live, without a gap.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;

use crate::{
    backend::{BoxFuture, EventRead, EventSource},
    bus::Listener,
    error::{Error, ErrorKind, Result},
    event::{Event, Position},
    operation::{EACH_BYTES, EACH_ROWS, Owned, read_page, wait, wait_timeout},
    page::{Page, Row},
    store::Store,
};

/// Every matching event exactly once in position order: first the past, then live.
///
/// It ends (`None`) only when the store closes. It follows positions, so nothing is lost or repeated at the
/// switch, and a slow reader holds no more than a page. Cancelling [`try_next`](Self::try_next) loses nothing.
///
/// A subscription that starts below compacted history is told so once: its first item is a
/// [`HistoryCompacted`](ErrorKind::HistoryCompacted) error, and it goes on with what is left after that.
///
/// ```
/// use larder::{NewEvent, Query, Store};
///
/// # fn main() -> larder::Result<()> {
/// let store = Store::memory();
/// let log = store.event_log("orders")?;
/// let mut events = log.subscribe(Query::all());
/// log.append("order-1", 0, [NewEvent::new("Placed", &1)]).wait()?;
/// assert_eq!(events.try_next().wait()?.unwrap().event_type, "Placed");
/// store.close().wait()?;
/// assert!(events.try_next().wait()?.is_none());
/// # Ok(())
/// # }
/// ```
#[must_use = "a subscription reads nothing until it is asked for the next event"]
pub struct Subscription<T: Row> {
    store: Store,
    request: T::Request,
    items: std::vec::IntoIter<T>,
    step: Step<T>,
    listener: Option<Listener>,
}

enum Step<T: Row> {
    /// A bad argument, reported by the first item.
    Refused(Error),
    /// Whether history above the start was compacted is still to be asked.
    Start,
    Asking(Owned<BoxFuture<'static, Result<Position>>>),
    Look,
    Reading(Owned<BoxFuture<'static, Result<Page<T>>>>),
    Sleep,
    Ended,
}

impl Subscription<Event> {
    pub(crate) fn new(store: Store, request: EventRead, refused: Option<Error>) -> Self {
        let step = refused.map_or(Step::Start, Step::Refused);
        let request = EventRead { limit: Some(EACH_ROWS), max_bytes: Some(EACH_BYTES), ..request };
        Self { store, request, items: Vec::new().into_iter(), step, listener: None }
    }

    /// Starts after this position, exclusive.
    pub fn after(mut self, after: impl Into<Option<Position>>) -> Self {
        self.request.after = after.into();
        self
    }

    /// The next event, waiting for one if there is none yet; `None` once the store is closed.
    pub fn try_next(&mut self) -> Next<'_, Self> {
        Next::new(self)
    }

    /// An iterator that waits on this thread.
    pub fn wait_iter(self) -> WaitIter<Self> {
        WaitIter::new(self)
    }

    /// Opens the store if need be, starts to listen, and asks how far history was compacted.
    fn start(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        if let Step::Start = self.step {
            let (store, request) = (self.store.clone(), self.request.clone());
            self.step = Step::Asking(Owned::new(Box::pin(compacted_through(store, request))));
        }
        let Step::Asking(asking) = &mut self.step else { return Poll::Ready(Ok(())) };
        let through = ready!(asking.get_mut().as_mut().poll(context));
        // A store that could not be opened is tried again by the next look.
        self.step = if through.is_ok() { Step::Look } else { Step::Start };
        let through = through?;
        if through > self.request.after.unwrap_or_default() {
            let told = Error::new(ErrorKind::HistoryCompacted { through })
                .during("subscribe")
                .with_hint("go on for the events that are left, or start after that position");
            return Poll::Ready(Err(told));
        }
        Poll::Ready(Ok(()))
    }

    /// Takes a page that was read.
    fn turn_page(&mut self, page: Page<Event>) {
        self.step = if page.next.is_none() { Step::Sleep } else { Step::Look };
        let end = page.next.unwrap_or(page.through);
        self.request.after = self.request.after.max(Some(end));
        self.items = page.items.into_iter();
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<()>>> {
        match &mut self.step {
            Step::Refused(_) => {
                let Step::Refused(error) = std::mem::replace(&mut self.step, Step::Ended) else {
                    return Poll::Ready(None);
                };
                return Poll::Ready(Some(Err(error)));
            }
            Step::Start | Step::Asking(_) => return self.start(context).map(Some),
            Step::Look => {
                let Some(backend) = self.store.opened() else { return Poll::Ready(None) };
                self.listener.get_or_insert_with(|| backend.bus().listen(&self.request.log)).observe();
                let request = Ok(self.request.clone());
                self.step = Step::Reading(Owned::new(read_page(self.store.clone(), request)));
            }
            Step::Reading(page) => {
                let page = ready!(page.get_mut().as_mut().poll(context));
                self.step = Step::Look;
                self.turn_page(page?);
            }
            Step::Sleep => {
                let listener = self.listener.as_mut().expect("it listened before it looked");
                ready!(listener.poll_changed(context));
                self.step = Step::Look;
            }
            Step::Ended => return Poll::Ready(None),
        }
        Poll::Ready(Some(Ok(())))
    }
}

async fn compacted_through(store: Store, request: EventRead) -> Result<Position> {
    let backend = store.backend().await?;
    Ok(match request.source {
        EventSource::Query(_) => backend.log_info(request.log).await?.map(|log| log.compacted_through),
        EventSource::Stream { stream, .. } => {
            backend.stream_info(request.log, stream).await?.map(|stream| stream.compacted_position)
        }
    }
    .unwrap_or_default())
}

impl Stream for Subscription<Event> {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Event>>> {
        loop {
            if self.store.is_closed() {
                self.step = Step::Ended;
                self.items = Vec::new().into_iter();
            }
            if let Some(event) = self.items.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            match ready!(self.poll_step(context)) {
                Some(Ok(())) => {}
                Some(Err(error)) if *error.kind() == ErrorKind::Closed => self.step = Step::Ended,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<T: Row> Unpin for Subscription<T> {}

impl<T: Row> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription(..)")
    }
}

/// A struct that holds a subscription must stay usable from `&self` methods that are spawned.
const _: fn() = || {
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Subscription<Event>>();
};

/// The next item of a [`Subscription`] or an [`Each`](crate::Each): a future, or wait on it.
#[must_use = "nothing is read until it is awaited or waited on"]
#[derive(Debug)]
pub struct Next<'a, S> {
    source: &'a mut S,
}

impl<'a, S> Next<'a, S> {
    pub(crate) fn new(source: &'a mut S) -> Self {
        Self { source }
    }
}

impl<T, S: Stream<Item = Result<T>> + Unpin> Next<'_, S> {
    /// Waits on this thread.
    ///
    /// # Errors
    /// Those of a read.
    pub fn wait(self) -> Result<Option<T>> {
        wait(self)
    }

    /// Waits on this thread, but no longer than this; `None` if there was nothing by then.
    pub fn wait_timeout(self, timeout: Duration) -> Option<Result<Option<T>>> {
        wait_timeout(self, timeout)
    }
}

impl<T, S: Stream<Item = Result<T>> + Unpin> Future for Next<'_, S> {
    type Output = Result<Option<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut *self.source).poll_next(context).map(Option::transpose)
    }
}

/// A [`Subscription`] or an [`Each`](crate::Each) as an iterator that waits on its thread.
#[derive(Debug)]
pub struct WaitIter<S> {
    source: S,
}

impl<S> WaitIter<S> {
    pub(crate) fn new(source: S) -> Self {
        Self { source }
    }
}

impl<T, S: Stream<Item = Result<T>> + Unpin> Iterator for WaitIter<S> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        Next::new(&mut self.source).wait().transpose()
    }
}
