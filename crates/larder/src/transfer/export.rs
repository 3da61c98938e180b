//! Out: everything that a store holds, as lines.

mod lines;
mod log;
mod projection;
mod query_db;
mod task_bucket;

use std::io::Write;

use self::{
    lines::Lines,
    log::LogExport,
    projection::{Checkpoints, LogEnds},
};
use super::{
    TransferOptions, Transferred,
    format::{Line, VERSION},
};
use crate::{
    backend::{Backend, Progress},
    error::Result,
};

/// How much is read at a time.
const PAGE_ROWS: usize = 500;
const PAGE_BYTES: usize = 4 << 20;

/// Tells whoever wants to know how far the export is.
#[derive(Clone, Copy)]
struct Tally<'a> {
    progress: &'a Progress,
    /// The rows of earlier sections.
    before: u64,
}

impl Tally<'_> {
    /// After so many rows of this section.
    fn report(self, rows: u64) {
        self.progress.report(self.before + rows, 0);
    }
}

pub(super) async fn export<W: Write>(
    backend: &dyn Backend,
    options: TransferOptions,
    writer: W,
) -> Result<Transferred> {
    let logs = log::names(backend, &options).await?;
    let checkpoints = Checkpoints::read(backend).await?;
    let mut lines = Lines::new(writer);
    let written_by = concat!("larder ", env!("CARGO_PKG_VERSION")).into();
    lines.write(&Line::LarderExport { version: VERSION, written_by })?;
    let mut exported = Transferred::default();
    let mut ends = LogEnds::new();
    for name in &logs {
        let mut log = LogExport::start(backend, name).await?;
        let tally = Tally { progress: &options.progress, before: exported.rows() };
        ends.insert(name.clone(), log.write(&mut lines, tally).await?);
        exported.logs.push(log.into_counted());
    }
    if options.is_everything() {
        export_others(backend, &options, &mut lines, (checkpoints, ends), &mut exported).await?;
    }
    lines.finish(exported.rows())?;
    Ok(exported)
}

/// Writes what is no log. Projections come last: an import registers them when what they own is there.
async fn export_others<W: Write>(
    backend: &dyn Backend,
    options: &TransferOptions,
    lines: &mut Lines<W>,
    (mut checkpoints, ends): (Checkpoints, LogEnds),
    exported: &mut Transferred,
) -> Result<()> {
    let query_dbs = backend.query_dbs().await?;
    checkpoints.begin_query_dbs(backend, &query_dbs).await?;
    for info in query_dbs {
        let tally = Tally { progress: &options.progress, before: exported.rows() };
        exported.query_dbs.push(query_db::export(backend, info, lines, tally).await?);
    }
    for info in backend.task_buckets().await? {
        let tally = Tally { progress: &options.progress, before: exported.rows() };
        exported.task_buckets.push(task_bucket::export(backend, &info.bucket, lines, tally).await?);
    }
    let after = backend.query_dbs().await?;
    for info in backend.projections().await? {
        let projection = checkpoints.as_exported(&info, &ends, &after)?;
        exported.projections.push(projection::export(backend, &info, projection, lines).await?);
        options.progress.report(exported.rows(), 0);
    }
    Ok(())
}
