//! Encrypting every snapshot anew, after a change of keys.

use super::listing;
use crate::{
    backend::{
        Backend, CommitRequest, Operation, Outcome, Progress, SnapshotData, SnapshotOperation,
        SnapshotOutcome, SnapshotSource, SnapshotsRead, StoredSnapshot, container_digest,
    },
    codec::{Codec, Header, Keyring, Place, open, seal},
    error::{Error, Result},
    operation::Call,
    store::Store,
};

/// How many snapshots, and bytes of them, are rewritten in one batch.
const BATCH_SNAPSHOTS: usize = 64;
const BATCH_BYTES: usize = 4 << 20;
/// How many failures are told in full.
const TOLD: usize = 100;

/// What encrypting anew has done.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Reencrypted {
    /// How many snapshots were looked at.
    pub snapshots: u64,
    /// How many of them were rewritten. Of the others, those that are not failures were encrypted with the active key
    /// already, or were saved anew or deleted in the meantime.
    pub rewritten: u64,
    /// How many could not be read: a key is missing, or they are damaged. They are left as they are.
    pub failed: u64,
    /// Why, for the first hundred of them.
    pub failures: Vec<Error>,
}

impl Store {
    /// Encrypts every snapshot of the store with the keyring's active key, those too that are not encrypted. The other
    /// keys are needed to read what they encrypted.
    ///
    /// It works in bounded batches, while reads and writes go on. It can be interrupted and run again: what was done is
    /// passed over. A snapshot that cannot be decrypted, or is damaged, is counted, and does not stop it. Progress is told in snapshots.
    ///
    /// ```
    /// use larder::{Codec, EncryptionKey, Keyring, Progress, Store};
    ///
    /// # fn main() -> larder::Result<()> {
    /// let store = Store::memory();
    /// let old = EncryptionKey::new("old", [1; 32])?;
    /// let snapshots = store.event_log("orders")?.snapshots();
    /// snapshots.clone().codec(Codec::default().encrypted(Keyring::new(old.clone()))).save("order-1", 1, &1).wait()?;
    ///
    /// let keyring = Keyring::new(EncryptionKey::new("new", [2; 32])?).retired(old);
    /// assert_eq!(store.reencrypt_snapshots(keyring, Progress::default()).wait()?.rewritten, 1);
    /// assert_eq!(snapshots.list("order-1").wait()?.items[0].key.as_deref(), Some("new"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of any commit.
    pub fn reencrypt_snapshots(&self, keyring: Keyring, progress: Progress) -> Call<Reencrypted> {
        let store = self.clone();
        Call::new(async move {
            let backend = store.backend().await?;
            let total = backend.stats().await?.snapshots.snapshots;
            let codec = store.snapshot_options().codec.clone().encrypted(keyring);
            let limit = store.limits().snapshot_bytes;
            let mut walk = Walk { backend: &*backend, codec, limit, done: Reencrypted::default() };
            let mut request = SnapshotsRead {
                limit: Some(BATCH_SNAPSHOTS),
                max_bytes: Some(BATCH_BYTES),
                pass_over_damaged: true,
                ..listing(SnapshotSource::Store)
            };
            loop {
                let page = backend.read_snapshots(request.clone()).await?;
                for damaged in &page.damaged {
                    walk.done.snapshots += 1;
                    walk.failed(Error::corrupted(damaged.to_string()));
                }
                walk.rewrite(&page.snapshots).await?;
                progress.report(walk.done.snapshots, total.max(walk.done.snapshots));
                match page.next {
                    Some(next) => request.after = Some(next),
                    None => return Ok(walk.done),
                }
            }
        })
    }
}

struct Walk<'a> {
    backend: &'a dyn Backend,
    codec: Codec,
    limit: usize,
    done: Reencrypted,
}

impl Walk<'_> {
    /// Rewrites what needs it, in one batch.
    async fn rewrite(&mut self, page: &[StoredSnapshot]) -> Result<()> {
        let mut operations = Vec::new();
        for stored in page {
            self.done.snapshots += 1;
            match self.replacement(&stored.data) {
                Ok(Some(operation)) => operations.push(Operation::Snapshot(operation)),
                Ok(None) => {}
                Err(error) => self.failed(stored.data.place().name_in(error)),
            }
        }
        if operations.is_empty() {
            return Ok(());
        }
        let request = CommitRequest { id: None, operations, on_callers_thread: false };
        let reply = self.backend.commit(request).await?;
        let replaced = |outcome: &&Outcome| **outcome == Outcome::Snapshot(SnapshotOutcome::Replaced(true));
        self.done.rewritten += reply.outcomes.iter().filter(replaced).count() as u64;
        Ok(())
    }

    fn replacement(&self, data: &SnapshotData) -> Result<Option<SnapshotOperation>> {
        let (header, _) = Header::parse(&data.container)?;
        if self.codec.keyring().is_some_and(|keyring| header.is_encrypted_with(keyring.active())) {
            return Ok(None);
        }
        let place =
            Place { log: &data.log, subject: &data.subject, at: data.at, schema: data.schema.as_deref() };
        let state = open(&self.codec, &place, &data.container, self.limit)?;
        let container = seal(&self.codec, &place, header.is_json, state.as_bytes())?;
        let digest = container_digest(&data.container);
        Ok(Some(SnapshotOperation::Replace { place: data.place(), digest, container }))
    }

    fn failed(&mut self, error: Error) {
        self.done.failed += 1;
        if self.done.failures.len() < TOLD {
            self.done.failures.push(error.during("re-encrypt snapshot"));
        }
    }
}
