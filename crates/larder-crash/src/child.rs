//! The process that is killed: writers that append until the end, and say on standard output what they are told.

use std::{
    fmt,
    io::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    thread,
    time::Duration,
};

use larder::{
    Appended, BackendConfig, Config, Position, Store,
    backend::{Progress, sqlite::SqliteBackend},
};
use rusqlite::{Connection, OpenFlags};

use crate::{
    early::EarlyAnswers,
    failure::Failure,
    ledger::Answer,
    random::Random,
    step::{Step, StepId},
    violation::OrUnusable,
    writer::{Witness, Writer},
};

/// What the child is told on its command line.
#[derive(Debug, Clone)]
pub struct ChildOptions {
    /// The store's file.
    pub path: PathBuf,
    /// The seed of the steps.
    pub seed: u64,
    /// Which life of the file this is; the steps of each life are others.
    pub life: u32,
    /// Threads that write.
    pub writers: u32,
    /// What the main thread does meanwhile, over and over.
    pub chore: Chore,
    /// The mutant: answers before the commit.
    pub answers_early: bool,
}

/// What goes on beside the writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// Nothing.
    None,
    /// Checkpoints.
    Checkpoint,
    /// Backups.
    Backup,
    /// The store is closed and opened.
    Reopen,
}

impl FromStr for Chore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "checkpoint" => Ok(Self::Checkpoint),
            "backup" => Ok(Self::Backup),
            "reopen" => Ok(Self::Reopen),
            other => Err(format!("no such chore: {other}")),
        }
    }
}

impl fmt::Display for Chore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Checkpoint => "checkpoint",
            Self::Backup => "backup",
            Self::Reopen => "reopen",
        })
    }
}

/// Steps that a writer does in one life, at the most.
pub(crate) const STEPS_PER_LIFE: u32 = 10_000;
/// Steps between two openings, where the chore is to reopen.
const STEPS_PER_OPENING: u32 = 20;

/// What the child says, one line each, written at once so that a line is there as a whole or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A step is about to be submitted: a compaction with its end, a batch with the task that it acknowledges.
    Submitted(StepId, u64),
    /// It was answered.
    Answered(StepId, Answer),
    /// The chore begins; killing may aim at it.
    Chore,
    /// A backup is complete.
    BackedUp(PathBuf),
    /// Something failed that must not.
    Failed(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submitted(id, target) => write!(f, "submit {id} {target}"),
            Self::Answered(id, Answer::Appended(parts)) => {
                write!(f, "appended {id}")?;
                parts.iter().try_for_each(|part| {
                    let part = part.unwrap_or_default();
                    write!(f, " {} {} {}", part.first_seq_nr, part.first_position, part.count())
                })
            }
            Self::Answered(id, Answer::Compacted(through)) => write!(f, "compacted {id} {through}"),
            Self::Answered(id, Answer::Worked) => write!(f, "worked {id}"),
            Self::Answered(id, Answer::Refused) => write!(f, "refused {id}"),
            Self::Answered(id, Answer::Unknown) => write!(f, "unknown {id}"),
            Self::Chore => f.write_str("chore"),
            Self::BackedUp(path) => write!(f, "backup {}", path.display()),
            Self::Failed(reason) => write!(f, "failed {}", reason.replace('\n', " ")),
        }
    }
}

impl FromStr for Line {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut fields = rest.split(' ');
        let mut id = || fields.next().and_then(|id| id.parse::<StepId>().ok()).ok_or(());
        match word {
            "submit" => {
                let id = id()?;
                Ok(Self::Submitted(id, number(fields.next())?))
            }
            "appended" => {
                let id = id()?;
                let numbers = fields.map(|field| number(Some(field))).collect::<Result<Vec<_>, ()>>()?;
                Ok(Self::Answered(id, Answer::Appended(numbers.chunks_exact(3).map(appended).collect())))
            }
            "compacted" => {
                let id = id()?;
                Ok(Self::Answered(id, Answer::Compacted(number(fields.next())?)))
            }
            "worked" => Ok(Self::Answered(id()?, Answer::Worked)),
            "refused" => Ok(Self::Answered(id()?, Answer::Refused)),
            "unknown" => Ok(Self::Answered(id()?, Answer::Unknown)),
            "chore" => Ok(Self::Chore),
            "backup" => Ok(Self::BackedUp(rest.into())),
            "failed" => Ok(Self::Failed(rest.to_owned())),
            _ => Err(()),
        }
    }
}

fn number(field: Option<&str>) -> Result<u64, ()> {
    field.ok_or(())?.parse().map_err(drop)
}

fn appended(numbers: &[u64]) -> Option<Appended> {
    match numbers {
        [_, _, 0] => None,
        [seq_nr, position, count] => Some(Appended::new(*seq_nr, Position::new(*position), *count)),
        _ => None,
    }
}

