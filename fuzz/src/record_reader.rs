//! What has to hold for any bytes that the readers of the key-value store's file are given.

use std::path::Path;

use larder_kv::{
    Client, ClientOptions, ErrorKind,
    wal::{
        frame::{FRAME_ALIGNMENT, FRAME_HEAD_BYTES, Found, parse},
        header::{HEADER_BYTES, Header},
        record::{Record, decode},
    },
};

const OFFSET: u64 = HEADER_BYTES as u64;

/// The first byte says what the others are: records, a frame, a header, the records of a file's only frame, or all that
/// follows the header of a file.
pub(crate) fn check(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 5 {
        0 => records(data),
        1 => frame(data),
        2 => header(data),
        3 => file(&sound_frame(data)),
        _ => file(data),
    }
}

fn own_header() -> Header {
    Header { node_id: "fuzz".into(), epoch: 1, generation: 1 }
}

/// Whatever is accepted is what would have been written.
fn records(bytes: &[u8]) {
    let mut written = Vec::new();
    let mut has_failed = false;
    for record in decode(bytes, OFFSET) {
        assert!(!has_failed, "a record after an error");
        match record {
            Ok(record) => encode(&record, &mut written),
            Err(error) => {
                has_failed = true;
                let is_known =
                    matches!(error.kind(), ErrorKind::Corrupted { offset: OFFSET } | ErrorKind::Incompatible);
                assert!(is_known, "{error}");
            }
        }
    }
    assert!(bytes.starts_with(&written), "a record that is written otherwise");
    assert!(has_failed || written.len() == bytes.len(), "bytes that were passed over");
}

fn encode(record: &Record<'_>, to: &mut Vec<u8>) {
    let before = to.len();
    record.encode(to);
    assert_eq!(to.len() - before, record.encoded_len());
}

/// A frame lies within the bytes, and only where its checksum says that it belongs.
fn frame(bytes: &[u8]) {
    let identity = own_header().identity();
    match parse(bytes, identity, OFFSET) {
        Found::Frame(frame) => {
            assert!(frame.file_bytes <= bytes.len() && frame.file_bytes % FRAME_ALIGNMENT == 0);
            assert!(FRAME_HEAD_BYTES + frame.records.len() <= frame.file_bytes);
            assert!(!matches!(parse(bytes, identity, OFFSET + 8), Found::Frame(_)), "a frame in two places");
            records(frame.records);
        }
        Found::Cut { file_bytes } => assert!(file_bytes > bytes.len()),
        Found::Nothing | Found::Bad(_) => {}
    }
}

fn header(page: &[u8]) {
    if let Ok((header, identity)) = Header::decode(page) {
        assert_eq!(header.identity(), identity);
        assert_eq!(Header::decode(&header.encode()).ok(), Some((header, identity)));
    }
}

/// A frame at the start of the file with these bytes for its records.
pub(crate) fn sound_frame(records: &[u8]) -> Vec<u8> {
    let length = FRAME_HEAD_BYTES + records.len();
    let mut bytes = vec![0; length.next_multiple_of(FRAME_ALIGNMENT)];
    bytes[8] = 1;
    bytes[16..24].copy_from_slice(&OFFSET.to_le_bytes());
    bytes[FRAME_HEAD_BYTES..length].copy_from_slice(records);
    let length = u32::try_from(length).expect("a fuzzer's bytes are few").to_le_bytes();
    bytes[..4].copy_from_slice(&length);
    let page = own_header().encode();
    let identity = u32::from_le_bytes(page[12..16].try_into().expect("four bytes"));
    let place = [&OFFSET.to_le_bytes()[..], &length].concat();
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(identity, &place), &bytes[8..]);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// A file opens or is refused; what opens can be written to, closed, and opened again with the same entries.
fn file(frames: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fuzz.wal");
    std::fs::write(&path, [&own_header().encode(), frames].concat()).expect("a file");
    let Some(client) = open(&path) else { return };
    let entries = |client: &Client| {
        let entries = client.scan("").expect("it is open");
        entries.map(|entry| (entry.key.into_bytes(), entry.value.into_bytes())).collect::<Vec<_>>()
    };
    client.put("fuzz", "it").wait().expect("there is always a later sequence number and time");
    assert!(client.get("fuzz").is_ok_and(|value| value == "it"));
    let (before, size) = (entries(&client), client.size());
    assert_eq!(before.len(), size);
    assert!(before.iter().all(|(key, value)| client.get(key).is_ok_and(|found| *found == **value)));
    client.close().wait().expect("it closes");
    let again = open(&path).expect("what was closed opens again");
    assert_eq!(entries(&again), before);
}

fn open(path: &Path) -> Option<Client> {
    let mut options = ClientOptions::fast("fuzz", path);
    options.auto_compact = false;
    match Client::open(options).wait() {
        Ok(client) => Some(client),
        Err(error) => {
            let is_known = matches!(error.kind(), ErrorKind::Corrupted { .. } | ErrorKind::Incompatible);
            assert!(is_known, "{error}");
            None
        }
    }
}
