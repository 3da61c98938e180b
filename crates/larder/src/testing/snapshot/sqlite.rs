//! Altered SQLite files, and a prune that fails: sn_05, fl_02.

use rusqlite::Connection;

use super::{places, snapshots, told};
use crate::{
    backend::Progress,
    codec::{Codec, EncryptionKey, Keyring},
    config::Config,
    error::ErrorKind,
    event::{Event, Position},
    snapshot::{Snapshot, Subject},
    store::Store,
    testing::{
        fixture::{Fixture, ScratchDir},
        support::{CaseResult, numbered, orders, refused, tagged},
    },
};

pub(in crate::testing) fn sn_05_a_failing_prune_never_fails_a_save(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let store = Store::open(Config::sqlite(&path)).wait()?;
    let snapshots = snapshots(&store)?.keep(1);
    let log = orders(&store)?;
    let other = Connection::open(&path)?;
    // One that can be taken back by itself, and one that takes the whole transaction with it.
    for (round, raise) in (1..).zip(["ABORT", "FAIL", "ROLLBACK"]) {
        snapshots.save("s", round * 10, &1).wait()?;
        other.execute_batch(&format!(
            "CREATE TRIGGER no_prune BEFORE DELETE ON snapshot BEGIN SELECT RAISE({raise}, 'no'); END"
        ))?;
        assert_eq!(snapshots.save("s", round * 10 + 1, &2).wait()?.pruned, 0, "{raise}");
        assert_eq!(snapshots.latest("s").wait()?.map(|found| found.at), Some(round * 10 + 1), "{raise}");
        let mut batch = store.batch();
        let appended = batch.add(log.append("s", round - 1, numbered(1)));
        let saved = batch.add(snapshots.save("s", round * 10 + 2, &3));
        let committed = batch.commit().wait()?;
        assert_eq!((committed[appended].last_seq_nr, committed[saved].pruned), (round, 0), "{raise}");
        assert_eq!(log.head("s").wait()?, round, "{raise}");
        refused!(snapshots.delete("s", 1_000).wait(), ErrorKind::Corrupted | ErrorKind::Io);
        other.execute_batch("DROP TRIGGER no_prune")?;
        assert_eq!(snapshots.save("s", round * 10 + 3, &4).wait()?.pruned, 3, "the next one makes up for it");
        assert_eq!(places(&snapshots.list("s").wait()?), [round * 10 + 3]);
    }
    Ok(())
}

pub(in crate::testing) fn sn_08_a_state_is_recovered_without_writing(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let store = Store::open(Config::sqlite(&path)).wait()?;
    let log = orders(&store)?;
    log.append_if(numbered(3).into_iter().map(|event| event.tag("q")), None).wait()?;
    log.append("s", 0, numbered(1)).wait()?;
    log.compact("s", 1).wait()?;
    store.close().wait()?;
    let log = orders(&Store::open(Config::sqlite(&path).read_only(true)).wait()?)?;
    let count = |sum: u64, event: &Event| Ok(sum + event.decode::<u64>()?);
    let recovered = log.snapshots().recover_query("q", tagged("q"), None, || 0, count).wait()?;
    assert_eq!((recovered.state, recovered.events), (6, 3));
    Ok(())
}

pub(in crate::testing) fn sn_07_a_damaged_snapshot_keeps_no_other_from_its_key(
    _: &dyn Fixture,
) -> CaseResult {
    let dir = ScratchDir::new()?;
    let path = dir.path().join("store.db");
    let store = Store::open(Config::sqlite(&path)).wait()?;
    let saved = snapshots(&store)?.keep(0);
    for at in 1..=200 {
        saved.save("s", at, &at).wait()?;
    }
    store.close().wait()?;
    for damage in ["state = zeroblob(20)", "schema = CAST(x'ff' AS TEXT)", "recorded_at = -1"] {
        let copy = dir.path().join("damaged.db");
        std::fs::copy(&path, &copy)?;
        Connection::open(&copy)?.execute_batch(&format!("UPDATE snapshot SET {damage} WHERE at % 70 = 3"))?;
        let store = Store::open(Config::sqlite(&copy)).wait()?;
        let keyring = Keyring::new(EncryptionKey::new("new", [2; 32])?);
        let done = store.reencrypt_snapshots(keyring.clone(), Progress::default()).wait()?;
        assert_eq!((done.snapshots, done.rewritten, done.failed), (200, 197, 3), "{damage}");
        assert!(done.failures.iter().all(|error| *error.kind() == ErrorKind::Corrupted), "{done:?}");
        let found = snapshots(&store)?.codec(Codec::default().encrypted(keyring)).latest("s").wait()?;
        assert_eq!(told(found), super::some(200, "200"), "{damage}");
        store.close().wait()?;
    }
    Ok(())
}

