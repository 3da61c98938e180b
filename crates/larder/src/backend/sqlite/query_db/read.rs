//! Items, pages of them, and what is known of QueryDbs.

use std::ops::Bound;

use rusqlite::{Connection, params_from_iter, types::ValueRef};

use super::{
    item_row::{ItemRow, bound, sql_value},
    layout::{Layout, column_name},
    registry::{Registered, layout_in},
};
use crate::{
    backend::{
        ItemSource, ItemsRead, QueryDbStats,
        sqlite::{event_log::count, place::to_sql, shared::Shared},
    },
    clock::micros_since_epoch,
    error::{Error, Result},
    event::Position,
    page::Page,
    query_db::{
        Cursor, Definition, Item, ItemKey, ItemQuery, KeyValue, Offered, Order, Pager, Plan, QueryDbInfo,
        QueryDbSpec, is_visible,
    },
};

pub(in crate::backend::sqlite) fn infos(connection: &Connection) -> Result<Vec<QueryDbInfo>> {
    let info = |row: Registered| QueryDbInfo::new(row.name.to_string(), row.spec, row.version, row.owner);
    Ok(Registered::all(connection)?.into_iter().map(info).collect())
}

pub(in crate::backend::sqlite) fn info(shared: &Shared, name: &str) -> Result<Option<QueryDbInfo>> {
    shared.pool.snapshot(|connection| {
        Ok(layout_in(shared, connection, name)?.map(|(layout, version)| layout.info(version)))
    })
}

pub(in crate::backend::sqlite) fn stats(
    shared: &Shared,
    connection: &Connection,
) -> Result<Vec<QueryDbStats>> {
    let seconds = to_sql(now(shared) / 1_000_000);
    let mut all = Vec::new();
    for row in Registered::all(connection)? {
        let Some(layout) = row.layout()? else { continue };
        let items = count(connection, &format!("SELECT count(*) FROM {}", layout.table), [])?;
        let expired = count(
            connection,
            &format!("SELECT count(*) FROM {} WHERE expires_at <= ?1", layout.table),
            [seconds],
        )?;
        all.push(QueryDbStats::new(layout.info(row.version), items - expired, expired));
    }
    Ok(all)
}

/// The visible items of a partition, or the one of that sub key.
pub(in crate::backend::sqlite) fn load(
    shared: &Shared,
    name: &str,
    partition: &str,
    sub: Option<&KeyValue>,
) -> Result<Vec<Item>> {
    // The remembered layout will do, nearly always; if it is outdated, that shows: the table or a column is not there,
    // or the items are another QueryDb's.
    if let (Some(sub), Some(layout)) = (sub, shared.layouts.get(name))
        && let Ok(item) = shared.pool.read(|connection| load_one(shared, connection, &layout, partition, sub))
    {
        return Ok(item.into_iter().collect());
    }
    shared.pool.snapshot(|connection| {
        let Some((layout, _)) = layout_in(shared, connection, name)? else { return Ok(Vec::new()) };
        match sub {
            Some(sub) => Ok(load_one(shared, connection, &layout, partition, sub)?.into_iter().collect()),
            None => load_all(shared, connection, &layout, partition),
        }
    })
}

fn load_one(
    shared: &Shared,
    connection: &Connection,
    layout: &Layout,
    partition: &str,
    sub: &KeyValue,
) -> Result<Option<Item>> {
    let mut statement = connection.prepare_cached(&layout.sql.load_one)?;
    let mut rows = statement.query((partition, bound(sql_value(sub))))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let item = ItemRow::read(layout, row)?.item;
    Ok(Some(item).filter(|item| is_visible(item.expires_at, now(shared))))
}

fn load_all(shared: &Shared, connection: &Connection, layout: &Layout, partition: &str) -> Result<Vec<Item>> {
    let (now, limit) = (now(shared), shared.limits.read_events);
    let mut statement = connection.prepare_cached(&layout.sql.load)?;
    let mut rows = statement.query([partition])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let item = ItemRow::read(layout, row)?.item;
        if !is_visible(item.expires_at, now) {
            continue;
        }
        if items.len() == limit {
            let limit = limit as u64;
            return Err(Error::too_large("items of a partition", limit, limit + 1)
                .with_hint("read it in pages, with `query`"));
        }
        items.push(item);
    }
    Ok(items)
}

