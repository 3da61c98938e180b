//! Replays of whole streams.

use larder::{BulkEvent, EventLog, NewEvent};

use super::{Measured, loaded, payload};
use crate::{stopwatch::Stopwatch, ui::Ui};

/// Replays every stream of a log, from its first event to its last
#[derive(Debug, clap::Args)]
pub(super) struct ReplayBench {
    /// Events in the log
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Streams they are spread over
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    streams: u64,
    /// The size of a payload
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    payload: usize,
}

impl ReplayBench {
    pub(super) fn measure(&self, log: &EventLog, ui: &Ui) -> anyhow::Result<Measured> {
        let (payload, streams) = (payload(self.payload), self.streams.min(self.events));
        let events = (0..self.events).map(move |n| {
            BulkEvent::from((format!("stream-{}", n % streams), NewEvent::json("Measured", payload.clone())))
        });
        loaded(log, ui, events)?;
        let mut latencies = Vec::new();
        let mut replayed = 0;
        let watch = Stopwatch::start();
        for stream in 0..streams {
            let one = Stopwatch::start();
            for event in log.read(format!("stream-{stream}"), ..).each().wait_iter() {
                replayed += u64::from(event?.seq_nr > 0);
            }
            latencies.push(one.elapsed());
        }
        Ok(Measured {
            what: format!("replay: {streams} streams of {} events", self.events / streams),
            concurrency: "1 reader, waiting".into(),
            events: replayed,
            operation: "replay",
            elapsed: watch.elapsed(),
            latencies,
        })
    }
}
