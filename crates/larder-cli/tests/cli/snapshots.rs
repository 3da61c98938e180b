//! `larder snapshots`: what it shows, deletes and encrypts anew, and what it never shows.

use larder::{Codec, Keyring, NewEvent, Position, Store, Subject};
use serde_json::json;

use crate::support::{Ended, Folder};

fn digits(byte: &str) -> String {
    byte.repeat(32)
}

fn keyring(text: &str) -> Keyring {
    text.parse().expect("a keyring")
}

/// A folder with a store: order-1 at 2 and 3 (the latter encrypted with `old`), bytes of order-2, and a query.
fn saved() -> Folder {
    let folder = Folder::new();
    let store =
        Store::open(format!("sqlite:{}/.larder/local.db", folder.path().display())).wait().expect("it works");
    let log = store.event_log("orders").expect("a name");
    log.append("order-1", 0, (0..3).map(|n| NewEvent::new("Counted", &n))).wait().expect("it works");
    let snapshots = log.snapshots();
    let secret =
        snapshots.clone().codec(Codec::default().encrypted(keyring(&format!("old {}", digits("ab")))));
    snapshots.save("order-1", 2, &json!({ "status": "open" })).schema("v1").wait().expect("it works");
    secret
        .save("order-1", 3, &json!({ "status": "paid", "note": "x".repeat(2_000) }))
        .wait()
        .expect("it works");
    snapshots.save_bytes("order-2", 1, [0, 255]).wait().expect("it works");
    snapshots.save(Subject::query("open orders"), Position::new(3), &3).wait().expect("it works");
    store.close().wait().expect("it works");
    folder
}

#[test]
fn snapshots_are_listed_without_keys() {
    let folder = saved();
    let listed = folder.json(&["snapshots", "list"]);
    let told: Vec<_> = listed
        .iter()
        .map(|info| {
            (info["kind"].as_str(), info["subject"].as_str(), info["at"].as_u64(), info["key"].as_str())
        })
        .collect();
    let expected = [
        ("query", "open orders", 3, None),
        ("stream", "order-1", 2, None),
        ("stream", "order-1", 3, Some("old")),
        ("stream", "order-2", 1, None),
    ];
    assert_eq!(told, expected.map(|(kind, name, at, key)| (Some(kind), Some(name), Some(at), key)));
    assert_eq!((&listed[1]["schema"], &listed[1]["content"]), (&json!("v1"), &json!("json")));
    assert_eq!((&listed[2]["compressed"], &listed[3]["content"]), (&json!(true), &json!("bytes")));
    let of_stream = ["snapshots", "list", "--log", "orders", "--stream", "order-1"];
    assert_eq!(folder.json(&of_stream).len(), 2);
    assert_eq!(
        folder.json(&["snapshots", "list", "--log", "orders", "--query-name", "open orders"]).len(),
        1
    );
    assert_eq!(folder.json(&["snapshots", "list", "--log", "other"]).len(), 0);
    assert_eq!(folder.json(&["snapshots", "list", "--limit", "3"]).len(), 3);
    let table = folder.ok(&["snapshots", "list"]);
    assert!(table.contains("query open orders") && table.contains("key old"), "{table}");

    let stats = &folder.json(&["stats"])[0]["snapshots"];
    assert_eq!((&stats["snapshots"], &stats["subjects"]), (&json!(4), &json!(3)));
    assert!(folder.ok(&["stats"]).contains("4 snapshots of 3 subjects"));
    assert_eq!(folder.json(&["verify"])[0]["snapshots"], 4);
}

