//! The main flows, on real stores with real data.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use crate::support::{Ended, Folder, imported};
use serde_json::json;

#[test]
fn imported_rows_are_counted_and_found() {
    let folder = imported();
    let stats = &folder.json(&["stats"])[0];
    assert_eq!(stats["logs"][0]["events"], 640);
    assert_eq!(stats["logs"][0]["types"], json!({ "BirdStrike": 640 }));
    let streams = folder.json(&["streams", "--log", "strikes"]);
    let heads: Vec<_> =
        streams.iter().map(|stream| (stream["stream"].as_str(), stream["head"].as_u64())).collect();
    let expected = [
        ("JOHN F KENNEDY INTL", 216),
        ("LAGUARDIA NY", 175),
        ("LOGAN INTL", 146),
        ("SEATTLE-TACOMA INTL", 103),
    ];
    assert_eq!(heads, expected.map(|(stream, head)| (Some(stream), Some(head))));
    let verified = &folder.json(&["verify"])[0];
    assert_eq!((&verified["sound"], &verified["events"]), (&json!(true), &json!(640)));
}

#[test]
fn events_are_read_by_stream_tag_and_place() {
    let folder = imported();
    let logan =
        folder.json(&["read", "--log", "strikes", "--stream", "LOGAN INTL", "--from", "2", "--to", "4"]);
    assert_eq!(
        logan.iter().map(|event| event["seq_nr"].as_u64()).collect::<Vec<_>>(),
        [Some(2), Some(3), Some(4)]
    );
    let geese = ["--tag", "state:New York", "--tag", "species:Canada goose"];
    let geese = folder.json(&[&["read", "--log", "strikes"][..], &geese].concat());
    assert_eq!(geese.len(), 18);
    assert!(geese.iter().all(|event| event["payload"]["Wildlife Species"] == "Canada goose"));
    let query =
        r#"tag:"species:Barn owl" tag:"state:New York" or tag:"species:Canada goose" tag:"state:New York""#;
    assert_eq!(folder.json(&["read", "--log", "strikes", "--query", query]).len(), 21);
    let last = folder.json(&["read", "--log", "strikes", "--reverse", "--limit", "2"]);
    assert_eq!((&last[0]["position"], &last[1]["position"]), (&json!(640), &json!(639)));
    let rest = folder.json(&["read", "--log", "strikes", "--after", "638"]);
    assert_eq!(rest.len(), 2);
    let in_stream = ["--stream", "LAGUARDIA NY", "--tag", "species:Canada goose", "--limit", "3"];
    assert_eq!(folder.json(&[&["read", "--log", "strikes"][..], &in_stream].concat()).len(), 3);
}

#[test]
fn an_import_with_ids_can_be_repeated_and_resumed() {
    let folder = Folder::new();
    folder.write("rows.csv", "id,v\r\n1,a\r\n2,b\r\n3\r\n4,d\r\n");
    let import = ["import", "rows.csv", "--log", "l", "--type", "T", "--id-field", "id"];
    let refused = folder.fails(8, &import);
    assert!(refused.contains("line 4: 1 values, but there are 2 columns"), "{refused}");
    assert!(refused.contains("committed events: 2") && refused.contains("--from-line 4"), "{refused}");
    folder.write("rows.csv", "id,v\r\n1,a\r\n2,b\r\n3,c\r\n4,d\r\n");
    let resumed = &folder.json(&[&import[..], &["--from-line", "4"]].concat())[0];
    assert_eq!((&resumed["events"], &resumed["last_position"]), (&json!(2), &json!(4)));
    let again = &folder.json(&import)[0];
    assert_eq!((&again["events"], &again["already_there"]), (&json!(0), &json!(4)));
    folder.write("rows.csv", "id,v\n1,changed\n");
    assert!(folder.fails(8, &import).contains("says something else"));
}

#[test]
fn bad_rows_are_left_out_when_asked() {
    let folder = Folder::new();
    folder.write("rows.jsonl", "{\"n\":1}\nnot json\n{\"n\":2}\n[3]\n{\"n\":4}\n");
    let imported = &folder.json(&["import", "rows.jsonl", "--log", "l", "--type", "T", "--skip-bad"])[0];
    assert_eq!((&imported["events"], &imported["skipped"]), (&json!(3), &json!(2)));
    assert_eq!(imported["first_skipped"][1]["line"], 4);
}

