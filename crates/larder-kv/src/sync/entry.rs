//! The stamp that every write carries, and how two writes of a key compare.

use super::hlc::Hlc;

/// Which node wrote something: a number within one file; [`Author::OWNER`] is the file's own node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Author(pub(crate) u32);

impl Author {
    pub(crate) const OWNER: Self = Self(0);
}

/// When, by whom, and as which of its author's writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) hlc: Hlc,
    pub(crate) author: Author,
    /// From 1, without gaps, per author.
    pub(crate) seq: u64,
}

impl Stamp {
    /// Whether a write with this stamp takes the place of one with the other. Later wins; at the same time the
    /// greater node id does, on every node alike.
    pub(crate) fn supersedes<'a>(&self, other: &Self, node_id: impl Fn(Author) -> &'a str) -> bool {
        self.hlc > other.hlc
            || (self.hlc == other.hlc
                && self.author != other.author
                && node_id(self.author) > node_id(other.author))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_wins_and_then_the_greater_node() {
        let names = ["node-b", "node-a"];
        let node_id = |author: Author| names[author.0 as usize];
        let stamp = |millis, author| Stamp { hlc: Hlc::new(millis, 0), author: Author(author), seq: 1 };
        assert!(stamp(2, 0).supersedes(&stamp(1, 1), node_id));
        assert!(!stamp(1, 1).supersedes(&stamp(2, 0), node_id));
        assert!(stamp(1, 0).supersedes(&stamp(1, 1), node_id));
        assert!(!stamp(1, 1).supersedes(&stamp(1, 0), node_id));
        assert!(!stamp(1, 1).supersedes(&stamp(1, 1), node_id), "a write does not take its own place");
    }
}
