//! Cases of QueryDbs: qd_01 to qd_15, and wb_01 to wb_03 as far as they concern items.

pub(super) mod batch;
pub(super) mod changes;
pub(super) mod define;
pub(super) mod index;
pub(super) mod item;
pub(super) mod paging;
pub(super) mod query;
pub(super) mod save;
pub(super) mod ttl;

use serde_json::value::RawValue;

use super::support::PATIENCE;
use crate::{
    error::{BoxError, Result},
    page::Page,
    query_db::{Change, ChangeKind, Item, QueryDb, QueryDbSpec},
    store::Store,
    subscription::Subscription,
};

/// The QueryDb that most cases use, without a definition.
fn things(store: &Store) -> Result<QueryDb> {
    store.query_db("Things")
}

/// The QueryDb that most cases use, with a definition.
fn defined(store: &Store, spec: QueryDbSpec) -> Result<QueryDb> {
    store.define("Things", spec).wait()
}

/// JSON text, to be saved as it is.
fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("the cases use JSON")
}

/// The keys of items.
fn keys<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<String> {
    items.into_iter().map(|item| item.key.to_string()).collect()
}

/// The keys of a page.
fn page_keys(page: &Page<Item>) -> Vec<String> {
    keys(&page.items)
}

/// The keys of everything.
fn all_keys(things: &QueryDb) -> Result<Vec<String>> {
    let all: Vec<Item> = things.scan().each().wait_iter().collect::<Result<_>>()?;
    Ok(keys(&all))
}

/// Everything that a QueryDb holds, and how far its versions are: to see that nothing has changed.
fn state(things: &QueryDb) -> Result<(Vec<Item>, Option<u64>)> {
    let all = things.scan().each().wait_iter().collect::<Result<_>>()?;
    Ok((all, things.info().wait()?.map(|info| info.version)))
}

/// The next change, which must come: its version, kind and key.
fn next_change(
    changes: &mut Subscription<Change>,
) -> std::result::Result<(u64, ChangeKind, String), BoxError> {
    let change = changes.try_next().wait_timeout(PATIENCE).ok_or("the feed is silent")??;
    let change = change.ok_or("the feed ended")?;
    Ok((change.version, change.kind, change.key.map_or_else(String::new, |key| key.to_string())))
}
