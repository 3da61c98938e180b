//! A backend that must be caught: it commits what an event leads to, and the checkpoint after it, in a commit of its own.

use std::{sync::Arc, thread, time::Duration};

use larder::{
    Result,
    backend::{Backend, BoxFuture, CommitReply, CommitRequest, Operation, ProjectionOperation},
    testing::Wrapper,
};

/// Between the two commits, for the signal to hit.
const GAP: Duration = Duration::from_millis(2);

/// Takes a projection's commits apart.
#[derive(Debug)]
pub(super) struct SplitCommits(pub(super) Arc<dyn Backend>);

impl Wrapper for SplitCommits {
    fn inner(&self) -> &dyn Backend {
        &*self.0
    }

    fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        let Some((writes, checkpoint)) = taken_apart(&request) else { return self.0.commit(request) };
        let (id, on_callers_thread) = (request.id, request.on_callers_thread);
        let commit = move |operations| self.0.commit(CommitRequest { id, operations, on_callers_thread });
        Box::pin(async move {
            let reply = commit(writes).await?;
            thread::sleep(GAP);
            commit(vec![checkpoint]).await?;
            Ok(reply)
        })
    }
}

/// The writes under a checkpoint that stays where it is, and the checkpoint's move.
fn taken_apart(request: &CommitRequest) -> Option<(Vec<Operation>, Operation)> {
    let (first, writes) = request.operations.split_first()?;
    let Operation::Projection(ProjectionOperation::SetCheckpoint {
        projection,
        expected: Some(expected),
        ..
    }) = first
    else {
        return None;
    };
    let stays = ProjectionOperation::SetCheckpoint {
        projection: projection.clone(),
        expected: Some(*expected),
        position: expected.0,
    };
    let operations = std::iter::once(Operation::Projection(stays)).chain(writes.iter().cloned()).collect();
    Some((operations, first.clone()))
}
