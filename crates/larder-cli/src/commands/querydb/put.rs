//! `larder querydb put`

use std::io::{IsTerminal, Read, stdin};

use larder::{Save, Write};
use serde_json::{json, value::RawValue};

use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, clean},
};

/// Saves an item, in place of the one that is there; its text stays as it is
#[derive(Debug, clap::Args)]
pub(super) struct Put {
    /// The QueryDb; it comes to be with its first item
    name: String,
    /// The partition key
    partition: String,
    /// The item, a JSON object; without it, it is read from the standard input
    item: Option<String>,
    /// Lets the item expire after this, as in `90m` or `30days`
    #[arg(long, value_name = "DURATION")]
    ttl: Option<humantime::Duration>,
    #[command(flatten)]
    guard: Guard,
}

/// What must hold of the item that is there.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Guard {
    /// Only if there is none
    #[arg(long)]
    if_absent: bool,
    /// Only if there is one
    #[arg(long)]
    if_present: bool,
    /// Only if it has this version; 0: only if there is none
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
}

impl Guard {
    fn apply(&self, write: Write<Save>) -> Write<Save> {
        match self.if_version {
            Some(version) => write.if_version(version),
            None if self.if_absent => write.if_absent(),
            None if self.if_present => write.if_present(),
            None => write,
        }
    }
}

impl Put {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let text = self.text()?;
        let item: &RawValue = serde_json::from_str(text.trim())
            .map_err(|error| Failure::invalid(format!("the item is not JSON: {error}")))?;
        let store = context.open_or_create()?;
        let mut write = self.guard.apply(store.query_db(&self.name)?.save(&self.partition, item));
        if let Some(ttl) = self.ttl {
            write = write.ttl(*ttl);
        }
        let saved = write.wait()?;
        store.close().wait()?;
        let result = json!({
            "partition": saved.key.partition,
            "sub": saved.key.sub,
            "version": saved.version,
            "added": saved.added,
        });
        context.ui.result(&result, |ui| {
            let done = if saved.added { "added" } else { "updated" };
            ui.line(format!(
                "{} {}  version {}",
                ui.paint(Part::Good, done),
                ui.paint(Part::Name, clean(&saved.key.to_string())),
                saved.version
            ))
        })?;
        Ok(ExitCode::Success)
    }

    fn text(&self) -> anyhow::Result<String> {
        if let Some(item) = &self.item {
            return Ok(item.clone());
        }
        if stdin().is_terminal() {
            let failure = Failure::invalid("no item was given");
            return Err(failure.hint("give one after the key, or pipe one in").into());
        }
        let mut text = String::new();
        stdin().read_to_string(&mut text)?;
        Ok(text)
    }
}
