//! # Larder's key-value client
//!
//! Write locally, keep it on disk, recover later: values in memory, every write in a write-ahead log of its own, with
//! checksums, group commit, recovery that tells a torn tail from corruption, and compaction in the background.
//!
//! ```
//! use larder_kv::{Client, ClientOptions};
//!
//! # fn main() -> larder_kv::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("data/node-a.wal");
//! let options = ClientOptions::persistent("node-a", path);
//! let client = Client::open(options.clone()).wait()?;
//! client.put("settings/theme", "dark").wait()?; // or `.await?`
//! client.close().wait()?;
//!
//! let client = Client::open(options).wait()?;
//! assert_eq!(client.get("settings/theme")?, "dark");
//! assert_eq!(client.sync_state()?.outbox_size, 1);
//! # client.close().wait()
//! # }
//! ```
//!
//! Writes are lazy futures tied to no executor: `.await` them anywhere, or `.wait()` on a plain thread. Reads are
//! synchronous. Every write carries what sync will need (a hybrid logical time, its author, its place among the
//! author's writes), and stays in a durable outbox until other nodes have it; the exchange itself is not there yet.
//!
//! # Finding the way
//!
//! | to | use |
//! |---|---|
//! | open, close | [`Client`], [`ClientOptions`], [`Recovery`] |
//! | write | [`Client::put`], [`Client::remove`], [`Client::batch`] |
//! | read | [`Client::get`], [`Client::find`], [`Client::scan`] |
//! | follow changes | [`Client::watch`] |
//! | see what waits to be synced | [`Client::sync_state`], [`Client::tick`] |
//! | look after the file | [`Client::status`], [`Client::compact`], [`repair`](fn@repair), [`Follow`] |
//! | copy entries elsewhere | [`Client::export`], [`Client::import`] |
//! | tell errors apart | [`ErrorKind`] |
//! | try to break it | [`io::Disk`], [`wal`] |

mod batch;
mod client;
mod commit;
mod compaction;
mod completion;
mod core;
mod error;
mod follow;
pub mod io;
mod open;
mod options;
mod scan;
mod store;
mod sync;
mod transfer;
mod value;
pub mod wal;
mod watch;
mod write;

pub use batch::Batch;
pub use client::{Client, Status};
pub use error::{Error, ErrorKind, Result};
pub use follow::Follow;
#[cfg(any(test, feature = "testing"))]
pub use larder_runtime::ManualClock;
pub use larder_runtime::{Clock, SystemClock, wait};
pub use options::ClientOptions;
pub use scan::{Entry, Scan};
pub use sync::{PeerState, SyncState, Tick, hlc::Hlc};
pub use transfer::Transferred;
pub use value::{Key, MAX_KEY_BYTES, MAX_VALUE_BYTES, Value};
pub use wal::{
    recovery::Recovery,
    repair::{Repaired, repair},
};
pub use watch::{Change, Next, Watch};
pub use write::Write;

/// A call without options: await it, or [wait](larder_runtime::Call::wait) on it.
///
/// ```
/// use larder_kv::{Client, ClientOptions};
///
/// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?; // or `.await?`
/// # Ok::<(), larder_kv::Error>(())
/// ```
pub type Call<T, E = Error> = larder_runtime::Call<T, E>;

/// Compiles and runs the code of the package's page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Package;
