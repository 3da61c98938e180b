//! Random operations against a `BTreeMap`, with reopening and compaction in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use larder_kv::{Client, ClientOptions, ErrorKind};
use proptest::{collection::vec, prelude::*};

type Bytes = Vec<u8>;

#[derive(Debug, Clone)]
enum Operation {
    Put(Bytes, Bytes),
    Remove(Bytes),
    /// None removes.
    Batch(Vec<(Bytes, Option<Bytes>)>),
    Scan(Bytes),
    Compact,
    Flush,
    /// Closed, or just dropped.
    Reopen {
        is_closed: bool,
        is_buffered: bool,
    },
    ExportAndImport,
}

/// Few keys that start alike, so that prefixes, overwriting and removal have something to do.
fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => "[ab]{1,4}".prop_map(String::into_bytes),
        1 => vec(prop_oneof![Just(0_u8), Just(0xff), any::<u8>()], 1..5),
        1 => (1_usize..2_000).prop_map(|length| vec![b'k'; length]),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => vec(any::<u8>(), 0..40), 1 => (0_usize..30_000, any::<u8>()).prop_map(|(n, b)| vec![b; n])]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        12 => (key(), value()).prop_map(|(key, value)| Operation::Put(key, value)),
        5 => key().prop_map(Operation::Remove),
        3 => vec((key(), proptest::option::of(value())), 0..8).prop_map(Operation::Batch),
        3 => prop_oneof![Just(Bytes::new()), key()].prop_map(Operation::Scan),
        1 => Just(Operation::Compact),
        1 => Just(Operation::Flush),
        2 => any::<(bool, bool)>()
            .prop_map(|(is_closed, is_buffered)| Operation::Reopen { is_closed, is_buffered }),
        1 => Just(Operation::ExportAndImport),
    ]
}

/// What the client should hold.
#[derive(Debug, Default)]
struct Model {
    entries: BTreeMap<Bytes, Bytes>,
    /// Every key that was ever written: without a peer, it waits in the outbox.
    written: BTreeSet<Bytes>,
    writes: u64,
}

impl Model {
    fn write(&mut self, key: &Bytes, value: Option<&Bytes>) {
        match value {
            Some(value) => self.entries.insert(key.clone(), value.clone()),
            None => self.entries.remove(key),
        };
        self.written.insert(key.clone());
        self.writes += 1;
    }

    fn scan(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        let entries = self.entries.iter().filter(|(key, _)| key.starts_with(prefix));
        entries.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

fn scan(client: &Client, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
    let entries = client.scan(prefix).expect("the client is open");
    entries.map(|entry| (entry.key.into_bytes(), entry.value.into_bytes())).collect()
}

fn open(path: &Path, is_buffered: bool) -> Client {
    let mut options = ClientOptions::persistent("node-a", path);
    options.auto_flush = !is_buffered;
    options.compact_min_bytes = 32 << 10;
    Client::open(options).wait().expect("the client opens")
}

fn compare(client: &Client, model: &Model, touched: &[&Bytes]) {
    for key in touched {
        let expected = model.entries.get(*key);
        let found = client.find(key).expect("the client is open");
        assert_eq!(found.as_deref(), expected.map(Vec::as_slice));
        assert_eq!(client.contains(key).expect("the client is open"), expected.is_some());
        let got = client.get(key).map_err(|error| error.kind().clone());
        assert_eq!(got.is_err_and(|kind| kind == ErrorKind::NotFound), expected.is_none());
    }
    assert_eq!((client.size(), client.empty()), (model.entries.len(), model.entries.is_empty()));
    let state = client.sync_state().expect("the client is open");
    assert_eq!((state.outbox_size, state.last_submitted_version), (model.written.len() as u64, model.writes));
}

fn run(operations: &[Operation]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.wal");
    let (mut client, mut model) = (open(&path, false), Model::default());
    for operation in operations {
        match operation {
            Operation::Put(key, value) => {
                client.put(key.clone(), value.clone()).wait().expect("a put");
                model.write(key, Some(value));
                compare(&client, &model, &[key]);
            }
            Operation::Remove(key) => {
                client.remove(key.clone()).wait().expect("a removal");
                model.write(key, None);
                compare(&client, &model, &[key]);
            }
            Operation::Batch(writes) => {
                let mut batch = client.batch();
                for (key, value) in writes {
                    match value {
                        Some(value) => batch.put(key.clone(), value.clone()),
                        None => batch.remove(key.clone()),
                    };
                    model.write(key, value.as_ref());
                }
                larder_kv::wait(batch.commit()).expect("a batch");
                compare(&client, &model, &writes.iter().map(|(key, _)| key).collect::<Vec<_>>());
            }
            Operation::Scan(prefix) => assert_eq!(scan(&client, prefix), model.scan(prefix)),
            Operation::Compact => client.compact().wait().expect("a compaction"),
            Operation::Flush => client.flush().wait().expect("a flush"),
            Operation::Reopen { is_closed, is_buffered } => {
                if *is_closed {
                    client.close().wait().expect("it closes");
                }
                drop(client);
                client = open(&path, *is_buffered);
                assert_eq!(client.recovery().cut_off, 0);
                assert_eq!(client.recovery().keys as usize, model.entries.len());
                compare(&client, &model, &[]);
                assert_eq!(scan(&client, b""), model.scan(b""));
            }
            Operation::ExportAndImport => {
                let mut exported = Vec::new();
                client.export("", &mut exported).expect("an export");
                let copy = Client::open(ClientOptions::memory_only("copy")).wait().expect("a copy");
                copy.import(&exported[..]).expect("an import");
                assert_eq!(scan(&copy, b""), model.scan(b""));
            }
        }
    }
    assert_eq!(scan(&client, b""), model.scan(b""));
    client.close().wait().expect("it closes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_client_answers_as_a_map_would(operations in vec(operation(), 0..60)) {
        run(&operations);
    }
}
