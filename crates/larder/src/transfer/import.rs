//! In: lines as rows of each log, committed in chunks.

use std::{
    io::{BufRead, Read},
    mem,
    sync::Arc,
};

use super::{
    TransferOptions, Transferred, TransferredLog, TransferredQueryDb,
    format::{Line, Row, VERSION, position_of},
    io_error,
};
use crate::{
    backend::{Backend, CommitRequest, HistoryRow, ItemData, Operation, QueryDbOperation, SnapshotOperation},
    error::{Error, ErrorKind, Result},
    limits::{Limits, check_name},
    query_db::QueryDbSpec,
};

/// The most rows, and bytes of lines, of a commit.
const CHUNK_ROWS: usize = 1_000;
const CHUNK_BYTES: usize = 1 << 20;

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
    let (chunk, snapshots) = (Vec::new(), Vec::new());
    let mut import =
        Import { backend, options, items: Vec::new(), chunk, snapshots, bytes: 0, committed_line: 0 };
    let mut lines = Lines::new(reader, limits);
    let read = import.run(&mut lines).await;
    read.map_err(|error| error.with("committed line", import.committed_line.to_string()))?;
    let mut imported = lines.found;
    imported.logs.retain(|log| import.options.includes(&log.log));
    Ok(imported)
}

struct Import<'a> {
    backend: &'a dyn Backend,
    options: TransferOptions,
    /// Items of one QueryDb.
    items: Vec<ItemData>,
    chunk: Vec<HistoryRow>,
    snapshots: Vec<Operation>,
    bytes: usize,
    committed_line: u64,
}

