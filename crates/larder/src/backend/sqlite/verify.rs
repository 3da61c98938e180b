//! Re-checks everything stored: checksums, contiguity, indexes against what they index, kept conditions.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    append_id, condition,
    event_log::count,
    log_row::{self, LogRow},
    place::{from_sql, place, position_of, to_sql},
    postings::Terms,
    row::{StoredEvent, event_columns, split_tags},
    shared::Shared,
    trace,
};
use crate::{
    backend::{Finding, Progress, VerifyReport},
    error::{Error, Result},
    event::Position,
    query::AppendCondition,
};

/// How many rows are looked at between two reports of progress.
const STEP: u64 = 10_000;

pub(super) fn run(shared: &Shared, progress: &Progress) -> Result<VerifyReport> {
    shared.pool.snapshot(|connection| {
        let report = VerifyReport::default();
        let mut verifier =
            Verifier { connection, terms: &shared.terms, report, progress, total: 0, postings: 0 };
        verifier.structure()?;
        let logs = log_row::all_logs(connection)?;
        verifier.total = logs.iter().map(|(_, log)| log.head).sum();
        for (name, log) in logs {
            let name: Arc<str> = name.into();
            if let Err(error) = verifier.log(&name, &log) {
                verifier.find(&name, None, error.to_string());
            }
        }
        verifier.streams()?;
        verifier.surplus_postings()?;
        Ok(verifier.report)
    })
}

struct Verifier<'a> {
    connection: &'a Connection,
    terms: &'a Terms,
    report: VerifyReport,
    progress: &'a Progress,
    total: u64,
    /// How many rows of the table of postings belong to an event.
    postings: u64,
}

