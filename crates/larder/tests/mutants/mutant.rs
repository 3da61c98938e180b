//! A backend over a sound one, with a fault.

use std::{sync::Arc, time::Duration};

use larder::{
    Change, DeadLetter, Error, ErrorKind, Event, Expected, Item, ItemQuery, Page, Payload, Position, Query,
    QueryItem, Result, SnapshotInfo, StreamInfo, Subject, TaskBucketInfo,
    backend::{
        Backend, BoxFuture, ChangesRead, CommitReply, CommitRequest, EventData, EventRead, EventSource,
        HistoryPage, HistoryRead, HistoryRow, ItemsRead, Operation, Progress, SnapshotOperation,
        SnapshotRead, SnapshotsRead, StoredSnapshot, StreamsRead, TaskBucketOperation, TaskBucketRow,
        TriggerRow, TriggerState, TriggersRead, VerifyReport, container_digest,
    },
    testing::Wrapper,
};

use crate::{
    fault::Fault,
    query_db::{Faulty, ItemFault},
};

#[derive(Debug)]
pub(crate) struct Mutant {
    inner: Arc<dyn Backend>,
    fault: Fault,
    /// What it does wrong with items.
    items: Option<Faulty>,
}

impl Mutant {
    pub(crate) fn new(inner: Arc<dyn Backend>, fault: Fault) -> Self {
        Self { inner, fault, items: None }
    }

