//! Owners, and the copies of QueryDbs that rebuilds fill.

use super::{QueryDbState, StoredItem};
use crate::{
    error::Result,
    query_db::{Change, ChangeKind, Definition, QueryDbSpec},
};

impl QueryDbState {
    pub(in crate::backend::memory) fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    pub(in crate::backend::memory) fn set_owner(&mut self, owner: Option<String>) {
        if self.owner != owner || self.is_only_a_name() {
            let owned = Self { owner, pending: Vec::new(), undo: Vec::new(), ..self.clone() };
            self.become_whole(owned);
        }
    }

    pub(in crate::backend::memory) fn spec_and_version(&self) -> (QueryDbSpec, u64) {
        (self.definition.spec.clone(), self.version)
    }

    /// Becomes an empty copy for a rebuild, with versions from here on.
    pub(in crate::backend::memory) fn begin_copy(&mut self, spec: &QueryDbSpec, version: u64) -> Result<()> {
        let definition = Definition::new(QueryDbSpec { changes: None, ..spec.clone() })?;
        let version = version.max(self.version);
        let copy = Self { version, ..self.fresh(definition) };
        self.become_whole(copy);
        Ok(())
    }

    /// Takes over what a copy was filled with, as one change.
    pub(in crate::backend::memory) fn take_over(&mut self, filled: Self) -> Result<()> {
        let definition = self.definition.clone();
        let mut new = Self { owner: self.owner.clone(), ..self.fresh(definition) };
        new.version = filled.version.max(self.version);
        for (key, item) in filled.items {
            let prepared =
                new.definition.prepare(&item.json).map_err(|error| error.with("item", key.to_string()))?;
            drop(new.replace(&key, Some(StoredItem { index_keys: prepared.index_keys, ..item })));
        }
        self.become_whole(new);
        self.version += 1;
        self.pending.push(Change::new(self.version, ChangeKind::Replaced, None));
        Ok(())
    }
}
