//! What a mutant does wrong with items.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use larder::{
    Change, ChangeKind, Item, ItemQuery, KeyValue, Number, Page, QuerySource, Removal, Result, Saved, Sort,
    backend::{
        Backend, ChangesRead, CommitReply, ItemData, ItemSource, ItemsRead, Operation, Outcome,
        QueryDbOperation, QueryDbOutcome, SaveMode,
    },
};

/// One wrong thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemFault {
    /// Saves whatever is there.
    IgnoresModes,
    /// Checks whether there is an item, but not its version.
    IgnoresVersions,
    IgnoresTtl,
    /// Adds a second to each TTL.
    ExpiresLate,
    /// Purges one item more than it should.
    PurgesTooMuch,
    /// Deletes the first of the keys only.
    DeletesOne,
    /// Deletes the items of a partition, but the one without a sub key.
    DeletesPartOfAPartition,
    /// Counts downwards.
    SubtractsInstead,
    /// Adds to a field twice.
    CountsTwice,
    /// Writes an item's JSON anew.
    ReserialisesItems,
    /// Says of each save that it added an item.
    AlwaysAdded,
    SavesHalfABatch,
    DefinesWithoutIndexes,
    /// Keeps what was to be dropped.
    DropsNothing,
    DropsNoIndex,
    /// Does not look at required versions.
    RequiresNothing,
    IgnoresFilters,
    IgnoresSortConditions,
    /// Takes `<` for `<=`, and `>` for `>=`.
    IncludesBounds,
    /// Looks for index keys in small letters.
    AnyCase,
    ReadsForwards,
    /// Reads the item of the cursor again.
    RepeatsAtPageEdges,
    /// Loses the item after the cursor.
    LosesAtPageEdges,
    /// Says that a page is the last one.
    NoNextPage,
    IgnoresItemLimits,
    /// Sorts each page by its keys as text.
    SortsAsText,
    /// Returns all of an item, whatever the index projects.
    IgnoresProjections,
    CountsOneMore,
    LosesAChange,
    RepeatsAChange,
    TellsAddedAlways,
    TellsNoReason,
}

/// A fault, and what it needs to remember.
#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) fault: ItemFault,
    /// The first item after each page, by the cursor that leads there.
    edges: Mutex<BTreeMap<String, Item>>,
}

impl Faulty {
    pub(crate) fn new(fault: ItemFault) -> Self {
        Self { fault, edges: Mutex::default() }
    }

    /// Changes an operation before it runs.
    pub(crate) fn change(&self, operation: &mut Operation) {
        let Operation::QueryDb(operation) = operation else { return };
        match (self.fault, &mut *operation) {
            (ItemFault::SavesHalfABatch, QueryDbOperation::SaveAll { items, .. }) => {
                items.truncate(items.len().div_ceil(2));
            }
            (_, QueryDbOperation::Save { item, .. }) => self.spoil(item),
            (_, QueryDbOperation::SaveAll { items, .. }) => {
                items.iter_mut().for_each(|item| self.spoil(item));
            }
            (ItemFault::PurgesTooMuch, QueryDbOperation::PurgeExpired { limit, .. }) => {
                *limit = limit.saturating_add(1);
            }
            (ItemFault::DeletesOne, QueryDbOperation::Delete { keys, .. }) => keys.truncate(1),
            (
                ItemFault::DeletesPartOfAPartition,
                QueryDbOperation::DeletePartition { query_db, partition },
            ) => {
                let keys = vec![partition.as_str().into()];
                *operation = QueryDbOperation::Delete { query_db: query_db.clone(), keys };
            }
            (ItemFault::SubtractsInstead, QueryDbOperation::Increment { by, .. }) => {
                *by = Number::from(-by.as_f64());
            }
            (ItemFault::CountsTwice, QueryDbOperation::Increment { by, .. }) => {
                *by = by.checked_add(*by).unwrap_or(*by);
            }
            (ItemFault::DefinesWithoutIndexes, QueryDbOperation::Define { spec, .. }) => spec.indexes.clear(),
            (ItemFault::DropsNothing, QueryDbOperation::Drop { query_db })
            | (ItemFault::DropsNoIndex, QueryDbOperation::DropIndex { query_db, .. }) => {
                *operation = QueryDbOperation::DropIndex { query_db: query_db.clone(), index: "-".into() };
            }
            (ItemFault::RequiresNothing, QueryDbOperation::RequireVersion { query_db, .. }) => {
                *operation = QueryDbOperation::DropIndex { query_db: query_db.clone(), index: "-".into() };
            }
            _ => {}
        }
    }

    fn spoil(&self, item: &mut ItemData) {
        match self.fault {
            ItemFault::IgnoresModes => item.mode = SaveMode::Overwrite,
            ItemFault::IgnoresVersions => {
                item.mode = match item.mode {
                    SaveMode::IfVersion(Some(_)) => SaveMode::Overwrite,
                    mode => mode,
                };
            }
            ItemFault::IgnoresTtl => item.ttl = None,
            ItemFault::ExpiresLate => {
                item.ttl = item.ttl.map(|ttl| match ttl {
                    larder::Ttl::After(after) => after.saturating_add(Duration::from_secs(1)).into(),
                    larder::Ttl::At(at) => (at + Duration::from_secs(1)).into(),
                });
            }
            ItemFault::ReserialisesItems => {
                if let Ok(value) = serde_json::from_str::<serde_json::Value>(&item.json)
                    && value.is_object()
                {
                    item.json = value.to_string();
                }
            }
            _ => {}
        }
    }

