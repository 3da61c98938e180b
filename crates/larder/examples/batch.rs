//! One atomic commit over an append, items, a counter, a task and a checkpoint; then a worker for the tasks.
//!
//! Run it with `cargo run -p larder --example batch`. It works in memory unless `LARDER_BACKEND` names a store.

use std::time::{Duration, SystemTime};

use larder::{BoxError, NewEvent, Query, Store, TaskBucket, Ttl, WorkOptions};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let store = Store::from_env().await?;
    let inbox = store.event_log("inbox")?;
    for (n, name) in ["Ada", "Bob", "Cleo"].into_iter().enumerate() {
        let received = json!({ "name": name, "mail": format!("{}@example.org", name.to_lowercase()) });
        inbox.append(format!("message-{n}"), 0, [NewEvent::new("Received", &received)]).await?;
    }
    // Somebody was faster with the second order.
    let orders = store.event_log("orders")?;
    orders.append("order-2", 0, [NewEvent::new("Placed", &"by hand")]).await?;

    import(&store, 3).await?;
    // The same again: the checkpoint says that there is nothing left to do.
    println!("checkpoint: {}", store.projection("importer")?.checkpoint().await?);
    let customers = store.query_db("Customers")?;
    println!("customers: {}", customers.scan().await?.items.len() - 1);

    confirm(store.task_bucket("mails")?).await?;
    store.close().await?;
    Ok(())
}

/// Turns so many received messages into orders.
async fn import(store: &Store, messages: usize) -> Result<(), BoxError> {
    let orders = store.event_log("orders")?;
    let customers = store.query_db("Customers")?;
    let mails = store.task_bucket("mails")?;
    let importer = store.projection("importer")?;
    let until = Ttl::At(SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000));

    let from = importer.checkpoint().await?;
    let mut inbox = store.event_log("inbox")?.subscribe(Query::all()).after(from);
    for _ in 0..messages {
        let Some(received) = inbox.try_next().await? else { break };
        let order = format!("order-{}", received.position);
        let customer: Value = received.decode()?;

        // Every write is a value: await it alone, or add the same expression to a batch.
        let mut batch = store.batch();
        let placed =
            batch.add(orders.append(&order, 0, [NewEvent::new("Placed", &customer).tag("source:inbox")]));
        let saved =
            batch.add(customers.save(format!("customer-{}", received.position), &customer).ttl(until));
        let count = batch.add(customers.increment("totals", "orders", 1));
        let mail = json!({ "to": customer["mail"] }).to_string();
        batch.add(mails.put(format!("confirm/{order}.json"), mail).content_type("application/json"));
        batch.add(importer.set_checkpoint(received.position));

        match batch.commit().await {
            Ok(committed) => println!(
                "{order} placed at {}, customer version {}, {} orders",
                committed[placed].last_position, committed[saved].version, committed[count],
            ),
            // Nothing of the batch happened: no customer, no mail. The message is done with all the same.
            Err(error) if error.index() == Some(placed.index()) && error.is_conflict() => {
                println!("{order} exists");
                importer.set_checkpoint(received.position).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Sends what is to be sent: each task at least once, also after a crash in between.
async fn confirm(mails: TaskBucket) -> Result<(), BoxError> {
    let mut options = WorkOptions::default();
    options.until_empty = true;
    mails
        .work(options, |task| async move {
            let mail: Value = serde_json::from_slice(&task.bytes)?;
            println!("mail to {} for {} (attempt {})", mail["to"], task.key, task.attempt);
            Ok(())
        })
        .await?;
    Ok(())
}
