//! The bounded queue in front of the writer: callers enqueue batches, the writer takes all that wait.

use std::{
    collections::VecDeque,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures_channel::oneshot;

use crate::{
    backend::{CommitReply, CommitRequest},
    error::Result,
};

/// The most batches that wait; more callers than that wait to enqueue.
const CAPACITY: usize = 8_192;
/// The most batches of one group: bounds how long the first of them waits.
const GROUP: usize = 1_024;

/// A batch, and where its answer goes.
#[derive(Debug)]
pub(super) struct Job {
    pub request: CommitRequest,
    pub answer: oneshot::Sender<Result<CommitReply>>,
}

/// What the writer's thread is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Commit,
    Chores,
    Stop,
}

#[derive(Debug, Default)]
pub(super) struct WriteQueue {
    state: Mutex<State>,
    /// Rung for the writer's thread.
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Callers that wait for room.
    waiting: Vec<Waker>,
    /// Whether the writer's thread listens to the bell.
    asleep: bool,
    /// The writer's thread has nothing to gain from waking before this many jobs wait.
    wake_at: usize,
    chores: bool,
    stopped: bool,
}

impl WriteQueue {
    /// Enqueues a batch, when there is room. Gives the batch back once the queue has stopped.
    pub(super) fn poll_push(
        &self,
        job: &mut Option<Job>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Job>> {
        let mut state = self.lock();
        let taken = job.take().expect("polled again only while it waits for room");
        if state.stopped {
            return Poll::Ready(Err(taken));
        }
        if state.jobs.len() >= CAPACITY {
            *job = Some(taken);
            state.waiting.push(context.waker().clone());
            return Poll::Pending;
        }
        state.jobs.push_back(taken);
        let ring = state.asleep && state.jobs.len() >= state.wake_at;
        drop(state);
        if ring {
            self.bell.notify_one();
        }
        Poll::Ready(Ok(()))
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().jobs.is_empty()
    }

    /// Takes what waits, up to a group.
    pub(super) fn take(&self, group: &mut Vec<Job>) {
        let mut state = self.lock();
        let count = state.jobs.len().min(GROUP);
        group.extend(state.jobs.drain(..count));
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Tells the writer's thread that there is housekeeping to do when nobody waits.
    pub(super) fn ask_for_chores(&self) {
        self.lock().chores = true;
        self.bell.notify_one();
    }

    /// Waits for work. With callers known to be coming back, it lingers until that many wait.
    pub(super) fn wait(&self, linger: Linger) -> Next {
        let mut state = self.lock();
        if !state.jobs.is_empty() {
            state = self.linger(state, linger);
        }
        loop {
            if !state.jobs.is_empty() {
                return Next::Commit;
            }
            if state.stopped {
                return Next::Stop;
            }
            if mem::take(&mut state.chores) {
                return Next::Chores;
            }
            (state.asleep, state.wake_at) = (true, 1);
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep = false;
            if !state.jobs.is_empty() {
                state = self.linger(state, linger);
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a thread's own patience is not the store's time")]
    fn linger<'a>(&'a self, mut state: MutexGuard<'a, State>, linger: Linger) -> MutexGuard<'a, State> {
        let start = Instant::now();
        while state.jobs.len() < linger.callers && !state.stopped {
            let Some(left) = linger.patience.checked_sub(start.elapsed()) else { break };
            (state.asleep, state.wake_at) = (true, linger.callers);
            let timed = self.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = timed.0;
            state.asleep = false;
            if timed.1.timed_out() {
                break;
            }
        }
        state
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Ends the queue: what waits is still served, nothing new is taken.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        self.bell.notify_all();
        waiting.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the writer's thread waits for a group to fill.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Linger {
    callers: usize,
    patience: Duration,
}

impl Linger {
    /// After a group: its callers are expected back, and a fraction of its time may be spent on waiting for them.
    pub(super) fn after_group(callers: usize, took: Duration) -> Self {
        const MOST: Duration = Duration::from_micros(200);
        let patience = if callers > 1 { (took / 8).min(MOST) } else { Duration::ZERO };
        Self { callers, patience }
    }
}
