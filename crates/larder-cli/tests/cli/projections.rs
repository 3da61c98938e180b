//! `larder projections`: what it shows of a projection that runs well, of one that has stopped, and how it asks for a rebuild.

use larder::{
    Event, EventLog, FailurePolicy, NewEvent, Position, Projection, ProjectionBatch, Query, QueryDb, Store,
};
use serde_json::json;

use crate::support::Folder;

fn open(folder: &Folder) -> Store {
    Store::open(format!("sqlite:{}/.larder/local.db", folder.path().display())).wait().expect("it works")
}

/// Runs a projection of the log's types until the end; an event `Bad` fails.
fn run(projection: &Projection, log: &EventLog, types: &QueryDb, through: u64) -> larder::Result<()> {
    let types = types.clone();
    let running = projection.run(log, Query::all(), move |event: &Event, batch: &mut ProjectionBatch| {
        if event.event_type == "Bad" {
            return Err("it is bad".into());
        }
        batch.add(types.increment("all", &event.event_type, 1));
        Ok(())
    });
    let runner = std::thread::spawn(move || running.wait());
    let waited = projection.wait_for(Position::new(through)).wait();
    if waited.is_err() {
        return runner.join().expect("no panic");
    }
    // A rebuild that was asked for comes before anything else.
    while projection.info().wait()?.is_some_and(|info| info.rebuild_requested) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(())
}

/// A folder whose store has the log `orders` (Good, Bad, Good) and three projections: `owner` has read all of them and owns
/// a QueryDb, `skipping` has passed over the second, and `stopped` has stopped there.
fn projected() -> Folder {
    let folder = Folder::new();
    let store = open(&folder);
    let log = store.event_log("orders").expect("a name");
    let events = ["Good", "Bad", "Good"].map(|event_type| NewEvent::new(event_type, &1));
    log.append("order-1", 0, events).wait().expect("it works");
    let query_db = |name: &str| store.query_db(name).expect("a name");
    let projection = |name: &str| store.projection(name).expect("a name");
    let owned = query_db("Owned");
    let good = Query::from(larder::QueryItem::new().types(["Good"]));
    let counting = owned.clone();
    let running = projection("owner").owns([&owned]).run(
        &log,
        good,
        move |event: &Event, batch: &mut ProjectionBatch| {
            batch.add(counting.increment("all", &event.event_type, 1));
            Ok(())
        },
    );
    std::thread::spawn(move || running.wait());
    projection("owner").wait_for(Position::new(3)).wait().expect("it works");
    let skipping = projection("skipping").on_failure(FailurePolicy::Skip);
    run(&skipping, &log, &query_db("Skipped"), 3).expect("it works");
    run(&projection("stopped"), &log, &query_db("Stopped"), 3).expect_err("it fails");
    store.close().wait().expect("it works");
    folder
}

#[test]
fn projections_are_listed_with_their_state() {
    let folder = projected();
    let listed = folder.json(&["projections", "list"]);
    let told: Vec<_> = listed
        .iter()
        .map(|info| {
            let numbers = (info["checkpoint"].as_u64(), info["head"].as_u64(), info["dead_letters"].as_u64());
            (info["projection"].as_str().unwrap(), info["state"].as_str().unwrap(), numbers)
        })
        .collect();
    let expected = [
        ("owner", "caught up", (Some(3), Some(3), Some(0))),
        ("skipping", "caught up", (Some(3), Some(3), Some(1))),
        ("stopped", "stopped", (Some(1), Some(3), Some(0))),
    ];
    assert_eq!(told, expected);
    let table = folder.ok(&["projections", "list"]);
    assert!(table.contains("Owned") && table.contains("stopped"), "{table}");
    folder.ok(&["append", "--log", "orders", "--stream", "order-2", "--type", "Other", "--data", "1"]);
    assert_eq!(folder.json(&["projections", "status", "owner"])[0]["state"], "caught up");
    folder.ok(&["append", "--log", "orders", "--stream", "order-2", "--type", "Good", "--data", "1"]);
    assert_eq!(folder.json(&["projections", "status", "owner"])[0]["state"], "behind");
}