/// Alterations of the snapshot of `s` at 4, in what it says or where it belongs.
const ALTERED: [&str; 12] = [
    "UPDATE snapshot SET state = CAST(replace(CAST(state AS TEXT), 'four', 'five') AS BLOB) WHERE at = 4",
    "UPDATE snapshot SET state = zeroblob(length(state)) WHERE at = 4",
    "UPDATE snapshot SET state = x'' WHERE at = 4",
    "UPDATE snapshot SET schema = 'v2' WHERE at = 4",
    "UPDATE snapshot SET schema = NULL WHERE at = 4",
    "UPDATE snapshot SET recorded_at = recorded_at + 1 WHERE at = 4",
    "UPDATE snapshot SET checksum = checksum + 1 WHERE at = 4",
    "UPDATE snapshot SET checksum = -1 WHERE at = 4",
    "UPDATE snapshot SET at = 5 WHERE at = 4",
    "UPDATE snapshot SET subject = 't' WHERE at = 4",
    "UPDATE snapshot SET kind = 'query', subject = 'q' WHERE at = 4",
    "UPDATE snapshot SET (state, schema, recorded_at, checksum)
       = (SELECT state, schema, recorded_at, checksum FROM snapshot WHERE at = 3) WHERE at = 4",
];

pub(in crate::testing) fn fl_02_an_altered_snapshot_is_never_data(_: &dyn Fixture) -> CaseResult {
    let dir = ScratchDir::new()?;
    let (original, path) = (dir.path().join("original.db"), dir.path().join("altered.db"));
    let store = Store::open(Config::sqlite(&original)).wait()?;
    let saved = snapshots(&store)?.codec(Codec::none());
    for (at, state) in [(2, "two"), (3, "three"), (4, "four")] {
        saved.save("s", at, state).schema("v1").wait()?;
    }
    saved.save("t", 1, "one").wait()?;
    saved.save(Subject::query("q"), Position::new(1), "one").wait()?;
    let names = ["\"one\"", "\"two\"", "\"three\"", "\"four\""];
    store.close().wait()?;
    for sql in ALTERED {
        std::fs::copy(&original, &path)?;
        let connection = Connection::open(&path)?;
        assert_eq!(connection.execute(sql, [])?, 1, "{sql}");
        connection.close().map_err(|(_, error)| error)?;
        let store = Store::open(Config::sqlite(&path)).wait()?;
        let found = snapshots(&store)?;
        let mut reported = 0;
        let mut look = |read: crate::Result<Option<Snapshot>>| match read {
            Ok(found) => {
                let state = told(found);
                let true_one = state.as_ref().is_none_or(|(at, state)| {
                    names.get(usize::try_from(*at).unwrap_or(0) - 1) == Some(&state.as_str())
                });
                assert!(true_one, "{sql}: {state:?}");
            }
            Err(error) => {
                assert_eq!(*error.kind(), ErrorKind::Corrupted, "{sql}: {error:?}");
                reported += 1;
            }
        };
        for subject in [Subject::stream("s"), Subject::stream("t"), Subject::Query("q".into())] {
            look(found.latest(&subject).wait());
            look(found.latest_for(&subject, "v1").wait());
            look(found.latest_for(&subject, "v2").wait());
            look(found.before(&subject, 5).wait());
        }
        assert!(reported > 0, "{sql}");
        let listed = store.snapshots().wait()?.items;
        let damaged: Vec<_> = listed.iter().filter(|info| info.damage.is_some()).collect();
        assert_eq!((listed.len(), damaged.len()), (5, 1), "{sql}: {listed:?}");
        assert!(damaged[0].key.is_none() && damaged[0].state_bytes == 0, "{sql}: {damaged:?}");
        assert_eq!(told(found.before("s", 4).wait()?), super::some(3, "\"three\""), "{sql}");
        let report = store.verify(Progress::default()).wait()?;
        assert_eq!(report.snapshots, 5, "{sql}");
        let found = report.findings.iter().any(|found| found.log.as_deref() == Some("orders"));
        assert!(found, "{sql}: {report:?}");
        store.close().wait()?;
    }
    Ok(())
}
