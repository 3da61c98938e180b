//! The lines of a projection.

use std::{borrow::Cow, sync::Arc};

use super::{Line, bad, checked_position};
use crate::{
    error::Result,
    event::Position,
    limits::{check_event_type, check_name, check_number},
    projection::{DeadLetter, ProjectionFailure, ProjectionInfo},
    query::Query,
};

/// What a projection's first line says.
#[derive(Debug)]
pub(in crate::transfer) struct ProjectionRow {
    /// What it reads, once it has run.
    pub(in crate::transfer) reads: Option<(Arc<str>, Query)>,
    pub(in crate::transfer) owns: Vec<String>,
    pub(in crate::transfer) checkpoint: Position,
    pub(in crate::transfer) failure: Option<ProjectionFailure>,
    /// Whether it has to be rebuilt.
    pub(in crate::transfer) rebuild: bool,
}

impl<'a> Line<'a> {
    /// The first line of a projection, at this checkpoint.
    pub(in crate::transfer) fn of_projection(
        info: &'a ProjectionInfo,
        checkpoint: Position,
        rebuild: bool,
    ) -> Self {
        Self::Projection {
            name: (&info.projection).into(),
            log: info.log.as_deref().map(Cow::from),
            query: info.query.clone(),
            owns: info.owns.clone(),
            checkpoint: checkpoint.get(),
            failure: info.failure.clone(),
            rebuild,
        }
    }

    /// The line of a dead letter.
    pub(in crate::transfer) fn of_dead_letter(letter: &'a DeadLetter) -> Self {
        Self::DeadLetter {
            position: letter.position.get(),
            event_type: (&letter.event_type).into(),
            error: (&letter.error).into(),
            failed_at_us: letter.failed_at,
        }
    }

    /// The name of the projection that a line starts, and what it says, checked; `None` for another line.
    pub(in crate::transfer) fn into_projection(self) -> Result<Option<(Arc<str>, ProjectionRow)>> {
        let Self::Projection { name, log, query, owns, checkpoint, failure, rebuild } = self else {
            return Ok(None);
        };
        check_name("projection", &name)?;
        let reads = match (log, query) {
            (Some(log), Some(query)) => {
                check_name("log", &log)?;
                query.check()?;
                Some((Arc::from(log), query))
            }
            (None, None) => None,
            _ => return Err(bad("`log` and `query` belong together")),
        };
        owns.iter().try_for_each(|query_db| check_name("QueryDb", query_db))?;
        if reads.is_none() && !owns.is_empty() || rebuild && owns.is_empty() {
            return Err(bad("`owns` needs a `log`, and `rebuild` needs `owns`"));
        }
        check_number("position", checkpoint)?;
        if let Some(failure) = &failure {
            check_number("position", failure.position.get())?;
        }
        let checkpoint = Position::new(checkpoint);
        Ok(Some((Arc::from(name), ProjectionRow { reads, owns, checkpoint, failure, rebuild })))
    }

    /// The dead letter of a line, checked; `None` for another line.
    pub(in crate::transfer) fn into_dead_letter(self) -> Result<Option<DeadLetter>> {
        let Self::DeadLetter { position, event_type, error, failed_at_us } = self else { return Ok(None) };
        check_event_type(&event_type)?;
        Ok(Some(DeadLetter::new(checked_position(position)?, event_type, error, failed_at_us)))
    }
}
