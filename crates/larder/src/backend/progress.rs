//! How far a long operation is.

use std::{fmt, sync::Arc};

/// Told how far a long operation is: done, of total, in rows or pages.
///
/// ```
/// use larder::{Progress, Store};
///
/// # fn main() -> larder::Result<()> {
/// let progress = Progress::new(|done, total| eprintln!("{done} of {total}"));
/// assert!(Store::memory().verify(progress).wait()?.is_sound());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(u64, u64) + Send + Sync>>);

impl Progress {
    /// Calls back with done and total.
    pub fn new(callback: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(callback)))
    }

    /// Reports progress.
    pub fn report(&self, done: u64, total: u64) {
        if let Some(callback) = &self.0 {
            callback(done, total);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}
