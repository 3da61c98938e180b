//! How states are stored: sn_07.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::{snapshots, some, told};
use crate::{
    backend::{
        Backend, BoxFuture, CommitReply, CommitRequest, Operation, Progress, SnapshotOperation, SnapshotRead,
        StoredSnapshot,
    },
    codec::{Codec, EncryptionKey, Keyring},
    error::{Error, ErrorKind, Result},
    event::Payload,
    limits::Limits,
    operation::wait,
    snapshot::{SnapshotInfo, Snapshots, Subject},
    store::Store,
    testing::{
        fixture::Fixture,
        support::{CaseResult, backend, refused},
        wrapper::Wrapper,
    },
};

fn key(id: &str, byte: u8) -> Result<EncryptionKey> {
    EncryptionKey::new(id, [byte; 32])
}

fn encrypted(keyring: Keyring) -> Codec {
    Codec::default().encrypted(keyring)
}

fn infos(snapshots: &Snapshots) -> Result<Vec<SnapshotInfo>> {
    snapshots.all().each().wait_iter().collect()
}

pub(in crate::testing) fn sn_07_long_states_are_compressed(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?;
    let long = "state ".repeat(10_000);
    snapshots.save("long", 1, &long).wait()?;
    snapshots.save("short", 1, &"x".repeat(1_000)).wait()?;
    snapshots.clone().codec(Codec::none()).save("plain", 1, &long).wait()?;
    snapshots.clone().codec(Codec::none().compress_over(10)).save("tiny", 1, &"x".repeat(99)).wait()?;
    let told: Vec<_> = infos(&snapshots)?
        .into_iter()
        .map(|info| {
            (
                info.subject.name().to_owned(),
                info.is_compressed,
                info.state_bytes,
                info.stored_bytes < info.state_bytes,
            )
        })
        .collect();
    let expected = [
        ("long", true, 60_002, true),
        ("plain", false, 60_002, false),
        ("short", false, 1_002, false),
        ("tiny", true, 101, true),
    ];
    assert_eq!(
        told,
        expected.map(|(name, compressed, bytes, less)| (name.to_owned(), compressed, bytes, less))
    );
    for name in ["long", "plain"] {
        let found = snapshots.latest(name).wait()?.ok_or("it was saved")?;
        assert_eq!(found.decode::<String>()?, long);
    }
    Ok(())
}

pub(in crate::testing) fn sn_07_what_is_encrypted_needs_its_key(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let plain = snapshots(&store)?;
    let mine = plain.clone().codec(encrypted(Keyring::new(key("k1", 1)?)));
    mine.save("s", 1, "a secret").schema("v1").wait()?;
    mine.save_bytes("t", 1, "a long secret ".repeat(1_000)).wait()?;
    plain.save("u", 1, "public").wait()?;
    assert_eq!(told(mine.latest("s").wait()?), some(1, "\"a secret\""));
    let long = mine.latest("t").wait()?.ok_or("it was saved")?;
    assert_eq!(long.state, Payload::Bytes("a long secret ".repeat(1_000).into()));
    assert_eq!(
        told(mine.latest("u").wait()?),
        some(1, "\"public\""),
        "a keyring reads what is not encrypted"
    );

    let told: Vec<_> = infos(&plain)?.into_iter().map(|info| (info.key, info.is_compressed)).collect();
    assert_eq!(told, [(Some("k1".into()), false), (Some("k1".into()), true), (None, false)]);
    let unknown = plain.clone().codec(encrypted(Keyring::new(key("k2", 1)?)));
    let other = plain.clone().codec(encrypted(Keyring::new(key("k1", 2)?)));
    for without in [&plain, &unknown, &other] {
        let error = refused!(without.latest("s").wait(), ErrorKind::WrongKey { key } if key == "k1");
        assert!(error.hint().is_some(), "{error:?}");
        refused!(without.latest_for("s", "v1").wait(), ErrorKind::WrongKey { .. });
        refused!(without.before("s", 2).wait(), ErrorKind::WrongKey { .. });
        refused!(without.recover("s", None, String::new, |s, _| Ok(s)).wait(), ErrorKind::WrongKey { .. });
        assert_eq!(without.delete("none", 1).wait()?, 0, "deleting needs no key");
    }
    let both = plain.clone().codec(encrypted(Keyring::new(key("k2", 2)?).retired(key("k1", 1)?)));
    assert_eq!(super::told(both.latest("s").wait()?), some(1, "\"a secret\""));
    both.save("s", 2, "newer").wait()?;
    refused!(mine.latest("s").wait(), ErrorKind::WrongKey { key } if key == "k2");
    Ok(())
}

