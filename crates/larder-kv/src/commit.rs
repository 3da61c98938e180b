//! Group commit: callers share writes and syncs.
//!
//! Whoever finds nobody gathering *gathers*: it stamps, encodes and writes everything that waits, then waits until no
//! other sync runs, adds what has come in the meantime, and syncs it all at once. While it syncs, the next one gathers
//! and writes. A thread that waits for its own write does this itself, so a lone caller needs no other thread; for
//! tasks, the [crew] of the client does it.

mod company;
mod crew;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
    thread,
    time::Duration,
};

use larder_runtime::Stopwatch;

use self::{company::Company, crew::Crew};
use crate::{
    compaction,
    completion::Completion,
    core::{Core, Stage, SyncStage, lock},
    error::{Error, ErrorKind, Result},
    store::LARGE_VALUE_BYTES,
    sync::entry::{Author, Stamp},
    wal::{
        record::{RECORD_HEAD_BYTES, Record, RecordKind},
        writer::{ReserveError, Writer, frame_bytes},
    },
    write::{Op, Ops},
};

/// Frames are given to the operating system in pieces of about this size.
const PIECE_BYTES: usize = 4 << 20;
/// The same, where writes do not wait for it.
const BUFFERED_PIECE_BYTES: usize = 256 << 10;
/// How often they are synced all the same: damage to what is older is found, and not taken for the end of the file.
const SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// Writes that wait for a commit.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Vec<Pending>,
    /// Whether somebody is about to take what waits.
    gathering: bool,
    crew: Crew,
    company: Company,
    /// Whether a group waits for more company.
    lingers: bool,
    /// Nothing more may come in.
    pub(crate) stopped: bool,
}

/// A write that waits for its commit. Without operations, it only wants everything before it to be durable.
#[derive(Debug)]
struct Pending {
    ops: Ops,
    completion: Arc<Completion<Result<()>>>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Only a panic on the way gets here without an answer.
        self.completion.complete(Err(Error::new(ErrorKind::CommitUnknown)));
    }
}

/// Writes that are in the file, and not yet durable.
#[derive(Debug, Default)]
pub(crate) struct Group {
    written: Vec<Pending>,
    /// One for each of their operations.
    stamps: Vec<Stamp>,
    /// What their frames take.
    bytes: u64,
    /// Writes that were not begun, and why. They are answered once no lock is held: whoever is told may come back at once.
    refused: Vec<(Pending, Error)>,
    /// Why the last of them could not be given to the operating system.
    failed: Option<Error>,
}

/// A group whose sync is over, and what came of it.
#[derive(Debug)]
#[must_use = "its callers wait for their answers"]
pub(crate) struct Synced {
    group: Group,
    result: Result<()>,
}

impl Core {
    /// Writes and waits on this thread.
    pub(crate) fn commit_here(self: &Arc<Self>, ops: Ops) -> Result<()> {
        let completion = Completion::new();
        if self.enqueue(ops, &completion)? {
            self.commit_group();
            compaction::if_due(self);
        }
        larder_runtime::wait(crate::completion::Answer(completion))
    }

    /// Has the crew write; the completion gets the answer.
    pub(crate) fn commit_by_crew(
        self: &Arc<Self>,
        ops: Ops,
        completion: &Arc<Completion<Result<()>>>,
    ) -> Result<()> {
        if self.enqueue(ops, completion)? {
            self.summon_crew();
        }
        Ok(())
    }

    /// Adds a write to those that wait. True: nobody gathers, so the caller has to see to it.
    fn enqueue(&self, ops: Ops, completion: &Arc<Completion<Result<()>>>) -> Result<bool> {
        let mut queue = lock(&self.queue);
        if queue.stopped {
            return Err(Error::new(ErrorKind::Closed));
        }
        queue.waiting.push(Pending { ops, completion: completion.clone() });
        if queue.company.returned() && queue.lingers {
            self.returned.notify_one();
        }
        Ok(!std::mem::replace(&mut queue.gathering, true))
    }

    /// Gathers, writes, syncs and answers one group.
    pub(crate) fn commit_group(&self) {
        let synced = self.sync_group();
        self.answer(synced);
    }

