//! Saving what is sound in a damaged file.

use std::path::PathBuf;

use crate::{Call, error::Error, options::ClientOptions};

/// What [`repair`] has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// Sound frames that are in the new file.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Keys that have a value now.
    pub keys: u64,
    /// The damage: ranges of the old file, in bytes, that held no sound frame and were left out.
    pub damaged: Vec<std::ops::Range<u64>>,
    /// Where the old file was put aside; none if there was no damage, and nothing was done.
    pub set_aside: Option<PathBuf>,
}

/// Saves what is sound in a damaged file: every frame whose checksum is right, also those after the damage.
///
/// The old file is put aside, beside the new one. Nobody may have it open.
///
/// # Errors
/// `Incompatible` if it is no file of this node, `Locked`, `Io`, `Full`.
pub fn repair(options: ClientOptions) -> Call<Repaired> {
    Call::new(async move {
        options.check()?;
        Err(Error::incompatible("repair is about to be written"))
    })
}
