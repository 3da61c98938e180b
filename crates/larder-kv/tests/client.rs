//! What a client does, seen from outside.

use std::{
    fs,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use larder_kv::{Client, ClientOptions, ErrorKind, Follow, ManualClock, Result};
use tempfile::TempDir;

fn persistent(folder: &TempDir) -> ClientOptions {
    ClientOptions::persistent("node-a", folder.path().join("data/a.wal"))
}

fn open(options: &ClientOptions) -> Client {
    Client::open(options.clone()).wait().expect("the client opens")
}

#[test]
fn values_are_recovered_with_their_outbox() -> Result<()> {
    let folder = TempDir::new().unwrap();
    let options = persistent(&folder);
    let client = open(&options);
    client.put("a", "1").wait()?;
    client.put("b", "2").wait()?;
    client.put("a", "3").wait()?;
    client.remove("b").wait()?;
    client.put([0, 255], vec![7; 5000]).wait()?;
    client.close().wait()?;

    let client = open(&options);
    assert_eq!(client.recovery().records, 5);
    assert_eq!(client.recovery().cut_off, 0);
    assert_eq!((client.size(), &*client.get("a")?), (2, &b"3"[..]));
    assert!(!client.contains("b")?);
    assert_eq!(client.get([0, 255])?, *vec![7; 5000]);
    let state = client.sync_state()?;
    assert_eq!((state.outbox_size, state.queued, state.last_submitted_version), (3, 3, 5));
    client.put("c", "").wait()?;
    assert_eq!(client.sync_state()?.last_submitted_version, 6);
    client.close().wait()
}

#[test]
fn a_batch_is_one_frame() -> Result<()> {
    let folder = TempDir::new().unwrap();
    let options = persistent(&folder);
    let client = open(&options);
    let mut batch = client.batch();
    batch.put("a", "1").put("b", "2").put("a", "3").remove("b");
    batch.commit().wait()?;
    client.batch().commit().wait()?;
    let mut bad = client.batch();
    bad.put("c", "1").put("", "2");
    let error = bad.commit().wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument { field: "key", .. }), "{error}");
    client.close().wait()?;

    let client = open(&options);
    assert_eq!((client.recovery().frames, client.recovery().records), (2, 4), "the batch, and a seal");
    let entries: Vec<_> =
        client.scan("")?.map(|entry| (entry.key.to_string(), entry.value.to_string())).collect();
    assert_eq!(entries, [("a".to_owned(), "3".to_owned())]);
    client.close().wait()
}

#[test]
fn opening_and_closing_leaves_the_file_as_it_is() -> Result<()> {
    let folder = TempDir::new().unwrap();
    let options = persistent(&folder);
    let client = open(&options);
    client.put("a", "1").wait()?;
    client.close().wait()?;
    let before = fs::read(&options.wal_path).unwrap();
    open(&options).close().wait()?;
    assert_eq!(fs::read(&options.wal_path).unwrap(), before);
    Ok(())
}

#[test]
fn threads_and_tasks_share_commits() -> Result<()> {
    let folder = TempDir::new().unwrap();
    let options = persistent(&folder);
    let client = open(&options);
    thread::scope(|scope| {
        for writer in 0..8 {
            let client = client.clone();
            scope.spawn(move || {
                for n in 0..50 {
                    client.put(format!("t{writer}/{n}"), "x").wait().unwrap();
                }
            });
        }
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
            runtime.block_on(async {
                let mut tasks = Vec::new();
                for writer in 0..32 {
                    let client = client.clone();
                    tasks.push(tokio::spawn(async move {
                        for n in 0..25 {
                            client.put(format!("a{writer}/{n}"), "x").await.unwrap();
                        }
                    }));
                }
                for task in tasks {
                    task.await.unwrap();
                }
            });
        });
    });
    assert_eq!(client.size(), 8 * 50 + 32 * 25);
    client.close().wait()?;
    let client = open(&options);
    assert_eq!(client.size(), 8 * 50 + 32 * 25);
    assert_eq!(client.sync_state()?.last_submitted_version, 1_200);
    client.close().wait()
}

