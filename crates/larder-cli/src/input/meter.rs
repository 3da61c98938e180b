//! How much has been read, and a bound on how much one row may take.

use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// No row is larger, in bytes: an unclosed quote must not pull the whole file into memory.
const ROW_BYTES: u64 = if cfg!(test) { 1 << 20 } else { 16 << 20 };

/// Counts bytes.
#[derive(Debug, Default)]
pub(super) struct Meter {
    total: AtomicU64,
    row_start: AtomicU64,
    /// Nothing of what is read is kept.
    unbounded: AtomicBool,
}

impl Meter {
    /// The bytes read so far.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// A row starts about here.
    pub(super) fn start_row(&self) {
        self.row_start.store(self.total(), Ordering::Relaxed);
    }

    /// Passes over something that is no row, however large it is.
    pub(super) fn pass_over<T>(&self, read: impl FnOnce() -> T) -> T {
        self.unbounded.store(true, Ordering::Relaxed);
        let value = read();
        self.start_row();
        self.unbounded.store(false, Ordering::Relaxed);
        value
    }

    fn add(&self, bytes: usize) {
        self.total.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        if self.unbounded.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.total() - self.row_start.load(Ordering::Relaxed) <= ROW_BYTES {
            return Ok(());
        }
        let reason = "the row that starts here is larger than 16 MiB; is a quote or bracket not closed?";
        Err(io::Error::new(io::ErrorKind::InvalidData, reason))
    }
}

/// A reader that is counted.
pub(super) struct Metered<R> {
    inner: R,
    meter: Arc<Meter>,
}

impl<R> Metered<R> {
    pub(super) fn new(inner: R, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }
}

impl<R: BufRead> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.meter.check()?;
        let read = self.inner.read(buffer)?;
        self.meter.add(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.meter.check()?;
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.meter.add(amount);
        self.inner.consume(amount);
    }
}
