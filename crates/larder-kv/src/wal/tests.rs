//! Whole files: damage at every byte, failures at every call.

use std::{collections::BTreeMap, io, sync::Arc};

use proptest::{prelude::*, sample::Index};

use crate::{
    Client, ClientOptions, Error, ErrorKind, ManualClock, Repaired, Result,
    io::memory::MemoryDisk,
    repair,
    wal::{
        frame::{FRAME_HEAD_BYTES, Found, parse},
        header::{HEADER_BYTES, Header},
    },
};

const PATH: &str = "n.wal";

fn options(disk: &MemoryDisk) -> ClientOptions {
    let mut options = ClientOptions::persistent("node-a", PATH);
    options.disk = Arc::new(disk.clone());
    options.clock = Arc::new(ManualClock::new());
    options.auto_compact = false;
    options
}

fn open(disk: &MemoryDisk) -> Result<Client> {
    Client::open(options(disk)).wait()
}

pub(super) type Contents = BTreeMap<String, String>;

fn contents(client: &Client) -> Contents {
    let entries = client.scan("").unwrap();
    entries.map(|entry| (entry.key.to_string(), entry.value.to_string())).collect()
}

/// A few writes of every kind, and what the store holds after each frame.
fn write_some(client: &Client) -> Result<Vec<Contents>> {
    let mut states = vec![contents(client)];
    let mut done = |result: Result<()>| {
        states.push(contents(client));
        result
    };
    done(client.put("a", "1").wait())?;
    done(client.put("b", "a longer value, so that it is not all heads").wait())?;
    done(client.remove("a").wait())?;
    let mut batch = client.batch();
    batch.put("c", "3").put("d", "4").remove("b");
    done(batch.commit().wait())?;
    done(client.put("c", "33").wait())?;
    Ok(states)
}

/// A file, the contents after each of its frames, and where each frame ends.
pub(super) fn sample() -> (Vec<u8>, Vec<Contents>, Vec<usize>) {
    let disk = MemoryDisk::default();
    let client = open(&disk).unwrap();
    let mut states = write_some(&client).unwrap();
    client.close().wait().unwrap();
    states.push(states[states.len() - 1].clone()); // the seal
    let bytes = disk.bytes(PATH);
    let (_, identity) = Header::decode(&bytes).unwrap();
    let mut ends = vec![HEADER_BYTES];
    while let Found::Frame(frame) = {
        let at = ends[ends.len() - 1];
        parse(&bytes[at..], identity, at as u64)
    } {
        ends.push(ends[ends.len() - 1] + frame.file_bytes);
    }
    assert_eq!((ends.len(), ends[ends.len() - 1]), (states.len(), bytes.len()));
    (bytes, states, ends)
}

fn with_file(bytes: &[u8]) -> MemoryDisk {
    let disk = MemoryDisk::default();
    disk.set_bytes(PATH, bytes);
    disk
}

#[test]
fn a_file_cut_anywhere_has_the_frames_before_the_cut() {
    let (bytes, states, ends) = sample();
    for length in HEADER_BYTES..bytes.len() {
        let disk = with_file(&bytes[..length]);
        let client = open(&disk).unwrap();
        let whole = ends.iter().rposition(|end| *end <= length).unwrap();
        assert_eq!(contents(&client), states[whole], "{length}");
        let recovery = client.recovery();
        assert_eq!((recovery.end, recovery.frames), (ends[whole] as u64, whole as u64));
        let torn = bytes[ends[whole]..length].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        assert_eq!(recovery.cut_off, torn as u64, "{length}");

        client.put("after", "the cut").wait().unwrap();
        let expected = contents(&client);
        client.close().wait().unwrap();
        let client = open(&disk).unwrap();
        assert_eq!(contents(&client), expected, "{length}");
        assert_eq!(client.recovery().cut_off, 0);
        client.close().wait().unwrap();
    }
}

