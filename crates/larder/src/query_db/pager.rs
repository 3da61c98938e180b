//! Filling a page with the items that a plan names, the same way over every backend.

use super::{
    cursor::Cursor,
    index::Index,
    item::{Definition, Item},
    key::{ItemKey, KeyValue},
    plan::{Order, Plan, SCAN_BUDGET},
    project::Kept,
    ttl::is_visible,
};
use crate::{
    backend::ItemsRead,
    error::{Error, Result},
    event::Position,
    limits::Limits,
    page::Page,
};

/// Decides of each stored item that a backend comes upon, in order, whether it goes into the page.
pub(crate) struct Pager<'a> {
    request: &'a ItemsRead,
    plan: &'a Plan,
    /// The index that orders the items, if one does.
    index: Option<&'a Index>,
    kept: Option<Kept>,
    /// Microseconds since 1970.
    now: u64,
    limit: usize,
    over_is_an_error: bool,
    bytes_left: usize,
    looked_at: usize,
    last: Option<Place>,
    last_taken: Option<Place>,
    items: Vec<Item>,
}

/// Where an item is in the order: the values of the index's sort fields, and its key.
type Place = (Vec<KeyValue>, ItemKey);

/// An item that a backend has come upon, where it is: most are only looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) key: &'a ItemKey,
    pub(crate) json: &'a str,
    pub(crate) version: u64,
    pub(crate) expires_at: Option<u64>,
}

/// What a backend does after an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Offers the next one.
    GoOn,
    /// Ends the page, which has a next one.
    Full(Cursor),
}

impl<'a> Pager<'a> {
    pub(crate) fn new(
        definition: &'a Definition,
        plan: &'a Plan,
        request: &'a ItemsRead,
        limits: &Limits,
        now: u64,
    ) -> Result<Self> {
        let (limit, over_is_an_error) = limits.page_rows(request.limit);
        let (index, kept) = match plan.order {
            Order::Index { index, .. } => {
                (Some(&definition.spec.indexes[index]), Kept::of_index(&definition.spec, index)?)
            }
            Order::Everything | Order::Partition(_) => (None, None),
        };
        request.check_index(index)?;
        Ok(Self {
            request,
            plan,
            index,
            kept,
            now,
            limit,
            over_is_an_error,
            bytes_left: request.max_bytes.unwrap_or(usize::MAX),
            looked_at: 0,
            last: None,
            last_taken: None,
            items: Vec::new(),
        })
    }

    /// Takes the item, or passes over it: `sort` are the values of the index's sort fields.
    pub(crate) fn offer(&mut self, sort: Vec<KeyValue>, item: Candidate<'_>) -> Result<Offered> {
        if self.looked_at == SCAN_BUDGET && self.request.limit.is_some() {
            return Ok(self.full(self.last.clone()));
        }
        self.looked_at += 1;
        let place = (sort, item.key.clone());
        if is_visible(item.expires_at, self.now) && self.plan.passes(item.json)? {
            if self.items.len() == self.limit && self.over_is_an_error {
                let limit = self.limit as u64;
                return Err(Error::too_large("items of a read", limit, limit + 1)
                    .with_hint("give the read a limit, or go through everything with `each`"));
            }
            if self.items.len() == self.limit || (self.bytes_left == 0 && !self.items.is_empty()) {
                return Ok(self.full(self.last_taken.clone()));
            }
            let json = match &self.kept {
                Some(kept) => kept.apply(item.json)?,
                None => item.json.to_owned(),
            };
            self.bytes_left = self.bytes_left.saturating_sub(json.len());
            self.items.push(Item::new(item.key.clone(), json, item.version, item.expires_at));
            self.last_taken = Some(place.clone());
        }
        self.last = Some(place);
        Ok(Offered::GoOn)
    }

    fn full(&self, place: Option<Place>) -> Offered {
        let (sort, key) = place.expect("a page that is full has looked at an item");
        Offered::Full(self.request.cursor(self.index, sort, key))
    }

    /// The page; its `next` is what the last offer answered.
    pub(crate) fn into_page(self, next: Option<Cursor>) -> Page<Item> {
        Page::new(self.items, next, Position::START)
    }
}
