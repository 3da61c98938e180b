//! Everything a store holds, and the commit of a batch: all of it or nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    event_log::{Header, LogState},
    projection::Projections,
    query_db::QueryDbState,
    snapshot::Snapshots,
    task_bucket::TaskBuckets,
};
use crate::{
    backend::{CommitReply, CommitRequest, Operation, Outcome, batch_digest, batch_id_reused},
    bus::Bus,
    error::Result,
    limits::Limits,
};

/// A committed batch.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) reply: CommitReply,
    /// The bus channels of what has changed.
    pub(super) changed: Vec<Arc<str>>,
}

/// Everything a store holds.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) logs: BTreeMap<Arc<str>, LogState>,
    pub(super) query_dbs: BTreeMap<Arc<str>, QueryDbState>,
    pub(super) snapshots: Snapshots,
    pub(super) projections: Projections,
    pub(super) task_buckets: TaskBuckets,
    answers: Answers,
}

impl State {
    /// Commits a batch at this time, in microseconds since 1970.
    pub(super) fn commit(
        &mut self,
        request: CommitRequest,
        (now, limits, bus): (u64, &Limits, &Bus),
    ) -> Result<Committed> {
        let CommitRequest { id, operations, .. } = request;
        let id = id.map(|id| (id, batch_digest(&operations)));
        if let Some(outcomes) = id.map_or(Ok(None), |id| self.answers.repeat(id, now))? {
            return Ok(Committed { reply: CommitReply { outcomes }, changed: Vec::new() });
        }
        let mut transaction = Transaction {
            logs: &mut self.logs,
            query_dbs: &mut self.query_dbs,
            touched: Vec::new(),
            touched_query_dbs: Vec::new(),
            snapshots: &mut self.snapshots,
            projections: &mut self.projections,
            projecting: None,
            task_buckets: &mut self.task_buckets,
            now,
        };
        let mut outcomes = Vec::with_capacity(operations.len());
        for (index, operation) in operations.into_iter().enumerate() {
            outcomes.push(transaction.apply(operation, limits).map_err(|error| error.at_index(index))?);
        }
        let changed = transaction.keep(bus);
        if let Some(id) = id {
            self.answers.keep(id, &outcomes, now);
        }
        Ok(Committed { reply: CommitReply { outcomes }, changed })
    }
}

/// The batch under way. Dropped before [`keep`](Self::keep), as by an error, it leaves no trace.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    logs: &'a mut BTreeMap<Arc<str>, LogState>,
    query_dbs: &'a mut BTreeMap<Arc<str>, QueryDbState>,
    pub(super) snapshots: &'a mut Snapshots,
    pub(super) projections: &'a mut Projections,
    /// The projection whose checkpoint the batch has moved.
    pub(super) projecting: Option<Arc<str>>,
    pub(super) task_buckets: &'a mut TaskBuckets,
    touched: Vec<Arc<str>>,
    touched_query_dbs: Vec<Arc<str>>,
    /// Microseconds since 1970.
    pub(super) now: u64,
}

