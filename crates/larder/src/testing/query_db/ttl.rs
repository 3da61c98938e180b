//! Items that expire: qd_08.

use std::time::{Duration, SystemTime};

use super::{all_keys, defined, next_change, page_keys, raw, things};
use crate::{
    error::ErrorKind,
    query_db::{ChangeKind, Index, ItemQuery, KeyField, QueryDbSpec, Removal, Ttl},
    testing::{
        fixture::Fixture,
        support::{CaseResult, refused},
    },
};

const EXPIRED: ChangeKind = ChangeKind::Removed { reason: Removal::Expired };

/// A second at which the clock of a case stands.
const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn stand_at_now(fixture: &dyn Fixture) {
    fixture.clock().set(at(NOW));
}

pub(in crate::testing) fn qd_08_expiry_is_rounded_up(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    stand_at_now(fixture);
    let things = things(&store)?;
    let expiry = |ttl: Ttl| -> crate::Result<Option<u64>> {
        things.save("a", &raw("{}")).ttl(ttl).wait()?;
        Ok(things.load_one("a").wait()?.and_then(|item| item.expires_at))
    };
    assert_eq!(expiry(Duration::from_secs(5).into())?, Some(NOW + 5));
    assert_eq!(expiry(Duration::from_micros(4_000_001).into())?, Some(NOW + 5));
    assert_eq!(expiry(Duration::from_nanos(1).into())?, Some(NOW + 1));
    assert_eq!(expiry(at(NOW + 9).into())?, Some(NOW + 9));
    assert_eq!(expiry((at(NOW + 9) + Duration::from_nanos(1)).into())?, Some(NOW + 10));
    assert_eq!(expiry(Duration::MAX.into())?, Some(i64::MAX as u64), "as long as can be");
    fixture.clock().advance(Duration::from_millis(300));
    assert_eq!(expiry(Duration::from_millis(700).into())?, Some(NOW + 1));
    assert_eq!(expiry(Duration::from_millis(701).into())?, Some(NOW + 2));
    Ok(())
}

