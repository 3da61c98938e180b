//! Runs the program in a folder of its own.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A folder, and the program in it.
#[derive(Debug)]
pub(crate) struct Folder(TempDir);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), content).expect("a file");
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    /// The program, with nothing of the tester's own environment that it looks at.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for name in ["LARDER_BACKEND", "LARDER_KEYS", "REVENTLESS_LOCAL_BACKEND", "NO_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.command(arguments).output().expect("the program runs"))
    }

    /// What it prints; it must end with success.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.stdout
    }

    /// The JSON lines it prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let out = self.ok(&[arguments, &["--json"]].concat());
        out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// What it says on the standard error; it must end with this code.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
        ended.stderr
    }
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Self {
            code: output.status.code().expect("it ended by itself"),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// The demo's data: 640 rows.
pub(crate) fn strikes() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/data/birdstrikes.csv").to_owned()
}

/// A folder whose store holds the demo's data in the log `strikes`.
pub(crate) fn imported() -> Folder {
    let folder = Folder::new();
    let file = strikes();
    let arguments = ["--log", "strikes", "--type", "BirdStrike", "--stream-field", "Airport Name"];
    let tags = ["--tag-field", "Origin State=state", "--tag-field", "Wildlife Species=species"];
    folder.ok(&[&["import", &file][..], &arguments, &tags].concat());
    folder
}