/// The stored form of the newest snapshot of a stream.
fn stored(store: &Store, stream: &str) -> Result<StoredSnapshot> {
    let (log, subject) = ("orders".into(), Subject::stream(stream));
    let request = SnapshotRead { log, subject, before: None, schema: None };
    let found = wait(backend(store)?.read_snapshot(request))?;
    found.ok_or_else(|| Error::new(ErrorKind::NotFound))
}

pub(in crate::testing) fn sn_07_moved_elsewhere_it_does_not_decrypt(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?.codec(encrypted(Keyring::new(key("k", 1)?)));
    snapshots.save("s", 1, "a secret").schema("v1").wait()?;
    let original = stored(&store, "s")?;
    let moves: [fn(&mut StoredSnapshot); 5] = [
        |moved| moved.data.log = "other".into(),
        |moved| moved.data.subject = Subject::stream("t"),
        |moved| moved.data.subject = Subject::Query("s".into()),
        |moved| moved.data.at = 2,
        |moved| (moved.data.schema, moved.data.at) = (Some("v2".into()), 3),
    ];
    for change in moves {
        let mut moved = original.clone();
        change(&mut moved);
        let restore = Operation::Snapshot(SnapshotOperation::Restore(moved.clone()));
        let operations = vec![restore];
        let request = CommitRequest { id: None, operations, on_callers_thread: true };
        wait(backend(&store)?.commit(request))?;
        let there =
            store.event_log(&moved.data.log)?.snapshots().codec(encrypted(Keyring::new(key("k", 1)?)));
        let found = there.before(&moved.data.subject, moved.data.at + 1).wait();
        refused!(found, ErrorKind::Corrupted);
    }
    assert_eq!(told(snapshots.before("s", 2).wait()?), some(1, "\"a secret\""));
    Ok(())
}

pub(in crate::testing) fn sn_07_decompression_is_capped(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    snapshots(&store)?.save_bytes("s", 1, vec![0; 1 << 20]).wait()?;
    let stored = stored(&store, "s")?;
    assert!(stored.data.container.len() < 10_000);
    let limits = Limits { snapshot_bytes: 1 << 16, ..Limits::default() };
    let narrow = Store::with_backend_and_limits(backend(&store)?, limits);
    let found = snapshots(&narrow)?.latest("s").wait();
    refused!(found, ErrorKind::TooLarge { field: "snapshot state", limit: 65_536, actual: 1_048_576 });
    assert_eq!(snapshots(&narrow)?.list("s").wait()?.items.len(), 1, "a listing needs no state");
    Ok(())
}

pub(in crate::testing) fn sn_07_the_store_has_a_codec(fixture: &dyn Fixture) -> CaseResult {
    let config = fixture.config().ok_or("a backend of this crate")?;
    let config = config.snapshot_codec(encrypted(Keyring::new(key("k", 1)?))).keep_snapshots(1);
    let store = Store::open(config).wait()?;
    let snapshots = snapshots(&store)?;
    snapshots.save("s", 1, "a secret").wait()?;
    assert_eq!(snapshots.save("s", 2, "another").wait()?.pruned, 1);
    assert_eq!(told(snapshots.latest("s").wait()?), some(2, "\"another\""));
    assert_eq!(infos(&snapshots)?[0].key.as_deref(), Some("k"));
    refused!(snapshots.clone().codec(Codec::none()).latest("s").wait(), ErrorKind::WrongKey { .. });
    Ok(())
}

pub(in crate::testing) fn sn_07_keys_are_replaced(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let plain = snapshots(&store)?.keep(0);
    let old = plain.clone().codec(encrypted(Keyring::new(key("old", 1)?)));
    let lost = plain.clone().codec(encrypted(Keyring::new(key("lost", 9)?)));
    for at in 1..=100 {
        old.save(format!("stream-{}", at % 7), at, &format!("state {at} {}", "x".repeat(2_000))).wait()?;
    }
    plain.save("plain", 1, "public").schema("v1").wait()?;
    lost.save("lost", 1, "gone").wait()?;
    let before = infos(&plain)?;

    let keyring = Keyring::new(key("new", 2)?).retired(key("old", 1)?);
    let told_progress = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = told_progress.clone();
    let progress = Progress::new(move |done, total| {
        seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((done, total));
    });
    let done = store.reencrypt_snapshots(keyring.clone(), progress).wait()?;
    assert_eq!((done.snapshots, done.rewritten, done.failed), (102, 101, 1));
    assert_eq!(done.failures.len(), 1);
    assert!(matches!(done.failures[0].kind(), ErrorKind::WrongKey { key } if key == "lost"), "{done:?}");
    let progress = told_progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    assert!(progress.len() > 1 && progress.last() == Some(&(102, 102)), "in batches: {progress:?}");

    // Everything else is as it was.
    let after = infos(&plain)?;
    for (before, after) in before.into_iter().zip(&after) {
        let is_lost = before.subject.name() == "lost";
        assert_eq!(after.key.as_deref(), Some(if is_lost { "lost" } else { "new" }));
        let key = after.key.clone();
        let (stored_bytes, is_compressed) = (after.stored_bytes, after.is_compressed);
        assert_eq!(*after, SnapshotInfo { key, stored_bytes, is_compressed, ..before });
    }
    let new = plain.clone().codec(encrypted(Keyring::new(key("new", 2)?)));
    let found = new.before("stream-3", 4).wait()?.ok_or("it is there")?;
    assert!(found.decode::<String>()?.starts_with("state 3 "));
    assert_eq!(told(new.latest_for("plain", "v1").wait()?), some(1, "\"public\""));

    // Run again, it finds nothing to do but what has failed.
    let again = store.reencrypt_snapshots(keyring, Progress::default()).wait()?;
    assert_eq!((again.snapshots, again.rewritten, again.failed), (102, 0, 1));
    Ok(())
}

