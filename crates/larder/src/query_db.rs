//! Read models: items under keys, with secondary indexes, TTL and a feed of changes.

mod change;
mod cursor;
mod document;
mod filter;
mod increment;
mod index;
mod item;
mod key;
mod kind;
mod number;
mod pager;
mod path;
mod plan;
mod project;
mod query;
mod raw_object;
mod syntax;
mod ttl;

use std::sync::Arc;

use serde::Serialize;

pub use self::{
    change::{Change, ChangeKind, Removal},
    cursor::Cursor,
    filter::{Field, Filter, Test, field},
    index::{Index, IndexProjection, KeyField, QueryDbInfo, QueryDbSpec},
    item::Item,
    key::{ItemKey, KeyType, KeyValue},
    kind::{Define, Delete, DropIndex, DropQueryDb, Increment, Purge, Save, SaveBatch, Saved},
    number::Number,
    path::FieldPath,
    query::{ItemQuery, QuerySource, Sort},
    ttl::Ttl,
};
pub(crate) use self::{
    increment::Incremented,
    item::{Definition, Prepared},
    pager::{Candidate, Offered, Pager},
    plan::{Order, Plan, after_prefix},
    ttl::{PURGED_AT_ONCE, is_visible},
};
use crate::{
    backend::{ChangesRead, ItemData, ItemSource, ItemsRead, Operation, QueryDbOperation, SaveMode},
    error::{Error, Result},
    limits::{Limits, check_key, check_name},
    operation::{Call, Read, Write},
    store::Store,
    subscription::Subscription,
};

/// A read model's table: JSON objects under a partition key and a sub key. Cheap to clone.
///
/// It exists once it has an item, or was [defined](Store::define); without a definition it has no sub keys and no
/// indexes.
///
/// ```
/// use larder::{Index, ItemQuery, QueryDbSpec, Sort, Store};
/// use serde_json::json;
///
/// # fn main() -> larder::Result<()> {
/// let spec = QueryDbSpec::new().index(Index::new("by_status", ["status"]).sort_by(["day"]));
/// let orders = Store::memory().define("Orders", spec).wait()?;
/// orders.save("order-1", &json!({ "status": "open", "day": "2026-03-02" })).wait()?;
/// orders.save("order-2", &json!({ "status": "open", "day": "2026-04-01" })).wait()?;
///
/// let march = ItemQuery::index("by_status", ["open"]).sort(Sort::begins_with("2026-03"));
/// let page = orders.query(&march).wait()?;
/// assert_eq!(page.items[0].key.partition, "order-1");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct QueryDb {
    store: Store,
    query_db: Arc<str>,
}

impl QueryDb {
    pub(crate) fn new(store: Store, name: &str) -> Result<Self> {
        check_name("QueryDb", name)?;
        Ok(Self { store, query_db: name.into() })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.query_db
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn name_arc(&self) -> Arc<str> {
        self.query_db.clone()
    }

    /// What is known of it; `None` if it does not exist.
    ///
    /// # Errors
    /// `Closed`, `Corrupted`, `Io`.
    pub fn info(&self) -> Call<Option<QueryDbInfo>> {
        let (store, query_db) = (self.store.clone(), self.query_db.clone());
        Call::new(async move { store.backend().await?.query_db_info(query_db).await })
    }

    /// All visible items of a partition, in the order of their sub keys, in one atomic look.
    ///
    /// # Errors
    /// `InvalidArgument`; `TooLarge` if there are more than [`Limits::read_events`]: use [`query`](Self::query);
    /// `Closed`, `Corrupted`, `Io`.
    pub fn load(&self, partition: impl Into<String>) -> Call<Vec<Item>> {
        let (store, query_db, partition) = (self.store.clone(), self.query_db.clone(), partition.into());
        Call::new(async move {
            check_key("partition key", &partition)?;
            store.backend().await?.load_items(query_db, partition, None).await
        })
    }

    /// One item: by its partition key, or by that and its sub key: `"order-1"` or `("order-1", "01")`.
    ///
    /// # Errors
    /// `InvalidArgument`, `Closed`, `Corrupted`, `Io`.
    pub fn load_one(&self, key: impl Into<ItemKey>) -> Call<Option<Item>> {
        let (store, query_db, key) = (self.store.clone(), self.query_db.clone(), key.into());
        Call::new(async move {
            key.check()?;
            let ItemKey { partition, sub } = key;
            Ok(store.backend().await?.load_items(query_db, partition, Some(sub)).await?.pop())
        })
    }

    /// Saves an item: an upsert, unless told otherwise. Saving without a TTL clears an old one.
    ///
    /// # Errors
    /// `InvalidArgument`: not a JSON object, a duplicate key in it, a sub id that is missing, a key field of another
    /// type; `TooLarge`; what [`if_absent`](Write::if_absent) and its like document; those of any commit.
    pub fn save(&self, partition: impl Into<String>, item: &(impl Serialize + ?Sized)) -> Write<Save> {
        let item = self.item_data(partition.into(), item);
        self.write(item.map(|item| QueryDbOperation::Save { query_db: self.name_arc(), item }))
    }

    /// Saves items, in order, all or none.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn save_batch<P: Into<String>, T: Serialize>(
        &self,
        items: impl IntoIterator<Item = (P, T)>,
    ) -> Write<SaveBatch> {
        let items = items.into_iter().map(|(partition, item)| self.item_data(partition.into(), &item));
        let items = items.collect::<Result<Vec<_>>>();
        self.write(items.map(|items| QueryDbOperation::SaveAll { query_db: self.name_arc(), items }))
    }

