//! An export holds everything, and an import writes nothing else.

mod projections;
mod task_buckets;

use std::{
    io::{Cursor, Write},
    sync::{Arc, Mutex},
};

use super::{TransferOptions, check_export};
use crate::{
    AppendCondition, ErrorKind, Limits, NewEvent, Payload, Position, Query, QueryItem, Result, Store, Uuid,
};

/// A writer whose bytes can be looked at.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn exported(store: &Store) -> Vec<u8> {
    let shared = Shared::default();
    store.export(TransferOptions::new(), shared.clone()).wait().unwrap();
    shared.bytes()
}

fn import(store: &Store, bytes: &[u8]) -> Result<()> {
    store.import(TransferOptions::new(), Cursor::new(bytes.to_vec())).wait().map(drop)
}

/// A store with some of everything.
fn filled() -> Store {
    let store = Store::memory();
    let log = store.event_log("orders").unwrap();
    log.audit_conditions(true).wait().unwrap();
    let json = |json: &str| NewEvent::json("A", json).tag("t:1");
    let odd = ["null", "{\"a\": \"\\ud800\", \"a\": 1e+21}", " [1,\n2]\r\n", "1"].map(json);
    log.append("s", 0, odd).wait().unwrap();
    log.append("s", 4, [NewEvent::bytes("B", [0, 255]).metadata_json("{\"by\" : 1}").id(Uuid::from_u128(7))])
        .wait()
        .unwrap();
    let unless =
        AppendCondition { fail_if_events_match: QueryItem::new().tag("t:2").into(), after: Position::START };
    log.append_if([NewEvent::json("C", "{}").tag("t:2")], unless).wait().unwrap();
    log.append("gone", 0, [NewEvent::json("D", "1").tag("t:3")]).wait().unwrap();
    log.compact("gone", 1).wait().unwrap();
    log.compact("s", 1).wait().unwrap();
    let snapshots = log.snapshots();
    snapshots.save("s", 3, &[1, 2, 3]).schema("v1").wait().unwrap();
    let keyring = format!("key {}", "ab".repeat(32)).parse().unwrap();
    snapshots.codec(crate::Codec::none().encrypted(keyring)).save("gone", 1, "a secret").wait().unwrap();
    store.event_log("other").unwrap().append("x", 0, [NewEvent::json("E", "2")]).wait().unwrap();
    let rows = store.query_db("Rows").unwrap();
    rows.save("p", &serde_json::json!({ "n": 1 })).wait().unwrap();
    let files = store.task_bucket("files").unwrap();
    files.put("a", "text").content_type("text/plain").wait().unwrap();
    files.put("b", [0, 255]).without_trigger().wait().unwrap();
    store.projection("rows").unwrap().set_checkpoint(Position::new(2)).wait().unwrap();
    store
}

/// The lines of an export, each as text.
fn lines(bytes: &[u8]) -> Vec<&str> {
    std::str::from_utf8(bytes).unwrap().lines().collect()
}

/// The lines of an export that begin so.
fn lines_of<'a>(bytes: &'a [u8], name: &str) -> Vec<&'a str> {
    let start = format!("{{\"{name}\":");
    lines(bytes).into_iter().filter(|line| line.starts_with(&start)).collect()
}

/// An export with something else in it, which is not found by its checksum but by what it says.
fn altered(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    let mut changed: Vec<_> = text.replacen(from, to, 1).lines().map(str::to_owned).collect();
    changed.pop();
    let body = changed.join("\n") + "\n";
    let rows = check_export(bytes, &Limits::default()).unwrap().rows();
    let crc32c = crc32c::crc32c(body.as_bytes());
    (body + &format!("{{\"end\":{{\"rows\":{rows},\"crc32c\":\"{crc32c:08x}\"}}}}\n")).into_bytes()
}

#[test]
fn a_copy_exports_the_same() {
    let original = exported(&filled());
    let copy = Store::memory();
    import(&copy, &original).unwrap();
    assert_eq!(String::from_utf8(exported(&copy)).unwrap(), String::from_utf8(original).unwrap());
}

