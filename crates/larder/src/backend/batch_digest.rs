//! What tells the repetition of a batch from another batch under the same id.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    AppendOperation, Operation, ProjectionOperation, QueryDbOperation, SnapshotOperation, StoredSnapshot,
    TaskBucketOperation,
};
use crate::{
    error::{Error, ErrorKind},
    query_db::{ItemKey, KeyValue},
    snapshot::Subject,
};

/// A digest of what a batch does to what: of each operation its kind and its target, with how many events or items are
/// written there, but not what they say, which can differ from one attempt to the next (an encrypted snapshot always
/// does). SHA-256, cut to 16 bytes.
#[must_use]
pub fn batch_digest(operations: &[Operation]) -> [u8; 16] {
    let mut targets = Targets(Sha256::new());
    operations.iter().for_each(|operation| targets.operation(operation));
    let mut digest = [0; 16];
    digest.copy_from_slice(&targets.0.finalize()[..16]);
    digest
}

/// The refusal of another batch under an id that is taken.
pub(super) fn batch_id_reused(id: Uuid) -> Error {
    let reused = Error::new(ErrorKind::AlreadyExists).with("batch id", id.to_string());
    reused.with_hint("another batch was committed under this id; give each batch its own")
}

struct Targets(Sha256);

impl Targets {
    /// A kind, and the names of what it is done to; each with its length, so that no two have the same bytes.
    fn target(&mut self, kind: &str, names: &[&str]) {
        self.number(names.len() as u64);
        for text in std::iter::once(&kind).chain(names) {
            self.number(text.len() as u64);
            self.0.update(text.as_bytes());
        }
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn operation(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(AppendOperation { log, stream: Some(stream), events, .. }) => {
                self.target("append to stream", &[log, stream]);
                self.number(events.len() as u64);
            }
            Operation::Append(AppendOperation { log, stream: None, events, .. }) => {
                self.target("append", &[log]);
                self.number(events.len() as u64);
            }
            Operation::RequireHead { log, stream, .. } => self.target("require head", &[log, stream]),
            Operation::RequireNoneMatch { log, .. } => self.target("require none match", &[log]),
            Operation::Compact { log, stream, through } => {
                self.target("compact", &[log, stream]);
                self.number(*through);
            }
            Operation::RaiseMark { log, stream, through } => {
                self.target("raise mark", &[log, stream]);
                self.number(*through);
            }
            Operation::Trim { log, through } => {
                self.target("trim", &[log]);
                self.number(through.get());
            }
            Operation::Forget { log, through } => {
                self.target("forget", &[log]);
                self.number(through.get());
            }
            Operation::DropLog { log } => self.target("drop log", &[log]),
            Operation::AuditConditions { log, .. } => self.target("audit conditions", &[log]),
            Operation::Restore { log, rows } => {
                self.target("restore", &[log]);
                self.number(rows.len() as u64);
            }
            Operation::Forced(operation) => {
                self.target("forced", &[]);
                self.operation(operation);
            }
            Operation::QueryDb(operation) => self.query_db(operation),
            Operation::Snapshot(operation) => self.snapshot(operation),
            Operation::TaskBucket(operation) => self.task_bucket(operation),
            Operation::Projection(operation) => self.projection(operation),
        }
    }

    fn query_db(&mut self, operation: &QueryDbOperation) {
        match operation {
            QueryDbOperation::Define { query_db, .. } => self.target("define", &[query_db]),
            QueryDbOperation::Drop { query_db } => self.target("drop QueryDb", &[query_db]),
            QueryDbOperation::DropIndex { query_db, index } => self.target("drop index", &[query_db, index]),
            QueryDbOperation::Save { query_db, item } => self.target("save", &[query_db, &item.partition]),
            QueryDbOperation::SaveAll { query_db, items } => {
                self.target("save all", &[query_db]);
                self.number(items.len() as u64);
                items.iter().for_each(|item| self.target("item", &[&item.partition]));
            }
            QueryDbOperation::Delete { query_db, keys } => {
                self.target("delete", &[query_db]);
                self.number(keys.len() as u64);
                keys.iter().for_each(|key| self.key(key));
            }
            QueryDbOperation::DeletePartition { query_db, partition } => {
                self.target("delete partition", &[query_db, partition]);
            }
            QueryDbOperation::Increment { query_db, key, field, .. } => {
                self.target("increment", &[query_db, field]);
                self.key(key);
            }
            QueryDbOperation::PurgeExpired { query_db, .. } => self.target("purge", &[query_db]),
            QueryDbOperation::RequireVersion { query_db, key, .. } => {
                self.target("require version", &[query_db]);
                self.key(key);
            }
        }
    }

