//! Out: rows of each log as lines.

use std::{
    io::{BufWriter, Write},
    sync::Arc,
};

use super::{
    TransferOptions, Transferred, TransferredLog, TransferredQueryDb,
    format::{Line, VERSION, position_of},
    io_error,
};
use crate::{
    backend::{Backend, HistoryRead, HistoryRow, ItemSource, ItemsRead, SnapshotSource, SnapshotsRead},
    error::{Error, ErrorKind, Result},
    event::Position,
    query_db::QueryDbInfo,
};

const PAGE_ROWS: usize = 500;
const PAGE_BYTES: usize = 4 << 20;

/// Writes lines, and keeps a checksum over them.
struct Lines<W: Write> {
    out: BufWriter<W>,
    line: Vec<u8>,
    crc: u32,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, line: &Line<'_>) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).map_err(|error| io_error(error.into()))?;
        self.line.push(b'\n');
        self.crc = crc32c::crc32c_append(self.crc, &self.line);
        self.out.write_all(&self.line).map_err(io_error)
    }
}

pub(super) async fn export<W: Write>(
    backend: &dyn Backend,
    options: TransferOptions,
    writer: W,
) -> Result<Transferred> {
    let known = backend.logs().await?;
    if let Some(missing) = options.logs.iter().find(|name| !known.iter().any(|info| info.log == **name)) {
        return Err(Error::new(ErrorKind::NotFound).with("log", missing));
    }
    let mut lines = Lines { out: BufWriter::with_capacity(64 * 1024, writer), line: Vec::new(), crc: 0 };
    let written_by = concat!("larder ", env!("CARGO_PKG_VERSION")).into();
    lines.write(&Line::LarderExport { version: VERSION, written_by })?;
    let mut exported = Transferred::default();
    for info in known.iter().filter(|info| options.includes(&info.log)) {
        let mut log = LogExport::start(backend, &info.log).await?;
        log.write(&mut lines, &options, exported.rows()).await?;
        exported.logs.push(log.counted);
    }
    if options.logs.is_empty() {
        for info in backend.query_dbs().await? {
            exported.query_dbs.push(export_query_db(backend, info, &mut lines).await?);
            options.progress.report(exported.rows(), 0);
        }
    }
    let crc32c = format!("{:08x}", lines.crc).into();
    lines.write(&Line::End { rows: exported.rows(), crc32c })?;
    lines.out.flush().map_err(io_error)?;
    Ok(exported)
}

/// Writes a QueryDb: its definition, and its visible items, page by page.
async fn export_query_db<W: Write>(
    backend: &dyn Backend,
    info: QueryDbInfo,
    lines: &mut Lines<W>,
) -> Result<TransferredQueryDb> {
    lines.write(&Line::QueryDb { name: (&info.query_db).into(), spec: info.spec })?;
    let mut counted = TransferredQueryDb { query_db: info.query_db.clone(), items: 0 };
    let mut request = ItemsRead {
        query_db: info.query_db.into(),
        source: ItemSource::Scan,
        after: None,
        limit: Some(PAGE_ROWS),
        max_bytes: Some(PAGE_BYTES),
        descending: false,
    };
    loop {
        let page = backend.read_items(request.clone()).await?;
        for item in &page {
            lines.write(&Line::of_item(item))?;
            counted.items += 1;
        }
        request.after = page.next;
        if request.after.is_none() {
            break;
        }
    }
    lines.write(&Line::QueryDbEnd { items: counted.items })?;
    Ok(counted)
}

/// One log, as it is when its snapshots are written: what comes later is left out.
struct LogExport<'a> {
    backend: &'a dyn Backend,
    log: Arc<str>,
    head: Position,
    marks: u32,
    counted: TransferredLog,
}

impl<'a> LogExport<'a> {
    async fn start(backend: &'a dyn Backend, name: &str) -> Result<Self> {
        let log: Arc<str> = name.into();
        let marks = marks(backend, &log).await?;
        Ok(Self { backend, log, head: Position::START, marks, counted: TransferredLog::new(name) })
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
        self.head = info.map_or(Position::START, |info| info.head);
        Ok(())
    }

    async fn write<W: Write>(
        &mut self,
        lines: &mut Lines<W>,
        options: &TransferOptions,
        rows_before: u64,
    ) -> Result<()> {
        lines.write(&Line::Log { name: (&*self.log).into() })?;
        self.write_snapshots(lines).await?;
        let mut after = None;
        let mut ended = false;
        loop {
            let request = HistoryRead { log: self.log.clone(), after, limit: PAGE_ROWS };
            let page = self.backend.read_history(request).await?;
            for row in page.rows {
                ended = matches!(row, HistoryRow::Log { .. });
                let Some(row) = self.as_of_start(row) else { continue };
                self.counted.count(position_of(&row), matches!(row, HistoryRow::Event(_)));
                lines.write(&Line::of_row(&row))?;
            }
            options.progress.report(rows_before + self.counted.rows, 0);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        // A compaction or removal meanwhile would leave holes that no import can take.
        if !ended || marks(self.backend, &self.log).await? != self.marks {
            return Err(Error::new(ErrorKind::HistoryCompacted { through: self.head })
                .with("log", &*self.log)
                .with_hint("the log was compacted while it was exported; export it again"));
        }
        Ok(())
    }

    /// The row as it was at the head, if it was there.
    fn as_of_start(&self, row: HistoryRow) -> Option<HistoryRow> {
        let head = self.head;
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
