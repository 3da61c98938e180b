//! Runs commands on memory and on another engine, and compares every answer.

use std::{collections::BTreeMap, fmt::Debug, path::PathBuf, sync::Arc};

use larder::{
    Change, Error, ErrorKind, Item, ItemQuery, Listener, Page, QueryDbInfo, QuerySource, Result,
    backend::{
        Backend, ChangesRead, CommitReply, CommitRequest, ItemSource, ItemsRead, Operation, Progress,
        QueryDbOperation, QueryDbStats,
    },
    wait,
};
use tempfile::TempDir;

use super::{
    broken::{Broken, ItemFault},
    command::{Command, NAMES, PARTITIONS},
};
use crate::subject::{Engine, ManualClock};

/// What memory is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Against {
    Engine(Engine),
    Broken(ItemFault),
}

/// What an engine answered, in a form that can be compared.
#[derive(Debug, PartialEq)]
enum Answer {
    Reply(CommitReply),
    Pages(Vec<Page<Item>>),
    Items(Vec<Item>),
    Count(u64),
    Changes(Page<Change>),
    Infos(Vec<QueryDbInfo>),
    Stats(Vec<QueryDbStats>),
    Problems(Vec<String>),
}

/// An error, without its words.
#[derive(Debug, PartialEq)]
struct Failure {
    kind: ErrorKind,
    index: Option<usize>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut kind = error.kind().clone();
        if let ErrorKind::InvalidArgument { reason, .. } = &mut kind {
            reason.clear();
        }
        Self { kind, index: error.index() }
    }
}

type Answered = Result<Answer, Failure>;

/// Runs the commands on memory and on the other. `Err` says which answers differ.
pub(super) fn compare(against: Against, commands: &[Command]) -> Result<(), String> {
    let mut pair = Pair::open(against);
    for (number, command) in commands.iter().enumerate() {
        let ran = pair.run(command);
        ran.map_err(|difference| format!("command {number}, {command:?}: {difference}"))?;
    }
    pair.reopen();
    pair.finish().map_err(|difference| format!("at the end: {difference}"))
}

/// The oracle, and the engine that it is compared with.
struct Pair {
    against: Against,
    clock: Arc<ManualClock>,
    file: PathBuf,
    _directory: TempDir,
    oracle: Arc<dyn Backend>,
    other: Arc<dyn Backend>,
    /// The version of each QueryDb above which both keep changes.
    kept_after: BTreeMap<&'static str, u64>,
    /// So that changes are kept.
    listeners: Vec<Listener>,
    /// A listing to go on with.
    held: Option<ItemsRead>,
}