#[test]
fn stats_and_verify_count_projections() {
    let folder = projected();
    let stats = &folder.json(&["stats"])[0]["projections"];
    let told: Vec<_> = (0..3).map(|n| (&stats[n]["projection"], &stats[n]["checkpoint"])).collect();
    let expected = [("owner", 3), ("skipping", 3), ("stopped", 1)].map(|(name, at)| (json!(name), json!(at)));
    assert_eq!(told, expected.each_ref().map(|(name, at)| (name, at)));
    assert_eq!((&stats[0]["owns"], &stats[1]["dead_letters"]), (&json!(["Owned"]), &json!(1)));
    let shown = folder.ok(&["stats"]);
    assert!(shown.contains("projection skipping: through 3 of orders, 1 dead letter\n"), "{shown}");
    assert_eq!(folder.json(&["verify"])[0]["projections"], 3);
    assert!(folder.ok(&["verify"]).contains("0 objects, 0 triggers, 3 projections checked"));
}

#[test]
fn a_failure_is_shown_with_its_place_and_text() {
    let folder = projected();
    let status = &folder.json(&["projections", "status", "stopped"])[0];
    assert_eq!(
        (&status["failure"]["position"], &status["failure"]["error"]),
        (&json!(2), &json!("it is bad"))
    );
    let shown = folder.ok(&["projections", "status", "stopped"]);
    assert!(shown.contains("stopped is stopped") && shown.contains("it is bad"), "{shown}");
    let missing = folder.fails(3, &["projections", "status", "nothing"]);
    assert!(missing.contains("owner, skipping, stopped"), "{missing}");
}

#[test]
fn dead_letters_are_listed_and_forgotten() {
    let folder = projected();
    let dead = ["projections", "dead", "skipping"];
    let letters = folder.json(&dead);
    assert_eq!(
        (&letters[0]["position"], &letters[0]["type"], &letters[0]["error"]),
        (&json!(2), &json!("Bad"), &json!("it is bad"))
    );
    assert!(folder.ok(&dead).contains("it is bad"));
    let forget = [&dead[..], &["--forget", "2"]].concat();
    assert_eq!(folder.json(&forget)[0]["left"], 0);
    assert_eq!(folder.json(&dead).len(), 0);
    assert!(folder.fails(3, &forget).contains("no dead letter"));
}

#[test]
fn a_rebuild_is_asked_for_and_done_by_the_next_run() {
    let folder = projected();
    assert!(folder.fails(2, &["projections", "rebuild", "stopped"]).contains("owns"));
    folder.fails(3, &["projections", "rebuild", "nothing"]);
    let asked = &folder.json(&["projections", "rebuild", "owner"])[0];
    assert_eq!((&asked["rebuild_requested"], &asked["owns"]), (&json!(true), &json!(["Owned"])));
    assert_eq!(folder.json(&["projections", "status", "owner"])[0]["state"], "to be rebuilt");

    let store = open(&folder);
    let (log, owned) = (store.event_log("orders").unwrap(), store.query_db("Owned").unwrap());
    log.append("order-1", 3, [NewEvent::new("Good", &1)]).wait().unwrap();
    let owner = store.projection("owner").unwrap().owns([&owned]).on_failure(FailurePolicy::Skip);
    // The rebuild takes the old `Bad` as well, which stops it, and ends the request.
    run(&owner, &log, &owned, 4).expect_err("a rebuild passes nothing over");
    assert_eq!(owned.load_one("all").wait().unwrap().unwrap().json, r#"{"Good":2}"#);
    store.close().wait().unwrap();
    let status = &folder.json(&["projections", "status", "owner"])[0];
    assert_eq!((&status["rebuild_requested"], &status["state"]), (&json!(false), &json!("stopped")));
}

#[test]
fn compaction_waits_for_projections_unless_forced() {
    let folder = projected();
    let trim = ["trim", "--log", "orders", "--through", "2"];
    let refused = folder.fails(12, &trim);
    assert!(refused.contains("stopped") && refused.contains("force it"), "{refused}");
    folder.fails(12, &["compact", "--log", "orders", "--stream", "order-1", "--through", "2"]);
    folder.fails(12, &["drop-log", "--log", "orders", "--yes"]);
    folder.ok(&["trim", "--log", "orders", "--through", "1"]);
    folder.ok(&[&trim[..], &["--force"]].concat());
}