/// A page of items.
pub(in crate::backend::sqlite) fn page(shared: &Shared, request: &ItemsRead) -> Result<Page<Item>> {
    shared.pool.snapshot(|connection| {
        let Some((layout, _)) = layout_in(shared, connection, &request.query_db)? else {
            Plan::new(&*Definition::new(QueryDbSpec::new())?, &request.source)?;
            return Ok(Page::new(Vec::new(), None, Position::START));
        };
        let plan = Plan::new(&layout.definition, &request.source)?;
        let mut pager = Pager::new(&layout.definition, &plan, request, &shared.limits, now(shared))?;
        let select = Select::new(&layout, &plan, request.after.as_ref(), request.descending)?;
        let mut full = None;
        select.each(connection, |sort, item| match pager.offer(sort, item)? {
            Offered::GoOn => Ok(true),
            Offered::Full(next) => {
                full = Some(next);
                Ok(false)
            }
        })?;
        Ok(pager.into_page(full))
    })
}

/// How many visible items a query names.
pub(in crate::backend::sqlite) fn count_items(shared: &Shared, name: &str, query: ItemQuery) -> Result<u64> {
    let source = ItemSource::Query(query);
    shared.pool.snapshot(|connection| {
        let Some((layout, _)) = layout_in(shared, connection, name)? else {
            Plan::new(&*Definition::new(QueryDbSpec::new())?, &source)?;
            return Ok(0);
        };
        let plan = Plan::new(&layout.definition, &source)?;
        let (now, mut count) = (now(shared), 0);
        Select::new(&layout, &plan, None, false)?.each(connection, |_, item| {
            count += u64::from(is_visible(item.expires_at, now) && plan.passes(&item)?);
            Ok(true)
        })?;
        Ok(count)
    })
}

fn now(shared: &Shared) -> u64 {
    micros_since_epoch(shared.clock.now())
}

/// A statement over an order of items.
pub(super) struct Select<'a> {
    layout: &'a Layout,
    pub(super) sql: String,
    values: Vec<ValueRef<'a>>,
    /// The columns of the index's sort fields.
    sort: Vec<usize>,
}

impl<'a> Select<'a> {
    pub(super) fn new(
        layout: &'a Layout,
        plan: &'a Plan,
        after: Option<&'a Cursor>,
        descending: bool,
    ) -> Result<Self> {
        let mut terms = Terms::default();
        let (index, columns, mut order) = match &plan.order {
            Order::Everything => (None, Vec::new(), vec!["partition_key".to_owned(), "sub_key".to_owned()]),
            Order::Partition(partition) => {
                terms.compare("partition_key", "=", ValueRef::Text(partition.as_bytes()));
                (None, Vec::new(), vec!["sub_key".to_owned()])
            }
            Order::Index { index, equal } => {
                let columns = layout.index_columns(*index);
                for (column, value) in columns.iter().zip(equal) {
                    terms.compare(&column_name(*column), "=", sql_value(value));
                }
                // The index holds those that have every field.
                for column in &columns[equal.len()..] {
                    terms.add(format!("{} IS NOT NULL", column_name(*column)));
                }
                let order = columns[equal.len()..].iter().map(|column| column_name(*column)).collect();
                (Some(*index), columns, order)
            }
        };
        if index.is_some() {
            order.extend(["partition_key".to_owned(), "sub_key".to_owned()]);
        }
        terms.range(&order[0], plan, after.is_some(), descending);
        let keys = index.map_or(0, |index| layout.definition.spec.indexes[index].key.len());
        let sort = columns.get(keys..).unwrap_or_default().to_vec();
        if let Some(cursor) = after {
            terms.after(&order, cursor, &plan.order, keys, sort.len(), descending)?;
        }
        let sql = sql(layout, index, &terms.terms, &order, descending);
        Ok(Self { layout, sql, values: terms.values, sort })
    }

