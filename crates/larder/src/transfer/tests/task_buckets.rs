//! Buckets: objects, triggers and dead letters come back, and workers go on with them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Limits, Meddling, Shared, Store, altered, check_export, exported, import, lines_of};
use crate::{
    Config, ErrorKind, Position, Progress, Result, TransferOptions, WorkOptions,
    backend::{Claimed, CommitRequest, Lease, Operation, Outcome, TaskBucketOperation, TaskBucketOutcome},
    testing::ManualClock,
    wait,
};

fn manual() -> (Store, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (Store::open(Config::memory().clock(clock.clone())).wait().unwrap(), clock)
}

fn commit(store: &Store, operation: TaskBucketOperation) -> Result<Outcome> {
    let operations = vec![Operation::TaskBucket(operation)];
    let request = CommitRequest { id: None, operations, on_callers_thread: false };
    Ok(wait(wait(store.backend())?.commit(request))?.outcomes.remove(0))
}

fn claim(store: &Store, limit: usize) -> Vec<Claimed> {
    let claim =
        TaskBucketOperation::Claim { bucket: "files".into(), limit, lease: 10_000_000, max_attempts: 3 };
    match commit(store, claim).unwrap() {
        Outcome::TaskBucket(TaskBucketOutcome::Claimed(claimed)) => claimed,
        other => panic!("a claim answered {other:?}"),
    }
}

fn acknowledge(store: &Store, lease: Lease) -> Result<Outcome> {
    commit(store, TaskBucketOperation::Acknowledge { bucket: "files".into(), lease })
}

fn fail(store: &Store, lease: Lease, retry_after: Option<u64>) {
    let (bucket, error) = ("files".into(), "it \"failed\"\n".into());
    commit(store, TaskBucketOperation::Fail { bucket, lease, error, retry_after }).unwrap();
}

/// A bucket with triggers in every state: `leased` is under a lease, `failed` waits for its second attempt, `dead` has
/// a dead letter and one that follows, `later` waits for its time.
fn varied() -> (Store, Arc<ManualClock>) {
    let (store, clock) = manual();
    let bucket = store.task_bucket("files").unwrap();
    for key in ["dead", "failed", "leased", "gone"] {
        bucket.put(key, format!("of {key}")).wait().unwrap();
    }
    let claimed = claim(&store, 4);
    fail(&store, claimed[0].lease, None);
    fail(&store, claimed[1].lease, Some(5_000_000));
    acknowledge(&store, claimed[3].lease).unwrap();
    bucket.delete("gone").with_trigger().wait().unwrap();
    bucket.put("dead", "again").content_type("text/plain").wait().unwrap();
    bucket.put("leased", [0, 159, 255]).wait().unwrap();
    bucket.put("later", "").not_before(Duration::from_secs(3_600)).wait().unwrap();
    bucket.put("quiet", "no trigger").without_trigger().wait().unwrap();
    store.task_bucket("empty").unwrap().put("a", "x").without_trigger().wait().unwrap();
    store.task_bucket("empty").unwrap().delete("a").wait().unwrap();
    (store, clock)
}

#[test]
fn a_bucket_comes_back_line_by_line() {
    let (store, _) = varied();
    let original = exported(&store);
    let copy = Store::memory();
    let imported =
        copy.import(TransferOptions::new(), std::io::Cursor::new(original.clone())).wait().unwrap();
    let counts = |store: &crate::Transferred| (store.objects(), store.triggers());
    assert_eq!(counts(&imported), (5, 7));
    let buckets: Vec<_> = imported.task_buckets.iter().map(|bucket| bucket.bucket.as_str()).collect();
    assert_eq!(buckets, ["empty", "files"]);
    assert_eq!(exported(&copy), original);
    assert_eq!(copy.task_buckets().wait().unwrap(), store.task_buckets().wait().unwrap());
    let letters = |store: &Store| store.task_bucket("files").unwrap().dead_letters().wait().unwrap();
    assert_eq!(letters(&copy), letters(&store));
    let objects = |store: &Store| store.task_bucket("files").unwrap().list("").wait().unwrap();
    assert_eq!(objects(&copy), objects(&store));
    assert!(copy.verify(Progress::default()).wait().unwrap().is_sound());
}