#[test]
fn buffered_writes_reach_the_file_by_themselves() -> Result<()> {
    let folder = TempDir::new().unwrap();
    let mut options = persistent(&folder);
    options.auto_flush = false;
    options.flush_interval = Duration::from_millis(5);
    let client = open(&options);
    client.put("a", "needle").wait()?;
    assert_eq!(client.get("a")?, "needle");
    let is_there = || {
        let bytes = fs::read(&options.wal_path).unwrap();
        bytes.windows(6).any(|window| window == b"needle")
    };
    for _ in 0..400 {
        if is_there() {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    assert!(is_there());
    client.flush().wait()?;
    drop(client);
    assert_eq!(open(&options).get("a")?, "needle");
    Ok(())
}

#[test]
fn one_client_holds_the_file() -> Result<()> {
    let folder = TempDir::new().unwrap();
    let options = persistent(&folder);
    let client = open(&options);
    let error = Client::open(options.clone()).wait().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Locked { pid: Some(std::process::id()) });
    client.close().wait()?;
    open(&options).close().wait()
}

#[test]
fn a_closed_client_refuses() -> Result<()> {
    let folder = TempDir::new().unwrap();
    for options in [ClientOptions::local("node-a"), persistent(&folder)] {
        let client = open(&options);
        client.put("a", "1").wait()?;
        let late = client.put("b", "1");
        client.close().wait()?;
        client.close().wait()?;
        let closed = |result: Result<()>| assert_eq!(*result.unwrap_err().kind(), ErrorKind::Closed);
        closed(late.wait());
        closed(client.put("a", "1").wait());
        closed(client.flush().wait());
        closed(client.compact().wait());
        closed(client.get("a").map(drop));
        closed(client.scan("").map(drop));
        closed(client.sync_state().map(drop));
        closed(client.tick().wait().map(drop));
        assert_eq!(client.size(), 0);
    }
    Ok(())
}

#[test]
fn what_cannot_be_a_wal_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.wal");
    let options = ClientOptions::persistent("node-a", &path);
    let refused = || Client::open(options.clone()).wait().unwrap_err();

    fs::write(&path, "something else entirely").unwrap();
    assert_eq!(*refused().kind(), ErrorKind::Incompatible);
    assert_eq!(fs::read(&path).unwrap(), b"something else entirely");
    fs::remove_file(&path).unwrap();

    fs::create_dir(&path).unwrap();
    let error = refused();
    assert!(matches!(error.kind(), ErrorKind::InvalidArgument { field: "wal_path", .. }), "{error}");
    assert!(error.to_string().contains("x.wal"), "{error}");
    fs::remove_dir(&path).unwrap();

    let other = ClientOptions::persistent("node-b", &path);
    open(&other).close().wait().unwrap();
    let error = refused();
    assert_eq!(*error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("node-b"), "{error}");

    fs::write(&path, "").unwrap();
    open(&options).close().wait().unwrap();
}

#[test]
fn compaction_keeps_what_is_needed() -> Result<()> {
    let folder = TempDir::new().unwrap();
    let mut options = persistent(&folder);
    options.auto_compact = false;
    let client = open(&options);
    for n in 0..1_000 {
        client.put(format!("k{}", n % 10), format!("{n}")).wait()?;
    }
    client.remove("k3").wait()?;
    let before = client.status()?;
    client.compact().wait()?;
    let after = client.status()?;
    assert!(after.file_bytes < before.file_bytes / 10, "{before:?} {after:?}");
    assert_eq!((after.generation, after.keys, after.tombstones), (2, 9, 1));
    client.put("k1", "new").wait()?;
    let state = client.sync_state()?;
    client.close().wait()?;

    let client = open(&options);
    assert_eq!(client.sync_state()?, state);
    assert_eq!(client.size(), 9);
    assert_eq!(client.get("k1")?, "new");
    assert_eq!(client.get("k9")?, "999");
    assert!(client.find("k3")?.is_none());
    client.close().wait()
}

