//! Rows by position, indexed by type and by tag.

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
    ops::Bound,
};

use crate::{
    event::{Event, Position},
    query::{Query, QueryItem},
};

/// What queries match on.
pub(super) trait Labelled {
    fn position(&self) -> Position;
    fn event_type(&self) -> &str;
    fn tags(&self) -> &[String];
}

impl Labelled for Event {
    fn position(&self) -> Position {
        self.position
    }

    fn event_type(&self) -> &str {
        &self.event_type
    }

    fn tags(&self) -> &[String] {
        &self.tags
    }
}

/// What conditions still see of a hidden event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) position: Position,
    pub(super) event_type: String,
    pub(super) tags: Vec<String>,
}

impl Labelled for Trace {
    fn position(&self) -> Position {
        self.position
    }

    fn event_type(&self) -> &str {
        &self.event_type
    }

    fn tags(&self) -> &[String] {
        &self.tags
    }
}

/// Which positions, and in which order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Exclusive: above it when ascending, below it when descending.
    pub(super) after: Option<Position>,
    pub(super) descending: bool,
}

impl Window {
    pub(super) fn above(after: Position) -> Self {
        Self { after: Some(after), descending: false }
    }

    pub(super) fn bounds(self) -> (Bound<Position>, Bound<Position>) {
        match (self.after, self.descending) {
            (None, _) => (Bound::Unbounded, Bound::Unbounded),
            (Some(after), false) => (Bound::Excluded(after), Bound::Unbounded),
            (Some(before), true) => (Bound::Unbounded, Bound::Excluded(before)),
        }
    }

    /// Runs the other way if this one is descending.
    fn order<'a, I: DoubleEndedIterator + 'a>(self, ascending: I) -> Box<dyn Iterator<Item = I::Item> + 'a> {
        if self.descending { Box::new(ascending.rev()) } else { Box::new(ascending) }
    }

    /// What comes first in this order has the highest rank.
    fn rank(self, position: Position) -> u64 {
        if self.descending { position.get() } else { u64::MAX - position.get() }
    }
}

/// Rows by position, and where each type and each tag occurs.
#[derive(Debug)]
pub(super) struct Table<T> {
    rows: BTreeMap<Position, T>,
    by_type: BTreeMap<String, BTreeSet<Position>>,
    by_tag: HashMap<String, BTreeSet<Position>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), by_type: BTreeMap::new(), by_tag: HashMap::new() }
    }
}

impl<T: Labelled> Table<T> {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn get(&self, position: Position) -> Option<&T> {
        self.rows.get(&position)
    }

    pub(super) fn insert(&mut self, row: T) {
        let position = row.position();
        // Most labels are there already, so look before making a key.
        match self.by_type.get_mut(row.event_type()) {
            Some(positions) => drop(positions.insert(position)),
            None => drop(self.by_type.insert(row.event_type().to_owned(), BTreeSet::from([position]))),
        }
        for tag in row.tags() {
            match self.by_tag.get_mut(tag) {
                Some(positions) => drop(positions.insert(position)),
                None => drop(self.by_tag.insert(tag.clone(), BTreeSet::from([position]))),
            }
        }
        let replaced = self.rows.insert(position, row);
        assert!(replaced.is_none(), "position {position} was given twice");
    }

    pub(super) fn remove(&mut self, position: Position) -> Option<T> {
        let row = self.rows.remove(&position)?;
        if let Some(positions) = self.by_type.get_mut(row.event_type()) {
            positions.remove(&position);
            if positions.is_empty() {
                self.by_type.remove(row.event_type());
            }
        }
        for tag in row.tags() {
            if let Some(positions) = self.by_tag.get_mut(tag) {
                positions.remove(&position);
                if positions.is_empty() {
                    self.by_tag.remove(tag);
                }
            }
        }
        Some(row)
    }

    /// Each type with its number of rows, ascending by name.
    pub(super) fn types(&self) -> impl Iterator<Item = (&str, usize)> {
        self.by_type.iter().map(|(name, positions)| (name.as_str(), positions.len()))
    }

    /// All rows in a window, in its order.
    pub(super) fn all(&self, window: Window) -> Box<dyn Iterator<Item = &T> + '_> {
        window.order(self.rows.range(window.bounds()).map(|(_, row)| row))
    }

    /// The rows in a window that match, each once, in the window's order.
    pub(super) fn matching<'a>(
        &'a self,
        query: &'a Query,
        window: Window,
    ) -> Box<dyn Iterator<Item = &'a T> + 'a> {
        let Some(items) = query.items() else { return self.all(window) };
        let sources = items.iter().flat_map(|item| self.sources(item, window)).collect();
        Box::new(Merge::new(sources, window))
    }

    /// The rows that match one item: by its rarest tag, or by its types if these are rarer. Without tags, a
    /// source for each type.
    fn sources<'a>(&'a self, item: &'a QueryItem, window: Window) -> Vec<Source<'a, T>> {
        let typed: Vec<_> = item.type_set().iter().filter_map(|name| self.by_type.get(name)).collect();
        let typed_rows: usize = typed.iter().map(|positions| positions.len()).sum();
        let mut rarest = None;
        for tag in item.tag_set() {
            let Some(positions) = self.by_tag.get(tag) else { return Vec::new() };
            if rarest.is_none_or(|rarest: &BTreeSet<Position>| positions.len() < rarest.len()) {
                rarest = Some(positions);
            }
        }
        let candidates = match rarest {
            Some(rarest) if item.type_set().is_empty() || rarest.len() <= typed_rows => vec![rarest],
            _ => typed,
        };
        let source = |positions: &'a BTreeSet<Position>| -> Source<'a, T> {
            let rows = positions.range(window.bounds()).map(|position| &self.rows[position]);
            Box::new(window.order(rows).filter(|row| item.matches(row.event_type(), row.tags())))
        };
        candidates.into_iter().map(source).collect()
    }

    /// Compares the indexes with what they index: the number of entries, and each one that is wrong.
    pub(super) fn check_index(&self) -> (u64, Vec<(Position, String)>) {
        let mut wrong = Vec::new();
        let mut entries = 0;
        for (position, row) in &self.rows {
            entries += 1 + row.tags().len() as u64;
            if !self.by_type.get(row.event_type()).is_some_and(|found| found.contains(position)) {
                wrong.push((*position, format!("is not indexed under its type `{}`", row.event_type())));
            }
            for tag in row.tags() {
                if !self.by_tag.get(tag).is_some_and(|found| found.contains(position)) {
                    wrong.push((*position, format!("is not indexed under its tag `{tag}`")));
                }
            }
        }
        for (name, position) in flat(&self.by_type) {
            if self.get(position).is_none_or(|row| row.event_type() != name) {
                wrong.push((position, format!("is indexed under the type `{name}`, which it does not have")));
            }
        }
        for (tag, position) in flat(&self.by_tag) {
            if self.get(position).is_none_or(|row| !row.tags().contains(tag)) {
                wrong.push((position, format!("is indexed under the tag `{tag}`, which it does not have")));
            }
        }
        (entries, wrong)
    }
}

