//! `larder stats`: numbers about the store.

use larder::backend::{LogStats, StoreStats};
use serde_json::{Map, Value, json};

use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, Table, Ui, bytes, count, counted},
};

/// Counts logs, streams and events, by type
#[derive(Debug, clap::Args)]
pub(crate) struct Stats {}

impl Stats {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let stats = context.open_to_read()?.stats().wait()?;
        context.ui.result(&stats_json(&stats), |ui| show(ui, &stats))?;
        Ok(ExitCode::Success)
    }
}

fn stats_json(stats: &StoreStats) -> Value {
    let log = |log: &LogStats| {
        let types: Map<String, Value> =
            log.types.iter().map(|(event_type, events)| (event_type.clone(), (*events).into())).collect();
        json!({
            "log": log.info.log,
            "events": log.events,
            "streams": log.streams,
            "head": log.info.head.get(),
            "compacted_through": log.info.compacted_through.get(),
            "audits_conditions": log.info.audits_conditions,
            "types": types,
        })
    };
    json!({
        "backend": stats.backend,
        "bytes": stats.bytes,
        "logs": stats.logs.iter().map(log).collect::<Vec<_>>(),
        "snapshots": {
            "snapshots": stats.snapshots.snapshots,
            "subjects": stats.snapshots.subjects,
            "bytes": stats.snapshots.bytes,
        },
    })
}

fn show(ui: &Ui, stats: &StoreStats) -> std::io::Result<()> {
    ui.line(format!("{}  {}", ui.paint(Part::Heading, &stats.backend), bytes(stats.bytes)))?;
    if stats.snapshots.snapshots > 0 {
        let (snapshots, subjects) = (stats.snapshots.snapshots, stats.snapshots.subjects);
        let (snapshots, subjects) = (counted(snapshots, "snapshot"), counted(subjects, "subject"));
        ui.line(format!("{snapshots} of {subjects}, {}", bytes(stats.snapshots.bytes)))?;
    }
    if stats.logs.is_empty() {
        return ui.line("no logs");
    }
    ui.line("")?;
    let mut logs = Table::new(ui, &["log", "events", "streams", "last position", "compacted through"]);
    for log in &stats.logs {
        let compacted = match log.info.compacted_through.get() {
            0 => String::new(),
            through => count(through),
        };
        let head = count(log.info.head.get());
        logs.row(&[log.info.log.clone(), count(log.events), count(log.streams), head, compacted]);
    }
    logs.show(ui)?;
    if stats.logs.iter().all(|log| log.types.is_empty()) {
        return Ok(());
    }
    ui.line("")?;
    let mut types = Table::new(ui, &["log", "event type", "events"]);
    for log in &stats.logs {
        for (event_type, events) in &log.types {
            types.row(&[log.info.log.clone(), event_type.clone(), count(*events)]);
        }
    }
    types.show(ui)
}
