//! What sync needs, and what it says about itself. The parts in here know no clock and no socket.

pub(crate) mod entry;
pub(crate) mod hlc;
pub(crate) mod outbox;
pub(crate) mod version_vector;

/// What waits to reach other nodes, and what has.
///
/// An entry is pending from its write until every configured peer has it; with none configured, it stays pending.
/// There is at most one pending entry per key: a newer write takes the older one's place. Pending entries are found
/// again after a restart. The other counts are since the client was opened.
///
/// ```
/// use larder_kv::{Client, ClientOptions};
///
/// # fn main() -> larder_kv::Result<()> {
/// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
/// client.put("profile/name", "Ada").wait()?;
/// client.put("profile/name", "Ada Lovelace").wait()?;
/// let state = client.sync_state()?;
/// assert_eq!((state.outbox_size, state.last_submitted_version), (1, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncState {
    /// Entries that some peer does not have yet, or that have no peer to go to.
    pub outbox_size: u64,
    /// Those of them that are not on their way.
    pub queued: u64,
    /// Those of them that are on their way, and not acknowledged.
    pub in_flight: u64,
    /// Entries that every peer has acknowledged.
    pub acknowledged: u64,
    /// Entries that a peer refused for good. Being offline is never a failure.
    pub failed: u64,
    /// The sequence number of this node's latest write; 0 if it has none.
    pub last_submitted_version: u64,
    /// The sequence number, by its author, of the latest write taken over from another node; 0 if there is none.
    pub last_applied_remote_version: u64,
    /// How often something was sent again.
    pub total_retries: u64,
    /// The same for each configured peer.
    pub peers: Vec<PeerState>,
}

/// What waits to reach one peer, and what has: see [`SyncState`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerState {
    /// The peer's node id.
    pub node_id: String,
    /// Entries that it does not have yet.
    pub outbox_size: u64,
    /// Those of them that are on their way, and not acknowledged.
    pub in_flight: u64,
    /// Entries that it has acknowledged.
    pub acknowledged: u64,
    /// Entries that it refused for good.
    pub failed: u64,
    /// How often something was sent to it again.
    pub total_retries: u64,
}

/// What one round of sync has done.
///
/// ```
/// use larder_kv::{Client, ClientOptions};
///
/// # fn main() -> larder_kv::Result<()> {
/// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
/// client.put("profile/name", "Ada").wait()?;
/// assert_eq!(client.tick().wait()?.sent, 0); // there is nobody to send it to
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tick {
    /// Entries sent, those sent again included.
    pub sent: u64,
    /// Those of them that were sent again.
    pub retried: u64,
    /// Entries that left the outbox, because every peer has them.
    pub pruned: u64,
    /// The size of the largest batch that was sent.
    pub batch_size: u64,
}
