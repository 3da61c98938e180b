//! The contract's rules of the key-value store, each in named cases. What a crash may leave is tested by the crash
//! harnesses.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod place;
mod slow_disk;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{self, Command, Stdio},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use larder_kv::{
    Client, ClientOptions, Error, ErrorKind, Hlc, Key, MAX_KEY_BYTES, MAX_VALUE_BYTES, ManualClock, Result,
    repair,
    wal::{
        frame::{Found, parse},
        header::{FORMAT_VERSION, HEADER_BYTES, Header},
        record::{self, Record, RecordKind},
    },
};

use self::{place::Place, slow_disk::SlowDisk};

fn memory() -> Client {
    Client::open(ClientOptions::memory_only("node-a")).wait().unwrap()
}

fn field_of(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidArgument { field, .. } | ErrorKind::TooLarge { field, .. } => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn kv_01_presets_say_what_they_are() {
    let (local, memory) = (ClientOptions::local("n"), ClientOptions::memory_only("n"));
    assert!(!local.enable_wal && !memory.enable_wal);
    let (persistent, fast) = (ClientOptions::persistent("n", "a.wal"), ClientOptions::fast("n", "a.wal"));
    assert!(persistent.enable_wal && persistent.auto_flush);
    assert!(fast.enable_wal && !fast.auto_flush);
    assert!([local, memory, persistent, fast].iter().all(|o| !o.enable_transport && !o.enable_discovery));
}

#[test]
fn kv_01_what_does_not_go_together_names_the_field() {
    type Change = fn(&mut ClientOptions);
    let wrong: [(&str, Change); 6] = [
        ("node_id", |options| options.node_id = "with space".into()),
        ("node_id", |options| options.node_id = "n".repeat(129)),
        ("wal_path", |options| options.wal_path = PathBuf::new()),
        ("sync_batch_size", |options| options.sync_batch_size = 0),
        ("enable_transport", |options| options.enable_transport = true),
        ("enable_discovery", |options| options.enable_discovery = true),
    ];
    for (field, change) in wrong {
        let place = Place::new();
        let mut options = place.options();
        change(&mut options);
        assert_eq!(field_of(&Client::open(options).wait().unwrap_err()), field);
        assert!(!place.path().exists(), "a refused open leaves no file");
    }
}

#[test]
fn kv_01_the_folder_is_created() {
    let place = Place::new();
    place.open().close().wait().unwrap();
    assert!(place.path().is_file());
}

#[test]
fn kv_01_a_folder_that_cannot_be_made_is_named() {
    let place = Place::new();
    fs::write(place.folder.path().join("data"), "a file where the folder would be").unwrap();
    let error = place.refused();
    assert!(error.to_string().contains("data"), "{error}");
    assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::InvalidArgument { .. }), "{error}");
}

#[test]
fn kv_01_another_nodes_file_is_refused() {
    let place = Place::new();
    place.open().close().wait().unwrap();
    let other = ClientOptions::persistent("node-b", place.path());
    let error = Client::open(other).wait().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("node-a"), "{error}");
}

#[test]
fn kv_01_what_is_no_wal_is_refused_and_left_alone() {
    let place = Place::new();
    fs::create_dir_all(place.path()).unwrap();
    assert_eq!(field_of(&place.refused()), "wal_path");
    fs::remove_dir(place.path()).unwrap();
    fs::write(place.path(), "SQLite format 3\0 and so on").unwrap();
    assert_eq!(*place.refused().kind(), ErrorKind::Incompatible);
    assert_eq!(fs::read(place.path()).unwrap(), b"SQLite format 3\0 and so on");
}

#[test]
fn kv_02_every_operation() -> Result<()> {
    for client in [memory(), Place::new().open()] {
        assert!(client.empty());
        client.put("b", "2").wait()?;
        client.put("a", "1").wait()?;
        client.put([0xff, 0], "").wait()?;
        assert_eq!((client.size(), client.empty()), (3, false));
        assert_eq!((client.get("a")?, client.get([0xff, 0])?), ("1".into(), "".into()));
        assert!(client.contains("b")? && !client.contains("c")?);
        client.remove("b").wait()?;
        client.remove("b").wait()?;
        assert!(client.find("b")?.is_none());
        let keys: Vec<Key> = client.scan("")?.map(|entry| entry.key).collect();
        assert_eq!(keys, [Key::from("a"), Key::from([0xff, 0])]);
    }
    Ok(())
}