    /// Gathers, writes and syncs one group.
    fn sync_group(&self) -> Synced {
        let _unwinding = Unwinding(self);
        let mut stage = lock(&self.stage);
        let waiting = std::mem::take(&mut lock(&self.queue).waiting);
        let deferred = self.write(&mut stage, waiting, false);
        let sync = lock(&self.sync);
        self.write(&mut stage, deferred, true);
        let waiting = self.linger(stage.group.written.len());
        self.write(&mut stage, waiting, true);
        let group = std::mem::take(&mut stage.group);
        let written = stage.wal.as_ref().map_or(0, Writer::written);
        drop(stage);
        self.finish(group, sync, written)
    }

    /// Writes what waits, if nobody else is at it, without syncing it: whoever sees to its commit finds it written.
    fn write_ahead(&self) {
        let _unwinding = Unwinding(self);
        let Ok(mut stage) = self.stage.try_lock() else { return };
        let waiting = std::mem::take(&mut lock(&self.queue).waiting);
        let mut deferred = self.write(&mut stage, waiting, false);
        if !deferred.is_empty() {
            let mut queue = lock(&self.queue);
            deferred.append(&mut queue.waiting);
            queue.waiting = deferred;
        }
    }

    /// Syncs a group, through this place, and shows what it has written. Nobody can write a later one to memory before.
    pub(crate) fn finish(&self, mut group: Group, sync: MutexGuard<'_, SyncStage>, written: u64) -> Synced {
        let result = self.sync_written(&sync, &mut group, written);
        let mut store = self.store_mut();
        drop(sync);
        if result.is_ok() {
            let ops = group.written.iter().flat_map(|pending| &*pending.ops);
            store.apply_all(stamped(ops.clone(), &group.stamps));
            if !self.watchers.is_empty() {
                self.watchers.note(&ops.map(|op| &op.key));
            }
            self.gauges.live_bytes.store(store.record_bytes(), Ordering::Relaxed);
            self.gauges.held_bytes.store(store.held_bytes(), Ordering::Relaxed);
        }
        drop(store);
        Synced { group, result }
    }

    /// Waits for callers who are about to return, if that pays; then takes what waits, and lets the next one gather.
    fn linger(&self, present: usize) -> Vec<Pending> {
        let mut queue = lock(&self.queue);
        if let Some(patience) = queue.company.patience(present + queue.waiting.len()) {
            queue.lingers = true;
            let waited = self.returned.wait_timeout(queue, patience);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            queue.lingers = false;
        }
        queue.gathering = false;
        std::mem::take(&mut queue.waiting)
    }

    /// Syncs what was written, so that later frames vouch for it.
    fn sync_now(&self) -> Result<()> {
        let stage = lock(&self.stage);
        let sync = lock(&self.sync);
        let written = stage.wal.as_ref().map_or(0, Writer::written);
        drop(stage);
        let is_due = written > sync.durable.load(Ordering::Acquire);
        if is_due { self.sync(&sync, written) } else { Ok(()) }
    }

    fn sync_written(&self, sync: &SyncStage, group: &mut Group, written: u64) -> Result<()> {
        if group.written.is_empty() {
            return Ok(());
        }
        if self.is_poisoned() {
            return Err(self.commit_unknown());
        }
        if let Some(error) = group.failed.take() {
            return Err(error);
        }
        let stopwatch = Stopwatch::start();
        self.sync(sync, written)?;
        lock(&self.queue).company.answered(group.written.len(), stopwatch.elapsed());
        Ok(())
    }

    /// Makes everything durable that was written, through this place.
    fn sync(&self, sync: &SyncStage, written: u64) -> Result<()> {
        let Some(file) = &sync.file else { return Ok(()) };
        file.sync().map_err(|error| {
            self.poison(format!("a sync failed: {error}"));
            self.commit_unknown()
        })?;
        sync.durable.fetch_max(written, Ordering::AcqRel);
        Ok(())
    }

    /// Tells everybody what has come of their writes.
    pub(crate) fn answer(&self, Synced { group, result }: Synced) {
        if result.is_ok() && !self.watchers.is_empty() {
            self.watchers.wake();
        }
        for pending in &group.written {
            pending.completion.complete(result.as_ref().map_err(Error::duplicate).copied());
        }
        for (pending, error) in group.refused {
            pending.completion.complete(Err(error));
        }
    }