/// Lets so many commits through.
#[derive(Debug)]
struct Interrupted {
    inner: Arc<dyn Backend>,
    left: AtomicUsize,
}

impl Wrapper for Interrupted {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    fn commit(&self, request: CommitRequest) -> BoxFuture<'_, Result<CommitReply>> {
        if self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err() {
            return Box::pin(async { Err(Error::new(ErrorKind::Io)) });
        }
        self.inner.commit(request)
    }
}

pub(in crate::testing) fn sn_07_an_interrupted_replacement_goes_on(fixture: &dyn Fixture) -> CaseResult {
    let store = fixture.store()?;
    let plain = snapshots(&store)?.keep(0);
    for at in 1..=150 {
        plain.save("s", at, &at).wait()?;
    }
    let keyring = Keyring::new(key("new", 2)?);
    let interrupted = Interrupted { inner: backend(&store)?, left: AtomicUsize::new(1) };
    let through = Store::with_backend(Arc::new(interrupted));
    refused!(through.reencrypt_snapshots(keyring.clone(), Progress::default()).wait(), ErrorKind::Io);
    let has_key = |info: &SnapshotInfo| info.key.as_deref() == Some("new");
    let rewritten = infos(&plain)?.iter().filter(|info| has_key(info)).count() as u64;
    assert!(rewritten > 0 && rewritten < 150, "{rewritten}");
    let new = plain.clone().codec(encrypted(keyring.clone()));
    for at in 1..=150 {
        let found = new.before("s", at + 1).wait()?.ok_or("it is there")?;
        assert_eq!(found.decode::<u64>()?, at, "each is whole, replaced or not");
    }
    let done = store.reencrypt_snapshots(keyring, Progress::default()).wait()?;
    assert_eq!((done.snapshots, done.rewritten, done.failed), (150, 150 - rewritten, 0));
    assert!(infos(&plain)?.iter().all(has_key));
    Ok(())
}

pub(in crate::testing) fn sn_07_what_is_saved_meanwhile_is_not_overwritten(
    fixture: &dyn Fixture,
) -> CaseResult {
    let store = fixture.store()?;
    let snapshots = snapshots(&store)?;
    snapshots.save("s", 1, "old").wait()?;
    let old = stored(&store, "s")?;
    snapshots.save("s", 1, "new").wait()?;
    let replace = |seen: &StoredSnapshot| {
        let digest = crate::backend::container_digest(&seen.data.container);
        let container = old.data.container.clone();
        let replace = SnapshotOperation::Replace { place: seen.data.place(), digest, container };
        let operations = vec![Operation::Snapshot(replace)];
        let request = CommitRequest { id: None, operations, on_callers_thread: true };
        wait(backend(&store)?.commit(request)).map(|reply| reply.outcomes)
    };
    use crate::backend::{Outcome, SnapshotOutcome};
    assert_eq!(replace(&old)?, [Outcome::Snapshot(SnapshotOutcome::Replaced(false))]);
    assert_eq!(told(snapshots.latest("s").wait()?), some(1, "\"new\""));
    let now = stored(&store, "s")?;
    assert_eq!(replace(&now)?, [Outcome::Snapshot(SnapshotOutcome::Replaced(true))]);
    assert_eq!(told(snapshots.latest("s").wait()?), some(1, "\"old\""));
    snapshots.delete("s", 1).wait()?;
    assert_eq!(replace(&now)?, [Outcome::Snapshot(SnapshotOutcome::Replaced(false))]);
    assert_eq!(snapshots.latest("s").wait()?, None);
    Ok(())
}