#[test]
fn kv_02_a_missing_key_is_named() {
    let error = memory().get("app/missing").unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "key not found: app/missing");
}

#[test]
fn kv_02_limits_of_keys_and_values() -> Result<()> {
    let client = memory();
    client.put(vec![b'k'; MAX_KEY_BYTES], vec![0; MAX_VALUE_BYTES]).wait()?;
    assert_eq!(field_of(&client.put("", "v").wait().unwrap_err()), "key");
    assert_eq!(field_of(&client.get("").unwrap_err()), "key");
    let long_key = client.put(vec![b'k'; MAX_KEY_BYTES + 1], "v").wait().unwrap_err();
    assert_eq!(field_of(&long_key), "key");
    let large = client.put("k", vec![0; MAX_VALUE_BYTES + 1]).wait().unwrap_err();
    assert_eq!(field_of(&large), "value");
    assert_eq!(client.size(), 1, "nothing of what was refused is there");
    Ok(())
}

#[test]
fn kv_02_a_scan_goes_by_prefix_and_range() -> Result<()> {
    let client = memory();
    for key in ["a", "a/", "a/1", "a/2", "a/2/x", "b"] {
        client.put(key, "").wait()?;
    }
    let keys = |scan: larder_kv::Scan| scan.map(|entry| entry.key.to_string()).collect::<Vec<_>>();
    assert_eq!(keys(client.scan("a/")?), ["a/", "a/1", "a/2", "a/2/x"]);
    assert_eq!(keys(client.scan("a/")?.range("a/1".."a/2/")), ["a/1", "a/2"]);
    assert_eq!(keys(client.scan("")?.range::<&str>(..)).len(), 6);
    assert!(keys(client.scan("")?.range("b".."a")).is_empty());
    Ok(())
}

#[test]
fn kv_02_a_batch_is_all_or_nothing() -> Result<()> {
    let place = Place::new();
    let client = place.open();
    client.put("a", "old").wait()?;
    let mut batch = client.batch();
    batch.put("a", "new").remove("a").put("b", "1");
    batch.commit().wait()?;
    assert!(client.find("a")?.is_none() && client.contains("b")?);
    let mut refused = client.batch();
    refused.put("c", "1").put("", "2");
    assert_eq!(field_of(&refused.commit().wait().unwrap_err()), "key");
    assert!(!client.contains("c")?);
    client.close().wait()?;
    assert_eq!(place.open().size(), 1);
    Ok(())
}

#[test]
fn kv_02_a_batch_has_a_limit() -> Result<()> {
    let client = memory();
    let mut batch = client.batch();
    for key in ["a", "b", "c"] {
        batch.put(key, vec![0; MAX_VALUE_BYTES]);
    }
    assert_eq!(field_of(&batch.commit().wait().unwrap_err()), "batch");
    assert!(client.empty(), "nothing of what was refused is there");
    Ok(())
}

#[test]
fn kv_02_a_watch_tells_of_changes_in_its_prefix() -> Result<()> {
    let client = memory();
    client.put("w/0", "before").wait()?;
    let mut watch = client.watch("w/")?;
    client.put("x", "other").wait()?;
    client.put("w/1", "1").wait()?;
    client.remove("w/0").wait()?;
    let first = watch.try_next().wait().unwrap();
    assert_eq!((first.key.as_str(), first.value.as_deref()), (Some("w/1"), Some(&b"1"[..])));
    let second = watch.try_next().wait().unwrap();
    assert_eq!((second.key.as_str(), second.value), (Some("w/0"), None));
    assert!(watch.try_next().wait_timeout(Duration::from_millis(5)).is_none());
    client.close().wait()?;
    assert!(watch.try_next().wait().is_none());
    Ok(())
}

#[test]
fn kv_02_a_closed_client_refuses() -> Result<()> {
    let client = memory();
    client.close().wait()?;
    client.close().wait()?;
    for error in [client.put("a", "").wait().unwrap_err(), client.get("a").unwrap_err()] {
        assert_eq!(*error.kind(), ErrorKind::Closed);
    }
    Ok(())
}

#[test]
fn kv_03_durable_writes_are_in_the_file_when_they_are_answered() -> Result<()> {
    let place = Place::new();
    let client = place.open();
    client.put("k", "durable").wait()?;
    let bytes = fs::read(place.path()).unwrap();
    assert!(bytes.windows(7).any(|window| window == b"durable"));
    client.close().wait()
}

