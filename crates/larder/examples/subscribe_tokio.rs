//! The past, then live, in tokio: spawn, `select!`, stream combinators.
//!
//! Run it with `cargo run -p larder --example subscribe_tokio`; it keeps its store in `./data`.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use larder::{Event, EventLog, NewEvent, Position, Query, QueryItem, Result, Store, Subscription};

/// A subscription can be held in a struct and read from its methods.
struct Feed {
    events: Subscription<Event>,
    seen: Position,
}

impl Feed {
    /// Reads one event; false at the end, which comes when the store is closed.
    async fn turn(&mut self) -> Result<bool> {
        let Some(event) = self.events.try_next().await? else { return Ok(false) };
        self.seen = event.position;
        Ok(true)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = Store::open("sqlite:./data/subscribe-tokio.db?reset").await?;
    let log = store.event_log("orders")?;
    place(&log, 1..=3).await?;

    // Spawned: what concerns one customer, after position 1.
    let mut live = log.subscribe(QueryItem::new().tag("customer:c1")).after(Position::new(1));
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(event) = live.try_next().await? {
            seen.push(event.position.get());
            if seen.len() == 11 {
                break;
            }
        }
        Ok::<_, larder::Error>(seen)
    });
    // And everything, until the store is closed.
    let mut feed = Feed { events: log.subscribe(Query::all()), seen: Position::START };
    let feeding = tokio::spawn(async move {
        while feed.turn().await? {}
        Ok::<_, larder::Error>(feed.seen)
    });

    follow(&log).await?;

    // It is a `Stream` as well.
    let stream = log.subscribe_stream("order-1").take(2).map_ok(|event| event.event_type);
    println!("order-1: {:?}", stream.try_collect::<Vec<_>>().await?);

    // A read, then live from exactly where it stopped.
    let past = log.query(Query::all()).await?;
    let mut rest = log.subscribe(Query::all()).after(past.through);
    let nothing = tokio::time::timeout(Duration::from_millis(50), rest.try_next()).await.is_err();
    println!("{} events through {}, nothing since: {nothing}", past.items.len(), past.through);

    println!("customer c1 at {:?}", reader.await.expect("the reader does not panic")?);
    store.close().await?;
    let seen = feeding.await.expect("the feed does not panic")?;
    println!("the feed ended with the store, at or before {}: {}", past.through, seen <= past.through);
    Ok(())
}

async fn place(log: &EventLog, orders: impl IntoIterator<Item = u32>) -> Result<()> {
    for n in orders {
        let events = ["Placed", "Paid"].map(|event| NewEvent::new(event, &n).tag("customer:c1"));
        log.append(format!("order-{n}"), 0, events).await?;
    }
    Ok(())
}

/// Follows the log while somebody writes: `select!` may cancel `try_next`, which loses nothing.
async fn follow(log: &EventLog) -> Result<()> {
    let writer = tokio::spawn({
        let log = log.clone();
        async move { place(&log, 4..=6).await }
    });
    let mut all = log.subscribe(Query::all());
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let mut seen = Vec::new();
    while seen.len() < 12 {
        tokio::select! {
            event = all.try_next() => match event? {
                Some(event) => seen.push(event.position.get()),
                None => break,
            },
            _ = tick.tick() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    writer.await.expect("the writer does not panic")?;
    println!("followed {seen:?}");
    Ok(())
}
