//! Frames of a file, one after another.

use std::io;

use crate::{
    io::DiskFile,
    wal::{
        frame::{FRAME_HEAD_BYTES, Found, Frame, MAX_FRAME_BYTES, padded, parse, u32_at},
        header::Identity,
    },
};

/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Reads frames from an offset up to a limit, or to the first place without a sound one.
#[derive(Debug)]
pub(crate) struct FrameReader<'f> {
    file: &'f dyn DiskFile,
    identity: Identity,
    /// Where the next frame starts.
    offset: u64,
    /// Where there is nothing more to read.
    limit: u64,
    buffer: Vec<u8>,
    /// Which part of the buffer is unread.
    at: usize,
    filled: usize,
}

/// What comes next in a file.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A sound frame at this offset.
    Frame(u64, Frame<'a>),
    /// No sound frame, and why; none if nothing was written here.
    End(u64, Option<&'static str>),
}

impl<'f> FrameReader<'f> {
    pub(crate) fn new(file: &'f dyn DiskFile, identity: Identity, offset: u64, limit: u64) -> Self {
        Self { file, identity, offset, limit, buffer: Vec::new(), at: 0, filled: 0 }
    }

    pub(crate) fn next(&mut self) -> io::Result<Step<'_>> {
        self.fill(FRAME_HEAD_BYTES)?;
        let head = &self.buffer[self.at..self.filled];
        if head.len() >= FRAME_HEAD_BYTES {
            let length = u32_at(head, 0) as usize;
            if (FRAME_HEAD_BYTES..=MAX_FRAME_BYTES).contains(&length) {
                self.fill(padded(length))?;
            }
        }
        let offset = self.offset;
        Ok(match parse(&self.buffer[self.at..self.filled], self.identity, offset) {
            Found::Frame(frame) => {
                self.at += frame.file_bytes;
                self.offset += frame.file_bytes as u64;
                Step::Frame(offset, frame)
            }
            Found::Nothing => Step::End(offset, None),
            Found::Cut { .. } => Step::End(offset, Some("a frame cut short")),
            Found::Bad(why) => Step::End(offset, Some(why)),
        })
    }

    /// Gets this many unread bytes into the buffer, or all there are.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let have = self.filled - self.at;
        let left = usize::try_from(self.limit - self.offset).unwrap_or(usize::MAX);
        if have >= wanted || have >= left {
            return Ok(());
        }
        self.buffer.copy_within(self.at..self.filled, 0);
        (self.at, self.filled) = (0, have);
        let size = left.min(wanted.max(CHUNK_BYTES));
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        let room = self.buffer.len().min(left);
        self.filled += self.file.read_at(self.offset + have as u64, &mut self.buffer[have..room])?;
        Ok(())
    }
}