impl Pair {
    fn open(against: Against) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("store.db");
        let clock = ManualClock::new();
        let oracle = Engine::Memory.open(&file, &clock);
        let other = match against {
            Against::Engine(engine) => engine.open(&file, &clock),
            Against::Broken(fault) => Arc::new(Broken::new(Engine::Memory.open(&file, &clock), fault)),
        };
        let (kept_after, listeners) = (BTreeMap::new(), Vec::new());
        let mut pair = Self {
            against,
            clock,
            file,
            _directory: directory,
            oracle,
            other,
            kept_after,
            listeners,
            held: None,
        };
        pair.listen();
        pair
    }

    fn listen(&mut self) {
        let buses = [self.oracle.bus(), self.other.bus()];
        let listen = |name: &&str| buses.map(|bus| bus.listen(&format!("querydb/{name}")));
        self.listeners = NAMES.iter().flat_map(listen).collect();
    }

    fn both(&self, ask: impl Fn(&dyn Backend) -> Result<Answer>) -> Result<(), String> {
        let answers = [&self.oracle, &self.other].map(|backend| -> Answered { Ok(ask(&**backend)?) });
        let [oracle, other] = answers;
        same(&other, &oracle)
    }

    fn run(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Commit(operations) => self.commit(operations),
            Command::Read { name, source, descending, limit, max_bytes } => {
                let request = ItemsRead {
                    query_db: (*name).into(),
                    source: source.clone(),
                    after: None,
                    limit: *limit,
                    max_bytes: *max_bytes,
                    descending: *descending,
                };
                self.both(|backend| read_pages(backend, request.clone()).map(Answer::Pages))?;
                if let Ok(page) = wait(self.oracle.read_items(request.clone()))
                    && page.next.is_some()
                {
                    self.held = Some(ItemsRead { after: page.next, ..request.clone() });
                }
                self.by_definition(&request)
            }
            Command::Count { name, query } => self
                .both(|backend| wait(backend.count_items((*name).into(), query.clone())).map(Answer::Count)),
            Command::Load { name, partition, sub } => self.both(|backend| {
                let load = backend.load_items((*name).into(), (*partition).into(), sub.clone());
                wait(load).map(Answer::Items)
            }),
            Command::Changes { name, back, limit, descending } => {
                self.changes(name, *back, *limit, *descending)
            }
            Command::Advance(by) => {
                self.clock.advance(*by);
                Ok(())
            }
            Command::Reopen => {
                self.reopen();
                Ok(())
            }
        }
    }

    fn commit(&mut self, operations: &[QueryDbOperation]) -> Result<(), String> {
        self.both(|backend| {
            let operations = operations.iter().cloned().map(Operation::QueryDb).collect();
            let request = CommitRequest { id: None, operations, on_callers_thread: true };
            wait(backend.commit(request)).map(Answer::Reply)
        })?;
        // A cursor goes on, or is refused, whatever has been redefined since.
        if let Some(request) = &self.held {
            self.both(|backend| {
                wait(backend.read_items(request.clone())).map(|page| Answer::Pages(vec![page]))
            })?;
        }
        self.both(|backend| wait(backend.query_dbs()).map(Answer::Infos))
    }

    /// From here on, both keep changes: what was before, one of them may have lost.
    fn forget_changes(&mut self) {
        for name in NAMES {
            let info = wait(self.oracle.query_db_info(name.into())).expect("memory can be read");
            self.kept_after.insert(name, info.map_or(u64::MAX, |info| info.version));
        }
    }

    fn changes(
        &self,
        name: &'static str,
        back: u64,
        limit: Option<usize>,
        descending: bool,
    ) -> Result<(), String> {
        let info = wait(self.oracle.query_db_info(name.into())).expect("memory can be read");
        let kept_after = self.kept_after.get(name).copied().unwrap_or(0);
        // One that does not exist has no changes that are kept.
        let Some(info) = info.filter(|info| kept_after <= info.version) else { return Ok(()) };
        let after =
            if descending { info.version + 1 } else { info.version.saturating_sub(back).max(kept_after) };
        let limit = if descending {
            Some(usize::try_from(info.version - kept_after).unwrap_or(1).clamp(1, limit.unwrap_or(3)))
        } else {
            limit
        };
        if descending && info.version == kept_after {
            return Ok(());
        }
        self.both(|backend| {
            let request =
                ChangesRead { query_db: name.into(), after: Some(after), limit, max_bytes: None, descending };
            let mut page = wait(backend.read_changes(request))?;
            if descending {
                page.next = None;
            }
            Ok(Answer::Changes(page))
        })
    }

    fn reopen(&mut self) {
        if let Against::Engine(engine) = self.against {
            self.other = engine.reopen(self.other.clone(), &self.file, &self.clock);
            self.listen();
            self.forget_changes();
        }
    }

    fn finish(&self) -> Result<(), String> {
        self.both(|backend| wait(backend.query_dbs()).map(Answer::Infos))?;
        self.both(|backend| wait(backend.stats()).map(|stats| Answer::Stats(stats.query_dbs)))?;
        self.both(|backend| {
            let report = wait(backend.verify(Progress::default()))?;
            Ok(Answer::Problems(report.findings.iter().map(ToString::to_string).collect()))
        })?;
        for name in NAMES {
            self.both(|backend| everything(backend, name).map(Answer::Items))?;
            for partition in PARTITIONS {
                self.both(|backend| {
                    let load = backend.load_items(name.into(), partition.into(), None);
                    wait(load).map(Answer::Items)
                })?;
            }
        }
        Ok(())
    }

    /// What the oracle finds, against a plain scan: the right items, in the right order.
    fn by_definition(&self, request: &ItemsRead) -> Result<(), String> {
        let ItemSource::Query(query) = &request.source else { return Ok(()) };
        let Ok(pages) = read_pages(&*self.oracle, request.clone()) else { return Ok(()) };
        let found: Vec<_> = pages.iter().flat_map(|page| &page.items).map(|item| item.key.clone()).collect();
        let all = everything(&*self.oracle, &request.query_db).map_err(|error| error.to_string())?;
        let Ok(Some(info)) = wait(self.oracle.query_db_info(request.query_db.clone())) else { return Ok(()) };
        let mut expected: Vec<_> = all
            .iter()
            .filter_map(|item| place(&info, query, item).map(|place| (place, item.key.clone())))
            .collect();
        expected.sort();
        if request.descending {
            expected.reverse();
        }
        let expected: Vec<_> = expected.into_iter().map(|(_, key)| key).collect();
        same(&found, &expected)
    }
}

