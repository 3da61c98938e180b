//! The same random operations and reads, on memory and on SQLite, in groups that share transactions: every answer is
//! the same, also when another instance commits to the same file in between, and when a rebuild replaces everything.

use std::{
    fmt::Debug,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use futures_channel::oneshot;

use super::random::{NAMES, Random};
use crate::{
    Config, Position, Query,
    backend::{
        Backend, ChangesRead, CommitReply, CommitRequest, ItemData, ItemSource, ItemsRead, Operation,
        Progress, ProjectionOperation, QueryDbOperation, SaveMode,
        memory::MemoryBackend,
        sqlite::{SqliteBackend, queue::Job, shared::Shared},
    },
    bus::Listener,
    config::BackendConfig,
    error::Result,
    operation::wait,
    testing::{ManualClock, ScratchDir},
};

const ROUNDS: u32 = 300;

/// The two backends, by one clock.
struct Pair {
    memory: MemoryBackend,
    sqlite: SqliteBackend,
    /// Another instance on the same file, as another process would have it.
    other: Option<SqliteBackend>,
    config: Config,
    /// So that changes are kept of those too that keep none themselves: all but one.
    listeners: Vec<Listener>,
}

impl Pair {
    fn open(dir: &ScratchDir, clock: &Arc<ManualClock>) -> Result<Self> {
        let config = Config::sqlite(dir.path().join("store.db")).clock(clock.clone());
        let memory = MemoryBackend::new(&Config::memory().clock(clock.clone()));
        let sqlite = open(&config)?;
        let mut pair = Self { memory, sqlite, other: None, config, listeners: Vec::new() };
        pair.listen();
        Ok(pair)
    }

    fn listen(&mut self) {
        let buses = [self.memory.bus(), self.sqlite.bus()];
        let listen = |name: &&str| buses.map(|bus| bus.listen(&format!("querydb/{name}")));
        self.listeners = NAMES[1..].iter().flat_map(listen).collect();
    }

    /// Lets the other instance go on from here.
    fn take_turns(&mut self) {
        if let Some(other) = &mut self.other {
            std::mem::swap(other, &mut self.sqlite);
        }
    }

    /// Commits batches: one after the other in memory, as a group in the file.
    fn commit(&self, group: &[Vec<Operation>]) {
        let request = |operations: &Vec<Operation>| CommitRequest {
            id: None,
            operations: operations.clone(),
            on_callers_thread: true,
        };
        let expected: Vec<_> = group.iter().map(|batch| wait(self.memory.commit(request(batch)))).collect();
        let (jobs, answers): (Vec<_>, Vec<_>) = group
            .iter()
            .map(|batch| {
                let (answer, answered) = oneshot::channel();
                (Job { request: request(batch), answer }, answered)
            })
            .unzip();
        let shared = &self.sqlite.shared;
        shared.lock_writer().as_mut().expect("it is open").commit_group(shared, jobs);
        for ((batch, expected), answer) in group.iter().zip(expected).zip(answers) {
            let answer: Result<CommitReply> = wait(answer).expect("it was answered");
            same(&expected, &answer, batch);
        }
    }

    fn read<T: Debug>(&self, read: impl Fn(&dyn Backend) -> Result<T>, what: &dyn Debug) -> Result<T> {
        let answer = read(&self.sqlite);
        same(&read(&self.memory), &answer, what);
        answer
    }

    fn page_through(&self, query_db: &Arc<str>, source: &ItemSource, limit: usize, descending: bool) {
        let mut request = ItemsRead {
            query_db: query_db.clone(),
            source: source.clone(),
            after: None,
            limit: Some(limit),
            max_bytes: None,
            descending,
        };
        while let Ok(page) = self.read(|backend| wait(backend.read_items(request.clone())), &request)
            && page.next.is_some()
        {
            request.after = page.next;
        }
    }

    fn compare(&self, random: &mut Random, with_changes: bool) {
        let query_db = random.name();
        let (source, limit) = (random.source(), usize::try_from(1 + random.below(5)).expect("it is small"));
        self.page_through(&query_db, &source, limit, random.below(2) == 0);
        if let ItemSource::Query(query) = source {
            let count = |backend: &dyn Backend| wait(backend.count_items(query_db.clone(), query.clone()));
            drop(self.read(count, &query));
        }
        let key = random.key();
        let sub = (random.below(2) == 0).then_some(key.sub);
        let load = |backend: &dyn Backend| {
            wait(backend.load_items(query_db.clone(), key.partition.clone(), sub.clone()))
        };
        drop(self.read(load, &sub));
        drop(self.read(|backend| wait(backend.query_dbs()), &"infos"));
        drop(self.read(|backend| wait(backend.stats()).map(|stats| stats.query_dbs), &"stats"));
        if with_changes {
            let request = ChangesRead {
                query_db,
                after: (random.below(3) > 0).then(|| random.below(60)),
                limit: (random.below(2) == 0).then_some(limit),
                max_bytes: None,
                descending: random.below(3) == 0,
            };
            drop(self.read(|backend| wait(backend.read_changes(request.clone())), &request));
        }
    }
}

impl Pair {
    /// A projection rebuilds a QueryDb: the copy takes the other's place.
    fn rebuild(&self, random: &mut Random) {
        let (name, projection, log): (Arc<str>, Arc<str>, Arc<str>) = (random.name(), "p".into(), "l".into());
        let copy: Arc<str> = format!("{name}~rebuild").into();
        let (start, end) = (Position::START, Position::new(1));
        let owns = vec![name.to_string()];
        let register =
            ProjectionOperation::Register { projection: projection.clone(), log, query: Query::all(), owns };
        let begin = ProjectionOperation::BeginRebuild { projection: projection.clone() };
        let checkpoint = ProjectionOperation::SetRebuildCheckpoint {
            projection: projection.clone(),
            expected: start,
            position: end,
        };
        let mut fill = vec![Operation::Projection(checkpoint)];
        let json = |n: u64| format!("{{\"id\":{n},\"a\":\"a\",\"s\":\"b\",\"n\":{n}}}");
        let data =
            |n| ItemData { partition: "p".into(), json: json(n), ttl: None, mode: SaveMode::Overwrite };
        fill.extend(
            (0..3).map(|n| {
                Operation::QueryDb(QueryDbOperation::Save { query_db: copy.clone(), item: data(n) })
            }),
        );
        let finish = ProjectionOperation::FinishRebuild {
            projection: projection.clone(),
            expected: start,
            rebuilt: end,
        };
        for operation in [register, begin] {
            self.commit(&[vec![Operation::Projection(operation)]]);
        }
        self.commit(&[fill]);
        // Another instance may define it anew meanwhile.
        for _ in 0..random.below(4) {
            let query_db = name.clone();
            let operation = match random.below(2) {
                0 => QueryDbOperation::Define { query_db, spec: random.spec() },
                _ => QueryDbOperation::DropIndex {
                    query_db,
                    index: random.one_of(&["by_a", "by_n", "by_a_s"]).into(),
                },
            };
            self.commit(&[vec![Operation::QueryDb(operation)]]);
        }
        for operation in [finish, ProjectionOperation::Drop { projection }] {
            self.commit(&[vec![Operation::Projection(operation)]]);
        }
    }
}

/// An instance of its own, whoever else has the file open.
fn open_another(config: &Config) -> Result<SqliteBackend> {
    let BackendConfig::Sqlite(sqlite) = &config.backend else { unreachable!("it is a file") };
    Ok(SqliteBackend { shared: Shared::open(config, sqlite)?, open: AtomicBool::new(true) })
}

fn open(config: &Config) -> Result<SqliteBackend> {
    let BackendConfig::Sqlite(sqlite) = &config.backend else { unreachable!("it is a file") };
    SqliteBackend::open(config, sqlite)
}

/// Errors are the same if kind and place are.
fn same<T: Debug>(expected: &Result<T>, answer: &Result<T>, what: &(impl Debug + ?Sized)) {
    let shown = |answer: &Result<T>| match answer {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?} at {:?}", error.kind(), error.index()),
    };
    assert_eq!(shown(expected), shown(answer), "{what:?}");
}