    fn item_data(&self, partition: String, item: &(impl Serialize + ?Sized)) -> Result<ItemData> {
        check_key("partition key", &partition)?;
        let json = serde_json::to_string(item)
            .map_err(|error| Error::invalid("item", "it cannot be written as JSON").caused_by(error))?;
        check_item_size(&json, self.store.limits())?;
        Ok(ItemData { partition, json, ttl: None, mode: SaveMode::Overwrite })
    }

    /// Deletes every item of a partition, and answers how many there were.
    ///
    /// # Errors
    /// `InvalidArgument`, and those of any commit.
    pub fn delete(&self, partition: impl Into<String>) -> Write<Delete> {
        let partition = partition.into();
        let checked = check_key("partition key", &partition);
        let query_db = self.name_arc();
        self.write(checked.map(|()| QueryDbOperation::DeletePartition { query_db, partition }))
    }

    /// Deletes one item, if it is there.
    ///
    /// # Errors
    /// `InvalidArgument`, and those of any commit.
    pub fn delete_one(&self, key: impl Into<ItemKey>) -> Write<Delete> {
        self.delete_batch([key])
    }

    /// Deletes items, all or none; those that are not there are fine. Answers how many were.
    ///
    /// # Errors
    /// `InvalidArgument`, and those of any commit.
    pub fn delete_batch(&self, keys: impl IntoIterator<Item: Into<ItemKey>>) -> Write<Delete> {
        let keys: Vec<ItemKey> = keys.into_iter().map(Into::into).collect();
        let checked = keys.iter().try_for_each(ItemKey::check);
        let query_db = self.name_arc();
        self.write(checked.map(|()| QueryDbOperation::Delete { query_db, keys }))
    }

    /// Adds to a numeric field, atomically, and answers the new total. An item or field that is not there begins at
    /// 0. (Some stores call this `count`; for counting items there is [`count_items`](Self::count_items).)
    ///
    /// # Errors
    /// `InvalidArgument` if the field holds something else, or the sum is beyond an `i64` or every finite number;
    /// `TooLarge`; those of any commit.
    pub fn increment(
        &self,
        key: impl Into<ItemKey>,
        field: impl Into<String>,
        by: impl Into<Number>,
    ) -> Write<Increment> {
        let (key, field, by) = (key.into(), field.into(), by.into());
        let checked = key.check().and(field.parse::<FieldPath>().map(drop)).and(by.check("by"));
        let query_db = self.name_arc();
        self.write(checked.map(|()| QueryDbOperation::Increment { query_db, key, field, by }))
    }

    /// The items that a query names, in its order: all of them, or, with a limit, a page. Such a page also ends after 10,000
    /// items were looked at, with fewer items than the limit, or none, and a `next`: no `next` is the end.
    ///
    /// # Errors
    /// `InvalidArgument`: an index that does not exist, a value of another type than its field, a bad filter, a
    /// cursor of another query, or of an index that was defined anew; `TooLarge` without a limit beyond [`Limits::read_events`]; `Closed`, `Corrupted`,
    /// `Io`.
    pub fn query(&self, query: impl Into<ItemQuery>) -> Read<Item> {
        let query = query.into();
        let checked = query.check();
        Read::new(self.store.clone(), checked.map(|()| self.items_read(ItemSource::Query(query))))
    }

