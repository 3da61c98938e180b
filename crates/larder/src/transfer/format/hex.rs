//! Bytes as text in a line, without a copy of the text: an object may be large.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes that are written in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transfer) struct Hex<'a>(Cow<'a, [u8]>);

impl<'a> Hex<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_owned()
    }
}

/// How many bytes become text at a time.
const AT_A_TIME: usize = 2 << 10;

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(2 * AT_A_TIME.min(self.0.len()));
        for part in self.0.chunks(AT_A_TIME) {
            text.clear();
            for byte in part {
                text.push(char::from(DIGITS[usize::from(byte >> 4)]));
                text.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
            f.write_str(&text)?;
        }
        Ok(())
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hex<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexVisitor).map(|bytes| Self(Cow::Owned(bytes)))
    }
}

struct HexVisitor;

impl de::Visitor<'_> for HexVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes in hexadecimal")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let mut bytes = Vec::with_capacity(text.len() / 2);
        for pair in text.as_bytes().chunks(2) {
            bytes.push(byte(pair).ok_or_else(|| E::custom("not hexadecimal"))?);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        for length in [0, 1, 2, AT_A_TIME, AT_A_TIME + 1, 3 * AT_A_TIME] {
            let bytes: Vec<u8> = (0..length).map(|n| u8::try_from(n * 7 % 256).unwrap()).collect();
            let text = serde_json::to_string(&Hex::of(&bytes)).unwrap();
            assert_eq!(text.len(), 2 * length + 2);
            assert_eq!(serde_json::from_str::<Hex<'_>>(&text).unwrap().into_bytes(), bytes);
        }
        assert_eq!(serde_json::from_str::<Hex<'_>>("\"00fF\"").unwrap().into_bytes(), [0, 255]);
    }

    #[test]
    fn what_is_no_hexadecimal_is_refused() {
        for text in ["\"0\"", "\"0g\"", "\"é\"", "7"] {
            assert!(serde_json::from_str::<Hex<'_>>(text).is_err(), "{text}");
        }
    }
}
