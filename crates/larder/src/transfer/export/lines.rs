//! Lines on their way out, with a checksum over them.

use std::io::{self, BufWriter, Write};

use super::super::{format::Line, io_error};
use crate::error::Result;

/// How much is written at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// Writes lines, none of which is ever whole in memory.
pub(super) struct Lines<W: Write> {
    out: BufWriter<Summed<W>>,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { out: BufWriter::with_capacity(BUFFER_BYTES, Summed { writer, crc: 0 }) }
    }

    pub(super) fn write(&mut self, line: &Line<'_>) -> Result<()> {
        serde_json::to_writer(&mut self.out, line).map_err(|error| io_error(error.into()))?;
        self.out.write_all(b"\n").map_err(io_error)
    }

    /// Writes the last line, with the checksum over those before it.
    pub(super) fn finish(mut self, rows: u64) -> Result<()> {
        self.out.flush().map_err(io_error)?;
        let crc32c = format!("{:08x}", self.out.get_ref().crc).into();
        self.write(&Line::End { rows, crc32c })?;
        self.out.flush().map_err(io_error)
    }
}

/// A writer, and the CRC-32C of what it has taken.
struct Summed<W> {
    writer: W,
    crc: u32,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.writer.write(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
