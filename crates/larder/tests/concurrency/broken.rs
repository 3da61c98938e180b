//! Backends with a fault each, to prove that the checker sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use larder::{
    Error, ErrorKind, Event, Expected, MatchingEvent, Result,
    backend::{
        AppendOperation, Backend, BoxFuture, CommitReply, CommitRequest, EventRead, EventSource, Operation,
        Outcome,
    },
    testing::Wrapper,
};

/// What a broken backend does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    IgnoresExpectations,
    IgnoresConditions,
    /// Guards are checked, but others may write before the append does.
    ChecksThenWrites,
    ForgetsIds,
    /// Answers without writing, now and then.
    LosesAppends,
    /// Writes and answers that it did not, now and then.
    RefusesAfterWriting,
    /// Commits the events of an append one by one.
    SplitsAppends,
    /// Refuses what nothing speaks against, now and then.
    InventsConflicts,
    /// Fails with an error of the disk, now and then.
    IsBusy,
}

/// A backend over a sound one.
#[derive(Debug)]
pub(crate) struct Broken {
    inner: Arc<dyn Backend>,
    fault: Fault,
    commits: AtomicU64,
}

impl Broken {
    pub(crate) fn new(inner: Arc<dyn Backend>, fault: Fault) -> Self {
        Self { inner, fault, commits: AtomicU64::new(0) }
    }

    /// Whether the fault shows this time.
    fn now(&self) -> bool {
        self.commits.fetch_add(1, Ordering::Relaxed) % 20 == 19
    }

    async fn faulty(&self, mut request: CommitRequest) -> Result<CommitReply> {
        match self.fault {
            Fault::IgnoresExpectations => each_append(&mut request, |append| append.expected = Expected::Any),
            Fault::IgnoresConditions => each_append(&mut request, |append| append.condition = None),
            Fault::ForgetsIds => each_append(&mut request, |append| {
                append.events.iter_mut().for_each(|event| event.id = None);
            }),
            Fault::ChecksThenWrites => {
                self.check(&request).await?;
                thread::sleep(Duration::from_micros(300));
                each_append(&mut request, |append| {
                    append.expected = Expected::Any;
                    append.condition = None;
                });
            }
            Fault::SplitsAppends => return self.split(request).await,
            Fault::LosesAppends if self.now() => return Ok(self.pretend(&request).await),
            Fault::RefusesAfterWriting if self.now() => {
                self.inner.commit(request).await?;
                return Err(Error::new(ErrorKind::ConditionFailed { matching: Vec::new() }).at_index(0));
            }
            Fault::InventsConflicts if self.now() => {
                return Err(Error::new(ErrorKind::Conflict { expected: 3, actual: 3 }).at_index(0));
            }
            Fault::IsBusy if self.now() => return Err(Error::new(ErrorKind::Io).at_index(0)),
            _ => {}
        }
        self.inner.commit(request).await
    }

    /// Checks the guards of every append against what is committed by now.
    async fn check(&self, request: &CommitRequest) -> Result<()> {
        for (index, operation) in request.operations.iter().enumerate() {
            let Operation::Append(append) = operation else { continue };
            self.check_one(append).await.map_err(|error| error.at_index(index))?;
        }
        Ok(())
    }

    async fn check_one(&self, append: &AppendOperation) -> Result<()> {
        if let (Some(stream), Expected::Exact(expected)) = (&append.stream, append.expected) {
            let info = self.inner.stream_info(append.log.clone(), stream.clone()).await?;
            let actual = info.map_or(0, |info| info.head);
            if actual != expected {
                return Err(Error::new(ErrorKind::Conflict { expected, actual }));
            }
        }
        let Some(condition) = &append.condition else { return Ok(()) };
        let read = EventRead {
            log: append.log.clone(),
            source: EventSource::Query(condition.fail_if_events_match.clone()),
            after: Some(condition.after),
            limit: Some(10),
            max_bytes: None,
            descending: false,
        };
        let told = |event: Event| {
            let Event { position, event_type, tags, .. } = event;
            MatchingEvent::new(position, event_type, tags)
        };
        let matching: Vec<_> = self.inner.read_events(read).await?.into_iter().map(told).collect();
        if matching.is_empty() { Ok(()) } else { Err(Error::new(ErrorKind::ConditionFailed { matching })) }
    }

    /// Guards the first event of each append, and lets anybody write before the next one.
    async fn split(&self, request: CommitRequest) -> Result<CommitReply> {
        if request.operations.len() > 1 {
            return self.inner.commit(request).await;
        }
        let mut replies: Vec<CommitReply> = Vec::new();
        for operation in request.operations {
            let Operation::Append(append) = operation else { continue };
            for (n, event) in append.events.iter().enumerate() {
                let mut part = append.clone();
                part.events = vec![event.clone()];
                if n > 0 {
                    (part.expected, part.condition) = (Expected::Any, None);
                    thread::sleep(Duration::from_micros(100));
                }
                let operations = vec![Operation::Append(part)];
                let part = CommitRequest { id: None, operations, on_callers_thread: false };
                replies.push(self.inner.commit(part).await?);
            }
        }
        Ok(replies.swap_remove(0))
    }

    /// An answer as if it had been written.
    async fn pretend(&self, request: &CommitRequest) -> CommitReply {
        let mut outcomes = Vec::new();
        for operation in &request.operations {
            let Operation::Append(append) = operation else { continue };
            let head = self.inner.log_info(append.log.clone()).await.ok().flatten();
            let next = head.map_or(0, |info| info.head.get()) + 1;
            let count = append.events.len() as u64;
            let appended = larder::Appended::new(1, larder::Position::new(next), count);
            outcomes.push(Outcome::Appended(appended));
        }
        CommitReply { outcomes }
    }
}

fn each_append(request: &mut CommitRequest, change: impl Fn(&mut AppendOperation)) {
    for operation in &mut request.operations {
        if let Operation::Append(append) = operation {
            change(append);
        }
    }
}

impl Wrapper for Broken {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        Box::pin(self.faulty(request))
    }
}
