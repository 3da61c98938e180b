//! The writer: executes every batch that waits, commits once, answers all of them.

use std::{collections::HashMap, sync::Arc, thread, time::Duration};

use rusqlite::Connection;

use super::{
    append::Undo,
    batch_id,
    checkpoint::Checkpointer,
    error::is_full,
    postings::Merged,
    projection,
    query_db::{self, WriterQueryDb},
    queue::Job,
    shared::Shared,
    snapshot::Pruning,
    sweep,
    writer_log::WriterLog,
};
use crate::{
    backend::{CommitReply, CommitRequest, Operation, Outcome, TaskBucketOperation, batch_digest},
    clock::micros_since_epoch,
    error::{Error, ErrorKind, Result},
};

/// After another process has committed, this many groups leave it a gap.
const YIELDING_GROUPS: u32 = 64;
const YIELD: Duration = Duration::from_micros(400);
/// How many QueryDbs are remembered between transactions.
const QUERY_DBS: usize = 1_024;

/// Why a batch, or a whole group, was not written.
#[derive(Debug)]
pub(super) enum Failure {
    /// A guard failed, or an argument is bad: this batch changes nothing, the others go on.
    Refused(Error),
    /// Writing failed in the middle: the transaction cannot go on.
    Broken(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Marks the errors of statements that write.
pub(super) trait Written<T> {
    fn written(self) -> Result<T, Failure>;
}

impl<T, E: Into<Error>> Written<T> for Result<T, E> {
    fn written(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Broken(error.into()))
    }
}

/// Why a group was not committed.
enum GroupError {
    NothingWritten(Error),
    Unknown(Error),
}

/// The one connection that writes, and what it remembers between transactions.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) logs: HashMap<Arc<str>, WriterLog>,
    /// What a batch has changed in memory, to be taken back if it is refused and others are not.
    pub(super) undo: Option<Vec<Undo>>,
    pub(super) query_dbs: HashMap<Arc<str>, WriterQueryDb>,
    /// The projection whose checkpoint the running batch has moved.
    pub(super) projecting: Option<Arc<str>>,
    /// The projections that the running transaction has changed.
    pub(super) touched_projections: Vec<Arc<str>>,
    /// The running operation may hide what projections have not read.
    pub(super) forced: bool,
    /// The numbers of the logs that the running transaction has created.
    pub(super) created: Vec<i64>,
    /// The time of the running transaction, in microseconds since 1970.
    pub(super) now: u64,
    pub(super) pruning: Pruning,
    /// The task buckets that the running transaction has to announce.
    pub(super) changed_buckets: Vec<Arc<str>>,
    data_version: i64,
    /// How many more groups leave a gap for another process.
    yielding: u32,
    sweeping: bool,
    checkpointer: Checkpointer,
}

impl Writer {
    pub(super) fn new(mut connection: Connection, shared: &Shared) -> Result<Self> {
        let checkpointer = Checkpointer::new(&mut connection)?;
        // Changes from here on are somebody else's: readers begin to remember things before the first commit.
        let data_version = data_version(&connection)?;
        let sweeping = sweep::is_pending(&connection)?;
        let writer = Self {
            connection,
            logs: HashMap::new(),
            query_dbs: HashMap::new(),
            projecting: None,
            touched_projections: Vec::new(),
            forced: false,
            undo: None,
            created: Vec::new(),
            now: 0,
            pruning: Pruning::default(),
            changed_buckets: Vec::new(),
            data_version,
            yielding: 0,
            sweeping,
            checkpointer,
        };
        if sweeping && !shared.config.read_only {
            shared.queue.ask_for_chores();
        }
        Ok(writer)
    }

    /// Commits batches, as few transactions as can be, and answers each.
    pub(super) fn commit_group(&mut self, shared: &Shared, jobs: Vec<Job>) {
        let mut plain = Vec::with_capacity(jobs.len());
        for job in jobs {
            if is_plain(&job.request) {
                plain.push(job);
            } else {
                self.commit_jobs(shared, std::mem::take(&mut plain));
                self.commit_jobs(shared, vec![job]);
            }
        }
        self.commit_jobs(shared, plain);
        self.checkpointer.run_if_due(&self.connection);
    }

