//! Limits on everything, and the one place where names are checked.

use crate::error::{Error, Result};

/// How large things may be. All sizes are in bytes.
///
/// ```
/// use larder::{Config, ErrorKind, Limits, NewEvent, Store};
///
/// # fn main() -> larder::Result<()> {
/// let mut limits = Limits::default();
/// limits.payload_bytes = 10;
/// let log = Store::open(Config::memory().limits(limits)).wait()?.event_log("orders")?;
/// let error = log.append("order-1", 0, [NewEvent::new("Placed", "a long story")]).wait().unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::TooLarge { field: "payload", limit: 10, .. }));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest event payload. Default 1 MiB.
    pub payload_bytes: usize,
    /// The most events, or items, that a read without a limit returns. Default 100,000.
    pub read_events: usize,
    /// The most events in one atomic append or batch. Default 100,000.
    pub append_events: usize,
    /// The largest item of a QueryDb. Default 1 MiB.
    pub item_bytes: usize,
    /// The largest state of a snapshot, before it is compressed. Default 64 MiB.
    pub snapshot_bytes: usize,
    /// The largest object of a task bucket. Default 64 MiB.
    pub object_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_bytes: 1 << 20,
            read_events: 100_000,
            append_events: 100_000,
            item_bytes: 1 << 20,
            snapshot_bytes: 64 << 20,
            object_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// The most rows a page may hold, and whether going over is `TooLarge` rather than a next page.
    pub(crate) fn page_rows(&self, limit: Option<usize>) -> (usize, bool) {
        limit.map_or((self.read_events, true), |limit| (limit, false))
    }
}

/// The most tags on one event.
pub(crate) const TAGS_PER_EVENT: usize = 64;
const NAME_CHARS: usize = 128;
const KEY_BYTES: usize = 1024;
const LABEL_CHARS: usize = 255;

/// Checks the name of a log, QueryDb, bucket or projection.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    if name.is_empty() || name.len() > NAME_CHARS || !name.chars().all(allowed) {
        let reason = format!("`{}` is not 1 to {NAME_CHARS} characters of [A-Za-z0-9_.:-]", shorten(name));
        return Err(Error::invalid(field, reason));
    }
    Ok(())
}

/// Checks a stream id or a key.
pub(crate) fn check_key(field: &'static str, key: &str) -> Result<()> {
    if key.is_empty() {
        let reason = format!("`` is not 1 to {KEY_BYTES} bytes of text without control characters");
        return Err(Error::invalid(field, reason));
    }
    check_text(field, key)
}

/// Checks a key that may be empty.
pub(crate) fn check_text(field: &'static str, key: &str) -> Result<()> {
    if key.len() > KEY_BYTES || key.chars().any(char::is_control) {
        let least = usize::from(field != "sub key" && field != "key field");
        let reason = format!(
            "`{}` is not {least} to {KEY_BYTES} bytes of text without control characters",
            shorten(key)
        );
        return Err(Error::invalid(field, reason));
    }
    Ok(())
}

/// Checks an event type.
pub(crate) fn check_event_type(event_type: &str) -> Result<()> {
    if event_type.is_empty() || event_type.chars().nth(LABEL_CHARS).is_some() {
        let reason = format!("`{}` is not 1 to {LABEL_CHARS} characters", shorten(event_type));
        return Err(Error::invalid("event type", reason));
    }
    Ok(())
}

/// Checks a tag.
pub(crate) fn check_tag(tag: &str) -> Result<()> {
    if tag.is_empty() || tag.chars().nth(LABEL_CHARS).is_some() || tag.chars().any(char::is_control) {
        let reason =
            format!("`{}` is not 1 to {LABEL_CHARS} characters without control characters", shorten(tag));
        return Err(Error::invalid("tag", reason));
    }
    Ok(())
}

/// A value as it is shown in a message: escaped, and no longer than a line.
fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}

/// The highest position, and the highest `seq_nr`.
pub(crate) const HIGHEST_NUMBER: u64 = (1 << 47) - 1;

/// Checks a position or a `seq_nr` that is to be stored.
pub(crate) fn check_number(field: &'static str, number: u64) -> Result<()> {
    if number > HIGHEST_NUMBER { Err(Error::too_large(field, HIGHEST_NUMBER, number)) } else { Ok(()) }
}
