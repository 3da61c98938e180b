//! Other processes for cases that need them: the test program runs the case again, in another role.

use std::{
    cell::RefCell,
    env, fmt,
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio, exit},
};

use super::support::CaseResult;
use crate::error::BoxError;

/// Names the role of a child.
const ROLE: &str = "LARDER_TESTING_ROLE";
/// Tells a child where its parent's store is.
const PLACE: &str = "LARDER_TESTING_PLACE";
/// Begins each line of a child that is meant for its parent.
const MARK: &str = "larder-testing: ";
/// The last of them.
const DONE: &str = "done";

thread_local! {
    /// The test that this thread runs, as the test program's command line names it.
    static TEST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Remembers which test this thread runs.
pub(super) fn enter(test: &str) {
    TEST.with(|current| test.clone_into(&mut current.borrow_mut()));
}

/// If this process is a child in that role: where its parent's store is.
pub(super) fn role(role: &str) -> Option<PathBuf> {
    (env::var_os(ROLE)? == role).then(|| env::var_os(PLACE).unwrap_or_default().into())
}

/// Ends a child well.
pub(super) fn done() -> ! {
    say(DONE);
    exit(0)
}

/// Tells the parent.
pub(super) fn say(line: &str) {
    // Not by `println!`: a test's output may be captured.
    let mut out = io::stdout().lock();
    writeln!(out, "\n{MARK}{line}").and_then(|()| out.flush()).expect("the parent listens");
}

/// Waits for the parent to say something; `None` once it is gone.
#[cfg(feature = "sqlite")]
pub(super) fn listen() -> Option<String> {
    let mut line = String::new();
    let length = io::stdin().lock().read_line(&mut line).ok()?;
    (length > 0).then(|| line.trim_end().to_owned())
}

/// Runs the body in a process of its own, which is prepared first, and fails as it does.
pub(super) fn in_process(
    role: &str,
    prepare: impl FnOnce(&mut Command),
    body: impl FnOnce() -> CaseResult,
) -> CaseResult {
    if self::role(role).is_some() {
        body()?;
        done();
    }
    if env::var_os(ROLE).is_some() {
        return Ok(()); // a child in another role passes by
    }
    let mut command = command(role)?;
    prepare(&mut command);
    Process::spawn(&mut command)?.finish()
}

/// A child in that role, told where the store is.
#[cfg(feature = "sqlite")]
pub(super) fn start(role: &str, place: impl AsRef<std::ffi::OsStr>) -> Result<Process, BoxError> {
    let mut command = command(role)?;
    command.env(PLACE, place);
    Process::spawn(&mut command)
}

fn command(role: &str) -> Result<Command, BoxError> {
    let test = TEST.with_borrow(String::clone);
    let mut command = Command::new(env::current_exe()?);
    command.args(["--exact", &test, "--nocapture", "--test-threads=1"]).env(ROLE, role);
    Ok(command)
}

/// A running child.
pub(super) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// What it said so far, for a failure's message.
    heard: String,
}

impl Process {
    fn spawn(command: &mut Command) -> Result<Self, BoxError> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or("it has no output")?);
        Ok(Self { child, stdin, stdout, heard: String::new() })
    }

    /// The next thing it says; an error if it ends without.
    pub(super) fn hear(&mut self) -> Result<String, BoxError> {
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line)? == 0 {
                return Err(format!("a child ended early; it said:\n{}", self.heard).into());
            }
            self.heard.push_str(&line);
            if let Some(said) = line.strip_prefix(MARK) {
                return Ok(said.trim_end().to_owned());
            }
        }
    }

    /// Says something to it.
    #[cfg(feature = "sqlite")]
    pub(super) fn tell(&mut self, line: &str) -> CaseResult {
        let stdin = self.stdin.as_mut().ok_or("its input is closed")?;
        writeln!(stdin, "{line}")?;
        Ok(stdin.flush()?)
    }

    /// Waits for its good end.
    pub(super) fn finish(mut self) -> CaseResult {
        self.stdin = None;
        while self.hear()? != DONE {}
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("a child ended with {status}").into()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A failing case must not leave children behind; one that has ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.child.id()).finish_non_exhaustive()
    }
}
