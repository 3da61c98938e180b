//! One answer of a paged read.

use crate::{
    backend::{Backend, BoxFuture},
    error::Result,
    event::Position,
};

/// One page: what was read, where the next page starts, and how far it answers.
///
/// ```
/// use larder::{NewEvent, Query, Store};
///
/// # fn main() -> larder::Result<()> {
/// let log = Store::memory().event_log("orders")?;
/// log.append("order-1", 0, (0..3).map(|n| NewEvent::new("Counted", &n))).wait()?;
/// let page = log.query(Query::all()).limit(2).wait()?;
/// assert_eq!(page.items.len(), 2);
/// let rest = log.query(Query::all()).after(page.next).wait()?;
/// assert_eq!((rest.items.len(), rest.next), (1, None));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T: Row> {
    /// What was read, in order.
    pub items: Vec<T>,
    /// What to give to `after` for the next page; `None` at the end.
    pub next: Option<T::After>,
    /// The position up to which the read is answered, in one atomic look: the log's head if the page is the
    /// last one, else the last item's position. A sound `after` for an append condition over the same query.
    /// [`Position::START`] when reading backwards, and for what has no positions.
    pub through: Position,
}

impl<T: Row> Page<T> {
    /// A page, for backends.
    #[must_use]
    pub fn new(items: Vec<T>, next: Option<T::After>, through: Position) -> Self {
        Self { items, next, through }
    }
}

impl<T: Row> IntoIterator for Page<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, T: Row> IntoIterator for &'a Page<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

/// What can be read in pages. Sealed: the rows are the store's own types.
pub trait Row: Sized + Send + Sync + 'static + sealed::Sealed {
    /// Where a page ends: given to `after`, it starts the next one.
    type After: Clone + PartialOrd + Send + Sync + 'static;
    #[doc(hidden)]
    type Request: Clone + Send + Sync + 'static;
    #[doc(hidden)]
    fn read(backend: &dyn Backend, request: Self::Request) -> BoxFuture<'_, Result<Page<Self>>>;
    #[doc(hidden)]
    fn page_options(request: &mut Self::Request) -> PageOptions<'_, Self::After>;
}

/// The options that every paged request has.
#[doc(hidden)]
#[derive(Debug)]
pub struct PageOptions<'a, A> {
    pub after: &'a mut Option<A>,
    pub limit: &'a mut Option<usize>,
    pub max_bytes: &'a mut Option<usize>,
    pub descending: &'a mut bool,
}

pub(crate) mod sealed {
    pub trait Sealed {}
}
