//! What only a look inside can test; the contract itself is tested by the conformance suite.

use std::{collections::BTreeSet, sync::Arc};

use uuid::Uuid;

use super::{history, snapshot, state::State, verify};
use crate::{
    Bus,
    backend::{
        AppendOperation, CommitReply, CommitRequest, Due, EventData, HistoryRead, HistoryRow, ItemData,
        ObjectData, Operation, Outcome, Progress, QueryDbOperation, SaveMode, SnapshotData,
        SnapshotOperation, SnapshotRead, SnapshotSource, SnapshotsRead, StoredSnapshot, TaskBucketOperation,
    },
    error::{ErrorKind, Result},
    event::{Payload, Position},
    event_log::Expected,
    limits::Limits,
    query::{AppendCondition, Query, QueryItem},
    query_db::{ItemKey, QueryDbSpec},
    snapshot::{SnapshotInfo, SnapshotPlace, Subject},
};

const DAY: u64 = 24 * 60 * 60 * 1_000_000;

fn log() -> Arc<str> {
    "orders".into()
}

fn event(tag: &str) -> EventData {
    let (event_type, payload) = ("Placed".into(), Payload::Json("1".into()));
    EventData { event_type, payload, metadata: None, tags: vec![tag.into()], id: None }
}

fn append(stream: &str, tags: &[&str]) -> Operation {
    let events = tags.iter().map(|tag| event(tag)).collect();
    let (stream, expected, condition) = (Some(stream.into()), Expected::Any, None);
    Operation::Append(AppendOperation { log: log(), stream, expected, condition, events })
}

fn commit(state: &mut State, operations: Vec<Operation>) -> Result<CommitReply> {
    let request = CommitRequest { id: None, operations, on_callers_thread: true };
    state.commit(request, (0, &Limits::default(), &Bus::new())).map(|committed| committed.reply)
}

fn filled() -> State {
    let mut state = State::default();
    let operations = vec![append("a", &["x", "y", "x"]), append("b", &["x"])];
    commit(&mut state, operations).unwrap();
    state
}

fn rows(state: &State) -> Vec<HistoryRow> {
    history::page(state, &HistoryRead { log: log(), after: None, limit: 100 }).rows
}

