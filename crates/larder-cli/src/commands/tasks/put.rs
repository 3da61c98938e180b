//! `larder tasks put`

use std::{io::Read as _, path::PathBuf, time::Duration};

use anyhow::Context as _;
use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    ui::{Part, clean, counted},
};

/// Puts an object under a key, and leaves a task
#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// The bucket
    #[arg(long, value_name = "BUCKET")]
    bucket: String,
    /// The key
    #[arg(value_name = "KEY")]
    key: String,
    /// The object's bytes are those of this file [default: the standard input]
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// The object is this text
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// What kind of bytes they are, as `application/json`
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Fails if there is an object under the key
    #[arg(long)]
    if_absent: bool,
    /// The task waits for so long, as `10s` or `2h`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "no_trigger")]
    delay: Option<Duration>,
    /// Leaves no task: the object is only stored
    #[arg(long)]
    no_trigger: bool,
}

impl Put {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let bytes = self.bytes()?;
        let length = bytes.len() as u64;
        let store = context.open_or_create()?;
        let mut write = store.task_bucket(&self.bucket)?.put(&self.key, bytes);
        if let Some(content_type) = &self.content_type {
            write = write.content_type(content_type);
        }
        if self.if_absent {
            write = write.if_absent();
        }
        if let Some(delay) = self.delay {
            write = write.not_before(delay);
        }
        if self.no_trigger {
            write = write.without_trigger();
        }
        let put = write.wait();
        let closed = store.close().wait();
        let put = put.map_err(|error| {
            Failure::from_library(&error).about("bucket", &*self.bucket).about("key", &*self.key)
        })?;
        closed?;
        let result = json!({
            "bucket": self.bucket,
            "key": self.key,
            "version": put.version,
            "replaced": put.replaced,
            "bytes": length,
        });
        context.ui.result(&result, |ui| {
            let done = ui.paint(Part::Good, if put.replaced { "replaced" } else { "put" });
            let key = ui.paint(Part::Name, clean(&self.key));
            ui.line(format!("{done} {key}, {}, version {}", counted(length, "byte"), put.version))
        })?;
        Ok(ExitCode::Success)
    }

    fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        if let Some(text) = &self.text {
            return Ok(text.clone().into_bytes());
        }
        if let Some(file) = &self.file {
            return std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()));
        }
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read the standard input")?;
        Ok(bytes)
    }
}
