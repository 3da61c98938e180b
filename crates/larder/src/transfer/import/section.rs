//! What the lines of a section have to be.

use std::sync::Arc;

use super::super::{
    Transferred, TransferredLog, TransferredProjection, TransferredQueryDb, TransferredTaskBucket,
    format::{Line, Row, bad, position_of},
};
use crate::{
    backend::{HistoryRow, ItemData, TaskBucketRow},
    error::{Error, Result},
    event::Position,
    limits::{Limits, check_name, check_number},
};

/// The kinds of sections, in the order of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Log,
    QueryDb,
    TaskBucket,
    Projection,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::QueryDb => "QueryDb",
            Self::TaskBucket => "bucket",
            Self::Projection => "projection",
        }
    }
}

/// What a section is of.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) name: Arc<str>,
}

impl Place {
    fn new(kind: Kind, name: &str) -> Result<Self> {
        check_name(kind.name(), name)?;
        Ok(Self { kind, name: name.into() })
    }

    pub(super) fn is_log(&self) -> bool {
        self.kind == Kind::Log
    }

    /// Says in an error what it concerned.
    pub(super) fn name_in(&self, error: Error) -> Error {
        error.with(self.kind.name(), &*self.name)
    }
}

/// A section that has begun.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) place: Place,
    so_far: SoFar,
}

/// What later lines of the section are checked against.
#[derive(Debug)]
enum SoFar {
    Log,
    QueryDb {
        /// Items carry the time at which they expire themselves.
        has_ttl_field: bool,
    },
    TaskBucket {
        counter: u64,
        key: String,
        trigger: u64,
    },
    Projection {
        letter: Position,
    },
}

/// A row, and whether the section ends with it.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) row: Row,
    pub(super) ends: bool,
}

impl Taken {
    fn more(row: Row) -> Self {
        Self { row, ends: false }
    }
}

impl Section {
    /// Begins with a line, which is a row unless it only names the section.
    pub(super) fn begin(line: Line<'_>, found: &mut Transferred) -> Result<(Self, Option<Row>)> {
        match line {
            Line::Log { name } => {
                let place = Place::new(Kind::Log, &name)?;
                check_is_once(&place, found.logs.iter().map(|log| &log.log))?;
                found.logs.push(TransferredLog::new(&name));
                Ok((Self { place, so_far: SoFar::Log }, None))
            }
            Line::QueryDb { name, spec } => {
                let place = Place::new(Kind::QueryDb, &name)?;
                spec.check()?;
                check_is_once(&place, found.query_dbs.iter().map(|query_db| &query_db.query_db))?;
                found.query_dbs.push(TransferredQueryDb { query_db: name.into_owned(), items: 0 });
                let so_far = SoFar::QueryDb { has_ttl_field: spec.ttl_field.is_some() };
                Ok((Self { place, so_far }, Some(Row::QueryDb(spec))))
            }
            Line::TaskBucket { name, counter } => {
                let place = Place::new(Kind::TaskBucket, &name)?;
                check_number("bucket version", counter)?;
                check_is_once(&place, found.task_buckets.iter().map(|bucket| &bucket.bucket))?;
                let bucket = name.into_owned();
                found.task_buckets.push(TransferredTaskBucket { bucket, ..Default::default() });
                let so_far = SoFar::TaskBucket { counter, key: String::new(), trigger: 0 };
                Ok((Self { place, so_far }, Some(Row::TaskBucket(TaskBucketRow::Begin { counter }))))
            }
            line => {
                let Some((name, row)) = line.into_projection()? else {
                    return Err(bad("a row outside of a section"));
                };
                let place = Place::new(Kind::Projection, &name)?;
                check_is_once(&place, found.projections.iter().map(|known| &known.projection))?;
                found.projections.push(TransferredProjection {
                    projection: name.to_string(),
                    checkpoint: row.checkpoint,
                    dead_letters: 0,
                    rebuild: row.rebuild,
                });
                let so_far = SoFar::Projection { letter: Position::START };
                Ok((Self { place, so_far }, Some(Row::Projection(Box::new(row)))))
            }
        }
    }

    /// Goes on with a line.
    pub(super) fn take(&mut self, line: Line<'_>, limits: &Limits, found: &mut Transferred) -> Result<Taken> {
        let taken = match &mut self.so_far {
            SoFar::Log => take_of_log(&self.place.name, line, limits, found),
            SoFar::QueryDb { has_ttl_field } => take_of_query_db(*has_ttl_field, line, limits, found),
            SoFar::TaskBucket { counter, key, trigger } => match line {
                Line::TaskBucketEnd { objects, triggers } => {
                    end_of_bucket(*counter, (objects, triggers), found)
                }
                line => {
                    let row = line.into_task_bucket_row(*counter, limits)?;
                    row.map(|row| take_of_bucket(row, key, trigger, found)).transpose()
                }
            },
            SoFar::Projection { letter } => take_of_projection(letter, line, found),
        };
        taken?.ok_or_else(|| {
            let Place { kind, name } = &self.place;
            bad(format!("the {} `{name}` has no last line", kind.name()))
        })
    }
}

