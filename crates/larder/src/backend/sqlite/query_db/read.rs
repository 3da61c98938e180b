//! Reading items and changes, each in one snapshot.

use std::{
    collections::HashMap,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

use rusqlite::{CachedStatement, Connection, types::ValueRef};

use super::{
    super::{event_log::count, place::to_sql, shared::Shared},
    bind, feed,
    registry::QueryDbRow,
    row::StoredItem,
    select::Select,
    table::Table,
    upsert::with_row,
};
use crate::{
    backend::{ChangesRead, ItemSource, ItemsRead, QueryDbStats},
    clock::micros_since_epoch,
    error::{Error, ErrorKind, Result},
    event::Position,
    page::Page,
    query_db::{
        Candidate, Change, Definition, Item, ItemKey, ItemQuery, KeyValue, Offered, Order, Pager, Plan,
        QueryDbInfo, QueryDbSpec, is_visible, too_many_items,
    },
};

/// How many tables are remembered.
const REMEMBERED: usize = 1_024;

/// The tables that readers remember, by the names of QueryDbs. Each holds as long as the file's schema is the same:
/// whatever changes how a QueryDb is read also changes the schema.
#[derive(Debug, Default)]
pub(in crate::backend::sqlite) struct Tables(RwLock<HashMap<String, (i64, Arc<Table>)>>);

impl Tables {
    pub(super) fn get(&self, connection: &Connection, name: &str) -> Result<Option<Arc<Table>>> {
        let schema: i64 =
            connection.prepare_cached("PRAGMA schema_version")?.query_row([], |row| row.get(0))?;
        if let Some((known, table)) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name)
            && *known == schema
        {
            return Ok(Some(table.clone()));
        }
        let Some(row) = QueryDbRow::find(connection, name)? else { return Ok(None) };
        let Some(table) = Table::of(&row)? else { return Ok(None) };
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if tables.len() >= REMEMBERED {
            tables.clear();
        }
        tables.insert(name.to_owned(), (schema, table.clone()));
        Ok(Some(table))
    }
}

pub(in crate::backend::sqlite) fn infos(shared: &Shared) -> Result<Vec<QueryDbInfo>> {
    let rows = shared.pool.snapshot(QueryDbRow::all)?;
    rows.into_iter().map(QueryDbRow::info).collect()
}

pub(in crate::backend::sqlite) fn info(shared: &Shared, name: &str) -> Result<Option<QueryDbInfo>> {
    let row = shared.pool.snapshot(|connection| QueryDbRow::find(connection, name))?;
    row.filter(|row| row.table_name.is_some()).map(QueryDbRow::info).transpose()
}

/// Counts the items of every QueryDb.
pub(in crate::backend::sqlite) fn stats(
    shared: &Shared,
    connection: &Connection,
) -> Result<Vec<QueryDbStats>> {
    let now = to_sql(now(shared) / 1_000_000);
    let mut all = Vec::new();
    for row in QueryDbRow::all(connection)? {
        let Some(table) = Table::of(&row)? else { continue };
        let items = count(connection, &format!("SELECT count(*) FROM {}", table.table_name), [])?;
        let expired = format!("SELECT count(*) FROM {} WHERE expires_at <= ?1", table.table_name);
        let expired = count(connection, &expired, [now])?;
        all.push(QueryDbStats::new(row.info()?, items.saturating_sub(expired), expired));
    }
    Ok(all)
}

/// The store's time, in microseconds since 1970.
fn now(shared: &Shared) -> u64 {
    micros_since_epoch(shared.clock.now())
}

/// The visible items of a partition, or the one of that sub key.
pub(in crate::backend::sqlite) fn load(
    shared: &Shared,
    name: &str,
    partition: &str,
    sub: Option<&KeyValue>,
) -> Result<Vec<Item>> {
    let now = now(shared);
    shared.pool.snapshot(|connection| {
        let Some(table) = shared.query_dbs.get(connection, name)? else { return Ok(Vec::new()) };
        match sub {
            Some(sub) => load_one(connection, &table, partition, sub, now),
            None => load_partition(shared, connection, &table, partition, now),
        }
    })
}

fn load_one(
    connection: &Connection,
    table: &Table,
    partition: &str,
    sub: &KeyValue,
    now: u64,
) -> Result<Vec<Item>> {
    let key = ItemKey::new(partition, sub.clone());
    let item = with_row(connection, table, &key, |_, found| found?.to_item())?;
    Ok(item.filter(|item| is_visible(item.expires_at, now)).into_iter().collect())
}

