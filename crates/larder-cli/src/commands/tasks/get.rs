//! `larder tasks get`

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::info_json;
use crate::{context::Context, exit_code::ExitCode, failure::Failure};

/// Writes an object's bytes to the standard output
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// The bucket
    #[arg(long, value_name = "BUCKET")]
    bucket: String,
    /// The key
    #[arg(value_name = "KEY")]
    key: String,
}

impl Get {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_read()?;
        let object = store.task_bucket(&self.bucket)?.get(&self.key).wait()?.ok_or_else(|| {
            let message = format!("there is no object `{}` in bucket `{}`", self.key, self.bucket);
            let hint = format!("see what there is with `larder tasks list --bucket {}`", self.bucket);
            Failure::new(ExitCode::NotFound, message).hint(hint)
        })?;
        if !context.ui.is_json() {
            context.ui.raw(|out| out.write_all(&object.bytes))?;
            return Ok(ExitCode::Success);
        }
        let mut shown = info_json(&object.info);
        match str::from_utf8(&object.bytes) {
            Ok(text) => shown["text"] = Value::from(text),
            Err(_) => shown["base64"] = Value::from(BASE64_STANDARD.encode(&object.bytes)),
        }
        context.ui.object(&shown)?;
        Ok(ExitCode::Success)
    }
}