fn check_is_once<'a>(place: &Place, mut known: impl Iterator<Item = &'a String>) -> Result<()> {
    if known.any(|known| **known == *place.name) {
        return Err(bad(format!("the {} `{}` comes twice", place.kind.name(), place.name)));
    }
    Ok(())
}

fn take_of_log(
    log: &Arc<str>,
    line: Line<'_>,
    limits: &Limits,
    found: &mut Transferred,
) -> Result<Option<Taken>> {
    let Some(row) = line.into_log_row(log, limits)? else { return Ok(None) };
    let history = if let Row::History(row) = &row { Some(row) } else { None };
    if let Some(counted) = found.logs.last_mut() {
        counted.count(history.and_then(position_of), matches!(history, Some(HistoryRow::Event(_))));
    }
    let ends = matches!(history, Some(HistoryRow::Log { .. }));
    Ok(Some(Taken { row, ends }))
}

fn take_of_query_db(
    has_ttl_field: bool,
    line: Line<'_>,
    limits: &Limits,
    found: &mut Transferred,
) -> Result<Option<Taken>> {
    let counted = found.query_dbs.last_mut().ok_or_else(|| bad("an item outside of a QueryDb"))?;
    if let Line::QueryDbEnd { items } = line {
        check_count("items", items, counted.items)?;
        return Ok(Some(Taken { row: Row::End, ends: true }));
    }
    let Some(item) = line.into_item(limits)? else { return Ok(None) };
    counted.items += 1;
    let ttl = item.ttl.filter(|_| !has_ttl_field);
    Ok(Some(Taken::more(Row::Item(ItemData { ttl, ..item }))))
}

/// Keys and numbers rise, and objects come before triggers.
fn take_of_bucket(
    row: TaskBucketRow,
    last_key: &mut String,
    last_trigger: &mut u64,
    found: &mut Transferred,
) -> Result<Taken> {
    let counted = found.task_buckets.last_mut().ok_or_else(|| bad("an object outside of a bucket"))?;
    match &row {
        TaskBucketRow::Object { object, .. } => {
            if object.key <= *last_key || *last_trigger > 0 {
                return Err(bad(format!("the object `{}` is out of order", object.key)));
            }
            last_key.clone_from(&object.key);
            counted.objects += 1;
        }
        TaskBucketRow::Trigger(row) => {
            if row.trigger <= *last_trigger {
                return Err(bad(format!("the trigger {} is out of order", row.trigger)));
            }
            *last_trigger = row.trigger;
            counted.triggers += 1;
        }
        TaskBucketRow::Begin { .. } | TaskBucketRow::End { .. } => {}
    }
    Ok(Taken::more(Row::TaskBucket(row)))
}

fn end_of_bucket(
    counter: u64,
    (objects, triggers): (u64, u64),
    found: &mut Transferred,
) -> Result<Option<Taken>> {
    let counted = found.task_buckets.last_mut().ok_or_else(|| bad("the end of no bucket"))?;
    check_count("objects", objects, counted.objects)?;
    check_count("triggers", triggers, counted.triggers)?;
    Ok(Some(Taken { row: Row::TaskBucket(TaskBucketRow::End { counter }), ends: true }))
}

/// Positions rise.
fn take_of_projection(last: &mut Position, line: Line<'_>, found: &mut Transferred) -> Result<Option<Taken>> {
    let counted = found.projections.last_mut().ok_or_else(|| bad("a dead letter outside of a projection"))?;
    if let Line::ProjectionEnd { dead_letters } = line {
        check_count("dead letters", dead_letters, counted.dead_letters)?;
        return Ok(Some(Taken { row: Row::End, ends: true }));
    }
    let Some(letter) = line.into_dead_letter()? else { return Ok(None) };
    if letter.position <= *last {
        return Err(bad(format!("the dead letter at {} is out of order", letter.position)));
    }
    *last = letter.position;
    counted.dead_letters += 1;
    Ok(Some(Taken::more(Row::DeadLetter(letter))))
}

fn check_count(what: &str, told: u64, counted: u64) -> Result<()> {
    if told == counted {
        return Ok(());
    }
    Err(bad(format!("{counted} {what}, where the last line tells of {told}")))
}