/// Says a line. Standard output is line buffered: one line is one write, and a pipe takes that as a whole.
fn say(line: &Line) {
    let text = format!("{line}\n");
    // Without a reader there is nobody to tell, and nothing to test.
    if io::stdout().lock().write_all(text.as_bytes()).is_err() {
        std::process::abort();
    }
}

struct Speaking;

impl Witness for Speaking {
    fn submitted(&self, step: &Arc<Step>, target: u64) {
        say(&Line::Submitted(step.id, target));
    }

    fn answered(&self, id: StepId, answer: &Answer) {
        say(&Line::Answered(id, answer.clone()));
    }
}

/// Writes until it is killed.
///
/// # Errors
/// The first thing that failed; it is also said.
pub fn run(options: &ChildOptions) -> Result<(), Failure> {
    let result = if options.chore == Chore::Reopen { write_and_reopen(options) } else { write_on(options) };
    if let Err(failure) = &result {
        say(&Line::Failed(failure.to_string()));
    }
    result
}

fn open(options: &ChildOptions) -> Result<Store, Failure> {
    let config = Config::sqlite(&options.path);
    // In every other life the index of tags is merged all the time.
    let config = if options.life.is_multiple_of(2) { config.merge_at(50) } else { config };
    if !options.answers_early {
        return Ok(Store::open(config).wait().or_unusable("open")?);
    }
    let BackendConfig::Sqlite(sqlite) = &config.backend else {
        return Err(Failure::setup("it is a SQLite store"));
    };
    let backend = SqliteBackend::open(&config, sqlite).or_unusable("open")?;
    Ok(Store::with_backend(Arc::new(EarlyAnswers::new(Arc::new(backend))?)))
}

fn write_on(options: &ChildOptions) -> Result<(), Failure> {
    let store = open(options)?;
    let first = options.life * STEPS_PER_LIFE;
    thread::scope(|scope| {
        for number in 0..options.writers {
            let store = &store;
            scope.spawn(move || write(store, options, number, first..first + STEPS_PER_LIFE));
        }
        do_chores(options, &store)
    })
}

/// Opens and closes around a few steps each time.
fn write_and_reopen(options: &ChildOptions) -> Result<(), Failure> {
    let first = options.life * STEPS_PER_LIFE;
    for start in (first..first + STEPS_PER_LIFE).step_by(STEPS_PER_OPENING as usize) {
        say(&Line::Chore);
        let store = open(options)?;
        thread::scope(|scope| {
            for number in 0..options.writers {
                let store = &store;
                scope.spawn(move || write(store, options, number, start..start + STEPS_PER_OPENING));
            }
        });
        say(&Line::Chore);
        store.close().wait().or_unusable("close")?;
    }
    Ok(())
}

fn write(store: &Store, options: &ChildOptions, number: u32, steps: std::ops::Range<u32>) {
    let written = Writer::new(store, options.seed, number).and_then(|mut writer| {
        for index in steps {
            writer.step(index, &Speaking)?;
        }
        Ok(())
    });
    if let Err(error) = written {
        say(&Line::Failed(format!("write: {error}")));
    }
}

fn do_chores(options: &ChildOptions, store: &Store) -> Result<(), Failure> {
    let mut random = Random::of(options.seed, u64::from(options.life));
    for number in 0.. {
        thread::sleep(Duration::from_micros(random.below(8_000)));
        match options.chore {
            Chore::Checkpoint => {
                say(&Line::Chore);
                checkpoint(&options.path, &mut random)?;
            }
            Chore::Backup => {
                let name = format!("backup-{}-{number}.db", options.life);
                let destination = options.path.with_file_name(name);
                say(&Line::Chore);
                store.backup(&destination, Progress::default()).wait().or_unusable("backup")?;
                say(&Line::BackedUp(destination));
            }
            Chore::None | Chore::Reopen => return Ok(()),
        }
    }
    Ok(())
}

fn checkpoint(path: &Path, random: &mut Random) -> Result<(), Failure> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let mode = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][random.index(4)];
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_said() {
        let id = StepId { writer: 2, index: 71 };
        let appended = Appended::new(4, Position::new(9), 2);
        for line in [
            Line::Submitted(id, 3),
            Line::Answered(id, Answer::Appended(vec![Some(appended), None])),
            Line::Answered(id, Answer::Compacted(5)),
            Line::Answered(id, Answer::Worked),
            Line::Answered(id, Answer::Refused),
            Line::Answered(id, Answer::Unknown),
            Line::Chore,
            Line::BackedUp("/tmp/a b".into()),
            Line::Failed("why not".into()),
        ] {
            assert_eq!(line.to_string().parse(), Ok(line));
        }
    }
}