pub(in crate::testing) fn qd_08_an_item_is_visible_until_then(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    stand_at_now(fixture);
    let spec = QueryDbSpec::new().sub_id_field("s").index(Index::new("by", ["k"]).sort_by(["s"]));
    let things = defined(&store, spec)?;
    let item = |sub: &str| raw(&format!(r#"{{"s":"{sub}","k":"x"}}"#));
    things.save("a", &item("1")).ttl(Duration::from_secs(10)).wait()?;
    things.save("a", &item("2")).wait()?;
    things.save("a", &item("3")).ttl(at(NOW - 1)).wait()?;
    things.save("b", &item("4")).ttl(SystemTime::UNIX_EPOCH - Duration::from_secs(9)).wait()?;
    let (partition, index) = (ItemQuery::key("a"), ItemQuery::index("by", ["x"]));
    let seen = || -> crate::Result<_> {
        let counts = (things.count_items(&partition).wait()?, things.count_items(&index).wait()?);
        let pages =
            [things.query(&partition), things.query(&index), things.scan(), things.scan().descending()];
        let pages = pages.map(|page| page.wait().map(|page| page.items.len()));
        let pages: Vec<usize> = pages.into_iter().collect::<crate::Result<_>>()?;
        Ok((things.load("a").wait()?.len(), things.load_one(("a", "1")).wait()?.is_some(), counts, pages))
    };
    assert_eq!(seen()?, (2, true, (2, 2), vec![2, 2, 2, 2]), "one in the past is accepted, and hidden");
    fixture.clock().set(at(NOW + 10) - Duration::from_nanos(1));
    assert_eq!(seen()?, (2, true, (2, 2), vec![2, 2, 2, 2]));
    fixture.clock().set(at(NOW + 10));
    assert_eq!(seen()?, (1, false, (1, 1), vec![1, 1, 1, 1]));
    let stats = store.stats().wait()?.query_dbs;
    assert_eq!((stats[0].items, stats[0].expired), (1, 3));
    assert_eq!(things.delete("b").wait()?, 0, "what has expired is not there to be deleted");
    Ok(())
}

pub(in crate::testing) fn qd_08_an_expired_item_counts_as_absent(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    stand_at_now(fixture);
    let things = defined(&store, QueryDbSpec::new().index(Index::new("by", ["k"])))?;
    let expired = |key: &str| -> crate::Result<u64> {
        let past = at(NOW);
        Ok(things.save(key, &raw(r#"{"k":"old","n":5}"#)).ttl(past).wait()?.version)
    };
    let version = expired("a")?;
    refused!(things.save("a", &raw("{}")).if_present().wait(), ErrorKind::NotFound);
    let write = things.save("a", &raw("{}")).if_version(version);
    refused!(write.wait(), ErrorKind::Conflict { actual: 0, .. });
    let mut batch = store.batch();
    batch.require_version(&things, "a", None);
    batch.commit().wait()?;
    let saved = things.save("a", &raw(r#"{"k":"new"}"#)).if_absent().wait()?;
    assert!(saved.added && saved.version > version);
    assert_eq!(things.load_one("a").wait()?.and_then(|item| item.expires_at), None);

    expired("b")?;
    assert_eq!(things.increment("b", "n", 1).wait()?, 1.into(), "it begins anew");
    let item = things.load_one("b").wait()?.ok_or("it is there again")?;
    assert_eq!((item.json.as_str(), item.expires_at), (r#"{"n":1}"#, None));
    expired("c")?;
    assert!(things.save("c", &raw("{}")).if_version(None).wait()?.added);
    assert_eq!(things.count_items(ItemQuery::index("by", ["old"])).wait()?, 0);
    assert_eq!(things.purge_expired(9).wait()?, 0, "nothing of the old is left");
    assert!(store.verify(crate::backend::Progress::default()).wait()?.is_sound());
    Ok(())
}

pub(in crate::testing) fn qd_08_a_save_clears_and_a_counter_keeps_it(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    stand_at_now(fixture);
    let things = things(&store)?;
    let expiry = || -> crate::Result<Option<u64>> {
        Ok(things.load_one("a").wait()?.and_then(|item| item.expires_at))
    };
    things.save("a", &raw(r#"{"n":1}"#)).ttl(Duration::from_secs(60)).wait()?;
    things.increment("a", "n", 1).wait()?;
    assert_eq!(expiry()?, Some(NOW + 60));
    things.save("a", &raw(r#"{"n":1}"#)).wait()?;
    assert_eq!(expiry()?, None);
    fixture.clock().advance(Duration::from_secs(61));
    assert_eq!((all_keys(&things)?, things.purge_expired(9).wait()?), (vec!["a".to_owned()], 0));
    Ok(())
}

pub(in crate::testing) fn qd_08_purging_removes_the_oldest_first(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    stand_at_now(fixture);
    let things = things(&store)?;
    for (key, seconds) in [("a", 3), ("b", 1), ("c", 2), ("d", 2), ("e", 9)] {
        things.save(key, &raw("{}")).ttl(at(NOW + seconds)).wait()?;
    }
    things.save("f", &raw("{}")).wait()?;
    let mut changes = things.changes();
    assert_eq!(things.purge_expired(9).wait()?, 0);
    fixture.clock().set(at(NOW + 3));
    assert_eq!(things.purge_expired(0).wait()?, 0);
    assert_eq!(things.purge_expired(2).wait()?, 2);
    assert_eq!(store.stats().wait()?.query_dbs[0].expired, 2);
    assert_eq!(things.purge_expired(u64::MAX).wait()?, 2);
    assert_eq!(things.purge_expired(9).wait()?, 0);
    for (version, key) in [(7, "b"), (8, "c"), (9, "d"), (10, "a")] {
        assert_eq!(next_change(&mut changes)?, (version, EXPIRED, key.to_owned()));
    }
    assert_eq!(all_keys(&things)?, ["e", "f"]);
    Ok(())
}

pub(in crate::testing) fn qd_08_a_purge_is_bounded(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    stand_at_now(fixture);
    let things = defined(&store, QueryDbSpec::new().sub_id_field(KeyField::number("n")).ttl_field("until"))?;
    let item = |n: u32| ("p", serde_json::json!({ "n": n, "until": NOW }));
    things.save_batch((0..10_003).map(item)).wait()?;
    assert_eq!(things.purge_expired(u64::MAX).wait()?, 10_000);
    assert_eq!(things.purge_expired(u64::MAX).wait()?, 3);
    assert_eq!(things.purge_expired(u64::MAX).wait()?, 0);
    Ok(())
}

pub(in crate::testing) fn qd_08_a_field_can_hold_it(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    stand_at_now(fixture);
    let things = defined(&store, QueryDbSpec::new().ttl_field("meta.until"))?;
    let save = |until: &str| things.save("a", &raw(&format!(r#"{{"meta":{{"until":{until}}}}}"#)));
    let expiry = || -> crate::Result<Option<u64>> {
        Ok(things.load_one("a").wait()?.and_then(|item| item.expires_at))
    };
    save(&(NOW + 5).to_string()).wait()?;
    assert_eq!(expiry()?, Some(NOW + 5));
    save(&format!("{NOW}.25")).wait()?;
    assert_eq!(expiry()?, Some(NOW + 1));
    save("null").wait()?;
    assert_eq!(expiry()?, None);
    for until in ["-1", "0", "1.5"] {
        save(until).wait()?;
        assert_eq!(things.load_one("a").wait()?, None, "{until} is long past");
    }
    save("1e300").wait()?;
    assert_eq!(expiry()?, Some(i64::MAX as u64));
    refused!(save("\"soon\"").wait(), ErrorKind::InvalidArgument { field: "item", .. });
    let both = save("null").ttl(Duration::from_secs(1));
    refused!(both.wait(), ErrorKind::InvalidArgument { field: "ttl", .. });

    save(&(NOW + 5).to_string()).wait()?;
    things.increment("a", "meta.until", 5).wait()?;
    assert_eq!(expiry()?, Some(NOW + 10), "a counter can move it");
    fixture.clock().set(at(NOW + 10));
    assert_eq!(things.purge_expired(1).wait()?, 1);
    Ok(())
}

pub(in crate::testing) fn qd_08_expired_items_end_no_page_early(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    stand_at_now(fixture);
    let things = defined(&store, QueryDbSpec::new().index(Index::new("by", [KeyField::number("k")])))?;
    for n in 0..20 {
        let write = things.save(format!("{n:02}"), &raw(r#"{"k":1}"#));
        if n % 3 == 0 {
            write.wait()?
        } else {
            write.ttl(at(NOW + 1)).wait()?
        };
    }
    fixture.clock().set(at(NOW + 1));
    let page = things.scan().limit(4).wait()?;
    assert_eq!(page_keys(&page), ["00", "03", "06", "09"]);
    let page = things.scan().limit(4).after(page.next).wait()?;
    assert_eq!((page_keys(&page), page.next), (vec!["12".into(), "15".into(), "18".into()], None));
    let page = things.query(ItemQuery::index("by", [1])).descending().limit(2).wait()?;
    assert_eq!(page_keys(&page), ["18", "15"]);
    Ok(())
}