#[test]
fn a_copy_behaves_as_the_original() {
    let copy = Store::memory();
    import(&copy, &exported(&filled())).unwrap();
    let log = copy.event_log("orders").unwrap();
    let events = log.query(Query::all()).wait().unwrap().items;
    assert_eq!(events[1].payload.as_json(), Some(" [1,\n2]\r\n"));
    assert_eq!(events[3].payload, Payload::Bytes(vec![0, 255]));
    assert_eq!(events[3].metadata.as_deref(), Some("{\"by\" : 1}"));
    assert_eq!([log.head("gone").wait().unwrap(), log.head("s").wait().unwrap()], [1, 5]);
    // A repeated append is recognised, and conditions see what was compacted.
    let again = NewEvent::bytes("B", [0, 255]).metadata_json("{\"by\" : 1}").id(Uuid::from_u128(7));
    assert_eq!(log.append("s", 4, [again]).wait().unwrap().last_position, Position::new(5));
    let unless =
        AppendCondition { fail_if_events_match: QueryItem::new().tag("t:3").into(), after: Position::START };
    let error = log.append_if([NewEvent::json("F", "1")], unless).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConditionFailed { .. }));
}

#[test]
fn a_log_is_imported_only_above_its_head() {
    let store = filled();
    let error = import(&store, &exported(&store)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument { .. }), "{error}");
    assert!(error.context().contains(&("committed line", "0".into())), "{error}");
}

#[test]
fn one_log_can_be_chosen() {
    let copy = Store::memory();
    let options = TransferOptions::new().log("other");
    let imported = copy.import(options, Cursor::new(exported(&filled()))).wait().unwrap();
    assert_eq!((imported.logs.len(), imported.events(), imported.rows()), (1, 1, imported.logs[0].rows));
    assert_eq!(copy.logs().wait().unwrap().len(), 1);
    assert_eq!(copy.query_dbs().wait().unwrap(), []);
    assert_eq!(copy.task_buckets().wait().unwrap(), []);
    assert_eq!(copy.projections().wait().unwrap(), []);
    let options = TransferOptions::new().log("nowhere");
    let error = copy.export(options.clone(), Shared::default()).wait().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotFound);
    let error = copy.import(options, Cursor::new(exported(&filled()))).wait().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotFound);
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let original = exported(&filled());
    let limits = Limits::default();
    assert_eq!(check_export(&*original, &limits).unwrap().logs.len(), 2);
    for place in 0..original.len() {
        let mut flipped = original.clone();
        flipped[place] ^= 1 << (place % 7);
        assert!(check_export(&*flipped, &limits).is_err(), "flipped at {place}");
        // Without its last line break it is still whole.
        assert_eq!(
            check_export(&original[..place], &limits).is_ok(),
            place == original.len() - 1,
            "cut at {place}"
        );
    }
}

#[test]
fn a_newer_version_is_refused() {
    let newer = "{\"larder_export\":{\"version\":2,\"written_by\":\"larder 9\"}}\n";
    let error = check_export(newer.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Incompatible);
    let error = check_export(&b"{\"type\":\"FeatureCollection\"}"[..], &Limits::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument { .. }));
}

/// A writer that does something to the store when it first gets bytes.
struct Meddling<F> {
    bytes: Shared,
    meddle: Option<F>,
}

impl<F: FnOnce()> Write for Meddling<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(meddle) = self.meddle.take() {
            meddle();
        }
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A store with more events than fit into a writer's buffer.
fn long() -> Store {
    let store = Store::memory();
    let log = store.event_log("long").unwrap();
    let event = |n: u128| NewEvent::new("A", &"x".repeat(100)).id(Uuid::from_u128(n));
    log.append("s", 0, (1..=2_000).map(event)).wait().unwrap();
    store
}

