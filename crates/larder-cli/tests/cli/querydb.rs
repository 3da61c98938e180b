//! `larder querydb`: defining, saving, asking, paging, and what is refused.

use serde_json::{Value, json};

use crate::support::{Ended, Folder};

/// A folder with a store: orders by region and status, sorted by their total.
fn orders() -> Folder {
    let folder = Folder::new();
    folder.ok(&["querydb", "define", "Orders", "--index", "by_status=region,status/total:number"]);
    for (key, region, status, total) in [
        ("o1", "eu", "open", 500),
        ("o2", "eu", "open", 40),
        ("o3", "eu", "paid", 7),
        ("o4", "us", "open", 9),
    ] {
        let item = json!({ "region": region, "status": status, "total": total }).to_string();
        folder.ok(&["querydb", "put", "Orders", key, &item]);
    }
    folder
}

fn partitions(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["partition"].as_str()).collect()
}

const OPEN_EU: [&str; 7] = ["Orders", "--index", "by_status", "--value", "eu", "--value", "open"];

fn with<'a>(start: &[&'a str], query: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [start, query, more].concat()
}

#[test]
fn a_definition_is_listed() {
    let folder = orders();
    let listed = folder.json(&["querydb", "list"]);
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["name"], &listed[0]["version"]), (&json!("Orders"), &json!(4)));
    assert_eq!(listed[0]["spec"]["indexes"][0]["sort"][0], json!({ "path": "total", "type": "number" }));
    assert!(folder.ok(&["querydb", "list"]).contains("by_status=region,status/total:number"));
    folder.ok(&["querydb", "define", "Orders", "--index", "by_region=region include total"]);
    assert_eq!(folder.json(&["querydb", "list"])[0]["spec"]["indexes"].as_array().map(Vec::len), Some(2));
}

#[test]
fn stats_and_verify_count_items() {
    let folder = orders();
    let stats = folder.json(&["stats"]);
    assert_eq!(
        (&stats[0]["query_dbs"][0]["items"], &stats[0]["query_dbs"][0]["indexes"]),
        (&json!(4), &json!(1))
    );
    assert!(folder.ok(&["stats"]).contains("Orders"));
    assert_eq!(folder.json(&["verify"])[0]["items"], json!(4));
}

