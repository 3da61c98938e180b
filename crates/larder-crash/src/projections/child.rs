//! The process that is killed: it appends, and projects what it appends.

use std::{
    fmt,
    io::{self, Write as _},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    thread,
    time::Duration,
};

use larder::{
    BackendConfig, Config, ErrorKind, Expected, NewEvent, Query, Store, backend::sqlite::SqliteBackend,
};
use serde_json::json;

use super::{
    model::{BAD, Model},
    split::SplitCommits,
};
use crate::{failure::Failure, random::Random, violation::OrUnusable};

/// What the child is told on its command line.
#[derive(Debug, Clone)]
pub struct ChildOptions {
    /// The store's file.
    pub path: PathBuf,
    /// The seed of what is appended.
    pub seed: u64,
    /// What goes on beside it.
    pub task: Task,
    /// The projection owns its QueryDbs. If not, some events are bad.
    pub owns: bool,
    /// The mutant: the checkpoint has a commit of its own.
    pub splits: bool,
}

/// What goes on beside appending and projecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Nothing.
    None,
    /// A second runner of the same projection.
    SecondRunner,
    /// The projection is rebuilt over and over.
    Rebuild,
    /// Rebuilds are asked for, which the runner does.
    RequestRebuild,
    /// The store is closed and opened.
    Reopen,
}

const TASKS: [(Task, &str); 5] = [
    (Task::None, "none"),
    (Task::SecondRunner, "second-runner"),
    (Task::Rebuild, "rebuild"),
    (Task::RequestRebuild, "request-rebuild"),
    (Task::Reopen, "reopen"),
];

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = TASKS.iter().find(|(_, name)| *name == text);
        found.map(|(task, _)| *task).ok_or_else(|| format!("no such task: {text}"))
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = TASKS.iter().find(|(task, _)| task == self).map_or("none", |(_, name)| name);
        f.write_str(name)
    }
}

/// Streams that are written to.
const STREAMS: u64 = 8;

/// Appends and projects until it is killed. It says `open` when it has opened the store, and `!` with what fails.
///
/// # Errors
/// What should have worked and did not; it is also said.
pub fn child(options: &ChildOptions) -> Result<(), Failure> {
    let mut random = Random::new(options.seed);
    let ended = loop {
        let opened = open(options).and_then(|store| {
            say("open");
            live(&store, options, &mut random)
        });
        if let Err(failure) = opened {
            break failure;
        }
    };
    say(&format!("!{ended}"));
    Err(ended)
}

fn open(options: &ChildOptions) -> Result<Store, Failure> {
    let config = Config::sqlite(&options.path);
    if !options.splits {
        return Ok(Store::open(config).wait().or_unusable("open")?);
    }
    let BackendConfig::Sqlite(sqlite) = &config.backend else {
        return Err(Failure::setup("it is a SQLite store"));
    };
    let backend = SqliteBackend::open(&config, sqlite).or_unusable("open")?;
    Ok(Store::with_backend(Arc::new(SplitCommits(Arc::new(backend)))))
}

/// From an opening to a closing, which comes only where the task is to reopen.
fn live(store: &Store, options: &ChildOptions, random: &mut Random) -> Result<(), Failure> {
    let model = Model::of(store, options.owns).or_unusable("define")?;
    let batch_events = [1, 3, 20, 500][random.index(4)];
    let runners = if options.task == Task::SecondRunner { 2 } else { 1 };
    let mut seeds = || random.next_u64();
    let writers = [seeds(), seeds()];
    thread::scope(|scope| {
        let guard = |ended: Result<(), larder::Error>, what: &str| {
            // The end of a store that was closed.
            if let Err(error) = ended.or_else(|error| on_closed(error, ())) {
                say(&format!("!{what}: {error}"));
            }
        };
        for _ in 0..runners {
            let model = &model;
            scope.spawn(move || guard(project(model, batch_events), "project"));
        }
        for seed in writers {
            let model = &model;
            scope.spawn(move || guard(append(model, Random::new(seed), !options.owns), "append"));
        }
        guard(beside(store, &model, options.task), "beside");
    });
    Ok(())
}

fn on_closed<T>(error: larder::Error, value: T) -> larder::Result<T> {
    if *error.kind() == ErrorKind::Closed { Ok(value) } else { Err(error) }
}

/// Runs the projection again whenever another runner, or a rebuild, was faster.
fn project(model: &Model, batch_events: usize) -> larder::Result<()> {
    let projection = model.projection.clone().batch_events(batch_events);
    loop {
        match projection.run(&model.log, Query::all(), model.projector()).wait() {
            Err(error) if error.is_conflict() => thread::sleep(Duration::from_millis(1)),
            ended => return ended,
        }
    }
}

fn append(model: &Model, mut random: Random, some_bad: bool) -> larder::Result<()> {
    loop {
        let events: Vec<NewEvent> = (0..=random.below(4))
            .map(|_| {
                let bad = some_bad && random.once_in(40);
                let event_type = if bad { BAD } else { ["Opened", "Paid", "Closed"][random.index(3)] };
                NewEvent::new(event_type, &json!({ "n": random.below(1_000) }))
            })
            .collect();
        model.log.append(format!("s-{}", random.below(STREAMS)), Expected::Any, events).wait()?;
        thread::sleep(Duration::from_micros(random.below(2_000)));
    }
}

fn beside(store: &Store, model: &Model, task: Task) -> larder::Result<()> {
    loop {
        thread::sleep(Duration::from_millis(5));
        match task {
            Task::None | Task::SecondRunner => {}
            Task::Rebuild => {
                let rebuilt = model.projection.rebuild(&model.log, Query::all(), model.projector()).wait();
                match rebuilt {
                    Ok(()) => say("rebuilt"),
                    Err(error) if error.is_conflict() => {}
                    Err(error) => return Err(error),
                }
            }
            Task::RequestRebuild => match model.projection.request_rebuild().wait() {
                // It has not run yet.
                Err(error) if *error.kind() == ErrorKind::NotFound => {}
                asked => drop(asked?),
            },
            Task::Reopen => {
                thread::sleep(Duration::from_millis(15));
                return store.close().wait();
            }
        }
    }
}

/// A whole line at once, or nothing once nobody listens any more.
fn say(line: &str) {
    let _ = io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}
