//! LMDB by heed: a transaction for each put or batch; `NO_SYNC` where puts are buffered.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, types::Bytes};

use super::{Durability, Kv, Pair};

/// More than any comparison writes; the file grows as needed.
const MAP_BYTES: usize = 16 << 30;
/// Threads that read at the same time, with some to spare.
const READERS: u32 = 256;

struct Lmdb {
    env: Env,
    database: Database<Bytes, Bytes>,
}

#[expect(unsafe_code, reason = "heed cannot know that nobody else maps the file or that losing it is fine")]
pub fn open(dir: &Path, durability: Durability) -> Result<Arc<dyn Kv>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES).max_readers(READERS);
    if durability == Durability::Buffered {
        // SAFETY: after a crash of the machine the file may be damaged; nobody opens it then.
        unsafe { options.flags(EnvFlags::NO_SYNC) };
    }
    // SAFETY: the directory is this round's own, so no other environment has the file open.
    let env = unsafe { options.open(dir)? };
    let mut transaction = env.write_txn()?;
    let database = env.create_database(&mut transaction, None)?;
    transaction.commit()?;
    Ok(Arc::new(Lmdb { env, database }))
}

impl Kv for Lmdb {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        self.put_all(vec![(key, value)])
    }

    fn put_all(&self, pairs: Vec<Pair>) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for (key, value) in pairs {
            self.database.put(&mut transaction, &key, &value)?;
        }
        Ok(transaction.commit()?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<usize>> {
        let transaction = self.env.read_txn()?;
        Ok(self.database.get(&transaction, key)?.map(<[u8]>::len))
    }
}
