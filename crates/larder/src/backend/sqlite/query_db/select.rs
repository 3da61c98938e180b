//! A plan as SQL: one index gives the rows, in order, from where a page begins.

use std::{fmt::Write as _, ops::Bound};

use rusqlite::types::ValueRef;

use super::{
    row::stored,
    table::{Table, column_name},
};
use crate::query_db::{Cursor, KeyValue, Order, Plan};

/// A statement and its parameters.
#[derive(Debug)]
pub(super) struct Select<'a> {
    pub sql: String,
    pub values: Vec<ValueRef<'a>>,
}

/// What a plan's order is made of.
struct Shape<'a> {
    /// What is equal, and to what.
    equal: Vec<(String, ValueRef<'a>)>,
    /// What orders the rows, after that.
    order: Vec<String>,
    /// The index to use; the primary key's is taken by itself.
    index: Option<&'a str>,
}

impl<'a> Select<'a> {
    /// The rows that a plan names, after a cursor of the same order.
    pub(super) fn new(table: &'a Table, plan: &'a Plan, after: Option<&'a Cursor>, descending: bool) -> Self {
        let shape = Shape::of(table, plan);
        let mut select = Self { sql: String::new(), values: Vec::new() };
        let hint = shape.index.map_or_else(String::new, |index| format!(" INDEXED BY {index}"));
        select.push(format_args!("SELECT {} FROM {}{hint} WHERE ", table.sql.columns, table.table_name));
        if shape.equal.is_empty() {
            // Always true; with it, the primary key's index is the one to use.
            select.push(format_args!("partition_key > ''"));
        }
        for (n, (column, value)) in shape.equal.iter().enumerate() {
            let and = if n == 0 { "" } else { " AND " };
            select.push(format_args!("{and}{column} = "));
            select.parameter(*value);
        }
        if shape.index.is_some() {
            for column in shape.order.iter().filter(|column| column.starts_with('k')) {
                select.push(format_args!(" AND {column} IS NOT NULL"));
            }
        }
        select.range(&shape, plan, after.is_some(), descending);
        if let Some(cursor) = after {
            select.after(table, plan, &shape, cursor, descending);
        }
        let direction = if descending { " DESC" } else { "" };
        let order: Vec<String> = shape.order.iter().map(|column| format!("{column}{direction}")).collect();
        select.push(format_args!(" ORDER BY {}", order.join(", ")));
        select
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.sql.write_fmt(text).expect("a string takes everything");
    }

    fn parameter(&mut self, value: ValueRef<'a>) {
        self.values.push(value);
        let number = self.values.len();
        self.push(format_args!("?{number}"));
    }

    /// The bounds of the first thing that orders. Where a cursor bounds the same side, the index starts there, and
    /// the bound is only compared.
    fn range(&mut self, shape: &Shape<'a>, plan: &'a Plan, has_cursor: bool, descending: bool) {
        let Some(column) = shape.order.first() else { return };
        let mut bound = |operator: char, bound: &'a Bound<KeyValue>, only_compared: bool| {
            let (value, equal) = match bound {
                Bound::Unbounded => return,
                Bound::Included(value) => (value, "="),
                Bound::Excluded(value) => (value, ""),
            };
            let plus = if only_compared { "+" } else { "" };
            self.push(format_args!(" AND {plus}{column} {operator}{equal} "));
            self.parameter(stored(value));
        };
        bound('>', &plan.range.low, has_cursor && !descending);
        bound('<', &plan.range.high, has_cursor && descending);
    }

    fn after(&mut self, table: &Table, plan: &Plan, shape: &Shape<'a>, cursor: &'a Cursor, descending: bool) {
        let bound_already = match &plan.order {
            Order::Index { index, equal } => equal.len() - table.indexes[*index].keys,
            Order::Everything | Order::Partition(_) => 0,
        };
        let operator = if descending { '<' } else { '>' };
        self.push(format_args!(" AND ({}) {operator} (", shape.order.join(", ")));
        let key = cursor.key();
        let mut values: Vec<ValueRef<'a>> = cursor.sort()[bound_already..].iter().map(stored).collect();
        if !matches!(plan.order, Order::Partition(_)) {
            values.push(ValueRef::Text(key.partition.as_bytes()));
        }
        values.push(stored(&key.sub));
        for (n, value) in values.into_iter().enumerate() {
            self.push(format_args!("{}", if n == 0 { "" } else { ", " }));
            self.parameter(value);
        }
        self.push(format_args!(")"));
    }
}

impl<'a> Shape<'a> {
    fn of(table: &'a Table, plan: &'a Plan) -> Self {
        let key = || ["partition_key".to_owned(), "sub_key".to_owned()];
        match &plan.order {
            Order::Everything => Self { equal: Vec::new(), order: key().into(), index: None },
            Order::Partition(partition) => {
                let [partition_key, sub_key] = key();
                let equal = vec![(partition_key, ValueRef::Text(partition.as_bytes()))];
                Self { equal, order: vec![sub_key], index: None }
            }
            Order::Index { index, equal } => {
                let index = &table.indexes[*index];
                let columns = index.columns.iter().map(|column| column_name(*column));
                let equal: Vec<_> = columns.clone().zip(equal.iter().map(stored)).collect();
                let order = columns.skip(equal.len()).chain(key()).collect();
                Self { equal, order, index: Some(&index.sql_name) }
            }
        }
    }
}
