//! The container: its golden files, and everything that must not pass for a state.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    Codec, EncryptionKey, Keyring, Place,
    container::{open, seal, seal_with},
};
use crate::{
    backend::{SnapshotData, StoredSnapshot},
    error::ErrorKind,
    event::Payload,
    snapshot::Subject,
};

const NONCE: [u8; 24] = *b"only once with each key!";
const LIMIT: usize = 1 << 20;

/// A golden file: `docs/formats/snapshot.md` describes what it holds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Golden {
    log: String,
    kind: String,
    subject: String,
    at: u64,
    schema: Option<String>,
    recorded_at: u64,
    /// JSON text, or bytes in hexadecimal digits.
    state: String,
    is_json: bool,
    /// The line of a keyring.
    key: Option<String>,
    /// In hexadecimal digits.
    container: String,
    checksum: u32,
}

impl Golden {
    fn subject(&self) -> Subject {
        Subject::of_kind(&self.kind, self.subject.clone()).unwrap()
    }

    fn state(&self) -> Payload {
        if self.is_json { Payload::Json(self.state.clone()) } else { Payload::Bytes(unhex(&self.state)) }
    }

    fn codec(&self) -> Codec {
        match &self.key {
            Some(line) => Codec::default().encrypted(line.parse().unwrap()),
            None => Codec::default(),
        }
    }

