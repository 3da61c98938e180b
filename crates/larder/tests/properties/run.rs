//! Runs commands on two engines and compares every answer.

use std::{fmt::Debug, path::PathBuf, sync::Arc};

use larder::{
    Error, ErrorKind, Event, LogInfo, Page, Position, Query, QueryItem, Result, StreamInfo, Uuid,
    backend::{
        Backend, CommitReply, CommitRequest, EventRead, EventSource, HistoryRead, HistoryRow, LogStats,
        Operation, Progress, SnapshotStats, StreamsRead,
    },
    wait,
};
use tempfile::TempDir;

use crate::peer::{Peer, Request};
use crate::{
    command::{Command, LOGS, STREAMS, TAGS, TYPES},
    snapshot::{self, Seen},
    subject::{Engine, ManualClock},
    world::World,
};

/// Runs the commands on memory and on the engine. `Err` says which answers differ.
pub(crate) fn compare<'a>(
    engine: Engine,
    commands: impl IntoIterator<Item = &'a Command>,
) -> Result<(), String> {
    let mut pair = Pair::open(engine);
    for (number, command) in commands.into_iter().enumerate() {
        let ran = pair.run(command, true);
        ran.map_err(|difference| format!("command {number}, {command:?}: {difference}"))?;
    }
    pair.finish()
}

/// Runs each command on a file in this process or, where it says so, in another one.
pub(crate) fn compare_by_turns<'a>(
    peer: &mut Peer,
    commands: impl IntoIterator<Item = &'a (bool, Command)>,
) -> Result<(), String> {
    // With different thresholds, so that they come upon each other's work at different stages.
    let mut pair = Pair::open(Engine::Sqlite { merge_at: 6 });
    peer.ask(&Request::Open { file: pair.file("store.db"), merge_at: 9 })?;
    for (number, (mine, command)) in commands.into_iter().enumerate() {
        let ran = peer.ask(&Request::Run { command: command.clone(), mine: !mine });
        let ran = ran.and_then(|()| pair.run(command, *mine));
        ran.map_err(|difference| format!("command {number}, {command:?}: {difference}"))?;
    }
    peer.ask(&Request::Finish)?;
    pair.finish()
}

/// What an engine answered, in a form that can be compared.
#[derive(Debug, PartialEq)]
enum Answer {
    Reply(CommitReply),
    Events(Page<Event>),
    EventPages(Vec<Page<Event>>),
    Streams(Page<StreamInfo>),
    Infos { logs: Vec<LogInfo>, log: Option<LogInfo>, stream: Option<StreamInfo> },
    Snapshots(Seen),
    Stats(Vec<LogStats>, SnapshotStats),
    Verified { conditions: u64, snapshots: u64, problems: Vec<String> },
    History(Vec<HistoryRow>),
}

/// An error, without its words: engines may say it differently.
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

/// A commit as it was sent, to send it again.
#[derive(Clone)]
struct Sent {
    id: Option<Uuid>,
    on_callers_thread: bool,
    operations: Vec<Operation>,
}

/// The oracle, and the engine that it is compared with.
pub(crate) struct Pair {
    engine: Engine,
    clock: Arc<ManualClock>,
    file: PathBuf,
    /// For copies of the store.
    directory: TempDir,
    oracle: Arc<dyn Backend>,
    other: Arc<dyn Backend>,
    sent: Vec<Sent>,
}