#[test]
fn a_damaged_byte_is_corruption_where_a_later_frame_vouches_for_it_and_a_torn_tail_elsewhere() {
    let (bytes, states, ends) = sample();
    let last = ends.len() - 2;
    for at in HEADER_BYTES..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        let frame = ends.iter().rposition(|end| *end <= at).unwrap();
        match open(&with_file(&damaged)) {
            // The seal vouches for all before it, and nothing vouches for the seal.
            Ok(client) => {
                assert_eq!(frame, last, "{at}");
                assert_eq!(contents(&client), states[last]);
                assert!(client.recovery().cut_off > 0);
            }
            Err(error) => {
                assert!(frame < last, "{at}: {error}");
                assert_eq!(*error.kind(), ErrorKind::Corrupted { offset: ends[frame] as u64 }, "{at}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_happens_to_a_file_it_never_has_what_was_not_written(
        edits in proptest::collection::vec((any::<Index>(), any::<Index>(), 0..4_u8, any::<u8>()), 1..5),
    ) {
        let (mut bytes, states, _) = sample();
        for (at, from, edit, with) in edits {
            let (at, from) = (at.index(bytes.len()), from.index(bytes.len()));
            let (low, high) = (at.min(from), at.max(from));
            match edit {
                0 => bytes[at] = with,
                1 => bytes[low..high].fill(with & 1),
                2 => bytes.truncate(at.max(1)),
                // A part of the file once more, elsewhere.
                _ => bytes.extend_from_within(low & !7..high),
            }
        }
        match open(&with_file(&bytes)) {
            Ok(client) => prop_assert!(states.contains(&contents(&client))),
            Err(error) => prop_assert!(
                matches!(error.kind(), ErrorKind::Corrupted { .. } | ErrorKind::Incompatible),
                "{error}"
            ),
        }
        match repair(options(&with_file(&bytes))).wait() {
            Ok(repaired) => prop_assert!(repaired.frames <= states.len() as u64),
            Err(error) => prop_assert!(
                matches!(error.kind(), ErrorKind::Corrupted { .. } | ErrorKind::Incompatible),
                "{error}"
            ),
        }
    }
}

#[test]
fn a_lost_sector_is_corruption_too() {
    let (bytes, _, ends) = sample();
    let mut damaged = bytes.clone();
    damaged[ends[1]..ends[2]].fill(0);
    let error = open(&with_file(&damaged)).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Corrupted { offset: ends[1] as u64 });
}

#[test]
fn frames_of_an_unsynced_group_are_a_torn_tail_in_any_order() {
    // As a crash leaves it: frames that nobody has synced since the file was opened, without a seal.
    let disk = MemoryDisk::default();
    let mut buffered = options(&disk);
    buffered.auto_flush = false;
    buffered.flush_interval = std::time::Duration::from_secs(3_600);
    let client = Client::open(buffered).wait().unwrap();
    for n in 0..4_000 {
        client.put(format!("k{n}"), [b'v'; 100].as_slice()).wait().unwrap();
    }
    let mut bytes = disk.bytes(PATH);
    assert!(bytes.len() > 300_000, "{}", bytes.len());
    let hole = 100_000..104_096;
    bytes[hole.clone()].fill(0);
    let client = open(&with_file(&bytes)).unwrap();
    let recovery = client.recovery();
    assert!(recovery.end <= 100_000 && recovery.end > 99_000, "{recovery:?}");
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    assert_eq!(recovery.cut_off, last - recovery.end);
    assert_eq!(client.size() as u64, recovery.frames);
}

#[test]
fn zeros_after_the_end_are_no_damage() {
    let (mut bytes, states, _) = sample();
    bytes.resize(bytes.len() + 10_000, 0);
    let client = open(&with_file(&bytes)).unwrap();
    assert_eq!(contents(&client), states[states.len() - 1]);
    assert_eq!(client.recovery().cut_off, 0);
}

#[test]
fn a_frame_of_another_file_is_never_taken_for_one_of_this() {
    let (other, ..) = sample();
    let disk = MemoryDisk::default();
    let client = open(&disk).unwrap();
    client.put("x", other.clone()).wait().unwrap();
    client.put("y", other[HEADER_BYTES..].to_vec()).wait().unwrap();
    client.close().wait().unwrap();
    // The last value is damaged and the file is cut within the seal: what follows only looks like frames.
    let mut bytes = disk.bytes(PATH);
    let length = bytes.len() - FRAME_HEAD_BYTES;
    bytes.truncate(length);
    let within_y = bytes.len() - (other.len() - HEADER_BYTES) + 10;
    bytes[within_y] ^= 1;
    let client = open(&with_file(&bytes)).unwrap();
    assert!(client.contains("x").unwrap() && !client.contains("y").unwrap());
    assert!(client.recovery().cut_off > 0);
}

#[test]
fn repair_saves_every_sound_frame() {
    let (bytes, _, ends) = sample();
    for frame in 0..ends.len() - 2 {
        let mut damaged = bytes.clone();
        damaged[ends[frame] + 30] ^= 1;
        let disk = with_file(&damaged);
        let repaired = repair(options(&disk)).wait().unwrap();
        let [damage] = &repaired.damaged[..] else { panic!("{repaired:?}") };
        assert_eq!((damage.start, damage.end), (ends[frame] as u64, ends[frame + 1] as u64));
        assert_eq!(repaired.frames as usize, ends.len() - 2);
        let aside = repaired.set_aside.unwrap().display().to_string();
        assert_eq!(disk.bytes(&aside), damaged);
        let client = open(&disk).unwrap();
        assert_eq!(client.size() as u64, repaired.keys);
        if frame == 4 {
            assert_eq!(client.get("c").unwrap(), "3", "the value before the damaged one");
        }
        client.close().wait().unwrap();
        let again = repair(options(&disk)).wait().unwrap();
        assert_eq!((again.damaged, again.set_aside), (Vec::new(), None));
    }
    let sound = repair(options(&with_file(&bytes))).wait().unwrap();
    assert_eq!((sound.damaged.len(), sound.set_aside), (0, None));
}

#[test]
fn repair_uses_the_second_header() {
    let (bytes, states, _) = sample();
    for at in [0, 9, 20, 40, 2048, 2100] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let disk = with_file(&damaged);
        let error = open(&disk).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupted { .. }), "{at} {error}");
        let Repaired { damaged, .. } = repair(options(&disk)).wait().unwrap();
        let [damage] = &damaged[..] else { panic!("{damaged:?}") };
        assert_eq!((damage.start, damage.end), (0, HEADER_BYTES as u64));
        assert_eq!(contents(&open(&disk).unwrap()), states[states.len() - 1]);
    }
}