    fn commit_jobs(&mut self, shared: &Shared, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let requests: Vec<&CommitRequest> = jobs.iter().map(|job| &job.request).collect();
        let answers = self.execute(shared, &requests);
        for (job, answer) in jobs.into_iter().zip(answers) {
            // A caller that no longer waits has dropped its operation; the commit stands.
            let _ = job.answer.send(answer);
        }
    }

    /// Commits a batch for a caller that does not share its transaction.
    pub(super) fn commit_one(&mut self, shared: &Shared, request: &CommitRequest) -> Result<CommitReply> {
        let mut answers = self.execute(shared, &[request]);
        self.checkpointer.run_if_due(&self.connection);
        answers.pop().expect("one answer for one batch")
    }

    /// Commits batches in one transaction, and answers each in order.
    fn execute(&mut self, shared: &Shared, requests: &[&CommitRequest]) -> Vec<Result<CommitReply>> {
        let all = |error: &Error| requests.iter().map(|_| Err(error.duplicate())).collect();
        if let Err(poisoned) = shared.check_sound() {
            return all(&poisoned);
        }
        if shared.config.read_only {
            return all(&Error::new(ErrorKind::ReadOnly));
        }
        match self.transact(shared, requests) {
            Ok(answers) => answers,
            Err(GroupError::NothingWritten(_)) if std::mem::take(&mut self.pruning.failed) => {
                self.pruning.off = true;
                let answers = self.execute(shared, requests);
                self.pruning.off = false;
                answers
            }
            Err(GroupError::NothingWritten(error)) => {
                let worth_splitting = matches!(error.kind(), ErrorKind::Io | ErrorKind::Corrupted);
                if requests.len() > 1 && worth_splitting && !shared.is_poisoned() {
                    // One of them may be the cause: each on its own, so that the others are not its victims.
                    return requests.iter().flat_map(|request| self.execute(shared, &[*request])).collect();
                }
                all(&error)
            }
            Err(GroupError::Unknown(error)) => {
                shared.poison();
                let hint = "open the store again; a retry under the same event ids or batch id is safe";
                all(&Error::new(ErrorKind::CommitUnknown).caused_by(error).with_hint(hint))
            }
        }
    }

    fn transact(
        &mut self,
        shared: &Shared,
        requests: &[&CommitRequest],
    ) -> Result<Vec<Result<CommitReply>>, GroupError> {
        let attempt = self.begin(shared).and_then(|()| {
            let answers = self.apply_all(shared, requests)?;
            let merged = self.finish(shared)?;
            Ok((answers, merged))
        });
        match attempt {
            Ok((answers, merged)) => {
                self.commit(shared)?;
                self.committed(shared, merged);
                Ok(answers)
            }
            Err(error) => {
                self.roll_back(shared);
                Err(GroupError::NothingWritten(error))
            }
        }
    }

    fn begin(&mut self, shared: &Shared) -> Result<()> {
        if self.yielding > 0 {
            self.yielding -= 1;
            thread::sleep(YIELD);
        }
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.now = micros_since_epoch(shared.clock.now());
        let version = data_version(&self.connection)?;
        if version != self.data_version {
            self.yielding = YIELDING_GROUPS;
            self.sweeping = sweep::is_pending(&self.connection)?;
            self.logs.clear();
            self.query_dbs.clear();
            self.data_version = version;
        }
        if self.query_dbs.len() > QUERY_DBS {
            self.query_dbs.clear();
        }
        Ok(())
    }