    /// Changes what a commit answers.
    pub(crate) fn answer(&self, reply: &mut CommitReply) {
        for outcome in &mut reply.outcomes {
            let Outcome::QueryDb(outcome) = outcome else { continue };
            match (self.fault, outcome) {
                (ItemFault::AlwaysAdded, QueryDbOutcome::Saved(saved)) => {
                    *saved = Saved::new(saved.key.clone(), saved.version, true);
                }
                (ItemFault::SavesHalfABatch, QueryDbOutcome::AllSaved(saved)) => {
                    if let Some(last) = saved.last().cloned() {
                        saved.push(last);
                    }
                }
                _ => {}
            }
        }
    }

    pub(crate) async fn read_items(&self, inner: &dyn Backend, mut request: ItemsRead) -> Result<Page<Item>> {
        let read = request.clone();
        if let ItemSource::Query(query) = &mut request.source {
            self.change_query(query);
        }
        match self.fault {
            ItemFault::ReadsForwards => request.descending = false,
            ItemFault::IgnoresItemLimits => request.limit = None,
            _ => {}
        }
        let edge = request.after.as_ref().map(ToString::to_string);
        let mut page = inner.read_items(request).await?;
        // Cursors belong to what was asked for.
        if let (Some(_), Some(last)) = (&page.next, page.items.last()) {
            let sort = page.next.as_ref().map_or_else(Vec::new, |next| next.sort().to_vec());
            let index = match &read.source {
                ItemSource::Query(ItemQuery { source: QuerySource::Index { name, .. }, .. }) => {
                    let info = inner.query_db_info(read.query_db.clone()).await?;
                    info.and_then(|info| info.spec.find_index(name).cloned())
                }
                _ => None,
            };
            page.next = Some(read.cursor(index.as_ref(), sort, last.key.clone()));
        }
        match self.fault {
            ItemFault::NoNextPage => page.next = None,
            ItemFault::SortsAsText => page.items.sort_by_key(|item| item.key.to_string()),
            ItemFault::LosesAtPageEdges if edge.is_some() && !page.items.is_empty() => {
                page.items.remove(0);
            }
            ItemFault::RepeatsAtPageEdges => {
                let mut edges = self.edges.lock().expect("nobody panics with it");
                if let (Some(next), Some(last)) = (&page.next, page.items.last()) {
                    edges.insert(next.to_string(), last.clone());
                }
                if let Some(item) = edge.and_then(|edge| edges.get(&edge).cloned()) {
                    page.items.insert(0, item);
                }
            }
            ItemFault::IgnoresProjections => {
                for item in &mut page.items {
                    let (partition, sub) = (item.key.partition.clone(), item.key.sub.clone());
                    let whole = inner.load_items(read.query_db.clone(), partition, Some(sub)).await?.pop();
                    item.json = whole.map_or_else(String::new, |whole| whole.json);
                }
            }
            _ => {}
        }
        Ok(page)
    }

    fn change_query(&self, query: &mut ItemQuery) {
        match (self.fault, &mut query.sort) {
            (ItemFault::IgnoresFilters, _) => query.filter = None,
            (ItemFault::IgnoresSortConditions, sort) => *sort = None,
            (ItemFault::IncludesBounds, Some(sort)) => {
                *sort = match sort.clone() {
                    Sort::Lt(value) => Sort::Le(value),
                    Sort::Gt(value) => Sort::Ge(value),
                    other => other,
                };
            }
            (ItemFault::AnyCase, _) => {
                if let QuerySource::Index { values, .. } = &mut query.source {
                    for value in values {
                        if let KeyValue::String(text) = value {
                            *value = text.to_lowercase().into();
                        }
                    }
                }
            }
            _ => {}
        }
    }

    pub(crate) async fn count(&self, inner: &dyn Backend, mut query: ItemQuery, name: &str) -> Result<u64> {
        self.change_query(&mut query);
        let count = inner.count_items(name.into(), query).await?;
        Ok(count + u64::from(self.fault == ItemFault::CountsOneMore))
    }

    pub(crate) async fn read_changes(
        &self,
        inner: &dyn Backend,
        request: ChangesRead,
    ) -> Result<Page<Change>> {
        let mut page = inner.read_changes(request).await?;
        match self.fault {
            ItemFault::LosesAChange if page.items.len() > 1 => drop(page.items.remove(0)),
            ItemFault::RepeatsAChange => {
                if let Some(first) = page.items.first().cloned() {
                    page.items.insert(0, first);
                }
            }
            ItemFault::TellsAddedAlways => {
                for change in &mut page.items {
                    if change.kind == ChangeKind::Updated {
                        change.kind = ChangeKind::Added;
                    }
                }
            }
            ItemFault::TellsNoReason => {
                for change in &mut page.items {
                    if matches!(change.kind, ChangeKind::Removed { .. }) {
                        change.kind = ChangeKind::Removed { reason: Removal::Deleted };
                    }
                }
            }
            _ => {}
        }
        Ok(page)
    }
}
