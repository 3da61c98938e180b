//! An item as a row: its values, its checksum, and back.

use rusqlite::{Row, types::ValueRef};

use super::{
    super::{
        checksum::{Crc, length},
        place::from_sql,
        row::utf8,
    },
    table::{FIXED_COLUMNS, Table},
};
use crate::{
    error::{Error, Result},
    query_db::{Item, ItemKey, KeyValue, Number, Prepared},
};

/// A key value as it is stored.
pub(super) fn stored(value: &KeyValue) -> ValueRef<'_> {
    match value {
        KeyValue::String(text) => ValueRef::Text(text.as_bytes()),
        KeyValue::Number(number) => match number.as_i64() {
            Some(integer) => ValueRef::Integer(integer),
            None => ValueRef::Real(number.as_f64()),
        },
    }
}

/// A key value as it was stored.
pub(super) fn key_value(value: ValueRef<'_>) -> Result<KeyValue> {
    match value {
        ValueRef::Integer(integer) => Ok(Number::from(integer).into()),
        ValueRef::Real(float) => Ok(Number::from(float).into()),
        ValueRef::Text(text) => Ok(utf8(text)?.into()),
        ValueRef::Null | ValueRef::Blob(_) => Err(Error::corrupted("a key that is neither number nor text")),
    }
}

/// Whether two stored values are the same, in their form too.
pub(super) fn same(left: ValueRef<'_>, right: ValueRef<'_>) -> bool {
    match (left, right) {
        (ValueRef::Real(left), ValueRef::Real(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}

/// The columns of index fields: a field's value, if the item is in an index with that field.
pub(super) fn index_columns<'a>(table: &Table, prepared: &'a Prepared) -> Vec<ValueRef<'a>> {
    let mut columns = vec![ValueRef::Null; table.layout.columns.len()];
    for (index, values) in table.indexes.iter().zip(&prepared.index_keys) {
        for (column, value) in index.columns.iter().zip(values.iter().flatten()) {
            columns[*column] = stored(value);
        }
    }
    columns
}

/// The values of an item's row. Borrowed, so that nothing is copied for its checksum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    pub partition: &'a str,
    pub sub: ValueRef<'a>,
    pub json: &'a str,
    pub expires_at: Option<i64>,
    pub version: i64,
}

impl Values<'_> {
    /// CRC-32C over what an item says and where it belongs. Each text carries its length, so that no two different
    /// items have the same bytes; a column without a value adds nothing, so that columns can come later.
    pub(super) fn checksum<'b>(
        &self,
        query_db: &str,
        columns: impl IntoIterator<Item = ValueRef<'b>>,
    ) -> i64 {
        let mut head = [0; 28];
        head[..8].copy_from_slice(&self.version.to_le_bytes());
        head[8..16].copy_from_slice(&self.expires_at.unwrap_or(-1).to_le_bytes());
        head[16..20].copy_from_slice(&length(query_db.as_bytes()).to_le_bytes());
        head[20..24].copy_from_slice(&length(self.partition.as_bytes()).to_le_bytes());
        head[24..].copy_from_slice(&length(self.json.as_bytes()).to_le_bytes());
        let mut crc = Crc::default();
        crc.add(&head);
        crc.add(query_db.as_bytes());
        crc.add(self.partition.as_bytes());
        add_value(&mut crc, 0, self.sub);
        crc.add(self.json.as_bytes());
        for (number, value) in (1..).zip(columns) {
            add_value(&mut crc, number, value);
        }
        crc.finish()
    }
}

/// Adds a value with the number of its column. The form counts: 1 is not 1.0.
pub(super) fn add_value(crc: &mut Crc, column: u16, value: ValueRef<'_>) {
    let (tag, number, text) = match value {
        ValueRef::Null => return,
        ValueRef::Integer(integer) => (b'i', integer.to_le_bytes(), &[][..]),
        ValueRef::Real(float) => (b'r', float.to_bits().to_le_bytes(), &[][..]),
        ValueRef::Text(text) => (b't', (text.len() as u64).to_le_bytes(), text),
        ValueRef::Blob(blob) => (b'b', (blob.len() as u64).to_le_bytes(), blob),
    };
    let mut head = [0; 11];
    head[..2].copy_from_slice(&column.to_le_bytes());
    head[2] = tag;
    head[3..].copy_from_slice(&number);
    crc.add(&head);
    crc.add(text);
}

/// An item's row as it was read, its checksum not yet compared.
pub(super) struct StoredItem<'a> {
    table: &'a Table,
    row: &'a Row<'a>,
    pub values: Values<'a>,
}

impl<'a> StoredItem<'a> {
    /// Reads the columns of [`Statements::columns`](super::table::Statements).
    pub(super) fn read(table: &'a Table, row: &'a Row<'a>) -> Result<Self> {
        let values = Values {
            partition: text(row, 0)?,
            sub: row.get_ref(1)?,
            json: text(row, 2)?,
            expires_at: row.get(3)?,
            version: row.get(4)?,
        };
        Ok(Self { table, row, values })
    }

    /// Compares the checksum.
    pub(super) fn check(&self) -> Result<()> {
        let checksum = self.values.checksum(self.table.checksummed_name(), self.columns());
        let expected: i64 = self.row.get(5)?;
        let is_negative = self.values.expires_at.is_some_and(|at| at < 0);
        if checksum == expected && !is_negative {
            return Ok(());
        }
        Err(self.corrupted("a checksum that does not match"))
    }

    pub(super) fn corrupted(&self, problem: &'static str) -> Error {
        let key = self.key().map_or_else(|_| self.values.partition.to_owned(), |key| key.to_string());
        Error::corrupted(problem)
            .with("QueryDb", self.table.name.clone())
            .with("item", key)
            .with_hint("run `larder verify` to find everything that is damaged")
    }

    /// The columns of index fields.
    pub(super) fn columns(&self) -> impl Iterator<Item = ValueRef<'a>> + use<'a> {
        let row = self.row;
        let columns = self.table.layout.columns.len();
        (0..columns).map(move |column| row.get_ref(FIXED_COLUMNS + column).unwrap_or(ValueRef::Null))
    }

    pub(super) fn column(&self, column: usize) -> Result<KeyValue> {
        key_value(self.row.get_ref(FIXED_COLUMNS + column)?)
    }

    /// The row id, after the columns.
    pub(super) fn row_id(table: &Table, row: &Row<'_>) -> Result<i64> {
        Ok(row.get(FIXED_COLUMNS + table.layout.columns.len())?)
    }

    /// Whether a row has this key.
    pub(super) fn is_under(row: &Row<'_>, key: &ItemKey) -> Result<bool> {
        let partition = ValueRef::Text(key.partition.as_bytes());
        Ok(same(row.get_ref(0)?, partition) && same(row.get_ref(1)?, stored(&key.sub)))
    }

    pub(super) fn key(&self) -> Result<ItemKey> {
        Ok(ItemKey { partition: self.values.partition.to_owned(), sub: key_value(self.values.sub)? })
    }

    pub(super) fn expires_at(&self) -> Option<u64> {
        self.values.expires_at.map(i64::cast_unsigned)
    }

    pub(super) fn version(&self) -> Result<u64> {
        from_sql(self.values.version)
    }

    /// The item, once its checksum was compared.
    pub(super) fn to_item(&self) -> Result<Item> {
        self.check()?;
        Ok(Item::new(self.key()?, self.values.json.to_owned(), self.version()?, self.expires_at()))
    }
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a str> {
    match row.get_ref(column)? {
        ValueRef::Text(bytes) => utf8(bytes),
        _ => Err(Error::corrupted("a column that is not text")),
    }
}
