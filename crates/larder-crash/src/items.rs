//! Items that batches save, delete and count beside their events, and the check that both came together.
//!
//! Each writer's batches come one after the other, so what its items must be follows from which of them are there.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use larder::{
    Change, ErrorKind, Index, Item, ItemKey, ItemQuery, KeyField, QueryDb, QueryDbSpec, Read, Store, Uuid,
    WriteBatch, field,
};
use serde_json::json;

use crate::{
    check::{Contents, batches_there},
    ledger::Record,
    step::StepId,
    violation::{OrUnusable, Promise, Violation},
};

/// The QueryDb that every harness writes to.
const ITEMS: &str = "crash.items";
/// How many slots of each writer are saved and deleted in turn.
const SLOTS: u32 = 3;
/// How many values the index's key field has.
const BUCKETS: u32 = 4;

/// The QueryDb, defined if it is not.
///
/// # Errors
/// What the store answers.
pub(crate) fn define(store: &Store) -> larder::Result<QueryDb> {
    let by_bucket = Index::new("by_bucket", [KeyField::number("bucket")]).sort_by(["name"]);
    let by_count = Index::new("by_count", [KeyField::string("kind")]).sort_by([KeyField::number("count")]);
    let spec = QueryDbSpec::new()
        .sub_id_field(KeyField::number("sub"))
        .index(by_bucket)
        .index(by_count.keys_only())
        .changes(true);
    store.define(ITEMS, spec).wait()
}

/// The id of a batch, which recognises its repetition.
pub(crate) fn batch_id(step: StepId) -> Uuid {
    Uuid::from_u64_pair(0x6c61_7264_6572_0000, u64::from(step.writer) << 32 | u64::from(step.index))
}

/// Adds a batch's changes: an item of its own, a slot that is saved or deleted, a count.
pub(crate) fn add(batch: &mut WriteBatch, items: &QueryDb, step: StepId) {
    let [own, slot, count] = keys(step);
    batch.add(items.save(own.partition, &own_item(step)));
    if is_saved(step) {
        batch.add(items.save(slot.partition, &slot_item(step)));
    } else {
        batch.add(items.delete_one(slot));
    }
    batch.add(items.increment(count, "count", 1));
}

fn keys(step: StepId) -> [ItemKey; 3] {
    let partition = |kind: &str| format!("{kind}-{}", step.writer);
    [
        ItemKey::new(partition("own"), step.index),
        ItemKey::new(partition("slots"), step.index % SLOTS),
        ItemKey::new(partition("count"), 0),
    ]
}

fn is_saved(step: StepId) -> bool {
    (step.index / 7).is_multiple_of(2)
}

/// Short, or longer than a page.
fn own_item(step: StepId) -> serde_json::Value {
    let pad = "pad ".repeat(usize::try_from(step.index * 37 % 1_500).unwrap_or(0));
    json!({ "sub": step.index, "bucket": step.index % BUCKETS, "name": step.to_string(), "pad": pad })
}

fn slot_item(step: StepId) -> serde_json::Value {
    json!({ "sub": step.index % SLOTS, "bucket": 1.5, "name": step.to_string() })
}

