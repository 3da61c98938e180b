//! `larder snapshots`: saved states of streams and of named queries.

mod delete;
mod keys;
mod list;
mod reencrypt;
mod show;

use larder::{SnapshotInfo, Store, Subject};
use serde_json::{Value, json};

use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{bytes, time},
};

/// Lists, shows and deletes snapshots, and encrypts them anew
#[derive(Debug, clap::Args)]
pub(crate) struct Snapshots {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    List(list::List),
    Show(show::Show),
    Delete(delete::Delete),
    ReEncrypt(reencrypt::ReEncrypt),
}

impl Snapshots {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.what {
            What::List(command) => command.run(context),
            What::Show(command) => command.run(context),
            What::Delete(command) => command.run(context),
            What::ReEncrypt(command) => command.run(context),
        }
    }
}

/// Whose snapshots.
#[derive(Debug, clap::Args)]
struct Named {
    /// The log
    #[arg(long, value_name = "LOG")]
    log: String,
    #[command(flatten)]
    subject: SubjectOptions,
}

/// A stream, or a named query.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct SubjectOptions {
    /// The stream
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// The query, by the name that its snapshots have
    #[arg(long, value_name = "NAME")]
    query_name: Option<String>,
}

impl Named {
    fn subject(&self) -> Subject {
        let SubjectOptions { stream, query_name } = &self.subject;
        match (stream, query_name) {
            (Some(stream), _) => Subject::stream(stream),
            (None, name) => Subject::Query(name.clone().unwrap_or_default()),
        }
    }

    fn snapshots(&self, store: &Store) -> larder::Result<larder::Snapshots> {
        Ok(store.event_log(&self.log)?.snapshots())
    }

    fn nothing(&self, what: &str) -> Failure {
        let message = format!("there is no snapshot of {} {what}in log `{}`", self.subject(), self.log);
        let hint = format!("see what there is with `larder snapshots list --log {}`", self.log);
        Failure::new(ExitCode::NotFound, message).hint(hint)
    }
}

fn info_json(info: &SnapshotInfo) -> Value {
    json!({
        "log": &*info.log,
        "kind": info.subject.kind(),
        "subject": info.subject.name(),
        "at": info.at,
        "schema": info.schema,
        "recorded_at": time(info.recorded_at),
        "state_bytes": info.state_bytes,
        "stored_bytes": info.stored_bytes,
        "content": if info.is_json { "json" } else { "bytes" },
        "compressed": info.is_compressed,
        "key": info.key,
        "damage": info.damage,
    })
}

/// How it is stored, in a few words.
fn stored(info: &SnapshotInfo) -> String {
    if info.damage.is_some() {
        return "damaged".into();
    }
    let mut how = bytes(info.stored_bytes);
    if info.is_compressed {
        how.push_str(", zstd");
    }
    if let Some(key) = &info.key {
        how.push_str(", key ");
        how.push_str(key);
    }
    how
}
