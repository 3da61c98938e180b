//! Commits, closes and failures at the same time: nobody waits for good, and what was answered is there.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, atomic::Ordering},
    thread,
    time::Duration,
};

use futures::executor::block_on;

use crate::{Client, ClientOptions, ErrorKind, io::memory::MemoryDisk};

fn options(disk: &MemoryDisk) -> ClientOptions {
    let mut options = ClientOptions::persistent("node-a", "n.wal");
    options.disk = Arc::new(disk.clone());
    options.compact_min_bytes = 20_000;
    options
}

/// Writes of six writers, half of them awaited, until the client refuses; what was answered is noted.
fn write_until_refused(client: &Client, writer: usize, answered: &Mutex<BTreeMap<String, u32>>) {
    for n in 0.. {
        let key = format!("w{writer}/{}", n % 7);
        let write = client.put(&*key, n.to_string());
        let result = if writer.is_multiple_of(2) { block_on(write) } else { write.wait() };
        match result {
            Ok(()) => answered.lock().unwrap().insert(key, n),
            // The file could not be extended: nothing was written, and it may go on.
            Err(error) if *error.kind() == ErrorKind::Io => continue,
            Err(error) => {
                let expected = matches!(
                    error.kind(),
                    ErrorKind::Closed | ErrorKind::Poisoned | ErrorKind::CommitUnknown
                );
                assert!(expected, "{error:?}");
                return;
            }
        };
    }
}

fn run(round: u64, stop: impl FnOnce(&Client, &MemoryDisk)) {
    let disk = MemoryDisk::default();
    let client = Client::open(options(&disk)).wait().unwrap();
    let answered = Mutex::default();
    thread::scope(|scope| {
        for writer in 0..6 {
            let (client, answered) = (client.clone(), &answered);
            scope.spawn(move || write_until_refused(&client, writer, answered));
        }
        thread::sleep(Duration::from_micros(round * 331 % 5_000));
        stop(&client, &disk);
    });
    drop(client);
    // A failure that nobody has met yet is called off.
    disk.fail_in(usize::MAX, io::ErrorKind::Other);
    let client = Client::open(options(&disk)).wait().unwrap();
    for (key, least) in answered.into_inner().unwrap() {
        let found: u32 = client.get(&key).unwrap().to_string().parse().unwrap();
        assert!(found >= least, "{key}: {found}, and {least} was answered");
    }
}

#[test]
fn closing_amid_writes_answers_everybody() {
    for round in 0..60 {
        run(round, |client, _| client.close().wait().unwrap());
    }
}

#[test]
fn a_failure_amid_writes_answers_everybody() {
    for round in 0..60 {
        run(round, |client, disk| {
            disk.fail_in(usize::try_from(round % 5).unwrap(), io::ErrorKind::Other);
            while client.status().unwrap().poisoned.is_none() {
                thread::yield_now();
                // The call that failed may have been a compaction's, which gives up without harm.
                if disk.has_failed() && client.status().unwrap().poisoned.is_none() {
                    disk.fail_in(0, io::ErrorKind::Other);
                }
            }
        });
    }
}

#[test]
fn a_lone_writer_syncs_once_per_write() {
    let disk = MemoryDisk::default();
    let client = Client::open(options(&disk)).wait().unwrap();
    client.put("first", "extends the file").wait().unwrap();
    let before = disk.syncs();
    for n in 0..20 {
        client.put("k", n.to_string()).wait().unwrap();
    }
    assert_eq!(disk.syncs() - before, 20);
}

#[test]
fn buffered_writes_sync_when_they_are_flushed() {
    let disk = MemoryDisk::default();
    let mut options = options(&disk);
    options.auto_flush = false;
    options.auto_compact = false;
    let client = Client::open(options).wait().unwrap();
    let before = disk.syncs();
    for n in 0..1_000 {
        client.put("k", n.to_string()).wait().unwrap();
    }
    assert_eq!(disk.syncs(), before);
    client.flush().wait().unwrap();
    block_on(client.flush()).unwrap();
    assert_eq!(disk.syncs(), before + 2);
}

#[test]
fn what_memory_has_no_room_for_is_refused_before_it_is_written() {
    for is_durable in [true, false] {
        let disk = MemoryDisk::default();
        let mut options = options(&disk);
        options.auto_flush = is_durable;
        let client = Client::open(options.clone()).wait().unwrap();
        client.core().gauges.most_bytes.store(16 << 20, Ordering::Relaxed);
        let put = |n| client.put(format!("k{n}"), vec![0; 1_900]).wait();
        let (fitted, error) = (0..20_000).find_map(|n| put(n).err().map(|error| (n, error))).unwrap();
        let ErrorKind::TooLarge { field: "entries", .. } = error.kind() else { panic!("{error:?}") };
        assert!((7_500..9_000).contains(&fitted), "{fitted}");
        assert_eq!(client.size(), fitted);
        client.remove("k0").wait().unwrap();
        assert_eq!(client.status().unwrap().poisoned, None);
        client.close().wait().unwrap();
        assert_eq!(Client::open(options).wait().unwrap().size(), fitted - 1, "nothing of it is in the file");
    }
}
