//! A backend that must be caught: it commits one surface's part of a batch in a commit of its own.

use std::sync::Arc;

use larder::{
    Result,
    backend::{Backend, BoxFuture, CommitReply, CommitRequest, Operation, ProjectionOperation},
    testing::Wrapper,
};

/// Which part of a batch is committed after the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// Snapshots.
    Snapshots,
    /// Items of QueryDbs.
    Items,
    /// Objects, and tasks that are put and acknowledged.
    Tasks,
    /// The checkpoints of projections.
    Checkpoints,
}

impl Surface {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Snapshots, Self::Items, Self::Tasks, Self::Checkpoints];

    fn has(self, operation: &Operation) -> bool {
        match operation {
            Operation::Snapshot(_) => self == Self::Snapshots,
            Operation::QueryDb(_) => self == Self::Items,
            Operation::TaskBucket(_) => self == Self::Tasks,
            Operation::Projection(ProjectionOperation::SetCheckpoint { .. }) => self == Self::Checkpoints,
            _ => false,
        }
    }
}

/// Takes batches apart.
#[derive(Debug)]
pub(crate) struct SplitBatches {
    pub(crate) inner: Arc<dyn Backend>,
    pub(crate) later: Surface,
}

impl Wrapper for SplitBatches {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        let is_later: Vec<bool> =
            request.operations.iter().map(|operation| self.later.has(operation)).collect();
        if !is_later.contains(&true) || !is_later.contains(&false) {
            return self.inner.commit(request);
        }
        let CommitRequest { id, operations, on_callers_thread } = request;
        let (mut first, mut later) = (Vec::new(), Vec::new());
        for (operation, is_later) in operations.into_iter().zip(&is_later) {
            if *is_later { later.push(operation) } else { first.push(operation) }
        }
        let commit =
            move |id, operations| self.inner.commit(CommitRequest { id, operations, on_callers_thread });
        Box::pin(async move {
            let mut first = commit(id, first).await?.outcomes.into_iter();
            let mut later = commit(None, later).await?.outcomes.into_iter();
            let outcomes =
                is_later.iter().filter_map(|is_later| if *is_later { later.next() } else { first.next() });
            Ok(CommitReply { outcomes: outcomes.collect() })
        })
    }
}
