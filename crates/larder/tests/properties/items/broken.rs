//! Deliberately broken engines, to prove that the harness finds faults with items.

use std::sync::Arc;

use larder::{
    Change, Item, ItemQuery, Page, Result,
    backend::{
        Backend, BoxFuture, ChangesRead, CommitReply, CommitRequest, ItemSource, ItemsRead, Operation,
        QueryDbOperation, SaveMode,
    },
    testing::Wrapper,
};

/// What an engine does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemFault {
    IgnoresModes,
    IgnoresTtl,
    IgnoresFilters,
    IgnoresSortConditions,
    ReadsForwards,
    /// Reads one item more than it should.
    IgnoresLimits,
    /// Loses the first item after a cursor.
    LosesAtPageEdges,
    CountsTwice,
    CountsOneMore,
    LosesAChange,
    DropsNothing,
    PurgesNothing,
}

impl ItemFault {
    pub(crate) const ALL: [Self; 12] = [
        Self::IgnoresModes,
        Self::IgnoresTtl,
        Self::IgnoresFilters,
        Self::IgnoresSortConditions,
        Self::ReadsForwards,
        Self::IgnoresLimits,
        Self::LosesAtPageEdges,
        Self::CountsTwice,
        Self::CountsOneMore,
        Self::LosesAChange,
        Self::DropsNothing,
        Self::PurgesNothing,
    ];
}

/// A sound engine with a fault in front of it.
#[derive(Debug)]
pub(crate) struct Broken {
    inner: Arc<dyn Backend>,
    fault: ItemFault,
}

impl Broken {
    pub(crate) fn new(inner: Arc<dyn Backend>, fault: ItemFault) -> Self {
        Self { inner, fault }
    }

    fn break_operation(&self, operation: &mut Operation) {
        let Operation::QueryDb(operation) = operation else { return };
        match (self.fault, &mut *operation) {
            (ItemFault::IgnoresModes, QueryDbOperation::Save { item, .. }) => item.mode = SaveMode::Overwrite,
            (ItemFault::IgnoresTtl, QueryDbOperation::Save { item, .. }) => item.ttl = None,
            (ItemFault::CountsTwice, QueryDbOperation::Increment { by, .. }) => {
                *by = by.checked_add(*by).unwrap_or(*by);
            }
            (ItemFault::DropsNothing, QueryDbOperation::Drop { query_db }) => {
                *operation = QueryDbOperation::DropIndex { query_db: query_db.clone(), index: "-".into() };
            }
            (ItemFault::PurgesNothing, QueryDbOperation::PurgeExpired { limit, .. }) => *limit = 0,
            _ => {}
        }
    }

    async fn read_broken(&self, mut request: ItemsRead) -> Result<Page<Item>> {
        match (self.fault, &mut request.source) {
            (ItemFault::IgnoresFilters, ItemSource::Query(query)) => query.filter = None,
            (ItemFault::IgnoresSortConditions, ItemSource::Query(query)) => query.sort = None,
            (ItemFault::ReadsForwards, _) => request.descending = false,
            (ItemFault::IgnoresLimits, _) => request.limit = request.limit.map(|limit| limit + 1),
            _ => {}
        }
        let goes_on = request.after.is_some();
        let mut page = self.inner.read_items(request).await?;
        if self.fault == ItemFault::LosesAtPageEdges && goes_on && !page.items.is_empty() {
            page.items.remove(0);
        }
        Ok(page)
    }
}

impl Wrapper for Broken {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    fn commit(&self, mut request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        request.operations.iter_mut().for_each(|operation| self.break_operation(operation));
        self.inner.commit(request)
    }

    fn read_items(&self, request: ItemsRead) -> BoxFuture<'_, Result<Page<Item>>> {
        Box::pin(self.read_broken(request))
    }

    fn count_items(&self, query_db: Arc<str>, query: ItemQuery) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let count = self.inner.count_items(query_db, query).await?;
            Ok(count + u64::from(self.fault == ItemFault::CountsOneMore))
        })
    }

    fn read_changes(&self, request: ChangesRead) -> BoxFuture<'_, Result<Page<Change>>> {
        Box::pin(async move {
            let mut page = self.inner.read_changes(request).await?;
            if self.fault == ItemFault::LosesAChange {
                page.items.pop();
            }
            Ok(page)
        })
    }
}
