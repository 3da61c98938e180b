//! What a projector adds for an event.

use std::sync::Arc;

use super::overlay::Overlay;
use crate::{
    backend::{Operation, QueryDbOperation, REBUILD_SUFFIX},
    error::{Error, Result},
    operation::{Write, WriteKind},
    query_db::{Item, ItemKey, QueryDb},
    store::Store,
};

/// The writes that events lead to, and a look at items as they will be after them. They commit together with the
/// projection's checkpoint.
///
/// During a rebuild, writes and loads go to the fresh copies of the QueryDbs by themselves.
#[derive(Debug)]
pub struct ProjectionBatch {
    store: Store,
    /// The QueryDbs of a rebuildable projection; none if it may write anything.
    owns: Arc<[String]>,
    rebuilding: bool,
    operations: Vec<Operation>,
    /// The first write that could not be added.
    refused: Option<Error>,
    overlay: Overlay,
}

impl ProjectionBatch {
    pub(super) fn new(store: Store, owns: Arc<[String]>, rebuilding: bool) -> Self {
        Self { store, owns, rebuilding, operations: Vec::new(), refused: None, overlay: Overlay::default() }
    }

    /// Adds a write.
    ///
    /// One that cannot be (a bad argument, another store; of a rebuildable projection, anything but a write of its own
    /// QueryDbs) fails the event, as if the projector had returned the error.
    pub fn add<O: WriteKind>(&mut self, write: Write<O>) {
        let (store, operation) = write.into_parts();
        let operation = if store.is_same(&self.store) {
            operation.and_then(|operation| self.redirected(operation))
        } else {
            Err(Error::invalid("batch", "a handle of another store"))
        };
        match operation {
            Ok(operation) => {
                self.overlay.note(self.operations.len(), &operation);
                self.operations.push(operation);
            }
            Err(error) => drop(self.refused.get_or_insert(error)),
        }
    }

    /// Loads an item as it will be after what was added so far. Of one that was added, the version is 0.
    ///
    /// # Errors
    /// As [`QueryDb::load_one`], and what is wrong with what was added.
    pub async fn load_one(&self, query_db: &QueryDb, key: impl Into<ItemKey> + Send) -> Result<Option<Item>> {
        let ItemKey { partition, sub } = key.into();
        let name = self.target(query_db.name());
        let backend = self.store.backend().await?;
        let items = self.overlay.load(&*backend, &self.operations, name, partition, Some(&sub)).await?;
        Ok(items.into_iter().find(|item| item.key.sub == sub))
    }

    /// Loads a partition's items as they will be after what was added so far.
    ///
    /// # Errors
    /// As [`QueryDb::load`], and what is wrong with what was added.
    pub async fn load(&self, query_db: &QueryDb, partition: impl Into<String> + Send) -> Result<Vec<Item>> {
        let (name, partition) = (self.target(query_db.name()), partition.into());
        let backend = self.store.backend().await?;
        self.overlay.load(&*backend, &self.operations, name, partition, None).await
    }

    /// The QueryDb's name, or that of its copy.
    fn target(&self, name: &str) -> Arc<str> {
        if self.rebuilding && self.owns.iter().any(|own| own == name) {
            format!("{name}{REBUILD_SUFFIX}").into()
        } else {
            name.into()
        }
    }

    fn redirected(&self, mut operation: Operation) -> Result<Operation> {
        if self.owns.is_empty() {
            return Ok(operation);
        }
        let own = match &mut operation {
            Operation::QueryDb(operation) => operation.query_db_mut(),
            _ => None,
        };
        let own = own.filter(|name| self.owns.iter().any(|own| **own == ***name));
        let Some(name) = own else {
            let reason = "a rebuildable projection writes nothing but the QueryDbs that it owns";
            return Err(Error::invalid("projection", reason));
        };
        *name = self.target(name);
        Ok(operation)
    }

    /// Where it is, to go back to if an event fails.
    pub(super) fn mark(&self) -> usize {
        self.operations.len()
    }

    /// Takes back what was added since.
    pub(super) fn return_to(&mut self, mark: usize) {
        self.operations.truncate(mark);
        self.overlay.return_to(mark);
        self.refused = None;
    }

    /// What could not be added.
    pub(super) fn take_refused(&mut self) -> Option<Error> {
        self.refused.take()
    }

    /// Takes the writes out, to commit them.
    pub(super) fn take(&mut self) -> Vec<Operation> {
        self.overlay.return_to(0);
        std::mem::take(&mut self.operations)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

impl QueryDbOperation {
    /// The QueryDb that it writes items of; `None` for definitions and guards.
    fn query_db_mut(&mut self) -> Option<&mut Arc<str>> {
        match self {
            Self::Save { query_db, .. }
            | Self::SaveAll { query_db, .. }
            | Self::Delete { query_db, .. }
            | Self::DeletePartition { query_db, .. }
            | Self::Increment { query_db, .. }
            | Self::PurgeExpired { query_db, .. }
            | Self::RequireVersion { query_db, .. } => Some(query_db),
            Self::Define { .. } | Self::Drop { .. } | Self::DropIndex { .. } => None,
        }
    }
}