#[test]
fn queries_use_indexes_conditions_and_filters() {
    let folder = orders();
    let query = |more: &[&str]| folder.json(&with(&["querydb", "query"], &OPEN_EU, more));
    assert_eq!(partitions(&query(&[])), ["o2", "o1"], "numbers as numbers");
    assert_eq!(partitions(&query(&["--descending"])), ["o1", "o2"]);
    assert_eq!(partitions(&query(&["--sort", ">= 100"])), ["o1"]);
    assert_eq!(partitions(&query(&["--filter", r#"total < 100 and status = "open""#])), ["o2"]);
    let count = |more: &[&str]| folder.json(&with(&["querydb", "count"], &OPEN_EU, more))[0]["items"].clone();
    assert_eq!((count(&[]), count(&["--sort", "< 100"])), (json!(2), json!(1)));
    assert_eq!(folder.ok(&with(&["querydb", "count"], &OPEN_EU, &[])).trim(), "2");
    assert_eq!(partitions(&folder.json(&["querydb", "query", "Orders", "--key", "o3"])), ["o3"]);
}

#[test]
fn listings_go_on_after_a_cursor() {
    let folder = orders();
    let first = folder.json(&["querydb", "scan", "Orders", "--limit", "3"]);
    assert_eq!(partitions(&first), ["o1", "o2", "o3"]);
    let next = first[3]["next"].as_str().expect("there is more").to_owned();
    let rest = folder.json(&["querydb", "scan", "Orders", "--limit", "3", "--after", &next]);
    assert_eq!((partitions(&rest), rest.len()), (vec!["o4"], 1));
    let ended = folder.run(&with(&["querydb", "query"], &OPEN_EU, &["--after", &next]));
    assert_eq!(ended.code, 2, "a cursor of another listing: {ended:?}");
    assert_eq!(folder.json(&["querydb", "scan", "Orders", "--descending"]).len(), 4);
}

#[test]
fn items_are_put_got_and_deleted() {
    let folder = Folder::new();
    folder.ok(&["querydb", "define", "Lines", "--sub-id", "line:number"]);
    let put = |item: &str, more: &[&str]| folder.run(&with(&["querydb", "put", "Lines", "a"], &[item], more));
    assert_eq!(put(r#"{ "line":10, "sku":"x" }"#, &["--if-absent"]).code, 0);
    assert_eq!(put(r#"{"line":9,"sku":"y"}"#, &["--ttl", "1h"]).code, 0);
    assert_ne!(put(r#"{"line":9}"#, &["--if-absent"]).code, 0);
    assert_ne!(put(r#"{"line":9}"#, &["--if-version", "1"]).code, 0);
    let got = folder.json(&["querydb", "get", "Lines", "a"]);
    assert_eq!((&got[0]["sub"], &got[1]["sub"]), (&json!(9), &json!(10)));
    assert!(got[0]["expires_at"].is_u64() && got[1]["expires_at"].is_null());
    assert!(folder.ok(&["querydb", "get", "Lines", "a", "10"]).contains(r#"{ "line":10, "sku":"x" }"#));
    assert_eq!(folder.run(&["querydb", "get", "Lines", "a", "11"]).code, 3);
    assert_eq!(folder.run(&["querydb", "get", "Lines", "b"]).code, 3);
    assert_eq!(folder.json(&["querydb", "delete", "Lines", "a", "9"])[0]["deleted"], json!(1));
    assert_eq!(folder.json(&["querydb", "delete", "Lines", "a"])[0]["deleted"], json!(1));
    assert_eq!(folder.json(&["querydb", "delete", "Lines", "a"])[0]["deleted"], json!(0));
}

#[test]
fn an_item_is_a_line() {
    let folder = Folder::new();
    let pretty = "{\r\n  \"total\": 1.50,\n  \"note\": \"a\\nb\",\n\n  \"k\": \"x\"\n}";
    folder.ok(&["querydb", "define", "T", "--index", "by=k"]);
    folder.ok(&["querydb", "put", "T", "a", pretty]);
    for arguments in [
        &["querydb", "scan", "T"][..],
        &["querydb", "get", "T", "a"],
        &["querydb", "query", "T", "--key", "a"],
        &["querydb", "query", "T", "--index", "by", "--value", "x"],
    ] {
        let shown = folder.ok(&with(arguments, &["--json"], &[]));
        assert_eq!(shown.trim_end().lines().count(), 1, "{arguments:?}: {shown}");
        assert!(shown.contains("\"total\": 1.50"), "as it was written: {shown}");
        assert_eq!(folder.json(arguments)[0]["item"], json!({ "total": 1.5, "note": "a\nb", "k": "x" }));
    }
}

#[test]
fn changes_are_kept_until_told_otherwise() {
    let folder = Folder::new();
    let keeps = || folder.json(&["querydb", "list"])[0]["spec"]["changes"] == json!(true);
    folder.ok(&["querydb", "define", "T", "--changes"]);
    folder.ok(&["querydb", "define", "T", "--index", "by=a"]);
    assert!(keeps());
    folder.ok(&["querydb", "define", "T", "--no-changes"]);
    assert!(!keeps());
    assert_eq!(folder.run(&["querydb", "define", "T", "--changes", "--no-changes"]).code, 2);
}

#[test]
fn numbers_are_added_to() {
    let folder = Folder::new();
    let increment =
        |more: &[&str]| folder.json(&with(&["querydb", "increment"], more, &[]))[0]["total"].clone();
    assert_eq!(increment(&["Visits", "home", "n"]), json!(1), "it comes to be");
    assert_eq!(increment(&["Visits", "home", "n", "--by", "-2.5"]), json!(-1.5));
    folder.ok(&["querydb", "define", "Lines", "--sub-id", "line:number"]);
    assert_eq!(increment(&["Lines", "a", "count", "--sub", "7", "--by", "40"]), json!(40));
    assert!(
        folder.ok(&["querydb", "increment", "Lines", "a", "count", "--sub", "7"]).contains("a/7  count = 41")
    );
    assert_eq!(folder.run(&["querydb", "increment", "Visits", "home", "n", "--by", "many"]).code, 2);
}

#[test]
fn kept_changes_are_shown() {
    let folder = orders();
    let refused = folder.run(&["querydb", "changes", "Orders"]);
    assert!(refused.code == 2 && refused.stderr.contains("--changes"), "{refused:?}");
    folder.ok(&["querydb", "define", "Orders", "--changes"]);
    assert_eq!(folder.json(&["querydb", "changes", "Orders"]), [] as [Value; 0]);
    folder.ok(&["querydb", "put", "Orders", "o5", "{}"]);
    folder.ok(&["querydb", "put", "Orders", "o5", "{}"]);
    folder.ok(&["querydb", "delete", "Orders", "o1"]);
    let changes = folder.json(&["querydb", "changes", "Orders"]);
    let told: Vec<_> = changes.iter().map(|change| (&change["version"], &change["kind"])).collect();
    let (added, updated, removed) = (json!("added"), json!("updated"), json!("removed"));
    assert_eq!(told, [(&json!(5), &added), (&json!(6), &updated), (&json!(7), &removed)]);
    assert_eq!((&changes[2]["partition"], &changes[2]["reason"]), (&json!("o1"), &json!("deleted")));
    let after = folder.run(&["querydb", "changes", "Orders", "--after", "5", "--limit", "1"]);
    assert_eq!(after.stdout.trim(), "6  updated  o5");
    let gone = folder.run(&["querydb", "changes", "Orders", "--after", "1", "--limit", "1", "--follow"]);
    assert!(gone.stderr.contains("before version 5") && gone.stdout.contains("5  added"), "{gone:?}");
}

#[test]
fn expired_items_are_purged() {
    let folder = Folder::new();
    folder.ok(&["querydb", "define", "Sessions", "--ttl-field", "until"]);
    for (key, until) in [("a", 1), ("b", 2), ("c", 3), ("d", i64::MAX)] {
        folder.ok(&["querydb", "put", "Sessions", key, &json!({ "until": until }).to_string()]);
    }
    let purged =
        |more: &[&str]| folder.json(&with(&["querydb", "purge", "Sessions"], more, &[]))[0]["purged"].clone();
    assert_eq!((purged(&["--limit", "2"]), purged(&[]), purged(&[])), (json!(2), json!(1), json!(0)));
    assert_eq!(partitions(&folder.json(&["querydb", "scan", "Sessions"])), ["d"]);
}

#[test]
fn indexes_and_query_dbs_are_dropped() {
    let folder = orders();
    assert_eq!(folder.run(&["querydb", "drop-index", "Orders", "by_day"]).code, 3);
    assert_eq!(folder.json(&["querydb", "drop-index", "Orders", "by_status"])[0]["dropped"], json!(true));
    assert_eq!(folder.run(&with(&["querydb", "query"], &OPEN_EU, &[])).code, 2);
    let refused = folder.run(&["querydb", "drop", "Orders"]);
    assert!(refused.code == 2 && refused.stderr.contains("--yes"), "{refused:?}");
    assert_eq!(folder.json(&["querydb", "scan", "Orders"]).len(), 4);
    assert_eq!(folder.json(&["querydb", "drop", "Orders", "--yes"])[0]["dropped"], json!(true));
    assert_eq!(folder.run(&["querydb", "drop", "Orders", "--yes"]).code, 3);
    assert_eq!(folder.json(&["querydb", "list"]), [] as [Value; 0]);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let folder = orders();
    let ended = folder.run(&with(&["querydb", "query"], &OPEN_EU, &["--filter", "total >= ten"]));
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("at column 10: `ten` is not a JSON value"), "{ended:?}");
    assert!(ended.stderr.contains("  total >= ten\n           ^\n"), "{ended:?}");
    let refused = |arguments: &[&str], told: &str| {
        let ended: Ended = folder.run(arguments);
        assert!(ended.code == 2 && ended.stderr.contains(told), "{arguments:?}: {ended:?}");
    };
    refused(&["querydb", "query", "Orders", "--index", "by_day", "--value", "x"], "by_status");
    refused(&["querydb", "query", "Orders", "--index", "by_status", "--value", "eu"], "2 key fields");
    refused(&with(&["querydb", "query"], &OPEN_EU, &["--sort", "= \"1\""]), "number field");
    refused(&["querydb", "put", "Orders", "o9", "[]"], "not a JSON object");
    refused(&["querydb", "put", "Orders", "o9", r#"{"total":1,"total":2}"#], "duplicate key `total`");
    refused(&["querydb", "put", "Orders", "o9", r#"{"total":"1"}"#], "`total` is a string");
    refused(&["querydb", "define", "Orders", "--sub-id", "line"], "another key layout");
    refused(&["querydb", "define", "Orders", "--index", "x"], "`NAME=` is missing");
    assert_eq!(folder.run(&["querydb", "scan", "None"]).code, 3);
}
