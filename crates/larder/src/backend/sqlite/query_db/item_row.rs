//! An item as a row, and its checksum.

use rusqlite::{
    Row,
    types::{ToSqlOutput, ValueRef},
};

use super::layout::Layout;
use crate::{
    backend::sqlite::place::from_sql,
    error::{Error, Result},
    query_db::{Item, ItemKey, KeyValue, Number},
};

/// The places of an item's columns in a row.
const PARTITION: usize = 0;
const SUB: usize = 1;
const ITEM: usize = 2;
const EXPIRES_AT: usize = 3;
const VERSION: usize = 4;
const CHECKSUM: usize = 5;
const KEYS: usize = 6;

/// An item that was read and found sound.
#[derive(Debug)]
pub(super) struct ItemRow {
    pub(super) item: Item,
    /// Of each column.
    pub(super) keys: Vec<Option<KeyValue>>,
}

impl ItemRow {
    /// Reads the columns that `Layout::item_columns` names.
    ///
    /// # Errors
    /// `Corrupted` if the checksum is not that of what is there.
    pub(super) fn read(layout: &Layout, row: &Row<'_>) -> Result<Self> {
        let text = |column: usize| -> Result<&str> {
            row.get_ref(column)?
                .as_str()
                .map_err(|error| Error::corrupted("an item that is no text").caused_by(error))
        };
        let (partition, json) = (text(PARTITION)?, text(ITEM)?);
        let expires_at: Option<i64> = row.get(EXPIRES_AT)?;
        let version: i64 = row.get(VERSION)?;
        let columns = layout.columns.fields.len();
        let mut sum = Checksum::new(&layout.name, partition, row.get_ref(SUB)?, json, version, expires_at);
        for column in 0..columns {
            sum.column(column, row.get_ref(KEYS + column)?);
        }
        if sum.finish() != row.get::<_, i64>(CHECKSUM)? {
            return Err(corrupted(layout).with("item", format!("{partition:?}")));
        }
        let key = |column: usize| -> Result<Option<KeyValue>> { key_value(row.get_ref(column)?) };
        let sub = key(SUB)?.ok_or_else(|| corrupted(layout))?;
        let keys = (KEYS..KEYS + columns).map(key).collect::<Result<_>>()?;
        let expires_at = expires_at.map(from_sql).transpose()?;
        let item = Item::new(ItemKey::new(partition, sub), json.to_owned(), from_sql(version)?, expires_at);
        Ok(Self { item, keys })
    }
}

fn corrupted(layout: &Layout) -> Error {
    Error::corrupted("an item whose checksum is not that of what it says").with("QueryDb", &*layout.name)
}

/// A key value as SQLite has it; `None` for null.
fn key_value(value: ValueRef<'_>) -> Result<Option<KeyValue>> {
    Ok(match value {
        ValueRef::Null => None,
        ValueRef::Integer(integer) => Some(KeyValue::Number(integer.into())),
        ValueRef::Real(float) => Some(KeyValue::Number(float.into())),
        ValueRef::Text(text) => Some(KeyValue::String(
            std::str::from_utf8(text).map_err(|_| Error::corrupted("a key that is no UTF-8"))?.to_owned(),
        )),
        ValueRef::Blob(_) => return Err(Error::corrupted("a key that is a blob")),
    })
}

/// A key value as SQLite takes it.
pub(super) fn sql_value(value: &KeyValue) -> ValueRef<'_> {
    match value {
        KeyValue::Number(number) => sql_number(*number),
        KeyValue::String(text) => ValueRef::Text(text.as_bytes()),
    }
}

fn sql_number(number: Number) -> ValueRef<'static> {
    number.as_i64().map_or_else(|| ValueRef::Real(number.as_f64()), ValueRef::Integer)
}

/// A value to bind.
pub(super) fn bound(value: ValueRef<'_>) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(value)
}

/// CRC-32C over everything that an item says, and where it belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checksum(u32);

impl Checksum {
    pub(super) fn new(
        query_db: &str,
        partition: &str,
        sub: ValueRef<'_>,
        json: &str,
        version: i64,
        expires_at: Option<i64>,
    ) -> Self {
        let mut sum = Self(0);
        sum.bytes(query_db.as_bytes());
        sum.bytes(partition.as_bytes());
        sum.key(sub);
        sum.bytes(json.as_bytes());
        sum.key(ValueRef::Integer(version));
        sum.key(expires_at.map_or(ValueRef::Null, ValueRef::Integer));
        sum
    }

    /// Adds a column, unless it is null: so a column that is new changes nothing.
    pub(super) fn column(&mut self, column: usize, value: ValueRef<'_>) {
        if value != ValueRef::Null {
            self.key(ValueRef::Integer(i64::try_from(column).unwrap_or(i64::MAX)));
            self.key(value);
        }
    }

    /// Adds a value with its type.
    fn key(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.raw(&[0]),
            ValueRef::Integer(integer) => self.tagged(1, integer.to_le_bytes()),
            ValueRef::Real(float) => self.tagged(2, float.to_bits().to_le_bytes()),
            ValueRef::Text(bytes) => {
                self.raw(&[3]);
                self.bytes(bytes);
            }
            ValueRef::Blob(bytes) => {
                self.raw(&[4]);
                self.bytes(bytes);
            }
        }
    }

    fn tagged(&mut self, tag: u8, number: [u8; 8]) {
        let mut bytes = [tag; 9];
        bytes[1..].copy_from_slice(&number);
        self.raw(&bytes);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.raw(&(bytes.len() as u64).to_le_bytes());
        self.raw(bytes);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }

    pub(super) fn finish(self) -> i64 {
        i64::from(self.0)
    }
}
