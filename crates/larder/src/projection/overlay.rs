//! Items as they will be after writes that are not committed yet.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    backend::{Backend, ItemData, Operation, QueryDbOperation},
    clock::micros_since_epoch,
    error::Result,
    limits::Limits,
    query_db::{Definition, Item, ItemKey, KeyValue, QueryDbSpec, is_visible},
};

/// Which of a batch's operations concern which partition, so that loads look at those only.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    of_partition: HashMap<(Arc<str>, String), Vec<usize>>,
}

impl Overlay {
    /// Notes an operation under its number.
    pub(super) fn note(&mut self, number: usize, operation: &Operation) {
        let Operation::QueryDb(operation) = operation else { return };
        let mut note = |query_db: &Arc<str>, partition: &str| {
            let numbers = self.of_partition.entry((query_db.clone(), partition.to_owned())).or_default();
            if numbers.last() != Some(&number) {
                numbers.push(number);
            }
        };
        match operation {
            QueryDbOperation::Save { query_db, item } => note(query_db, &item.partition),
            QueryDbOperation::SaveAll { query_db, items } => {
                items.iter().for_each(|item| note(query_db, &item.partition));
            }
            QueryDbOperation::Delete { query_db, keys } => {
                keys.iter().for_each(|key| note(query_db, &key.partition));
            }
            QueryDbOperation::DeletePartition { query_db, partition } => note(query_db, partition),
            QueryDbOperation::Increment { query_db, key, .. } => note(query_db, &key.partition),
            _ => {}
        }
    }

    /// Forgets operations from this number on.
    pub(super) fn return_to(&mut self, mark: usize) {
        self.of_partition.retain(|_, numbers| {
            numbers.retain(|number| *number < mark);
            !numbers.is_empty()
        });
    }

    /// The items of a partition: those that are stored, with the operations applied to them. If only one of them is
    /// wanted, what is stored of the others is not read.
    pub(super) async fn load(
        &self,
        backend: &dyn Backend,
        operations: &[Operation],
        query_db: Arc<str>,
        partition: String,
        wanted: Option<&KeyValue>,
    ) -> Result<Vec<Item>> {
        let stored = backend.load_items(query_db.clone(), partition.clone(), wanted.cloned()).await?;
        let Some(numbers) = self.of_partition.get(&(query_db.clone(), partition.clone())) else {
            return Ok(stored);
        };
        let spec = backend.query_db_info(query_db).await?.map_or_else(QueryDbSpec::new, |info| info.spec);
        let mut items = Items {
            definition: Definition::new(spec)?,
            now: micros_since_epoch(backend.clock().now()),
            items: stored.into_iter().map(|item| (item.key.sub.clone(), item)).collect(),
            partition,
        };
        for number in numbers {
            if let Operation::QueryDb(operation) = &operations[*number] {
                items.apply(operation)?;
            }
        }
        let now = items.now;
        Ok(items.items.into_values().filter(|item| is_visible(item.expires_at, now)).collect())
    }
}

/// A partition under changes.
struct Items {
    definition: Arc<Definition>,
    /// Microseconds since 1970.
    now: u64,
    partition: String,
    items: BTreeMap<KeyValue, Item>,
}

impl Items {
    fn apply(&mut self, operation: &QueryDbOperation) -> Result<()> {
        match operation {
            QueryDbOperation::Save { item, .. } => self.save(item)?,
            QueryDbOperation::SaveAll { items, .. } => items.iter().try_for_each(|item| self.save(item))?,
            QueryDbOperation::Delete { keys, .. } => {
                for key in keys.iter().filter(|key| key.partition == self.partition) {
                    self.items.remove(&key.sub);
                }
            }
            QueryDbOperation::DeletePartition { .. } => self.items.clear(),
            QueryDbOperation::Increment { key, field, by, .. } => {
                let old = self.items.get(&key.sub).filter(|item| is_visible(item.expires_at, self.now));
                let there = old.map(|item| (item.json.clone(), item.expires_at));
                // Its size is the backend's to check, when the batch is committed.
                let limits = Limits { item_bytes: usize::MAX, ..Limits::default() };
                let done = self.definition.increment(key, there, (field, *by), &limits)?;
                self.put(key.sub.clone(), done.json, done.expires_at);
            }
            _ => {}
        }
        Ok(())
    }

    fn save(&mut self, data: &ItemData) -> Result<()> {
        if data.partition == self.partition {
            let prepared = self.definition.prepare(&data.json)?;
            let expires_at = prepared.expires_at.or(data.ttl.map(|ttl| ttl.expires_at(self.now)));
            self.put(prepared.sub, data.json.clone(), expires_at);
        }
        Ok(())
    }

    fn put(&mut self, sub: KeyValue, json: String, expires_at: Option<u64>) {
        let key = ItemKey::new(self.partition.clone(), sub.clone());
        self.items.insert(sub, Item::new(key, json, 0, expires_at));
    }
}
