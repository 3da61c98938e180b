//! What a file says, read from its start, and where it ends.

/// What was found when a client was opened.
///
/// ```
/// use larder_kv::{Client, ClientOptions};
///
/// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
/// assert_eq!(client.recovery().records, 0);
/// # larder_kv::Result::Ok(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Frames (atomic batches) that were read.
    pub frames: u64,
    /// Records that were read in them: puts and removals.
    pub records: u64,
    /// Keys that have a value now.
    pub keys: u64,
    /// Where the last sound frame ended, in bytes from the start of the file.
    pub end: u64,
    /// Bytes of a torn tail that were cut off after it: writes that nobody had been told were done.
    pub cut_off: u64,
    /// What the first of those bytes looked like, if any were cut off.
    pub cut_because: Option<&'static str>,
}
