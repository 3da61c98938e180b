//! What is committed next: operations of one section.

use std::{mem, sync::Arc};

use super::{
    super::format::{ProjectionRow, Row},
    section::Place,
};
use crate::{
    backend::{
        HistoryRow, ItemData, Operation, ProjectionOperation, QueryDbOperation, SnapshotOperation,
        TaskBucketOperation, TaskBucketRow,
    },
    event::Position,
};

/// The most rows, and bytes of lines, of a commit; but one large row is a commit, too.
const CHUNK_ROWS: usize = 1_000;
const CHUNK_BYTES: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Chunk {
    operations: Vec<Operation>,
    /// What ends a projection.
    finish: Vec<Operation>,
    rows: usize,
    bytes: usize,
    /// The section is over, or what follows needs this to be there.
    is_whole: bool,
}

impl Chunk {
    /// Whether it is to be committed.
    pub(super) fn is_due(&self) -> bool {
        self.is_whole || self.rows >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES
    }

    pub(super) fn take(&mut self) -> Vec<Operation> {
        (self.rows, self.bytes, self.is_whole) = (0, 0, false);
        mem::take(&mut self.operations)
    }

    /// Adds a row of a section, whose line has so many bytes.
    pub(super) fn push(&mut self, Place { name, .. }: &Place, row: Row, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes;
        match row {
            Row::History(row) => self.push_history(name, row),
            Row::Snapshot(snapshot) => {
                self.operations.push(Operation::Snapshot(SnapshotOperation::Restore(snapshot)));
            }
            Row::QueryDb(spec) => {
                let define = QueryDbOperation::Define { query_db: name.clone(), spec };
                self.operations.push(Operation::QueryDb(define));
                self.is_whole = true;
            }
            Row::Item(item) => self.push_item(name, item),
            Row::TaskBucket(row) => self.push_task_bucket(name, row),
            Row::Projection(row) => self.push_projection(name, *row),
            Row::DeadLetter(letter) => {
                let projection = name.clone();
                self.push_to_projection(ProjectionOperation::AddDeadLetter { projection, letter });
            }
            Row::End => {
                self.operations.append(&mut self.finish);
                self.is_whole = true;
            }
        }
    }

    fn push_history(&mut self, log: &Arc<str>, row: HistoryRow) {
        self.is_whole = matches!(row, HistoryRow::Log { .. });
        if let Some(Operation::Restore { rows, .. }) = self.operations.last_mut() {
            rows.push(row);
        } else {
            self.operations.push(Operation::Restore { log: log.clone(), rows: vec![row] });
        }
    }

    fn push_item(&mut self, query_db: &Arc<str>, item: ItemData) {
        if let Some(Operation::QueryDb(QueryDbOperation::SaveAll { items, .. })) = self.operations.last_mut()
        {
            items.push(item);
        } else {
            let save = QueryDbOperation::SaveAll { query_db: query_db.clone(), items: vec![item] };
            self.operations.push(Operation::QueryDb(save));
        }
    }

    fn push_task_bucket(&mut self, bucket: &Arc<str>, row: TaskBucketRow) {
        self.is_whole = matches!(row, TaskBucketRow::End { .. });
        if let Some(Operation::TaskBucket(TaskBucketOperation::Restore { rows, .. })) =
            self.operations.last_mut()
        {
            rows.push(row);
        } else {
            let restore = TaskBucketOperation::Restore { bucket: bucket.clone(), rows: vec![row] };
            self.operations.push(Operation::TaskBucket(restore));
        }
    }

    /// A failure ends a request for a rebuild, and a checkpoint ends a failure: so they come in this order.
    fn push_projection(&mut self, projection: &Arc<str>, row: ProjectionRow) {
        let ProjectionRow { reads, owns, checkpoint, failure, rebuild } = row;
        if let Some((log, query)) = reads {
            let projection = projection.clone();
            self.push_to_projection(ProjectionOperation::Register { projection, log, query, owns });
        }
        // Nobody has run it since it was looked for.
        let expected = Some((Position::START, 0));
        self.push_to_projection(ProjectionOperation::SetCheckpoint {
            projection: projection.clone(),
            expected,
            position: checkpoint,
        });
        let failed = failure
            .map(|failure| ProjectionOperation::RecordFailure { projection: projection.clone(), failure });
        let rebuild = rebuild.then(|| ProjectionOperation::RequestRebuild { projection: projection.clone() });
        self.finish = failed.into_iter().chain(rebuild).map(Operation::Projection).collect();
    }

    fn push_to_projection(&mut self, operation: ProjectionOperation) {
        self.operations.push(Operation::Projection(operation));
    }
}
