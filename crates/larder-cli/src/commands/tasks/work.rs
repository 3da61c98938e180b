//! `larder tasks work`: a command of the shell for each task.

use std::{
    io::{self, Write as _},
    process::{Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use larder::{BoxError, Task, WorkOptions};
use serde_json::json;

use crate::{context::Context, exit_code::ExitCode, interrupt::Interrupt, ui::counted};

/// Runs a command for each task, with the object's bytes on its standard input
///
/// Exit code 0 acknowledges the task; anything else is a failed attempt, which is repeated after a while. The
/// command's environment has LARDER_KEY, LARDER_ATTEMPT, LARDER_TYPE (`ObjectCreated` or `ObjectRemoved`),
/// LARDER_VERSION, LARDER_CONTENT_TYPE and LARDER_BUCKET. Ctrl-C ends it; a task under way is attempted again once its
/// lease has run out.
#[derive(Debug, clap::Args)]
pub(crate) struct Work {
    /// The bucket
    #[arg(long, value_name = "BUCKET")]
    bucket: String,
    /// The command, for `sh -c`
    #[arg(long, value_name = "CMD")]
    exec: String,
    /// Ends when no task is due
    #[arg(long, conflicts_with = "until_empty")]
    once: bool,
    /// Ends when no task is left, neither due nor waiting
    #[arg(long)]
    until_empty: bool,
    /// How many commands run at a time
    #[arg(long, value_name = "N", default_value_t = 1)]
    concurrency: usize,
    /// How long a task is held without a sign of life
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "30s")]
    lease: Duration,
    /// After how many failed attempts a task is given up
    #[arg(long, value_name = "N", default_value_t = 5)]
    max_attempts: u32,
    /// The longest wait before the second attempt; it doubles with each further one
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "1s")]
    backoff: Duration,
}

/// What became of the attempts.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    failed: u64,
}

impl Work {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        let store = context.open_to_change()?;
        let bucket = store.task_bucket(&self.bucket)?;
        let to_close = store.clone();
        Interrupt::listen(move || drop(to_close.close().wait()))?;
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (tell, counted_tally) = (!ui.is_json(), tally.clone());
        let (command, name) = (Arc::new(self.exec.clone()), Arc::new(self.bucket.clone()));
        let work = bucket.work(self.options(), move |task| {
            let (command, name, tally) = (command.clone(), name.clone(), counted_tally.clone());
            async move {
                let line = format!("{} {} attempt {}", task.kind, task.key.escape_debug(), task.attempt);
                let ended = execute(command, name, task).await;
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                match &ended {
                    Ok(()) => tally.done += 1,
                    Err(_) => tally.failed += 1,
                }
                if tell {
                    let how = ended.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
                    let _ = writeln!(io::stderr(), "{line}: {how}");
                }
                ended
            }
        });
        let worked = work.wait();
        let closed = store.close().wait();
        worked?;
        closed?;
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        let result = json!({ "bucket": self.bucket, "done": tally.done, "failed": tally.failed });
        ui.result(&result, |ui| {
            let (done, failed) = (counted(tally.done, "task"), counted(tally.failed, "failed attempt"));
            ui.line(format!("{done} done, {failed}"))
        })?;
        Ok(ExitCode::Success)
    }

    fn options(&self) -> WorkOptions {
        let mut options = WorkOptions::default();
        options.concurrency = self.concurrency;
        options.lease = self.lease;
        options.max_attempts = self.max_attempts;
        options.backoff = self.backoff;
        options.once = self.once;
        options.until_empty = self.until_empty;
        options
    }
}

/// Where a thread leaves what became of its command.
#[derive(Default)]
struct Slot {
    output: Option<io::Result<Output>>,
    waker: Option<Waker>,
}

/// Runs the command on a thread of its own, so that leases are renewed meanwhile.
async fn execute(command: Arc<String>, bucket: Arc<String>, task: Task) -> Result<(), BoxError> {
    let slot: Arc<Mutex<Slot>> = Arc::default();
    let filled = slot.clone();
    thread::Builder::new().name("larder-exec".into()).spawn(move || {
        let output = output(&command, &bucket, &task);
        let mut slot = filled.lock().unwrap_or_else(PoisonError::into_inner);
        slot.output = Some(output);
        slot.waker.take().into_iter().for_each(Waker::wake);
    })?;
    let output = std::future::poll_fn(|context| {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.waker = Some(context.waker().clone());
        slot.output.take().map_or(Poll::Pending, Poll::Ready)
    })
    .await?;
    // Only its exit code decides: what it did is done, whether or not anybody reads what it said.
    let _ = io::stderr().write_all(&output.stdout).and_then(|()| io::stderr().write_all(&output.stderr));
    if output.status.success() {
        return Ok(());
    }
    Err(failure(output.status, &output.stderr).into())
}

fn output(command: &str, bucket: &str, task: &Task) -> io::Result<Output> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("LARDER_BUCKET", bucket)
        .env("LARDER_KEY", &task.key)
        .env("LARDER_ATTEMPT", task.attempt.to_string())
        .env("LARDER_TYPE", task.kind.to_string())
        .env("LARDER_VERSION", task.version.to_string())
        .env("LARDER_CONTENT_TYPE", task.content_type.as_deref().unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        // Meanwhile its output is read, so that neither waits for the other.
        scope.spawn(move || {
            // A command need not read what it is given.
            let _ = stdin.map(|mut stdin| stdin.write_all(&task.bytes));
        });
        child.wait_with_output()
    })
}

/// How it ended, and the last line that it said.
fn failure(status: ExitStatus, stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if last.is_empty() { status.to_string() } else { format!("{status}: {last}") }
}
