//! Deliberately broken engines, to prove that the harness finds faults.

use larder::{
    Config, Event, Expected, Page, Position, Result,
    backend::{
        Backend, BoxFuture, CommitReply, CommitRequest, EventRead, Operation, SnapshotOperation,
        SnapshotRead, StoredSnapshot, container_digest, memory::MemoryBackend,
    },
    testing::Wrapper,
};

/// What an engine does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Appends whatever the condition says.
    IgnoresConditions,
    /// Counts the event at `after` too.
    IncludesAfter,
    /// Appends wherever the stream is.
    IgnoresHeads,
    /// Commits each operation of a batch by itself.
    CommitsInParts,
    /// Does not recognise a repeated batch.
    IgnoresBatchIds,
    /// Lets conditions forget what is compacted.
    LosesTraces,
    /// Says that a partial page answers for the whole log.
    OverstatesThrough,
    /// Reads one event more than it should.
    IgnoresLimits,
    /// Reads forwards only.
    IgnoresDirection,
    /// Imports events without the index of their ids.
    RestoresWithoutIds,
    /// Keeps one snapshot more than it should.
    PrunesTooLittle,
    /// Finds the snapshot at the place that it should be before.
    FindsThePlaceItself,
    /// Does not look at schemas.
    IgnoresSchemas,
    /// Replaces a snapshot that is not the expected one.
    ReplacesWhatever,
}

impl Fault {
    pub(crate) const ALL: [Self; 14] = [
        Self::IgnoresConditions,
        Self::IncludesAfter,
        Self::IgnoresHeads,
        Self::CommitsInParts,
        Self::IgnoresBatchIds,
        Self::LosesTraces,
        Self::OverstatesThrough,
        Self::IgnoresLimits,
        Self::IgnoresDirection,
        Self::RestoresWithoutIds,
        Self::PrunesTooLittle,
        Self::FindsThePlaceItself,
        Self::IgnoresSchemas,
        Self::ReplacesWhatever,
    ];
}

/// The in-memory backend with a fault.
#[derive(Debug)]
pub(crate) struct Mutant {
    inner: MemoryBackend,
    fault: Fault,
}

impl Mutant {
    pub(crate) fn new(config: &Config, fault: Fault) -> Self {
        Self { inner: MemoryBackend::new(config), fault }
    }

    async fn commit_broken(&self, mut request: CommitRequest) -> Result<CommitReply> {
        for operation in &mut request.operations {
            self.break_operation(operation);
            self.break_replacement(operation).await?;
        }
        match self.fault {
            Fault::IgnoresBatchIds => request.id = None,
            Fault::CommitsInParts => return self.commit_in_parts(request).await,
            Fault::LosesTraces => {
                let count = request.operations.len();
                let forgets = request.operations.iter().filter_map(|operation| match operation {
                    Operation::Compact { log, .. } => {
                        Some(Operation::Forget { log: log.clone(), through: Position::new(u64::MAX) })
                    }
                    _ => None,
                });
                let forgets: Vec<Operation> = forgets.collect();
                request.operations.extend(forgets);
                let mut reply = self.inner.commit(request).await?;
                reply.outcomes.truncate(count);
                return Ok(reply);
            }
            _ => {}
        }
        self.inner.commit(request).await
    }

    fn break_operation(&self, operation: &mut Operation) {
        let after = |after: Position| Position::new(after.get().saturating_sub(1));
        match (operation, self.fault) {
            (Operation::Append(append), Fault::IgnoresConditions) => append.condition = None,
            (Operation::Append(append), Fault::IncludesAfter) => {
                if let Some(condition) = &mut append.condition {
                    condition.after = after(condition.after);
                }
            }
            (Operation::Snapshot(SnapshotOperation::Save { keep, .. }), Fault::PrunesTooLittle) => {
                *keep = if *keep == 0 { 0 } else { keep.saturating_add(1) };
            }
            (Operation::Append(append), Fault::IgnoresHeads) => append.expected = Expected::Any,
            (Operation::Restore { rows, .. }, Fault::RestoresWithoutIds) => {
                rows.retain(|row| !matches!(row, larder::backend::HistoryRow::AppendId(_)));
            }
            _ => {}
        }
    }

    async fn break_replacement(&self, operation: &mut Operation) -> Result<()> {
        if let (
            Operation::Snapshot(SnapshotOperation::Replace { place, digest, .. }),
            Fault::ReplacesWhatever,
        ) = (operation, self.fault)
        {
            let (log, subject, before) = (place.log.clone(), place.subject.clone(), Some(place.at + 1));
            let request = SnapshotRead { log, subject, before, schema: None };
            if let Some(found) = self.inner.read_snapshot(request).await? {
                *digest = container_digest(&found.data.container);
            }
        }
        Ok(())
    }

    async fn commit_in_parts(&self, request: CommitRequest) -> Result<CommitReply> {
        let mut outcomes = Vec::new();
        for (index, operation) in request.operations.into_iter().enumerate() {
            let part = CommitRequest { id: None, operations: vec![operation], on_callers_thread: true };
            let reply = self.inner.commit(part).await.map_err(|error| error.at_index(index))?;
            outcomes.extend(reply.outcomes);
        }
        Ok(CommitReply { outcomes })
    }

    async fn read_broken(&self, mut request: EventRead) -> Result<Page<Event>> {
        match self.fault {
            Fault::IgnoresLimits => request.limit = request.limit.map(|limit| limit + 1),
            Fault::IgnoresDirection => request.descending = false,
            _ => {}
        }
        let log = request.log.clone();
        let mut page = self.inner.read_events(request).await?;
        if self.fault == Fault::OverstatesThrough && page.next.is_some() {
            page.through = self.inner.log_info(log).await?.map_or(Position::START, |info| info.head);
        }
        Ok(page)
    }
}

impl Wrapper for Mutant {
    fn inner(&self) -> &dyn Backend {
        &self.inner
    }

    fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        Box::pin(self.commit_broken(request))
    }

    fn read_snapshot(&self, mut request: SnapshotRead) -> BoxFuture<'_, Result<Option<StoredSnapshot>>> {
        match self.fault {
            Fault::FindsThePlaceItself => request.before = request.before.map(|before| before + 1),
            Fault::IgnoresSchemas => request.schema = None,
            _ => {}
        }
        self.inner.read_snapshot(request)
    }

    fn read_events(&self, request: EventRead) -> BoxFuture<'_, Result<Page<Event>>> {
        Box::pin(self.read_broken(request))
    }
}
