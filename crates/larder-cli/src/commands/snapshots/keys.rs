//! Where keys come from: a file, or the environment. Never from an argument, which other processes can see.

use std::{env, fs, path::PathBuf};

use anyhow::Context as _;
use larder::{Codec, Keyring};
use zeroize::Zeroizing;

use crate::failure::Failure;

const VARIABLE: &str = "LARDER_KEYS";

pub(super) const HELP: &str = "\
Keys come from `--key-file`, else from the environment variable LARDER_KEYS; never from an argument, which others \
can see. One key a line (in the variable, also separated by commas), the active one first: its id, a space, and 64 \
hexadecimal digits. Lines that start with `#` are left out.";

/// The keys of encrypted snapshots.
#[derive(Debug, clap::Args)]
pub(super) struct KeyOptions {
    /// A file with the keys, the active one first
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl KeyOptions {
    /// The keys, if there are any. What is in them is never shown.
    pub(super) fn keyring(&self) -> anyhow::Result<Option<Keyring>> {
        if let Some(file) = &self.key_file {
            let text =
                fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
            let keyring: Keyring = text
                .parse()
                .map_err(|error: larder::Error| error.with("key file", file.display().to_string()))?;
            return Ok(Some(keyring));
        }
        let Some(value) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) else { return Ok(None) };
        let text = value.to_str().ok_or_else(|| Failure::invalid(format!("{VARIABLE} is not UTF-8")))?;
        let keyring = Zeroizing::new(text.replace(',', "\n")).parse();
        Ok(Some(keyring.map_err(|error: larder::Error| error.with("environment variable", VARIABLE))?))
    }

    /// What reads with these keys.
    pub(super) fn codec(&self) -> anyhow::Result<Codec> {
        let codec = Codec::default();
        Ok(match self.keyring()? {
            Some(keyring) => codec.encrypted(keyring),
            None => codec,
        })
    }
}