#[test]
fn compaction_in_the_background_bounds_the_file_under_load() -> Result<()> {
    let folder = TempDir::new().unwrap();
    let mut options = persistent(&folder);
    options.auto_flush = false;
    options.compact_min_bytes = 200_000;
    let client = open(&options);
    for n in 0..60_000_u32 {
        client.put(format!("k{}", n % 100), vec![0; 200]).wait()?;
    }
    client.put("last", "one").wait()?;
    client.close().wait()?;
    let length = fs::metadata(&options.wal_path).unwrap().len();
    let client = open(&options);
    assert!(client.status()?.generation > 1);
    // A writer that outruns the compaction waits for it at three times what starts one.
    assert!(length < 1_000_000, "{length}");
    assert_eq!(client.size(), 101);
    assert_eq!(client.get("last")?, "one");
    Ok(())
}

#[test]
fn watches_announce_the_latest_value_of_each_key() -> Result<()> {
    let folder = TempDir::new().unwrap();
    for options in [ClientOptions::local("node-a"), persistent(&folder)] {
        let client = open(&options);
        let mut watch = client.watch("a/")?;
        assert!(watch.try_next().wait_timeout(Duration::from_millis(1)).is_none());
        client.put("a/1", "x").wait()?;
        client.put("b/1", "x").wait()?;
        client.put("a/2", "x").wait()?;
        client.put("a/1", "y").wait()?;
        client.remove("a/2").wait()?;
        let change = watch.try_next().wait().unwrap();
        assert_eq!((change.key, change.value), ("a/1".into(), Some("y".into())));
        let change = watch.try_next().wait().unwrap();
        assert_eq!((change.key, change.value), ("a/2".into(), None));
        let other = client.clone();
        let late = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            other.put("a/3", "z").wait().unwrap();
            other.close().wait().unwrap();
        });
        late.join().unwrap();
        let change = watch.try_next().wait().unwrap();
        assert_eq!((change.key, change.value), ("a/3".into(), Some("z".into())), "although it is closed");
        assert!(watch.try_next().wait().is_none());
    }
    Ok(())
}

#[test]
fn scans_go_on_over_pages() -> Result<()> {
    let client = open(&ClientOptions::local("node-a"));
    for n in 0..2_500 {
        client.put(format!("k/{n:04}"), "x").wait()?;
    }
    client.put("l", "x").wait()?;
    let mut seen = 0;
    for (n, entry) in client.scan("k/")?.enumerate() {
        assert_eq!(entry.key, *format!("k/{n:04}"));
        seen += 1;
        if n == 1_200 {
            client.remove("k/0000").wait()?;
            client.remove("k/2499").wait()?;
        }
    }
    assert_eq!(seen, 2_499);
    assert_eq!(client.scan("k/")?.range("k/0100".."k/0200").count(), 100);
    assert_eq!(client.scan("k/")?.range("k/0100"..="k/0200").count(), 101);
    assert_eq!(client.scan("k/")?.range::<&str>(..).count(), 2_498);
    assert_eq!(client.scan("k/")?.range("x".."a").count(), 0);
    assert_eq!(client.scan("")?.count(), 2_499);
    Ok(())
}

#[test]
fn stamps_rise_although_the_clock_goes_back() -> Result<()> {
    let folder = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::new());
    let mut options = persistent(&folder);
    options.clock = clock.clone();
    let client = open(&options);
    client.put("a", "old").wait()?;
    client.close().wait()?;
    clock.set(std::time::UNIX_EPOCH);
    let client = open(&options);
    client.put("a", "new").wait()?;
    assert_eq!(client.get("a")?, "new");
    client.close().wait()?;
    assert_eq!(open(&options).get("a")?, "new");
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_link_to_the_file_is_the_file() -> Result<()> {
    let folder = TempDir::new().unwrap();
    let options = persistent(&folder);
    open(&options).close().wait()?;
    let linked = |name: &str| ClientOptions::persistent("node-a", folder.path().join(name));
    std::os::unix::fs::symlink("data/a.wal", folder.path().join("soft.wal")).unwrap();
    fs::hard_link(&options.wal_path, folder.path().join("hard.wal")).unwrap();

    let client = open(&options);
    for name in ["soft.wal", "hard.wal"] {
        let error = Client::open(linked(name)).wait().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Locked { .. }), "{name}: {error:?}");
    }
    client.close().wait()?;

    let client = open(&linked("soft.wal"));
    client.put("by", "the link").wait()?;
    client.compact().wait()?;
    client.close().wait()?;
    assert!(folder.path().join("soft.wal").is_symlink(), "a compaction leaves the link alone");
    assert_eq!(open(&options).get("by")?, "the link");
    Ok(())
}

