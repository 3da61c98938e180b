//! A second process on the same file: the test binary again, told what to do line by line.
//!
//! Both processes run every command on an oracle of their own. Only one of them, by turns, runs it on the file
//! too, and compares; so each meets what the other has written, with whatever it remembers from before.

use std::{
    env,
    io::{BufRead, BufReader, Lines, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{command::Command, run::Pair, subject::Engine};

/// Set for the second process.
const VARIABLE: &str = "LARDER_PROPERTY_PEER";
/// Before each answer, to tell it from what the test harness prints.
const ANSWER: &str = "answer ";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Open { file: PathBuf, merge_at: usize },
    Run { command: Command, mine: bool },
    Finish,
}

/// The second process, as the first one sees it.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Runs this test binary again, with only `test`, which must call [`serve`].
    pub(crate) fn start(test: &str) -> Self {
        let mut process = Process::new(env::current_exe().expect("a test binary"))
            .args([test, "--exact", "--nocapture"])
            .env(VARIABLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a second process");
        let requests = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        Self { process, requests, answers }
    }

    /// Has it do something; `Err` is what it found.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<(), String> {
        let line = serde_json::to_string(request).expect("a request is plain data");
        writeln!(self.requests, "{line}").map_err(|error| format!("the second process is gone: {error}"))?;
        for line in self.answers.by_ref() {
            let line = line.map_err(|error| error.to_string())?;
            // The first answer comes on the line where the harness has printed the test's name.
            if let Some((_, answer)) = line.split_once(ANSWER) {
                let answer: Result<(), String> = serde_json::from_str(answer).expect("an answer");
                return answer.map_err(|difference| format!("in the second process: {difference}"));
            }
        }
        Err("the second process ended".into())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Does what the first process says, if this is the second one.
pub(crate) fn serve() {
    if env::var_os(VARIABLE).is_none() {
        return;
    }
    let mut pair = None;
    for line in std::io::stdin().lines() {
        let request = serde_json::from_str(&line.expect("a line")).expect("a request");
        let answer = catch_unwind(AssertUnwindSafe(|| serve_one(&mut pair, request)));
        let answer = answer.unwrap_or_else(|_| Err("a panic, printed above".into()));
        println!("{ANSWER}{}", serde_json::to_string(&answer).expect("an answer is plain data"));
    }
}

fn serve_one(pair: &mut Option<Pair>, request: Request) -> Result<(), String> {
    match request {
        Request::Open { file, merge_at } => {
            *pair = Some(Pair::join(Engine::Sqlite { merge_at }, file));
            Ok(())
        }
        Request::Run { command, mine } => pair.as_mut().expect("it was opened").run(&command, mine),
        Request::Finish => pair.take().expect("it was opened").finish(),
    }
}
