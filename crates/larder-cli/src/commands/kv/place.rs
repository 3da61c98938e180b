//! Which file of which node a command works on, and how keys and values are shown.

use std::{
    ffi::OsStr,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use larder_kv::{
    Client, ClientOptions,
    wal::header::{HEADER_BYTES, Header},
};
use serde_json::{Value, json};

use crate::{exit_code::ExitCode, failure::Failure};

/// The node of a new file when nobody says.
const DEFAULT_NODE: &str = "local";

/// The file and its node.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Place {
    /// The file [default: .larder/NODE.wal]
    #[arg(long, value_name = "PATH", global = true)]
    data: Option<PathBuf>,
    /// The node whose file it is [default: the one that the file says, or `local`]
    #[arg(long, value_name = "ID", global = true)]
    node: Option<String>,
}

impl Place {
    /// The file's path.
    pub(super) fn path(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| {
            let node = self.node.as_deref().unwrap_or(DEFAULT_NODE);
            Path::new(".larder").join(format!("{node}.wal"))
        })
    }

    /// How the file is opened.
    pub(super) fn options(&self) -> ClientOptions {
        let path = self.path();
        let node = self.node.clone().or_else(|| node_of(&path)).unwrap_or_else(|| DEFAULT_NODE.to_owned());
        ClientOptions::persistent(node, path)
    }

    /// Opens the file, which is made if it is not there.
    pub(super) fn open_or_create(&self) -> anyhow::Result<Client> {
        open(self.options())
    }

    /// Opens a file that has to be there.
    pub(super) fn open(&self) -> anyhow::Result<Client> {
        self.check_exists()?;
        open(self.options())
    }

    /// Whether there is a file: commands that only look never make one.
    pub(super) fn check_exists(&self) -> anyhow::Result<()> {
        let path = self.path();
        match path.try_exists() {
            Ok(true) => Ok(()),
            Ok(false) => {
                let message = format!("there is no key-value store at `{}`", path.display());
                Err(Failure::new(ExitCode::NotFound, message)
                    .about("path", path.display().to_string())
                    .hint("name its file with `--data PATH`, or its node with `--node ID`; `larder kv put` makes one")
                    .into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn open(options: ClientOptions) -> anyhow::Result<Client> {
    Ok(Client::open(options).wait()?)
}

/// The node that an existing file names; whatever is wrong with the file, opening it will tell.
fn node_of(path: &Path) -> Option<String> {
    let mut page = Vec::with_capacity(HEADER_BYTES);
    File::open(path).ok()?.take(HEADER_BYTES as u64).read_to_end(&mut page).ok()?;
    Some(Header::decode_either(&page).ok()?.0.node_id)
}

/// The bytes of an argument, as they were given.
pub(super) fn bytes_of(argument: &OsStr) -> &[u8] {
    argument.as_encoded_bytes()
}

/// Bytes in JSON: text if they are UTF-8, else `{"bytes": BASE64}`.
pub(super) fn json_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "bytes": BASE64_STANDARD.encode(bytes) }),
    }
}

/// Reads a whole file, or the standard input for `-`.
pub(super) fn read_input(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    let file = File::open(path).map_err(|error| {
        let code = if error.kind() == ErrorKind::NotFound { ExitCode::NotFound } else { ExitCode::Io };
        Failure::new(code, format!("cannot read `{}`: {error}", path.display()))
    })?;
    (&file).read_to_end(&mut bytes)?;
    Ok(bytes)
}
