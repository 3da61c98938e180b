//! `larder kv status`: the file, what recovery found, and what waits to be synced.

use serde_json::json;

use super::place::Place;
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{bytes, count},
};

/// Shows the state of the file, what recovery found in it, and what waits to be synced
#[derive(Debug, clap::Args)]
pub(super) struct Status {}

impl Status {
    pub(super) fn run(self, context: &Context, place: &Place) -> anyhow::Result<ExitCode> {
        let client = place.open()?;
        let (status, sync, recovery) = (client.status()?, client.sync_state()?, client.recovery().clone());
        client.close().wait()?;
        let path = place.path().display().to_string();
        let value = json!({
            "node": status.node_id,
            "path": path,
            "keys": status.keys,
            "tombstones": status.tombstones,
            "data_bytes": status.data_bytes,
            "file_bytes": status.file_bytes,
            "live_bytes": status.live_bytes,
            "generation": status.generation,
            "recovery": {
                "frames": recovery.frames,
                "records": recovery.records,
                "keys": recovery.keys,
                "end": recovery.end,
                "cut_off": recovery.cut_off,
                "cut_because": recovery.cut_because,
            },
            "sync": {
                "outbox_size": sync.outbox_size,
                "queued": sync.queued,
                "in_flight": sync.in_flight,
                "acknowledged": sync.acknowledged,
                "failed": sync.failed,
                "last_submitted_version": sync.last_submitted_version,
                "last_applied_remote_version": sync.last_applied_remote_version,
                "total_retries": sync.total_retries,
                "peers": sync.peers.len(),
            },
        });
        context.ui.result(&value, |ui| {
            let cut_off = match (recovery.cut_off, recovery.cut_because) {
                (0, _) => "nothing".to_owned(),
                (length, because) => format!("{} ({})", bytes(length), because.unwrap_or("unknown")),
            };
            let lines = [
                ("node", status.node_id.clone()),
                ("file", path.clone()),
                ("keys", count(status.keys)),
                ("removed keys kept for sync", count(status.tombstones)),
                ("keys and values", bytes(status.data_bytes)),
                (
                    "file size",
                    format!("{}, {} of it needed", bytes(status.file_bytes), bytes(status.live_bytes)),
                ),
                ("compactions", count(status.generation.saturating_sub(1))),
                ("records recovered", count(recovery.records)),
                ("torn tail cut off", cut_off),
                ("waiting to be synced", count(sync.outbox_size)),
                ("peers", count(sync.peers.len() as u64)),
            ];
            lines.into_iter().try_for_each(|(name, shown)| ui.line(format!("{name:<28}{shown}")))
        })?;
        Ok(ExitCode::Success)
    }
}