impl Pair {
    fn open(engine: Engine) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self::new(engine, directory.path().join("store.db"), directory)
    }

    /// Opens a file that another process has opened.
    pub(crate) fn join(engine: Engine, file: PathBuf) -> Self {
        Self::new(engine, file, tempfile::tempdir().expect("a temporary directory"))
    }

    fn new(engine: Engine, file: PathBuf, directory: TempDir) -> Self {
        let clock = ManualClock::new();
        let oracle = Engine::Memory.open(&file, &clock);
        let other = engine.open(&file, &clock);
        Self { engine, clock, file, directory, oracle, other, sent: Vec::new() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a command on both, or if it is not `mine`, which is for another process, on the oracle only.
    pub(crate) fn run(&mut self, command: &Command, mine: bool) -> Result<(), String> {
        match command {
            Command::Commit { id, on_callers_thread, operations } => {
                let world = World { oracle: &*self.oracle };
                let sent = Sent {
                    id: id.map(|id| Uuid::from_u128(0xBA7C_0000 + u128::from(id))),
                    on_callers_thread: *on_callers_thread,
                    operations: operations.iter().map(|operation| world.operation(operation)).collect(),
                };
                self.sent.push(sent.clone());
                self.commit(&sent, mine)
            }
            Command::Repeat(_) if self.sent.is_empty() => Ok(()),
            Command::Repeat(back) => {
                let sent = self.sent[self.sent.len() - 1 - back.min(&(self.sent.len() - 1))].clone();
                self.commit(&sent, mine)
            }
            Command::Read(spec) => {
                let request = World { oracle: &*self.oracle }.read(spec);
                self.both(mine, |backend| wait(backend.read_events(request.clone())).map(Answer::Events))
            }
            Command::ReadPages(spec) => {
                let request = World { oracle: &*self.oracle }.read(spec);
                self.both(mine, |backend| read_pages(backend, request.clone()).map(Answer::EventPages))
            }
            Command::Streams { log, after, limit, descending } => self.both(mine, |backend| {
                let (log, after) = (LOGS[*log].into(), after.map(|after| STREAMS[after].to_owned()));
                let (limit, descending) = (*limit, *descending);
                let request = StreamsRead { log, after, limit, max_bytes: None, descending };
                wait(backend.read_streams(request)).map(Answer::Streams)
            }),
            Command::Infos { log, stream } => {
                self.both(mine, |backend| infos(backend, LOGS[*log], STREAMS[*stream]))
            }
            Command::Snapshots(look) => self.both(mine, |backend| look.at(backend).map(Answer::Snapshots)),
            Command::Stats => self.both(mine, stats),
            Command::Verify => self.both(mine, verify),
            Command::History { log, limit } => {
                self.both(mine, |backend| history(backend, LOGS[*log], *limit).map(Answer::History))
            }
            Command::Advance(by) => {
                self.clock.advance(*by);
                Ok(())
            }
            Command::Reopen if !mine => Ok(()),
            Command::Reopen => {
                let placeholder = self.oracle.clone();
                let open = std::mem::replace(&mut self.other, placeholder);
                self.other = self.engine.reopen(open, &self.file, &self.clock);
                Ok(())
            }
        }
    }

    /// Commits on both.
    fn commit(&self, sent: &Sent, mine: bool) -> Result<(), String> {
        self.fail_to_commit(sent)?;
        self.both(mine, |backend| {
            let Sent { id, on_callers_thread, operations } = sent.clone();
            wait(backend.commit(CommitRequest { id, operations, on_callers_thread })).map(Answer::Reply)
        })
    }

    /// Commits to the oracle with a guard behind it that cannot hold, which must leave no trace.
    fn fail_to_commit(&self, sent: &Sent) -> Result<(), String> {
        let before = dump(&*self.oracle);
        let (log, stream) = (LOGS[0].into(), STREAMS[0].to_owned());
        let mut operations = sent.operations.clone();
        operations.push(Operation::RequireHead { log, stream, head: u64::MAX });
        let request = CommitRequest { id: None, on_callers_thread: true, operations };
        wait(self.oracle.commit(request)).expect_err("its last operation cannot succeed");
        same(&before, &dump(&*self.oracle))
            .map_err(|difference| format!("a failed batch left a trace: {difference}"))
    }

    /// Asks both and compares, or only the oracle.
    fn both(&self, mine: bool, ask: impl Fn(&dyn Backend) -> Result<Answer>) -> Result<(), String> {
        let answer = ask(&*self.oracle).map_err(Failure::from);
        if mine { same(&answer, &ask(&*self.other).map_err(Failure::from)) } else { Ok(()) }
    }

    /// Compares everything, and copies of it, and closes.
    pub(crate) fn finish(self) -> Result<(), String> {
        self.compare_everything().map_err(|difference| format!("at the end: {difference}"))?;
        self.compare_copies().map_err(|difference| format!("in copies: {difference}"))?;
        wait(self.other.close()).map_err(|error| error.to_string())
    }

    fn compare_everything(&self) -> Result<(), String> {
        same(&dump(&*self.oracle), &dump(&*self.other))?;
        for log in LOGS {
            scan(&*self.oracle, log)?;
        }
        Ok(())
    }

    /// Restores what each exported into fresh stores of the other kind, which must then hold the same.
    fn compare_copies(&self) -> Result<(), String> {
        let memory = Engine::Memory.open(&self.file, &self.clock);
        let other = self.engine.open(&self.file("copy.db"), &self.clock);
        for (from, to) in [(&self.oracle, &other), (&self.other, &memory)] {
            let operations = snapshot::restoring(&**from).map_err(|error| error.to_string())?;
            let request = CommitRequest { id: None, operations, on_callers_thread: true };
            wait(to.commit(request)).map_err(|error| format!("restoring snapshots: {error}"))?;
            for log in LOGS {
                let rows = history(&**from, log, 3).map_err(|error| error.to_string())?;
                for rows in rows.chunks(4) {
                    let operations = vec![Operation::Restore { log: log.into(), rows: rows.to_vec() }];
                    let request = CommitRequest { id: None, operations, on_callers_thread: true };
                    wait(to.commit(request)).map_err(|error| format!("restoring {rows:#?}: {error}"))?;
                }
            }
        }
        same(&dump(&*self.oracle), &dump(&*memory))?;
        same(&dump(&*self.oracle), &dump(&*other))
    }
}

fn same<T: PartialEq + Debug>(oracle: &T, other: &T) -> Result<(), String> {
    if oracle == other {
        return Ok(());
    }
    let (oracle, other) = (format!("{oracle:#?}"), format!("{other:#?}"));
    let (oracle, other): (Vec<&str>, Vec<&str>) = (oracle.lines().collect(), other.lines().collect());
    let alike = oracle.iter().zip(&other).take_while(|(one, another)| one == another).count();
    let from = alike.saturating_sub(12);
    let part = |lines: &[&str]| lines[from..lines.len().min(alike + 12)].join("\n");
    Err(format!("memory has, around its line {alike},\n{}\nthe other has\n{}", part(&oracle), part(&other)))
}

/// Everything that can be asked of a store.
fn dump(backend: &dyn Backend) -> Result<Vec<Answer>, Failure> {
    let mut answers = vec![stats(backend)?, verify(backend)?];
    answers.push(Answer::Snapshots(Seen::All(snapshot::everything(backend)?)));
    for log in LOGS {
        answers.push(Answer::History(history(backend, log, 100)?));
        for stream in STREAMS {
            answers.push(infos(backend, log, stream)?);
        }
    }
    Ok(answers)
}

fn infos(backend: &dyn Backend, log: &str, stream: &str) -> Result<Answer> {
    Ok(Answer::Infos {
        logs: wait(backend.logs())?,
        log: wait(backend.log_info(log.into()))?,
        stream: wait(backend.stream_info(log.into(), stream.into()))?,
    })
}

fn stats(backend: &dyn Backend) -> Result<Answer> {
    wait(backend.stats()).map(|stats| Answer::Stats(stats.logs, stats.snapshots))
}

fn verify(backend: &dyn Backend) -> Result<Answer> {
    let report = wait(backend.verify(Progress::default()))?;
    let problems = report.findings.iter().map(ToString::to_string).collect();
    // How many rows an engine has looked at is its own affair.
    let (conditions, snapshots) = (report.conditions, report.snapshots);
    Ok(Answer::Verified { conditions, snapshots, problems })
}

/// All pages of a read, which must be well-formed.
fn read_pages(backend: &dyn Backend, mut request: EventRead) -> Result<Vec<Page<Event>>> {
    request.limit = request.limit.or(Some(3));
    let mut pages = Vec::new();
    loop {
        let page = wait(backend.read_events(request.clone()))?;
        let next = page.next;
        assert!(page.items.len() <= request.limit.unwrap_or_default(), "{page:#?} is over its limit");
        assert!(next.is_none() || next == page.items.last().map(|event| event.position), "{page:#?}");
        pages.push(page);
        if next.is_none() {
            return Ok(pages);
        }
        request.after = next;
    }
}

/// A log's whole history. Rows of a kind that has no order are sorted.
pub(crate) fn history(backend: &dyn Backend, log: &str, limit: usize) -> Result<Vec<HistoryRow>> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = wait(backend.read_history(HistoryRead { log: log.into(), after, limit }))?;
        assert!(page.rows.len() <= limit, "{page:#?} is over its limit");
        rows.extend(page.rows);
        if page.next.is_none() {
            break;
        }
        after = page.next;
    }
    assert!(rows.is_sorted_by_key(section), "rows are out of order: {rows:#?}");
    rows.sort_by_key(|row| {
        let name = match row {
            HistoryRow::Stream { stream, .. } => stream.clone(),
            HistoryRow::AppendId(row) => row.id.to_string(),
            _ => String::new(),
        };
        (section(row), name)
    });
    Ok(rows)
}