/// One write after the other, then a compaction and another write; stops at the first that fails.
fn workload(disk: &MemoryDisk, auto_flush: bool, acknowledged: &mut Contents) -> Result<()> {
    let mut options = options(disk);
    options.auto_flush = auto_flush;
    options.flush_interval = std::time::Duration::from_secs(3_600);
    let client = Client::open(options).wait()?;
    let mut put = |key: &str, value: &str| -> Result<()> {
        let result = client.put(key, value).wait();
        if result.is_ok() && auto_flush {
            acknowledged.insert(key.to_owned(), value.to_owned());
        }
        let before = client.status().map(|status| status.poisoned.is_some());
        if let Err(error) = &result {
            let must_be_poisoned = matches!(error.kind(), ErrorKind::CommitUnknown | ErrorKind::Poisoned);
            assert_eq!(before.unwrap(), must_be_poisoned, "{error}");
            assert!(client.find(key).unwrap().is_none_or(|found| found != value), "shown, and refused");
        }
        result
    };
    put("a", "1")?;
    put("b", "2")?;
    client.compact().wait()?;
    put("a", "3")?;
    client.close().wait()?;
    if !auto_flush {
        acknowledged.extend([("a".into(), "3".into()), ("b".into(), "2".into())]);
    }
    Ok(())
}

