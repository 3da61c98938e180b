//! Frames on their way to the file.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    error::{Error, Result},
    io::{DiskFile, write_zeros},
    wal::{
        frame::{FRAME_HEAD_BYTES, begin, finish, padded},
        header::{HEADER_BYTES, Header, Identity},
        record::Record,
    },
};

/// The file grows by a quarter of itself, within these bounds.
const LEAST_GROWTH: u64 = 64 << 10;
const MOST_GROWTH: u64 = 4 << 20;
/// For a frame of this size or more, space is allocated and not written to: to write all bytes twice would take longer than a
/// sync that notes what has become of the allocated space.
const LARGE_FRAME_BYTES: u64 = 64 << 10;
const MOST_LARGE_GROWTH: u64 = 32 << 20;
/// More than this does not stay allocated.
const BUFFER_BYTES: usize = 4 << 20;

/// The end of a file: frames are encoded into memory, and then written.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) header: Header,
    identity: Identity,
    /// Frames that were encoded and not written yet.
    buffer: Vec<u8>,
    /// Where they go.
    written: u64,
    /// Up to where there are zeros, and space for frames.
    reserved: u64,
    /// Whether frames go only where space is reserved, so that a sync need not look for it, and no write runs out of it.
    reserves: bool,
    sequence: u64,
    /// Up to where the file is durable, as whoever syncs it sets it.
    pub(crate) durable: Arc<AtomicU64>,
    /// Whether the last frame is a seal.
    is_sealed: bool,
}

/// Where a file stands whose frames were all read or written.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) end: u64,
    pub(crate) sequence: u64,
    pub(crate) reserved: u64,
    pub(crate) is_sealed: bool,
}

impl Writer {
    /// A writer at the end of a file, all of which is durable.
    pub(crate) fn new(file: Arc<dyn DiskFile>, header: Header, place: &Place, reserves: bool) -> Self {
        let identity = header.identity();
        Self {
            file,
            header,
            identity,
            buffer: Vec::new(),
            written: place.end,
            reserved: place.reserved,
            reserves,
            sequence: place.sequence,
            durable: Arc::new(AtomicU64::new(place.end)),
            is_sealed: place.is_sealed,
        }
    }

    /// Where the next frame goes.
    pub(crate) fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Whether frames of this size can be written without extending the file first.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        !self.reserves || self.end() + bytes <= self.reserved
    }

    /// Whether a write that found no space left can be tried again. Where it was reserved, it was promised.
    pub(crate) fn may_run_full(&self) -> bool {
        !self.reserves
    }

    /// Extends the file by zeros, so that a frame of this size has room, and a reserve.
    ///
    /// # Errors
    /// `Before` if nothing but the file's length has changed; `During` if the sync failed, and with it perhaps one of
    /// frames that were written before.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<(), ReserveError> {
        let is_large = bytes >= LARGE_FRAME_BYTES;
        let most = if is_large { MOST_LARGE_GROWTH } else { MOST_GROWTH };
        let growth = (self.end() / 4).clamp(LEAST_GROWTH, most);
        let wanted = (self.end() + bytes + growth).next_multiple_of(HEADER_BYTES as u64);
        let extended = match is_large {
            true => self.file.allocate(self.reserved, wanted),
            false => write_zeros(&*self.file, self.reserved, wanted),
        };
        if let Err(error) = extended {
            // What was added is of no use, and gives others room. If that fails too, it is still only zeros.
            let _ = self.file.set_len(self.reserved.max(self.end()));
            return Err(ReserveError::Before(error));
        }
        if !is_large {
            self.file.sync().map_err(ReserveError::During)?;
            self.durable.fetch_max(self.written, Ordering::AcqRel);
        }
        self.reserved = wanted;
        Ok(())
    }

    /// Encodes a frame at the end. There has to be room.
    pub(crate) fn push<'a>(&mut self, records: impl Iterator<Item = Record<'a>>) {
        let start = begin(&mut self.buffer);
        let mut count = 0_u64;
        for record in records {
            record.encode(&mut self.buffer);
            count += 1;
        }
        self.sequence += 1;
        self.is_sealed = count == 0;
        let (offset, durable) = (self.written + start as u64, self.durable.load(Ordering::Acquire));
        finish(&mut self.buffer, start, self.identity, offset, self.sequence, durable);
    }

    /// Gives what was encoded to the operating system. If that fails, it may be tried again.
    pub(crate) fn write_out(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        assert!(self.has_room(0), "frames go where space is reserved");
        self.file.write_at(self.written, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
        Ok(())
    }

    /// Syncs, seals, and cuts off the reserved zeros; for a clean close.
    ///
    /// # Errors
    /// What was written may not be durable. That there is no seal is none: everything is found without it.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.write_out()?;
        if self.durable.load(Ordering::Acquire) < self.written {
            self.file.sync()?;
            self.durable.store(self.written, Ordering::Release);
        }
        if let Err(error) = self.seal() {
            tracing::warn!(%error, "the file could not be sealed; everything in it is durable");
        }
        Ok(())
    }

    fn seal(&mut self) -> io::Result<()> {
        if self.is_sealed || self.sequence == 0 {
            if self.reserved > self.written {
                self.file.set_len(self.written)?;
                self.file.sync()?;
            }
            return Ok(());
        }
        self.push(std::iter::empty());
        self.reserved = self.reserved.max(self.end());
        self.write_out()?;
        self.file.set_len(self.written)?;
        self.file.sync()
    }
}

/// Why a file could not be extended.
#[derive(Debug)]
pub(crate) enum ReserveError {
    /// Nothing that matters was changed.
    Before(io::Error),
    /// A sync failed: the file is not to be trusted any more.
    During(io::Error),
}

/// The size of a frame with records of this size in all.
pub(crate) fn frame_bytes(record_bytes: usize) -> u64 {
    padded(FRAME_HEAD_BYTES + record_bytes) as u64
}

/// Writes a whole new file, from its header on. It counts for nothing until it has its name.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) file: Arc<dyn DiskFile>,
    identity: Identity,
    buffer: Vec<u8>,
    written: u64,
    sequence: u64,
}

impl NewFile {
    pub(crate) fn begin(file: Arc<dyn DiskFile>, header: &Header) -> Result<Self> {
        let page = header.encode();
        file.write_at(0, &page).map_err(Error::io)?;
        Ok(Self {
            file,
            identity: header.identity(),
            buffer: Vec::new(),
            written: page.len() as u64,
            sequence: 0,
        })
    }

    /// Adds a frame of records that are encoded already, and have at least one byte.
    pub(crate) fn push(&mut self, records: &[u8]) -> Result<()> {
        let start = begin(&mut self.buffer);
        self.buffer.extend_from_slice(records);
        self.finish_frame(start, HEADER_BYTES as u64)
    }

    /// Adds the seal and answers where the file then stands.
    pub(crate) fn seal(&mut self) -> Result<Place> {
        let start = begin(&mut self.buffer);
        let offset = self.written + start as u64;
        self.finish_frame(start, offset)?;
        self.write_out()?;
        Ok(Place { end: self.written, sequence: self.sequence, reserved: self.written, is_sealed: true })
    }

    fn finish_frame(&mut self, start: usize, durable_through: u64) -> Result<()> {
        self.sequence += 1;
        let offset = self.written + start as u64;
        finish(&mut self.buffer, start, self.identity, offset, self.sequence, durable_through);
        if self.buffer.len() >= BUFFER_BYTES / 4 { self.write_out() } else { Ok(()) }
    }

    pub(crate) fn write_out(&mut self) -> Result<()> {
        self.file.write_at(self.written, &self.buffer).map_err(Error::io)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
