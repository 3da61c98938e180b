//! Running a projection: pages of events, each committed with the checkpoint.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use super::{DeadLetter, FailurePolicy, Projection, ProjectionBatch, ProjectionFailure, Projector, rebuild};
use crate::{
    backend::{Backend, CommitRequest, EventRead, EventSource, Operation, ProjectionOperation},
    bus::Listener,
    clock::micros_since_epoch,
    error::{BoxError, Error, ErrorKind, Result},
    event::{Event, Position},
    event_log::EventLog,
    operation::Call,
    page::Page,
    query::Query,
};

/// A page holds no more than this, in bytes of payload and metadata.
const PAGE_BYTES: usize = 4 << 20;
/// The longest wait between two attempts.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// A checkpoint that only passes over other events is written once it lags so far behind.
const LAG: u64 = 10_000;

pub(super) fn run(
    projection: Projection,
    log: EventLog,
    query: Query,
    projector: impl Projector + 'static,
) -> Call<()> {
    Call::new(async move {
        let ended = follow(&projection, &log, &query, projector).await;
        match ended {
            Err(error) if *error.kind() == ErrorKind::Closed => Ok(()),
            ended => ended.map_err(|error| error.during("project").with("projection", projection.name())),
        }
    })
}

async fn follow(
    projection: &Projection,
    log: &EventLog,
    query: &Query,
    mut projector: impl Projector,
) -> Result<()> {
    query.check()?;
    register(projection, log, query).await?;
    let backend = projection.store.backend().await?;
    let mut listeners = [log.name().to_owned(), channel(&projection.projection)]
        .map(|channel| backend.bus().listen(&channel));
    let mut runner = Runner::new(projection, log, query, Target::Live).await?;
    loop {
        listeners.iter_mut().for_each(Listener::observe);
        let info = projection.info().await?;
        if info.is_some_and(|info| info.rebuild_requested) {
            let rebuilt = rebuild::rebuild_with(projection, log, query, &mut projector).await;
            end_request(projection, rebuilt).await?;
            runner = Runner::new(projection, log, query, Target::Live).await?;
        }
        match runner.catch_up(&mut projector).await {
            Ok(()) => changed(&mut listeners).await,
            // What it has loaded is of the read model before a rebuild that somebody else has finished.
            Err(error) if error.is_conflict() && runner.is_rebuilt().await? => {
                runner = Runner::new(projection, log, query, Target::Live).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Ends a request for a rebuild that has failed for a reason of its own: every later run would fail as well.
async fn end_request(projection: &Projection, rebuilt: Result<()>) -> Result<()> {
    if let Err(error) = &rebuilt
        && !is_of_the_store(error.kind())
        && !error.is_conflict()
    {
        let position = match *error.kind() {
            ErrorKind::Projector { position } => position,
            ErrorKind::HistoryCompacted { through } => through,
            _ => projection.checkpoint().await?,
        };
        let failure = ProjectionFailure::new(position, told(error), 1);
        let name = projection.projection.clone();
        let operation = ProjectionOperation::RecordFailure { projection: name, failure };
        let backend = projection.store.backend().await?;
        commit(&*backend, vec![Operation::Projection(operation)]).await?;
    }
    rebuilt
}

/// Records what the projection reads and owns.
pub(super) async fn register(projection: &Projection, log: &EventLog, query: &Query) -> Result<()> {
    let operation = ProjectionOperation::Register {
        projection: projection.projection.clone(),
        log: log.name_arc(),
        query: query.clone(),
        owns: projection.owns.clone(),
    };
    let backend = projection.store.backend().await?;
    commit(&*backend, vec![Operation::Projection(operation)]).await
}

/// The bus channel of a projection.
pub(super) fn channel(projection: &str) -> String {
    format!("projection/{projection}")
}

/// Waits until one of the channels has announced something since it was observed.
pub(super) async fn changed(listeners: &mut [Listener]) {
    poll_fn(|context| {
        let ready = listeners.iter_mut().any(|listener| listener.poll_changed(context).is_ready());
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

pub(super) async fn commit(backend: &dyn Backend, operations: Vec<Operation>) -> Result<()> {
    let request = CommitRequest { id: None, operations, on_callers_thread: false };
    backend.commit(request).await.map(drop)
}

/// What an error says, with what the projector said.
fn told(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Whether a commit was refused because of a write that was added, and not because of the checkpoint, which comes first.
fn is_of_a_write(error: &Error) -> bool {
    error.index().is_some_and(|index| index > 0) && !is_of_the_store(error.kind())
}

/// Whether it is the store that fails, and no event is to blame: no policy passes over that.
fn is_of_the_store(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Io
            | ErrorKind::Full
            | ErrorKind::Locked
            | ErrorKind::ReadOnly
            | ErrorKind::Closed
            | ErrorKind::Corrupted
            | ErrorKind::CommitUnknown
            | ErrorKind::Poisoned
    )
}

/// What is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The projection's QueryDbs.
    Live,
    /// Their copies, by a rebuild.
    Copies,
}

/// Whether there was more than a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    More,
    CaughtUp,
}

/// A projection on its way through a log.
pub(super) struct Runner<'a> {
    projection: &'a Projection,
    backend: Arc<dyn Backend>,
    request: EventRead,
    target: Target,
    batch: ProjectionBatch,
    /// Each event has a commit of its own.
    singly: bool,
    /// As it is stored.
    pub(super) checkpoint: Position,
    /// How many rebuilds were finished when it began.
    rebuilds: u64,
    /// How far events were looked at: beyond the checkpoint there were none that match.
    pub(super) seen: Position,
}

impl<'a> Runner<'a> {
    pub(super) async fn new(
        projection: &'a Projection,
        log: &EventLog,
        query: &Query,
        target: Target,
    ) -> Result<Self> {
        let backend = projection.store.backend().await?;
        let info = projection.info().await?;
        let checkpoint = match target {
            Target::Live => info.as_ref().map_or(Position::START, |info| info.checkpoint),
            Target::Copies => Position::START,
        };
        let request = EventRead {
            log: log.name_arc(),
            source: EventSource::Query(query.clone()),
            after: Some(checkpoint),
            limit: Some(projection.batch_events),
            max_bytes: Some(PAGE_BYTES),
            descending: false,
        };
        let batch = ProjectionBatch::new(
            projection.store.clone(),
            projection.owns.clone().into(),
            target == Target::Copies,
        );
        let rebuilds = info.map_or(0, |info| info.rebuilds);
        let (singly, seen) = (false, checkpoint);
        let runner = Self { projection, backend, request, target, batch, singly, checkpoint, rebuilds, seen };
        runner.check_history().await?;
        Ok(runner)
    }

    /// Fails if history beyond what was seen is gone. After a page was read, that means that events may be missing in it.
    async fn check_history(&self) -> Result<()> {
        let log = self.backend.log_info(self.request.log.clone()).await?;
        let through = log.map_or(Position::START, |log| log.compacted_through);
        if through <= self.seen || self.projection.allow_compacted {
            return Ok(());
        }
        Err(Error::new(ErrorKind::HistoryCompacted { through }).with_hint(
            "events above the checkpoint are gone: `allow_compacted` goes on with what is left of them",
        ))
    }

    /// Fails if the log does not go so far.
    pub(super) async fn check_reachable(&self, checkpoint: Position) -> Result<()> {
        let log = self.backend.log_info(self.request.log.clone()).await?;
        if log.is_some_and(|log| log.head >= checkpoint) {
            return Ok(());
        }
        let reason = format!("it is at {checkpoint}, and its log does not go so far");
        Err(Error::invalid("checkpoint", reason))
    }

    /// Takes page after page, until there is no more.
    async fn catch_up(&mut self, projector: &mut impl Projector) -> Result<()> {
        while self.turn(projector).await? == Turn::More {}
        Ok(())
    }

    /// Whether a rebuild was finished since it began.
    async fn is_rebuilt(&self) -> Result<bool> {
        let info = self.projection.info().await?;
        Ok(info.is_some_and(|info| info.rebuilds != self.rebuilds))
    }

    /// Takes a page of events.
    pub(super) async fn turn(&mut self, projector: &mut impl Projector) -> Result<Turn> {
        self.request.after = Some(self.seen);
        let page: Page<Event> = self.backend.read_events(self.request.clone()).await?;
        self.check_history().await?;
        let end = page.next.unwrap_or(page.through).max(self.seen);
        let is_last = page.next.is_none();
        let lags = end.get() - self.checkpoint.get() >= LAG;
        if !page.items.is_empty() || lags {
            match self.take_together(&page.items, end, projector).await {
                Err(error) if is_of_a_write(&error) => self.take_singly(&page.items, end, projector).await?,
                ended => ended?,
            }
        }
        self.seen = end;
        Ok(if is_last { Turn::CaughtUp } else { Turn::More })
    }

    /// Takes events with one commit, or with more if some are passed over.
    async fn take_together(
        &mut self,
        events: &[Event],
        end: Position,
        projector: &mut impl Projector,
    ) -> Result<()> {
        self.take_all(events, projector).await?;
        self.commit(end).await
    }

    async fn take_all(&mut self, events: &[Event], projector: &mut impl Projector) -> Result<()> {
        for event in events {
            self.take(event, projector).await?;
            self.seen = event.position;
        }
        Ok(())
    }

    /// Takes events again, each with a commit of its own: one of them has led to a write that is refused.
    async fn take_singly(
        &mut self,
        events: &[Event],
        end: Position,
        projector: &mut impl Projector,
    ) -> Result<()> {
        self.seen = self.checkpoint;
        self.singly = true;
        let checkpoint = self.checkpoint;
        let left: Vec<Event> = events.iter().filter(|event| event.position > checkpoint).cloned().collect();
        let ended = self.take_all(&left, projector).await;
        self.singly = false;
        ended?;
        if end > self.checkpoint { self.commit(end).await } else { Ok(()) }
    }

    /// Hands an event over; if each has a commit of its own, commits what it led to.
    async fn attempt(
        &mut self,
        event: &Event,
        projector: &mut impl Projector,
    ) -> Result<Result<(), BoxError>> {
        let ended = projector.project(event, &mut self.batch).await;
        let refused = self.batch.take_refused();
        let ended = ended.and_then(|()| refused.map_or(Ok(()), |error| Err(error.into())));
        if ended.is_err() || !self.singly {
            return Ok(ended);
        }
        match self.commit(event.position).await {
            Err(error) if is_of_a_write(&error) => Ok(Err(error.into())),
            Err(error) => Err(error),
            Ok(()) => Ok(Ok(())),
        }
    }

    /// Hands an event over, as often as the policy says.
    async fn take(&mut self, event: &Event, projector: &mut impl Projector) -> Result<()> {
        let mut attempts = 0;
        loop {
            let mark = self.batch.mark();
            let Err(error) = self.attempt(event, projector).await? else { return Ok(()) };
            self.batch.return_to(mark);
            let error = match error.downcast::<Error>() {
                Ok(own) if is_of_the_store(own.kind()) => return Err(*own),
                Ok(own) => own,
                Err(other) => other,
            };
            attempts += 1;
            // A store that is being closed is no failure of the event.
            if self.projection.store.is_closed() {
                return Err(Error::new(ErrorKind::Closed));
            }
            match self.projection.on_failure {
                FailurePolicy::Retry { attempts: most, backoff } if attempts < most => {
                    let wait =
                        backoff.saturating_mul(2_u32.saturating_pow(attempts - 1)).min(LONGEST_BACKOFF);
                    self.projection.store.timer().await?.sleep(wait).await;
                }
                FailurePolicy::Skip if self.target == Target::Live => return self.skip(event, &error).await,
                _ => return Err(self.stop(event, error, attempts).await),
            }
        }
    }

    /// Keeps the event as a dead letter, in the commit of what came before.
    async fn skip(&mut self, event: &Event, error: &BoxError) -> Result<()> {
        let failed_at = micros_since_epoch(self.backend.clock().now());
        let letter = DeadLetter::new(event.position, &event.event_type, error.to_string(), failed_at);
        let projection = self.projection.projection.clone();
        let kept = Operation::Projection(ProjectionOperation::AddDeadLetter { projection, letter });
        self.commit_with(event.position, Some(kept)).await
    }

    /// Commits what came before the event, and records why it goes no further.
    async fn stop(&mut self, event: &Event, error: BoxError, attempts: u32) -> Error {
        let position = event.position;
        let failed = Error::new(ErrorKind::Projector { position }).with("event", event.event_type.clone());
        let recorded = self.record(position, &error, attempts).await;
        match recorded {
            Ok(()) => failed.caused_by(error),
            Err(other) => other,
        }
    }

    async fn record(&mut self, position: Position, error: &BoxError, attempts: u32) -> Result<()> {
        if !self.batch.is_empty() || self.seen > self.checkpoint {
            self.commit(self.seen).await?;
        }
        if self.target == Target::Copies {
            // The projection itself has not stopped.
            return Ok(());
        }
        let failure = ProjectionFailure::new(position, error.to_string(), attempts);
        let projection = self.projection.projection.clone();
        let operation = ProjectionOperation::RecordFailure { projection, failure };
        commit(&*self.backend, vec![Operation::Projection(operation)]).await
    }

    /// Commits what was added, with the checkpoint.
    pub(super) async fn commit(&mut self, position: Position) -> Result<()> {
        self.commit_with(position, None).await
    }

    async fn commit_with(&mut self, position: Position, more: Option<Operation>) -> Result<()> {
        let (projection, expected) = (self.projection.projection.clone(), self.checkpoint);
        // First: the writes of the QueryDbs that it owns are its own, and a second runner stops before it does harm.
        let checkpoint = match self.target {
            Target::Live => {
                let expected = Some((expected, self.rebuilds));
                ProjectionOperation::SetCheckpoint { projection, expected, position }
            }
            Target::Copies => ProjectionOperation::SetRebuildCheckpoint { projection, expected, position },
        };
        let mut operations = vec![Operation::Projection(checkpoint)];
        operations.append(&mut self.batch.take());
        operations.extend(more);
        commit(&*self.backend, operations).await?;
        self.checkpoint = position;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_write_is_an_events_fault() {
        let refused = Error::new(ErrorKind::AlreadyExists).at_index(1);
        assert!(is_of_a_write(&refused));
        let first = Error::new(ErrorKind::Conflict { expected: 1, actual: 2 }).at_index(0);
        assert!(!is_of_a_write(&first), "the checkpoint comes first");
        for kind in [ErrorKind::Io, ErrorKind::Full, ErrorKind::Corrupted, ErrorKind::CommitUnknown] {
            assert!(!is_of_a_write(&Error::new(kind).at_index(1)));
        }
    }
}
