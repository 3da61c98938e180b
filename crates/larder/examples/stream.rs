//! Append with an expected sequence, read back, and handle a conflict.
//!
//! Run it with `cargo run -p larder --example stream`; it keeps its store in `./data`.

use std::time::Duration;

use larder::{ErrorKind, EventLog, Expected, NewEvent, Result, Store};
use serde::{Deserialize, Serialize};

/// Serde's attributes read older events: this variant has been renamed since.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum OrderEvent {
    Placed {
        customer: String,
        total_cents: i64,
    },
    #[serde(rename = "line-added.v2", alias = "LineAdded")]
    LineAdded(Line),
    Shipped,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    sku: String,
    quantity: u32,
}

/// Lets an append take the enum as it is.
impl From<OrderEvent> for NewEvent {
    fn from(event: OrderEvent) -> Self {
        Self::from_enum(&event)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = Store::open("sqlite:./data/stream.db?reset").await?;
    let orders = store.event_log("orders")?;
    append(&orders).await?;
    read(&orders).await?;
    ship(&orders, "order-2", 1).await?;
    combine(&orders).await?;
    store.close().await
}

async fn append(orders: &EventLog) -> Result<()> {
    // An integer is the sequence number that the stream's head must have; 0 means no events yet.
    orders.append("order-1", 0, [NewEvent::new("Placed", "raw payload")]).await?;

    let placed = OrderEvent::Placed { customer: "customer-1".into(), total_cents: 4_200 };
    let events = [NewEvent::from_enum(&placed).tag("customer:customer-1"), OrderEvent::Shipped.into()];
    let appended = orders.append("order-2", 0, events).await?;
    println!("order-2 is at {}, position {}", appended.last_seq_nr, appended.last_position);

    // One's own events directly, from anything that can be iterated over.
    orders.append("order-3", Expected::Any, vec![placed]).await?;
    let lines = (0..3).map(|n| OrderEvent::LineAdded(Line { sku: format!("sku-{n}"), quantity: 1 }));
    orders.append("order-3", 1, lines).await?;
    println!("order-3 is at {}", orders.head("order-3").await?);
    Ok(())
}

async fn read(orders: &EventLog) -> Result<()> {
    for event in orders.read("order-2", 1..).await? {
        match event.decode_enum()? {
            OrderEvent::Placed { customer, total_cents } => {
                println!("{}. placed by {customer}: {total_cents} cents", event.seq_nr);
            }
            other => println!("{}. {other:?}", event.seq_nr),
        }
    }

    let last = orders.read("order-2", ..).descending().limit(1).await?;
    println!("last: {:?}", last.items.first().map(|event| &event.event_type));

    // Decoding may borrow from the event.
    #[derive(Deserialize)]
    struct View<'a> {
        customer: &'a str,
    }
    let page = orders.read("order-2", 1..=1).await?;
    let view: View = page.items[0].decode()?;
    println!("customer: {}", view.customer);

    // However long the stream is, in constant memory.
    let mut all = orders.read("order-3", ..).each();
    while let Some(event) = all.try_next().await? {
        println!("position {}: {}", event.position, event.event_type);
    }
    Ok(())
}

/// Ships an order; `seen` is what the user had on the screen.
async fn ship(orders: &EventLog, id: &str, seen: u64) -> Result<()> {
    match orders.append(id, seen, [OrderEvent::Shipped]).await {
        Ok(appended) => println!("shipped as {}", appended.last_seq_nr),
        Err(error) => match error.kind() {
            ErrorKind::Conflict { expected, actual } => {
                println!("{id} changed while you looked: you saw {expected}, it is at {actual}:");
                for event in orders.read(id, seen + 1..).await? {
                    println!("  {} {}", event.seq_nr, event.event_type);
                }
            }
            _ => return Err(error),
        },
    }
    Ok(())
}

/// Operations are futures: every combinator takes them as they are.
async fn combine(orders: &EventLog) -> Result<()> {
    let (a, b) = tokio::join!(
        orders.append("a", 0, [OrderEvent::Shipped]),
        orders.append("b", 0, [OrderEvent::Shipped]),
    );
    a?;
    b?;
    let task = tokio::spawn(orders.append("c", 0, [OrderEvent::Shipped]));
    task.await.expect("the task is neither cancelled nor does it panic")?;

    let many = (0..10).map(|n| orders.append(format!("s-{n}"), 0, [OrderEvent::Shipped]));
    let appended = futures::future::try_join_all(many).await?;
    println!("{} more orders shipped", appended.len());

    if let Ok(head) = tokio::time::timeout(Duration::from_secs(5), orders.head("order-2")).await {
        println!("order-2 is at {}", head?);
    }
    Ok(())
}
