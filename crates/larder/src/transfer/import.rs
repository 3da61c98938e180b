//! In: lines as rows of each section, committed in chunks.

mod chunk;
mod lines;
mod section;

use std::io::BufRead;

use self::{chunk::Chunk, lines::Lines, section::Place};
use super::{TransferOptions, Transferred, format::Row};
use crate::{
    backend::{Backend, CommitRequest},
    error::{Error, ErrorKind, Result},
    limits::Limits,
};

/// Reads an export to its end, without a store: whether it is whole, and what it holds.
///
/// # Errors
/// As [`Store::import`](crate::Store::import), but for what concerns a store.
pub fn check_export(reader: impl BufRead, limits: &Limits) -> Result<Transferred> {
    let mut lines = Lines::new(reader, limits);
    while lines.next()?.is_some() {}
    Ok(lines.found)
}

pub(super) async fn import(
    backend: &dyn Backend,
    limits: &Limits,
    options: TransferOptions,
    reader: impl BufRead,
) -> Result<Transferred> {
    let mut import = Import { backend, options, chunk: Chunk::default(), committed_line: 0 };
    let mut lines = Lines::new(reader, limits);
    let read = import.run(&mut lines).await;
    read.map_err(|error| error.with("committed line", import.committed_line.to_string()))?;
    let imported = lines.found;
    if import.options.is_everything() {
        return Ok(imported);
    }
    let mut logs = imported.logs;
    logs.retain(|log| import.options.includes(&log.log));
    Ok(Transferred { logs, ..Transferred::default() })
}

struct Import<'a> {
    backend: &'a dyn Backend,
    options: TransferOptions,
    chunk: Chunk,
    committed_line: u64,
}

impl Import<'_> {
    async fn run(&mut self, lines: &mut Lines<'_, impl BufRead>) -> Result<()> {
        while let Some((place, row)) = lines.next()? {
            if !self.takes(&place) {
                continue;
            }
            if let Row::Projection(_) = row {
                self.check_is_new(&place).await?;
            }
            self.chunk.push(&place, row, lines.bytes());
            if self.chunk.is_due() {
                self.commit(&place, lines.number).await?;
                self.options.progress.report(lines.found.rows(), 0);
            }
        }
        let found = |name: &String| lines.found.logs.iter().any(|log| log.log == *name);
        match self.options.logs.iter().find(|name| !found(name)) {
            Some(missing) => Err(Error::new(ErrorKind::NotFound)
                .with("log", missing)
                .with_hint("the export does not hold a log of this name")),
            None => Ok(()),
        }
    }

    fn takes(&self, place: &Place) -> bool {
        self.options.is_everything() || place.is_log() && self.options.includes(&place.name)
    }

    async fn check_is_new(&self, projection: &Place) -> Result<()> {
        match self.backend.projection_info(projection.name.clone()).await? {
            Some(_) => Err(projection
                .name_in(Error::new(ErrorKind::AlreadyExists))
                .with_hint("a projection is imported only where there is none of its name")),
            None => Ok(()),
        }
    }

    async fn commit(&mut self, place: &Place, line: u64) -> Result<()> {
        let operations = self.chunk.take();
        if !operations.is_empty() {
            let request = CommitRequest { id: None, operations, on_callers_thread: false };
            self.backend.commit(request).await.map_err(|error| place.name_in(error))?;
        }
        self.committed_line = line;
        Ok(())
    }
}
