//! Cases of snapshots: sn_01 to sn_08.

pub(super) mod codec;
pub(super) mod recovery;
pub(super) mod saving;
#[cfg(feature = "sqlite")]
pub(super) mod sqlite;

use crate::{
    error::Result,
    page::Page,
    snapshot::{Snapshot, SnapshotInfo, Snapshots},
    store::Store,
};

/// The snapshots of the log that most cases use.
fn snapshots(store: &Store) -> Result<Snapshots> {
    Ok(super::support::orders(store)?.snapshots())
}

/// The places of a page.
fn places(page: &Page<SnapshotInfo>) -> Vec<u64> {
    page.into_iter().map(|info| info.at).collect()
}

/// The place of a snapshot, and its state as text.
fn told(snapshot: Option<Snapshot>) -> Option<(u64, String)> {
    snapshot.map(|snapshot| (snapshot.at, snapshot.state.to_string()))
}

fn some(at: u64, state: &str) -> Option<(u64, String)> {
    Some((at, state.to_owned()))
}
