//! `larder bench`: how fast this machine, disk and store are.

mod append;
mod query;
mod replay;

use std::time::Duration;

use larder::{BackendConfig, Config, Durability, EventLog, Store, Uuid};
use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    interrupt::Interrupt,
    ui::{Part, Ui, count},
};

/// Measures appends, queries or replays on this machine
///
/// It works on a store in a temporary directory (see TMPDIR) unless `--store` names one; there it makes a log of
/// its own, and drops it at the end. Figures are good for comparisons on one machine, built with `--release`.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Append(append::AppendBench),
    Query(query::QueryBench),
    Replay(replay::ReplayBench),
}

impl Bench {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let scratch = Interrupt::scratch("larder-bench-")?;
        let config = match &context.store {
            Some(_) => context.config()?,
            None => Config::sqlite(scratch.path().join("bench.db")),
        };
        let durability = match &config.backend {
            BackendConfig::Sqlite(sqlite) => match sqlite.durability {
                Durability::Flushed => "flushed",
                Durability::Buffered => "buffered",
            },
            _ => "none (memory)",
        };
        let backend = config.to_string();
        let store = Store::open(config).wait()?;
        let log = store.event_log(format!("bench-{}", Uuid::now_v7().simple()))?;
        let measured = match &self.what {
            What::Append(bench) => bench.measure(&log),
            What::Query(bench) => bench.measure(&log, &context.ui),
            What::Replay(bench) => bench.measure(&log, &context.ui),
        };
        if context.store.is_some() {
            log.drop_log().wait()?;
        }
        store.close().wait()?;
        measured?.show(&context.ui, &backend, durability)?;
        Ok(ExitCode::Success)
    }
}

/// What was measured.
#[derive(Debug)]
struct Measured {
    what: String,
    concurrency: String,
    events: u64,
    /// What one latency is the time of.
    operation: &'static str,
    elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Measured {
    fn show(mut self, ui: &Ui, backend: &str, durability: &str) -> anyhow::Result<()> {
        self.latencies.sort_unstable();
        let seconds = self.elapsed.as_secs_f64().max(1e-9);
        let rate = self.events as f64 / seconds;
        let (p50, p99) = (self.percentile(50), self.percentile(99));
        let result = json!({
            "benchmark": self.what,
            "backend": backend,
            "durability": durability,
            "concurrency": self.concurrency,
            "events": self.events,
            "seconds": seconds,
            "events_per_second": rate.round(),
            "operation": self.operation,
            "operations": self.latencies.len(),
            "p50_us": p50.as_micros() as u64,
            "p99_us": p99.as_micros() as u64,
            "optimised": !cfg!(debug_assertions),
        });
        ui.result(&result, |ui| {
            ui.line(ui.paint(Part::Heading, &self.what))?;
            let row = |name: &str, value: String| ui.line(format!("  {name:<12} {value}"));
            row("store", backend.to_owned())?;
            row("durability", durability.to_owned())?;
            row("concurrency", self.concurrency.clone())?;
            row("events", format!("{} in {seconds:.2} s", count(self.events)))?;
            row("events/s", ui.paint(Part::Good, count(rate as u64)))?;
            let measured = format!("{} × {}", count(self.latencies.len() as u64), self.operation);
            row("p50", format!("{} ({measured})", shown(p50)))?;
            row("p99", shown(p99))
        })?;
        if cfg!(debug_assertions) {
            ui.warn("this build is not optimised; measure with `cargo build --release`");
        }
        Ok(())
    }

    /// The latency that this many of a hundred do not exceed.
    fn percentile(&self, percent: usize) -> Duration {
        let Some(last) = self.latencies.len().checked_sub(1) else { return Duration::ZERO };
        self.latencies[(self.latencies.len() * percent).div_ceil(100).saturating_sub(1).min(last)]
    }
}

fn shown(time: Duration) -> String {
    match time.as_micros() {
        us @ 0..10_000 => format!("{us} µs"),
        us => format!("{:.1} ms", us as f64 / 1000.0),
    }
}

/// A JSON payload of this many bytes.
fn payload(bytes: usize) -> String {
    let frame = r#"{"data":""}"#.len();
    format!(r#"{{"data":"{}"}}"#, "x".repeat(bytes.saturating_sub(frame)))
}

/// What the benchmarks that read have in common: events are loaded first, unmeasured.
fn loaded(
    log: &EventLog,
    ui: &Ui,
    events: impl Iterator<Item = larder::BulkEvent> + Send + 'static,
) -> anyhow::Result<()> {
    ui.note("loading …");
    log.append_many(events).wait()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let latencies = (1..=100).map(Duration::from_micros).collect();
        let (what, elapsed) = (String::new(), Duration::ZERO);
        let mut measured =
            Measured { what, concurrency: String::new(), events: 0, operation: "append", elapsed, latencies };
        assert_eq!(measured.percentile(50), Duration::from_micros(50));
        assert_eq!(measured.percentile(99), Duration::from_micros(99));
        measured.latencies.truncate(1);
        assert_eq!(measured.percentile(99), Duration::from_micros(1));
    }

    #[test]
    fn payloads_have_the_size_asked_for() {
        assert_eq!(payload(200).len(), 200);
        assert_eq!(payload(0), r#"{"data":""}"#);
    }
}