#[test]
fn kv_03_concurrent_callers_all_get_their_answer() -> Result<()> {
    let place = Place::new();
    let client = place.open();
    thread::scope(|scope| {
        for writer in 0..8 {
            let client = &client;
            scope.spawn(move || {
                (0..50).for_each(|n| client.put(format!("{writer}/{n}"), "v").wait().unwrap());
            });
        }
    });
    client.close().wait()?;
    assert_eq!(place.open().size(), 400);
    Ok(())
}

#[test]
fn kv_03_concurrent_callers_share_syncs() -> Result<()> {
    let place = Place::new();
    let disk = Arc::new(SlowDisk::default());
    let mut options = place.options();
    options.disk = disk.clone();
    let client = Client::open(options).wait()?;
    let before = disk.syncs.load(Ordering::Relaxed);
    thread::scope(|scope| {
        for writer in 0..16 {
            let client = &client;
            scope.spawn(move || {
                for n in 0..10 {
                    let put = client.put(format!("{writer}/{n}"), "v");
                    let result = if writer % 2 == 0 { put.wait() } else { larder_kv::wait(put) };
                    result.unwrap();
                }
            });
        }
    });
    let syncs = disk.syncs.load(Ordering::Relaxed) - before;
    assert!(syncs < 160 / 3, "{syncs} syncs for 160 puts");
    client.close().wait()
}

#[test]
fn kv_03_a_durable_put_is_synced_and_a_buffered_one_is_not() -> Result<()> {
    let place = Place::new();
    let disk = Arc::new(SlowDisk::default());
    for (preset, each) in [(ClientOptions::persistent as fn(_, _) -> _, 1), (ClientOptions::fast, 0)] {
        let mut options: ClientOptions = preset("node-a", place.path());
        options.disk = disk.clone();
        let client = Client::open(options).wait()?;
        client.put("room", "is made").wait()?;
        let before = disk.syncs.load(Ordering::Relaxed);
        (0..5).try_for_each(|n| client.put(n.to_string(), "v").wait())?;
        assert_eq!(disk.syncs.load(Ordering::Relaxed) - before, 5 * each);
        client.flush().wait()?;
        assert_eq!(disk.syncs.load(Ordering::Relaxed) - before, 5 * each + 1);
        client.close().wait()?;
    }
    Ok(())
}

#[test]
fn kv_03_buffered_writes_reach_the_file_by_flush_and_close() -> Result<()> {
    let place = Place::new();
    let options = ClientOptions::fast("node-a", place.path());
    let client = Client::open(options).wait()?;
    client.put("flushed", "1").wait()?;
    client.flush().wait()?;
    assert!(fs::read(place.path()).unwrap().windows(7).any(|window| window == b"flushed"));
    client.put("closed", "1").wait()?;
    client.close().wait()?;
    assert_eq!(place.open().size(), 2);
    Ok(())
}

#[test]
fn kv_04_damage_below_what_was_durable_is_corrupted() {
    let place = Place::new();
    let offsets = place.with_frames(&["zero", "one", "two"]);
    // The seal at the end says that all before it was durable.
    for offset in &offsets[..3] {
        let sound = fs::read(place.path()).unwrap();
        place.change(|bytes| bytes[offset + 30] ^= 1);
        assert_eq!(*place.refused().kind(), ErrorKind::Corrupted { offset: *offset as u64 });
        fs::write(place.path(), sound).unwrap();
    }
    assert_eq!(place.open().size(), 3);
}

#[test]
fn kv_04_a_torn_tail_is_cut_off_and_reported() -> Result<()> {
    let place = Place::new();
    let offsets = place.with_frames(&["zero", "one"]);
    // Without the seal, and with half of the last frame: nobody was told that it was done.
    place.change(|bytes| {
        bytes.truncate(offsets[1] + 40);
        bytes.extend([0; 4096]);
    });
    let client = place.open();
    assert_eq!((client.size(), client.get("k0")?), (1, "zero".into()));
    // Up to its last byte that is not zero.
    assert!((30..=40).contains(&client.recovery().cut_off), "{:?}", client.recovery());
    assert!(client.recovery().cut_because.is_some());
    client.put("after", "1").wait()?;
    client.close().wait()?;
    let client = place.open();
    assert_eq!((client.size(), client.recovery().cut_off), (2, 0), "the next recovery finds it");
    client.close().wait()
}

