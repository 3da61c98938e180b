//! What is compared with what.

mod batches;
mod choices;
mod concurrent;
mod conditional;
mod kv;
mod opening;
mod projection;
mod query_db;
mod replay;
mod single;
mod tag_queries;

use anyhow::Result;

pub use kv::measure_memory;
pub use opening::abort_while_writing;

use crate::harness::{Comparison, Scene};

/// A comparison as the command line knows it.
pub struct Entry {
    pub name: &'static str,
    pub about: &'static str,
    /// Whether `run` without names includes it.
    pub by_default: bool,
    /// Prepares what the sides need.
    pub build: fn(&Scene) -> Result<Comparison>,
}

const fn entry(name: &'static str, about: &'static str, build: fn(&Scene) -> Result<Comparison>) -> Entry {
    Entry { name, about, by_default: true, build }
}

const fn choice(name: &'static str, about: &'static str, build: fn(&Scene) -> Result<Comparison>) -> Entry {
    Entry { name, about, by_default: false, build }
}

/// All of them, in the order in which they run.
pub const ALL: &[Entry] = &[
    entry("append-64", "64 tasks, each appending single events to a stream of its own", concurrent::with_64),
    entry(
        "append-512",
        "512 tasks, each appending single events to a stream of its own",
        concurrent::with_512,
    ),
    entry(
        "conditional-1",
        "one thread appending under a condition on two tags and a type, over all of the log, at 1 million events",
        conditional::from_start_by_one,
    ),
    entry(
        "conditional-64",
        "64 tasks appending under a condition on two tags and a type, over all of the log, at 1 million events",
        conditional::from_start_by_64,
    ),
    entry(
        "conditional-1-recent",
        "as conditional-1, but the condition looks only at what came after the writer's last append",
        conditional::recent_by_one,
    ),
    entry(
        "conditional-64-recent",
        "as conditional-64, but the condition looks only at what came after the writer's last append",
        conditional::recent_by_64,
    ),
    entry("single", "one thread appending single events to one stream", single::comparison),
    entry(
        "batch-100",
        "one thread committing 100 events at a time, each on a random stream",
        batches::comparison,
    ),
    entry("replay-long", "reading one stream of 100,000 events", replay::long),
    entry("replay-short", "reading 100,000 streams of 10 events, in random order", replay::short),
    entry("tags-10", "reading the 10 events of a random tag, at 1 million events", tag_queries::of_10),
    entry("tags-100", "reading the 100 events of a random tag, at 1 million events", tag_queries::of_100),
    entry(
        "tags-10000",
        "reading the 10,000 events of a random tag, at 1 million events",
        tag_queries::of_10_000,
    ),
    entry(
        "open",
        "opening a store of 1 million events whose process was aborted while writing",
        opening::comparison,
    ),
    entry("kv-threads-64", "64 threads putting durably, one value at a time", kv::threads),
    entry("kv-tasks-64", "64 tasks putting durably; the rivals behind a batching thread", kv::tasks),
    entry("kv-single", "one caller putting durably, one value at a time", kv::single),
    entry("kv-batch-1000", "one caller putting durably, 1,000 values at a time", kv::batches),
    entry("kv-buffered", "one caller putting without waiting for the disk", kv::buffered),
    entry("kv-get", "one thread getting random ones of 100,000 values", kv::get),
    entry("kv-recovery", "opening a file of 1 million records", kv::recovery),
    entry("kv-pending", "durable puts with as many keys in the outbox, by one caller", kv::pending_durable),
    entry("kv-pending-buffered", "as kv-pending, without waiting for the disk", kv::pending_buffered),
    entry("kv-memory", "the memory that 1 million entries take", kv::memory),
    entry("query-db-upsert", "saving 1,000 of 200,000 items at a time, with two indexes", query_db::upsert),
    entry(
        "query-db-changes",
        "as query-db-upsert, with changes kept; the item table keeps none",
        query_db::upsert_with_changes,
    ),
    entry("query-db-save-64", "64 tasks saving single items", query_db::save_64),
    entry("query-db-load-one", "loading a random one of 100,000 items", query_db::load_one),
    entry(
        "projection",
        "catching up with 100,000 events, each of which writes an item with two indexes",
        projection::catching_up,
    ),
    choice("choice-mutex-64", "which driver suits the mutex best, 64 tasks", choices::mutex_64),
    choice("choice-mutex-512", "which driver suits the mutex best, 512 tasks", choices::mutex_512),
    choice("choice-cqrs-es", "which settings suit cqrs-es best, 64 tasks", choices::cqrs_es),
    choice("choice-umadb", "which settings suit UmaDB best, 512 tasks", choices::umadb),
    choice(
        "choice-umadb-conditional",
        "which settings suit UmaDB best, 64 tasks under a condition",
        choices::umadb_conditional,
    ),
    choice(
        "choice-umadb-queries",
        "which page cache suits UmaDB best, reading the 100 events of a random tag",
        choices::umadb_queries,
    ),
];
