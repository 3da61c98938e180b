//! Cursors: the whole key of the last row of a page.

use std::{fmt, hash::Hasher, str::FromStr};

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::{
    index::Index,
    key::{ItemKey, KeyType, KeyValue},
    query::{ItemQuery, QuerySource},
};
use crate::error::{Error, Result};

/// A place in a paged listing of items, to be given to `after`. As text it can go over a wire and come back.
///
/// ```
/// use larder::{Cursor, Store};
///
/// # fn main() -> larder::Result<()> {
/// let customers = Store::memory().query_db("Customers")?;
/// for n in 0..3 {
///     customers.save(format!("c{n}"), &serde_json::json!({ "n": n })).wait()?;
/// }
/// let page = customers.scan().limit(2).wait()?;
/// let sent = page.next.expect("there is more").to_string();
/// let rest = customers.scan().after(sent.parse::<Cursor>()?).wait()?;
/// assert_eq!(rest.items[0].key.partition, "c2");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Serialize, Deserialize)]
pub struct Cursor {
    /// Of the listing it belongs to: see [`fingerprint`].
    #[serde(rename = "q")]
    fingerprint: u64,
    /// Of the index that orders it, as it is defined; 0 without one.
    #[serde(rename = "i", default, skip_serializing_if = "is_zero")]
    index: u64,
    /// The values of the index's sort fields; empty without an index.
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    sort: Vec<KeyValue>,
    #[serde(rename = "k")]
    key: ItemKey,
}

impl Cursor {
    pub(crate) fn new(fingerprint: u64, index: Option<&Index>, sort: Vec<KeyValue>, key: ItemKey) -> Self {
        Self { fingerprint, index: order_of(index), sort, key }
    }

    /// The values of the index's sort fields, none without an index; for backends.
    #[must_use]
    pub fn sort(&self) -> &[KeyValue] {
        &self.sort
    }

    /// The key of the last item that was looked at; for backends.
    #[must_use]
    pub fn key(&self) -> &ItemKey {
        &self.key
    }

    /// Refuses a cursor of another listing.
    pub(crate) fn check(&self, fingerprint: u64) -> Result<()> {
        if self.fingerprint == fingerprint {
            Ok(())
        } else {
            Err(Error::invalid("cursor", "it belongs to another query, QueryDb or direction"))
        }
    }

    /// Refuses a cursor of an index that was defined otherwise.
    pub(crate) fn check_index(&self, index: Option<&Index>) -> Result<()> {
        let sorted = index.map_or(0, |index| index.sort.len());
        if self.index == order_of(index) && self.sort.len() == sorted {
            return Ok(());
        }
        Err(Error::invalid("cursor", "the index was defined otherwise when the listing began")
            .with_hint("begin the listing anew"))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What tells the order of an index from that of another one, which may have the same name.
fn order_of(index: Option<&Index>) -> u64 {
    let Some(index) = index else { return 0 };
    let mut hash = SipHasher13::new();
    hash.write_u64(index.key.len() as u64);
    for field in index.fields() {
        hash.write_u8(u8::from(field.key_type == KeyType::Number));
        hash.write_u64(field.path.len() as u64);
        hash.write(field.path.as_bytes());
    }
    hash.finish()
}

/// What tells one listing from another: QueryDb, query, direction.
pub(crate) fn fingerprint(query_db: &str, query: Option<&ItemQuery>, descending: bool) -> u64 {
    let mut hash = SipHasher13::new();
    let mut text = |tag: u8, text: &str| {
        hash.write_u8(tag);
        hash.write_u64(text.len() as u64);
        hash.write(text.as_bytes());
    };
    text(0, query_db);
    text(1, if descending { "descending" } else { "ascending" });
    if let Some(query) = query {
        match &query.source {
            QuerySource::Key(partition) => text(2, partition),
            QuerySource::Index { name, values } => {
                text(3, name);
                values.iter().for_each(|value| text(4, &format!("{value:?}")));
            }
        }
        query.sort_prefix.iter().for_each(|value| text(5, &format!("{value:?}")));
        // A derived `Debug` spells out every value, and is stable within a version; a cursor lives for minutes.
        text(6, &format!("{:?} {:?}", query.sort, query.filter));
    }
    hash.finish()
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// URL-safe text.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        for chunk in json.chunks(3) {
            let bits =
                (0..3).fold(0_u32, |bits, n| bits << 8 | u32::from(chunk.get(n).copied().unwrap_or(0)));
            for n in 0..=chunk.len() {
                let digit = bits >> (18 - 6 * n) & 63;
                write!(f, "{}", DIGITS[digit as usize] as char)?;
            }
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || Error::invalid("cursor", "it is not one that a page gave");
        let mut json = Vec::with_capacity(text.len());
        for chunk in text.as_bytes().chunks(4) {
            let mut bits = 0_u32;
            for n in 0..4 {
                let digit = match chunk.get(n) {
                    Some(digit) => DIGITS.iter().position(|other| other == digit).ok_or_else(refused)?,
                    None => 0,
                };
                bits = bits << 6 | u32::try_from(digit).map_err(|_| refused())?;
            }
            json.extend_from_slice(&bits.to_be_bytes()[1..chunk.len().max(1)]);
        }
        serde_json::from_slice(&json).map_err(|_| refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for partition in ["a", "ab", "abc", "abcd", "é\u{10ffff}\"\\"] {
            let cursor =
                Cursor::new(u64::MAX, None, vec![1.5.into(), "x".into()], ItemKey::new(partition, 7));
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
            let cursor = Cursor { index: order_of(Some(&Index::new("i", ["a"]))), ..cursor };
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
        for wrong in ["", "A", "!!!!", "AAAA", "b64cursor"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }
}