#[test]
fn kv_04_repair_saves_what_is_sound() -> Result<()> {
    let place = Place::new();
    let offsets = place.with_frames(&["zero", "one", "two"]);
    place.change(|bytes| bytes[offsets[1] + 30] ^= 1);
    let repaired = repair(place.options()).wait()?;
    let [damage] = &repaired.damaged[..] else { panic!("{repaired:?}") };
    assert_eq!((repaired.keys, damage.start, damage.end), (2, offsets[1] as u64, offsets[2] as u64));
    assert!(repaired.set_aside.unwrap().exists());
    let client = place.open();
    assert_eq!(
        (client.get("k0")?, client.find("k1")?, client.get("k2")?),
        ("zero".into(), None, "two".into())
    );
    client.close().wait()
}

#[test]
fn kv_05_one_client_holds_the_file() -> Result<()> {
    let place = Place::new();
    let client = place.open();
    assert_eq!(*place.refused().kind(), ErrorKind::Locked { pid: Some(process::id()) });
    assert!(place.refused().to_string().contains(&process::id().to_string()));
    client.close().wait()?;
    place.open().close().wait()
}

/// The name of a file that this process is to hold until its input ends.
const HOLD: &str = "LARDER_TEST_HOLD";

#[test]
fn kv_05_another_process_holds_the_file() {
    if let Some(path) = env::var_os(HOLD) {
        let client = Client::open(ClientOptions::persistent("node-a", path)).wait().unwrap();
        println!("\nheld");
        std::io::stdin().lines().for_each(drop);
        return client.close().wait().unwrap();
    }
    let place = Place::new();
    let mut holder = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "kv_05_another_process_holds_the_file"])
        .env(HOLD, place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap() == "held"));
    assert_eq!(*place.refused().kind(), ErrorKind::Locked { pid: Some(holder.id()) });
    drop(holder.stdin.take());
    said.for_each(drop);
    assert!(holder.wait().unwrap().success());
    place.open().close().wait().unwrap();
}

