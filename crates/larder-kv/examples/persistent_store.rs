//! Write locally, keep it on disk, recover later: a setting that survives a restart.
//!
//! Run it with `cargo run -p larder-kv --example persistent_store`; its files go into `./data`.

use larder_kv::{Client, ClientOptions, ErrorKind, Result};

#[tokio::main]
async fn main() -> Result<()> {
    // Every option spelled out; `ClientOptions::persistent` says the same in one line.
    let mut options = ClientOptions::local("node-persistent");
    options.enable_transport = false;
    options.enable_discovery = false;
    options.enable_wal = true;
    options.wal_path = "data/sdk-persistent-store.wal".into();
    options.auto_flush = true;

    let client = match Client::open(options.clone()).await {
        Ok(client) => client,
        Err(error) => {
            eprintln!("failed to open client: {error}");
            std::process::exit(1);
        }
    };
    if let Err(error) = client.put("settings/theme", "dark").await {
        eprintln!("failed to store value: {error}");
        client.close().await?;
        std::process::exit(1);
    }
    let value = client.get("settings/theme")?;
    println!("key          : settings/theme");
    println!("value        : {value}");
    println!("wal path     : {}", options.wal_path.display());
    println!("store size   : {}", client.size());
    println!("outbox size  : {}", client.sync_state()?.outbox_size);
    client.close().await?;

    restart().await?;
    without_an_executor()
}

/// What was written before a restart is there after it.
async fn restart() -> Result<()> {
    let options = ClientOptions::persistent("node-persistent-test", "data/persistent-test.wal");
    {
        let client = Client::open(options.clone()).await?;
        client.put("app/name", "Softadastra").await?;
        println!("first run value written");
        client.close().await?;
    }
    let client = Client::open(options).await?;
    println!("recovered value: {} ({} records)", client.get("app/name")?, client.recovery().records);
    match client.get("app/missing") {
        Err(error) if *error.kind() == ErrorKind::NotFound => println!("{error}"),
        other => println!("unexpected: {:?}", other?),
    }
    println!("missing: {}", client.find("app/missing")?.is_none());

    // Keys and values are bytes.
    client.put([0_u8, 1, 2], vec![0_u8; 16]).await?;
    for entry in client.scan("app/")? {
        println!("{} = {}", entry.key, entry.value);
    }
    client.remove("app/name").await?;
    println!("contains: {}, empty: {}", client.contains("app/name")?, client.empty());

    // Nobody to sync with: both changes stay pending.
    println!("outbox : {}", client.sync_state()?.outbox_size);
    println!("sent   : {}", client.tick().await?.sent);
    client.close().await
}

/// The same calls on a plain thread, in memory only.
fn without_an_executor() -> Result<()> {
    let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
    client.put("profile/name", "Ada").wait()?;
    println!("hello {}", client.get("profile/name")?);
    client.close().wait()
}