#[test]
fn every_call_may_fail_and_nothing_acknowledged_is_lost() {
    for auto_flush in [true, false] {
        for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
            for calls in 0.. {
                let (disk, mut acknowledged) = (MemoryDisk::default(), Contents::new());
                disk.fail_in(calls, kind);
                let result = workload(&disk, auto_flush, &mut acknowledged);
                if !disk.has_failed() {
                    result.unwrap();
                    assert!(calls > 20, "it got to the end without a failure: {calls}");
                    break;
                }
                let after = open(&disk).map_err(|error| format!("{calls} {kind}: {error:?}")).unwrap();
                let found = contents(&after);
                for (key, value) in &acknowledged {
                    let newer = key == "a" && found.get(key).is_some_and(|value| value == "3");
                    assert!(
                        newer || found.get(key) == Some(value),
                        "{calls} {kind}: {found:?} {acknowledged:?}"
                    );
                }
                after.put("after", "it").wait().unwrap();
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_and_then_writes_again() {
    let disk = MemoryDisk::default();
    let client = open(&disk).unwrap();
    disk.fail_in(0, io::ErrorKind::StorageFull);
    let error: Error = client.put("a", "1").wait().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Full);
    client.put("a", "2").wait().unwrap();
    assert_eq!(client.sync_state().unwrap().last_submitted_version, 1, "the refused one took no number");
    client.close().wait().unwrap();
    let client = open(&disk).unwrap();
    assert_eq!((client.recovery().records, client.get("a").unwrap().to_string()), (1, "2".into()));
}

#[test]
fn a_client_stays_open_while_there_is_no_room_for_what_is_buffered() {
    let disk = MemoryDisk::default();
    let mut options = ClientOptions::fast("node-a", "n.wal");
    (options.disk, options.flush_interval) = (Arc::new(disk.clone()), std::time::Duration::from_secs(3_600));
    let client = Client::open(options.clone()).wait().unwrap();
    client.put("a", "1").wait().unwrap();
    disk.fail_in(0, io::ErrorKind::StorageFull);
    assert_eq!(*client.close().wait().unwrap_err().kind(), ErrorKind::Full);
    client.put("b", "2").wait().unwrap();
    client.close().wait().unwrap();
    assert_eq!(Client::open(options).wait().unwrap().size(), 2);
}

#[test]
fn a_file_without_a_seal_is_closed_well() {
    let disk = MemoryDisk::default();
    let client = open(&disk).unwrap();
    client.put("a", "1").wait().unwrap();
    disk.fail_in(0, io::ErrorKind::Other);
    client.close().wait().unwrap();
    assert!(disk.has_failed());
    assert_eq!(open(&disk).unwrap().get("a").unwrap(), "1");
}

#[test]
fn a_failed_sync_poisons_and_is_never_tried_again() {
    let disk = MemoryDisk::default();
    let client = open(&disk).unwrap();
    client.put("a", "1").wait().unwrap();
    disk.fail_in(1, io::ErrorKind::Other);
    let error = client.put("a", "2").wait().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::CommitUnknown);
    let syncs = disk.syncs();
    assert_eq!(client.get("a").unwrap(), "1", "reads go on");
    assert_eq!(*client.put("a", "3").wait().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(*client.compact().wait().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(*client.close().wait().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(disk.syncs(), syncs);
    assert_eq!(open(&disk).unwrap().size(), 1);
}

#[test]
fn compaction_beside_writers_loses_nothing() {
    let disk = MemoryDisk::default();
    let client = open(&disk).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let client = &client;
            scope.spawn(move || {
                for n in 0..500 {
                    let key = format!("w{writer}/{}", n % 20);
                    client.put(key.clone(), format!("{n}")).wait().unwrap();
                    assert_eq!(client.get(key).unwrap(), *format!("{n}"), "its own write");
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..50 {
                client.compact().wait().unwrap();
            }
        });
    });
    let (state, expected) = (client.sync_state().unwrap(), contents(&client));
    assert_eq!((expected.len(), state.last_submitted_version), (80, 2_000));
    assert_eq!(client.status().unwrap().generation, 51);
    client.close().wait().unwrap();
    let client = open(&disk).unwrap();
    assert_eq!(contents(&client), expected);
    assert_eq!(client.sync_state().unwrap(), state);
}

#[test]
fn what_no_frame_vouches_for_is_written_again() {
    let (bytes, _, ends) = sample();
    let last = ends.len() - 2;
    let disk = with_file(&bytes[..ends[last]]);
    open(&disk).unwrap();
    // The last frame says that the one before it was durable, and nobody says it of the last.
    let again = (ends[last - 1] as u64, ends[last] - ends[last - 1]);
    assert_eq!(disk.writes().first(), Some(&again));
    assert_eq!(disk.bytes(PATH)[..ends[last]], bytes[..ends[last]]);
}

#[test]
fn what_a_crash_left_beside_the_file_counts_for_nothing() {
    let (bytes, states, _) = sample();
    let disk = with_file(&bytes);
    disk.set_bytes("n.wal.new", b"half a file");
    let client = open(&disk).unwrap();
    assert_eq!(contents(&client), states[states.len() - 1]);
    assert_eq!(disk.names(), ["n.wal"]);
}