impl Transaction<'_> {
    fn apply(&mut self, operation: Operation, limits: &Limits) -> Result<Outcome> {
        self.check_projections(&operation)?;
        match operation {
            Operation::Append(append) => self.append(append).map(Outcome::Appended),
            Operation::RequireHead { log, stream, head } => self.require_head(&log, &stream, head),
            Operation::RequireNoneMatch { log, condition } => self.require_none_match(&log, &condition),
            Operation::Compact { log, stream, through } => Ok(self.compact(&log, &stream, through)),
            Operation::RaiseMark { log, stream, through } => self.raise_mark(&log, &stream, through),
            Operation::Trim { log, through } => Ok(self.trim(&log, through)),
            Operation::Forget { log, through } => Ok(self.forget(&log, through)),
            Operation::DropLog { log } => {
                self.snapshots.drop_log(&log);
                Ok(self.drop_log(&log))
            }
            Operation::AuditConditions { log, enabled } => Ok(self.audit_conditions(&log, enabled)),
            Operation::Restore { log, rows } => self.restore(&log, rows),
            Operation::QueryDb(operation) => self.query_db(operation, limits),
            Operation::Snapshot(operation) => self.change_snapshots(operation),
            Operation::Projection(operation) => self.change_projection(operation),
            Operation::Forced(operation) => match *operation {
                Operation::Compact { log, stream, through } => Ok(self.compact(&log, &stream, through)),
                Operation::Trim { log, through } => Ok(self.trim(&log, through)),
                Operation::DropLog { log } => {
                    self.snapshots.drop_log(&log);
                    Ok(self.drop_log(&log))
                }
                other => self.apply(other, limits),
            },
            Operation::TaskBucket(operation) => self.change_task_bucket(&operation),
        }
    }

    pub(super) fn logs(&self) -> &BTreeMap<Arc<str>, LogState> {
        self.logs
    }

    fn audit_conditions(&mut self, log: &Arc<str>, enabled: bool) -> Outcome {
        let log = self.log_or_new(log);
        log.establish();
        log.set_header(Header { audits_conditions: enabled, ..log.header });
        Outcome::Done
    }

    /// The log, to change it, if it exists.
    pub(super) fn known_log(&mut self, name: &Arc<str>) -> Option<&mut LogState> {
        let exists = self.logs.get(name).is_some_and(LogState::exists);
        exists.then(|| self.log_or_new(name))
    }

    /// The log, to change it. If it is new and the batch leaves nothing in it, it does not come to be.
    pub(super) fn log_or_new(&mut self, name: &Arc<str>) -> &mut LogState {
        if !self.touched.contains(name) {
            self.touched.push(name.clone());
        }
        self.logs.entry(name.clone()).or_insert_with_key(|name| LogState::new(name.clone()))
    }

    /// The QueryDb, to change it, if it exists.
    pub(super) fn known_query_db(&mut self, name: &Arc<str>) -> Option<&mut QueryDbState> {
        let exists = self.query_dbs.get(name).is_some_and(QueryDbState::exists);
        exists.then(|| self.query_db_or_new(name))
    }

    /// The QueryDb, to change it. If it is new and the batch leaves nothing in it, it does not come to be.
    pub(super) fn query_db_or_new(&mut self, name: &Arc<str>) -> &mut QueryDbState {
        if !self.touched_query_dbs.contains(name) {
            self.touched_query_dbs.push(name.clone());
        }
        let query_db =
            self.query_dbs.entry(name.clone()).or_insert_with_key(|name| QueryDbState::new(name.clone()));
        query_db.begin_again();
        query_db
    }

    /// Makes the batch final, and names the channels of what it changed.
    fn keep(mut self, bus: &Bus) -> Vec<Arc<str>> {
        self.snapshots.keep();
        let projections = self.projections.keep();
        let mut changed = std::mem::take(&mut self.touched);
        changed.retain(|name| {
            let is_changed = self.logs.get_mut(name).is_some_and(LogState::keep);
            self.remove_unless_exists(name);
            is_changed
        });
        changed.extend(projections.into_iter().map(|name| format!("projection/{name}").into()));
        for name in std::mem::take(&mut self.touched_query_dbs) {
            let channel = format!("querydb/{name}");
            let is_heard = bus.has_listeners(&channel);
            if self.query_dbs.get_mut(&name).is_some_and(|query_db| query_db.keep(is_heard)) {
                changed.push(channel.into());
            }
            self.remove_if_only_a_name(&name);
        }
        changed.extend(self.task_buckets.keep());
        changed
    }

    fn remove_if_only_a_name(&mut self, name: &Arc<str>) {
        if self.query_dbs.get(name).is_some_and(QueryDbState::is_only_a_name) {
            self.query_dbs.remove(name);
        }
    }

    fn remove_unless_exists(&mut self, name: &Arc<str>) {
        if self.logs.get(name).is_some_and(|log| !log.exists()) {
            self.logs.remove(name);
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.projections.revert();
        self.snapshots.revert();
        self.task_buckets.revert();
        for name in std::mem::take(&mut self.touched) {
            if let Some(log) = self.logs.get_mut(&name) {
                log.revert();
            }
            self.remove_unless_exists(&name);
        }
        for name in std::mem::take(&mut self.touched_query_dbs) {
            if let Some(query_db) = self.query_dbs.get_mut(&name) {
                query_db.revert();
            }
            self.remove_if_only_a_name(&name);
        }
    }
}

/// How long the answer to a batch with an id is kept, in microseconds.
const KEPT_MICROS: u64 = 24 * 60 * 60 * 1_000_000;

/// What batches with an id were answered.
#[derive(Debug, Default)]
struct Answers {
    by_id: HashMap<Uuid, Answer>,
    /// When each was committed, oldest first.
    order: BTreeSet<(u64, Uuid)>,
}

#[derive(Debug)]
struct Answer {
    digest: [u8; 16],
    outcomes: Vec<Outcome>,
    /// Microseconds since 1970.
    at: u64,
}

/// A clock that was set back keeps answers for longer.
fn is_kept(at: u64, now: u64) -> bool {
    now.saturating_sub(at) < KEPT_MICROS
}

impl Answers {
    /// The answer of a batch that was committed before.
    fn repeat(&self, (id, digest): (Uuid, [u8; 16]), now: u64) -> Result<Option<Vec<Outcome>>> {
        let kept = self.by_id.get(&id).filter(|answer| is_kept(answer.at, now));
        let Some(answer) = kept else { return Ok(None) };
        if answer.digest != digest {
            return Err(batch_id_reused(id));
        }
        Ok(Some(answer.outcomes.clone()))
    }

    fn keep(&mut self, (id, digest): (Uuid, [u8; 16]), outcomes: &[Outcome], now: u64) {
        while let Some((at, oldest)) = self.order.first().copied()
            && !is_kept(at, now)
        {
            self.order.remove(&(at, oldest));
            self.by_id.remove(&oldest);
        }
        self.by_id.insert(id, Answer { digest, outcomes: outcomes.to_vec(), at: now });
        self.order.insert((now, id));
    }
}