#[cfg(feature = "sqlite")]
#[test]
fn a_bucket_goes_through_a_file_and_back() {
    use crate::testing::{Fixture as _, SqliteFixture};
    let original = exported(&varied().0);
    let fixture = SqliteFixture::new();
    let file = fixture.open(Limits::default()).unwrap();
    import(&file, &original).unwrap();
    assert!(file.verify(Progress::default()).wait().unwrap().is_sound());
    let again = exported(&file);
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&original));
    let memory = Store::memory();
    import(&memory, &again).unwrap();
    assert_eq!(exported(&memory), original);
}

#[test]
fn a_leased_trigger_waits_for_the_end_of_its_lease() {
    let (store, clock) = varied();
    let original = exported(&store);
    let leased: Vec<_> = lines_of(&original, "trigger")
        .into_iter()
        .filter(|line| line.contains("\"key\":\"leased\""))
        .map(str::to_owned)
        .collect();
    let end = crate::clock::micros_since_epoch(crate::Clock::now(&*clock)) + 10_000_000;
    let held = format!("\"version\":5,\"state\":\"waiting\",\"due_at_us\":{end},\"attempts\":1}}}}");
    assert!(leased.len() == 2 && leased[0].ends_with(&held), "{leased:?}");

    let copy = Store::open(Config::memory().clock(clock.clone())).wait().unwrap();
    import(&copy, &original).unwrap();
    let keys = |claimed: &[Claimed]| {
        let mut keys: Vec<_> =
            claimed.iter().map(|claimed| format!("{} {}", claimed.key, claimed.attempt)).collect();
        keys.sort();
        keys
    };
    // The dead letter holds nothing back; its successor and the removal are due at once.
    let first = claim(&copy, 9);
    assert_eq!(keys(&first), ["dead 1", "gone 1"]);
    // A lease stays where it was held.
    let elsewhere = claim(&store, 9);
    assert_eq!(keys(&elsewhere), ["dead 1", "gone 1"]);
    let held = Lease { trigger: 6, token: 1 };
    assert_eq!(*acknowledge(&copy, held).unwrap_err().kind(), ErrorKind::LeaseLost);
    acknowledge(&store, held).unwrap();
    clock.advance(Duration::from_secs(5));
    assert_eq!(keys(&claim(&copy, 9)), ["failed 2"]);
    clock.advance(Duration::from_secs(5));
    let again = claim(&copy, 9);
    assert_eq!(keys(&again), ["dead 2", "gone 2", "leased 2"]);
    let again: Vec<_> = again.into_iter().filter(|claimed| claimed.key == "leased").collect();
    acknowledge(&copy, again[0].lease).unwrap();
    let next = claim(&copy, 9);
    assert_eq!(keys(&next), ["leased 1"]);
    assert!(next[0].version > again[0].version, "the order of a key");
}

#[test]
fn a_bucket_goes_on_where_it_was() {
    let (store, clock) = varied();
    let copy = Store::open(Config::memory().clock(clock.clone())).wait().unwrap();
    import(&copy, &exported(&store)).unwrap();
    let [ours, theirs] = [&store, &copy].map(|store| store.task_bucket("files").unwrap());
    assert_eq!(ours.redrive(None).wait().unwrap(), theirs.redrive(None).wait().unwrap());
    assert_eq!(ours.put("new", "x").wait().unwrap(), theirs.put("new", "x").wait().unwrap());
    let told = |bucket: &crate::TaskBucket| {
        let told = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..4 {
            clock.advance(Duration::from_secs(3_600));
            let tell = told.clone();
            let options = WorkOptions { once: true, seed: Some(1), ..WorkOptions::default() };
            let work = bucket.work(options, move |task| {
                let line = (task.trigger(), task.key, task.version, task.attempt, task.object_version);
                tell.lock().unwrap().push(line);
                async { Ok(()) }
            });
            work.wait().unwrap();
        }
        let mut told = told.lock().unwrap().clone();
        told.sort();
        told
    };
    let (ours, theirs) = (told(&ours), told(&theirs));
    assert_eq!((ours.len(), ours), (8, theirs));
}

