//! Numbers by value: an `i64` exactly, or a finite `f64`.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// A JSON number: an `i64` exactly, or a finite `f64`. Equal and ordered by value, whichever it is.
///
/// An integer beyond `i64` is the nearest `f64`.
///
/// ```
/// use larder::Number;
///
/// assert_eq!(Number::from(2), Number::from(2.0));
/// assert!(Number::from(i64::MAX) < Number::from(9_223_372_036_854_775_808.0));
/// assert_eq!(Number::from(1.5).to_string(), "1.5");
/// ```
#[derive(Clone, Copy)]
pub struct Number(Form);

/// A float that is an `i64` is never kept as a float, so that equal numbers have one form.
#[derive(Clone, Copy)]
enum Form {
    Integer(i64),
    Float(f64),
}

/// 2⁶³, the first float beyond every `i64`.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

impl Number {
    /// The number as an integer, if it is one.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        match self.0 {
            Form::Integer(integer) => Some(integer),
            Form::Float(_) => None,
        }
    }

    /// The number as a float, rounded to the nearest if need be.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
    pub fn as_f64(self) -> f64 {
        match self.0 {
            Form::Integer(integer) => integer as f64,
            Form::Float(float) => float,
        }
    }

    /// Whether it can be stored: infinities and NaN cannot.
    pub(crate) fn check(self, field: &'static str) -> Result<()> {
        match self.0 {
            Form::Float(float) if !float.is_finite() => {
                Err(Error::invalid(field, format!("{float} is not a finite number")))
            }
            _ => Ok(()),
        }
    }

    /// The sum; `None` beyond `i64` for integers, and beyond every finite float.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        match (self.0, other.0) {
            (Form::Integer(left), Form::Integer(right)) => left.checked_add(right).map(Self::from),
            _ => {
                let sum = self.as_f64() + other.as_f64();
                sum.is_finite().then(|| Self::from(sum))
            }
        }
    }
}

impl From<i64> for Number {
    fn from(integer: i64) -> Self {
        Self(Form::Integer(integer))
    }
}

impl From<i32> for Number {
    fn from(integer: i32) -> Self {
        Self::from(i64::from(integer))
    }
}

impl From<u32> for Number {
    fn from(integer: u32) -> Self {
        Self::from(i64::from(integer))
    }
}

impl From<u64> for Number {
    #[expect(clippy::cast_precision_loss, reason = "documented: beyond i64 it is the nearest float")]
    fn from(integer: u64) -> Self {
        i64::try_from(integer).map_or_else(|_| Self(Form::Float(integer as f64)), Self::from)
    }
}

impl From<f64> for Number {
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
    fn from(float: f64) -> Self {
        let is_integer = float.trunc() == float && (-BEYOND..BEYOND).contains(&float);
        Self(if is_integer { Form::Integer(float as i64) } else { Form::Float(float) })
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0, other.0) {
            (Form::Integer(left), Form::Integer(right)) => left.cmp(&right),
            (Form::Float(left), Form::Float(right)) => left.total_cmp(&right),
            (Form::Integer(left), Form::Float(right)) => compare(left, right),
            (Form::Float(left), Form::Integer(right)) => compare(right, left).reverse(),
        }
    }
}

/// Compares exactly: a float within the range of `i64` splits into a whole number and a fraction.
#[expect(clippy::cast_possible_truncation, reason = "within the range of i64")]
fn compare(integer: i64, float: f64) -> Ordering {
    if float.is_nan() || float >= BEYOND {
        return Ordering::Less;
    }
    if float < -BEYOND {
        return Ordering::Greater;
    }
    let floor = float.floor();
    integer.cmp(&(floor as i64)).then(if float > floor { Ordering::Less } else { Ordering::Equal })
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Form::Integer(integer) => integer.fmt(f),
            Form::Float(float) => match serde_json::Number::from_f64(float) {
                Some(json) => json.fmt(f),
                None => float.fmt(f),
            },
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Form::Integer(integer) => serializer.serialize_i64(integer),
            Form::Float(float) => serializer.serialize_f64(float),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        Ok(Self::from_json(&number))
    }
}

impl Number {
    /// A number as JSON wrote it.
    pub(crate) fn from_json(number: &serde_json::Number) -> Self {
        number
            .as_i64()
            .map(Self::from)
            .or_else(|| number.as_u64().map(Self::from))
            .or_else(|| number.as_f64().map(Self::from))
            .unwrap_or(Self(Form::Float(f64::NAN)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_compare_exactly() {
        let big = (1_i64 << 53) + 1;
        assert!(Number::from(big) > Number::from((1_i64 << 53) as f64));
        assert!(Number::from(i64::MIN) == Number::from(-BEYOND));
        assert!(Number::from(i64::MIN) > Number::from(-1e300));
        assert!(Number::from(-1) < Number::from(-0.5) && Number::from(0) > Number::from(-0.5));
        assert_eq!(Number::from(-0.0), Number::from(0));
        assert_eq!(Number::from(u64::MAX), Number::from(18_446_744_073_709_551_616.0));
    }

    #[test]
    fn sums_that_overflow_are_none() {
        assert_eq!(Number::from(i64::MAX).checked_add(Number::from(1)), None);
        assert_eq!(Number::from(f64::MAX).checked_add(Number::from(f64::MAX)), None);
        assert_eq!(Number::from(1).checked_add(Number::from(0.5)), Some(Number::from(1.5)));
    }
}
