//! The key-value store's commands.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use serde_json::json;

use crate::support::{Ended, Folder};

#[test]
fn what_is_put_is_there() {
    let folder = Folder::new();
    folder.ok(&["kv", "put", "settings/theme", "dark"]);
    folder.ok(&["kv", "put", "settings/size", "12"]);
    folder.ok(&["kv", "put", "app", ""]);
    assert_eq!(folder.ok(&["kv", "get", "settings/theme"]), "dark");
    assert_eq!(folder.ok(&["kv", "size"]), "3\n");
    let listed = folder.json(&["kv", "list", "settings/"]);
    assert_eq!(listed[0], json!({ "key": "settings/size", "value": "12" }));
    assert_eq!(folder.ok(&["kv", "list", "--keys", "--from", "b", "--limit", "1"]), "settings/size\n");
    folder.ok(&["kv", "remove", "settings/size"]);
    assert!(folder.ok(&["kv", "remove", "settings/size"]).contains("was not there"));
    let status = &folder.json(&["kv", "status"])[0];
    assert_eq!(
        (&status["node"], &status["keys"], &status["tombstones"]),
        (&json!("local"), &json!(2), &json!(1))
    );
    assert_eq!(status["sync"]["outbox_size"], 3);
    assert!(folder.path().join(".larder/local.wal").exists());
}

#[test]
fn any_bytes_pass_through() {
    let folder = Folder::new();
    let value: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    fs::write(folder.path().join("value"), &value).unwrap();
    folder.ok(&["kv", "put", "bin", "--file", "value"]);
    let got = folder.command(&["kv", "get", "bin"]).output().unwrap();
    assert_eq!(got.stdout, value);
    let mut child =
        folder.command(&["kv", "put", "piped"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\xff\x00\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(folder.command(&["kv", "get", "piped"]).output().unwrap().stdout, b"\xff\x00\n");
    assert_eq!(folder.json(&["kv", "get", "piped"])[0]["value"], json!({ "bytes": "/wAK" }));
}

#[test]
fn the_place_may_stand_before_or_after() {
    let folder = Folder::new();
    folder.ok(&["kv", "--data", "d/a.wal", "--node", "node-a", "put", "k", "1"]);
    assert_eq!(folder.ok(&["kv", "get", "k", "--data", "d/a.wal"]), "1");
    assert_eq!(folder.ok(&["kv", "--node", "node-a", "get", "k", "--data", "d/a.wal"]), "1");
    let refused = folder.fails(31, &["kv", "--node", "node-b", "get", "k", "--data", "d/a.wal"]);
    assert!(refused.contains("node-a"), "{refused}");
    folder.ok(&["kv", "--node", "node-b", "put", "k", "2"]);
    assert!(folder.path().join(".larder/node-b.wal").exists());
}

#[test]
fn an_export_comes_back() {
    let folder = Folder::new();
    folder.ok(&["kv", "put", "a/1", "x"]);
    folder.ok(&["kv", "put", "b/1", "y"]);
    folder.ok(&["kv", "export", "all.jsonl"]);
    assert!(folder.fails(6, &["kv", "export", "all.jsonl"]).contains("already"));
    assert_eq!(folder.json(&["kv", "--data", "c.wal", "import", "all.jsonl"])[0], json!({ "entries": 2 }));
    assert_eq!(folder.ok(&["kv", "--data", "c.wal", "get", "b/1"]), "y");
    assert_eq!(folder.ok(&["kv", "export", "--prefix", "a/"]).lines().count(), 3);
    folder.write("bad.jsonl", "{\"entry\":{\"key\":\"a\",\"value\":\"b\"}}\n");
    assert!(folder.fails(2, &["kv", "import", "bad.jsonl"]).contains("line 1"));
}

#[test]
fn changes_of_another_process_are_watched() {
    let folder = Folder::new();
    folder.ok(&["kv", "put", "before", "0"]);
    let arguments = ["kv", "watch", "w/", "--limit", "3", "--json"];
    let mut watch = folder.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    // The watch may not have begun yet: a change is repeated until it is seen.
    let seen = std::thread::spawn(move || {
        let lines: Vec<String> = lines.by_ref().map(Result::unwrap).collect();
        lines
    });
    let mut n = 0;
    while !seen.is_finished() {
        n += 1;
        folder.ok(&["kv", "put", "w/x", &n.to_string()]);
        folder.ok(&["kv", "put", "other", "1"]);
        folder.ok(&["kv", "compact"]);
        assert!(n < 200, "nothing was seen");
    }
    let seen = seen.join().unwrap();
    assert!(watch.wait().unwrap().success());
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|line| line.starts_with(r#"{"key":"w/x","value":""#)), "{seen:?}");
}

#[test]
fn refusals_say_what_to_do() {
    let folder = Folder::new();
    assert!(folder.fails(3, &["kv", "get", "k"]).contains("larder kv put"));
    assert!(!folder.path().join(".larder").exists(), "looking makes no file");
    folder.ok(&["kv", "put", "k", "v"]);
    assert!(folder.fails(3, &["kv", "get", "missing"]).contains("key not found"));
    assert!(folder.fails(2, &["kv", "put", "", "v"]).contains("key"));
    assert!(folder.fails(2, &["kv", "--node", "a b", "put", "k", "v"]).contains("node_id"));
    folder.write("other.wal", "this is some other file, and long enough to be looked at");
    assert!(folder.fails(31, &["kv", "--data", "other.wal", "get", "k"]).contains("another format"));
    fs::create_dir(folder.path().join("folder")).unwrap();
    folder.fails(2, &["kv", "--data", "folder", "put", "k", "v"]);
}

#[test]
fn a_damaged_file_is_reported_and_repaired() {
    let folder = Folder::new();
    folder.ok(&["kv", "put", "first", "1"]);
    folder.ok(&["kv", "put", "second", "2"]);
    let path = folder.path().join(".larder/local.wal");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 40] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(folder.fails(30, &["kv", "get", "second"]).contains("larder kv repair"));
    let repaired = &folder.json(&["kv", "repair"])[0];
    assert_eq!((&repaired["keys"], repaired["damaged"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(folder.ok(&["kv", "get", "second"]), "2");
    let again: Ended = folder.run(&["kv", "repair"]);
    assert!(again.stdout.contains("nothing to repair"), "{again:?}");
}
