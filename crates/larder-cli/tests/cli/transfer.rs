//! `larder export` and `larder import --native`: everything comes back, or nothing.

use larder::{Event, NewEvent, Position, ProjectionBatch, Query, Store};
use serde_json::json;

use crate::support::Folder;

const COPY: [&str; 2] = ["--store", "sqlite:copy.db"];

fn copied(arguments: &[&'static str]) -> Vec<&'static str> {
    [&COPY[..], arguments].concat()
}

/// A folder whose store has a log, a log with a snapshot only, a QueryDb that a projection owns, and a bucket with a
/// dead letter and a trigger.
fn varied() -> Folder {
    let folder = Folder::new();
    fill(&folder).expect("it works");
    folder.ok(&["tasks", "put", "--bucket", "mails", "bad", "--text", "x"]);
    let work =
        ["tasks", "work", "--bucket", "mails", "--exec", "false", "--until-empty", "--max-attempts", "1"];
    folder.ok(&work);
    folder.ok(&["tasks", "put", "--bucket", "mails", "good", "--text", "y", "--content-type", "text/plain"]);
    folder
}

fn fill(folder: &Folder) -> larder::Result<()> {
    let store = Store::open(format!("sqlite:{}/.larder/local.db", folder.path().display())).wait()?;
    let (log, totals) = (store.event_log("orders")?, store.query_db("Totals")?);
    log.append("order-1", 0, [NewEvent::new("Placed", &1), NewEvent::new("Paid", &2)]).wait()?;
    store.event_log("states")?.snapshots().save("s", 3, "state").wait()?;
    let (projection, counting) = (store.projection("totals")?.owns([&totals]), totals.clone());
    let running = projection.run(&log, Query::all(), move |event: &Event, batch: &mut ProjectionBatch| {
        batch.add(counting.increment("all", &event.event_type, 1));
        Ok(())
    });
    std::thread::spawn(move || running.wait());
    projection.wait_for(Position::new(2)).wait()?;
    store.close().wait()
}

#[test]
fn everything_comes_back() {
    let folder = varied();
    let exported = folder.json(&["export", "all.jsonl"]).remove(0);
    let bucket = json!({ "bucket": "mails", "objects": 2, "triggers": 2 });
    assert_eq!(exported["task_buckets"], json!([bucket]));
    let projection = json!({ "projection": "totals", "checkpoint": 2, "dead_letters": 0, "rebuild": false });
    assert_eq!(exported["projections"], json!([projection]));
    assert_eq!((&exported["items"], exported["logs"].as_array().unwrap().len()), (&json!(1), 2));
    let told = folder.ok(&["export", "again.jsonl"]);
    let counts =
        "2 events of 2 logs, 1 item of 1 QueryDb, 2 objects and 2 triggers of 1 bucket, 1 projection";
    assert_eq!(told, format!("exported {counts} to again.jsonl\n"));

    let imported = folder.ok(&copied(&["import", "--native", "all.jsonl"]));
    assert_eq!(
        imported,
        "imported log orders: 2 events, positions 1 to 2\n\
         imported log states: 0 events\n\
         imported QueryDb Totals: 1 item\n\
         imported bucket mails: 2 objects, 2 triggers\n\
         imported projection totals: through position 2\n"
    );
    folder.ok(&copied(&["export", "copy.jsonl"]));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("copy.jsonl"), read("all.jsonl"));
    assert_eq!(folder.json(&copied(&["verify"]))[0]["sound"], true);
    for command in [&["tasks", "dead", "--bucket", "mails"][..], &["projections", "list"], &["tasks", "list"]]
    {
        assert_eq!(folder.json(&copied(command)), folder.json(command), "{command:?}");
    }
    let work = ["tasks", "work", "--bucket", "mails", "--exec", "true", "--until-empty"];
    assert_eq!(folder.json(&copied(&work))[0]["done"], 1);
    let imported = folder.json(&["--store", "sqlite:third.db", "import", "--native", "all.jsonl"]).remove(0);
    for what in ["query_dbs", "task_buckets", "projections"] {
        assert_eq!(imported[what], exported[what], "{what}");
    }
}

#[test]
fn what_is_there_is_said_before_anything_is_written() {
    let folder = varied();
    folder.ok(&["export", "all.jsonl"]);
    folder.ok(&copied(&["tasks", "put", "--bucket", "mails", "mine", "--text", "x"]));
    let refused = folder.fails(6, &copied(&["import", "--native", "all.jsonl"]));
    assert!(refused.contains("bucket `mails` is here already. Nothing was imported"), "{refused}");
    assert_eq!(folder.json(&copied(&["logs"])), Vec::<serde_json::Value>::new());

    let store = Store::open(format!("sqlite:{}/third.db", folder.path().display())).wait().unwrap();
    store.projection("totals").unwrap().set_checkpoint(Position::new(1)).wait().unwrap();
    store.close().wait().unwrap();
    let refused = folder.fails(6, &["--store", "sqlite:third.db", "import", "--native", "all.jsonl"]);
    assert!(refused.contains("projection `totals` is here already. Nothing was imported"), "{refused}");
}

#[test]
fn a_log_alone_leaves_the_rest_out() {
    let folder = varied();
    let exported = folder.json(&["export", "one.jsonl", "--log", "states"]).remove(0);
    assert_eq!((&exported["logs"][0]["rows"], &exported["task_buckets"]), (&json!(2), &json!([])));
    let missing = folder.fails(3, &["export", "none.jsonl", "--log", "nowhere"]);
    assert!(missing.contains("there is no log `nowhere`") && !folder.has("none.jsonl"), "{missing}");
    folder.ok(&["export", "all.jsonl"]);
    let imported = folder.json(&copied(&["import", "--native", "all.jsonl", "--log", "orders"])).remove(0);
    assert_eq!((&imported["logs"][0]["events"], &imported["projections"]), (&json!(2), &json!([])));
    assert_eq!(folder.json(&copied(&["projections", "list"])), Vec::<serde_json::Value>::new());
}