#[test]
fn what_is_appended_meanwhile_is_left_out_altogether() {
    let store = long();
    let log = store.event_log("long").unwrap();
    let late = || NewEvent::json("B", "1").id(Uuid::from_u128(9_999));
    let writer = Meddling {
        bytes: Shared::default(),
        meddle: Some(move || {
            log.append("s", 2_000, [late()]).wait().unwrap();
        }),
    };
    let bytes = writer.bytes.clone();
    assert_eq!(store.export(TransferOptions::new(), writer).wait().unwrap().events(), 2_000);
    assert_eq!(store.event_log("long").unwrap().head("s").wait().unwrap(), 2_001);
    let copy = Store::memory();
    import(&copy, &bytes.bytes()).unwrap();
    // Its id is not known either, so that it can still be appended to the copy.
    let appended = copy.event_log("long").unwrap().append("s", 2_000, [late()]).wait().unwrap();
    assert_eq!(appended.last_position, Position::new(2_001));
    assert_eq!(copy.event_log("long").unwrap().read("s", 2_001..).wait().unwrap().items.len(), 1);
}

#[test]
fn a_compaction_meanwhile_is_no_silent_hole() {
    let store = long();
    let log = store.event_log("long").unwrap();
    let writer = Meddling {
        bytes: Shared::default(),
        meddle: Some(move || {
            log.compact("s", 1_900).wait().unwrap();
        }),
    };
    let bytes = writer.bytes.clone();
    let error = store.export(TransferOptions::new(), writer).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::HistoryCompacted { .. }), "{error}");
    assert!(check_export(&*bytes.bytes(), &Limits::default()).is_err());
    assert!(check_export(&*exported(&store), &Limits::default()).is_ok());
}

#[test]
fn snapshots_come_along_as_they_are() {
    let (original, copy) = (filled(), Store::memory());
    let bytes = exported(&original);
    assert!(!String::from_utf8(bytes.clone()).unwrap().contains("a secret"));
    import(&copy, &bytes).unwrap();
    assert_eq!(copy.snapshots().wait().unwrap(), original.snapshots().wait().unwrap());
    let snapshots = copy.event_log("orders").unwrap().snapshots();
    let found = snapshots.latest_for("s", "v1").wait().unwrap().unwrap();
    assert_eq!(found.decode::<Vec<u32>>().unwrap(), [1, 2, 3]);
    assert!(matches!(snapshots.latest("gone").wait().unwrap_err().kind(), ErrorKind::WrongKey { .. }));
    let keyring = format!("key {}", "ab".repeat(32)).parse().unwrap();
    let snapshots = snapshots.codec(crate::Codec::none().encrypted(keyring));
    assert_eq!(snapshots.latest("gone").wait().unwrap().unwrap().decode::<String>().unwrap(), "a secret");
}

#[test]
fn another_snapshot_at_a_place_is_not_overwritten() {
    let copy = Store::memory();
    let snapshots = copy.event_log("orders").unwrap().snapshots();
    snapshots.save("s", 3, "mine").wait().unwrap();
    let error = import(&copy, &exported(&filled())).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument { field: "import", .. }), "{error:?}");
    assert_eq!(snapshots.latest("s").wait().unwrap().unwrap().decode::<String>().unwrap(), "mine");
    assert_eq!(snapshots.latest("gone").wait().unwrap(), None);
}