    fn with_place<T>(&self, run: impl FnOnce(&Place<'_>) -> T) -> T {
        let subject = self.subject();
        run(&Place { log: &self.log, subject: &subject, at: self.at, schema: self.schema.as_deref() })
    }

    fn checksum(&self) -> u32 {
        let recorded_at =
            std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(self.recorded_at);
        let data = SnapshotData {
            log: self.log.as_str().into(),
            subject: self.subject(),
            at: self.at,
            schema: self.schema.clone(),
            container: unhex(&self.container),
        };
        StoredSnapshot { data, recorded_at }.checksum()
    }

    fn path(name: &str) -> PathBuf {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/snapshot");
        folder.join(format!("{name}.json"))
    }

    fn read(name: &str) -> Self {
        serde_json::from_str(&fs::read_to_string(Self::path(name)).unwrap()).unwrap()
    }
}

/// Version 1, one of each kind.
fn version_1() -> [(&'static str, Golden); 5] {
    let base = |kind: &str, subject: &str, at, schema: Option<&str>| Golden {
        log: "orders".into(),
        kind: kind.into(),
        subject: subject.into(),
        at,
        schema: schema.map(str::to_owned),
        recorded_at: 1_767_225_600_123_456,
        state: r#"{"status":"paid","total_cents":4200}"#.into(),
        is_json: true,
        key: None,
        container: String::new(),
        checksum: 0,
    };
    let long = format!("[{}1]", "1,".repeat(600));
    let key = Some(format!("2026-03 {}", "0123456789abcdef".repeat(4)));
    [
        ("v1-json", base("stream", "order-1", 42, Some("order.v2"))),
        (
            "v1-bytes",
            Golden { state: "00ff80".into(), is_json: false, ..base("query", "course:c1", 97, None) },
        ),
        ("v1-zstd", Golden { state: long.clone(), ..base("stream", "order-2", 1, None) }),
        ("v1-encrypted", Golden { key: key.clone(), ..base("stream", "order-1", 43, Some("order.v2")) }),
        ("v1-zstd-encrypted", Golden { key, state: long, ..base("query", "bestellung-ü", 7, None) }),
    ]
}

fn unhex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[ignore = "writes the golden files of a new version"]
fn write_golden_files() {
    for (name, mut golden) in version_1() {
        let state = golden.state();
        let sealed = golden.with_place(|place| {
            seal_with(&golden.codec(), place, golden.is_json, state.as_bytes(), NONCE).unwrap()
        });
        golden.container = hex(&sealed);
        golden.checksum = golden.checksum();
        fs::write(Golden::path(name), serde_json::to_string_pretty(&golden).unwrap() + "\n").unwrap();
    }
}

#[test]
fn golden_files_of_every_version_are_read() {
    for (name, expected) in version_1() {
        let golden = Golden::read(name);
        let container = unhex(&golden.container);
        let state = golden.with_place(|place| open(&golden.codec(), place, &container, LIMIT)).unwrap();
        assert_eq!(state, golden.state(), "{name}");
        assert_eq!(golden.checksum(), golden.checksum, "{name}");
        let Golden { container, checksum, .. } = Golden::read(name);
        assert_eq!(golden, Golden { container, checksum, ..expected }, "{name}: it is what it was made of");
    }
}

#[test]
fn golden_files_of_this_version_are_what_is_written() {
    // What zstd writes may change with its version.
    for (name, _) in version_1().iter().filter(|(name, _)| !name.contains("zstd")) {
        let golden = Golden::read(name);
        let state = golden.state();
        let sealed = golden
            .with_place(|place| seal_with(&golden.codec(), place, golden.is_json, state.as_bytes(), NONCE));
        assert_eq!(hex(&sealed.unwrap()), golden.container, "{name}");
    }
}

fn key(id: &str, byte: u8) -> EncryptionKey {
    EncryptionKey::new(id, [byte; 32]).unwrap()
}

fn encrypted(key: EncryptionKey) -> Codec {
    Codec::default().encrypted(Keyring::new(key))
}

fn with_place<T>(at: u64, run: impl FnOnce(&Place<'_>) -> T) -> T {
    run(&Place { log: "orders", subject: &Subject::stream("order-1"), at, schema: None })
}

fn kind_of(codec: &Codec, container: &[u8]) -> ErrorKind {
    with_place(1, |place| open(codec, place, container, LIMIT)).unwrap_err().kind().clone()
}

#[test]
fn no_two_containers_have_a_nonce_in_common() {
    let codec = encrypted(key("k", 1));
    let seal = || with_place(1, |place| seal(&codec, place, true, b"1")).unwrap();
    assert_ne!(seal(), seal());
}

#[test]
fn a_flipped_bit_never_passes() {
    let codec = encrypted(key("k", 1));
    let container = with_place(1, |place| seal(&codec, place, true, b"\"a secret\"")).unwrap();
    for bit in 0..container.len() * 8 {
        let mut flipped = container.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let kind = kind_of(&codec, &flipped);
        // A flipped key id or key check means another key; a flipped length may be over the limit.
        let reported = matches!(
            kind,
            ErrorKind::Corrupted
                | ErrorKind::Incompatible
                | ErrorKind::WrongKey { .. }
                | ErrorKind::TooLarge { .. }
        );
        assert!(reported, "bit {bit}: {kind:?}");
    }
}

#[test]
fn a_container_cut_short_never_passes() {
    for codec in [Codec::none(), Codec::default(), encrypted(key("k", 1))] {
        let state = b"[".repeat(2_000);
        let container = with_place(1, |place| seal(&codec, place, false, &state)).unwrap();
        for length in 0..container.len() {
            assert_eq!(kind_of(&codec, &container[..length]), ErrorKind::Corrupted, "{length} bytes");
        }
    }
}

#[test]
fn another_place_does_not_decrypt() {
    let codec = encrypted(key("k", 1));
    let container = with_place(2, |place| seal(&codec, place, true, b"1")).unwrap();
    assert_eq!(kind_of(&codec, &container), ErrorKind::Corrupted);
    assert!(with_place(2, |place| open(&codec, place, &container, LIMIT)).is_ok());
    let schema = Some("v2");
    let moved = Place { log: "orders", subject: &Subject::stream("order-1"), at: 2, schema };
    assert_eq!(open(&codec, &moved, &container, LIMIT).unwrap_err().kind(), &ErrorKind::Corrupted);
}

#[test]
fn a_wrong_key_is_not_corruption() {
    let container = with_place(1, |place| seal(&encrypted(key("k", 1)), place, true, b"1")).unwrap();
    let wrong = ErrorKind::WrongKey { key: "k".into() };
    assert_eq!(kind_of(&Codec::default(), &container), wrong);
    assert_eq!(kind_of(&encrypted(key("other", 1)), &container), wrong);
    assert_eq!(kind_of(&encrypted(key("k", 2)), &container), wrong);
    // Two keys of one id: the check tells them apart.
    let both = Codec::none().encrypted(Keyring::new(key("k", 2)).retired(key("k", 1)));
    assert!(with_place(1, |place| open(&both, place, &container, LIMIT)).is_ok());
}

#[test]
fn decompression_is_capped() {
    let state = vec![b' '; 100_000];
    let container = with_place(1, |place| seal(&Codec::default(), place, false, &state)).unwrap();
    assert!(container.len() < 1_000, "it is compressed: {}", container.len());
    let open_with =
        |container: &[u8], limit| with_place(1, |place| open(&Codec::none(), place, container, limit));
    assert_eq!(open_with(&container, 100_000).unwrap(), Payload::Bytes(state));
    let error = open_with(&container, 99_999).unwrap_err();
    assert_eq!(
        error.kind(),
        &ErrorKind::TooLarge { field: "snapshot state", limit: 99_999, actual: 100_000 }
    );
    // A header that tells less than the frame holds: no more memory is taken than it tells.
    let mut lying = container;
    lying[8..16].copy_from_slice(&10_u64.to_le_bytes());
    assert_eq!(open_with(&lying, LIMIT).unwrap_err().kind(), &ErrorKind::Corrupted);
}

#[test]
fn short_or_dense_states_stay_as_they_are() {
    let length =
        |state: &[u8]| with_place(1, |place| seal(&Codec::default(), place, false, state)).unwrap().len();
    assert_eq!(length(&[b' '; 1_024]), 16 + 1_024);
    assert!(length(&[b' '; 1_025]) < 100);
    let dense: Vec<u8> = (0..200_u32)
        .flat_map(|n| <[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(n.to_le_bytes())))
        .collect();
    assert_eq!(length(&dense), 16 + dense.len());
}

#[test]
fn keys_are_never_shown() {
    let digits = "0123456789abcdef".repeat(4);
    let keyring: Keyring = format!("# comment\n\n new {digits}\nold {digits}\r\n").parse().unwrap();
    let shown = format!("{keyring:?} {:?} {:?}", keyring.active(), Codec::none().encrypted(keyring.clone()));
    assert!(!shown.contains("0123") && shown.contains("new") && shown.contains("old"), "{shown}");
    for wrong in [
        format!("id {}", &digits[1..]),
        format!("{digits} id"),
        format!("id {}x", &digits[1..]),
        digits,
        String::new(),
    ] {
        let error = format!("k {}\n{wrong}", "00".repeat(32)).parse::<Keyring>().err();
        let error = error.or_else(|| wrong.parse::<Keyring>().err()).unwrap();
        let shown = format!("{error:?} {error:#?}");
        assert!(!shown.contains("0123") && !shown.contains("abcdef"), "{shown}");
    }
}
