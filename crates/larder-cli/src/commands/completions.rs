//! `larder completions`: the command line, known to a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{args::Cli, context::Context, exit_code::ExitCode};

/// Prints completions for a shell
///
/// For example `larder completions bash > ~/.local/share/bash-completion/completions/larder`.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "larder", &mut script);
        context.ui.line(String::from_utf8_lossy(&script).trim_end())?;
        Ok(ExitCode::Success)
    }
}
