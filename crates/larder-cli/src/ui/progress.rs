//! A progress bar, for work that takes a while.

use indicatif::{ProgressBar, ProgressStyle};
use larder::backend::Progress;

/// What a bar counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Bytes,
    Steps,
}

/// A bar on the standard error, or nothing if nobody would see it. It is gone once the work is done.
#[derive(Debug, Clone)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(shown: bool, total: Option<u64>, unit: Unit) -> Self {
        if !shown {
            return Self(ProgressBar::hidden());
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        let template = match unit {
            Unit::Bytes => "{wide_bar} {bytes}/{total_bytes} {msg} {eta}",
            Unit::Steps => "{wide_bar} {human_pos}/{human_len} {msg} {eta}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(bar.with_style(style))
    }

    pub(crate) fn set(&self, done: u64) {
        self.0.set_position(done);
    }

    pub(crate) fn message(&self, message: String) {
        self.0.set_message(message);
    }

    /// As the library's long operations report it.
    pub(crate) fn as_progress(&self) -> Progress {
        let bar = self.0.clone();
        Progress::new(move |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
