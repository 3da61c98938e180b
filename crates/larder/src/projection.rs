//! Projections: what turns the events of a log into read models, exactly once.

mod batch;
mod info;
mod kind;
mod overlay;
mod projector;
mod rebuild;
mod runner;
mod waiting;

use std::{sync::Arc, time::Duration};

pub use self::{
    batch::ProjectionBatch,
    info::{DeadLetter, FailurePolicy, ProjectionFailure, ProjectionInfo},
    kind::{ChangeProjection, SetCheckpoint},
    projector::Projector,
};
use crate::{
    backend::{Operation, ProjectionOperation},
    error::Result,
    event::Position,
    event_log::EventLog,
    limits::check_name,
    operation::{Call, Write},
    query::Query,
    query_db::QueryDb,
    store::Store,
};

/// How many events one commit takes at most, when nobody says.
const BATCH_EVENTS: usize = 500;

/// A named process that reads a log and writes what follows from it, with its checkpoint in the same commit: so each
/// event takes effect exactly once, wherever a crash falls. Cheap to clone.
///
/// ```
/// use larder::{Event, NewEvent, ProjectionBatch, Query, Store};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Store::memory();
/// let (log, totals) = (store.event_log("orders")?, store.query_db("Totals")?);
/// let projection = store.projection("totals")?;
/// let running = std::thread::spawn({
///     let (log, totals, projection) = (log.clone(), totals.clone(), projection.clone());
///     move || {
///         projection
///             .run(&log, Query::all(), move |event: &Event, batch: &mut ProjectionBatch| {
///                 batch.add(totals.increment("all", &event.event_type, 1));
///                 Ok(())
///             })
///             .wait()
///     }
/// });
/// let placed = log.append("order-1", 0, [NewEvent::new("Placed", &1)]).wait()?;
/// projection.wait_for(placed.last_position).wait()?; // read your writes
/// assert_eq!(totals.load_one("all").wait()?.unwrap().json, r#"{"Placed":1}"#);
/// store.close().wait()?;
/// running.join().expect("it did not panic")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Projection {
    store: Store,
    projection: Arc<str>,
    batch_events: usize,
    on_failure: FailurePolicy,
    owns: Vec<String>,
    allow_compacted: bool,
}

impl Projection {
    pub(crate) fn new(store: Store, name: &str) -> Result<Self> {
        check_name("projection", name)?;
        Ok(Self {
            store,
            projection: name.into(),
            batch_events: BATCH_EVENTS,
            on_failure: FailurePolicy::Stop,
            owns: Vec::new(),
            allow_compacted: false,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.projection
    }

    /// The most events of one commit while it catches up, at least 1. Default 500. The results are the same.
    #[must_use]
    pub fn batch_events(mut self, events: usize) -> Self {
        self.batch_events = events.max(1);
        self
    }

    /// What happens when the handler fails. Default [`FailurePolicy::Stop`].
    #[must_use]
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.on_failure = policy;
        self
    }

    /// Makes the projection rebuildable: it alone writes these QueryDbs, and writes nothing else.
    #[must_use]
    pub fn owns<'a>(mut self, query_dbs: impl IntoIterator<Item = &'a QueryDb>) -> Self {
        self.owns = query_dbs.into_iter().map(|query_db| query_db.name().to_owned()).collect();
        self
    }

    /// Lets it start, or be rebuilt, below compacted history: from what is left of it.
    #[must_use]
    pub fn allow_compacted(mut self, allow: bool) -> Self {
        self.allow_compacted = allow;
        self
    }

    /// Hands every matching event to the projector, from the checkpoint on, first the past, then live, until the store is
    /// closed: then it ends with `Ok`.
    ///
    /// What the projector adds to the batch commits together with the checkpoint. If a rebuild was
    /// [requested](Self::request_rebuild), it is done first.
    ///
    /// # Errors
    /// `Conflict` if another runner of this projection has moved the checkpoint: one of the two stops. `Projector` if the
    /// projector failed and the [policy](FailurePolicy) says to stop; the checkpoint is before the event, and
    /// [`info`](Self::info) tells the failure. `HistoryCompacted` if events above the checkpoint are no longer readable.
    /// `InvalidArgument` if it reads another log than before, or writes what it may not. Those of reads and commits.
    pub fn run(
        &self,
        log: &EventLog,
        query: impl Into<Query>,
        projector: impl Projector + 'static,
    ) -> Call<()> {
        runner::run(self.clone(), log.clone(), query.into(), projector)
    }