impl Import<'_> {
    async fn run(&mut self, lines: &mut Lines<'_, impl BufRead>) -> Result<()> {
        while let Some(row) = lines.next()? {
            let row = match row {
                Row::QueryDb(name, spec) => {
                    self.define(name, spec, lines.number).await?;
                    continue;
                }
                Row::Item(name, item) => {
                    self.take_item(&name, item, (lines.line.len(), lines.number)).await?;
                    self.options.progress.report(lines.found.rows(), 0);
                    continue;
                }
                Row::QueryDbEnd(name) => {
                    self.save(&name, lines.number).await?;
                    continue;
                }
                row => row,
            };
            let log = lines.log()?;
            if !self.options.includes(&log) {
                continue;
            }
            let ends = matches!(row, Row::History(HistoryRow::Log { .. }));
            self.bytes += lines.line.len();
            match row {
                Row::History(row) => self.chunk.push(row),
                Row::Snapshot(snapshot) => {
                    self.snapshots.push(Operation::Snapshot(SnapshotOperation::Restore(snapshot)));
                }
                Row::QueryDb(..) | Row::Item(..) | Row::QueryDbEnd(_) => {
                    unreachable!("they were taken before")
                }
            }
            if ends || self.chunk.len() + self.snapshots.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES {
                self.commit(log, lines.number).await?;
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

    async fn define(&mut self, query_db: Arc<str>, spec: QueryDbSpec, line: u64) -> Result<()> {
        if self.options.logs.is_empty() {
            self.change(QueryDbOperation::Define { query_db: query_db.clone(), spec }, &query_db, line)
                .await?;
        }
        Ok(())
    }

    async fn take_item(
        &mut self,
        query_db: &Arc<str>,
        item: ItemData,
        (bytes, line): (usize, u64),
    ) -> Result<()> {
        if !self.options.logs.is_empty() {
            return Ok(());
        }
        self.bytes += bytes;
        self.items.push(item);
        if self.items.len() >= CHUNK_ROWS || self.bytes >= CHUNK_BYTES {
            self.save(query_db, line).await?;
        }
        Ok(())
    }

    async fn save(&mut self, query_db: &Arc<str>, line: u64) -> Result<()> {
        let items = mem::take(&mut self.items);
        self.bytes = 0;
        if items.is_empty() {
            return Ok(());
        }
        self.change(QueryDbOperation::SaveAll { query_db: query_db.clone(), items }, query_db, line).await
    }

    async fn change(&mut self, operation: QueryDbOperation, query_db: &str, line: u64) -> Result<()> {
        let operations = vec![Operation::QueryDb(operation)];
        let request = CommitRequest { id: None, operations, on_callers_thread: false };
        self.backend.commit(request).await.map_err(|error| error.with("QueryDb", query_db))?;
        self.committed_line = line;
        Ok(())
    }

    async fn commit(&mut self, log: Arc<str>, line: u64) -> Result<()> {
        self.bytes = 0;
        let rows = mem::take(&mut self.chunk);
        let mut operations = mem::take(&mut self.snapshots);
        if !rows.is_empty() {
            operations.push(Operation::Restore { log: log.clone(), rows });
        }
        let request = CommitRequest { id: None, operations, on_callers_thread: false };
        self.backend.commit(request).await.map_err(|error| error.with("log", &*log))?;
        self.committed_line = line;
        Ok(())
    }
}

/// The lines of an export, checked one by one and as a whole.
struct Lines<'a, R> {
    reader: R,
    limits: &'a Limits,
    line: Vec<u8>,
    /// From 1.
    number: u64,
    crc: u32,
    stage: Stage,
    found: Transferred,
}

#[derive(Debug, Clone)]
enum Stage {
    Start,
    Between,
    Log(Arc<str>),
    /// A QueryDb, and whether its items carry the time at which they expire themselves.
    QueryDb(Arc<str>, bool),
    Ended,
}

impl<'a, R: BufRead> Lines<'a, R> {
    fn new(reader: R, limits: &'a Limits) -> Self {
        let (line, found) = (Vec::new(), Transferred::default());
        Self { reader, limits, line, number: 0, crc: 0, stage: Stage::Start, found }
    }

    /// The log that the last row belongs to.
    fn log(&self) -> Result<Arc<str>> {
        self.found.logs.last().map(|log| log.log.as_str().into()).ok_or_else(|| bad("a row outside of a log"))
    }

    /// The next row, or snapshot, of a log; `None` at the end of the export.
    fn next(&mut self) -> Result<Option<Row>> {
        loop {
            let crc_before = self.crc;
            if !self.read_line()? {
                return match self.stage {
                    Stage::Ended => Ok(None),
                    Stage::Start => Err(bad("the file is empty").with("line", "1")),
                    _ => Err(Error::corrupted("the export is cut off: its last line is missing")
                        .with("line", self.number.to_string())),
                };
            }
            let number = self.number;
            let step = self.step(crc_before);
            if let Some(row) = step.map_err(|error| error.with("line", number.to_string()))? {
                return Ok(Some(row));
            }
        }
    }

    /// Reads a line, but no more of it than a line can have.
    fn read_line(&mut self) -> Result<bool> {
        // Escaped text takes six bytes for one at most, in the payload and in the metadata; a container takes two.
        let event = self.limits.payload_bytes as u64 * 12;
        let longest = event.max(self.limits.snapshot_bytes as u64 * 2) + (1 << 20);
        self.line.clear();
        self.number += 1;
        let mut bounded = (&mut self.reader).take(longest);
        bounded.read_until(b'\n', &mut self.line).map_err(io_error)?;
        self.crc = crc32c::crc32c_append(self.crc, &self.line);
        if self.line.len() as u64 == longest {
            let error = Error::too_large("line of an export", longest, longest + 1);
            return Err(error.with("line", self.number.to_string()));
        }
        Ok(!self.line.is_empty())
    }

    /// Takes the line that was read.
    fn step(&mut self, crc_before: u32) -> Result<Option<Row>> {
        let line: Line<'_> = match serde_json::from_slice(&self.line) {
            Ok(line) => line,
            Err(error) => return Err(self.unreadable(&error)),
        };
        match (self.stage.clone(), line) {
            (Stage::Start, Line::LarderExport { version: VERSION, .. }) => self.stage = Stage::Between,
            (Stage::Start, Line::LarderExport { version, .. }) => {
                return Err(Error::new(ErrorKind::Incompatible)
                    .with("format version", version.to_string())
                    .with_hint(format!("this build reads version {VERSION}; import it with a newer one")));
            }
            (Stage::Start, _) => return Err(bad("the first line does not say that this is an export")),
            (Stage::Between, Line::Log { name }) => {
                check_name("log", &name)?;
                if self.found.logs.iter().any(|log| log.log == name) {
                    return Err(bad(format!("the log `{name}` comes twice")));
                }
                self.stage = Stage::Log(name.as_ref().into());
                self.found.logs.push(TransferredLog::new(&name));
            }
            (Stage::Between, Line::QueryDb { name, spec }) => {
                check_name("QueryDb", &name)?;
                spec.check()?;
                if self.found.query_dbs.iter().any(|known| known.query_db == name) {
                    return Err(bad(format!("the QueryDb `{name}` comes twice")));
                }
                let query_db: Arc<str> = name.as_ref().into();
                self.stage = Stage::QueryDb(query_db.clone(), spec.ttl_field.is_some());
                self.found.query_dbs.push(TransferredQueryDb { query_db: name.into_owned(), items: 0 });
                return Ok(Some(Row::QueryDb(query_db, spec)));
            }
            (Stage::QueryDb(name, has_ttl_field), line @ Line::Item { .. }) => {
                let item = line.into_item(self.limits)?.ok_or_else(|| bad("an item that is none"))?;
                self.found.query_dbs.last_mut().into_iter().for_each(|known| known.items += 1);
                let ttl = item.ttl.filter(|_| !has_ttl_field);
                return Ok(Some(Row::Item(name, ItemData { ttl, ..item })));
            }
            (Stage::QueryDb(name, _), Line::QueryDbEnd { items }) => {
                if self.found.query_dbs.last().is_none_or(|known| known.items != items) {
                    return Err(bad(format!(
                        "the QueryDb `{name}` has another number of items than it says"
                    )));
                }
                self.stage = Stage::Between;
                return Ok(Some(Row::QueryDbEnd(name)));
            }
            (Stage::QueryDb(..), _) => return Err(bad("a QueryDb without its last line")),
            (Stage::Between, Line::End { rows, crc32c }) => {
                if rows != self.found.rows() || crc32c != format!("{crc_before:08x}") {
                    return Err(Error::corrupted(
                        "the export is not as it was written: its checksum differs",
                    ));
                }
                self.stage = Stage::Ended;
            }
            (Stage::Log(log), line) => {
                let row =
                    line.into_row(&log, self.limits)?.ok_or_else(|| bad("a log without its last row"))?;
                self.count(&row);
                return Ok(Some(row));
            }
            (Stage::Ended, _) => return Err(bad("a line after the last one")),
            (Stage::Between, _) => return Err(bad("a row outside of a log")),
        }
        Ok(None)
    }

    fn count(&mut self, row: &Row) {
        let history = if let Row::History(row) = row { Some(row) } else { None };
        if let Some(log) = self.found.logs.last_mut() {
            log.count(history.and_then(position_of), matches!(history, Some(HistoryRow::Event(_))));
        }
        if matches!(history, Some(HistoryRow::Log { .. })) {
            self.stage = Stage::Between;
        }
    }

    fn unreadable(&self, error: &serde_json::Error) -> Error {
        if matches!(self.stage, Stage::Start) {
            return bad("the first line does not say that this is an export").caused_by(error.to_string());
        }
        if !self.line.ends_with(b"\n") {
            return Error::corrupted("the export is cut off in this line");
        }
        Error::corrupted("the export is not as it was written").caused_by(error.to_string())
    }
}

fn bad(reason: impl Into<String>) -> Error {
    Error::invalid("export", reason)
}