fn load_partition(
    shared: &Shared,
    connection: &Connection,
    table: &Table,
    partition: &str,
    now: u64,
) -> Result<Vec<Item>> {
    let mut statement = connection.prepare_cached(&table.sql.load)?;
    statement.raw_bind_parameter(1, partition)?;
    let mut rows = statement.raw_query();
    let mut items: Vec<Item> = Vec::new();
    let mut last: Option<KeyValue> = None;
    while let Some(row) = rows.next()? {
        let found = StoredItem::read(table, row)?;
        let item = found.to_item()?;
        let goes_on = last.is_none_or(|last| last < item.key.sub);
        if item.key.partition != partition || !goes_on {
            return Err(found.corrupted("items that are out of order"));
        }
        last = Some(item.key.sub.clone());
        if !is_visible(item.expires_at, now) {
            continue;
        }
        if items.len() == shared.limits.read_events {
            return Err(too_many_items(&shared.limits));
        }
        items.push(item);
    }
    Ok(items)
}

/// A page of items.
pub(in crate::backend::sqlite) fn page(shared: &Shared, request: &ItemsRead) -> Result<Page<Item>> {
    let now = now(shared);
    shared.pool.snapshot(|connection| {
        let Some(table) = shared.query_dbs.get(connection, &request.query_db)? else {
            // What is asked of it is still checked.
            Plan::new(&*Definition::new(QueryDbSpec::new())?, &request.source)?;
            return Ok(Page::new(Vec::new(), None, Position::START));
        };
        let plan = Plan::new(&table.definition, &request.source)?;
        let mut pager = Pager::new(&table.definition, &plan, request, &shared.limits, now)?;
        let mut next = None;
        let after = request.after.as_ref();
        for_each(connection, &table, &plan, (after, request.descending), |(sort, key), found| {
            found.check()?;
            let (json, version, expires_at) = (found.values.json, found.version()?, found.expires_at());
            Ok(match pager.offer(sort.clone(), Candidate { key, json, version, expires_at })? {
                Offered::GoOn => true,
                Offered::Full(cursor) => {
                    next = Some(cursor);
                    false
                }
            })
        })?;
        Ok(pager.into_page(next))
    })
}

/// How many visible items a query names. All of them are read, so that a damaged one is reported.
pub(in crate::backend::sqlite) fn count_items(shared: &Shared, name: &str, query: ItemQuery) -> Result<u64> {
    let now = now(shared);
    let source = ItemSource::Query(query);
    shared.pool.snapshot(|connection| {
        let Some(table) = shared.query_dbs.get(connection, name)? else {
            Plan::new(&*Definition::new(QueryDbSpec::new())?, &source)?;
            return Ok(0);
        };
        let plan = Plan::new(&table.definition, &source)?;
        let mut count = 0;
        for_each(connection, &table, &plan, (None, false), |_, found| {
            found.check()?;
            if is_visible(found.expires_at(), now) {
                count += u64::from(plan.passes(found.values.json)?);
            }
            Ok(true)
        })?;
        Ok(count)
    })
}

/// Where an item is in a plan's order: the values of the index's sort fields, and its key.
type Place = (Vec<KeyValue>, ItemKey);

/// Goes through the rows that a plan names, with their places, as long as it is told to.
/// What a damaged index leads to by mistake is `Corrupted`.
fn for_each(
    connection: &Connection,
    table: &Table,
    plan: &Plan,
    (after, descending): (Option<&crate::query_db::Cursor>, bool),
    mut take: impl FnMut(&Place, &StoredItem<'_>) -> Result<bool>,
) -> Result<()> {
    let select = Select::new(table, plan, after, descending);
    let mut statement = connection.prepare_cached(&select.sql)?;
    for (n, value) in select.values.iter().enumerate() {
        bind(&mut statement, n + 1, *value)?;
    }
    let mut last = after.map(|cursor| (cursor.sort().to_vec(), cursor.key().clone()));
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let found = StoredItem::read(table, row)?;
        let place = (sort_of(table, plan, &found)?, found.key()?);
        let goes_on = last.is_none_or(|last| if descending { place < last } else { place > last });
        if !goes_on || !is_in(table, plan, &place.0, &found)? {
            return Err(found.corrupted("items that are out of order"));
        }
        if !take(&place, &found)? {
            return Ok(());
        }
        last = Some(place);
    }
    Ok(())
}

