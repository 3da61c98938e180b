//! Subscriptions without an executor: no tokio, no futures crate, the same handles.
//!
//! Run it with `cargo run -p larder --example subscribe_blocking`; it keeps its store in `./data`.

use std::{thread, time::Duration};

use larder::{NewEvent, Query, Result, Store};

fn main() -> Result<()> {
    let store = Store::open("sqlite:./data/subscribe-blocking.db?reset").wait()?;
    let log = store.event_log("orders")?;

    let reader = thread::spawn({
        let events = log.subscribe(Query::all());
        move || -> Result<()> {
            for event in events.wait_iter() {
                let event = event?;
                println!("the reader has {} {}", event.position, event.event_type);
            }
            println!("the reader ends: the store was closed");
            Ok(())
        }
    });

    log.append("order-1", 0, [NewEvent::new("Placed", &serde_json::json!({ "total": 1 }))]).wait()?;
    for event in log.read("order-1", 1..).limit(10).wait()? {
        println!("{} {} {}", event.seq_nr, event.event_type, event.payload);
    }

    let mut mine = log.subscribe_stream("order-1");
    let first = mine.try_next().wait()?;
    println!("first: {:?}", first.map(|event| event.event_type));
    match mine.try_next().wait_timeout(Duration::from_millis(100)) {
        Some(event) => println!("and then: {:?}", event?.map(|event| event.event_type)),
        None => println!("and then nothing new"),
    }

    // Several writes, one commit.
    let mut batch = store.batch();
    let paid = batch.add(log.append("order-1", 1, [NewEvent::new("Paid", &1)]));
    let placed = batch.add(log.append("order-2", 0, [NewEvent::new("Placed", &2)]));
    let committed = batch.commit().wait()?;
    println!("paid at {}, placed at {}", committed[paid].last_position, committed[placed].last_position);

    if let Some(event) = mine.try_next().wait()? {
        println!("now: {}", event.event_type);
    }

    store.close().wait()?;
    reader.join().expect("the reader does not panic")
}