/// Where an item is among those that a query without a filter or a condition names; `None` if it is not.
fn place(info: &QueryDbInfo, query: &ItemQuery, item: &Item) -> Option<Vec<larder::KeyValue>> {
    use larder::KeyValue;
    let json: serde_json::Value = serde_json::from_str(&item.json).expect("items are JSON");
    let value = |path: &str| {
        let found = path.split('.').try_fold(&json, |json, name| json.get(name))?;
        serde_json::from_value::<KeyValue>(found.clone()).ok()
    };
    let place = match &query.source {
        QuerySource::Key(partition) if *partition != item.key.partition => return None,
        QuerySource::Key(_) => vec![item.key.sub.clone()],
        QuerySource::Index { name, values } => {
            let index = info.spec.find_index(name)?;
            let place: Vec<KeyValue> =
                index.fields().map(|field| value(&field.path)).collect::<Option<_>>()?;
            if place[..index.key.len()] != values[..] {
                return None;
            }
            place[index.key.len()..].to_vec()
        }
        _ => return None,
    };
    if !query.sort_prefix.is_empty() && place[..query.sort_prefix.len()] != query.sort_prefix[..] {
        return None;
    }
    let next = place.get(query.sort_prefix.len());
    let holds = query.sort.as_ref().is_none_or(|sort| next.is_some_and(|next| holds(sort, next)));
    let passes = query.filter.as_ref().is_none_or(|filter| filtered(filter, &value, &json));
    (holds && passes).then_some(place)
}

fn holds(sort: &larder::Sort, value: &larder::KeyValue) -> bool {
    use larder::{KeyValue, Sort};
    match sort {
        Sort::Eq(other) => value == other,
        Sort::Lt(other) => value < other,
        Sort::Le(other) => value <= other,
        Sort::Gt(other) => value > other,
        Sort::Ge(other) => value >= other,
        Sort::Between(low, high) => low <= value && value <= high,
        Sort::BeginsWith(prefix) => matches!(value, KeyValue::String(text) if text.starts_with(prefix)),
        _ => false,
    }
}

/// A filter of the few that are asked, worked out by another way than the library's.
fn filtered(
    filter: &larder::Filter,
    value: &dyn Fn(&str) -> Option<larder::KeyValue>,
    json: &serde_json::Value,
) -> bool {
    use larder::{Filter, KeyValue, Test};
    match filter {
        Filter::And(all) => all.iter().all(|filter| filtered(filter, value, json)),
        Filter::Or(any) => any.iter().any(|filter| filtered(filter, value, json)),
        Filter::Not(inner) => !filtered(inner, value, json),
        Filter::Field { path, test } => {
            let is_there = path.split('.').try_fold(json, |json, name| json.get(name)).is_some();
            let found = value(path);
            let key = |other: &serde_json::Value| serde_json::from_value::<KeyValue>(other.clone()).ok();
            let same_type = |other: &KeyValue| {
                found
                    .as_ref()
                    .filter(|found| found.key_type() == other.key_type())
                    .map(|found| found.cmp(other))
            };
            let compared = |other: &serde_json::Value| key(other).and_then(|other| same_type(&other));
            match test {
                Test::Eq(other) => compared(other).is_some_and(std::cmp::Ordering::is_eq),
                Test::Ne(other) => !compared(other).is_some_and(std::cmp::Ordering::is_eq),
                Test::Lt(other) => compared(other).is_some_and(std::cmp::Ordering::is_lt),
                Test::Ge(other) => compared(other).is_some_and(std::cmp::Ordering::is_ge),
                Test::Between(low, high) => {
                    compared(low).is_some_and(std::cmp::Ordering::is_ge)
                        && compared(high).is_some_and(std::cmp::Ordering::is_le)
                }
                Test::In(any) => {
                    any.iter().any(|other| compared(other).is_some_and(std::cmp::Ordering::is_eq))
                }
                Test::BeginsWith(prefix) => {
                    matches!(&found, Some(KeyValue::String(text)) if text.starts_with(prefix.as_str()))
                }
                Test::Contains(part) => match (&found, part) {
                    (Some(KeyValue::String(text)), serde_json::Value::String(part)) => {
                        text.contains(part.as_str())
                    }
                    _ => false,
                },
                Test::Exists => is_there,
                Test::NotExists => !is_there,
                other => panic!("a test that this oracle does not know: {other:?}"),
            }
        }
        other => panic!("a filter that this oracle does not know: {other:?}"),
    }
}

fn everything(backend: &dyn Backend, name: &str) -> Result<Vec<Item>> {
    let request = ItemsRead {
        query_db: name.into(),
        source: ItemSource::Scan,
        after: None,
        limit: Some(100),
        max_bytes: None,
        descending: false,
    };
    Ok(read_pages(backend, request)?.into_iter().flat_map(|page| page.items).collect())
}

/// All pages of a read, or the one that an unlimited read gives.
fn read_pages(backend: &dyn Backend, mut request: ItemsRead) -> Result<Vec<Page<Item>>> {
    let mut pages: Vec<Page<Item>> = Vec::new();
    loop {
        let page = wait(backend.read_items(request.clone()))?;
        let next = page.next.clone();
        pages.push(page);
        if next.is_none() || pages.len() > 200 {
            return Ok(pages);
        }
        request.after = next;
    }
}

fn same<T: PartialEq + Debug>(found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("it answers {found:#?}\nnot {expected:#?}")) }
}