impl Verifier<'_> {
    fn find(&mut self, log: &str, position: Option<u64>, problem: impl Into<String>) {
        let finding = Finding {
            log: Some(log.to_owned()),
            position: position.map(Position::new),
            problem: problem.into(),
        };
        self.report.find(finding);
    }

    /// SQLite's own check: pages, order, and each index against its table.
    fn structure(&mut self) -> Result<()> {
        let mut statement = self.connection.prepare("PRAGMA integrity_check(1000)")?;
        let mut rows = statement.query([])?;
        loop {
            let line = match rows.next() {
                Ok(Some(row)) => row.get::<_, String>(0)?,
                Ok(None) => return Ok(()),
                Err(error) => Error::from(error).to_string(),
            };
            if line != "ok" {
                self.report.find(Finding { log: None, position: None, problem: line });
            }
        }
    }

    fn log(&mut self, name: &Arc<str>, log: &LogRow) -> Result<()> {
        self.events(name, log)?;
        self.append_ids(name, log)?;
        self.conditions(name, log)
    }

    /// Checksums, heads and index entries of a log's events and traces.
    fn events(&mut self, name: &Arc<str>, log: &LogRow) -> Result<()> {
        let sql = concat!(
            "SELECT ",
            event_columns!(),
            " FROM event WHERE place > ?1 AND place < ?2 ORDER BY place"
        );
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query((place(log.number, 0), place(log.number + 1, 0)))?;
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.find(name, None, Error::from(error).to_string());
                    return Ok(());
                }
            };
            self.report.events += 1;
            if self.report.events.is_multiple_of(STEP) {
                self.progress.report(self.report.events, self.total);
            }
            match StoredEvent::read(row) {
                Ok(stored) => self.event(name, log, &stored)?,
                Err(error) => {
                    let position = row.get(0).ok().map(position_of);
                    self.find(name, position, error.to_string());
                }
            }
        }
    }

    fn event(&mut self, name: &Arc<str>, log: &LogRow, stored: &StoredEvent<'_>) -> Result<()> {
        let position = stored.position().get();
        if position > log.head {
            self.find(name, Some(position), format!("above the log's head {}", log.head));
        }
        let stream = trace::name_of(self.connection, stored.stream);
        if let Err(error) = stream.and_then(|stream| stored.check(name, stream.as_deref())) {
            self.find(name, Some(position), error.to_string());
        }
        self.index_entries(name, log, stored)
    }

    /// Looks up an event's postings. Above `merged` the table may hold them already, and need not.
    fn index_entries(&mut self, name: &Arc<str>, log: &LogRow, stored: &StoredEvent<'_>) -> Result<()> {
        let position = stored.position().get();
        let tags = split_tags(stored.columns.tags);
        let tags = tags.iter().map(String::as_str);
        let sql =
            "SELECT EXISTS (SELECT 1 FROM posting WHERE term = ?1 AND position = ?2 AND type_hash = ?3)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut missing = 0;
        for ((term, position), type_hash) in
            self.terms.postings(log.number, position, stored.columns.event_type, tags)
        {
            let found: bool = statement.query_row((term, to_sql(position), type_hash), |row| row.get(0))?;
            self.postings += u64::from(found);
            self.report.index_entries += u64::from(found);
            missing += u64::from(!found);
        }
        if missing > 0 && position <= log.merged {
            self.find(
                name,
                Some(position),
                format!("{missing} entries of the index of tags and types are missing"),
            );
        }
        Ok(())
    }

    /// What belongs to no event is too much. Dropped logs that wait to be swept still have theirs.
    fn surplus_postings(&mut self) -> Result<()> {
        let dropped = "SELECT EXISTS (SELECT 1 FROM sweep JOIN log USING (log) WHERE name IS NULL)";
        if self.connection.query_row(dropped, [], |row| row.get(0))? {
            return Ok(());
        }
        let rows = count(self.connection, "SELECT count(*) FROM posting", [])?;
        if rows > self.postings {
            let surplus = rows - self.postings;
            let problem = format!("{surplus} entries of the index of tags and types belong to no event");
            self.report.find(Finding { log: None, position: None, problem });
        }
        Ok(())
    }

    /// Streams have no holes, and start right after their marks (or below, while that waits to be swept).
    fn streams(&mut self) -> Result<()> {
        let sql = "SELECT event.stream, seq_nr, mark, stream.name, log.name FROM event
                   JOIN stream ON stream.stream = event.stream JOIN log ON log.log = stream.log
                   WHERE event.stream IS NOT NULL AND log.name IS NOT NULL ORDER BY event.stream, seq_nr";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut previous: Option<(i64, u64)> = None;
        while let Some(row) = rows.next()? {
            let (stream, seq_nr): (i64, u64) = (row.get(0)?, from_sql(row.get(1)?)?);
            let follows = match previous {
                Some((same, last)) if same == stream => seq_nr == last + 1,
                _ => seq_nr <= from_sql(row.get(2)?)? + 1,
            };
            if !follows {
                let (name, log): (String, String) = (row.get(3)?, row.get(4)?);
                self.find(&log, None, format!("a hole in stream {name} before seq_nr {seq_nr}"));
            }
            previous = Some((stream, seq_nr));
        }
        Ok(())
    }

    fn append_ids(&mut self, name: &Arc<str>, log: &LogRow) -> Result<()> {
        let mut above = None;
        loop {
            let page = append_id::page(self.connection, log.number, above, 1_000)?;
            let Some(last) = page.last() else { return Ok(()) };
            above = Some(last.id);
            for id in page.iter().filter(|id| id.appended.last_position.get() > log.head) {
                self.find(
                    name,
                    Some(id.appended.last_position.get()),
                    format!("event id {} lies above the head", id.id),
                );
            }
        }
    }

    fn conditions(&mut self, name: &Arc<str>, log: &LogRow) -> Result<()> {
        let mut above = 0;
        loop {
            let page = condition::page(self.connection, log.number, above, 1_000)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            above = last.get();
            for (position, condition) in &page {
                self.report.conditions += 1;
                self.replay(name, log, position.get(), condition)?;
            }
        }
    }

    /// No event in (after, position) may match what the append at this position was guarded by.
    fn replay(
        &mut self,
        name: &Arc<str>,
        log: &LogRow,
        position: u64,
        condition: &AppendCondition,
    ) -> Result<()> {
        let after = condition.after.get();
        if after >= position - 1 {
            return Ok(());
        }
        let sql = "SELECT place, event_type, tags FROM event WHERE place > ?1 AND place < ?2 ORDER BY place";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query((place(log.number, after), place(log.number, position)))?;
        while let Some(row) = rows.next()? {
            let tags = split_tags(row.get_ref(2)?.as_str_or_null().map_err(rusqlite::Error::from)?);
            let event_type = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            if condition.fail_if_events_match.matches(event_type, &tags) {
                let other = position_of(row.get(0)?);
                self.find(
                    name,
                    Some(position),
                    format!("its append condition is violated by the event at {other}"),
                );
                return Ok(());
            }
        }
        Ok(())
    }
}
