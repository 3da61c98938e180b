//! `larder tasks`: objects in and out, and commands that work on what they leave.

use std::{io::Write as _, process::Stdio, thread, time::Duration};

use serde_json::json;

use crate::support::{Ended, Folder};

const PUT: [&str; 4] = ["tasks", "put", "--bucket", "mails"];
const WORK: [&str; 4] = ["tasks", "work", "--bucket", "mails"];

fn put(folder: &Folder, more: &[&str]) -> String {
    folder.ok(&[&PUT, more].concat())
}

fn work(folder: &Folder, more: &[&str]) -> serde_json::Value {
    folder.json(&[&WORK, more].concat()).remove(0)
}

#[test]
fn objects_go_in_and_come_out() {
    let folder = Folder::new();
    let mut child = folder
        .command(&[&PUT[..], &["raw"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&[0, 159, 255]).unwrap();
    assert!(child.wait().unwrap().success());
    folder.write("note.txt", "from a file");
    put(&folder, &["a/note", "--file", "note.txt", "--content-type", "text/plain", "--no-trigger"]);
    let replaced = put(&folder, &["a/note", "--text", "other"]);
    assert!(replaced.starts_with("replaced a/note, 5 bytes"), "{replaced}");
    folder.fails(6, &[&PUT[..], &["a/note", "--text", "third", "--if-absent"]].concat());

    let get = ["tasks", "get", "--bucket", "mails"];
    assert_eq!(folder.command(&[&get[..], &["raw"]].concat()).output().unwrap().stdout, [0, 159, 255]);
    assert_eq!(folder.ok(&[&get[..], &["a/note"]].concat()), "other");
    let shown = folder.json(&[&get[..], &["a/note"]].concat()).remove(0);
    assert_eq!((&shown["text"], &shown["bytes"]), (&json!("other"), &json!(5)));
    assert_eq!(folder.json(&[&get[..], &["raw"]].concat())[0]["base64"], "AJ//");
    folder.fails(3, &[&get[..], &["nothing"]].concat());

    let listed = folder.json(&["tasks", "list", "--bucket", "mails", "--prefix", "a/"]);
    assert_eq!((listed.len(), &listed[0]["key"]), (1, &json!("a/note")));
    assert_eq!(folder.json(&["tasks", "list", "--bucket", "mails"]).len(), 2);
    let buckets = folder.json(&["tasks", "list"]);
    assert_eq!((&buckets[0]["objects"], &buckets[0]["tasks"]), (&json!(2), &json!(2)));
    assert_eq!(folder.json(&["stats"])[0]["task_buckets"][0]["bytes"], 8);
    let verified = folder.json(&["verify"]).remove(0);
    assert_eq!((&verified["objects"], &verified["triggers"]), (&json!(2), &json!(2)));
    assert!(folder.ok(&["verify"]).contains("2 objects, 2 triggers, 0 projections checked"));
}

#[test]
fn a_command_gets_the_bytes_and_what_is_known() {
    let folder = Folder::new();
    put(&folder, &["a/1", "--text", "first", "--content-type", "text/plain"]);
    put(&folder, &["b", "--text", "second"]);
    let command = "echo \"$LARDER_BUCKET $LARDER_KEY $LARDER_TYPE $LARDER_ATTEMPT [$LARDER_CONTENT_TYPE] $(cat)\" >> out";
    let told = work(&folder, &["--exec", command, "--until-empty"]);
    assert_eq!((&told["done"], &told["failed"]), (&json!(2), &json!(0)));
    let out = std::fs::read_to_string(folder.path().join("out")).unwrap();
    assert_eq!(out, "mails a/1 ObjectCreated 1 [text/plain] first\nmails b ObjectCreated 1 [] second\n");
    let told = work(&folder, &["--exec", "exit 9", "--once"]);
    assert_eq!((&told["done"], &told["failed"]), (&json!(0), &json!(0)));
}

#[test]
fn what_fails_is_repeated_given_up_and_redriven() {
    let folder = Folder::new();
    put(&folder, &["bad", "--text", "x"]);
    let attempts = ["--until-empty", "--max-attempts", "3", "--backoff", "1ms"];
    let told = work(&folder, &[&["--exec", "echo no good >&2; exit 7"], &attempts[..]].concat());
    assert_eq!((&told["done"], &told["failed"]), (&json!(0), &json!(3)));
    let dead = folder.json(&["tasks", "dead", "--bucket", "mails"]).remove(0);
    assert_eq!((&dead["key"], &dead["attempts"]), (&json!("bad"), &json!(3)));
    assert_eq!(dead["error"], "exit status: 7: no good");
    assert!(folder.ok(&["tasks", "dead", "--bucket", "mails"]).contains("no good"));
    assert_eq!(folder.json(&["tasks", "redrive", "--bucket", "mails"])[0]["redriven"], 1);
    assert_eq!(work(&folder, &["--exec", "true", "--once"])["done"], 1);
    assert_eq!(folder.json(&["tasks", "dead", "--bucket", "mails", "--discard"])[0]["discarded"], 0);
}

#[test]
fn what_nobody_reads_fails_nothing() {
    let folder = Folder::new();
    put(&folder, &["a", "--text", "x"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let command =
        ["--exec", "echo ran >> out; echo told; echo warned >&2", "--until-empty", "--backoff", "1ms"];
    let mut worker = folder.command(&[&WORK[..], &command].concat());
    let ended = Ended::of(&worker.stderr(writer).output().unwrap());
    assert!(ended.code == 0 && ended.stdout.contains("1 task done, 0 failed attempts"), "{ended:?}");
    assert_eq!(std::fs::read_to_string(folder.path().join("out")).unwrap(), "ran\n", "it ran once");
    assert_eq!(folder.json(&["tasks", "dead", "--bucket", "mails"]), [json!(null); 0]);
}

#[test]
fn a_killed_worker_leaves_its_lease_to_run_out() {
    let folder = Folder::new();
    put(&folder, &["a", "--text", "x"]);
    let command = ["--exec", "echo started >> out; exec sleep 60", "--lease", "2s"];
    let mut killed = folder.command(&[&WORK[..], &command].concat()).stderr(Stdio::null()).spawn().unwrap();
    let started = (0..3_000).any(|_| {
        thread::sleep(Duration::from_millis(10));
        folder.has("out")
    });
    assert!(started, "the command was never run");
    killed.kill().unwrap();
    killed.wait().unwrap();
    let held = work(&folder, &["--exec", "true", "--once"]);
    assert_eq!(held["done"], 0, "another worker took it under its lease");
    let mut output =
        folder.command(&[&WORK[..], &["--exec", "test $LARDER_ATTEMPT = 2", "--until-empty"]].concat());
    let ended = Ended::of(&output.output().unwrap());
    assert!(ended.code == 0 && ended.stdout.contains("1 task done"), "{ended:?}");
}
