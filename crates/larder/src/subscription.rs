//! Subscriptions: the past, then live, without a gap.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use futures_core::Stream;

use crate::{
    backend::{BoxFuture, ChangesRead, EventRead, EventSource},
    bus::Listener,
    error::{Error, ErrorKind, Result},
    event::{Event, Position},
    operation::{EACH_BYTES, EACH_ROWS, Owned, read_page, wait, wait_timeout},
    page::{Page, Row},
    query_db::Change,
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
#[must_use = "a subscription reads nothing until it is asked for the next item"]
pub struct Subscription<T: Followed> {
    store: Store,
    request: T::Request,
    items: std::vec::IntoIter<T>,
    step: Step<T>,
    listener: Option<Listener>,
}

enum Step<T: Followed> {
    /// A bad argument, reported by the first item.
    Refused(Error),
    /// Where to start is still to be asked.
    Start,
    Asking(Owned<BoxFuture<'static, Result<Begin<T>>>>),
    Look,
    Reading(Owned<BoxFuture<'static, Result<Page<T>>>>),
    Sleep,
    Ended,
}

/// What can be followed live. Sealed.
pub trait Followed: Row {
    /// The bus channel on which changes are announced.
    #[doc(hidden)]
    fn channel(request: &Self::Request) -> String;
    /// Finds out where to start, and whether there is something to tell first.
    #[doc(hidden)]
    fn begin(store: Store, request: Self::Request) -> BoxFuture<'static, Result<Begin<Self>>>;
    /// Where to go on after a page.
    #[doc(hidden)]
    fn end_of(page: &Page<Self>) -> Option<Self::After>;
    /// Where to go on after an error that is told once; `None` to try the same again.
    #[doc(hidden)]
    fn resume_after(error: &Error) -> Option<Self::After>;
}

/// Where a subscription starts.
#[doc(hidden)]
#[derive(Debug)]
pub struct Begin<T: Row> {
    /// After this.
    pub after: Option<T::After>,
    /// An error that is told first, once.
    pub told: Option<Error>,
}

impl Subscription<Event> {
    pub(crate) fn new(store: Store, request: EventRead, refused: Option<Error>) -> Self {
        let step = refused.map_or(Step::Start, Step::Refused);
        let request = EventRead { limit: Some(EACH_ROWS), max_bytes: Some(EACH_BYTES), ..request };
        Self { store, request, items: Vec::new().into_iter(), step, listener: None }
    }
}

impl Subscription<Change> {
    /// Listens from here on if the store is open already, else from when it is first asked.
    pub(crate) fn changes(store: Store, request: ChangesRead) -> Self {
        let request = ChangesRead { limit: Some(EACH_ROWS), ..request };
        let mut changes =
            Self { store, request, items: Vec::new().into_iter(), step: Step::Start, listener: None };
        if changes.store.opened().is_some() {
            // An error is met again by the first look.
            let _ = changes.start(&mut Context::from_waker(Waker::noop()));
        }
        changes
    }
}

impl<T: Followed> Subscription<T> {
    /// Starts after this position or version, exclusive.
    pub fn after(mut self, after: impl Into<Option<T::After>>) -> Self {
        *T::page_options(&mut self.request).after = after.into();
        if !matches!(self.step, Step::Refused(_)) {
            self.step = Step::Start;
        }
        self
    }

    /// The next item, waiting for one if there is none yet; `None` once the store is closed.
    pub fn try_next(&mut self) -> Next<'_, Self> {
        Next::new(self)
    }

    /// An iterator that waits on this thread.
    pub fn wait_iter(self) -> WaitIter<Self> {
        WaitIter::new(self)
    }

    /// Starts to listen if the store is open, and asks where to start.
    fn start(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        if let Step::Start = self.step {
            self.listen();
            self.step = Step::Asking(Owned::new(T::begin(self.store.clone(), self.request.clone())));
        }
        let Step::Asking(asking) = &mut self.step else { return Poll::Ready(Ok(())) };
        let begin = ready!(asking.get_mut().as_mut().poll(context));
        // A store that could not be opened is tried again by the next look.
        self.step = if begin.is_ok() { Step::Look } else { Step::Start };
        let Begin { after, told } = begin?;
        *T::page_options(&mut self.request).after = after;
        Poll::Ready(told.map_or(Ok(()), Err))
    }

    /// Listens, before anything is looked at; `None` unless the store is open.
    fn listen(&mut self) -> Option<&mut Listener> {
        let backend = self.store.opened()?;
        let channel = || backend.bus().listen(&T::channel(&self.request));
        Some(self.listener.get_or_insert_with(channel))
    }

    /// Takes a page that was read.
    fn turn_page(&mut self, page: Page<T>) {
        self.step = if page.next.is_none() { Step::Sleep } else { Step::Look };
        if let Some(end) = T::end_of(&page) {
            let after = T::page_options(&mut self.request).after;
            if after.as_ref().is_none_or(|after| *after < end) {
                *after = Some(end);
            }
        }
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
                let Some(listener) = self.listen() else { return Poll::Ready(None) };
                listener.observe();
                let request = Ok(self.request.clone());
                self.step = Step::Reading(Owned::new(read_page(self.store.clone(), request)));
            }
            Step::Reading(page) => {
                let page = ready!(page.get_mut().as_mut().poll(context));
                self.step = Step::Look;
                match page {
                    Ok(page) => self.turn_page(page),
                    Err(error) => {
                        if let Some(after) = T::resume_after(&error) {
                            *T::page_options(&mut self.request).after = Some(after);
                        }
                        return Poll::Ready(Some(Err(error)));
                    }
                }
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

impl Followed for Event {
    fn channel(request: &EventRead) -> String {
        request.log.to_string()
    }

    fn begin(store: Store, request: EventRead) -> BoxFuture<'static, Result<Begin<Self>>> {
        Box::pin(async move {
            let after = request.after;
            let through = compacted_through(store, request).await?;
            let told = (through > after.unwrap_or_default()).then(|| {
                Error::new(ErrorKind::HistoryCompacted { through })
                    .during("subscribe")
                    .with_hint("go on for the events that are left, or start after that position")
            });
            Ok(Begin { after, told })
        })
    }

    fn end_of(page: &Page<Self>) -> Option<Position> {
        Some(page.next.unwrap_or(page.through))
    }

    fn resume_after(_error: &Error) -> Option<Position> {
        None
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

impl Followed for Change {
    fn channel(request: &ChangesRead) -> String {
        format!("querydb/{}", request.query_db)
    }

    fn begin(store: Store, request: ChangesRead) -> BoxFuture<'static, Result<Begin<Self>>> {
        Box::pin(async move {
            let after = match request.after {
                Some(after) => after,
                // Of one that was dropped too: its versions go on.
                None => {
                    let newest = ChangesRead { limit: Some(1), descending: true, ..request };
                    store.backend().await?.read_changes(newest).await?.through.get()
                }
            };
            Ok(Begin { after: Some(after), told: None })
        })
    }

    fn end_of(page: &Page<Self>) -> Option<u64> {
        page.items.last().map(|change| change.version)
    }

    fn resume_after(error: &Error) -> Option<u64> {
        match error.kind() {
            ErrorKind::ChangesTruncated { oldest } => Some(oldest.saturating_sub(1)),
            _ => None,
        }
    }
}

impl<T: Followed> Stream for Subscription<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        loop {
            if self.store.is_closed() {
                self.step = Step::Ended;
                self.items = Vec::new().into_iter();
            }
            if let Some(item) = self.items.next() {
                return Poll::Ready(Some(Ok(item)));
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

impl<T: Followed> Unpin for Subscription<T> {}

impl<T: Followed> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription(..)")
    }
}

/// A struct that holds a subscription must stay usable from `&self` methods that are spawned.
const _: fn() = || {
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Subscription<Event>>();
    send_and_sync::<Subscription<Change>>();
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