#[test]
fn features_of_geojson_become_events() {
    let folder = Folder::new();
    let feature = |id: u32, net: &str| {
        format!("{{\"type\":\"Feature\",\"properties\":{{\"net\":\"{net}\",\"mag\":1.60}},\"id\":\"q{id}\"}}")
    };
    let features = [feature(1, "ci"), feature(2, "us"), feature(3, "ci")].join(",\n");
    folder.write("quakes.json", format!("{{\"type\":\"FeatureCollection\",\"features\":[{features}]}}"));
    let fields =
        ["--stream-field", "properties.net", "--tag-field", "properties.mag=mag", "--id-field", "id"];
    folder.ok(&[&["import", "quakes.json", "--log", "quakes", "--type", "Quake"][..], &fields].concat());
    let out = folder.ok(&["read", "--log", "quakes", "--stream", "ci", "--json"]);
    assert_eq!(out.lines().count(), 2);
    assert!(out.contains(r#""tags":["mag:1.60"]"#) && out.contains(r#""mag":1.60"#), "{out}");
}

#[test]
fn a_refused_append_explains_itself() {
    let folder = imported();
    let append = ["append", "--log", "strikes", "--type", "Reviewed", "--data", "{}"];
    let conflict = folder.fails(4, &[&append[..], &["--stream", "LOGAN INTL", "--expect", "9"]].concat());
    assert!(conflict.contains("head is 146, not 9") && conflict.contains("--expect 146"), "{conflict}");
    let owls = ["--if-none-match", r#"tag:"state:New York" tag:"species:Barn owl""#];
    let refused = folder.fails(5, &[&append[..], &owls, &["--json"]].concat());
    let refused: serde_json::Value = serde_json::from_str(&refused).unwrap();
    let matching = refused["context"]["matching"].as_array().unwrap();
    assert_eq!(matching.len(), 3);
    let last = matching[2]["position"].as_u64().unwrap().to_string();
    assert_eq!(matching[2]["tags"], json!(["state:New York", "species:Barn owl"]));
    // Nothing was written, and what it advises works.
    assert_eq!(folder.json(&["logs"])[0]["head"], 640);
    folder.ok(&[&append[..], &owls, &["--after", &last]].concat());
}

#[test]
fn payloads_come_back_as_they_went_in() {
    let folder = Folder::new();
    let payload = r#"{"a":"\ud800","a":1e+21,"b":1.50}"#;
    folder.ok(&["append", "--log", "l", "--stream", "s", "--type", "T", "--data", payload]);
    folder.ok(&["append", "--log", "l", "--type", "T", "--bytes", "AP8=", "--metadata", "{\"by\":1}"]);
    let out = folder.ok(&["read", "--log", "l", "--json"]);
    assert!(out.contains(&format!(r#""payload":{payload}}}"#)), "{out}");
    assert!(out.contains(r#""metadata":{"by":1},"payload":{"bytes":"AP8="}"#), "{out}");
}

#[test]
fn an_export_comes_back_as_it_was() {
    let folder = imported();
    folder.ok(&["append", "--log", "other", "--stream", "s", "--type", "T", "--data", "1"]);
    folder.ok(&["compact", "--log", "strikes", "--stream", "LOGAN INTL", "--through", "100"]);
    folder.ok(&["export", "all.jsonl"]);
    let copy = ["--store", "sqlite:copy.db"];
    folder.ok(&[&copy[..], &["import", "--native", "all.jsonl"]].concat());
    folder.ok(&[&copy[..], &["export", "again.jsonl"]].concat());
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("all.jsonl"), read("again.jsonl"));
    assert_eq!(folder.json(&[&copy[..], &["verify"]].concat())[0]["sound"], true);
    let twice = folder.fails(6, &[&copy[..], &["import", "--native", "all.jsonl"]].concat());
    assert!(twice.contains("Nothing was imported"), "{twice}");
    // A file that was cut off or changed is refused before anything is written.
    let whole = read("all.jsonl");
    folder.write("cut.jsonl", &whole[..whole.len() / 2]);
    folder.write("changed.jsonl", whole.replacen("Canada goose", "Canadian goose", 1));
    for name in ["cut.jsonl", "changed.jsonl"] {
        folder.fails(8, &["--store", "sqlite:third.db", "import", "--native", name]);
        assert!(!folder.has("third.db"));
    }
}

#[test]
fn a_backup_is_a_store() {
    let folder = imported();
    folder.ok(&["backup", "copy.db"]);
    assert_eq!(folder.json(&["--store", "sqlite:copy.db", "stats"])[0]["logs"][0]["events"], 640);
    assert!(folder.fails(6, &["backup", "copy.db"]).contains("there already"));
}

#[test]
fn tail_shows_the_past_and_then_what_others_append() {
    let folder = imported();
    let arguments = ["tail", "--log", "strikes", "--last", "2", "--limit", "3", "--json"];
    let mut tail = folder.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains(r#""position":639,"#));
    assert!(lines.next().unwrap().unwrap().contains(r#""position":640,"#));
    folder.ok(&["append", "--log", "strikes", "--type", "Reviewed", "--data", "{}"]);
    assert!(lines.next().unwrap().unwrap().contains(r#""type":"Reviewed""#));
    assert!(tail.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_tail_with_success() {
    let folder = imported();
    let mut tail =
        folder.command(&["tail", "--log", "strikes", "--last", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0];
    tail.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let pid = tail.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(Ended::of(&tail.wait_with_output().unwrap()).code, 0);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = imported();
    for arguments in [&["read", "--log", "strikes"][..], &["export"], &["completions", "bash"]] {
        let mut child =
            folder.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = Ended::of(&child.wait_with_output().unwrap());
        assert_eq!((ended.code, &*ended.stderr), (0, ""), "{arguments:?}");
    }
}

#[test]
fn logs_are_compacted_trimmed_audited_and_dropped() {
    let folder = imported();
    folder.ok(&["compact", "--log", "strikes", "--stream", "LOGAN INTL", "--through", "200"]);
    let streams = folder.json(&["streams", "--log", "strikes", "--after", "LAGUARDIA NY", "--limit", "1"]);
    assert_eq!(
        (&streams[0]["compacted_through"], &streams[0]["compacted_empty"]),
        (&json!(146), &json!(true))
    );
    folder.ok(&["trim", "--log", "strikes", "--through", "600"]);
    assert!(
        folder.json(&["read", "--log", "strikes"]).iter().all(|event| event["position"].as_u64() > Some(600))
    );
    let goose = ["append", "--log", "strikes", "--type", "T", "--data", "1", "--if-none-match"];
    let goose = [&goose[..], &[r#"tag:"species:Canada goose""#]].concat();
    folder.fails(5, &goose);
    folder.ok(&["audit", "--log", "strikes", "on"]);
    folder.ok(&["append", "--log", "strikes", "--type", "T", "--data", "1", "--if-none-match", "tag:none"]);
    assert_eq!(folder.json(&["verify"])[0]["conditions"], 1);
    assert!(folder.fails(2, &["drop-log", "--log", "strikes"]).contains("--yes"));
    folder.ok(&["drop-log", "--log", "strikes", "--yes"]);
    assert_eq!(folder.json(&["stats"])[0]["logs"][0]["events"], 0);
}

#[test]
fn the_demo_explains_itself_and_leaves_nothing() {
    let folder = Folder::new();
    let out = folder.ok(&["demo"]);
    for said in [
        "imported 640 events",
        "head is 175, not 1",
        "condition failed",
        "Barn owl",
        "caught up through position 640",
        "sound: 640 events, 640 items",
    ] {
        assert!(out.contains(said), "{said}: {out}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    folder.ok(&["--store", "sqlite:kept.db", "demo"]);
    assert_eq!(folder.json(&["--store", "sqlite:kept.db", "stats"])[0]["logs"][0]["events"], 640);
}

#[test]
fn benchmarks_say_what_they_measured() {
    let folder = Folder::new();
    for (what, arguments) in [
        ("append", &["--events", "200", "--writers", "8", "--batch", "3"][..]),
        ("query", &["--events", "500", "--matches", "50", "--queries", "20"]),
        ("replay", &["--events", "500", "--streams", "10"]),
    ] {
        let result = &folder.json(&[&["bench", what][..], arguments].concat())[0];
        assert_eq!(result["durability"], "flushed", "{what}");
        assert!(result["events_per_second"].as_f64() > Some(0.0), "{what}");
        assert!(result["p50_us"].as_u64() <= result["p99_us"].as_u64(), "{what}");
    }
    // In a store that was named, its log is gone afterwards.
    folder.ok(&["--store", "sqlite:s.db", "bench", "append", "--events", "10"]);
    assert_eq!(folder.json(&["--store", "sqlite:s.db", "stats"])[0]["logs"][0]["events"], 0);
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_an_import_that_says_how_far_it_got() {
    use std::io::Write;

    let folder = Folder::new();
    let arguments = ["import", "-", "--format", "jsonl", "--log", "l", "--type", "T"];
    let mut command = folder.command(&arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut import = command.spawn().unwrap();
    // A chunk of a thousand is committed; the rest waits for more.
    let rows = "{\"a\":1}\n".repeat(1_500);
    let mut input = import.stdin.take().unwrap();
    input.write_all(rows.as_bytes()).unwrap();
    while folder.run(&["logs"]).stdout.is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = import.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = Ended::of(&import.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(ended.stderr.contains("committed events: 1000") && ended.stderr.contains("--from-row 1001"));
    assert_eq!(folder.json(&["logs"])[0]["head"], 1_000);
}

#[test]
fn a_store_at_rest_is_one_file() {
    let folder = imported();
    for command in [&["logs"][..], &["read", "--log", "strikes"], &["read", "--log", "no"], &["verify"]] {
        folder.run(command);
        let files = std::fs::read_dir(folder.path().join(".larder")).unwrap();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, ["local.db"], "{command:?}");
    }
}
