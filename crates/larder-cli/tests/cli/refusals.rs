//! Bad input: a clear error, the right exit code, and nothing half-written.

use std::fs;

use rusqlite::Connection;

use crate::support::{Ended, Folder, imported, strikes};

const APPEND: [&str; 7] = ["append", "--log", "l", "--type", "T", "--data", "1"];

fn append(more: &[&'static str]) -> Vec<&'static str> {
    [&APPEND[..], more].concat()
}

#[test]
fn an_unknown_backend_lists_what_is_known_and_no_password() {
    let folder = Folder::new();
    let refused = folder.fails(2, &append(&["--store", "postgres://me:secret@host/db"]));
    assert!(refused.contains("sqlite:<path>") && !refused.contains("secret"), "{refused}");
    assert!(folder.fails(2, &append(&["--store", "sqlite:x.db?nope"])).contains("nope"));
    let mut command = folder.command(&["logs"]);
    let ended = Ended::of(&command.env("LARDER_BACKEND", "nope:").output().unwrap());
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("LARDER_BACKEND"), "{ended:?}");
}

#[test]
fn a_mistyped_path_is_not_created() {
    let folder = Folder::new();
    let commands: [&[&str]; 8] = [
        &["logs"],
        &["stats"],
        &["verify"],
        &["export"],
        &["backup", "b.db"],
        &["read", "--log", "l"],
        &["tail", "--log", "l"],
        &["compact", "--log", "l", "--stream", "s", "--through", "1"],
    ];
    for command in commands {
        let refused = folder.fails(3, &[command, &["--store", "sqlite:typo/x.db"]].concat());
        assert!(refused.contains("typo/x.db") && refused.contains("hint:"), "{refused}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_log_that_is_not_there_is_named_beside_those_that_are() {
    let folder = imported();
    let refused = folder.fails(3, &["read", "--log", "strike"]);
    assert!(refused.contains("no log `strike`") && refused.contains("there is: strikes"), "{refused}");
}

/// A change made by SQLite, behind the program's back.
fn sqlite(folder: &Folder, name: &str, sql: &str) -> Connection {
    let connection = Connection::open(folder.path().join(name)).expect("it opens");
    connection.execute_batch(sql).expect("SQL");
    connection
}

#[test]
fn files_of_others_stay_as_they_are() {
    let folder = Folder::new();
    folder.write("text.db", "this is no database, but it is long enough to look at".repeat(30));
    folder.write("broken.db", [b"SQLite format 3\0", &[7; 4096][..]].concat());
    drop(sqlite(&folder, "other.db", "CREATE TABLE events (id, body); INSERT INTO events VALUES (1, 2)"));
    for name in ["text.db", "broken.db", "other.db"] {
        let before = fs::read(folder.path().join(name)).unwrap();
        for flags in ["", "?reset"] {
            let url = format!("sqlite:{name}{flags}");
            let ended = folder.run(&[&APPEND[..], &["--store", &url]].concat());
            assert!([30, 31].contains(&ended.code), "{url}: {ended:?}");
            assert!(ended.stderr.contains(name) && ended.stderr.contains("hint:"), "{ended:?}");
        }
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), before, "{name}");
    }
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let folder = imported();
    drop(sqlite(&folder, ".larder/local.db", "PRAGMA user_version = 99"));
    for command in [&["logs"][..], &APPEND] {
        let refused = folder.fails(31, command);
        assert!(refused.contains("99") && refused.contains("newer"), "{refused}");
    }
}

#[test]
fn a_store_that_another_process_holds_is_locked_not_harmed() {
    let folder = imported();
    let holder = sqlite(&folder, ".larder/local.db", "BEGIN IMMEDIATE");
    let url = "sqlite:.larder/local.db?busy_timeout=100";
    let refused = folder.fails(20, &append(&["--store", url]));
    assert!(refused.contains("busy_timeout"), "{refused}");
    // Reading goes on meanwhile.
    assert_eq!(folder.json(&["logs"]).len(), 1);
    holder.execute_batch("ROLLBACK").unwrap();
    folder.ok(&append(&[]));
}

#[test]
fn damage_is_found_and_ends_verify_with_one() {
    let folder = imported();
    drop(sqlite(
        &folder,
        ".larder/local.db",
        "UPDATE event SET payload = replace(payload, 'Herring', 'Haddock') WHERE payload LIKE '%Herring%'",
    ));
    let ended = folder.run(&["verify"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("log strikes: position ") && ended.stdout.contains("finding"), "{ended:?}");
    let read = folder.run(&["read", "--log", "strikes"]);
    assert_eq!(read.code, 30);
    assert!(!read.stdout.contains("Haddock") && read.stderr.contains("larder verify"), "{}", read.stderr);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let folder = Folder::new();
    folder.write("file", "");
    let refused = folder.fails(26, &append(&["--store", "sqlite:file/x.db"]));
    assert!(refused.contains("file/x.db"), "{refused}");
}

#[test]
fn what_cannot_be_an_event_leaves_no_store_behind() {
    let folder = Folder::new();
    let event = ["append", "--type", "T"];
    let cases: [(&[&str], &str); 6] = [
        (&["--log", "a b", "--data", "1"], "invalid log"),
        (&["--log", "l", "--stream", "", "--data", "1"], "invalid stream"),
        (&["--log", "l", "--tag", "", "--data", "1"], "invalid tag"),
        (&["--log", "l", "--data", "{a:1}"], "not JSON"),
        (&["--log", "l", "--data", "1", "--metadata", "[1]"], "invalid metadata"),
        (&["--log", "l", "--data", "1", "--if-none-match", "tag:x or"], "at column 9"),
    ];
    for (arguments, said) in cases {
        let refused = folder.fails(2, &[&event[..], arguments].concat());
        assert!(refused.contains(said), "{said}: {refused}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_payload_over_the_limit_is_refused_with_the_limit() {
    let folder = Folder::new();
    folder.write("rows.jsonl", format!("{{\"a\":1}}\n{{\"a\":\"{}\"}}\n{{\"a\":2}}\n", "x".repeat(1 << 20)));
    let refused = folder.fails(8, &["import", "rows.jsonl", "--log", "l", "--type", "T"]);
    assert!(refused.contains("line 2:") && refused.contains("1048576"), "{refused}");
    assert!(refused.contains("committed events: 1"), "{refused}");
    assert_eq!(folder.json(&["read", "--log", "l"]).len(), 1);
}

#[test]
fn stale_and_gap_expectations_write_nothing() {
    let folder = imported();
    for expect in ["0", "145", "147"] {
        let arguments = [
            "append",
            "--log",
            "strikes",
            "--type",
            "T",
            "--data",
            "1",
            "--stream",
            "LOGAN INTL",
            "--expect",
        ];
        let refused = folder.fails(4, &[&arguments[..], &[expect]].concat());
        assert!(refused.contains(&format!("head is 146, not {expect}")), "{refused}");
    }
    assert_eq!(folder.json(&["logs"])[0]["head"], 640);
}

#[test]
fn an_import_that_cannot_start_makes_no_store() {
    let folder = Folder::new();
    let file = strikes();
    let columns =
        folder.fails(2, &["import", &file, "--log", "l", "--type", "T", "--stream-field", "Airport"]);
    assert!(columns.contains("no column `Airport`") && columns.contains("`Airport Name`"), "{columns}");
    folder.fails(3, &["import", "nowhere.csv", "--log", "l", "--type", "T"]);
    folder.fails(2, &["import", "nowhere.xml", "--log", "l", "--type", "T"]);
    folder.fails(2, &["import", &file, "--log", "l"]);
    folder.fails(8, &["import", &file, "--native"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn broken_json_says_how_far_the_import_got() {
    let folder = Folder::new();
    folder.write("rows.json", "[{\"a\":1},\n{\"a\":2},\n{\"a\" 3}]");
    let refused = folder.fails(8, &["import", "rows.json", "--log", "l", "--type", "T"]);
    assert!(refused.contains("line 3") && refused.contains("committed events: 2"), "{refused}");
    assert_eq!(folder.json(&["logs"])[0]["head"], 2);
}

#[test]
fn errors_are_json_when_results_are() {
    let folder = Folder::new();
    for (code, kind, arguments) in [
        (2, "InvalidArgument", &["nonsense"][..]),
        (3, "NotFound", &["logs"]),
        (8, "BadInput", &["import", "bad.jsonl", "--log", "l", "--type", "T"]),
    ] {
        folder.write("bad.jsonl", "{\n");
        let said = folder.fails(code, &[arguments, &["--json"]].concat());
        let error: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!((error["kind"].as_str(), error["exit_code"].as_i64()), (Some(kind), Some(code.into())));
        assert!(error["message"].is_string() && error["context"].is_object() && error["hint"].is_string());
    }
}

#[test]
fn a_reading_command_never_resets() {
    let folder = imported();
    assert_eq!(folder.json(&["logs", "--store", "sqlite:.larder/local.db?reset"])[0]["head"], 640);
}

#[test]
fn colour_is_only_where_it_is_asked_for() {
    let folder = imported();
    let plain = folder.ok(&["stats"]);
    assert!(!plain.contains('\u{1b}'));
    assert!(folder.ok(&["stats", "--color", "always"]).contains('\u{1b}'));
    assert!(!folder.ok(&["logs", "--color", "always", "--json"]).contains('\u{1b}'));
    // What is stored cannot command the terminal.
    folder.ok(&["append", "--log", "l", "--type", "\u{1b}[31mred", "--data", "1"]);
    assert!(!folder.ok(&["read", "--log", "l"]).contains('\u{1b}'));
    assert!(!folder.ok(&["stats"]).contains('\u{1b}'));
}
