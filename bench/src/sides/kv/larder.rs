//! Larder's key-value client.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use larder_kv::{Client, ClientOptions};

use super::{Durability, Kv, Pair};

/// A client with a file.
#[derive(Debug, Clone)]
pub struct Larder(pub Client);

/// The file of a client in this directory.
pub fn file(dir: &Path) -> PathBuf {
    dir.join("larder.wal")
}

pub fn open(dir: &Path, durability: Durability) -> Result<Arc<dyn Kv>> {
    Ok(Arc::new(Larder::open(dir, durability)?))
}

impl Larder {
    pub fn open(dir: &Path, durability: Durability) -> Result<Self> {
        let options = match durability {
            Durability::Synced => ClientOptions::persistent("bench", file(dir)),
            Durability::Buffered => ClientOptions::fast("bench", file(dir)),
        };
        Ok(Self(Client::open(options).wait()?))
    }

    pub fn close(&self) -> Result<()> {
        Ok(self.0.close().wait()?)
    }
}

impl Kv for Larder {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        Ok(self.0.put(key, value).wait()?)
    }

    fn put_all(&self, pairs: Vec<Pair>) -> Result<()> {
        let mut batch = self.0.batch();
        for (key, value) in pairs {
            batch.put(key, value);
        }
        Ok(batch.commit().wait()?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        Ok(self.0.find(key)?.map(|value| value.len()))
    }
}
