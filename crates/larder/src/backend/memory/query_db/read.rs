//! Items, pages of them, and changes.

use std::ops::Bound;

use super::{
    QueryDbState, StoredItem,
    order::{IndexEntry, checked, partition_range},
};
use crate::{
    backend::{ChangesRead, ItemSource, ItemsRead},
    error::{Error, ErrorKind, Result},
    event::Position,
    limits::Limits,
    page::Page,
    query_db::{
        Candidate, Change, ChangeKind, Cursor, Item, ItemKey, ItemQuery, KeyValue, Offered, Order, Pager,
        Plan, is_visible, too_many_items,
    },
};

/// The stored items that a plan names, in its order, each with the values of the index's sort fields.
type Rows<'a> = Box<dyn Iterator<Item = (Vec<KeyValue>, &'a ItemKey, &'a StoredItem)> + 'a>;

impl QueryDbState {
    /// The visible items of a partition, or the one of that sub key.
    pub(in crate::backend::memory) fn load(
        &self,
        partition: &str,
        sub: Option<KeyValue>,
        now: u64,
        limits: &Limits,
    ) -> Result<Vec<Item>> {
        let visible = |(key, item): (&ItemKey, &StoredItem)| {
            is_visible(item.expires_at, now).then(|| item.to_item(key))
        };
        if let Some(sub) = sub {
            let key = ItemKey::new(partition, sub);
            return Ok(self.items.get_key_value(&key).and_then(visible).into_iter().collect());
        }
        let range = partition_range(partition, &Bound::Unbounded, &Bound::Unbounded);
        let items: Vec<Item> =
            self.items.range(range).filter_map(visible).take(limits.read_events + 1).collect();
        if items.len() > limits.read_events {
            return Err(too_many_items(limits));
        }
        Ok(items)
    }

    /// A page of items.
    pub(in crate::backend::memory) fn page(
        &self,
        request: &ItemsRead,
        now: u64,
        limits: &Limits,
    ) -> Result<Page<Item>> {
        let plan = Plan::new(&self.definition, &request.source)?;
        let mut pager = Pager::new(&self.definition, &plan, request, limits, now)?;
        for (sort, key, item) in self.rows(&plan, request.after.as_ref(), request.descending)? {
            if let Offered::Full(next) = pager.offer(sort, item.candidate(key))? {
                return Ok(pager.into_page(Some(next)));
            }
        }
        Ok(pager.into_page(None))
    }

    /// How many visible items a query names.
    pub(in crate::backend::memory) fn count(&self, query: ItemQuery, now: u64) -> Result<u64> {
        let plan = Plan::new(&self.definition, &ItemSource::Query(query))?;
        let mut count = 0;
        for (_, _, item) in self.rows(&plan, None, false)? {
            count += u64::from(is_visible(item.expires_at, now) && plan.passes(&item.json)?);
        }
        Ok(count)
    }

    fn rows(&self, plan: &Plan, after: Option<&Cursor>, descending: bool) -> Result<Rows<'_>> {
        let (index, equal) = match &plan.order {
            Order::Everything => {
                let range = (Bound::Unbounded, Bound::Unbounded);
                return Ok(self.primary_rows(range, after, descending));
            }
            Order::Partition(partition) => {
                let range = partition_range(partition, &plan.range.low, &plan.range.high);
                return Ok(self.primary_rows(range, after, descending));
            }
            Order::Index { index, equal } => (*index, equal),
        };
        let keys = self.definition.spec.indexes[index].key.len();
        let (start, end) = IndexEntry::range(equal, &plan.range.low, &plan.range.high);
        let range = (Bound::Included(start), Bound::Excluded(end));
        let after = after.map(|cursor| {
            let values: Vec<KeyValue> = equal[..keys].iter().chain(cursor.sort()).cloned().collect();
            IndexEntry::new(&values, cursor.key())
        });
        let Some(range) = narrowed(range, after, descending) else { return Ok(Box::new(std::iter::empty())) };
        let entries = self.indexes[index].range(range);
        let entries: Box<dyn Iterator<Item = &IndexEntry>> =
            if descending { Box::new(entries.rev()) } else { Box::new(entries) };
        let row = move |entry: &'_ IndexEntry| entry.values_from(keys);
        Ok(Box::new(entries.map(move |entry| (row(entry), entry.key(), &self.items[entry.key()]))))
    }

    fn primary_rows(
        &self,
        range: (Bound<ItemKey>, Bound<ItemKey>),
        after: Option<&Cursor>,
        descending: bool,
    ) -> Rows<'_> {
        let after = after.map(|cursor| cursor.key().clone());
        let Some(range) = narrowed(range, after, descending) else { return Box::new(std::iter::empty()) };
        let rows = self.items.range(range).map(|(key, item)| (Vec::new(), key, item));
        if descending { Box::new(rows.rev()) } else { Box::new(rows) }
    }

    /// A page of changes.
    pub(in crate::backend::memory) fn changes_page(
        &self,
        request: &ChangesRead,
        limits: &Limits,
    ) -> Result<Page<Change>> {
        let oldest = self.changes.front().map_or(self.version + 1, |change| change.version);
        let (limit, _) = limits.page_rows(request.limit);
        let changes: Vec<&Change> = if request.descending {
            let below = request.after.unwrap_or(u64::MAX);
            let end = self.changes.partition_point(|change| change.version < below);
            self.changes.range(..end).rev().take(limit + 1).collect()
        } else {
            let after = request.after.unwrap_or(oldest - 1);
            if after > self.version {
                // Of another store, or of this one before it was reset: it is told, and goes on from here.
                return Err(Error::new(ErrorKind::ChangesTruncated { oldest: self.version + 1 }));
            }
            // A rebuild has replaced everything: what came before it no longer matters.
            let is_replaced = self.changes.front().is_some_and(|change| change.kind == ChangeKind::Replaced);
            if after + 1 < oldest && !is_replaced {
                return Err(Error::new(ErrorKind::ChangesTruncated { oldest }));
            }
            let start = self.changes.partition_point(|change| change.version <= after);
            self.changes.range(start..).take(limit + 1).collect()
        };
        let more = changes.len() > limit;
        let items: Vec<Change> = changes.into_iter().take(limit).cloned().collect();
        let next = items.last().filter(|_| more).map(|change| change.version);
        Ok(Page::new(items, next, Position::new(self.version)))
    }
}

/// The part of a range after a place.
fn narrowed<T: Ord>(
    (start, end): (Bound<T>, Bound<T>),
    after: Option<T>,
    descending: bool,
) -> Option<(Bound<T>, Bound<T>)> {
    let Some(after) = after else { return checked(start, end) };
    let is_in = |bound: &Bound<T>, beyond: fn(&T, &T) -> bool| match bound {
        Bound::Unbounded => true,
        Bound::Included(edge) | Bound::Excluded(edge) => beyond(&after, edge),
    };
    if descending {
        let end = if is_in(&end, |after, edge| after <= edge) { Bound::Excluded(after) } else { end };
        checked(start, end)
    } else {
        let start = if is_in(&start, |after, edge| after >= edge) { Bound::Excluded(after) } else { start };
        checked(start, end)
    }
}

impl StoredItem {
    pub(super) fn to_item(&self, key: &ItemKey) -> Item {
        Item::new(key.clone(), self.json.clone(), self.version, self.expires_at)
    }

    fn candidate<'a>(&'a self, key: &'a ItemKey) -> Candidate<'a> {
        Candidate { key, json: &self.json, version: self.version, expires_at: self.expires_at }
    }
}