#[test]
fn a_bucket_is_imported_only_where_there_is_none() {
    let (store, _) = varied();
    let original = exported(&store);
    let copy = Store::memory();
    let bucket = copy.task_bucket("files").unwrap();
    bucket.put("mine", "x").without_trigger().wait().unwrap();
    bucket.delete("mine").wait().unwrap();
    let error = import(&copy, &original).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::AlreadyExists);
    assert!(error.hint().unwrap().contains("only where there is none"), "{error:?}");
    assert!(error.context().contains(&("bucket", "files".into())), "{error:?}");
    assert_eq!(bucket.list("").wait().unwrap().items, []);
    assert_eq!(bucket.put("mine", "y").wait().unwrap().version, 2);
}

#[test]
fn a_bucket_from_elsewhere_is_checked() {
    let good = exported(&varied().0);
    let small = Limits { object_bytes: 5, ..Limits::default() };
    let error = check_export(&*good, &small).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLarge { field: "object", limit: 5, .. }), "{error}");
    let long = format!("\"error\":\"{}\"", "x".repeat(4_097));
    for (from, to) in [
        ("\"name\":\"files\"", "\"name\":\"fi/les\""),
        ("\"name\":\"files\",\"counter\":19", "\"name\":\"files\",\"counter\":18"),
        ("\"name\":\"files\",\"counter\":19", "\"name\":\"files\",\"counter\":140737488355328"),
        ("\"key\":\"dead\"", "\"key\":\"\""),
        ("\"key\":\"dead\"", "\"key\":\"z\""),
        ("\"content_type\":\"text/plain\"", "\"content_type\":\"\""),
        ("\"key\":\"later\",\"version\":17", "\"key\":\"later\",\"version\":0"),
        ("\"bytes_hex\":\"00", "\"bytes_hex\":\"0"),
        ("{\"trigger\":{\"trigger\":2,", "{\"trigger\":{\"trigger\":0,"),
        ("{\"trigger\":{\"trigger\":2,", "{\"trigger\":{\"trigger\":4,"),
        ("\"kind\":\"object_created\"", "\"kind\":\"object_lost\""),
        ("\"state\":\"waiting\"", "\"state\":\"leased\""),
        ("\"due_at_us\":1000000005000000", "\"due_at_us\":9223372036854775808"),
        ("\"error\":\"it \\\"failed\\\"\\n\"", &long),
        ("\"objects\":5,", "\"objects\":4,"),
        ("\"triggers\":7", "\"triggers\":8"),
        ("{\"task_bucket_end\":{\"objects\":5,\"triggers\":7}}\n", ""),
    ] {
        let bad = altered(&good, from, to);
        let copy = Store::memory();
        let error = import(&copy, &bad).expect_err(to);
        assert!(!matches!(error.kind(), ErrorKind::AlreadyExists), "{to}: {error}");
        assert_eq!(copy.task_bucket("files").unwrap().info().wait().unwrap(), None, "{to}");
        assert!(check_export(&*bad, &Limits::default()).is_err(), "{to}");
    }
}

/// A bucket that takes several commits.
fn long() -> Store {
    let store = Store::memory();
    let bucket = store.task_bucket("files").unwrap();
    for n in 0..2_500 {
        bucket.put(format!("key-{n:04}"), "x".repeat(100)).wait().unwrap();
    }
    store
}

#[test]
fn a_cut_off_import_leaves_a_sound_bucket() {
    let store = long();
    let original = exported(&store);
    let place = original.len() * 4 / 5;
    let copy = Store::memory();
    let error = import(&copy, &original[..place]).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Corrupted);
    assert!(error.context().iter().any(|(key, line)| *key == "committed line" && line != "0"), "{error:?}");
    assert!(copy.verify(Progress::default()).wait().unwrap().is_sound());
    let bucket = copy.task_bucket("files").unwrap();
    assert_eq!(bucket.list("").wait().unwrap().items.len(), 2_500);
    // What is put now takes no number that the rest of the export has.
    assert!(bucket.put("new", "x").wait().unwrap().version > 5_000);
    assert_eq!(*import(&copy, &original).unwrap_err().kind(), ErrorKind::AlreadyExists);

    let whole = Store::memory();
    import(&whole, &original).unwrap();
    assert_eq!(exported(&whole), original);
}

