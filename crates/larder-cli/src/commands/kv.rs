//! `larder kv`: the key-value store, in a file of its own.

mod compact;
mod export;
mod get;
mod import;
mod list;
mod place;
mod put;
mod remove;
mod repair;
mod size;
mod status;
mod watch;

use self::place::Place;
use crate::{context::Context, exit_code::ExitCode};

/// Works with a key-value store: one node's keys and values, in a write-ahead log of its own
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Kv {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Put(put::Put),
    Get(get::Get),
    Remove(remove::Remove),
    List(list::List),
    Watch(watch::Watch),
    Size(size::Size),
    Status(status::Status),
    Compact(compact::Compact),
    Repair(repair::Repair),
    Export(export::Export),
    Import(import::Import),
}

impl Kv {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let place = &self.place;
        match self.command {
            Command::Put(command) => command.run(context, place),
            Command::Get(command) => command.run(context, place),
            Command::Remove(command) => command.run(context, place),
            Command::List(command) => command.run(context, place),
            Command::Watch(command) => command.run(context, place),
            Command::Size(command) => command.run(context, place),
            Command::Status(command) => command.run(context, place),
            Command::Compact(command) => command.run(context, place),
            Command::Repair(command) => command.run(context, place),
            Command::Export(command) => command.run(context, place),
            Command::Import(command) => command.run(context, place),
        }
    }
}