#[test]
fn kv_06_compaction_bounds_the_file() -> Result<()> {
    let place = Place::new();
    let mut options = place.options();
    options.auto_flush = false;
    options.compact_min_bytes = 64 << 10;
    let client = Client::open(options).wait()?;
    for n in 0..20_000_u32 {
        client.put(format!("k{}", n % 50), vec![0; 200]).wait()?;
    }
    client.flush().wait()?;
    // It runs in the background.
    for _ in 0..200 {
        if client.status()?.file_bytes < 1 << 20 {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let status = client.status()?;
    assert!(status.generation > 1 && status.file_bytes < 1 << 20, "{status:?}");
    client.close().wait()?;
    assert_eq!(place.open().size(), 50);
    Ok(())
}

#[test]
fn kv_06_compaction_keeps_what_sync_needs() -> Result<()> {
    let place = Place::new();
    let client = place.open();
    client.put("a", "1").wait()?;
    client.put("b", "1").wait()?;
    client.remove("a").wait()?;
    let before = client.sync_state()?;
    client.compact().wait()?;
    client.close().wait()?;
    let client = place.open();
    assert_eq!((client.sync_state()?, client.status()?.tombstones), (before, 1));
    client.put("c", "1").wait()?;
    assert_eq!(client.sync_state()?.last_submitted_version, 4, "numbers go on without a gap");
    client.close().wait()
}

#[test]
fn kv_07_one_pending_entry_per_key() -> Result<()> {
    let client = memory();
    client.put("a", "1").wait()?;
    assert_eq!(client.sync_state()?.outbox_size, 1);
    client.put("a", "2").wait()?;
    client.remove("a").wait()?;
    client.put("b", "1").wait()?;
    let state = client.sync_state()?;
    assert_eq!((state.outbox_size, state.queued, state.last_submitted_version), (2, 2, 4));
    assert_eq!((state.in_flight, state.acknowledged, state.failed, state.total_retries), (0, 0, 0, 0));
    assert!(state.peers.is_empty());
    Ok(())
}

#[test]
fn kv_07_a_tick_without_peers_moves_nothing() -> Result<()> {
    let client = memory();
    client.put("a", "1").wait()?;
    let tick = client.tick().wait()?;
    assert_eq!((tick.sent, tick.retried, tick.pruned, tick.batch_size), (0, 0, 0, 0));
    assert_eq!(client.sync_state()?.outbox_size, 1);
    Ok(())
}

#[test]
fn kv_08_the_outbox_survives_a_restart() -> Result<()> {
    let place = Place::new();
    let client = place.open();
    client.put("a", "1").wait()?;
    client.remove("b").wait()?;
    let state = client.sync_state()?;
    client.close().wait()?;
    for _ in 0..3 {
        let client = place.open();
        assert_eq!(client.sync_state()?, state);
        assert_eq!(client.sync_state()?.failed, 0, "being alone is no failure");
        client.close().wait()?;
    }
    Ok(())
}

/// The records of the file's first frames.
fn records(place: &Place) -> Vec<(RecordKind, u32, Hlc, u64, Vec<u8>)> {
    let bytes = fs::read(place.path()).unwrap();
    let (_, identity) = Header::decode(&bytes).unwrap();
    let (mut at, mut found) = (HEADER_BYTES, Vec::new());
    while let Found::Frame(frame) = parse(&bytes[at..], identity, at as u64) {
        for record in record::decode(frame.records, at as u64) {
            let Record { kind, author, hlc, seq, key, .. } = record.unwrap();
            found.push((kind, author, hlc, seq, key.to_vec()));
        }
        at += frame.file_bytes;
    }
    found
}

#[test]
fn sy_01_every_write_carries_what_sync_needs() -> Result<()> {
    let place = Place::new();
    let clock = Arc::new(ManualClock::default());
    let mut options = place.options();
    options.clock = clock.clone();
    let client = Client::open(options).wait()?;
    client.put("a", "1").wait()?;
    client.put("b", "1").wait()?;
    client.remove("a").wait()?;
    client.close().wait()?;
    let writes: Vec<_> = records(&place).into_iter().filter(|(kind, ..)| kind.is_write()).collect();
    let kinds: Vec<RecordKind> = writes.iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds, [RecordKind::Put, RecordKind::Put, RecordKind::Remove], "a removal is a tombstone");
    assert!(writes.iter().all(|(_, author, ..)| *author == 0));
    assert_eq!(writes.iter().map(|(_, _, _, seq, _)| *seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(writes.windows(2).all(|pair| pair[0].2 < pair[1].2), "stamps rise although the clock stands");
    Ok(())
}

#[test]
fn fm_02_the_header_names_format_node_and_epoch() -> Result<()> {
    let place = Place::new();
    place.with_frames(&["zero"]);
    let bytes = fs::read(place.path()).unwrap();
    assert_eq!(&bytes[..8], b"LARDERKV");
    assert_eq!(bytes[8..12], FORMAT_VERSION.to_le_bytes());
    let (header, _) = Header::decode(&bytes)?;
    assert_eq!((header.node_id.as_str(), header.generation), ("node-a", 1));
    assert!(header.epoch > 0);
    Ok(())
}

#[test]
fn fm_02_a_newer_version_is_refused() {
    let place = Place::new();
    place.with_frames(&["zero"]);
    place.change(|bytes| {
        for at in [0, 2048] {
            bytes[at + 8] = 2;
            let sum =
                crc32c::crc32c_append(crc32c::crc32c(&bytes[at + 8..at + 12]), &bytes[at + 16..at + 512]);
            bytes[at + 12..at + 16].copy_from_slice(&sum.to_le_bytes());
        }
    });
    let error = place.refused();
    assert_eq!(*error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn fm_02_a_frame_is_a_batch_with_one_checksum() -> Result<()> {
    let place = Place::new();
    let client = place.open();
    let mut batch = client.batch();
    batch.put("a", "1").put("b", "2").remove("c");
    batch.commit().wait()?;
    client.close().wait()?;
    let bytes = fs::read(place.path()).unwrap();
    let (_, identity) = Header::decode(&bytes)?;
    let at = HEADER_BYTES;
    let Found::Frame(frame) = parse(&bytes[at..], identity, at as u64) else { panic!("no frame") };
    assert_eq!((frame.sequence, frame.durable_through), (1, HEADER_BYTES as u64));
    assert_eq!(record::decode(frame.records, at as u64).count(), 3);
    for byte in 4..frame.file_bytes {
        let mut damaged = bytes[at..].to_vec();
        damaged[byte] ^= 0x40;
        assert!(!matches!(parse(&damaged, identity, at as u64), Found::Frame(_)), "byte {byte}");
    }
    Ok(())
}