/// What the items must be after these batches, in their order.
fn after_batches(steps: impl IntoIterator<Item = StepId>) -> BTreeMap<ItemKey, String> {
    let (mut items, mut counts) = (BTreeMap::new(), BTreeMap::new());
    for step in steps {
        let [own, slot, count] = keys(step);
        items.insert(own, own_item(step).to_string());
        if is_saved(step) {
            items.insert(slot, slot_item(step).to_string());
        } else {
            items.remove(&slot);
        }
        *counts.entry(count).or_insert(0) += 1;
    }
    items.extend(counts.into_iter().map(|(key, count)| (key, format!(r#"{{"sub":0,"count":{count}}}"#))));
    items
}

/// A batch's items are there if its events are, and only then; each says what was saved last.
///
/// # Errors
/// The first item that is lost, invented or garbled.
pub(crate) fn check(
    store: &Store,
    contents: &Contents,
    records: &BTreeMap<StepId, Record>,
) -> Result<(), Violation> {
    let there = batches_there(records, contents);
    let steps = || there.values().flatten().map(|record| record.step.id);
    let expected = after_batches(steps());
    let items = store.query_db(ITEMS).or_unusable("query_db")?;
    let found = items.scan().wait().or_unusable("scan")?.items;
    for item in &found {
        match expected.get(&item.key) {
            Some(json) if *json == item.json => {}
            Some(json) => {
                let what = format!("item {} says {}, it should say {json}", item.key, item.json);
                return Err(Violation::of(Promise::AllOrNothing, what));
            }
            None => {
                let what = format!("item {} is there, the events of its batch are not", item.key);
                return Err(Violation::of(Promise::NothingInvented, what));
            }
        }
    }
    let is_there = |key: &&ItemKey| found.iter().any(|item| item.key == **key);
    if let Some(lost) = expected.keys().find(|key| !is_there(key)) {
        return Err(Violation::of(Promise::NothingLost, format!("item {lost} is gone")));
    }
    check_changes(&items, &found, steps())?;
    if found.is_empty() { Ok(()) } else { check_indexes(&items, &found) }
}

/// Every change that is kept, oldest first.
fn kept_changes(items: &QueryDb) -> larder::Result<Vec<Change>> {
    let (mut changes, mut kept) = (items.changes().after(0), Vec::new());
    loop {
        // Whoever follows changes waits for the next; what is there is there at once.
        match pin!(changes.try_next()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Some(change))) => kept.push(change),
            Poll::Ready(Err(error)) if matches!(error.kind(), ErrorKind::ChangesTruncated { .. }) => {}
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Ready(Ok(None)) | Poll::Pending => return Ok(kept),
        }
    }
}

/// What becomes of each key, batch by batch.
fn changes_by_batches(steps: impl IntoIterator<Item = StepId>) -> BTreeMap<ItemKey, Vec<&'static str>> {
    let mut changes: BTreeMap<ItemKey, Vec<&'static str>> = BTreeMap::new();
    for step in steps {
        let saved = [true, is_saved(step), true];
        for (key, is_saved) in keys(step).into_iter().zip(saved) {
            let of_key = changes.entry(key).or_default();
            let is_there = of_key.last().is_some_and(|last| *last != "removed");
            match (is_saved, is_there) {
                (true, true) => of_key.push("updated"),
                (true, false) => of_key.push("added"),
                (false, true) => of_key.push("removed"),
                (false, false) => {}
            }
        }
    }
    changes
}

/// The changes of each key are kept, and are those of the batches that are there; the last one has the item's version.
fn check_changes(
    items: &QueryDb,
    all: &[Item],
    steps: impl Iterator<Item = StepId>,
) -> Result<(), Violation> {
    let kept = kept_changes(items).or_unusable("changes")?;
    if !kept.is_sorted_by(|one, next| one.version + 1 == next.version) {
        return Err(Violation::of(Promise::Consistent, format!("the changes have a gap: {kept:?}")));
    }
    let mut found: BTreeMap<ItemKey, Vec<&'static str>> = BTreeMap::new();
    let mut last = BTreeMap::new();
    for Change { version, kind, key, .. } in &kept {
        let Some(key) = key else {
            return Err(Violation::of(Promise::NothingInvented, "a change of everything"));
        };
        found.entry(key.clone()).or_default().push(kind.name());
        last.insert(key.clone(), *version);
    }
    let is_whole = kept.first().is_none_or(|first| first.version == 1);
    for (key, expected) in changes_by_batches(steps) {
        let found = found.remove(&key).unwrap_or_default();
        // The oldest are no longer kept if there are many.
        if found != expected && (is_whole || !expected.ends_with(&found)) {
            let what = format!("the changes of item {key} are {found:?}, they should be {expected:?}");
            return Err(Violation::of(Promise::AllOrNothing, what));
        }
    }
    if let Some(key) = found.keys().next() {
        return Err(Violation::of(Promise::NothingInvented, format!("item {key} has changed")));
    }
    let differs = |item: &&Item| last.get(&item.key).is_some_and(|version| *version != item.version);
    match all.iter().find(differs) {
        None => Ok(()),
        Some(item) => Err(Violation::of(Promise::Consistent, format!("{item:?} has changed since"))),
    }
}

/// The changes that a damaged store has kept, as lines.
pub(crate) fn ask_changes(store: &Store) -> larder::Result<Vec<String>> {
    let changes = kept_changes(&store.query_db(ITEMS)?)?;
    Ok(changes.iter().map(|change| format!("{change:?}")).collect())
}

/// Queries over the index agree with the scan.
fn check_indexes(items: &QueryDb, all: &[Item]) -> Result<(), Violation> {
    for bucket in 0..BUCKETS {
        let query = ItemQuery::index("by_bucket", [bucket]);
        let found = items.query(&query).wait().or_unusable("query by index")?.items;
        let text = format!("\"bucket\":{bucket},");
        let mut expected: Vec<&Item> = all.iter().filter(|item| item.json.contains(&text)).collect();
        expected.sort_by_key(|item| name_of(item));
        if !found.iter().eq(expected) {
            let what = format!("the query of bucket {bucket} differs from the scan of everything");
            return Err(Violation::of(Promise::Consistent, what));
        }
    }
    Ok(())
}

fn name_of(item: &Item) -> String {
    let value: serde_json::Value = item.decode().unwrap_or_default();
    value["name"].as_str().unwrap_or_default().to_owned()
}

/// Everything that is asked of the items of a store, by writer 0.
pub(crate) fn ask(store: &Store) -> BTreeMap<String, larder::Result<Vec<Item>>> {
    let mut answers = BTreeMap::new();
    let Ok(items) = store.query_db(ITEMS) else { return answers };
    let mut ask = |question: String, read: Read<Item>| {
        answers.insert(question, read.wait().map(|page| page.items));
    };
    ask("all items".into(), items.scan());
    ask("all items, backwards".into(), items.scan().descending().limit(10_000));
    for partition in ["own-0", "slots-0", "count-0"] {
        ask(format!("items of {partition}"), items.query(ItemQuery::key(partition)));
    }
    for bucket in [0.0, 1.0, 1.5, 2.0, 3.0] {
        let query = ItemQuery::index("by_bucket", [bucket]);
        ask(format!("items of bucket {bucket}"), items.query(&query));
        let filtered = query.clone().filter(field("sub").ge(7));
        ask(format!("items of bucket {bucket}, filtered"), items.query(filtered));
        ask(format!("items of bucket {bucket}, backwards"), items.query(query).descending().limit(1_000));
    }
    answers.insert("loaded items of own-0".into(), items.load("own-0").wait());
    for step in (0..60).map(|index| StepId { writer: 0, index }) {
        for key in keys(step) {
            let loaded = items.load_one(&key).wait().map(|item| item.into_iter().collect());
            answers.insert(format!("item {key}"), loaded);
        }
    }
    answers
}

/// Compares an answer of a damaged store: what is there is what was written, in its order. Says what is missing.
///
/// # Errors
/// An item that was never written, or is elsewhere.
pub(crate) fn compare(
    question: &str,
    found: &[Item],
    expected: &[Item],
) -> Result<Option<String>, Violation> {
    let mut left = expected.iter();
    for item in found {
        if !left.any(|other| other == item) {
            let what = format!("{question}: {} with {:?}", item.key, item.json);
            return Err(Violation::of(Promise::NothingGarbled, what));
        }
    }
    Ok((found.len() < expected.len()).then(|| format!("{question}: {} of {}", found.len(), expected.len())))
}

/// Guards still see the items that are there; says the first that does not.
///
/// # Errors
/// A guard that refuses for another reason than it may.
pub(crate) fn blind_guard(
    store: &Store,
    items: &[Item],
    may_refuse: impl Fn(&larder::Error) -> Result<(), Violation>,
) -> Result<Option<String>, Violation> {
    let query_db = store.query_db(ITEMS).or_unusable("query_db")?;
    for item in items {
        let mut batch = store.batch();
        batch.require_version(&query_db, &item.key, item.version);
        match batch.commit().wait() {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => {
                return Ok(Some(format!("a guard does not see version {} of {}", item.version, item.key)));
            }
            Err(error) => may_refuse(&error)?,
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::step::{Name, Step};

    /// The check can fail: items without their events, events without their items, and a wrong count.
    #[test]
    fn what_did_not_come_together_is_found() {
        let store = Store::memory();
        let items = define(&store).unwrap();
        let ids = (0..).map(|index| StepId { writer: 0, index });
        let batch = ids.map(|id| Step::of(1, id)).find(Step::is_batch).unwrap();
        let id = batch.id;
        let part = batch.parts().iter().position(|part| part.stream.is_none()).unwrap();
        let record = Record { step: Arc::new(batch), submitted_at: 0, target: 0, answer: None };
        let records = BTreeMap::from([(id, record)]);
        let nothing = Contents { events: Vec::new(), by_name: [].into() };
        let its_event =
            Contents { events: Vec::new(), by_name: [(Name { step: id, part, index: 0 }, 0)].into() };
        let promise =
            |contents: &Contents| check(&store, contents, &records).err().map(|violation| violation.promise);
        assert_eq!(promise(&nothing), None);
        assert_eq!(promise(&its_event), Some(Promise::NothingLost));
        let mut changes = store.batch();
        add(&mut changes, &items, id);
        changes.commit().wait().unwrap();
        assert_eq!(promise(&its_event), None);
        assert_eq!(promise(&nothing), Some(Promise::NothingInvented));
        items.increment(("count-0", 0), "count", 1).wait().unwrap();
        assert_eq!(promise(&its_event), Some(Promise::AllOrNothing));
    }
}
