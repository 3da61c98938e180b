//! Owners, and the copies of QueryDbs that rebuilds fill, inside the writer's transaction.

use std::sync::Arc;

use super::{
    super::writer::{Failure, Writer, Written},
    feed,
    registry::{QueryDbRow, json},
};
use crate::{
    backend::{QueryDbOperation, REBUILD_SUFFIX, REBUILD_VERSIONS},
    error::{Error, Result},
    query_db::{ChangeKind, Index, QueryDbSpec},
};

impl Writer {
    /// Refuses a write of what another owns.
    pub(super) fn check_owner(&mut self, operation: &QueryDbOperation) -> Result<()> {
        let Some(name) = operation.written() else { return Ok(()) };
        let projecting = self.projecting.clone();
        let owner = self.load_query_db(name)?.and_then(|known| known.row.owner.as_deref());
        QueryDbOperation::check_owner(name, owner, projecting.as_deref())
    }

    /// Gives a QueryDb, which comes to be if it is not there, to a projection, or to nobody.
    pub(in crate::backend::sqlite) fn set_owner(
        &mut self,
        name: &Arc<str>,
        owner: Option<&Arc<str>>,
    ) -> Result<(), Failure> {
        if self.table(name)?.is_none() {
            self.create_default(name)?;
        }
        let connection = &self.connection;
        let known = self.query_dbs.get_mut(name).expect("its table was found or made");
        match (&known.row.owner, owner) {
            (Some(is), Some(owner)) if **is != **owner => {
                let reason = format!("`{name}` is owned by projection `{is}`");
                return Err(Error::invalid("QueryDb", reason).into());
            }
            (is, owner) if is.as_deref() == owner.map(|owner| &**owner) => return Ok(()),
            _ => {}
        }
        known.row.owner = owner.map(ToString::to_string);
        known.row.store(connection).written()
    }

    /// Makes the empty copy of a QueryDb that a rebuild fills, in place of an earlier one.
    pub(in crate::backend::sqlite) fn begin_copy(
        &mut self,
        name: &Arc<str>,
        projection: &Arc<str>,
    ) -> Result<(), Failure> {
        let Some(table) = self.table(name)? else {
            return Err(Error::corrupted("a projection's QueryDb that is not there")
                .with("QueryDb", &**name)
                .into());
        };
        let version = self.query_dbs[name].row.version;
        let copy = copy_of(name);
        self.clear_query_db(&copy)?;
        let spec = QueryDbSpec { changes: None, ..table.definition.spec.clone() };
        self.define(&copy, &spec)?;
        let connection = &self.connection;
        let known = self.query_dbs.get_mut(&copy).expect("it was made");
        let first = (version / REBUILD_VERSIONS + 1) * REBUILD_VERSIONS;
        known.row.version = known.row.version.max(first);
        known.committed_version = known.row.version;
        known.row.owner = Some(projection.to_string());
        known.row.store(connection).written()
    }

    /// Drops the copy of a QueryDb, if there is one.
    pub(in crate::backend::sqlite) fn drop_copy(&mut self, name: &str) -> Result<(), Failure> {
        self.clear_query_db(&copy_of(name))
    }

    /// Puts a copy in the place of its QueryDb: it takes its name and its table's name over, and its number is the
    /// QueryDb's from then on. The other number is kept for the next copy.
    pub(in crate::backend::sqlite) fn take_copy_over(&mut self, name: &Arc<str>) -> Result<(), Failure> {
        let copy = copy_of(name);
        let (mut old, mut new) = (self.written_row(name)?, self.written_row(&copy)?);
        if old.spec != new.spec {
            new = self.bring_up_to(&copy, &old.parse_spec()?)?;
        }
        let missing = || Error::corrupted("a QueryDb without a table").with("QueryDb", &**name);
        let old_table = old.table_name.take().ok_or_else(missing)?;
        let new_table = new.table_name.replace(old_table.clone()).ok_or_else(missing)?;
        let sql = format!("DROP TABLE {old_table}; ALTER TABLE {new_table} RENAME TO {old_table}");
        self.connection.execute_batch(&sql).written()?;
        feed::remove_all(&self.connection, old.number).written()?;
        (new.spec, new.owner) = (old.spec.clone(), old.owner.take());
        new.version = new.version.max(old.version);
        // Names are unique at each step.
        (old.name, new.name) = (format!("{name}~old"), name.to_string());
        old.store(&self.connection).written()?;
        new.store(&self.connection).written()?;
        let empty = QueryDbRow::new(old.number, &copy);
        let old = QueryDbRow { version: old.version, spec: json(&QueryDbSpec::new()), ..empty };
        old.store(&self.connection).written()?;
        self.query_dbs.remove(&copy);
        self.query_dbs.remove(name);
        self.load_query_db(name)?;
        let known = self.query_dbs.get_mut(name).expect("it was stored");
        // The changes that filled it are nobody's.
        known.dropped = true;
        known.change(&self.connection, None, ChangeKind::Replaced).written()
    }

    /// Gives a copy the definition that its QueryDb has by now, its indexes in the same order; answers its row.
    fn bring_up_to(&mut self, copy: &Arc<str>, spec: &QueryDbSpec) -> Result<QueryDbRow, Failure> {
        let indexes = |row: &QueryDbRow| row.parse_spec().map(|spec| spec.indexes);
        for index in indexes(&self.written_row(copy)?)? {
            if spec.find_index(&index.name) != Some(&index) {
                self.drop_index(copy, &index.name)?;
            }
        }
        self.define(copy, spec)?;
        let mut row = self.written_row(copy)?;
        let (has, mut layout) = (indexes(&row)?, row.parse_layout()?);
        let number_of = |index: &Index| {
            let place = has.iter().position(|other| other.name == index.name);
            place
                .map(|place| layout.indexes[place])
                .ok_or_else(|| Error::corrupted("an index that was not made"))
        };
        layout.indexes = spec.indexes.iter().map(number_of).collect::<Result<_>>()?;
        (row.spec, row.layout) = (json(spec), json(&layout));
        Ok(row)
    }

    /// A QueryDb's row as the running transaction leaves it.
    fn written_row(&mut self, name: &Arc<str>) -> Result<QueryDbRow> {
        let known = self.load_query_db(name)?;
        let known =
            known.ok_or_else(|| Error::corrupted("a QueryDb that is not there").with("QueryDb", &**name))?;
        Ok(known.row.clone())
    }
}

fn copy_of(name: &str) -> Arc<str> {
    format!("{name}{REBUILD_SUFFIX}").into()
}
