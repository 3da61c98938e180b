//! A task bucket, as it is when its turn comes, as far as its triggers have not moved on.

use std::{io::Write, sync::Arc};

use super::{
    super::{TransferredTaskBucket, format::Line},
    PAGE_ROWS, Tally,
    lines::Lines,
};
use crate::{
    backend::{Backend, ObjectsRead, TriggersRead},
    error::{Error, ErrorKind, Result},
};

pub(super) async fn export<W: Write>(
    backend: &dyn Backend,
    name: &str,
    lines: &mut Lines<W>,
    tally: Tally<'_>,
) -> Result<TransferredTaskBucket> {
    let bucket: Arc<str> = name.into();
    let info = backend.task_bucket_info(bucket.clone()).await?;
    let counter = info.map_or(0, |info| info.counter);
    lines.write(&Line::TaskBucket { name: name.into(), counter })?;
    let counted = TransferredTaskBucket { bucket: name.to_owned(), objects: 0, triggers: 0 };
    let mut export = BucketExport { backend, bucket, counter, counted, lines, tally };
    export.objects().await?;
    export.triggers().await?;
    let counted = export.counted;
    let TransferredTaskBucket { objects, triggers, .. } = counted;
    lines.write(&Line::TaskBucketEnd { objects, triggers })?;
    Ok(counted)
}

struct BucketExport<'a, W: Write> {
    backend: &'a dyn Backend,
    bucket: Arc<str>,
    /// As it was at the beginning: what has a higher number came later.
    counter: u64,
    counted: TransferredTaskBucket,
    lines: &'a mut Lines<W>,
    tally: Tally<'a>,
}

impl<W: Write> BucketExport<'_, W> {
    /// Writes the objects, of which one is in memory at a time.
    async fn objects(&mut self) -> Result<()> {
        let mut request = ObjectsRead {
            bucket: self.bucket.clone(),
            prefix: String::new(),
            after: None,
            limit: Some(PAGE_ROWS),
            max_bytes: None,
            descending: false,
        };
        loop {
            let page = self.backend.read_objects(request.clone()).await?;
            for info in &page {
                let object = self.backend.read_object(self.bucket.clone(), info.key.clone()).await?;
                // It may have been deleted since it was listed.
                let Some(object) = object else { continue };
                self.check(object.info.version)?;
                self.lines.write(&Line::of_object(&object))?;
                self.counted.objects += 1;
            }
            self.tally.report(self.counted.objects);
            request.after = page.next;
            if request.after.is_none() {
                return Ok(());
            }
        }
    }

    /// Writes the triggers and dead letters.
    async fn triggers(&mut self) -> Result<()> {
        let mut after = 0;
        loop {
            let request = TriggersRead { bucket: self.bucket.clone(), after, limit: PAGE_ROWS };
            let rows = self.backend.read_triggers(request).await?;
            for row in &rows {
                self.check(row.trigger)?;
                self.lines.write(&Line::of_trigger(row))?;
                self.counted.triggers += 1;
                after = row.trigger;
            }
            self.tally.report(self.counted.objects + self.counted.triggers);
            if rows.len() < PAGE_ROWS {
                return Ok(());
            }
        }
    }

    /// What was put or driven again meanwhile took the place of something that is not in the export, or is a trigger
    /// whose object is not.
    fn check(&self, number: u64) -> Result<()> {
        if number <= self.counter {
            return Ok(());
        }
        let moved = ErrorKind::Conflict { expected: self.counter, actual: number };
        Err(Error::new(moved).with("bucket", &*self.bucket).with_hint(
            "something was put into the bucket while it was exported; stop what does that and export again, or \
             make a backup",
        ))
    }
}
