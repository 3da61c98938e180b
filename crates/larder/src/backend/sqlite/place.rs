//! Where an event lies in the file: its log's number and its position, in one row id.

use crate::{
    error::{Error, Result},
    event::Position,
};

/// Positions take 47 bits, so a log's events lie together, in commit order.
const POSITION_BITS: u32 = 47;
const POSITION_MASK: i64 = (1 << POSITION_BITS) - 1;

/// The highest number of a log: what is left of a positive 64-bit row id.
pub(super) const MAX_LOG: i64 = (1 << (63 - POSITION_BITS)) - 1;
/// The highest position of an event.
pub(super) const MAX_POSITION: u64 = POSITION_MASK as u64;

/// The row id of the event at this position.
pub(super) fn place(log: i64, position: u64) -> i64 {
    debug_assert!((1..=MAX_LOG).contains(&log) && position <= MAX_POSITION);
    (log << POSITION_BITS) | position.cast_signed()
}

/// The position of the event with this row id.
pub(super) fn position_of(place: i64) -> u64 {
    (place & POSITION_MASK).cast_unsigned()
}

/// The row id to start at or end with: positions beyond the highest mean the highest.
pub(super) fn place_bound(log: i64, position: u64) -> i64 {
    place(log, position.min(MAX_POSITION))
}

/// A number as SQLite stores it; what is beyond 2⁶³ − 1 means that.
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that cannot be negative, as it was stored.
pub(super) fn from_sql(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| Error::corrupted("a negative number"))
}

/// A position as it was stored.
pub(super) fn position(number: i64) -> Result<Position> {
    from_sql(number).map(Position::new)
}
