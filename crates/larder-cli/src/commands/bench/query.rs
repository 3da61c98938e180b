//! Queries by tag.

use larder::{BulkEvent, EventLog, NewEvent, QueryItem};

use super::{Measured, loaded, payload};
use crate::{stopwatch::Stopwatch, ui::Ui};

/// Queries by tag, one after the other, each for another tag
#[derive(Debug, clap::Args)]
pub(super) struct QueryBench {
    /// Events in the log
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Events that a query finds
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    matches: u64,
    /// Queries in all
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    queries: u64,
    /// The size of a payload
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    payload: usize,
}

impl QueryBench {
    pub(super) fn measure(&self, log: &EventLog, ui: &Ui) -> anyhow::Result<Measured> {
        let payload = payload(self.payload);
        // Events of one tag lie apart, as they do in a real log.
        let groups = (self.events / self.matches).max(1);
        let events = (0..self.events).map(move |n| {
            BulkEvent::from(NewEvent::json("Measured", payload.clone()).tag(format!("group:{}", n % groups)))
        });
        loaded(log, ui, events)?;
        let mut latencies = Vec::new();
        let mut found = 0;
        let watch = Stopwatch::start();
        for number in 0..self.queries {
            let query = QueryItem::new().tag(format!("group:{}", number * 7919 % groups));
            let one = Stopwatch::start();
            found += log.query(query).wait()?.items.len() as u64;
            latencies.push(one.elapsed());
        }
        Ok(Measured {
            what: format!(
                "query: {} events of {} bytes each, of {}",
                found / self.queries,
                self.payload,
                self.events
            ),
            concurrency: "1 reader, waiting".into(),
            events: found,
            operation: "query",
            elapsed: watch.elapsed(),
            latencies,
        })
    }
}
