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