    fn key(&mut self, ItemKey { partition, sub }: &ItemKey) {
        match sub {
            KeyValue::String(text) => self.target("key", &[partition, text]),
            KeyValue::Number(number) => self.target("numbered key", &[partition, &number.to_string()]),
        }
    }

    fn snapshot(&mut self, operation: &SnapshotOperation) {
        let (kind, log, subject, at) = match operation {
            SnapshotOperation::Save { snapshot, .. } => {
                ("save snapshot", &snapshot.log, &snapshot.subject, snapshot.at)
            }
            SnapshotOperation::Delete { log, subject, through } => {
                ("delete snapshots", log, subject, *through)
            }
            SnapshotOperation::Replace { place, .. } => {
                ("replace snapshot", &place.log, &place.subject, place.at)
            }
            SnapshotOperation::Restore(StoredSnapshot { data, .. }) => {
                ("restore snapshot", &data.log, &data.subject, data.at)
            }
        };
        match subject {
            Subject::Stream(stream) => self.target(kind, &[log, "stream", stream]),
            Subject::Query(query) => self.target(kind, &[log, "query", query]),
        }
        self.number(at);
    }

    fn task_bucket(&mut self, operation: &TaskBucketOperation) {
        match operation {
            TaskBucketOperation::Put { bucket, object, .. } => self.target("put", &[bucket, &object.key]),
            TaskBucketOperation::Delete { bucket, key, .. } => self.target("delete object", &[bucket, key]),
            TaskBucketOperation::Restore { bucket, rows } => {
                self.target("restore bucket", &[bucket]);
                self.number(rows.len() as u64);
            }
            TaskBucketOperation::Claim { bucket, .. } => self.target("claim", &[bucket]),
            TaskBucketOperation::Renew { bucket, lease, .. } => self.task("renew", bucket, lease.trigger),
            TaskBucketOperation::Acknowledge { bucket, lease } => {
                self.task("acknowledge", bucket, lease.trigger);
            }
            TaskBucketOperation::Fail { bucket, lease, .. } => self.task("fail", bucket, lease.trigger),
            TaskBucketOperation::Redrive { bucket, trigger } => {
                self.task("redrive", bucket, trigger.unwrap_or(u64::MAX));
            }
            TaskBucketOperation::Discard { bucket, trigger } => {
                self.task("discard", bucket, trigger.unwrap_or(u64::MAX));
            }
        }
    }

    fn task(&mut self, kind: &str, bucket: &str, trigger: u64) {
        self.target(kind, &[bucket]);
        self.number(trigger);
    }

    fn projection(&mut self, operation: &ProjectionOperation) {
        let (kind, projection) = match operation {
            ProjectionOperation::Register { projection, .. } => ("register", projection),
            ProjectionOperation::SetCheckpoint { projection, .. } => ("set checkpoint", projection),
            ProjectionOperation::SetRebuildCheckpoint { projection, .. } => {
                ("set rebuild checkpoint", projection)
            }
            ProjectionOperation::RecordFailure { projection, .. } => ("record failure", projection),
            ProjectionOperation::AddDeadLetter { projection, letter } => {
                self.number(letter.position.get());
                ("add dead letter", projection)
            }
            ProjectionOperation::RemoveDeadLetter { projection, position } => {
                self.number(position.get());
                ("remove dead letter", projection)
            }
            ProjectionOperation::RequestRebuild { projection } => ("request rebuild", projection),
            ProjectionOperation::BeginRebuild { projection } => ("begin rebuild", projection),
            ProjectionOperation::FinishRebuild { projection, .. } => ("finish rebuild", projection),
            ProjectionOperation::AbandonRebuild { projection, .. } => ("abandon rebuild", projection),
            ProjectionOperation::Drop { projection } => ("drop projection", projection),
        };
        self.target(kind, &[projection]);
    }
}
