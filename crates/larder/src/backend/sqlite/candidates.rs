//! Which positions may match a query, from the postings: table and memory, in one order.
//!
//! Terms are hashes, so a candidate is not yet a match: the caller looks at the event.

use rusqlite::{Connection, types::Value};

use super::{
    log_row::LogRow,
    place::{from_sql, to_sql},
    postings::{Key, Postings, Term, Terms},
};
use crate::{error::Result, query::QueryItem};

/// The postings of a log, as one moment sees them.
pub(super) struct View<'a> {
    connection: &'a Connection,
    terms: &'a Terms,
    log: i64,
    /// The table is complete through here, and read no further.
    merged: u64,
    /// Layers in memory, each wholly above the one before; read above `merged` only.
    layers: &'a [&'a Postings],
}

/// Which positions to look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Exclusive.
    pub above: u64,
    /// Inclusive.
    pub through: u64,
    pub descending: bool,
}

impl Span {
    pub(super) fn is_empty(&self) -> bool {
        self.above >= self.through
    }

    /// The parts at or below a position, and above it.
    pub(super) fn split(self, at: u64) -> (Self, Self) {
        (Self { through: self.through.min(at), ..self }, Self { above: self.above.max(at), ..self })
    }

    /// What is left of it beyond a position that was seen.
    pub(super) fn beyond(self, seen: u64) -> Self {
        if self.descending {
            Self { through: seen.saturating_sub(1), ..self }
        } else {
            Self { above: seen, ..self }
        }
    }

    fn sort(&self, positions: &mut Vec<u64>) {
        positions.sort_unstable();
        positions.dedup();
        if self.descending {
            positions.reverse();
        }
    }
}

