//! An order system: a decider writes, a projection keeps a read model with two indexes, paged queries read it; another
//! projection puts confirmations into a task bucket, and a worker sends them.
//!
//! Run it with `cargo run -p larder --example orders` (its file goes into `./data`), its tests with
//! `cargo test -p larder --all-features --test deciders`.

use std::{fmt, time::Duration};

use larder::{
    BoxError, Decider, Event, ExecuteError, Index, ItemQuery, KeyField, ProjectionBatch, Projector, QueryDb,
    QueryDbSpec, QueryItem, Sort, Store, TaskBucket, WorkOptions, field,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum OrderEvent {
    Placed(Placed),
    Paid,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Placed {
    customer: String,
    region: String,
    day: String,
    total_cents: i64,
}

enum Command {
    Place(Placed),
    Pay,
    Cancel,
}

#[derive(Debug, PartialEq)]
enum Rejection {
    AlreadyPlaced,
    NotPlaced,
    AlreadyPaid,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyPlaced => "the order was placed already",
            Self::NotPlaced => "there is no such order",
            Self::AlreadyPaid => "the order is paid already",
        })
    }
}

impl std::error::Error for Rejection {}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    placed: bool,
    paid: bool,
}

struct Orders;

impl Decider for Orders {
    type State = Order;
    type Command = Command;
    type Event = OrderEvent;
    type Rejection = Rejection;

    fn initial(&self) -> Order {
        Order::default()
    }

    fn evolve(&self, order: Order, event: &OrderEvent) -> Order {
        match event {
            OrderEvent::Placed(_) => Order { placed: true, ..order },
            OrderEvent::Paid => Order { paid: true, ..order },
            OrderEvent::Cancelled => Order::default(),
        }
    }

    fn decide(&self, order: &Order, command: &Command) -> Result<Vec<OrderEvent>, Rejection> {
        match command {
            Command::Place(_) if order.placed => Err(Rejection::AlreadyPlaced),
            Command::Place(placed) => Ok(vec![OrderEvent::Placed(placed.clone())]),
            _ if !order.placed => Err(Rejection::NotPlaced),
            Command::Pay if order.paid => Err(Rejection::AlreadyPaid),
            Command::Pay => Ok(vec![OrderEvent::Paid]),
            Command::Cancel => Ok(vec![OrderEvent::Cancelled]),
        }
    }
}

/// A row of the read model.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    customer: String,
    region: String,
    status: String,
    day: String,
    total_cents: i64,
}

/// Keeps a row for each order; what it loads has what it wrote before in the same commit.
struct OrderRows {
    rows: QueryDb,
}

impl Projector for OrderRows {
    async fn project(&mut self, event: &Event, batch: &mut ProjectionBatch) -> Result<(), BoxError> {
        let order = event.stream.as_deref().ok_or("an order event without a stream")?;
        match event.decode_enum()? {
            OrderEvent::Placed(Placed { customer, region, day, total_cents }) => {
                let row = Row { customer, region, status: "open".into(), day, total_cents };
                batch.add(self.rows.save(order, &row));
            }
            OrderEvent::Paid => {
                let item = batch.load_one(&self.rows, order).await?.ok_or("paid before it was placed")?;
                let row = Row { status: "paid".into(), ..item.decode()? };
                batch.add(self.rows.save(order, &row).ttl(Duration::from_secs(90 * 86_400)));
            }
            OrderEvent::Cancelled => batch.add(self.rows.delete(order)),
        }
        Ok(())
    }
}

/// A confirmation for each order that is placed: put in the same commit as the checkpoint, so exactly once.
fn confirmation(mails: &TaskBucket, event: &Event, batch: &mut ProjectionBatch) -> Result<(), BoxError> {
    let order = event.stream.as_deref().ok_or("an order event without a stream")?;
    if let OrderEvent::Placed(Placed { customer, .. }) = event.decode_enum()? {
        let text = format!("Dear {customer}, we have your {order}.");
        batch.add(mails.put(format!("confirm/{order}"), text).content_type("text/plain"));
    }
    Ok(())
}

/// Sends what is to be sent: each at least once, also after a crash in between.
async fn send(mails: &TaskBucket) -> Result<(), BoxError> {
    let mut options = WorkOptions::default();
    (options.until_empty, options.concurrency) = (true, 1);
    let handler = |task: larder::Task| async move {
        println!("mail: {}", task.text()?);
        Ok(())
    };
    Ok(mails.work(options, handler).await?)
}

