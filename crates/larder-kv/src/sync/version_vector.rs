//! Who has what.

use std::collections::BTreeMap;

use super::{entry::Author, hlc::Hlc};

/// Through where a file has its authors' writes, and through where its peers have them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VersionVector {
    /// By author: everything through this sequence number, none of it later than this time.
    seen: Vec<(u64, Hlc)>,
    /// By peer and author: everything through this sequence number.
    delivered: BTreeMap<(String, u32), u64>,
}

impl VersionVector {
    /// Takes note of an author's write, or of its latest.
    pub(crate) fn see(&mut self, author: Author, seq: u64, hlc: Hlc) {
        let at = author.0 as usize;
        if self.seen.len() <= at {
            self.seen.resize(at + 1, (0, Hlc::default()));
        }
        let seen = &mut self.seen[at];
        *seen = (seen.0.max(seq), seen.1.max(hlc));
    }

    /// The latest write of an author, and a time that none of its writes is later than.
    pub(crate) fn seen(&self, author: Author) -> (u64, Hlc) {
        self.seen.get(author.0 as usize).copied().unwrap_or_default()
    }

    /// A time that nothing seen is later than, whoever wrote it.
    pub(crate) fn latest(&self) -> Hlc {
        self.seen.iter().map(|(_, hlc)| *hlc).max().unwrap_or_default()
    }

    /// Takes note of what a peer has.
    pub(crate) fn deliver(&mut self, peer: &str, author: Author, seq: u64) {
        let delivered = self.delivered.entry((peer.to_owned(), author.0)).or_default();
        *delivered = (*delivered).max(seq);
    }

    /// What peers have: peer, author, sequence number.
    pub(crate) fn delivered(&self) -> impl Iterator<Item = (&str, Author, u64)> {
        self.delivered.iter().map(|((peer, author), seq)| (peer.as_str(), Author(*author), *seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_only_rise() {
        let mut vector = VersionVector::default();
        vector.see(Author(2), 5, Hlc::new(7, 0));
        vector.see(Author(2), 4, Hlc::new(9, 0));
        vector.deliver("node-b", Author::OWNER, 3);
        vector.deliver("node-b", Author::OWNER, 2);
        assert_eq!(vector.seen(Author(2)), (5, Hlc::new(9, 0)));
        assert_eq!(vector.seen(Author(1)), (0, Hlc::default()));
        assert_eq!(vector.latest(), Hlc::new(9, 0));
        assert_eq!(vector.delivered().collect::<Vec<_>>(), [("node-b", Author::OWNER, 3)]);
    }
}
