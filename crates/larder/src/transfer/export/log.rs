//! A log, as it is when its turn comes.

use std::{collections::BTreeSet, io::Write, sync::Arc};

use super::{
    super::{
        TransferOptions, TransferredLog,
        format::{Line, position_of},
    },
    PAGE_BYTES, PAGE_ROWS, Tally,
    lines::Lines,
};
use crate::{
    backend::{Backend, HistoryRead, HistoryRow, SnapshotSource, SnapshotsRead},
    error::{Error, ErrorKind, Result},
    event::Position,
    snapshot::{SnapshotPlace, Subject},
};

/// The logs to export, by name: also those that have snapshots and nothing else.
pub(super) async fn names(backend: &dyn Backend, options: &TransferOptions) -> Result<Vec<String>> {
    let mut known: BTreeSet<String> = backend.logs().await?.into_iter().map(|info| info.log).collect();
    add_those_with_snapshots(backend, &mut known).await?;
    if let Some(missing) = options.logs.iter().find(|name| !known.contains(*name)) {
        return Err(Error::new(ErrorKind::NotFound).with("log", missing));
    }
    Ok(known.into_iter().filter(|name| options.includes(name)).collect())
}

/// Looks at the first snapshot of each log, and from there on above all that the log can have.
async fn add_those_with_snapshots(backend: &dyn Backend, known: &mut BTreeSet<String>) -> Result<()> {
    // Longer than a stream id can be, of the highest character.
    let above_all = Subject::stream("\u{10ffff}".repeat(257));
    let mut request = SnapshotsRead {
        source: SnapshotSource::Store,
        after: None,
        limit: Some(1),
        max_bytes: None,
        descending: false,
        pass_over_damaged: false,
    };
    loop {
        let page = backend.list_snapshots(request.clone()).await?;
        let Some(first) = page.items.into_iter().next() else { return Ok(()) };
        let log = first.log;
        known.insert(log.to_string());
        request.after = Some(SnapshotPlace { log, subject: above_all.clone(), at: u64::MAX });
    }
}

/// Where the export of a log ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogEnd {
    pub(super) head: Position,
    /// The highest position that is hidden.
    pub(super) compacted_through: Position,
}

/// One log, as it is when its snapshots are written: what comes later is left out.
pub(super) struct LogExport<'a> {
    backend: &'a dyn Backend,
    log: Arc<str>,
    /// `None` until it is looked for, and of a log that has nothing but snapshots.
    head: Option<Position>,
    marks: u32,
    counted: TransferredLog,
}

impl<'a> LogExport<'a> {
    pub(super) async fn start(backend: &'a dyn Backend, name: &str) -> Result<Self> {
        let log: Arc<str> = name.into();
        let marks = marks(backend, &log).await?;
        Ok(Self { backend, log, head: None, marks, counted: TransferredLog::new(name) })
    }

    pub(super) fn into_counted(self) -> TransferredLog {
        self.counted
    }

    /// Writes the snapshots, and only then looks for the head: so none of them lies beyond it, and, as long as nothing
    /// is compacted meanwhile, what was compacted stays covered though old ones make way for new ones.
    async fn write_snapshots<W: Write>(&mut self, lines: &mut Lines<W>) -> Result<()> {
        let mut request = SnapshotsRead {
            source: SnapshotSource::Log(self.log.clone()),
            after: None,
            limit: Some(PAGE_ROWS),
            max_bytes: Some(PAGE_BYTES),
            descending: false,
            pass_over_damaged: false,
        };
        loop {
            let page = self.backend.read_snapshots(request.clone()).await?;
            for snapshot in &page.snapshots {
                self.counted.count(None, false);
                lines.write(&Line::of_snapshot(snapshot))?;
            }
            request.after = page.next;
            if request.after.is_none() {
                break;
            }
        }
        let info = self.backend.log_info(self.log.clone()).await?;
        self.head = info.map(|info| info.head);
        Ok(())
    }

    pub(super) async fn write<W: Write>(&mut self, lines: &mut Lines<W>, tally: Tally<'_>) -> Result<LogEnd> {
        lines.write(&Line::Log { name: (&*self.log).into() })?;
        self.write_snapshots(lines).await?;
        if self.head.is_none() {
            return self
                .write_row(lines, &NOTHING)
                .map(|()| LogEnd { head: Position::START, compacted_through: Position::START });
        }
        let (mut after, mut end) = (None, None);
        loop {
            let request = HistoryRead { log: self.log.clone(), after, limit: PAGE_ROWS };
            let page = self.backend.read_history(request).await?;
            for row in page.rows {
                let Some(row) = self.as_of_start(row) else { continue };
                if let HistoryRow::Log { head, compacted_through, .. } = row {
                    end = Some(LogEnd { head, compacted_through });
                }
                self.write_row(lines, &row)?;
            }
            tally.report(self.counted.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        // A compaction or removal meanwhile would leave holes that no import can take.
        match end {
            Some(end) if marks(self.backend, &self.log).await? == self.marks => Ok(end),
            _ => Err(Error::new(ErrorKind::HistoryCompacted { through: self.head() })
                .with("log", &*self.log)
                .with_hint("the log was compacted while it was exported; export it again")),
        }
    }

    fn write_row<W: Write>(&mut self, lines: &mut Lines<W>, row: &HistoryRow) -> Result<()> {
        self.counted.count(position_of(row), matches!(row, HistoryRow::Event(_)));
        lines.write(&Line::of_row(row))
    }

    fn head(&self) -> Position {
        self.head.unwrap_or(Position::START)
    }

    /// The row as it was at the head, if it was there.
    fn as_of_start(&self, row: HistoryRow) -> Option<HistoryRow> {
        let head = self.head();
        match row {
            HistoryRow::Stream { compacted_through: 0, .. } => None,
            HistoryRow::AppendId(id) if id.appended.last_position > head => None,
            HistoryRow::Condition { position, .. } if position > head => None,
            HistoryRow::Log { trimmed_through, compacted_through, audits_conditions, .. } => {
                Some(HistoryRow::Log {
                    head,
                    trimmed_through: trimmed_through.min(head),
                    compacted_through: compacted_through.min(head),
                    audits_conditions,
                })
            }
            row if position_of(&row) > Some(head) => None,
            row => Some(row),
        }
    }
}

/// The last row of a log that has nothing but snapshots.
const NOTHING: HistoryRow = HistoryRow::Log {
    head: Position::START,
    trimmed_through: Position::START,
    compacted_through: Position::START,
    audits_conditions: false,
};

/// A checksum over the marks of all streams: it changes when something is compacted or trimmed.
async fn marks(backend: &dyn Backend, log: &Arc<str>) -> Result<u32> {
    let (mut crc, mut after) = (0, None);
    loop {
        let page = backend.read_history(HistoryRead { log: log.clone(), after, limit: PAGE_ROWS }).await?;
        for row in &page.rows {
            match row {
                HistoryRow::Stream { compacted_through: 0, .. } => {}
                HistoryRow::Stream { stream, compacted_through, .. } => {
                    crc = crc32c::crc32c_append(crc, stream.as_bytes());
                    crc = crc32c::crc32c_append(crc, &compacted_through.to_le_bytes());
                }
                _ => return Ok(crc),
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(crc);
        }
    }
}
