//! What each write of a QueryDb answers, and what can be read from one in pages.

use serde::{Deserialize, Serialize};

use super::{
    change::Change,
    cursor::Cursor,
    index::Index,
    item::Item,
    key::{ItemKey, KeyValue},
    number::Number,
};
use crate::{
    backend::{Backend, BoxFuture, ChangesRead, ItemSource, ItemsRead, Outcome, QueryDbOutcome},
    error::Result,
    page::{Page, PageOptions, Row, sealed::Sealed},
    write_kind::write_kind,
};

/// What a save answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Saved {
    /// The item's key.
    pub key: ItemKey,
    /// The item's new version.
    pub version: u64,
    /// Whether no visible item had the key.
    pub added: bool,
}

impl Saved {
    /// What a save answers, for backends.
    #[must_use]
    pub fn new(key: ItemKey, version: u64, added: bool) -> Self {
        Self { key, version, added }
    }
}

write_kind! {
    /// The kind of a save: answers [`Saved`].
    Save => Saved, Outcome::QueryDb(QueryDbOutcome::Saved(saved)) => saved;
    /// The kind of a batch of saves: answers one [`Saved`] for each.
    SaveBatch => Vec<Saved>, Outcome::QueryDb(QueryDbOutcome::AllSaved(saved)) => saved;
    /// The kind of a delete: answers how many items were there.
    Delete => u64, Outcome::QueryDb(QueryDbOutcome::Removed(count)) => count;
    /// The kind of an increment: answers the new total.
    Increment => Number, Outcome::QueryDb(QueryDbOutcome::Incremented(total)) => total;
    /// The kind of a purge: answers how many expired items were deleted.
    Purge => u64, Outcome::QueryDb(QueryDbOutcome::Removed(count)) => count;
    /// The kind of a definition.
    Define => (), Outcome::Done => &();
    /// The kind of a dropped QueryDb.
    DropQueryDb => (), Outcome::Done => &();
    /// The kind of a dropped index.
    DropIndex => (), Outcome::Done => &();
}

impl Sealed for Item {}

impl Row for Item {
    type After = Cursor;
    type Request = ItemsRead;

    fn read(backend: &dyn Backend, request: ItemsRead) -> BoxFuture<'_, Result<Page<Self>>> {
        if let Some(cursor) = &request.after
            && let Err(error) = cursor.check(request.fingerprint())
        {
            return Box::pin(async { Err(error) });
        }
        backend.read_items(request)
    }

    fn page_options(request: &mut ItemsRead) -> PageOptions<'_, Cursor> {
        let ItemsRead { after, limit, max_bytes, descending, .. } = request;
        PageOptions { after, limit, max_bytes, descending }
    }
}

impl Sealed for Change {}

impl Row for Change {
    type After = u64;
    type Request = ChangesRead;

    fn read(backend: &dyn Backend, request: ChangesRead) -> BoxFuture<'_, Result<Page<Self>>> {
        backend.read_changes(request)
    }

    fn page_options(request: &mut ChangesRead) -> PageOptions<'_, u64> {
        let ChangesRead { after, limit, max_bytes, descending, .. } = request;
        PageOptions { after, limit, max_bytes, descending }
    }
}

impl ItemsRead {
    /// A cursor of this listing at an item, for backends: `index` is the index that orders it, as it is defined, and
    /// `sort` are the values of its sort fields; none without an index.
    #[must_use]
    pub fn cursor(&self, index: Option<&Index>, sort: Vec<KeyValue>, key: ItemKey) -> Cursor {
        Cursor::new(self.fingerprint(), index, sort, key)
    }

    /// Checks that the listing goes on over the index over which it began, for backends: one that was dropped and
    /// defined anew under its name may have another order.
    ///
    /// # Errors
    /// `InvalidArgument` (`cursor`).
    pub fn check_index(&self, index: Option<&Index>) -> Result<()> {
        self.after.as_ref().map_or(Ok(()), |cursor| cursor.check_index(index))
    }

    /// What tells this listing from others: see [`Cursor`].
    pub(crate) fn fingerprint(&self) -> u64 {
        let query = match &self.source {
            ItemSource::Scan => None,
            ItemSource::Query(query) => Some(query),
        };
        super::cursor::fingerprint(&self.query_db, query, self.descending)
    }
}