fn placed(customer: &str, day: &str, total_cents: i64) -> Command {
    let (customer, region, day) = (customer.into(), "eu".into(), day.into());
    Command::Place(Placed { customer, region, day, total_cents })
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let store = Store::open("sqlite:./data/orders.db?reset").await?;
    let log = store.event_log("orders")?;
    let spec = QueryDbSpec::new()
        .index(Index::new("by_region_status", ["region", "status"]).sort_by(["day"]))
        .index(Index::new("by_customer", ["customer"]).sort_by([KeyField::number("total_cents")]));
    let rows = store.define("Orders", spec).await?;

    // The projection alone writes the read model, so it can be rebuilt from the log at any time.
    let projection = store.projection("order-rows")?.owns([&rows]);
    let read = QueryItem::new().types(["Placed", "Paid", "Cancelled"]);
    let running = tokio::spawn(projection.run(&log, read, OrderRows { rows: rows.clone() }));

    let mails = store.task_bucket("mails")?;
    let confirmations = store.projection("confirmations")?;
    let confirming = tokio::spawn(confirmations.run(&log, QueryItem::new().types(["Placed"]), {
        let mails = mails.clone();
        move |event: &Event, batch: &mut ProjectionBatch| confirmation(&mails, event, batch)
    }));

    let orders = log.decider(Orders).snapshot_every(100);
    for n in 1..=5 {
        orders.execute(format!("order-{n}"), placed("ada", &format!("2026-03-0{n}"), n * 1_000)).await?;
    }
    orders.execute("order-6", placed("bob", "2026-04-01", 500)).await?;
    orders.execute("order-2", Command::Pay).await?;
    match orders.execute("order-2", Command::Pay).await {
        Err(ExecuteError::Rejected(rejection)) => println!("order-2: {rejection}"),
        other => println!("unexpected: {other:?}"),
    }
    let last = orders.execute("order-6", Command::Cancel).await?;
    projection.wait_for(last.position).await?; // read your writes

    let open_in_march = ItemQuery::index("by_region_status", ["eu", "open"])
        .sort(Sort::begins_with("2026-03"))
        .filter(field("total_cents").ge(2_000).and(!field("customer").eq("test")));
    println!("{} open", rows.count_items(&open_in_march).await?);

    let mut cursor = None;
    loop {
        let page = rows.query(&open_in_march).descending().limit(2).after(cursor).await?;
        for item in &page {
            let row: Row = item.decode()?;
            println!("  {} {} {}", item.key, row.day, row.total_cents);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let dearest = rows.query(ItemQuery::index("by_customer", ["ada"])).descending().limit(1).await?;
    println!("dearest of ada: {}", dearest.items[0].key);
    println!("order-6: {}", if rows.load_one("order-6").await?.is_none() { "gone" } else { "there" });

    confirmations.wait_for(last.position).await?;
    send(&mails).await?;

    store.close().await?;
    running.await??;
    confirming.await??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use larder::testing::given;

    use super::*;

    fn placed_event() -> OrderEvent {
        let Command::Place(placed) = placed("ada", "2026-03-01", 100) else { unreachable!("it places") };
        OrderEvent::Placed(placed)
    }

    #[test]
    fn an_order_is_placed_once() {
        given(Orders, []).when(placed("ada", "2026-03-01", 100)).then([placed_event()]);
        given(Orders, [placed_event()])
            .when(placed("ada", "2026-03-01", 100))
            .rejected(Rejection::AlreadyPlaced);
    }

    #[test]
    fn an_order_is_paid_once() {
        given(Orders, [placed_event()])
            .when(Command::Pay)
            .then([OrderEvent::Paid])
            .then_state(|order| *order == Order { placed: true, paid: true });
        given(Orders, [placed_event(), OrderEvent::Paid]).when(Command::Pay).rejected(Rejection::AlreadyPaid);
        given(Orders, [OrderEvent::Paid]).when(Command::Pay).rejected(Rejection::NotPlaced);
    }

    #[test]
    fn a_cancelled_order_can_be_placed_again() {
        given(Orders, [placed_event(), OrderEvent::Cancelled])
            .when(placed("ada", "2026-03-01", 100))
            .then([placed_event()]);
    }
}
