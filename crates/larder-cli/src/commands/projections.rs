//! `larder projections`: how far the readers of logs have come, and what stopped them.

mod dead;
mod list;
mod rebuild;
mod status;

use std::time::{Duration, UNIX_EPOCH};

use larder::{DeadLetter, Position, Projection, ProjectionInfo, Store};
use serde_json::{Value, json};

use crate::{context::Context, exit_code::ExitCode, failure::Failure, ui::time};

/// Shows how far projections have come and what stopped them, and asks for rebuilds
#[derive(Debug, clap::Args)]
pub(crate) struct Projections {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    List(list::List),
    Status(status::Status),
    Dead(dead::Dead),
    Rebuild(rebuild::Rebuild),
}

impl Projections {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.what {
            What::List(command) => command.run(context),
            What::Status(command) => command.run(context),
            What::Dead(command) => command.run(context),
            What::Rebuild(command) => command.run(context),
        }
    }
}

/// A projection that must exist.
fn existing(store: &Store, name: &str) -> anyhow::Result<(Projection, ProjectionInfo)> {
    let projection = store.projection(name)?;
    if let Some(info) = projection.info().wait()? {
        return Ok((projection, info));
    }
    let message = format!("there is no projection `{name}` in this store");
    let names: Vec<String> = store.projections().wait()?.into_iter().map(|info| info.projection).collect();
    let hint = match names.len() {
        0 => "a projection is known once a program has run it".to_owned(),
        1..=12 => format!("there is: {}", names.join(", ")),
        _ => "see all of them with `larder projections list`".to_owned(),
    };
    Err(Failure::new(ExitCode::NotFound, message).about("projection", name).hint(hint).into())
}

/// A projection, and what it has before it.
#[derive(Debug)]
struct Progress {
    info: ProjectionInfo,
    /// The head of the log that it reads.
    head: Position,
    /// Where it would be if it took what is there: its checkpoint, unless an event that it reads comes later.
    behind: bool,
}

impl Progress {
    fn of(store: &Store, info: ProjectionInfo) -> larder::Result<Self> {
        let Some(name) = &info.log else {
            let head = info.checkpoint;
            return Ok(Self { info, head, behind: false });
        };
        let log = store.event_log(name)?;
        let head = log.info().wait()?.map_or(Position::START, |log| log.head);
        let query = info.query.clone().unwrap_or_else(larder::Query::all);
        let next = log.query(query).after(info.checkpoint).limit(1).wait()?;
        Ok(Self { head, behind: !next.items.is_empty(), info })
    }

    /// In a word or two.
    fn state(&self) -> &'static str {
        match &self.info {
            info if info.failure.is_some() => "stopped",
            info if info.rebuild.is_some() => "rebuilding",
            info if info.rebuild_requested => "to be rebuilt",
            _ if self.behind => "behind",
            _ => "caught up",
        }
    }

    fn json(&self) -> Value {
        let info = &self.info;
        json!({
            "projection": info.projection,
            "state": self.state(),
            "log": info.log,
            "query": info.query,
            "checkpoint": info.checkpoint,
            "head": self.head,
            "owns": info.owns,
            "failure": info.failure,
            "rebuild_requested": info.rebuild_requested,
            "rebuild": info.rebuild,
            "dead_letters": info.dead_letters,
        })
    }
}

/// When a dead letter was put aside.
fn failed_at(letter: &DeadLetter) -> String {
    time(UNIX_EPOCH + Duration::from_micros(letter.failed_at))
}
