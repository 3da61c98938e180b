//! The command line: what is common to all commands, and the list of them.

use clap::{Parser, Subcommand};

use crate::{commands, exit_code, ui::ColorChoice};

const AFTER_HELP: &str = "\
The store is `--store URL`, else the environment variable LARDER_BACKEND (then REVENTLESS_LOCAL_BACKEND), else \
`sqlite:.larder/local.db`. URLs: `memory`, `sqlite:PATH`, `sqlite:PATH?durability=buffered`, \
`sqlite:PATH?busy_timeout=MS`. Commands that only read never create a file.";

/// The local store for event-sourced and local-first applications
#[derive(Debug, Parser)]
#[command(name = "larder", version, propagate_version = false, max_term_width = 110)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = AFTER_HELP, after_long_help = format!("{AFTER_HELP}\n\n{}", exit_code::HELP))]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The store, as a URL such as `sqlite:PATH`
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) store: Option<String>,
    /// Writes JSON: one object a line for lists, errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colour
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto", hide_possible_values = true)]
    pub(crate) color: ColorChoice,
    /// Says nothing but results, warnings and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(commands::demo::Demo),
    Import(commands::import::Import),
    Append(commands::append::Append),
    Read(commands::read::Read),
    Tail(commands::tail::Tail),
    Logs(commands::logs::Logs),
    Streams(commands::streams::Streams),
    Querydb(commands::querydb::QueryDbs),
    Projections(commands::projections::Projections),
    Snapshots(commands::snapshots::Snapshots),
    Tasks(commands::tasks::Tasks),
    Stats(commands::stats::Stats),
    Verify(commands::verify::Verify),
    Compact(commands::compact::Compact),
    Trim(commands::trim::Trim),
    Forget(commands::forget::Forget),
    DropLog(commands::drop_log::DropLog),
    Audit(commands::audit::Audit),
    Export(commands::export::Export),
    Backup(commands::backup::Backup),
    Kv(commands::kv::Kv),
    Bench(commands::bench::Bench),
    Completions(commands::completions::Completions),
}