    pub(crate) fn with_items(inner: Arc<dyn Backend>, fault: ItemFault) -> Self {
        Self { inner, fault: Fault::None, items: Some(Faulty::new(fault)) }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    async fn faulty_commit(&self, mut request: CommitRequest) -> Result<CommitReply> {
        if self.has(Fault::ForgetsBatchIds) {
            request.id = None;
        }
        if let Some(items) = &self.items {
            request.operations.iter_mut().for_each(|operation| items.change(operation));
            let mut reply = self.inner.commit(request).await?;
            items.answer(&mut reply);
            return Ok(reply);
        }
        request.operations.iter_mut().try_for_each(|operation| self.change(operation))?;
        for operation in &mut request.operations {
            self.replace_whatever(operation).await?;
        }
        match self.fault {
            Fault::SplitsBatches => self.one_by_one(request).await,
            Fault::CompactsInParts => {
                for half in first_halves(&request) {
                    self.inner.commit(half).await?;
                    std::thread::sleep(Duration::from_micros(500));
                }
                self.inner.commit(request).await
            }
            Fault::CompactionForgets => {
                let hiding: Vec<_> = request.operations.iter().filter_map(forgetting).collect();
                let reply = self.inner.commit(request).await?;
                let request = CommitRequest { id: None, operations: hiding, on_callers_thread: false };
                self.inner.commit(request).await?;
                Ok(reply)
            }
            Fault::NamesTheFirst => self.inner.commit(request).await.map_err(|error| error.at_index(0)),
            Fault::TellsOneMatch => self.inner.commit(request).await.map_err(|error| match error.kind() {
                ErrorKind::ConditionFailed { matching } => {
                    Error::new(ErrorKind::ConditionFailed { matching: matching[..1].to_vec() })
                }
                _ => error,
            }),
            _ => self.inner.commit(request).await,
        }
    }

    async fn one_by_one(&self, request: CommitRequest) -> Result<CommitReply> {
        let mut outcomes = Vec::new();
        for (index, operation) in request.operations.into_iter().enumerate() {
            let request = CommitRequest { id: None, operations: vec![operation], on_callers_thread: false };
            let reply = self.inner.commit(request).await.map_err(|error| error.at_index(index))?;
            outcomes.extend(reply.outcomes);
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(CommitReply { outcomes })
    }

    async fn replace_whatever(&self, operation: &mut Operation) -> Result<()> {
        let Operation::Snapshot(SnapshotOperation::Replace { place, digest, .. }) = operation else {
            return Ok(());
        };
        if self.has(Fault::ReplacesWhatever) {
            let (log, subject, before) = (place.log.clone(), place.subject.clone(), Some(place.at + 1));
            let request = SnapshotRead { log, subject, before, schema: None };
            if let Some(found) = self.inner.read_snapshot(request).await? {
                *digest = container_digest(&found.data.container);
            }
        }
        Ok(())
    }

    fn change_snapshots(&self, operation: &mut SnapshotOperation) {
        match (self.fault, operation) {
            (Fault::PrunesNothing, SnapshotOperation::Save { keep, .. }) => *keep = 0,
            (Fault::MixesSubjects, SnapshotOperation::Save { snapshot, .. }) => {
                snapshot.subject = as_stream(&snapshot.subject);
            }
            (Fault::DeletesBelow, SnapshotOperation::Delete { through, .. }) => {
                *through = through.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn change(&self, operation: &mut Operation) -> Result<()> {
        // A guard that always holds, and an operation that changes nothing, answering as the real one.
        let harmless = |log: &Arc<str>| Operation::Forget { log: log.clone(), through: Position::START };
        match (self.fault, &mut *operation) {
            (Fault::IgnoresExpectations, Operation::Append(append)) => append.expected = Expected::Any,
            (Fault::IgnoresConditions, Operation::Append(append)) => append.condition = None,
            (Fault::ConditionsFromTheStart, Operation::Append(append)) => {
                append.condition.iter_mut().for_each(|condition| condition.after = Position::START);
            }
            (Fault::RefusesEmptyAppends, Operation::Append(append)) if append.events.is_empty() => {
                return Err(Error::invalid("events", "none"));
            }
            (_, Operation::Append(append)) => append.events.iter_mut().for_each(|event| self.spoil(event)),
            (Fault::IgnoresExpectations, Operation::RequireHead { log, .. })
            | (Fault::IgnoresConditions, Operation::RequireNoneMatch { log, .. })
            | (Fault::ForgetDoesNothing, Operation::Forget { log, .. })
            | (Fault::DropDoesNothing, Operation::DropLog { log })
            | (Fault::ForgetsToAudit, Operation::AuditConditions { log, .. })
            | (Fault::RestoresNothing, Operation::Restore { log, .. }) => *operation = harmless(log),
            (Fault::CompactionDoesNothing, Operation::Compact { through, .. })
            | (Fault::RaiseMarkDoesNothing, Operation::RaiseMark { through, .. }) => *through = 0,
            (_, Operation::TaskBucket(TaskBucketOperation::Restore { rows, .. })) => {
                rows.iter_mut().for_each(|row| self.spoil_row(row));
            }
            (_, Operation::Snapshot(operation)) => self.change_snapshots(operation),
            (Fault::TrimDoesNothing, Operation::Trim { through, .. }) => *through = Position::START,
            _ => {}
        }
        Ok(())
    }

    /// Changes a row of a bucket that is to be restored.
    fn spoil_row(&self, row: &mut TaskBucketRow) {
        match (self.fault, row) {
            (Fault::RestoresNoCounter, TaskBucketRow::End { counter }) => *counter = 1,
            (Fault::ForgetsAttempts, TaskBucketRow::Trigger(row)) => row.attempts = 0,
            (Fault::RevivesTheDead, TaskBucketRow::Trigger(row)) => row.state = TriggerState::Behind,
            _ => {}
        }
    }

    /// Changes an event that is to be appended.
    fn spoil(&self, event: &mut EventData) {
        match (self.fault, &mut event.payload) {
            (Fault::ForgetsIds, _) => event.id = None,
            (Fault::DropsMetadata, _) => event.metadata = None,
            (Fault::SortsTags, _) => event.tags.sort(),
            (Fault::ReserialisesJson, Payload::Json(json)) => {
                if let Ok(value) = serde_json::from_str::<serde_json::Value>(json) {
                    *json = value.to_string();
                }
            }
            (Fault::BytesBecomeJson, Payload::Bytes(bytes)) => {
                event.payload = Payload::Json(String::from_utf8_lossy(bytes).into_owned());
            }
            _ => {}
        }
    }

    async fn faulty_read(&self, mut request: EventRead) -> Result<Page<Event>> {
        match (self.fault, &mut request.source) {
            (Fault::IgnoresDescending, _) => request.descending = false,
            (Fault::IgnoresBytes, _) => request.max_bytes = None,
            (Fault::AfterIsInclusive, _) => {
                request.after = request.after.map(|after| Position::new(after.get().saturating_sub(1)));
            }
            (Fault::ReadsASilentPart, _) if request.limit.is_none() => request.limit = Some(10),
            (Fault::TagsAreAnyOf, EventSource::Query(query)) => *query = any_tag(query),
            _ => {}
        }
        let (log, descending) = (request.log.clone(), request.descending);
        let mut page = self.inner.read_events(request).await?;
        match self.fault {
            Fault::ThroughIsTheLastItem => {
                page.through = page.items.last().map_or(Position::START, |event| event.position);
            }
            Fault::ThroughIsTheHead if !descending => {
                page.through = self.inner.log_info(log).await?.map_or(Position::START, |info| info.head);
            }
            Fault::ReadsASilentPart => page.next = None,
            Fault::OtherClock => {
                page.items.iter_mut().for_each(|event| event.recorded_at += Duration::from_secs(1));
            }
            _ => {}
        }
        Ok(page)
    }

    async fn faulty_history(&self, request: HistoryRead) -> Result<HistoryPage> {
        let mut page = self.inner.read_history(request).await?;
        if self.has(Fault::HistoryWithoutTraces) {
            page.rows.retain(|row| !matches!(row, HistoryRow::Trace { .. }));
        }
        Ok(page)
    }
}

/// Compactions of the first half of what the request compacts.
fn first_halves(request: &CommitRequest) -> Vec<CommitRequest> {
    let half = |operation: &Operation| match operation {
        Operation::Compact { log, stream, through } => {
            let operation =
                Operation::Compact { log: log.clone(), stream: stream.clone(), through: through / 2 };
            Some(CommitRequest { id: None, operations: vec![operation], on_callers_thread: false })
        }
        _ => None,
    };
    request.operations.iter().filter_map(half).collect()
}

/// What makes conditions forget what this operation hides.
fn forgetting(operation: &Operation) -> Option<Operation> {
    match operation {
        Operation::Compact { log, .. } | Operation::Trim { log, .. } => {
            Some(Operation::Forget { log: log.clone(), through: Position::new(1 << 40) })
        }
        _ => None,
    }
}

/// The query with an item for each tag.
fn any_tag(query: &Query) -> Query {
    let Some(items) = query.items() else { return Query::all() };
    let mut all = Vec::new();
    for item in items {
        let types = || QueryItem::new().types(item.type_set().iter().cloned());
        if item.tag_set().is_empty() {
            all.push(types());
        }
        all.extend(item.tag_set().iter().map(|tag| types().tag(tag)));
    }
    all.into()
}

impl Wrapper for Mutant {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    fn read_snapshot(&self, mut request: SnapshotRead) -> BoxFuture<'_, Result<Option<StoredSnapshot>>> {
        match self.fault {
            Fault::BeforeIsInclusive => request.before = request.before.map(|at| at.saturating_add(1)),
            Fault::IgnoresSchemas => request.schema = None,
            Fault::MixesSubjects => request.subject = as_stream(&request.subject),
            _ => {}
        }
        self.inner.read_snapshot(request)
    }

    fn list_snapshots(&self, mut request: SnapshotsRead) -> BoxFuture<'_, Result<Page<SnapshotInfo>>> {
        request.descending ^= self.has(Fault::SnapshotsDescend);
        self.inner.list_snapshots(request)
    }

    fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        Box::pin(self.faulty_commit(request))
    }

    fn read_events(&self, request: EventRead) -> BoxFuture<'_, Result<Page<Event>>> {
        Box::pin(self.faulty_read(request))
    }

    fn read_streams(&self, mut request: StreamsRead) -> BoxFuture<'_, Result<Page<StreamInfo>>> {
        if self.has(Fault::StreamsDescend) {
            request.descending = !request.descending;
        }
        self.inner.read_streams(request)
    }

