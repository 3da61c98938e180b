//! Deleting and purging items inside the writer's transaction.

use std::sync::Arc;

use rusqlite::types::ValueRef;

use super::{
    super::{
        place::to_sql,
        writer::{Failure, Writer, Written},
    },
    read::bind_all,
    row::{key_value, stored},
    table::Table,
    upsert::with_row,
};
use crate::{
    error::{Error, Result},
    query_db::{ChangeKind, ItemKey, KeyValue, PURGED_AT_ONCE, Removal, is_visible},
};

/// How many keys are gathered at once before their items are deleted.
const SLICE: u64 = 1_000;

impl Writer {
    /// Deletes items: the visible ones, or those that have expired.
    pub(super) fn delete(
        &mut self,
        name: &Arc<str>,
        keys: &[ItemKey],
        reason: Removal,
    ) -> Result<u64, Failure> {
        let Some(table) = self.table(name)? else { return Ok(0) };
        self.remember(name);
        let (connection, now) = (&self.connection, self.now);
        let known = self.query_dbs.get_mut(name).expect("it was loaded for this operation");
        let mut removed = 0;
        for key in keys {
            let found = with_row(connection, &table, key, |row_id, found| {
                let checked =
                    found.and_then(|found| found.check().map(|()| is_visible(found.expires_at(), now)));
                let is_wanted = match (reason, checked) {
                    (Removal::Deleted, Ok(visible)) => visible,
                    // What is damaged can be deleted, whatever it says of its time.
                    (Removal::Deleted, Err(_)) => true,
                    (Removal::Expired, Ok(visible)) => !visible,
                    // It must not keep others from being purged.
                    (Removal::Expired, Err(error)) => {
                        tracing::error!(%error, "an item cannot be purged: run `larder verify`");
                        false
                    }
                };
                Ok(is_wanted.then_some(row_id))
            })
            .written()?;
            let Some(row_id) = found.flatten() else { continue };
            connection
                .prepare_cached(&table.sql.delete)
                .and_then(|mut statement| statement.execute([row_id]))
                .written()?;
            known.change(connection, Some(key.clone()), ChangeKind::Removed { reason }).written()?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Deletes a partition, some keys at a time.
    pub(super) fn delete_partition(&mut self, name: &Arc<str>, partition: &str) -> Result<u64, Failure> {
        let Some(table) = self.table(name)? else { return Ok(0) };
        let sql = partition_keys(&table);
        // Below every number, and numbers are below every text.
        let mut last = KeyValue::from(f64::NEG_INFINITY);
        let mut removed = 0;
        loop {
            let found = self.keys(&sql, &[ValueRef::Text(partition.as_bytes()), stored(&last)])?;
            let keys: Vec<ItemKey> = found.into_iter().map(|(key, _)| key).collect();
            let Some(end) = keys.last() else { return Ok(removed) };
            if end.sub <= last || keys.iter().any(|key| key.partition != partition) {
                let error = Error::corrupted("items that are out of order");
                return Err(Failure::Broken(error.with("item", end.to_string())));
            }
            last = end.sub.clone();
            removed += self.delete(name, &keys, Removal::Deleted)?;
        }
    }

    /// Deletes items that have expired, the oldest first, some keys at a time.
    pub(super) fn purge(&mut self, name: &Arc<str>, limit: u64) -> Result<u64, Failure> {
        let Some(table) = self.table(name)? else { return Ok(0) };
        let sql = expired_keys(&table);
        let (now, limit) = (to_sql(self.now / 1_000_000), limit.min(PURGED_AT_ONCE));
        let (mut last, mut removed) = ((ItemKey::from(""), i64::MIN), 0);
        while removed < limit {
            let most = to_sql((limit - removed).min(SLICE));
            let found = self.keys(
                &sql,
                &[
                    ValueRef::Integer(now),
                    ValueRef::Integer(last.1),
                    ValueRef::Text(last.0.partition.as_bytes()),
                    stored(&last.0.sub),
                    ValueRef::Integer(most),
                ],
            )?;
            let keys: Vec<ItemKey> = found.iter().map(|(key, _)| key.clone()).collect();
            let Some(end) = found.into_iter().next_back() else { break };
            if (end.1, &end.0) <= (last.1, &last.0) {
                let error = Error::corrupted("items that are out of order");
                return Err(Failure::Broken(error.with("item", end.0.to_string())));
            }
            last = end;
            removed += self.delete(name, &keys, Removal::Expired)?;
        }
        Ok(removed)
    }

    /// Keys, and the number in the third column.
    fn keys(&self, sql: &str, values: &[ValueRef<'_>]) -> Result<Vec<(ItemKey, i64)>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        bind_all(&mut statement, 1, values)?;
        let mut rows = statement.raw_query();
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            let sub = key_value(row.get_ref(1)?)?;
            keys.push((ItemKey { partition: row.get(0)?, sub }, row.get(2)?));
        }
        Ok(keys)
    }
}

/// The keys of a partition above a sub key.
pub(super) fn partition_keys(table: &Table) -> String {
    format!(
        "SELECT partition_key, sub_key, 0 FROM {} WHERE partition_key = ?1 AND sub_key > ?2
         ORDER BY sub_key LIMIT {SLICE}",
        table.table_name
    )
}

/// The keys of items that have expired by a time, after one of them, the oldest first.
pub(super) fn expired_keys(table: &Table) -> String {
    format!(
        "SELECT partition_key, sub_key, expires_at FROM {}
         WHERE expires_at <= ?1 AND (expires_at, partition_key, sub_key) > (?2, ?3, ?4)
         ORDER BY expires_at, partition_key, sub_key LIMIT ?5",
        table.table_name
    )
}
