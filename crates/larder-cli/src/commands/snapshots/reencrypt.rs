//! `larder snapshots re-encrypt`

use serde_json::json;

use super::keys::{self, KeyOptions};
use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, Unit, count, counted},
};

/// Encrypts every snapshot with the active key, those too that are not encrypted
///
/// It works in small commits while others read and write. Interrupted, it can be run again: what was done is passed
/// over. What cannot be decrypted is left as it is and told; the command then fails at its end.
#[derive(Debug, clap::Args)]
#[command(after_long_help = keys::HELP)]
pub(crate) struct ReEncrypt {
    #[command(flatten)]
    keys: KeyOptions,
}

impl ReEncrypt {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        let Some(keyring) = self.keys.keyring()? else {
            return Err(Failure::invalid("there is no key to encrypt with")
                .hint("give a file with `--key-file`, or set LARDER_KEYS; see `larder snapshots re-encrypt --help`")
                .into());
        };
        let key = keyring.active().id().to_owned();
        let store = context.open_to_change()?;
        let bar = ui.bar(None, Unit::Steps);
        let done = store.reencrypt_snapshots(keyring, bar.as_progress()).wait();
        bar.finish();
        let done = done?;
        store.close().wait()?;
        let result = json!({
            "key": key,
            "snapshots": done.snapshots,
            "rewritten": done.rewritten,
            "failed": done.failed,
        });
        ui.result(&result, |ui| {
            ui.line(format!(
                "{} {} of {} with key {}",
                ui.paint(Part::Good, "encrypted"),
                count(done.rewritten),
                counted(done.snapshots, "snapshot"),
                ui.paint(Part::Name, &key)
            ))
        })?;
        let Some(first) = done.failures.first() else { return Ok(ExitCode::Success) };
        let message = format!("{} could not be read", counted(done.failed, "snapshot"));
        let mut failure = Failure::new(ExitCode::of(first.kind()), message).about("failed", done.failed);
        failure.details = done.failures.iter().take(10).map(ToString::to_string).collect();
        failure.hint = first.hint().map(str::to_owned);
        Err(failure.into())
    }
}