    /// Calls back with each item and the values of the index's sort fields, while it is told to go on.
    fn each(
        &self,
        connection: &Connection,
        mut offer: impl FnMut(Vec<KeyValue>, Item) -> Result<bool>,
    ) -> Result<()> {
        let mut statement = connection.prepare_cached(&self.sql)?;
        let mut rows = statement.query(params_from_iter(self.values.iter().map(|value| bound(*value))))?;
        while let Some(row) = rows.next()? {
            let ItemRow { item, keys } = ItemRow::read(self.layout, row)?;
            let sort: Option<Vec<KeyValue>> = self.sort.iter().map(|column| keys[*column].clone()).collect();
            let sort =
                sort.ok_or_else(|| Error::corrupted("an item in an index that lacks a field of it"))?;
            if !offer(sort, item)? {
                break;
            }
        }
        Ok(())
    }
}

/// The conditions of a statement, and what is bound to them.
#[derive(Default)]
struct Terms<'a> {
    terms: Vec<String>,
    values: Vec<ValueRef<'a>>,
}

impl<'a> Terms<'a> {
    fn add(&mut self, term: String) {
        self.terms.push(term);
    }

    fn bind(&mut self, value: ValueRef<'a>) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    fn compare(&mut self, column: &str, operator: &str, value: ValueRef<'a>) {
        let value = self.bind(value);
        self.add(format!("{column} {operator} {value}"));
    }

    /// The range of the first column of the order. Where a cursor is, it stands for the bound behind it.
    fn range(&mut self, column: &str, plan: &'a Plan, has_cursor: bool, descending: bool) {
        if !has_cursor || descending {
            match &plan.range.low {
                Bound::Included(value) => self.compare(column, ">=", sql_value(value)),
                Bound::Excluded(value) => self.compare(column, ">", sql_value(value)),
                Bound::Unbounded => {}
            }
        }
        if !has_cursor || !descending {
            match &plan.range.high {
                Bound::Included(value) => self.compare(column, "<=", sql_value(value)),
                Bound::Excluded(value) => self.compare(column, "<", sql_value(value)),
                Bound::Unbounded => {}
            }
        }
    }

    /// Rows after the cursor, by the whole order.
    fn after(
        &mut self,
        order: &[String],
        cursor: &'a Cursor,
        of: &Order,
        keys: usize,
        sort_fields: usize,
        descending: bool,
    ) -> Result<()> {
        if cursor.sort().len() != sort_fields {
            return Err(Error::invalid("cursor", "it belongs to another definition of the index"));
        }
        let bound_already = match of {
            Order::Index { equal, .. } => equal.len() - keys,
            Order::Everything | Order::Partition(_) => 0,
        };
        let ItemKey { partition, sub } = cursor.key();
        let mut values: Vec<ValueRef<'a>> = cursor.sort()[bound_already..].iter().map(sql_value).collect();
        if !matches!(of, Order::Partition(_)) {
            values.push(ValueRef::Text(partition.as_bytes()));
        }
        values.push(sql_value(sub));
        let values: Vec<String> = values.into_iter().map(|value| self.bind(value)).collect();
        let operator = if descending { "<" } else { ">" };
        self.add(format!("({}) {operator} ({})", order.join(", "), values.join(", ")));
        Ok(())
    }
}

fn sql(
    layout: &Layout,
    index: Option<usize>,
    terms: &[String],
    order: &[String],
    descending: bool,
) -> String {
    let indexed = index.map_or(String::new(), |index| format!(" INDEXED BY {}", layout.index_name(index)));
    let condition = if terms.is_empty() { String::new() } else { format!(" WHERE {}", terms.join(" AND ")) };
    let direction = if descending { " DESC" } else { "" };
    let order: Vec<String> = order.iter().map(|column| format!("{column}{direction}")).collect();
    format!(
        "SELECT {} FROM {}{indexed}{condition} ORDER BY {}",
        layout.item_columns(),
        layout.table,
        order.join(", ")
    )
}