/// What an item of a query asks of postings.
struct Wanted {
    /// All of these.
    tags: Vec<Term>,
    /// Any of these; empty means every type.
    types: Vec<u64>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        terms: &'a Terms,
        log: &LogRow,
        layers: &'a [&'a Postings],
    ) -> Self {
        Self { connection, terms, log: log.number, merged: log.merged, layers }
    }

    /// The first `count` positions of the span that may match, in its order; fewer at its end.
    pub(super) fn candidates(&self, query: &[QueryItem], span: Span, count: usize) -> Result<Vec<u64>> {
        let mut found = Vec::new();
        for item in query {
            self.item_candidates(item, span, count, &mut found)?;
        }
        span.sort(&mut found);
        found.truncate(count);
        Ok(found)
    }

    fn item_candidates(
        &self,
        item: &QueryItem,
        span: Span,
        count: usize,
        found: &mut Vec<u64>,
    ) -> Result<()> {
        let types = item.type_set().iter();
        if item.tag_set().is_empty() {
            for event_type in types {
                let wanted =
                    Wanted { tags: vec![self.terms.of_type(self.log, event_type)], types: Vec::new() };
                self.wanted(&wanted, span, count, found)?;
            }
            return Ok(());
        }
        let tags = item.tag_set().iter().map(|tag| self.terms.of_tag(self.log, tag)).collect();
        let wanted =
            Wanted { tags, types: types.map(|event_type| self.terms.type_hash(event_type)).collect() };
        self.wanted(&wanted, span, count, found)
    }

    /// Adds the first `count` positions: from the table and then from memory, or the other way round.
    fn wanted(&self, wanted: &Wanted, span: Span, count: usize, found: &mut Vec<u64>) -> Result<()> {
        let goal = found.len() + count;
        let (table, memory) = span.split(self.merged);
        if span.descending {
            self.in_memory(wanted, memory, goal, found);
            self.in_table(wanted, table, goal, found)
        } else {
            self.in_table(wanted, table, goal, found)?;
            self.in_memory(wanted, memory, goal, found);
            Ok(())
        }
    }

    fn in_table(&self, wanted: &Wanted, span: Span, goal: usize, found: &mut Vec<u64>) -> Result<()> {
        if span.is_empty() || found.len() >= goal {
            return Ok(());
        }
        let Some(tags) = self.rarest_first(&wanted.tags, span)? else { return Ok(()) };
        let mut statement = self.connection.prepare_cached(&conjunction_sql(tags.len(), span.descending))?;
        let numbers =
            [tags[0], to_sql(span.above), to_sql(span.through)].into_iter().chain(tags[1..].iter().copied());
        let mut rows = statement.query(rusqlite::params_from_iter(numbers.map(Value::from)))?;
        while found.len() < goal {
            let Some(row) = rows.next()? else { break };
            if wanted.types.is_empty() || wanted.types.contains(&from_sql(row.get(1)?)?) {
                found.push(from_sql(row.get(0)?)?);
            }
        }
        Ok(())
    }

    /// The terms with the rarest in front, to be driven by it; `None` if one of them has no posting there.
    fn rarest_first(&self, tags: &[Term], span: Span) -> Result<Option<Vec<Term>>> {
        let mut tags = tags.to_vec();
        if tags.len() == 1 {
            return Ok(Some(tags));
        }
        let sql = "SELECT count(*) FROM (SELECT 1 FROM posting
                   WHERE term = ?1 AND key > ?2 AND key <= ?3 LIMIT ?4)";
        let mut statement = self.connection.prepare_cached(sql)?;
        for bound in [16, 256, 4_096] {
            let mut least = (bound, 0);
            for (index, term) in tags.iter().enumerate() {
                let parameters = (term, to_sql(span.above), to_sql(span.through), bound);
                let count: i64 = statement.query_row(parameters, |row| row.get(0))?;
                if count == 0 {
                    return Ok(None);
                }
                least = least.min((count, index));
            }
            if least.0 < bound {
                tags.swap(0, least.1);
                break;
            }
        }
        Ok(Some(tags))
    }

    /// Leapfrogs over the terms: each is asked for its next posting at or beyond where another one is.
    fn in_memory(&self, wanted: &Wanted, mut span: Span, goal: usize, found: &mut Vec<u64>) {
        while !span.is_empty() && found.len() < goal {
            let Some((position, type_hash)) = self.agreed(&wanted.tags, span) else { return };
            if wanted.types.is_empty() || wanted.types.contains(&type_hash) {
                found.push(position);
            }
            span = span.beyond(position);
        }
    }

    /// The next posting that all of the terms have.
    fn agreed(&self, tags: &[Term], mut span: Span) -> Option<(u64, u64)> {
        let mut agreed = self.seek(tags[0], span)?;
        let mut count = 1;
        for &tag in tags.iter().cycle().skip(1) {
            if count >= tags.len() {
                break;
            }
            span = if span.descending {
                Span { through: agreed.0, ..span }
            } else {
                Span { above: agreed.0 - 1, ..span }
            };
            let next = self.seek(tag, span)?;
            count = if next.0 == agreed.0 { count + 1 } else { 1 };
            agreed = next;
        }
        Some(agreed)
    }

    /// A term's first posting of the span, in its order.
    fn seek(&self, term: Term, span: Span) -> Option<(u64, u64)> {
        if span.is_empty() {
            return None;
        }
        let range = (term, span.above + 1)..=(term, span.through);
        let found = |(&(_, position), &type_hash): (&Key, &u64)| (position, type_hash);
        if span.descending {
            self.layers.iter().rev().find_map(|layer| layer.range(range.clone()).next_back().map(found))
        } else {
            self.layers.iter().find_map(|layer| layer.range(range.clone()).next().map(found))
        }
    }
}

/// The events that carry the first term and all of the others.
fn conjunction_sql(terms: usize, descending: bool) -> String {
    let mut sql =
        String::from("SELECT key, value FROM posting AS p WHERE term = ?1 AND key > ?2 AND key <= ?3");
    for parameter in 4..terms + 3 {
        sql.push_str(" AND EXISTS (SELECT 1 FROM posting WHERE term = ?");
        sql.push_str(&parameter.to_string());
        sql.push_str(" AND key = p.key)");
    }
    sql.push_str(if descending { " ORDER BY key DESC" } else { " ORDER BY key" });
    sql
}
