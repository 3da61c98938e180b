//! Keys and values: bytes that print as text where they are text.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use crate::error::{Error, Result};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 64 << 10;
/// The largest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 64 << 20;

/// A key: 1 byte to 64 KiB, ordered by its bytes.
///
/// ```
/// use larder_kv::Key;
///
/// let key = Key::from("settings/theme");
/// assert_eq!(&*key, b"settings/theme");
/// assert_eq!(format!("{key} {key:?}"), r#"settings/theme "settings/theme""#);
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// The key as text, if it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The key's bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A value: at most 64 MiB, possibly empty.
///
/// It is a copy, or shares what the store holds; either way it does not change.
///
/// ```
/// use larder_kv::Value;
///
/// let value = Value::from("dark");
/// assert_eq!(value, "dark");
/// assert_eq!(value.as_str(), Some("dark"));
/// assert_eq!(&*value, b"dark");
/// ```
#[derive(Clone)]
pub struct Value(Repr);

#[derive(Clone)]
enum Repr {
    Own(Vec<u8>),
    Shared(Arc<[u8]>),
}

impl Value {
    /// The value as text, if it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self).ok()
    }

    /// The value's bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        match self.0 {
            Repr::Own(bytes) => bytes,
            Repr::Shared(bytes) => bytes.to_vec(),
        }
    }

    pub(crate) fn shared(bytes: Arc<[u8]>) -> Self {
        Self(Repr::Shared(bytes))
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Own(bytes) => bytes,
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Repr::Own(bytes))
    }
}

impl From<Arc<[u8]>> for Value {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::shared(bytes)
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Value {}

macro_rules! bytes {
    ($type:ident) => {
        impl AsRef<[u8]> for $type {
            fn as_ref(&self) -> &[u8] {
                self
            }
        }

        impl From<&[u8]> for $type {
            fn from(bytes: &[u8]) -> Self {
                Self::from(bytes.to_vec())
            }
        }

        impl<const N: usize> From<[u8; N]> for $type {
            fn from(bytes: [u8; N]) -> Self {
                Self::from(bytes.to_vec())
            }
        }

        impl<const N: usize> From<&[u8; N]> for $type {
            fn from(bytes: &[u8; N]) -> Self {
                Self::from(bytes.to_vec())
            }
        }

        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self::from(text.as_bytes())
            }
        }

        impl From<String> for $type {
            fn from(text: String) -> Self {
                Self::from(text.into_bytes())
            }
        }

        impl From<&String> for $type {
            fn from(text: &String) -> Self {
                Self::from(text.as_bytes())
            }
        }

        impl From<&$type> for $type {
            fn from(same: &$type) -> Self {
                same.clone()
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                **self == *other.as_bytes()
            }
        }

        impl PartialEq<&str> for $type {
            fn eq(&self, other: &&str) -> bool {
                **self == *other.as_bytes()
            }
        }

        impl PartialEq<[u8]> for $type {
            fn eq(&self, other: &[u8]) -> bool {
                **self == *other
            }
        }

        impl PartialEq<&[u8]> for $type {
            fn eq(&self, other: &&[u8]) -> bool {
                **self == **other
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&String::from_utf8_lossy(self))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.as_str() {
                    Some(text) => fmt::Debug::fmt(text, f),
                    None => write!(f, "b\"{}\"", self.escape_ascii()),
                }
            }
        }
    };
}

bytes!(Key);
bytes!(Value);

/// Checks a key that is to be written or read.
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("key", "it is empty; a key has at least one byte"));
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(Error::too_large("key", MAX_KEY_BYTES as u64, key.len() as u64));
    }
    Ok(())
}

/// Checks a value that is to be written.
pub(crate) fn check_value(value: &[u8]) -> Result<()> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(Error::too_large("value", MAX_VALUE_BYTES as u64, value.len() as u64));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_prints_as_text_and_bytes_as_bytes() {
        assert_eq!(format!("{:?} {:?}", Key::from("a\"b"), Value::from([0xff, b'a'])), r#""a\"b" b"\xffa""#);
        assert_eq!(Value::from([0xff]).to_string(), "\u{fffd}");
        assert_eq!(format!("[{:5}]", Key::from("ab")), "[ab   ]");
    }

    #[test]
    fn keys_and_values_have_limits() {
        assert!(check_key(b"").is_err());
        assert!(check_key(&vec![0; MAX_KEY_BYTES]).is_ok());
        assert!(check_key(&vec![0; MAX_KEY_BYTES + 1]).is_err());
        assert!(check_value(b"").is_ok());
    }
}
