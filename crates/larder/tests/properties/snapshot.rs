//! Snapshots in random commands.

use std::{sync::Arc, time::Duration, time::SystemTime};

use larder::{
    Result, SnapshotPlace, Subject,
    backend::{
        Backend, Operation, SnapshotData, SnapshotOperation, SnapshotPage, SnapshotRead, SnapshotSource,
        SnapshotsRead, StoredSnapshot, container_digest,
    },
    wait,
};
use proptest::{bool::weighted, option, prelude::*};
use serde::{Deserialize, Serialize};

use crate::command::{LOGS, STREAMS};

const SCHEMAS: [&str; 3] = ["v1", "V1", "ü"];

/// Where a snapshot is: log, subject, place.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct At {
    log: usize,
    is_query: bool,
    name: usize,
    at: u64,
}

impl At {
    fn log(self) -> Arc<str> {
        LOGS[self.log].into()
    }

    fn subject(self) -> Subject {
        let name = STREAMS[self.name].to_owned();
        if self.is_query { Subject::Query(name) } else { Subject::Stream(name) }
    }

    fn place(self) -> SnapshotPlace {
        SnapshotPlace { log: self.log(), subject: self.subject(), at: self.at }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Change {
    Save {
        at: At,
        schema: Option<usize>,
        state: u8,
        keep: u64,
    },
    Delete {
        at: At,
    },
    /// With the digest of what is there, or with another one.
    Replace {
        at: At,
        is_right: bool,
        state: u8,
    },
    Restore {
        at: At,
        state: u8,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Look {
    One {
        at: At,
        has_bound: bool,
        schema: Option<usize>,
    },
    /// Of the store, the log, or the subject; one page, or all of them.
    List {
        of: u8,
        at: At,
        has_after: bool,
        limit: Option<usize>,
        max_bytes: Option<usize>,
        descending: bool,
        all_pages: bool,
    },
}

/// Few places, so that changes and looks meet often.
fn at() -> impl Strategy<Value = At> {
    let log = prop_oneof![5 => Just(0_usize), 1 => Just(1)];
    let at = prop_oneof![9 => 1..5_u64, 1 => Just(u64::MAX >> 17)];
    (log, weighted(0.3), 0..2_usize, at).prop_map(|(log, is_query, name, at)| At { log, is_query, name, at })
}

fn schema() -> impl Strategy<Value = Option<usize>> {
    option::weighted(0.5, 0..SCHEMAS.len())
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let keep = prop_oneof![0..4_u64, Just(u64::MAX)];
    prop_oneof![
        8 => (at(), schema(), any::<u8>(), keep).prop_map(|(at, schema, state, keep)| Change::Save {
            at, schema, state, keep
        }),
        2 => at().prop_map(|at| Change::Delete { at }),
        2 => (at(), any::<bool>(), any::<u8>()).prop_map(|(at, is_right, state)| Change::Replace {
            at, is_right, state
        }),
        1 => (at(), 0..2_u8).prop_map(|(at, state)| Change::Restore { at, state }),
    ]
}

pub(crate) fn look() -> impl Strategy<Value = Look> {
    let one = (at(), any::<bool>(), schema());
    let list = (
        (0..3_u8, at(), any::<bool>(), option::of(1..5_usize)),
        (option::weighted(0.2, 0..60_usize), any::<bool>(), any::<bool>()),
    );
    prop_oneof![
        one.prop_map(|(at, has_bound, schema)| Look::One { at, has_bound, schema }),
        list.prop_map(|((of, at, has_after, limit), (max_bytes, descending, all_pages))| Look::List {
            of,
            at,
            has_after,
            limit,
            max_bytes,
            descending,
            all_pages
        }),
    ]
}

/// A container, to a backend: some bytes.
fn container(state: u8) -> Vec<u8> {
    vec![state; usize::from(state % 23)]
}

impl Change {
    pub(crate) fn operation(&self, oracle: &dyn Backend) -> Operation {
        Operation::Snapshot(match self {
            Self::Save { at, schema, state, keep } => {
                let schema = schema.map(|schema| SCHEMAS[schema].to_owned());
                let (log, subject, container) = (at.log(), at.subject(), container(*state));
                let snapshot = SnapshotData { log, subject, at: at.at, schema, container };
                SnapshotOperation::Save { snapshot, keep: *keep }
            }
            Self::Delete { at } => {
                SnapshotOperation::Delete { log: at.log(), subject: at.subject(), through: at.at }
            }
            Self::Replace { at, is_right, state } => {
                let there = everything(oracle).expect("memory can be read").into_iter();
                let there = there.filter(|_| *is_right).find(|stored| stored.data.place() == at.place());
                let digest = there.map_or([7; 16], |stored| container_digest(&stored.data.container));
                SnapshotOperation::Replace { place: at.place(), digest, container: container(*state) }
            }
            Self::Restore { at, state } => {
                let (log, subject, container) = (at.log(), at.subject(), container(*state));
                let data = SnapshotData { log, subject, at: at.at, schema: None, container };
                let recorded_at = SystemTime::UNIX_EPOCH + Duration::from_micros(77);
                SnapshotOperation::Restore(StoredSnapshot { data, recorded_at })
            }
        })
    }
}

/// What a look sees.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    One(Option<StoredSnapshot>),
    Pages(Vec<SnapshotPage>),
    All(Vec<StoredSnapshot>),
}

impl Look {
    pub(crate) fn at(&self, backend: &dyn Backend) -> Result<Seen> {
        match self {
            Self::One { at, has_bound, schema } => {
                let request = SnapshotRead {
                    log: at.log(),
                    subject: at.subject(),
                    before: has_bound.then_some(at.at),
                    schema: schema.map(|schema| SCHEMAS[schema].to_owned()),
                };
                wait(backend.read_snapshot(request)).map(Seen::One)
            }
            Self::List { of, at, has_after, limit, max_bytes, descending, all_pages } => {
                let source = match of {
                    0 => SnapshotSource::Store,
                    1 => SnapshotSource::Log(at.log()),
                    _ => SnapshotSource::Subject(at.log(), at.subject()),
                };
                // A place that lies elsewhere, too.
                let elsewhere = At { log: 1 - at.log, ..*at };
                let after = has_after.then(|| if *of == 1 { elsewhere.place() } else { at.place() });
                let (limit, max_bytes, descending) = (*limit, *max_bytes, *descending);
                let pass_over_damaged = false;
                let mut request =
                    SnapshotsRead { source, after, limit, max_bytes, descending, pass_over_damaged };
                let mut pages = Vec::new();
                loop {
                    let page = wait(backend.read_snapshots(request.clone()))?;
                    let next = page.next.clone();
                    assert!(
                        limit.is_none_or(|limit| page.snapshots.len() <= limit),
                        "{page:#?} is over its limit"
                    );
                    let last = page.snapshots.last().map(|last| last.data.place());
                    assert!(next.is_none() || next == last, "{page:#?} goes on elsewhere");
                    pages.push(page);
                    if !all_pages || next.is_none() {
                        return Ok(Seen::Pages(pages));
                    }
                    request.after = next;
                }
            }
        }
    }
}

/// Every snapshot of a store.
pub(crate) fn everything(backend: &dyn Backend) -> Result<Vec<StoredSnapshot>> {
    let (source, after) = (SnapshotSource::Store, None);
    let request = SnapshotsRead {
        source,
        after,
        limit: None,
        max_bytes: None,
        descending: false,
        pass_over_damaged: false,
    };
    wait(backend.read_snapshots(request)).map(|page| page.snapshots)
}

/// What restores every snapshot in another store.
pub(crate) fn restoring(backend: &dyn Backend) -> Result<Vec<Operation>> {
    let restore = |stored| Operation::Snapshot(SnapshotOperation::Restore(stored));
    Ok(everything(backend)?.into_iter().map(restore).collect())
}
