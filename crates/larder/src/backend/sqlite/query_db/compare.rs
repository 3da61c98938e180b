//! The same random operations and reads, on memory and on SQLite, in groups that share transactions: every answer is
//! the same, also when another instance commits to the same file in between, and when a rebuild replaces everything.

use std::{
    fmt::Debug,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use futures_channel::oneshot;

use crate::{
    Config, Index, ItemQuery, KeyField, Position, Query, QueryDbSpec, Sort, Ttl,
    backend::{
        Backend, ChangesRead, CommitReply, CommitRequest, ItemData, ItemSource, ItemsRead, Operation,
        Progress, ProjectionOperation, QueryDbOperation, SaveMode,
        memory::MemoryBackend,
        sqlite::{SqliteBackend, queue::Job, shared::Shared},
    },
    config::BackendConfig,
    error::Result,
    field,
    operation::wait,
    query_db::{ItemKey, KeyValue, Number},
    testing::{ManualClock, ScratchDir},
};

const NAMES: [&str; 3] = ["Orders", "orders", "or.ders"];
const ROUNDS: u32 = 300;

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        let place = usize::try_from(self.below(choices.len() as u64)).expect("it is small");
        choices[place].clone()
    }

    fn name(&mut self) -> Arc<str> {
        self.one_of(&NAMES).into()
    }

    fn partition(&mut self) -> String {
        self.one_of(&["p", "q", "p\u{e9}", "\u{10ffff}", "p0"]).into()
    }

    fn text(&mut self) -> String {
        self.one_of(&["", "a", "ab", "b", "\u{e9}", "\u{10ffff}", "1"]).into()
    }

    fn number(&mut self) -> Number {
        match self.below(6) {
            0 => 1.5.into(),
            1 => 1e300.into(),
            2 => i64::MAX.into(),
            3 => 9_223_372_036_854_775_808.0.into(),
            n => i64::try_from(n).expect("it is small").into(),
        }
    }

    fn sub(&mut self) -> KeyValue {
        match self.below(4) {
            0 => self.number().into(),
            1 => KeyValue::none(),
            _ => self.text().into(),
        }
    }

    fn key(&mut self) -> ItemKey {
        ItemKey { partition: self.partition(), sub: self.sub() }
    }

    fn json(&mut self) -> String {
        let mut fields = Vec::new();
        if self.below(4) > 0 {
            let id =
                if self.below(3) == 0 { self.number().to_string() } else { format!("{:?}", self.text()) };
            fields.push(format!("\"id\":{id}"));
        }
        for name in ["a", "s"] {
            match self.below(8) {
                0 => {}
                1 => fields.push(format!("\"{name}\":null")),
                2 => fields.push(format!("\"{name}\":7")),
                _ => fields.push(format!("\"{name}\":{}", serde_json::Value::from(self.text()))),
            }
        }
        if self.below(4) > 0 {
            fields.push(format!("\"n\":{}", self.number()));
        }
        if self.below(5) == 0 {
            fields.push(format!("\"until\":{}", 1_000_000_000 + self.below(40)));
        }
        format!("{{{}}}", fields.join(","))
    }

    fn spec(&mut self) -> QueryDbSpec {
        let mut spec = QueryDbSpec::new().changes(self.below(2) == 0);
        match self.below(4) {
            0 => spec = spec.sub_id_field("id"),
            1 => spec = spec.sub_id_field(KeyField::number("id")),
            _ => {}
        }
        if self.below(6) == 0 {
            spec = spec.ttl_field("until");
        }
        if self.below(2) == 0 {
            spec =
                spec.index(Index::new("by_a", ["a"]).sort_by([KeyField::string("s"), KeyField::number("n")]));
        }
        if self.below(2) == 0 {
            spec = spec.index(Index::new("by_n", [KeyField::number("n")]).keys_only());
        }
        if self.below(3) == 0 {
            spec = spec.index(Index::new("by_a_s", ["a", "s"]).include(["n"]));
        }
        spec
    }

    fn item(&mut self) -> ItemData {
        let mode = match self.below(8) {
            0 => SaveMode::Init,
            1 => SaveMode::Update,
            2 => SaveMode::IfVersion(None),
            3 => SaveMode::IfVersion(Some(self.below(40))),
            _ => SaveMode::Overwrite,
        };
        let ttl = (self.below(5) == 0).then(|| Ttl::After(Duration::from_secs(self.below(20))));
        ItemData { partition: self.partition(), json: self.json(), ttl, mode }
    }

    fn operation(&mut self) -> QueryDbOperation {
        let query_db = self.name();
        match self.below(30) {
            0..=2 => QueryDbOperation::Define { query_db, spec: self.spec() },
            3 => QueryDbOperation::Drop { query_db },
            4 => {
                QueryDbOperation::DropIndex { query_db, index: self.one_of(&["by_a", "by_n", "none"]).into() }
            }
            5..=6 => {
                let keys = (0..self.below(3)).map(|_| self.key()).collect();
                QueryDbOperation::Delete { query_db, keys }
            }
            7 => QueryDbOperation::DeletePartition { query_db, partition: self.partition() },
            8..=10 => {
                let field = self.one_of(&["n", "n", "a.b", "id"]).into();
                QueryDbOperation::Increment { query_db, key: self.key(), field, by: self.number() }
            }
            11 => QueryDbOperation::PurgeExpired { query_db, limit: self.below(5) },
            12 => {
                let version = (self.below(2) == 0).then(|| self.below(40));
                QueryDbOperation::RequireVersion { query_db, key: self.key(), version }
            }
            13..=15 => {
                let items = (0..self.below(4)).map(|_| self.item()).collect();
                QueryDbOperation::SaveAll { query_db, items }
            }
            _ => QueryDbOperation::Save { query_db, item: self.item() },
        }
    }

    fn source(&mut self) -> ItemSource {
        let value = |random: &mut Self| -> KeyValue {
            if random.below(2) == 0 { random.text().into() } else { random.number().into() }
        };
        let mut query = match self.below(6) {
            0 => return ItemSource::Scan,
            1 => ItemQuery::key(self.partition()),
            2 => ItemQuery::index("by_n", [self.number()]),
            3 => ItemQuery::index("by_a_s", [self.text(), self.text()]),
            4 => ItemQuery::index("by_a", [self.text()]).sort_prefix([self.text()]),
            _ => ItemQuery::index("by_a", [self.text()]),
        };
        query = match self.below(8) {
            0 => query.sort(Sort::Eq(value(self))),
            1 => query.sort(Sort::Lt(value(self))),
            2 => query.sort(Sort::Ge(value(self))),
            3 => query.sort(Sort::Gt(value(self))),
            4 => query.sort(Sort::Between(value(self), value(self))),
            5 => query.sort(Sort::begins_with(self.text())),
            _ => query,
        };
        if self.below(4) == 0 {
            query = query.filter(field("n").ge(2));
        }
        ItemSource::Query(query)
    }
}

/// The two backends, by one clock.
struct Pair {
    memory: MemoryBackend,
    sqlite: SqliteBackend,
    /// Another instance on the same file, as another process would have it.
    other: Option<SqliteBackend>,
    config: Config,
}

impl Pair {
    fn open(dir: &ScratchDir, clock: &Arc<ManualClock>) -> Result<Self> {
        let config = Config::sqlite(dir.path().join("store.db")).clock(clock.clone());
        let memory = MemoryBackend::new(&Config::memory().clock(clock.clone()));
        let sqlite = open(&config)?;
        Ok(Self { memory, sqlite, other: None, config })
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
        if round % 50 == 49 {
            pair.rebuild(&mut random);
            (0..10).for_each(|_| pair.compare(&mut random, !by_turns));
            let report = wait(pair.sqlite.verify(Progress::default()))?;
            assert!(report.is_sound(), "{:?}", report.findings);
        }
        if round % 100 == 99 && !by_turns {
            wait(pair.sqlite.close())?;
            pair.sqlite = open(&pair.config)?;
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
