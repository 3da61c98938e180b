//! Files of every version of the format. What was written once is read for good.

use std::{fs, path::PathBuf, sync::Arc};

use crate::{
    Client, ClientOptions, ErrorKind, Hlc,
    io::{Disk, OpenFile, memory::MemoryDisk},
    repair,
    wal::{
        frame::{Found, parse},
        header::{HEADER_BYTES, Header},
        record::{Record, RecordKind, decode},
        tests::sample,
        writer::NewFile,
    },
};

/// The file of that name, which has to be what this build writes. To be written anew only while a version is not
/// released: with `LARDER_WRITE_GOLDEN` set.
fn golden(name: &str, written: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("LARDER_WRITE_GOLDEN").is_some() {
        fs::write(&path, written).unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    assert!(bytes == written, "{name} is no longer what is written");
    bytes
}

fn open(bytes: &[u8]) -> Client {
    let disk = MemoryDisk::default();
    disk.set_bytes("n.wal", bytes);
    let mut options = ClientOptions::persistent("node-a", "n.wal");
    options.disk = Arc::new(disk);
    Client::open(options).wait().unwrap()
}

#[test]
fn version_1_as_a_client_writes_it() {
    let (written, states, _) = sample();
    let client = open(&golden("v1.wal", &written));
    let found: Vec<_> = client.scan("").unwrap().map(|entry| entry.key.to_string()).collect();
    assert_eq!(found, states[states.len() - 1].keys().cloned().collect::<Vec<_>>());
    assert_eq!(client.get("c").unwrap(), "33");
    let state = client.sync_state().unwrap();
    assert_eq!((state.last_submitted_version, state.outbox_size), (7, 4));
    assert_eq!((client.recovery().frames, client.recovery().records), (6, 7));
}

#[test]
fn version_1_with_every_kind_of_record() {
    let header = Header { node_id: "node-a".into(), epoch: 1_000_000, generation: 2 };
    let disk = MemoryDisk::default();
    let file = disk.open("x".as_ref(), OpenFile::Empty).unwrap();
    let mut new = NewFile::begin(file, &header).unwrap();
    let mut push = |records: &[(RecordKind, u32, u64, u64, &str, &str)]| {
        let mut bytes = Vec::new();
        for (kind, author, millis, seq, key, value) in records {
            let (hlc, key, value) = (Hlc::new(*millis, 7), key.as_bytes(), value.as_bytes());
            Record { kind: *kind, author: *author, hlc, seq: *seq, key, value }.encode(&mut bytes);
        }
        new.push(&bytes).unwrap();
    };
    push(&[
        (RecordKind::Author, 1, 0, 2_000_000, "node-b", ""),
        (RecordKind::Seen, 0, 5_000, 9, "", ""),
        (RecordKind::Seen, 1, 4_000, 4, "", ""),
        (RecordKind::Delivered, 0, 0, 8, "node-b", ""),
    ]);
    push(&[(RecordKind::Put, 0, 4_500, 8, "own", "1"), (RecordKind::Put, 1, 3_000, 3, "theirs", "")]);
    push(&[(RecordKind::Remove, 1, 4_000, 4, "gone", ""), (RecordKind::Put, 0, 3_999, 7, "gone", "earlier")]);
    new.seal().unwrap();

    let client = open(&golden("v1-every-kind.wal", &disk.bytes("x")));
    assert_eq!((client.size(), client.get("own").unwrap().to_string()), (2, "1".into()));
    assert_eq!(client.get("theirs").unwrap(), "");
    assert!(client.find("gone").unwrap().is_none());
    assert_eq!(client.sync_state().unwrap().last_submitted_version, 9);
    assert_eq!(client.status().unwrap().tombstones, 1);
}

#[test]
fn a_compaction_keeps_what_is_known_of_authors_and_peers() {
    let disk = MemoryDisk::default();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1-every-kind.wal");
    disk.set_bytes("n.wal", &fs::read(path).unwrap());
    let known = |disk: &MemoryDisk| {
        let bytes = disk.bytes("n.wal");
        let (_, identity) = Header::decode(&bytes).unwrap();
        let Found::Frame(first) = parse(&bytes[HEADER_BYTES..], identity, HEADER_BYTES as u64) else {
            panic!()
        };
        let records = decode(first.records, HEADER_BYTES as u64).map(Result::unwrap);
        let known = records.map(|Record { kind, author, seq, key, .. }| (kind, author, seq, key.to_vec()));
        known.collect::<Vec<_>>()
    };
    let before = known(&disk);
    assert!(before.contains(&(RecordKind::Author, 1, 2_000_000, b"node-b".to_vec())));
    let mut options = ClientOptions::persistent("node-a", "n.wal");
    options.disk = Arc::new(disk.clone());
    let client = Client::open(options).wait().unwrap();
    client.compact().wait().unwrap();
    client.close().wait().unwrap();
    assert_eq!(known(&disk), before);
}

#[test]
fn records_of_a_newer_version_are_no_damage() {
    let disk = MemoryDisk::default();
    let header = Header { node_id: "node-a".into(), epoch: 1, generation: 1 };
    let file = disk.open("n.wal".as_ref(), OpenFile::Empty).unwrap();
    let mut new = NewFile::begin(file, &header).unwrap();
    let (kind, hlc) = (RecordKind::Put, Hlc::new(1, 0));
    let mut bytes = Vec::new();
    Record { kind, author: 0, hlc, seq: 1, key: b"newer", value: b"" }.encode(&mut bytes);
    bytes[0] = 99;
    Record { kind, author: 0, hlc, seq: 2, key: b"known", value: b"" }.encode(&mut bytes);
    new.push(&bytes).unwrap();
    new.seal().unwrap();
    // Damaged besides, so that there is something to repair.
    let mut damaged = disk.bytes("n.wal");
    damaged[3_000] ^= 1;
    disk.set_bytes("n.wal", &damaged);
    let mut options = ClientOptions::persistent("node-a", "n.wal");
    options.disk = Arc::new(disk.clone());
    let error = repair(options).wait().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Incompatible, "{error:?}");
    assert_eq!(disk.bytes("n.wal"), damaged, "it is left as it is");
}
