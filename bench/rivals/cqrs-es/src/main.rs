//! `cqrs-es-rival FILE WRITERS WARM_UP_MS WINDOW_MS CONNECTIONS persist|execute`
//!
//! Appends one event at a time from tasks, each to an aggregate of its own, and prints as JSON how many were
//! committed within the window. The same loop as `larder-bench` has for its other sides.

use std::{
    collections::HashMap,
    env,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use cqrs_es::{
    Aggregate, CqrsFramework, DomainEvent,
    event_sink::EventSink,
    persist::{PersistedEventRepository, PersistedEventStore, SerializedEvent},
};
use serde::{Deserialize, Serialize};
use sqlite_es::SqliteEventRepository;
use sqlx::{
    Pool, Sqlite,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::task::JoinSet;

/// As in the migrations of `sqlite-es`, snapshots and views left out.
const SCHEMA: &str = "CREATE TABLE events
(
  aggregate_type text                          NOT NULL,
  aggregate_id   text                          NOT NULL,
  sequence       integer CHECK (sequence >= 0) NOT NULL,
  event_type     text                          NOT NULL,
  event_version  text                          NOT NULL,
  payload        text                          NOT NULL,
  metadata       text                          NOT NULL,
  PRIMARY KEY (aggregate_type, aggregate_id, sequence)
) STRICT";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Account;

/// Its JSON is about 200 bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Noted {
    number: u64,
    amount: f64,
    note: String,
}

#[derive(Debug, thiserror::Error)]
#[error("never refused")]
struct Refused;

impl DomainEvent for Noted {
    fn event_type(&self) -> String {
        "Noted".into()
    }

    fn event_version(&self) -> String {
        "1.0".into()
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = Noted;
    type Event = Noted;
    type Error = Refused;
    type Services = ();

    async fn handle(&mut self, command: Noted, _: &(), sink: &EventSink<Self>) -> Result<(), Refused> {
        sink.write(command, self).await;
        Ok(())
    }

    fn apply(&mut self, _: Noted) {}
}

fn noted(number: u64) -> Noted {
    let head = format!(r#"{{"number":{number},"amount":{}.5,"note":""#, number % 9_973);
    Noted { number, amount: (number % 9_973) as f64 + 0.5, note: "x".repeat(200 - head.len() - 2) }
}

#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    to: Instant,
}

async fn tasks<F, S>(writers: u64, window: Window, step: F) -> Result<u64>
where
    F: Fn(u64, u64) -> S + Send + Sync + 'static,
    S: Future<Output = Result<()>> + Send,
{
    let step = Arc::new(step);
    let mut running = JoinSet::new();
    for writer in 0..writers {
        let step = step.clone();
        running.spawn(async move {
            let (mut counted, mut total) = (0, 0);
            loop {
                step(writer, total).await?;
                total += 1;
                let now = Instant::now();
                if now > window.to {
                    return Ok::<u64, anyhow::Error>(counted);
                }
                counted += u64::from(now >= window.from);
            }
        });
    }
    let mut events = 0;
    while let Some(ended) = running.join_next().await {
        events += ended??;
    }
    Ok(events)
}

async fn pool(file: &str, connections: u32) -> Result<Pool<Sqlite>> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .pragma("journal_mode", "WAL")
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(60));
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(60))
        .connect_with(options)
        .await?;
    sqlx::query(SCHEMA).execute(&pool).await?;
    Ok(pool)
}

async fn persist(pool: Pool<Sqlite>, writers: u64, window: Window) -> Result<u64> {
    let repository = Arc::new(SqliteEventRepository::new(pool));
    tasks(writers, window, move |writer, n| {
        let repository = repository.clone();
        async move {
            let event = SerializedEvent::new(
                format!("account-{writer:06}"),
                usize::try_from(n + 1)?,
                Account::TYPE.into(),
                "Noted".into(),
                "1.0".into(),
                serde_json::to_value(noted(n))?,
                serde_json::json!({"actor": "bench", "trace": "4bf92f3577b34da6"}),
            );
            repository.persist::<Account>(&[event], None).await?;
            Ok(())
        }
    })
    .await
}

async fn execute(pool: Pool<Sqlite>, writers: u64, window: Window) -> Result<u64> {
    let store = PersistedEventStore::new_event_store(SqliteEventRepository::new(pool));
    let framework = Arc::new(CqrsFramework::<Account, _>::new(store, Vec::new(), ()));
    let metadata: HashMap<String, String> =
        [("actor", "bench"), ("trace", "4bf92f3577b34da6")].map(|(k, v)| (k.into(), v.into())).into();
    tasks(writers, window, move |writer, n| {
        let (framework, metadata) = (framework.clone(), metadata.clone());
        async move {
            let account = format!("account-{writer:06}");
            framework.execute_with_metadata(&account, noted(n), metadata).await?;
            Ok(())
        }
    })
    .await
}

async fn run(arguments: &[String]) -> Result<()> {
    let [file, writers, warm_up, window, connections, layer] = arguments else {
        bail!("FILE WRITERS WARM_UP_MS WINDOW_MS CONNECTIONS persist|execute");
    };
    let pool = pool(file, connections.parse()?).await?;
    let from = Instant::now() + Duration::from_millis(warm_up.parse()?);
    let length = Duration::from_millis(window.parse()?);
    let window = Window { from, to: from + length };
    let events = match layer.as_str() {
        "persist" => persist(pool, writers.parse()?, window).await?,
        "execute" => execute(pool, writers.parse()?, window).await?,
        layer => bail!("no layer `{layer}`"),
    };
    println!("{}", serde_json::json!({ "events": events, "seconds": length.as_secs_f64() }));
    Ok(())
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    runtime.block_on(run(&arguments)).context("cqrs-es-rival")
}