    /// All visible items, in key order.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn scan(&self) -> Read<Item> {
        Read::new(self.store.clone(), Ok(self.items_read(ItemSource::Scan)))
    }

    fn items_read(&self, source: ItemSource) -> ItemsRead {
        let query_db = self.query_db.clone();
        ItemsRead { query_db, source, after: None, limit: None, max_bytes: None, descending: false }
    }

    /// How many visible items a query names.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn count_items(&self, query: impl Into<ItemQuery>) -> Call<u64> {
        let (store, query_db, query) = (self.store.clone(), self.query_db.clone(), query.into());
        Call::new(async move {
            query.check()?;
            store.backend().await?.count_items(query_db, query).await
        })
    }

    /// Deletes at most so many items that have expired, and at most 10,000, the oldest first, and answers how many: they are
    /// invisible already. A damaged item is passed over.
    ///
    /// # Errors
    /// Those of any commit.
    pub fn purge_expired(&self, limit: u64) -> Write<Purge> {
        let query_db = self.name_arc();
        self.write(Ok(QueryDbOperation::PurgeExpired { query_db, limit }))
    }

    /// Removes an index. One that does not exist is fine.
    ///
    /// # Errors
    /// Those of any commit.
    pub fn drop_index(&self, index: impl Into<String>) -> Write<DropIndex> {
        let (query_db, index) = (self.name_arc(), index.into());
        let checked = check_name("index", &index);
        self.write(checked.map(|()| QueryDbOperation::DropIndex { query_db, index }))
    }

    /// Removes the QueryDb with everything in it. Its feed tells that as one [`Replaced`](ChangeKind::Replaced).
    ///
    /// # Errors
    /// Those of any commit.
    pub fn drop_query_db(&self) -> Write<DropQueryDb> {
        self.write(Ok(QueryDbOperation::Drop { query_db: self.name_arc() }))
    }

    /// Every change committed from now on, in commit order; see [`Subscription`]. With
    /// [`after`](Subscription::after), those above that version first: a QueryDb defined with
    /// [`changes`](QueryDbSpec::changes) keeps at least the last 10,000, across restarts and processes; any other
    /// only those that were committed in this process while somebody listened. If the next one is no longer kept, the
    /// subscription yields one [`ChangesTruncated`](crate::ErrorKind::ChangesTruncated) error and goes on with the
    /// oldest that is.
    pub fn changes(&self) -> Subscription<Change> {
        let query_db = self.query_db.clone();
        let request = ChangesRead { query_db, after: None, limit: None, max_bytes: None, descending: false };
        Subscription::changes(self.store.clone(), request)
    }

    fn write<O: crate::operation::WriteKind>(&self, operation: Result<QueryDbOperation>) -> Write<O> {
        Write::new(self.store.clone(), operation.map(Operation::QueryDb))
    }
}

/// Checks an item's size.
pub(crate) fn check_item_size(json: &str, limits: &Limits) -> Result<()> {
    if json.len() > limits.item_bytes {
        return Err(Error::too_large("item", limits.item_bytes as u64, json.len() as u64));
    }
    Ok(())
}

/// The refusal of a read of a partition that has more items than a read without a limit may return.
pub(crate) fn too_many_items(limits: &Limits) -> Error {
    let limit = limits.read_events as u64;
    let refused = Error::too_large("items of a partition", limit, limit + 1);
    refused.with_hint("read it in pages, with `query`")
}

impl Write<Save> {
    /// Lets the item expire after a [`Duration`](std::time::Duration), or at a
    /// [`SystemTime`](std::time::SystemTime).
    ///
    /// # Errors
    /// The write is `InvalidArgument` if the definition has a TTL field.
    pub fn ttl(self, ttl: impl Into<Ttl>) -> Self {
        let ttl = ttl.into();
        self.item(|item| item.ttl = Some(ttl))
    }

    /// Saves only if there is no visible item.
    ///
    /// # Errors
    /// The write is `AlreadyExists` if there is one.
    pub fn if_absent(self) -> Self {
        self.item(|item| item.mode = SaveMode::Init)
    }

    /// Saves only if there is a visible item.
    ///
    /// # Errors
    /// The write is `NotFound` if there is none.
    pub fn if_present(self) -> Self {
        self.item(|item| item.mode = SaveMode::Update)
    }

    /// Saves only if the item has this version; `None` or 0: only if there is none.
    ///
    /// # Errors
    /// The write is `Conflict` if it has another, where 0 stands for absent.
    pub fn if_version(self, version: impl Into<Option<u64>>) -> Self {
        let version = version.into();
        self.item(|item| item.mode = SaveMode::IfVersion(version))
    }

    fn item(self, change: impl FnOnce(&mut ItemData)) -> Self {
        self.map(|mut operation| {
            let Operation::QueryDb(QueryDbOperation::Save { item, .. }) = &mut operation else {
                unreachable!("it writes a save")
            };
            change(item);
            Ok(operation)
        })
    }
}
