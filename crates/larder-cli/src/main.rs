//! The command line of Larder: one file per command, and no logic that a library lacks.

mod args;
mod commands;
mod context;
mod exit_code;
mod failure;
mod filter;
mod input;
mod interrupt;
mod query_syntax;
mod stopwatch;
mod ui;
mod whole_file;

use std::{env, io::Write, process};

use clap::{Parser, error::ErrorKind};

use crate::{
    args::Cli,
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{ColorChoice, Ui},
};

fn main() -> process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error).into(),
    };
    let ui = Ui::new(cli.global.json, cli.global.quiet, cli.global.color);
    let context = Context::new(ui, cli.global.store);
    let ended = commands::run(cli.command, &context).and_then(|code| {
        context.ui.flush()?;
        Ok(code)
    });
    context.close();
    match ended.map_err(Failure::from_error) {
        Ok(code) => code,
        Err(None) => ExitCode::Success,
        Err(Some(failure)) => {
            // What was found before it failed comes first.
            let _ = context.ui.flush();
            context.ui.failure(&failure);
            failure.code
        }
    }
    .into()
}

/// A command line that cannot be taken, or one that asks for help.
fn refuse(error: &clap::Error) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !asked && env::args_os().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let failure = Failure::invalid(message).hint("see `larder help`");
        Ui::new(true, false, ColorChoice::Never).failure(&failure);
    } else {
        let _ = error.print();
        let _ = std::io::stdout().flush();
    }
    if asked { ExitCode::Success } else { ExitCode::InvalidArgument }
}