    /// Fills fresh copies of the QueryDbs that it [owns](Self::owns) from the log's beginning, and puts them in place of the
    /// old ones in one commit when they have caught up. Readers see the old ones until then, and never a half of it; one
    /// [`Replaced`](crate::ChangeKind::Replaced) change is announced. A runner of the projection may go on meanwhile. A
    /// rebuild that was interrupted starts over.
    ///
    /// # Errors
    /// As [`run`](Self::run), whatever the policy; `HistoryCompacted` if history was compacted and that is not
    /// [allowed](Self::allow_compacted).
    pub fn rebuild(
        &self,
        log: &EventLog,
        query: impl Into<Query>,
        projector: impl Projector + 'static,
    ) -> Call<()> {
        rebuild::rebuild(self.clone(), log.clone(), query.into(), projector)
    }

    /// Asks whoever runs the projection, in this process or another, to rebuild it, now or when it runs next.
    ///
    /// The request stands until a rebuild is finished, also across crashes; one that fails ends it, so that the projection
    /// can run again.
    ///
    /// # Errors
    /// `NotFound` if it has never run; `InvalidArgument` if it owns no QueryDb; those of any commit.
    pub fn request_rebuild(&self) -> Write<ChangeProjection> {
        self.change(|projection| ProjectionOperation::RequestRebuild { projection })
    }

    /// The position through which its events have taken effect; [`Position::START`] before the first.
    ///
    /// # Errors
    /// `Closed`, `Corrupted`, `Io`.
    pub fn checkpoint(&self) -> Call<Position> {
        let info = self.info();
        Call::new(async move { Ok(info.await?.map_or(Position::START, |info| info.checkpoint)) })
    }

    /// Moves the checkpoint, from wherever it is: for one's own loop, in the batch with what the event led to. A
    /// [running](Self::run) projection moves its own.
    ///
    /// # Errors
    /// Those of any commit.
    pub fn set_checkpoint(&self, position: Position) -> Write<SetCheckpoint> {
        let (projection, expected) = (self.projection.clone(), None);
        let operation = ProjectionOperation::SetCheckpoint { projection, expected, position };
        Write::new(self.store.clone(), Ok(Operation::Projection(operation)))
    }

    /// What is known of it; `None` if it has never run and has no checkpoint.
    ///
    /// # Errors
    /// `Closed`, `Corrupted`, `Io`.
    pub fn info(&self) -> Call<Option<ProjectionInfo>> {
        let (store, projection) = (self.store.clone(), self.projection.clone());
        Call::new(async move { store.backend().await?.projection_info(projection).await })
    }

    /// Waits until every event through this position has taken effect.
    ///
    /// If nothing runs the projection, that is never; see [`wait_for_at_most`](Self::wait_for_at_most).
    ///
    /// # Errors
    /// `Projector` if the projection has stopped with a failure before that; `Closed`, `Corrupted`, `Io`.
    pub fn wait_for(&self, position: Position) -> Call<()> {
        let this = self.clone();
        Call::new(async move { waiting::wait_for(&this, position, None).await.map(drop) })
    }

    /// As [`wait_for`](Self::wait_for), but no longer than this; false if it was not reached by then.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub fn wait_for_at_most(&self, position: Position, patience: Duration) -> Call<bool> {
        let this = self.clone();
        Call::new(async move { waiting::wait_for(&this, position, Some(patience)).await })
    }

    /// The events that were passed over, by position, the first 1,000.
    ///
    /// # Errors
    /// `Closed`, `Corrupted`, `Io`.
    pub fn dead_letters(&self) -> Call<Vec<DeadLetter>> {
        let (store, projection) = (self.store.clone(), self.projection.clone());
        Call::new(async move { store.backend().await?.dead_letters(projection, Position::START).await })
    }

    /// Forgets a dead letter.
    ///
    /// # Errors
    /// Those of any commit.
    pub fn remove_dead_letter(&self, position: Position) -> Write<ChangeProjection> {
        self.change(|projection| ProjectionOperation::RemoveDeadLetter { projection, position })
    }

    /// Removes its record: its checkpoint, its failure, its dead letters. The QueryDbs stay, and are anybody's to write.
    ///
    /// # Errors
    /// Those of any commit.
    pub fn drop_projection(&self) -> Write<ChangeProjection> {
        self.change(|projection| ProjectionOperation::Drop { projection })
    }

    fn change(&self, operation: impl FnOnce(Arc<str>) -> ProjectionOperation) -> Write<ChangeProjection> {
        let operation = operation(self.projection.clone());
        Write::new(self.store.clone(), Ok(Operation::Projection(operation)))
    }
}
