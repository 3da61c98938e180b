//! Places in an index, and ranges of them.

use std::ops::Bound;

use crate::query_db::{ItemKey, KeyValue, Number};

/// An item in an index: by the values of the index's fields, then by its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IndexEntry {
    parts: Vec<Part>,
    key: ItemKey,
}

/// A component of a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Value(KeyValue),
    /// After every value.
    End,
}

impl IndexEntry {
    pub(super) fn new(values: &[KeyValue], key: &ItemKey) -> Self {
        Self { parts: parts(values), key: key.clone() }
    }

    pub(super) fn key(&self) -> &ItemKey {
        &self.key
    }

    /// The values from this field on.
    pub(super) fn values_from(&self, field: usize) -> Vec<KeyValue> {
        let value = |part: &Part| match part {
            Part::Value(value) => Some(value.clone()),
            Part::End => None,
        };
        self.parts.iter().skip(field).filter_map(value).collect()
    }

    /// The place before every entry that starts with these values.
    fn before(values: &[KeyValue]) -> Self {
        Self { parts: parts(values), key: least_key("") }
    }

    /// The place after every entry that starts with these values.
    fn after(values: &[KeyValue]) -> Self {
        let mut parts = parts(values);
        parts.push(Part::End);
        Self { parts, key: least_key("") }
    }

    /// The entries that start with these values and have the next one in the range: from the first place up to the
    /// second.
    pub(super) fn range(equal: &[KeyValue], low: &Bound<KeyValue>, high: &Bound<KeyValue>) -> (Self, Self) {
        let with = |value: &KeyValue| [equal, std::slice::from_ref(value)].concat();
        let start = match low {
            Bound::Unbounded => Self::before(equal),
            Bound::Included(value) => Self::before(&with(value)),
            Bound::Excluded(value) => Self::after(&with(value)),
        };
        let end = match high {
            Bound::Unbounded => Self::after(equal),
            Bound::Included(value) => Self::after(&with(value)),
            Bound::Excluded(value) => Self::before(&with(value)),
        };
        (start, end)
    }
}

fn parts(values: &[KeyValue]) -> Vec<Part> {
    values.iter().cloned().map(Part::Value).collect()
}

/// A key that no other of the partition comes before.
fn least_key(partition: &str) -> ItemKey {
    ItemKey::new(partition, Number::from(f64::NEG_INFINITY))
}

/// The keys of a partition whose sub key is in the range.
pub(super) fn partition_range(
    partition: &str,
    low: &Bound<KeyValue>,
    high: &Bound<KeyValue>,
) -> (Bound<ItemKey>, Bound<ItemKey>) {
    let with = |value: &KeyValue| ItemKey::new(partition, value.clone());
    let start = match low {
        Bound::Unbounded => Bound::Included(least_key(partition)),
        Bound::Included(value) => Bound::Included(with(value)),
        Bound::Excluded(value) => Bound::Excluded(with(value)),
    };
    let end = match high {
        // The next partition key that there could be.
        Bound::Unbounded => Bound::Excluded(least_key(&format!("{partition}\0"))),
        Bound::Included(value) => Bound::Included(with(value)),
        Bound::Excluded(value) => Bound::Excluded(with(value)),
    };
    (start, end)
}

/// A range that ordered maps take: they panic if it ends before it starts.
pub(super) fn checked<T: Ord>(start: Bound<T>, end: Bound<T>) -> Option<(Bound<T>, Bound<T>)> {
    let is_empty = match (&start, &end) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            low >= high
        }
    };
    (!is_empty).then_some((start, end))
}
