//! Compression with zstd, one frame, capped on the way out.

use crate::error::{Error, Result};

/// The level that zstd calls its default.
const LEVEL: i32 = 3;

/// The state as a frame, if that is shorter.
pub(super) fn compress(state: &[u8]) -> Result<Option<Vec<u8>>> {
    let frame = zstd::bulk::compress(state, LEVEL)
        .map_err(|error| Error::invalid("state", "it cannot be compressed").caused_by(error))?;
    Ok((frame.len() < state.len()).then_some(frame))
}

/// The state of a frame, which must have this length: no more memory than that is taken, whatever the frame says.
pub(super) fn decompress(frame: &[u8], length: usize) -> Result<Vec<u8>> {
    zstd::bulk::decompress(frame, length).map_err(|error| {
        Error::corrupted("a state that does not decompress to the length it had").caused_by(error)
    })
}