fn problems(state: &State) -> Vec<String> {
    verify::verify(state, &Progress::default()).findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_refused_batch_takes_back_every_kind_of_change() {
    let mut state = filled();
    commit(&mut state, vec![Operation::Compact { log: log(), stream: "a".into(), through: 1 }]).unwrap();
    let before = rows(&state);
    let through = Position::new(2);
    let operations = vec![
        append("c", &["z"]),
        Operation::Compact { log: log(), stream: "a".into(), through: 2 },
        Operation::AuditConditions { log: log(), enabled: true },
        Operation::RaiseMark { log: log(), stream: "d".into(), through: 7 },
        Operation::Forget { log: log(), through },
        Operation::Trim { log: log(), through: Position::new(4) },
        Operation::DropLog { log: log() },
        append("a", &["new"]),
        Operation::AuditConditions { log: "other".into(), enabled: true },
        Operation::RequireHead { log: log(), stream: "a".into(), head: 9 },
    ];
    let error = commit(&mut state, operations).unwrap_err();
    assert_eq!(error.index(), Some(9));
    assert_eq!(*error.kind(), ErrorKind::Conflict { expected: 9, actual: 1 });
    assert_eq!(rows(&state), before);
    assert_eq!(state.logs.len(), 1);
    assert!(problems(&state).is_empty());
}

#[test]
fn a_log_that_a_batch_only_looked_at_does_not_exist() {
    let mut state = State::default();
    let mark = Operation::RaiseMark { log: log(), stream: "a".into(), through: 0 };
    commit(&mut state, vec![mark, Operation::DropLog { log: log() }]).unwrap();
    assert!(state.logs.is_empty());
}

#[test]
fn an_answer_is_kept_for_a_day() {
    let mut state = State::default();
    let id = Some(Uuid::from_u128(1));
    let mut repeat = |now| {
        let request = CommitRequest { id, operations: vec![append("a", &["x"])], on_callers_thread: true };
        let Outcome::Appended(appended) =
            state.commit(request, (now, &Limits::default(), &Bus::new())).unwrap().reply.outcomes[0]
        else {
            panic!("an append answers as one")
        };
        appended.last_seq_nr
    };
    assert_eq!((repeat(5), repeat(DAY + 4), repeat(0)), (1, 1, 1));
    assert_eq!((repeat(DAY + 5), repeat(DAY + 6), repeat(2 * DAY + 4)), (2, 2, 2));
    assert_eq!(repeat(2 * DAY + 5), 3);
}

#[test]
fn verify_finds_what_is_wrong() {
    let mut state = filled();
    assert!(problems(&state).is_empty());

    let orders = state.logs.get_mut("orders").unwrap();
    orders.streams.get_mut("a").unwrap().positions.swap(0, 1);
    let found = problems(&state);
    assert!(found.iter().any(|problem| problem.contains("position 1: is not where stream `a`")), "{found:?}");
    assert!(found.iter().any(|problem| problem.contains("not in the order of positions")), "{found:?}");

    let mut state = filled();
    let orders = state.logs.get_mut("orders").unwrap();
    orders.streams.get_mut("b").unwrap().positions.push_back(Position::new(9));
    assert_eq!(problems(&state), ["log orders: position 9: is missing from stream `b`"]);

    let mut state = filled();
    let fail_if_events_match = Query::from(QueryItem::new().tag("x"));
    let condition = AppendCondition { fail_if_events_match, after: Position::new(1) };
    let orders = state.logs.get_mut("orders").unwrap();
    orders.conditions.insert(Position::new(3), condition.clone());
    assert!(problems(&state).is_empty(), "nothing between 1 and 3 carries the tag");
    let orders = state.logs.get_mut("orders").unwrap();
    orders.conditions.insert(Position::new(4), condition);
    let expected = "log orders: position 4: was appended though its condition matched position 3";
    assert_eq!(problems(&state), [expected]);
}

#[test]
fn a_damaged_snapshot_is_reported_and_never_returned() {
    let mut state = State::default();
    let place = SnapshotPlace { log: log(), subject: Subject::stream("a"), at: 1 };
    let SnapshotPlace { log, subject, at } = place;
    let container = b"LSN".to_vec();
    let snapshot = SnapshotData { log: log.clone(), subject: subject.clone(), at, schema: None, container };
    let save = Operation::Snapshot(SnapshotOperation::Save { snapshot, keep: 3 });
    commit(&mut state, vec![save]).unwrap();
    assert!(problems(&state).is_empty());

    state.snapshots.damage(|stored| stored.data.container[0] ^= 1);
    let read = SnapshotRead { log, subject, before: None, schema: None };
    assert_eq!(snapshot::find(&state, &read).unwrap_err().kind(), &ErrorKind::Corrupted);
    let listing = SnapshotsRead {
        source: SnapshotSource::Store,
        after: None,
        limit: None,
        max_bytes: None,
        descending: false,
        pass_over_damaged: false,
    };
    let page = snapshot::page::<StoredSnapshot>(&state, &listing, &Limits::default());
    assert_eq!(page.unwrap_err().kind(), &ErrorKind::Corrupted);
    let listing = SnapshotsRead { pass_over_damaged: true, ..listing };
    let (found, next, damaged) =
        snapshot::page::<StoredSnapshot>(&state, &listing, &Limits::default()).unwrap();
    assert_eq!((found, next, damaged.len()), (vec![], None, 1));
    let (listed, ..) = snapshot::page::<SnapshotInfo>(&state, &listing, &Limits::default()).unwrap();
    assert!(listed.len() == 1 && listed[0].damage.is_some(), "{listed:?}");
    assert!(problems(&state)[0].contains("checksum"), "{:?}", problems(&state));
}

#[test]
fn an_altered_object_is_never_data() {
    let mut state = State::default();
    let object = ObjectData { key: "a".into(), content_type: None, bytes: b"text".to_vec() };
    let put = TaskBucketOperation::Put {
        bucket: "mails".into(),
        object,
        if_absent: false,
        trigger: Some(Due::After(0)),
    };
    commit(&mut state, vec![Operation::TaskBucket(put)]).unwrap();
    assert!(problems(&state).is_empty());
    state.task_buckets.damage(|row| row.version += 1);
    assert_eq!(state.task_buckets.object("mails", "a").unwrap_err().kind(), &ErrorKind::Corrupted);
    assert_eq!(state.task_buckets.info("mails", "a").unwrap_err().kind(), &ErrorKind::Corrupted);
    assert!(problems(&state)[0].contains("checksum"), "{:?}", problems(&state));
}

#[test]
fn items_that_expire_are_verified() {
    let item = |partition: &str| ItemData {
        partition: partition.into(),
        json: r#"{"until":7}"#.into(),
        ttl: None,
        mode: SaveMode::Overwrite,
    };
    let (query_db, spec): (Arc<str>, _) = ("Sessions".into(), QueryDbSpec::new().ttl_field("until"));
    let define = QueryDbOperation::Define { query_db: query_db.clone(), spec };
    let save = QueryDbOperation::SaveAll { query_db: query_db.clone(), items: vec![item("a"), item("b")] };
    type Expiry = BTreeSet<(u64, ItemKey)>;
    let damages: [fn(&mut Expiry); 3] = [
        |expiry| drop(expiry.pop_first()),
        |expiry| _ = expiry.insert((9, "c".into())),
        |expiry| *expiry = expiry.iter().map(|(at, key)| (at + 1, key.clone())).collect(),
    ];
    for damage in damages {
        let mut state = State::default();
        commit(&mut state, [&define, &save].map(|one| Operation::QueryDb(one.clone())).to_vec()).unwrap();
        assert!(problems(&state).is_empty());
        state.query_dbs.get_mut("Sessions").unwrap().damage_expiry(damage);
        assert!(!problems(&state).is_empty());
    }
}