    /// Stamps, encodes and writes, in the order given. Without the right to sync it stops where the file has to be
    /// extended first, and answers what is left.
    fn write(&self, stage: &mut Stage, waiting: Vec<Pending>, may_sync: bool) -> Vec<Pending> {
        if waiting.is_empty() {
            return waiting;
        }
        let now_millis = self.now_millis();
        let mut waiting = waiting.into_iter();
        while let Some(pending) = waiting.next() {
            if !may_sync && stage.wal.as_ref().is_some_and(|wal| !wal.has_room(needed(&pending.ops))) {
                let mut left = vec![pending];
                left.extend(waiting);
                self.write_group(stage);
                return left;
            }
            let mut stamps = std::mem::take(&mut stage.group.stamps);
            let encoded = self.encode(stage, &pending.ops, now_millis, &mut stamps);
            stage.group.stamps = stamps;
            match encoded {
                Ok(()) => {
                    stage.group.bytes += needed(&pending.ops);
                    stage.group.written.push(pending);
                }
                Err(error) => stage.group.refused.push((pending, error)),
            }
            if stage.wal.as_ref().is_some_and(|wal| wal.buffered() >= PIECE_BYTES) {
                self.write_group(stage);
            }
        }
        self.write_group(stage);
        Vec::new()
    }

    fn write_group(&self, stage: &mut Stage) {
        stage.group.failed = self.write_out(stage).err();
    }

    /// Stamps operations and encodes them as one frame. If it fails, none of that has happened.
    fn encode(&self, stage: &mut Stage, ops: &[Op], now_millis: u64, stamps: &mut Vec<Stamp>) -> Result<()> {
        if self.is_poisoned() {
            return Err(self.poisoned());
        }
        self.check_room(stage, ops)?;
        let Stage { clock, last_seq, wal, .. } = stage;
        let first = stamps.len();
        if let Some(wal) = wal {
            let bytes = needed(ops);
            if !ops.is_empty() && !wal.has_room(bytes) {
                self.reserve(wal, bytes)?;
            }
        } else if self.options.enable_wal {
            return Err(Error::new(ErrorKind::Closed));
        }
        stamps.extend(ops.iter().map(|_| {
            *last_seq += 1;
            Stamp { hlc: clock.next(now_millis), author: Author::OWNER, seq: *last_seq }
        }));
        if let Some(wal) = wal
            && !ops.is_empty()
        {
            wal.push(ops.iter().zip(&stamps[first..]).map(|(op, stamp)| record(op, stamp)));
        }
        Ok(())
    }

    /// Refuses what memory may have no room for, while nothing is written yet. Of two groups on their way and this one,
    /// none may take more than a quarter of what is left. Removals may take what puts have to leave.
    fn check_room(&self, stage: &Stage, ops: &[Op]) -> Result<()> {
        let held = self.gauges.held_bytes.load(Ordering::Relaxed);
        let most = self.gauges.most_bytes.load(Ordering::Relaxed);
        let is_put = ops.iter().any(|op| op.value.is_some());
        let most = if is_put { most - most / 32 } else { most };
        let small = |op: &Op| {
            let value = op.value.as_deref().map_or(0, <[u8]>::len);
            RECORD_HEAD_BYTES + op.key.len() + if value < LARGE_VALUE_BYTES { value } else { 0 }
        };
        let bytes = stage.group.bytes + ops.iter().map(small).sum::<usize>() as u64;
        // The end of a chunk may be too short for a block, so half of what is left is sure to be of use.
        if ops.is_empty() || bytes <= most.saturating_sub(held) / 8 {
            return Ok(());
        }
        Err(Error::too_large("entries", most, held + bytes)
            .with_hint("remove entries, or keep some of them in another file"))
    }

    fn reserve(&self, wal: &mut Writer, bytes: u64) -> Result<()> {
        wal.reserve(bytes).map_err(|error| match error {
            ReserveError::Before(error) => Error::io(error),
            ReserveError::During(error) => {
                self.poison(format!("a sync failed while the file was extended: {error}"));
                self.poisoned()
            }
        })
    }

