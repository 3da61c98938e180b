//! Appends from many writers at once.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use larder::{EventLog, Expected, NewEvent};

use super::{Measured, payload};
use crate::stopwatch::Stopwatch;

/// Appends from many writers at once, each to its own stream
#[derive(Debug, clap::Args)]
pub(super) struct AppendBench {
    /// Events in all
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Appends that are under way at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    writers: u64,
    /// Events in one append
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batch: u64,
    /// The size of a payload
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    payload: usize,
    /// Tags on each event
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=64))]
    tags: u64,
}

impl AppendBench {
    pub(super) fn measure(&self, log: &EventLog) -> anyhow::Result<Measured> {
        let appends = self.events.div_ceil(self.batch);
        let writers: FuturesUnordered<_> = (0..self.writers.min(appends))
            .map(|writer| {
                let share = appends / self.writers + u64::from(writer < appends % self.writers);
                self.write(log.clone(), writer, share)
            })
            .collect();
        let watch = Stopwatch::start();
        let each: Vec<larder::Result<Vec<Duration>>> = larder::wait(writers.collect());
        let elapsed = watch.elapsed();
        let mut latencies = Vec::new();
        for writer in each {
            latencies.extend(writer?);
        }
        Ok(Measured {
            what: format!(
                "append: {} events of {} bytes an append, {} tags",
                self.batch, self.payload, self.tags
            ),
            concurrency: format!("{} writers, awaited on one thread", self.writers),
            events: latencies.len() as u64 * self.batch,
            operation: "append",
            elapsed,
            latencies,
        })
    }

    /// One writer: an append after the other.
    async fn write(&self, log: EventLog, writer: u64, appends: u64) -> larder::Result<Vec<Duration>> {
        let (stream, payload) = (format!("writer-{writer}"), payload(self.payload));
        let mut latencies = Vec::with_capacity(usize::try_from(appends).unwrap_or_default());
        for number in 0..appends {
            let event = |n: u64| {
                let tags = (0..self.tags).map(move |tag| format!("tag{tag}:{writer}-{number}-{n}"));
                NewEvent::json("Measured", payload.clone()).tags(tags)
            };
            let watch = Stopwatch::start();
            log.append(&*stream, Expected::Any, (0..self.batch).map(event)).await?;
            latencies.push(watch.elapsed());
        }
        Ok(latencies)
    }
}