#[test]
fn a_state_is_shown_with_its_key() {
    let folder = saved();
    let show = ["snapshots", "show", "--log", "orders"];
    let of_1 = [&show[..], &["--stream", "order-1"]].concat();
    let before = &folder.json(&[&of_1[..], &["--before", "3"]].concat())[0];
    assert_eq!((&before["at"], &before["state"]), (&json!(2), &json!({ "status": "open" })));
    let of_v1 = &folder.json(&[&of_1[..], &["--schema", "v1"]].concat())[0];
    assert_eq!(of_v1["at"], 2);
    let bytes = &folder.json(&[&show[..], &["--stream", "order-2"]].concat())[0];
    assert_eq!(bytes["state"], json!({ "bytes": "AP8=" }));
    assert!(
        folder.ok(&[&show[..], &["--query-name", "open orders"]].concat()).contains("query open orders at 3")
    );
    assert!(folder.fails(3, &[&of_1[..], &["--before", "2"]].concat()).contains("below 2"));
    assert!(folder.fails(3, &[&show[..], &["--stream", "none"]].concat()).contains("larder snapshots list"));
    folder.fails(2, &show);

    let refused = folder.fails(11, &of_1);
    assert!(refused.contains("key `old`") && refused.contains("no keyring was given"), "{refused}");
    folder.write("keys", format!("# two\nnew {}\nold {}\n", digits("cd"), digits("ab")));
    let with_file = &folder.json(&[&of_1[..], &["--key-file", "keys"]].concat())[0];
    assert_eq!(with_file["state"]["status"], "paid");
    let keys = format!("new {},old {}", digits("cd"), digits("ab"));
    let output = folder.command(&of_1).env("LARDER_KEYS", &keys).output().unwrap();
    assert!(Ended::of(&output).stdout.contains("\"status\":\"paid\""));
    let output = folder.command(&of_1).env("LARDER_KEYS", format!("old {}", digits("cd"))).output().unwrap();
    let ended = Ended::of(&output);
    assert!(ended.code == 11 && ended.stderr.contains("not the one that encrypted"), "{ended:?}");
}

#[test]
fn snapshots_are_deleted_through_a_place() {
    let folder = saved();
    let delete = ["snapshots", "delete", "--log", "orders", "--stream", "order-1", "--through", "2"];
    assert_eq!(folder.json(&delete)[0]["deleted"], 1);
    assert_eq!(folder.json(&delete)[0]["deleted"], 0);
    assert_eq!(folder.json(&["snapshots", "list"]).len(), 3);
    folder.fails(2, &delete[..6]);
}

#[test]
fn keys_are_replaced_and_never_shown() {
    let folder = saved();
    let encrypt = ["snapshots", "re-encrypt"];
    assert!(folder.fails(2, &encrypt).contains("--key-file"));
    folder.write("new", format!("new {}\n", digits("cd")));
    let with_new = [&encrypt[..], &["--key-file", "new"]].concat();
    let ended = folder.run(&[&with_new[..], &["--json"]].concat());
    assert_eq!(ended.code, 11, "{ended:?}");
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&told["snapshots"], &told["rewritten"], &told["failed"]), (&json!(4), &json!(3), &json!(1)));
    assert!(ended.stderr.contains("order-1") || ended.stderr.contains("could not be read"), "{ended:?}");

    folder.write("both", format!("new {}\nold {}\n", digits("cd"), digits("ab")));
    let with_both = [&encrypt[..], &["--key-file", "both"]].concat();
    let done = &folder.json(&with_both)[0];
    assert_eq!((&done["key"], &done["rewritten"], &done["failed"]), (&json!("new"), &json!(1), &json!(0)));
    assert_eq!(folder.json(&with_both)[0]["rewritten"], 0);
    assert!(folder.json(&["snapshots", "list"]).iter().all(|info| info["key"] == "new"));
    let show = ["snapshots", "show", "--log", "orders", "--stream", "order-1", "--key-file", "new"];
    assert_eq!(folder.json(&show)[0]["state"]["status"], "paid");

    // Whatever is wrong with keys, they are not shown.
    for wrong in [
        format!("new {}", &digits("cd")[1..]),
        digits("cd"),
        format!("{}{}", digits("cd"), digits("cd")),
        format!("new {}zz", &digits("cd")[2..]),
        format!("a b {}", digits("cd")),
        String::new(),
    ] {
        folder.write("wrong", &wrong);
        let refused = folder.run(&[&encrypt[..], &["--key-file", "wrong"]].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(!format!("{refused:?}").contains("cdcd"), "{refused:?}");
        if !wrong.is_empty() {
            let output = folder.command(&encrypt).env("LARDER_KEYS", &wrong).output().unwrap();
            let refused = Ended::of(&output);
            assert_eq!(refused.code, 2, "{refused:?}");
            assert!(!format!("{refused:?}").contains("cdcd"), "{refused:?}");
        }
    }
    folder.fails(3, &[&encrypt[..], &["--key-file", "missing"]].concat());
}
