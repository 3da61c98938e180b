//! `larder tasks list`

use larder::Store;
use serde_json::json;

use super::info_json;
use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Table, bytes, count, counted, time},
};

/// Lists the buckets, or the objects of one
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// The bucket
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    /// Only objects whose keys begin with this
    #[arg(long, value_name = "PREFIX", requires = "bucket", default_value = "", hide_default_value = true)]
    prefix: String,
    /// No more than this
    #[arg(long, value_name = "N", requires = "bucket")]
    limit: Option<usize>,
}

impl List {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let store = context.open_to_read()?;
        match &self.bucket {
            Some(bucket) => self.objects(context, &store, bucket),
            None => buckets(context, &store),
        }
    }

    fn objects(&self, context: &Context, store: &Store, bucket: &str) -> anyhow::Result<ExitCode> {
        const TABLE_ROWS: usize = 1_000;
        let ui = &context.ui;
        let read = store.task_bucket(bucket)?.list(&self.prefix);
        let mut infos = read.each().wait_iter().take(self.limit.unwrap_or(usize::MAX));
        if ui.is_json() {
            for info in infos {
                ui.object(&info_json(&info?))?;
            }
            return Ok(ExitCode::Success);
        }
        let mut shown = 0;
        loop {
            // A table at a time, in bounded memory.
            let mut table = Table::new(ui, &["key", "bytes", "version", "content type", "recorded at"]);
            let mut rows = 0;
            for info in infos.by_ref().take(TABLE_ROWS) {
                let info = info?;
                let (length, version) = (bytes(info.length), info.version.to_string());
                let content_type = info.content_type.unwrap_or_default();
                table.row(&[info.key, length, version, content_type, time(info.recorded_at)]);
                rows += 1;
            }
            if rows > 0 {
                table.show(ui)?;
            }
            shown += rows;
            if rows < TABLE_ROWS {
                break;
            }
        }
        ui.note(counted(shown as u64, "object"));
        Ok(ExitCode::Success)
    }
}

fn buckets(context: &Context, store: &Store) -> anyhow::Result<ExitCode> {
    let ui = &context.ui;
    let buckets = store.stats().wait()?.task_buckets;
    if ui.is_json() {
        for bucket in &buckets {
            ui.object(&json!({
                "bucket": bucket.name,
                "objects": bucket.objects,
                "bytes": bucket.bytes,
                "tasks": bucket.triggers,
                "dead_letters": bucket.dead_letters,
            }))?;
        }
        return Ok(ExitCode::Success);
    }
    if !buckets.is_empty() {
        let mut table = Table::new(ui, &["bucket", "objects", "size", "tasks", "dead letters"]);
        for bucket in &buckets {
            let (objects, tasks) = (count(bucket.objects), count(bucket.triggers));
            table.row(&[
                bucket.name.clone(),
                objects,
                bytes(bucket.bytes),
                tasks,
                count(bucket.dead_letters),
            ]);
        }
        table.show(ui)?;
    }
    ui.note(counted(buckets.len() as u64, "bucket"));
    Ok(ExitCode::Success)
}