#[test]
fn a_snapshot_from_elsewhere_is_checked() {
    let good = String::from_utf8(exported(&filled())).unwrap();
    for (from, to) in [
        (r#""kind":"stream""#, r#""kind":"strum""#),
        (r#""at":3,"#, r#""at":0,"#),
        (r#""schema":"v1""#, r#""schema":"""#),
        (r#""container_hex":"4c534e01"#, r#""container_hex":"4c534e09"#),
        (r#""container_hex":"4c534e01"#, r#""container_hex":"zz"#),
    ] {
        assert!(good.contains(from), "{from}: {good}");
        let copy = Store::memory();
        let bad = good.replacen(from, to, 1);
        assert!(import(&copy, bad.as_bytes()).is_err(), "{to}");
        assert_eq!(copy.snapshots().wait().unwrap().items, []);
    }
}

#[test]
fn a_log_with_nothing_but_snapshots_comes_along() {
    let store = Store::memory();
    for name in ["only", "also-only"] {
        let snapshots = store.event_log(name).unwrap().snapshots();
        snapshots.save(crate::Subject::query("q"), Position::new(4), "of a query").wait().unwrap();
        snapshots.save("s", 3, "first").wait().unwrap();
        snapshots.save("s", 5, "second").wait().unwrap();
    }
    store.event_log("between").unwrap().append("s", 0, [NewEvent::json("A", "1")]).wait().unwrap();
    let original = exported(&store);
    let copy = Store::memory();
    let imported = copy.import(TransferOptions::new(), Cursor::new(original.clone())).wait().unwrap();
    let logs: Vec<_> = imported.logs.iter().map(|log| (log.log.as_str(), log.rows)).collect();
    assert_eq!(logs, [("also-only", 4), ("between", 2), ("only", 4)]);
    assert_eq!(copy.snapshots().wait().unwrap(), store.snapshots().wait().unwrap());
    assert_eq!(exported(&copy), original);

    let options = TransferOptions::new().log("only");
    let one = store.export(options, Shared::default()).wait().unwrap();
    assert_eq!((one.logs.len(), one.rows()), (1, 4));
}

#[test]
fn sections_out_of_order_or_twice_are_refused() {
    let original = exported(&filled());
    let bucket = "{\"task_bucket\":{\"name\":\"empty\",\"counter\":1}}\n{\"task_bucket_end\":{\"objects\":0,\"triggers\":0}}\n";
    let query_db = "{\"query_db\":{\"name\":\"Empty\",\"spec\":{}}}\n{\"query_db_end\":{\"items\":0}}\n";
    let fits = |before: &str, section: &str| {
        let with = altered(&original, before, &format!("{section}{before}"));
        check_export(&*with, &Limits::default()).map(drop)
    };
    fits("{\"task_bucket\":", query_db).unwrap();
    fits("{\"projection\":", bucket).unwrap();
    for (before, section) in [
        ("{\"log\":", bucket),
        ("{\"query_db\":", bucket),
        ("{\"projection\":", query_db),
        ("{\"projection\":", &bucket.replace("empty", "files")),
        ("{\"query_db\":", &query_db.replace("Empty", "Rows")),
        ("{\"object\":", bucket),
    ] {
        let error = fits(before, section).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidArgument { .. }),
            "{section} before {before}: {error}"
        );
    }
}

#[test]
fn query_dbs_come_back() {
    use crate::{Index, ItemQuery, QueryDbSpec};
    let store = Store::memory();
    let spec = QueryDbSpec::new().sub_id_field("id").index(Index::new("by_kind", ["kind"]));
    let rows = store.define("Rows", spec).wait().unwrap();
    for n in 0..2_500 {
        let item =
            serde_json::json!({ "id": format!("{n:04}"), "kind": if n % 2 == 0 { "even" } else { "odd" } });
        rows.save("p", &item).wait().unwrap();
    }
    let lasting = serde_json::json!({ "id": "ttl", "kind": "even" });
    let until = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    rows.save("p", &lasting).ttl(until).wait().unwrap();
    let lines = exported(&store);

    let copy = Store::memory();
    let imported = copy.import(TransferOptions::new(), Cursor::new(lines.clone())).wait().unwrap();
    assert_eq!((imported.items(), imported.query_dbs[0].query_db.as_str()), (2_501, "Rows"));
    let copied = copy.query_db("Rows").unwrap();
    let even = copied.count_items(ItemQuery::index("by_kind", ["even"])).wait().unwrap();
    assert_eq!(even, 1_251);
    assert_eq!(copied.load_one(("p", "ttl")).wait().unwrap().unwrap().expires_at, Some(4_000_000_000));
    let again: Vec<u8> = exported(&copy);
    assert_eq!(again, lines, "an export of the copy is the same");

    let cut: Vec<u8> = lines
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"{\"query_db_end\""))
        .flatten()
        .copied()
        .collect();
    assert!(Store::memory().import(TransferOptions::new(), Cursor::new(cut)).wait().is_err());
}