/// The values of the index's sort fields.
fn sort_of(table: &Table, plan: &Plan, found: &StoredItem<'_>) -> Result<Vec<KeyValue>> {
    let Order::Index { index, .. } = &plan.order else { return Ok(Vec::new()) };
    let index = &table.indexes[*index];
    index.columns[index.keys..].iter().map(|column| found.column(*column)).collect()
}

/// Whether a row is one that the plan names.
fn is_in(table: &Table, plan: &Plan, sort: &[KeyValue], found: &StoredItem<'_>) -> Result<bool> {
    let in_range = |value: &KeyValue| {
        let above = match &plan.range.low {
            Bound::Unbounded => true,
            Bound::Included(low) => value >= low,
            Bound::Excluded(low) => value > low,
        };
        above
            && match &plan.range.high {
                Bound::Unbounded => true,
                Bound::Included(high) => value <= high,
                Bound::Excluded(high) => value < high,
            }
    };
    Ok(match &plan.order {
        Order::Everything => true,
        Order::Partition(partition) => {
            found.values.partition == partition && in_range(&super::row::key_value(found.values.sub)?)
        }
        Order::Index { index, equal } => {
            let index = &table.indexes[*index];
            for (column, value) in index.columns.iter().zip(equal) {
                if found.column(*column)? != *value {
                    return Ok(false);
                }
            }
            sort.get(equal.len() - index.keys).is_none_or(in_range)
        }
    })
}

/// Refuses to go on after a version that was never given: of another store, or of this one before it was reset.
fn check_reached(request: &ChangesRead, through: u64) -> Result<()> {
    if !request.descending && request.after.is_some_and(|after| after > through) {
        return Err(Error::new(ErrorKind::ChangesTruncated { oldest: through + 1 }));
    }
    Ok(())
}

/// A page of changes: from memory, or from the table if that goes back further.
pub(in crate::backend::sqlite) fn changes(shared: &Shared, request: &ChangesRead) -> Result<Page<Change>> {
    shared.pool.snapshot(|connection| {
        let Some(row) = QueryDbRow::find(connection, &request.query_db)? else {
            check_reached(request, 0)?;
            return Ok(Page::new(Vec::new(), None, Position::START));
        };
        let (number, through) = (row.number, row.version);
        check_reached(request, through)?;
        let in_memory = shared.feeds.oldest(number, through);
        let keeps = row.table_name.is_some() && row.parse_spec()?.keeps_changes();
        let stored = if keeps { feed::oldest_stored(connection, number)? } else { None };
        let stored = stored.unwrap_or(through + 1).max((through + 1).saturating_sub(feed::KEPT));
        let oldest = in_memory.min(stored);
        let range = if request.descending {
            (oldest - 1, request.after.unwrap_or(u64::MAX).min(through + 1))
        } else {
            let after = request.after.unwrap_or(oldest - 1);
            // A rebuild has replaced everything: what came before it no longer matters.
            if after + 1 < oldest
                && !shared.feeds.begins_anew(number, oldest)
                && !feed::begins_anew(connection, number, oldest)?
            {
                return Err(Error::new(ErrorKind::ChangesTruncated { oldest }));
            }
            (after.max(oldest - 1), through + 1)
        };
        let (limit, _) = shared.limits.page_rows(request.limit);
        let most = limit.saturating_add(1);
        let mut items = if stored < in_memory {
            feed::read_stored(connection, (number, &row.name), range, request.descending, most)?
        } else {
            shared.feeds.read(number, range, request.descending, most)
        };
        // Meanwhile the oldest may have made room for newer ones.
        if let Some(first) = items.first().filter(|first| !request.descending && first.version > range.0 + 1)
        {
            return Err(Error::new(ErrorKind::ChangesTruncated { oldest: first.version }));
        }
        if items.is_empty() && !request.descending && range.0 < through && limit > 0 {
            // All of them have gone: nobody listens any more.
            return Err(Error::new(ErrorKind::ChangesTruncated { oldest: through + 1 }));
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|change| change.version);
        Ok(Page::new(items, next, Position::new(through)))
    })
}

/// Binds a value that is borrowed.
pub(super) fn bind_all(
    statement: &mut CachedStatement<'_>,
    first: usize,
    values: &[ValueRef<'_>],
) -> rusqlite::Result<()> {
    values.iter().enumerate().try_for_each(|(n, value)| bind(statement, first + n, *value))
}