/// Every entry of an index.
fn flat<'a>(
    index: impl IntoIterator<Item = (&'a String, &'a BTreeSet<Position>)>,
) -> impl Iterator<Item = (&'a String, Position)> {
    index.into_iter().flat_map(|(label, positions)| positions.iter().map(move |position| (label, *position)))
}

type Source<'a, T> = Box<dyn Iterator<Item = &'a T> + 'a>;

/// Sources that are each in order, as one in order, each row once.
struct Merge<'a, T> {
    sources: Vec<Source<'a, T>>,
    /// The next row's rank and which source it is from.
    heads: BinaryHeap<(u64, usize)>,
    rows: Vec<Option<&'a T>>,
    last: Option<Position>,
    window: Window,
}

impl<'a, T: Labelled> Merge<'a, T> {
    fn new(sources: Vec<Source<'a, T>>, window: Window) -> Self {
        let (heads, rows) = (BinaryHeap::new(), sources.iter().map(|_| None).collect());
        let mut merge = Self { sources, heads, rows, last: None, window };
        (0..merge.sources.len()).for_each(|source| merge.advance(source));
        merge
    }

    fn advance(&mut self, source: usize) {
        let row = self.sources[source].next();
        self.rows[source] = row;
        if let Some(row) = row {
            self.heads.push((self.window.rank(row.position()), source));
        }
    }
}

impl<'a, T: Labelled> Iterator for Merge<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            let (_, source) = self.heads.pop()?;
            let row = self.rows[source].take()?;
            self.advance(source);
            if self.last != Some(row.position()) {
                self.last = Some(row.position());
                return Some(row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<Trace> {
        let mut table = Table::default();
        for (position, tags) in [(1, "ab"), (2, "b"), (4, "abc"), (7, "c"), (9, "a")] {
            let position = Position::new(position);
            let tags = tags.chars().map(String::from).collect();
            let event_type = if position.get().is_multiple_of(2) { "Even" } else { "Odd" }.to_owned();
            table.insert(Trace { position, event_type, tags });
        }
        table
    }

    fn found(query: &Query, after: Option<u64>, descending: bool) -> Vec<u64> {
        let window = Window { after: after.map(Position::new), descending };
        table().matching(query, window).map(|row| row.position.get()).collect()
    }

    #[test]
    fn alternatives_are_merged_in_order_and_without_repetition() {
        let query = Query::from([
            QueryItem::new().tag("a"),
            QueryItem::new().tags(["b", "c"]),
            QueryItem::new().types(["Odd", "Even", "None"]).tag("c"),
            QueryItem::new().tag("none"),
        ]);
        assert_eq!(found(&query, None, false), [1, 4, 7, 9]);
        assert_eq!(found(&query, Some(4), false), [7, 9]);
        assert_eq!(found(&query, Some(9), true), [7, 4, 1]);
        let types = Query::from(QueryItem::new().types(["Even", "Odd"]));
        assert_eq!(found(&types, Some(2), false), [4, 7, 9]);
        assert_eq!(found(&Query::all(), Some(4), true), [2, 1]);
        assert!(found(&Query::all(), Some(u64::MAX), false).is_empty());
    }

    #[test]
    fn an_index_forgets_what_is_removed() {
        let mut table = table();
        assert_eq!(table.check_index(), (13, vec![]));
        for position in [1, 2, 4, 7, 9] {
            assert!(table.remove(Position::new(position)).is_some());
        }
        assert_eq!((table.len(), table.types().count()), (0, 0));
        assert_eq!(table.check_index(), (0, vec![]));
    }

    #[test]
    fn a_wrong_index_is_found() {
        let mut table = table();
        table.by_tag.get_mut("a").unwrap().remove(&Position::new(4));
        table.by_tag.get_mut("c").unwrap().insert(Position::new(2));
        table.by_type.get_mut("Odd").unwrap().insert(Position::new(5));
        let (_, wrong) = table.check_index();
        let positions: Vec<u64> = wrong.iter().map(|(position, _)| position.get()).collect();
        assert_eq!(positions, [4, 5, 2], "{wrong:?}");
    }
}
