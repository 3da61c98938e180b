//! What the writer remembers of streams: their numbers and heads.

use std::collections::HashMap;

/// How many streams of a log are remembered; beyond that, it starts again.
const CAPACITY: usize = 1 << 17;

/// A stream as the running transaction sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamState {
    pub number: i64,
    pub head: u64,
}

/// The streams of a log, by name. Bounded; what is not in it is looked up.
#[derive(Debug, Default)]
pub(super) struct StreamCache {
    known: HashMap<Box<str>, StreamState>,
}

impl StreamCache {
    pub(super) fn get(&self, name: &str) -> Option<StreamState> {
        self.known.get(name).copied()
    }

    /// Remembers a stream, and gives what was known of it before.
    pub(super) fn set(&mut self, name: &str, state: StreamState) -> Option<StreamState> {
        if let Some(known) = self.known.get_mut(name) {
            return Some(std::mem::replace(known, state));
        }
        if self.known.len() >= CAPACITY {
            self.known.clear();
        }
        self.known.insert(name.into(), state);
        None
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.known.remove(name);
    }
}