fn run(seed: u64, by_turns: bool) -> Result<()> {
    let mut random = Random(seed);
    let (dir, clock) = (ScratchDir::new().expect("a directory"), Arc::new(ManualClock::new()));
    let mut pair = Pair::open(&dir, &clock)?;
    if by_turns {
        pair.other = Some(open_another(&pair.config)?);
    }
    for round in 0..ROUNDS {
        let batch = |random: &mut Random| -> Vec<Operation> {
            (0..1 + random.below(3)).map(|_| Operation::QueryDb(random.operation())).collect()
        };
        let group: Vec<Vec<_>> = (0..1 + random.below(4)).map(|_| batch(&mut random)).collect();
        if random.below(2) == 0 {
            pair.take_turns();
        }
        pair.commit(&group);
        if random.below(2) == 0 {
            pair.take_turns();
        }
        if random.below(4) == 0 {
            clock.advance(Duration::from_millis(random.below(3_000)));
        }
        // An instance does not know all changes that another one has committed.
        (0..4).for_each(|_| pair.compare(&mut random, !by_turns));
        if round % 10 == 9 {
            pair.rebuild(&mut random);
            (0..10).for_each(|_| pair.compare(&mut random, !by_turns));
            let report = wait(pair.sqlite.verify(Progress::default()))?;
            assert!(report.is_sound(), "{:?}", report.findings);
        }
        if round % 100 == 99 && !by_turns {
            wait(pair.sqlite.close())?;
            pair.sqlite = open(&pair.config)?;
            pair.listen();
            (0..20).for_each(|_| pair.compare(&mut random, false));
            // What was only in memory is gone: the changes of QueryDbs that do not keep them.
            for name in NAMES {
                let drop = QueryDbOperation::Drop { query_db: name.into() };
                pair.commit(&[vec![Operation::QueryDb(drop)]]);
            }
        }
    }
    if let Some(other) = &pair.other {
        wait(other.close())?;
    }
    wait(pair.sqlite.close())
}

/// A few seeds, or the one that is given.
fn run_all(by_turns: bool) -> Result<()> {
    let given = std::env::var("LARDER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = given.map_or(0..3, |seed: u64| seed..seed + 1);
    for seed in seeds {
        println!("LARDER_SEED={seed}");
        run(seed, by_turns)?;
    }
    Ok(())
}

#[test]
fn memory_and_sqlite_answer_alike() -> Result<()> {
    run_all(false)
}

#[test]
fn two_instances_on_a_file_answer_as_one_in_memory() -> Result<()> {
    run_all(true)
}