    fn stream_info(&self, log: Arc<str>, stream: String) -> BoxFuture<'_, Result<Option<StreamInfo>>> {
        Box::pin(async move {
            let mut info = self.inner.stream_info(log, stream).await?;
            if self.has(Fault::HeadGoesBack)
                && let Some(info) = &mut info
                && info.is_compacted_empty()
            {
                info.head = 0;
            }
            Ok(info)
        })
    }

    fn read_triggers(&self, request: TriggersRead) -> BoxFuture<'_, Result<Vec<TriggerRow>>> {
        Box::pin(async move {
            let mut rows = self.inner.read_triggers(request).await?;
            rows.retain(|row| !self.has(Fault::ReadsFirstTriggers) || row.state != TriggerState::Behind);
            Ok(rows)
        })
    }

    fn dead_letters(&self, projection: Arc<str>, after: Position) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        if self.has(Fault::ReadsFirstLetters) && after > Position::START {
            return Box::pin(async { Ok(Vec::new()) });
        }
        self.inner.dead_letters(projection, after)
    }

    fn task_buckets(&self) -> BoxFuture<'_, Result<Vec<TaskBucketInfo>>> {
        if self.has(Fault::HidesBuckets) {
            return Box::pin(async { Ok(Vec::new()) });
        }
        self.inner.task_buckets()
    }

    fn read_history(&self, request: HistoryRead) -> BoxFuture<'_, Result<HistoryPage>> {
        Box::pin(self.faulty_history(request))
    }

    fn read_items(&self, request: ItemsRead) -> BoxFuture<'_, Result<Page<Item>>> {
        match &self.items {
            Some(items) => Box::pin(items.read_items(&*self.inner, request)),
            None => self.inner.read_items(request),
        }
    }

    fn count_items(&self, query_db: Arc<str>, query: ItemQuery) -> BoxFuture<'_, Result<u64>> {
        match &self.items {
            Some(items) => Box::pin(async move { items.count(&*self.inner, query, &query_db).await }),
            None => self.inner.count_items(query_db, query),
        }
    }

    fn read_changes(&self, request: ChangesRead) -> BoxFuture<'_, Result<Page<Change>>> {
        match &self.items {
            Some(items) => Box::pin(items.read_changes(&*self.inner, request)),
            None => self.inner.read_changes(request),
        }
    }

    fn verify(&self, progress: Progress) -> BoxFuture<'_, Result<VerifyReport>> {
        if self.has(Fault::VerifiesNothing) {
            return Box::pin(async { Ok(VerifyReport::default()) });
        }
        self.inner.verify(progress)
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        if self.has(Fault::StaysOpen) {
            return Box::pin(async { Ok(()) });
        }
        self.inner.close()
    }
}

/// A subject as if it were a stream.
fn as_stream(subject: &Subject) -> Subject {
    Subject::stream(subject.name())
}
