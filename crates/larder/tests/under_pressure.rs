//! What happens while something else happens: reading during compactions, and a writer's thread that panics.

#![cfg(feature = "sqlite")]
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use larder::{Clock, Config, Durability, ErrorKind, Expected, NewEvent, Store};

fn scratch(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("larder-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

/// A reader in a snapshot from before a sweep must not miss what the sweep has removed from memory.
#[test]
fn readers_see_no_holes_while_a_stream_is_compacted() {
    let dir = scratch("compacted");
    let config = Config::sqlite(dir.join("store.db")).durability(Durability::Buffered);
    let store = Store::open(config).wait().unwrap();
    let log = store.event_log("orders").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut head = 0;
                while !done.load(Ordering::Relaxed) {
                    let page = log.read("s", ..).wait().expect("a stream has no holes");
                    assert!(page.items.windows(2).all(|pair| pair[1].seq_nr == pair[0].seq_nr + 1));
                    let now = log.head("s").wait().unwrap();
                    assert!(now >= head, "the head went back from {head} to {now}");
                    head = now;
                }
            });
        }
        for round in 1..=400_u64 {
            let events = (0..20).map(|n| NewEvent::new("Counted", &n).tag("all"));
            log.append("s", Expected::Any, events).wait().unwrap();
            log.compact("s", round * 20 - 5).wait().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    store.close().wait().unwrap();
    let _ = std::fs::remove_dir_all(dir);
}

/// A clock that fails when it is told to.
#[derive(Debug, Default)]
struct Fragile {
    broken: AtomicBool,
}

impl Clock for Fragile {
    fn now(&self) -> SystemTime {
        assert!(!self.broken.load(Ordering::SeqCst), "the clock is broken, as this test wants it");
        SystemTime::UNIX_EPOCH + Duration::from_secs(1)
    }
}

#[test]
fn a_panic_of_the_writer_leaves_nobody_waiting() {
    let dir = scratch("panic");
    let clock = Arc::new(Fragile::default());
    let config = Config::sqlite(dir.join("store.db")).clock(clock.clone());
    let store = Store::open(config).wait().unwrap();
    let log = store.event_log("orders").unwrap();
    log.append("s", 0, [NewEvent::new("Placed", &1)]).wait().unwrap();

    clock.broken.store(true, Ordering::SeqCst);
    // A batch is committed by the writer's own thread.
    let mut batch = store.batch();
    batch.add(log.append("s", 1, [NewEvent::new("Placed", &2)]));
    let error = batch.commit().wait().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::CommitUnknown);

    let mut batch = store.batch();
    batch.add(log.append("s", 1, [NewEvent::new("Placed", &3)]));
    assert_eq!(*batch.commit().wait().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(log.head("s").wait().unwrap(), 1, "reads go on");
    store.close().wait().unwrap();
    let _ = std::fs::remove_dir_all(dir);
}