#[test]
fn an_opening_that_nobody_waits_for_holds_nothing() {
    let folder = TempDir::new().unwrap();
    let options = ClientOptions::fast("node-a", folder.path().join("a.wal"));
    for _ in 0..3 {
        let mut opening = Box::pin(Client::open(options.clone()).into_future());
        let _ = futures::FutureExt::now_or_never(&mut opening);
        drop(opening);
        // It may still be under way; in the end the file is free.
        let free = (0..500).any(|_| {
            thread::sleep(Duration::from_millis(10));
            Client::open(options.clone()).wait().is_ok()
        });
        assert!(free, "the file is held for good");
    }
}

#[test]
fn whoever_closes_beside_another_waits_for_it() -> Result<()> {
    let folder = TempDir::new().unwrap();
    let options = ClientOptions::fast("node-a", folder.path().join("a.wal"));
    for _ in 0..20 {
        let client = open(&options);
        (0..200).try_for_each(|n| client.put(n.to_string(), vec![0; 1_000]).wait())?;
        let seen = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    client.close().wait().unwrap();
                    seen.lock().unwrap().push(fs::read(&options.wal_path).unwrap());
                });
            }
        });
        let file = fs::read(&options.wal_path).unwrap();
        assert!(seen.into_inner().unwrap().iter().all(|bytes| *bytes == file), "it was not closed yet");
    }
    Ok(())
}

#[test]
fn a_watch_of_a_closed_client_ends() -> Result<()> {
    let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Ok(mut watch) = client.watch("") {
                    if client.size() == 0 && client.put("k", "v").wait().is_err() {
                        while watch.try_next().wait().is_some() {}
                        return;
                    }
                }
            });
        }
        thread::sleep(Duration::from_millis(20));
        client.close().wait()
    })
}

#[test]
fn a_scan_over_removed_keys_goes_on_behind_them() -> Result<()> {
    let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
    for n in 0..5_000 {
        client.put(format!("{n:04}"), "v").wait()?;
    }
    for n in 1..4_999 {
        client.remove(format!("{n:04}")).wait()?;
    }
    let keys: Vec<_> = client.scan("")?.map(|entry| entry.key.to_string()).collect();
    assert_eq!(keys, ["0000", "4999"]);
    Ok(())
}

#[test]
fn followers_see_what_takes_the_place_of_a_file() -> Result<()> {
    let folder = TempDir::new().unwrap();
    let options = persistent(&folder);
    let client = open(&options);
    for n in 0..5 {
        client.put("old", n.to_string()).wait()?;
    }
    client.close().wait()?;
    let mut follow = Follow::open(&options.wal_path)?;
    fs::remove_file(&options.wal_path).unwrap();
    let client = open(&options);
    client.put("new", "1").wait()?;
    let changes = follow.poll()?;
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0].key, "new");
    client.close().wait()
}

#[test]
fn what_was_answered_was_announced_before_the_end() -> Result<()> {
    for round in 0..300_u64 {
        let client = open(&ClientOptions::local("node-a"));
        let mut watch = client.watch("")?;
        let writing = client.clone();
        let writer = thread::spawn(move || {
            (0..).take_while(|n| writing.put(format!("{n}"), "v").wait().is_ok()).count()
        });
        thread::sleep(Duration::from_micros(round % 97));
        client.close().wait()?;
        let mut announced = 0;
        while watch.try_next().wait().is_some() {
            announced += 1;
        }
        assert_eq!(announced, writer.join().unwrap());
    }
    Ok(())
}
