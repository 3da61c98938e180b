//! The lines of a QueryDb.

use std::time::{Duration, SystemTime};

use super::{Line, bad, embedded};
use crate::{
    backend::{ItemData, SaveMode},
    error::Result,
    limits::{Limits, check_key},
    query_db::{Item, Ttl, check_item_size},
};

impl<'a> Line<'a> {
    /// The line of an item.
    pub(in crate::transfer) fn of_item(item: &'a Item) -> Self {
        let embedded = embedded(&item.json);
        Self::Item {
            partition: (&item.key.partition).into(),
            expires_at: item.expires_at,
            item: embedded,
            item_text: embedded.is_none().then(|| (&item.json).into()),
        }
    }

    /// The item of a line, its name and size checked; `None` for another line.
    pub(in crate::transfer) fn into_item(self, limits: &Limits) -> Result<Option<ItemData>> {
        let Self::Item { partition, expires_at, item, item_text } = self else { return Ok(None) };
        let json = match (item, item_text) {
            (Some(json), None) => json.get().to_owned(),
            (None, Some(text)) => text.into_owned(),
            _ => return Err(bad("an item without exactly one form")),
        };
        check_key("partition key", &partition)?;
        check_item_size(&json, limits)?;
        let ttl = expires_at.map(|at| Ttl::At(SystemTime::UNIX_EPOCH + Duration::from_secs(at)));
        Ok(Some(ItemData { partition: partition.into_owned(), json, ttl, mode: SaveMode::Overwrite }))
    }
}
