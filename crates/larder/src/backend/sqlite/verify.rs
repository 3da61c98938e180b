//! Re-checks everything stored: checksums, contiguity, indexes against what they index, kept conditions.

use std::{collections::HashMap, sync::Arc};

use rusqlite::Connection;
use uuid::Uuid;

use super::{
    append_id, condition,
    event_log::count,
    log_row::{self, LogRow},
    place::{from_sql, place, position_of, to_sql},
    postings::Terms,
    projection, query_db,
    row::{StoredEvent, event_columns, split_tags},
    shared::Shared,
    snapshot, sweep, task_bucket,
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
        let sweeping = sweep::is_pending(connection)?;
        let newest = HashMap::new();
        let mut verifier = Verifier {
            connection,
            terms: &shared.terms,
            report,
            progress,
            total: 0,
            postings: 0,
            sweeping,
            newest,
        };
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
        snapshot::verify(connection, &mut verifier.report)?;
        projection::verify(connection, &mut verifier.report)?;
        task_bucket::verify(connection, &mut verifier.report)?;
        query_db::verify(connection, &mut verifier.report)?;
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
    /// Whether hidden events still wait to be swept.
    sweeping: bool,
    /// Of each stream, what lies above `merged`.
    newest: HashMap<i64, Newest>,
}

/// The part of a stream that is not in the table yet.
struct Newest {
    log: Arc<str>,
    first: u64,
    last: u64,
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
        let stream = match stored.stream {
            Some(stream) => log_row::stream_name(self.connection, stream)?,
            None => None,
        };
        if stored.stream.is_some() && stream.is_none() {
            self.find(name, Some(position), "an event of an unknown stream");
        } else if let Err(error) = stored.check(name, stream.as_ref().map(|(name, _)| name.as_str())) {
            self.find(name, Some(position), error.to_string());
        }
        let mark = stream.map_or(0, |(_, mark)| mark);
        let below_mark = stored.stream.is_some() && stored.columns.seq_nr <= to_sql(mark);
        if !stored.is_trace() && !self.sweeping && (position <= log.trimmed || below_mark) {
            self.find(name, Some(position), "hidden by a mark, although nothing waits to be swept");
        }
        self.given_id(name, log, stored)?;
        self.follow(name, log, stored)?;
        self.index_entries(name, log, stored)
    }

    /// An id given by the caller is indexed.
    fn given_id(&mut self, name: &Arc<str>, log: &LogRow, stored: &StoredEvent<'_>) -> Result<()> {
        let Some(id) = stored.columns.id.and_then(|id| Uuid::from_slice(id).ok()) else { return Ok(()) };
        let known = append_id::find(self.connection, log.number, id);
        let position = stored.position();
        let is_there = known.is_ok_and(|known| {
            known.is_some_and(|known| {
                (known.appended.first_position..=known.appended.last_position).contains(&position)
            })
        });
        if !is_there {
            self.find(name, Some(position.get()), format!("event id {id} is missing in its index"));
        }
        Ok(())
    }

    /// Follows the newest events of each stream, which are not in the table yet: the tail bounds how many.
    fn follow(&mut self, name: &Arc<str>, log: &LogRow, stored: &StoredEvent<'_>) -> Result<()> {
        let (Some(stream), position) = (stored.stream, stored.position().get()) else { return Ok(()) };
        if position <= log.merged {
            return Ok(());
        }
        let seq_nr = from_sql(stored.columns.seq_nr)?;
        let start = || Newest { log: name.clone(), first: seq_nr, last: seq_nr.saturating_sub(1) };
        let newest = self.newest.entry(stream).or_insert_with(start);
        let expected = newest.last + 1;
        newest.last = seq_nr;
        if seq_nr != expected {
            self.find(
                name,
                Some(position),
                format!("seq_nr {seq_nr} where its stream goes on with {expected}"),
            );
        }
        Ok(())
    }

    /// Looks up an event's postings. Above `merged` the table may hold them already, and need not.
    fn index_entries(&mut self, name: &Arc<str>, log: &LogRow, stored: &StoredEvent<'_>) -> Result<()> {
        let position = stored.position().get();
        let tags = split_tags(stored.columns.tags);
        let sql = "SELECT EXISTS (SELECT 1 FROM posting WHERE term = ?1 AND key = ?2 AND value = ?3)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut missing = 0;
        for ((term, key), value) in self.terms.postings(stored.indexed(log.number, &tags)?) {
            let found: bool = statement.query_row((term, to_sql(key), to_sql(value)), |row| row.get(0))?;
            self.postings += u64::from(found);
            self.report.index_entries += u64::from(found);
            missing += u64::from(!found);
        }
        if missing > 0 && position <= log.merged {
            self.find(name, Some(position), format!("{missing} of its entries in the index are missing"));
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
        let sql = "SELECT -term, key, mark, stream.name, log.name FROM posting
                   CROSS JOIN stream ON stream.stream = -term CROSS JOIN log ON log.log = stream.log
                   WHERE term < 0 AND value <= log.merged AND log.name IS NOT NULL ORDER BY term, key";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut previous: Option<(i64, u64)> = None;
        while let Some(row) = rows.next()? {
            let (stream, seq_nr): (i64, u64) = (row.get(0)?, from_sql(row.get(1)?)?);
            let follows = match previous {
                Some((same, last)) if same == stream => seq_nr == last + 1,
                _ => {
                    self.end_of_stream(previous)?;
                    seq_nr <= from_sql(row.get(2)?)? + 1
                }
            };
            if !follows {
                let (name, log): (String, String) = (row.get(3)?, row.get(4)?);
                self.find(&log, None, format!("a hole in stream {name} before seq_nr {seq_nr}"));
            }
            previous = Some((stream, seq_nr));
        }
        self.end_of_stream(previous)?;
        // What is left has nothing in the table.
        for stream in self.newest.keys().copied().collect::<Vec<_>>() {
            let mark = log_row::stream_name(self.connection, stream)?.map_or(0, |(_, mark)| mark);
            self.end_of_stream(Some((stream, mark)))?;
        }
        self.marks()
    }

    /// The newest events of a stream go on where the table ends.
    fn end_of_stream(&mut self, last: Option<(i64, u64)>) -> Result<()> {
        let Some((stream, last)) = last else { return Ok(()) };
        let Some(Newest { log, first, .. }) = self.newest.remove(&stream) else { return Ok(()) };
        if first > last + 1 {
            let name =
                log_row::stream_name(self.connection, stream)?.map_or_else(String::new, |(name, _)| name);
            self.find(&log, None, format!("a hole in stream {name} before seq_nr {first}"));
        }
        Ok(())
    }

    /// The position of a mark is that of a trace, or of an event that was forgotten.
    fn marks(&mut self) -> Result<()> {
        let sql = "SELECT stream.name, log.name, mark_position FROM stream JOIN log USING (log)
                   LEFT JOIN event ON event.place = (log.log << 47 | mark_position)
                   WHERE log.name IS NOT NULL AND mark_position > 0
                     AND (mark = 0 OR mark_position > log.head OR (payload IS NOT NULL AND NOT ?1))";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([self.sweeping])?;
        while let Some(row) = rows.next()? {
            let (stream, log): (String, String) = (row.get(0)?, row.get(1)?);
            let position = from_sql(row.get(2)?)?;
            self.find(&log, Some(position), format!("the mark of stream {stream} is not at a hidden event"));
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
