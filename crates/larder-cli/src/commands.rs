//! The commands, one file each.

pub(crate) mod append;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod compact;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod drop_log;
pub(crate) mod export;
pub(crate) mod forget;
pub(crate) mod import;
pub(crate) mod kv;
pub(crate) mod logs;
pub(crate) mod projections;
pub(crate) mod querydb;
pub(crate) mod read;
pub(crate) mod snapshots;
pub(crate) mod stats;
pub(crate) mod streams;
pub(crate) mod tail;
pub(crate) mod tasks;
pub(crate) mod trim;
pub(crate) mod verify;

use crate::{args::Command, context::Context, exit_code::ExitCode};

/// Runs a command.
pub(crate) fn run(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(command) => command.run(context),
        Command::Import(command) => command.run(context),
        Command::Append(command) => command.run(context),
        Command::Read(command) => command.run(context),
        Command::Tail(command) => command.run(context),
        Command::Logs(command) => command.run(context),
        Command::Streams(command) => command.run(context),
        Command::Querydb(command) => command.run(context),
        Command::Projections(command) => command.run(context),
        Command::Snapshots(command) => command.run(context),
        Command::Tasks(command) => command.run(context),
        Command::Stats(command) => command.run(context),
        Command::Verify(command) => command.run(context),
        Command::Compact(command) => command.run(context),
        Command::Trim(command) => command.run(context),
        Command::Forget(command) => command.run(context),
        Command::DropLog(command) => command.run(context),
        Command::Audit(command) => command.run(context),
        Command::Export(command) => command.run(context),
        Command::Backup(command) => command.run(context),
        Command::Kv(command) => command.run(context),
        Command::Bench(command) => command.run(context),
        Command::Completions(command) => command.run(context),
    }
}
