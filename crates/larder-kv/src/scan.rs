//! Reading many entries in order.

use std::{
    ops::{Bound, RangeBounds},
    sync::Arc,
    vec,
};

use crate::{
    client::Shared,
    store::is_empty_range,
    value::{Key, Value},
};

/// What one look at the store takes at most.
const PAGE_ENTRIES: usize = 1_000;
const PAGE_BYTES: usize = 1 << 20;

/// A key and its value.
///
/// ```
/// use larder_kv::{Client, ClientOptions};
///
/// # fn main() -> larder_kv::Result<()> {
/// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
/// client.put("app/name", "Larder").wait()?;
/// for entry in client.scan("app/")? {
///     assert_eq!((entry.key.as_str(), entry.value.as_str()), (Some("app/name"), Some("Larder")));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
}

/// Entries in the order of their keys' bytes.
///
/// It takes up to a thousand of them, removed ones included, in one look at the store, and goes on after the last of them with the next. So
/// it holds up nobody; a write in the meantime is seen if it is in a part that was not looked at yet.
///
/// ```
/// use larder_kv::{Client, ClientOptions};
///
/// # fn main() -> larder_kv::Result<()> {
/// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
/// for day in ["2026-01-01", "2026-02-01", "2026-03-01"] {
///     client.put(format!("day/{day}"), "").wait()?;
/// }
/// assert_eq!(client.scan("day/")?.range("day/2026-01-15".."day/2026-03").count(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a scan reads nothing until it is asked for the next entry"]
pub struct Scan {
    shared: Arc<Shared>,
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    page: vec::IntoIter<Entry>,
    is_last: bool,
}

impl Scan {
    pub(crate) fn new(shared: Arc<Shared>, prefix: &[u8]) -> Self {
        let end = after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        let start = Bound::Included(prefix.to_vec());
        Self { shared, start, end, page: Vec::new().into_iter(), is_last: false }
    }

    /// Only keys in this range too. The keys are whole, prefix included.
    pub fn range<K: AsRef<[u8]>>(mut self, range: impl RangeBounds<K>) -> Self {
        let start = range.start_bound().map(|key| key.as_ref().to_vec());
        let end = range.end_bound().map(|key| key.as_ref().to_vec());
        self.start = tighter(self.start, start, |own, other| own < other);
        self.end = tighter(self.end, end, |own, other| own > other);
        self
    }

    fn turn_page(&mut self) {
        let range = (self.start.as_ref().map(Vec::as_slice), self.end.as_ref().map(Vec::as_slice));
        if is_empty_range::<[u8]>(&range) {
            self.is_last = true;
            return;
        }
        let (page, last) = self.shared.core.store().page(range, PAGE_ENTRIES, PAGE_BYTES);
        self.is_last = last.is_none();
        if let Some(last) = last {
            self.start = Bound::Excluded(last.into_bytes());
        }
        self.page = page.into_iter();
    }
}

impl Iterator for Scan {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.page.next() {
                return Some(entry);
            }
            if self.is_last {
                return None;
            }
            self.turn_page();
        }
    }
}

/// The first key after all that start with this; none if there is no such key.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The tighter of two bounds of the same side; `is_looser` compares the keys of the first and the second.
fn tighter(
    own: Bound<Vec<u8>>,
    other: Bound<Vec<u8>>,
    is_looser: impl Fn(&[u8], &[u8]) -> bool,
) -> Bound<Vec<u8>> {
    match (&own, &other) {
        (_, Bound::Unbounded) => own,
        (Bound::Unbounded, _) => other,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => {
            let takes_other = is_looser(a, b) || (a == b && matches!(other, Bound::Excluded(_)));
            if takes_other { other } else { own }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next() {
        assert_eq!(after_prefix(b"ab").as_deref(), Some(&b"ac"[..]));
        assert_eq!(after_prefix(b"a\xff\xff").as_deref(), Some(&b"b"[..]));
        assert_eq!(after_prefix(b"\xff\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }
}