/// Where a row belongs in a history.
fn section(row: &HistoryRow) -> (u8, Position) {
    match row {
        HistoryRow::Stream { .. } => (0, Position::START),
        HistoryRow::Event(event) => (1, event.position),
        HistoryRow::Trace { position, .. } => (1, *position),
        HistoryRow::AppendId(_) => (2, Position::START),
        HistoryRow::Condition { position, .. } => (3, *position),
        HistoryRow::Log { .. } => (4, Position::START),
        other => panic!("a row that this test does not know: {other:?}"),
    }
}

/// The oracle's own queries against a plain scan, both ways.
fn scan(oracle: &dyn Backend, log: &str) -> Result<(), String> {
    let rows = history(oracle, log, 100).map_err(|error| error.to_string())?;
    let visible = rows.into_iter().filter_map(|row| match row {
        HistoryRow::Event(event) => Some(event),
        _ => None,
    });
    let visible: Vec<Event> = visible.collect();
    let items = TYPES.iter().flat_map(|event_type| {
        TAGS.iter().map(|tag| QueryItem::new().types([*event_type, TYPES[0]]).tag(*tag))
    });
    let items: Vec<QueryItem> =
        items.chain([QueryItem::new().types(TYPES), QueryItem::new().tags([TAGS[0], TAGS[1]])]).collect();
    for pair in items.windows(2) {
        let query = Query::from(pair.to_vec());
        let mut expected: Vec<Event> = visible.clone();
        expected.retain(|event| query.matches(&event.event_type, &event.tags));
        for descending in [false, true] {
            let source = EventSource::Query(query.clone());
            let (after, limit, max_bytes) = (None, Some(usize::MAX), None);
            let request = EventRead { log: log.into(), source, after, limit, max_bytes, descending };
            let page = wait(oracle.read_events(request)).map_err(|error| error.to_string())?;
            same(&page.items, &expected)?;
            expected.reverse();
        }
    }
    Ok(())
}