    fn apply_all(
        &mut self,
        shared: &Shared,
        requests: &[&CommitRequest],
    ) -> Result<Vec<Result<CommitReply>>> {
        let alone = requests.len() == 1;
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let checks_first = checks_first(request);
            match self.apply(shared, request, !alone && !checks_first) {
                Ok(reply) => answers.push(Ok(reply)),
                // What it wrote before it was refused goes with the transaction, which is its own.
                Err(Failure::Refused(error)) if alone && !checks_first => {
                    return Err(error);
                }
                Err(Failure::Refused(error)) => answers.push(Err(error)),
                Err(Failure::Broken(error)) => return Err(error),
            }
        }
        Ok(answers)
    }

    /// Executes a batch in the open transaction: all of it, or nothing. If it is scoped, others have written in the
    /// transaction, and what it writes before it is refused is taken back alone.
    fn apply(
        &mut self,
        shared: &Shared,
        request: &CommitRequest,
        scoped: bool,
    ) -> Result<CommitReply, Failure> {
        let id = request.id.map(|id| (id, batch_digest(&request.operations)));
        if let Some((id, digest)) = &id
            && let Some(reply) = batch_id::find(&self.connection, *id, digest, self.now)?
        {
            return Ok(reply);
        }
        if scoped {
            self.run("SAVEPOINT batch").written()?;
        }
        self.undo = scoped.then(Vec::new);
        self.projecting = None;
        let outcomes = match self.operate_all(shared, &request.operations) {
            Ok(outcomes) => outcomes,
            Err(Failure::Refused(error)) if scoped => {
                self.run("ROLLBACK TO batch").written()?;
                self.run("RELEASE batch").written()?;
                self.take_back(shared);
                return Err(Failure::Refused(error));
            }
            Err(failure) => return Err(failure),
        };
        if scoped {
            self.run("RELEASE batch").written()?;
        }
        let reply = CommitReply { outcomes };
        if let Some((id, digest)) = &id {
            batch_id::store(&self.connection, *id, digest, &reply, self.now).written()?;
        }
        Ok(reply)
    }

    fn operate_all(&mut self, shared: &Shared, operations: &[Operation]) -> Result<Vec<Outcome>, Failure> {
        let mut outcomes = Vec::with_capacity(operations.len());
        for (index, operation) in operations.iter().enumerate() {
            outcomes.push(self.operate(shared, operation).map_err(|failure| match failure {
                Failure::Refused(error) => Failure::Refused(error.at_index(index)),
                Failure::Broken(error) => Failure::Broken(error.at_index(index)),
            })?);
        }
        Ok(outcomes)
    }

    fn operate(&mut self, shared: &Shared, operation: &Operation) -> Result<Outcome, Failure> {
        match operation {
            Operation::Append(append) => self.append(shared, append).map(Outcome::Appended),
            Operation::RequireHead { log, stream, head } => self.require_head(shared, log, stream, *head),
            Operation::RequireNoneMatch { log, condition } => {
                self.require_none_match(shared, log, condition)?;
                Ok(Outcome::Done)
            }
            Operation::Compact { log, stream, through } => self.compact(shared, log, stream, *through),
            Operation::RaiseMark { log, stream, through } => self.raise_mark(shared, log, stream, *through),
            Operation::Trim { log, through } => self.trim(shared, log, through.get()),
            Operation::Forget { log, through } => self.forget(shared, log, through.get()),
            Operation::DropLog { log } => self.drop_log(shared, log),
            Operation::AuditConditions { log, enabled } => {
                self.log_or_new(shared, log)?.row.audits = *enabled;
                self.log_mut(log).dirty = true;
                Ok(Outcome::Done)
            }
            Operation::Restore { log, rows } => self.restore(shared, log, rows),
            Operation::Snapshot(operation) => self.change_snapshots(operation),
            Operation::TaskBucket(operation) => self.change_task_bucket(operation),
            Operation::QueryDb(operation) => self.query_db(shared, operation),
            Operation::Projection(operation) => self.change_projection(operation),
            Operation::Forced(operation) => {
                self.forced = true;
                let done = self.operate(shared, operation);
                self.forced = false;
                done
            }
        }
    }

    /// Writes what the group has changed in logs, and a slice of the work that was put off.
    fn finish(&mut self, shared: &Shared) -> Result<Vec<(Arc<str>, Merged)>> {
        if self.sweeping {
            self.sweeping = match sweep::slice(self, shared) {
                // What is damaged stays hidden, for `verify` to report: it must not keep others from writing.
                Err(error) if *error.kind() == ErrorKind::Corrupted => {
                    tracing::error!(%error, "hidden events cannot be swept: run `larder verify`");
                    false
                }
                more => more?,
            };
        }
        for query_db in self.query_dbs.values_mut() {
            query_db.finish(&self.connection, shared)?;
        }
        let mut merged = Vec::new();
        for (name, log) in self.logs.iter_mut().filter(|(_, log)| log.dirty) {
            let (added, forgotten) = (log.added, &log.forgotten);
            let merge_at = shared.config.merge_at;
            let slice = log.merge.slice(&self.connection, &log.tail, added, forgotten, merge_at)?;
            if let Merged::Through(through) = slice {
                log.row.merged = through;
            }
            log.row.removals += u64::from(!log.forgotten.is_empty());
            log.row.store(&self.connection)?;
            merged.push((name.clone(), slice));
        }
        Ok(merged)
    }

    fn commit(&mut self, shared: &Shared) -> Result<(), GroupError> {
        let committed = self.run("COMMIT");
        let Err(error) = committed else { return Ok(()) };
        let full = is_full(&error);
        self.roll_back(shared);
        if full && !shared.is_poisoned() {
            // No frame that ends a transaction was written: see docs/formats/sqlite.md.
            return Err(GroupError::NothingWritten(error.into()));
        }
        Err(GroupError::Unknown(error.into()))
    }

    fn committed(&mut self, shared: &Shared, merged: Vec<(Arc<str>, Merged)>) {
        self.created.clear();
        for projection in self.touched_projections.drain(..) {
            shared.bus.publish(&format!("projection/{projection}"));
        }
        for name in self.changed_buckets.drain(..) {
            shared.bus.publish(&format!("bucket/{name}"));
        }
        for (name, query_db) in &mut self.query_dbs {
            if query_db.committed() {
                let channel = format!("querydb/{name}");
                if shared.bus.has_listeners(&channel) {
                    shared.bus.publish(&channel);
                } else {
                    shared.feeds.clear(query_db.number());
                }
            }
        }
        for (name, merged) in merged {
            if let Some(log) = self.logs.get_mut(&name) {
                (log.dirty, log.added) = (false, 0);
                log.committed_head = log.row.head;
                log.merge.committed(&log.tail, &merged);
                if !log.forgotten.is_empty() {
                    log.tail.write().remove_forgotten(&std::mem::take(&mut log.forgotten), log.row.removals);
                }
            }
            shared.bus.publish(&name);
        }
        if self.sweeping {
            shared.queue.ask_for_chores();
        }
    }

    /// Takes everything back: what the transaction wrote, and what is remembered of it.
    fn roll_back(&mut self, shared: &Shared) {
        if !self.connection.is_autocommit() && self.run("ROLLBACK").is_err() {
            shared.poison();
        }
        for (_, log) in self.logs.drain() {
            log.tail.write().retract(log.committed_head);
        }
        // Their numbers are free again, for logs that begin elsewhere.
        self.created.drain(..).for_each(|log| shared.forget_tail(log));
        self.undo = None;
        self.touched_projections.clear();
        self.changed_buckets.clear();
        for (_, query_db) in self.query_dbs.drain() {
            query_db.retract(shared);
        }
        // What this transaction swept is there again; the next one finds out whether there is anything.
        self.sweeping = true;
    }

    /// Housekeeping while nobody waits.
    pub(super) fn do_chores(&mut self, shared: &Shared) {
        if self.sweeping && shared.queue.is_empty() && !shared.is_poisoned() && !shared.config.read_only {
            // A failure is met again, and answered, by the next commit.
            drop(self.transact(shared, &[]));
        }
        self.checkpointer.run_if_due(&self.connection);
    }

    pub(super) fn run(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    pub(super) fn start_sweeping(&mut self) {
        self.sweeping = true;
    }
}

/// A number that changes when another connection has committed.
fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

/// Whether a batch can share its transaction with others: it only does what is done all the time, and quickly.
fn is_plain(request: &CommitRequest) -> bool {
    request.operations.iter().all(is_plain_operation)
}

fn is_plain_operation(operation: &Operation) -> bool {
    match operation {
        Operation::Append(_)
        | Operation::RequireHead { .. }
        | Operation::RequireNoneMatch { .. }
        | Operation::Snapshot(_) => true,
        Operation::TaskBucket(operation) => !matches!(operation, TaskBucketOperation::Restore { .. }),
        Operation::QueryDb(operation) => query_db::is_plain(operation),
        Operation::Projection(operation) => projection::is_plain(operation),
        _ => false,
    }
}

/// Whether a batch leaves nothing behind when it is refused: a single append, guard or save checks before it writes.
fn checks_first(request: &CommitRequest) -> bool {
    match &request.operations[..] {
        [] => true,
        [Operation::QueryDb(operation)] => query_db::checks_first(operation),
        [Operation::TaskBucket(_)] => false,
        [operation] => is_plain_operation(operation),
        _ => false,
    }
}
