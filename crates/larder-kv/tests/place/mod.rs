//! A folder with the file of a client.

use std::{fs, path::PathBuf};

use larder_kv::{
    Client, ClientOptions, Error,
    wal::{
        frame::{Found, parse},
        header::{HEADER_BYTES, Header},
    },
};
use tempfile::TempDir;

/// A folder with a file that is not there yet.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("data/node-a.wal")
    }

    pub(crate) fn options(&self) -> ClientOptions {
        ClientOptions::persistent("node-a", self.path())
    }

    pub(crate) fn open(&self) -> Client {
        Client::open(self.options()).wait().unwrap()
    }

    pub(crate) fn refused(&self) -> Error {
        Client::open(self.options()).wait().unwrap_err()
    }

    /// A closed file with these values under `k0`, `k1`, …, a frame each; answers where each frame starts.
    pub(crate) fn with_frames(&self, values: &[&str]) -> Vec<usize> {
        let client = self.open();
        for (n, value) in values.iter().enumerate() {
            client.put(format!("k{n}"), *value).wait().unwrap();
        }
        client.close().wait().unwrap();
        let (bytes, mut offsets) = (fs::read(self.path()).unwrap(), Vec::new());
        let (_, identity) = Header::decode(&bytes).unwrap();
        let mut at = HEADER_BYTES;
        while let Found::Frame(frame) = parse(&bytes[at..], identity, at as u64) {
            offsets.push(at);
            at += frame.file_bytes;
        }
        offsets
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path()).unwrap();
        change(&mut bytes);
        fs::write(self.path(), bytes).unwrap();
    }
}