#[test]
fn progress_is_told_page_by_page() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let progress = Progress::new(move |done, _| tell.lock().unwrap().push(done));
    let options = TransferOptions::new().progress(progress);
    let found = long().export(options, Shared::default()).wait().unwrap();
    let told = told.lock().unwrap();
    assert!(told.len() >= 10 && told.is_sorted(), "{told:?}");
    assert_eq!((told.last().copied(), found.rows()), (Some(5_000), 5_000));
}

#[test]
fn what_is_put_meanwhile_is_no_silent_hole() {
    for change in ["replaced", "put", "deleted"] {
        let store = long();
        let bucket = store.task_bucket("files").unwrap();
        let meddle = move || match change {
            "replaced" => assert!(bucket.put("key-2400", "newer").wait().unwrap().replaced),
            "put" => assert!(!bucket.put("key-9", "new").wait().unwrap().replaced),
            _ => assert!(bucket.delete("key-2400").with_trigger().wait().unwrap()),
        };
        let writer = Meddling { bytes: Shared::default(), meddle: Some(meddle) };
        let bytes = writer.bytes.clone();
        let error = store.export(TransferOptions::new(), writer).wait().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Conflict { expected: 5_000, .. }), "{error}");
        assert!(error.hint().unwrap().contains("backup"), "{error:?}");
        assert!(check_export(&*bytes.bytes(), &Limits::default()).is_err());
        assert!(check_export(&*exported(&store), &Limits::default()).is_ok());
    }
}

#[test]
fn workers_and_deletions_may_go_on_meanwhile() {
    let store = long();
    let bucket = store.task_bucket("files").unwrap();
    let inner = store.clone();
    let meddle = move || {
        for claimed in claim(&inner, 10) {
            acknowledge(&inner, claimed.lease).unwrap();
        }
        bucket.delete("key-2400").wait().unwrap();
    };
    let writer = Meddling { bytes: Shared::default(), meddle: Some(meddle) };
    let bytes = writer.bytes.clone();
    let found = store.export(TransferOptions::new(), writer).wait().unwrap();
    assert_eq!((found.objects(), found.triggers()), (2_499, 2_490));
    let copy = Store::memory();
    import(&copy, &bytes.bytes()).unwrap();
    assert!(copy.verify(Progress::default()).wait().unwrap().is_sound());
}

#[test]
fn a_line_can_be_as_long_as_an_object() {
    // Nothing else makes lines so long.
    let mut limits = Limits { object_bytes: 2 << 20, ..Limits::default() };
    (limits.payload_bytes, limits.item_bytes, limits.snapshot_bytes) = (1 << 10, 1 << 10, 1 << 10);
    let open = || Store::open(Config::memory().limits(limits.clone())).wait().unwrap();
    let store = open();
    let bytes: Vec<u8> = (0..2_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let bucket = store.task_bucket("files").unwrap();
    for key in ["a", "b"] {
        bucket.put(key, bytes.clone()).wait().unwrap();
    }
    let original = exported(&store);
    let copy = open();
    import(&copy, &original).unwrap();
    let object = copy.task_bucket("files").unwrap().get("b").wait().unwrap().unwrap();
    assert!(object.bytes == bytes);
    limits.object_bytes -= 1;
    let error = check_export(&*original, &limits).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLarge { .. }), "{error}");
}

#[test]
fn a_waiting_worker_finds_what_is_imported() {
    let original = exported(&long());
    let copy = Store::memory();
    let bucket = copy.task_bucket("files").unwrap();
    let count = Arc::new(Mutex::new(0));
    let counter = count.clone();
    let work = bucket.work(WorkOptions::default(), move |_| {
        *counter.lock().unwrap() += 1;
        async { Ok(()) }
    });
    let working = std::thread::spawn(move || work.wait());
    std::thread::sleep(Duration::from_millis(20));
    import(&copy, &original).unwrap();
    let handled = (0..6_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        *count.lock().unwrap() == 2_500
    });
    assert!(handled, "the worker sleeps");
    copy.close().wait().unwrap();
    working.join().unwrap().unwrap();
}

#[test]
fn an_export_without_buckets_needs_no_counter() {
    let store = Store::memory();
    store.event_log("a").unwrap().trim(Position::new(1)).wait().unwrap();
    assert_eq!(lines_of(&exported(&store), "task_bucket"), [""; 0]);
}
