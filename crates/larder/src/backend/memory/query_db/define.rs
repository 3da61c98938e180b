//! Definitions, and dropping.

use std::sync::Arc;

use super::{QueryDbState, StoredItem, Undo};
use crate::{
    error::Result,
    query_db::{Change, ChangeKind, Definition, QueryDbSpec},
};

impl QueryDbState {
    /// Takes a definition over; one that does not exist, or no longer, has no other that would bind it.
    pub(super) fn define(&mut self, spec: &QueryDbSpec, exists: bool) -> Result<()> {
        let definition =
            if exists { self.definition.extended(spec)?.0 } else { Definition::new(spec.clone().settled())? };
        if exists && definition.spec == self.definition.spec {
            return Ok(());
        }
        self.redefine(definition)
    }

    pub(super) fn drop_index(&mut self, name: &str) -> Result<()> {
        let mut spec = self.definition.spec.clone();
        spec.indexes.retain(|index| index.name != name);
        if spec == self.definition.spec { Ok(()) } else { self.redefine(Definition::new(spec)?) }
    }

    /// Takes a definition over, and builds all indexes anew.
    fn redefine(&mut self, definition: Arc<Definition>) -> Result<()> {
        let mut rebuilt = self.fresh(definition);
        for (key, item) in &self.items {
            let prepared = rebuilt
                .definition
                .prepare(&item.json)
                .map_err(|error| error.with("item", key.to_string()))?;
            drop(rebuilt.replace(key, Some(StoredItem { index_keys: prepared.index_keys, ..item.clone() })));
        }
        (rebuilt.changes, rebuilt.version, rebuilt.owner) =
            (self.changes.clone(), self.version, self.owner.clone());
        self.become_whole(rebuilt);
        Ok(())
    }

    /// Removes everything but the name and the version, as one change.
    pub(super) fn drop_everything(&mut self) {
        self.clear();
        self.version += 1;
        self.pending.push(Change::new(self.version, ChangeKind::Replaced, None));
    }

    /// Removes everything but the name and the version: versions never go back.
    pub(in crate::backend::memory) fn clear(&mut self) {
        let dropped = Self { version: self.version, is_dropped: true, ..Self::new(self.name.clone()) };
        self.become_whole(dropped);
        self.pending.clear();
    }

    /// Lets a dropped QueryDb begin again.
    pub(in crate::backend::memory) fn begin_again(&mut self) {
        if self.is_dropped {
            let (version, changes) = (self.version, self.changes.clone());
            self.become_whole(Self { version, changes, ..Self::new(self.name.clone()) });
        }
    }

    /// An empty one of this definition.
    pub(super) fn fresh(&self, definition: Arc<Definition>) -> Self {
        let indexes = definition.spec.indexes.iter().map(|_| Default::default()).collect();
        Self { definition, indexes, ..Self::new(self.name.clone()) }
    }

    /// Puts another state in place of this one, as a change that can be taken back.
    pub(super) fn become_whole(&mut self, new: Self) {
        let (pending, mut undo) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.undo));
        let is_new = self.is_new;
        let old = std::mem::replace(self, new);
        undo.push(Undo::Whole(Box::new(old)));
        (self.pending, self.undo, self.is_new) = (pending, undo, is_new);
    }
}
