//! `larder stats`: numbers about the store.

use larder::backend::{LogStats, QueryDbStats, StoreStats};
use serde_json::{Map, Value, json};

use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, Table, Ui, bytes, count, counted},
};

/// Counts what is stored: logs, QueryDbs, snapshots, task buckets and projections
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
    let query_db = |query_db: &QueryDbStats| {
        json!({
            "name": query_db.info.query_db,
            "items": query_db.items,
            "expired": query_db.expired,
            "indexes": query_db.info.spec.indexes.len(),
            "version": query_db.info.version,
        })
    };
    json!({
        "backend": stats.backend,
        "bytes": stats.bytes,
        "logs": stats.logs.iter().map(log).collect::<Vec<_>>(),
        "query_dbs": stats.query_dbs.iter().map(query_db).collect::<Vec<_>>(),
        "snapshots": {
            "snapshots": stats.snapshots.snapshots,
            "subjects": stats.snapshots.subjects,
            "bytes": stats.snapshots.bytes,
        },
        "task_buckets": stats.task_buckets.iter().map(|bucket| json!({
            "bucket": bucket.name,
            "objects": bucket.objects,
            "bytes": bucket.bytes,
            "tasks": bucket.triggers,
            "dead_letters": bucket.dead_letters,
        })).collect::<Vec<_>>(),
        "projections": stats.projections.iter().map(|info| json!({
            "projection": info.projection,
            "log": info.log,
            "checkpoint": info.checkpoint,
            "dead_letters": info.dead_letters,
            "owns": info.owns,
        })).collect::<Vec<_>>(),
    })
}

fn show(ui: &Ui, stats: &StoreStats) -> std::io::Result<()> {
    ui.line(format!("{}  {}", ui.paint(Part::Heading, &stats.backend), bytes(stats.bytes)))?;
    if stats.snapshots.snapshots > 0 {
        let (snapshots, subjects) = (stats.snapshots.snapshots, stats.snapshots.subjects);
        let (snapshots, subjects) = (counted(snapshots, "snapshot"), counted(subjects, "subject"));
        ui.line(format!("{snapshots} of {subjects}, {}", bytes(stats.snapshots.bytes)))?;
    }
    if !stats.query_dbs.is_empty() {
        ui.line("")?;
        let mut table = Table::new(ui, &["QueryDb", "items", "expired", "indexes", "version"]);
        for query_db in &stats.query_dbs {
            let QueryDbStats { info, items, expired, .. } = query_db;
            let (indexes, version) = (info.spec.indexes.len().to_string(), count(info.version));
            table.row(&[info.query_db.clone(), count(*items), count(*expired), indexes, version]);
        }
        table.show(ui)?;
    }
    for bucket in &stats.task_buckets {
        let (objects, tasks) = (counted(bucket.objects, "object"), counted(bucket.triggers, "task"));
        let (size, dead) = (bytes(bucket.bytes), counted(bucket.dead_letters, "dead letter"));
        ui.line(format!("bucket {}: {objects}, {size}, {tasks}, {dead}", bucket.name))?;
    }
    for info in &stats.projections {
        let (checkpoint, dead) = (count(info.checkpoint.get()), counted(info.dead_letters, "dead letter"));
        let of = info.log.as_ref().map(|log| format!(" of {log}")).unwrap_or_default();
        ui.line(format!("projection {}: through {checkpoint}{of}, {dead}", info.projection))?;
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