    /// Gives what is encoded to the operating system. If there is no space for it, it stays encoded.
    pub(crate) fn write_out(&self, stage: &mut Stage) -> Result<()> {
        let Some(wal) = &mut stage.wal else { return Ok(()) };
        if self.is_poisoned() {
            return Err(self.poisoned());
        }
        let result = wal.write_out();
        self.gauges.file_bytes.store(wal.written(), Ordering::Relaxed);
        let Err(error) = result else { return Ok(()) };
        let may_run_full = wal.may_run_full();
        let what = format!("a write failed: {error}");
        let error = Error::io(error);
        if may_run_full && *error.kind() == ErrorKind::Full {
            return Err(error);
        }
        self.poison(what);
        Err(self.commit_unknown())
    }

    /// Writes without waiting for the disk: to memory, and to the file's buffer if there is a file.
    pub(crate) fn commit_buffered(self: &Arc<Self>, ops: &[Op]) -> Result<()> {
        if ops.is_empty() {
            return Ok(());
        }
        let _unwinding = Unwinding(self);
        let mut stage = lock(&self.stage);
        self.check_open()?;
        if stage.wal.as_ref().is_some_and(|wal| wal.buffered() >= BUFFERED_PIECE_BYTES) {
            self.write_out(&mut stage)?;
        }
        let mut stamps = std::mem::take(&mut stage.stamps);
        stamps.clear();
        self.encode(&mut stage, ops, self.now_millis(), &mut stamps)?;
        let mut store = self.store_mut();
        store.apply_all(stamped(ops.iter(), &stamps));
        self.gauges.live_bytes.store(store.record_bytes(), Ordering::Relaxed);
        self.gauges.held_bytes.store(store.held_bytes(), Ordering::Relaxed);
        let is_watched = !self.watchers.is_empty();
        if is_watched {
            self.watchers.note(&ops.iter().map(|op| &op.key));
        }
        drop(store);
        stage.stamps = stamps;
        drop(stage);
        if is_watched {
            self.watchers.wake();
        }
        compaction::if_due(self);
        Ok(())
    }

    /// Gives what was written to the operating system every now and then, and to the disk less often, until the client
    /// is closed.
    pub(crate) fn flush_now_and_then(&self) {
        let (stopping, changed) = &self.stopping;
        let mut synced = Stopwatch::start();
        let mut stop = lock(stopping);
        while !*stop {
            let waited = changed.wait_timeout(stop, self.options.flush_interval);
            stop = waited.unwrap_or_else(PoisonError::into_inner).0;
            drop(stop);
            if self.is_poisoned() {
                return;
            }
            if let Err(error) = self.write_out(&mut lock(&self.stage)) {
                tracing::warn!(%error, "writes stay in memory");
            } else if synced.elapsed() >= SYNC_INTERVAL {
                if let Err(error) = self.sync_now() {
                    tracing::error!(%error, "what was buffered could not be synced");
                }
                synced = Stopwatch::start();
            }
            stop = lock(stopping);
        }
    }
}

/// Writes as memory takes them.
fn stamped<'a>(
    ops: impl Iterator<Item = &'a Op> + Clone,
    stamps: &'a [Stamp],
) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>, Stamp)> + Clone {
    ops.zip(stamps).map(|(op, stamp)| (&*op.key, op.value.as_deref(), *stamp))
}

/// The bytes of a frame with these operations.
fn needed(ops: &[Op]) -> u64 {
    let record = |op: &Op| RECORD_HEAD_BYTES + op.key.len() + op.value.as_deref().map_or(0, <[u8]>::len);
    frame_bytes(ops.iter().map(record).sum())
}

fn record<'a>(op: &'a Op, stamp: &Stamp) -> Record<'a> {
    Record {
        kind: if op.value.is_some() { RecordKind::Put } else { RecordKind::Remove },
        author: stamp.author.0,
        hlc: stamp.hlc,
        seq: stamp.seq,
        key: &op.key,
        value: op.value.as_deref().unwrap_or_default(),
    }
}

/// Lets nobody wait for a commit that has panicked.
struct Unwinding<'a>(&'a Core);

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison("a commit has panicked");
            let mut queue = lock(&self.0.queue);
            queue.gathering = false;
            let waiting = std::mem::take(&mut queue.waiting);
            drop(queue);
            let written = std::mem::take(&mut lock(&self.0.stage).group);
            drop((waiting, written));
        }
    }
}
