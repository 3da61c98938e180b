//! `larder tasks`: objects of task buckets, and the tasks that they leave.

mod dead;
mod get;
mod list;
mod put;
mod redrive;
mod work;

use larder::ObjectInfo;
use serde_json::{Value, json};

use crate::{context::Context, exit_code::ExitCode, ui::time};

/// Puts, gets and lists objects of task buckets, and works on the tasks that they leave
#[derive(Debug, clap::Args)]
pub(crate) struct Tasks {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Put(put::Put),
    Get(get::Get),
    List(list::List),
    Work(work::Work),
    Dead(dead::Dead),
    Redrive(redrive::Redrive),
}

impl Tasks {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.what {
            What::Put(command) => command.run(context),
            What::Get(command) => command.run(context),
            What::List(command) => command.run(context),
            What::Work(command) => command.run(context),
            What::Dead(command) => command.run(context),
            What::Redrive(command) => command.run(context),
        }
    }
}

fn info_json(info: &ObjectInfo) -> Value {
    json!({
        "key": info.key,
        "version": info.version,
        "content_type": info.content_type,
        "recorded_at": time(info.recorded_at),
        "bytes": info.length,
    })
}
