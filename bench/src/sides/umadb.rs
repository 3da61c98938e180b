//! UmaDB, embedded: its storage engine and its writer thread, as its own server puts them together, without gRPC.

use std::{
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use tokio::sync::{mpsc, oneshot, watch};
use umadb_core::{
    db::UmaDb,
    io_shell::io_shell,
    mvcc::{Mvcc, StorageOptions},
    writer_thread_blocking::writer_thread_blocking,
    writer_thread_pipelining::writer_thread_pipelining,
    writer_thread_request::WriterThreadRequest,
};
use umadb_dcb::{DcbAppendCondition, DcbEvent, DcbEventStoreSync, DcbQuery, DcbQueryItem};

use crate::workload::{EVENT_TYPE, Tagged, payload};

/// The most events that its server commits together.
const GROUP_EVENTS: usize = 2_048;

/// How UmaDB is set up. Its own default is the blocking writer without a page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Writes through io_uring while the next group is built.
    pub pipelined: bool,
    pub cache_megabytes: usize,
}

/// Its default writer, and the page cache that Larder's writer has. Not the best it can do: with a cache that holds all
/// of it, its tag queries are faster. `larder-bench run choice-umadb choice-umadb-queries` shows other settings.
pub const CHOSEN: Settings = Settings { pipelined: false, cache_megabytes: 64 };

fn engine(dir: &Path, settings: Settings) -> Result<Arc<Mvcc>> {
    let options = StorageOptions::default()
        .db_path(dir.join("uma.db"))
        .pipelined_writer(settings.pipelined)
        .page_cache_max_mb(settings.cache_megabytes);
    Ok(Arc::new(Mvcc::new(false, options)?))
}

/// For one thread, which calls the engine itself.
pub struct Direct {
    pub db: UmaDb,
}

impl Direct {
    pub fn open(dir: &Path, settings: Settings) -> Result<Self> {
        Ok(Self { db: UmaDb::from_arc(engine(dir, settings)?) })
    }

    pub fn append(&self, events: Vec<DcbEvent>, condition: Option<DcbAppendCondition>) -> Result<u64> {
        Ok(self.db.append(events, condition, None)?)
    }

    pub fn head(&self) -> Result<u64> {
        Ok(self.db.head()?.unwrap_or(0))
    }

    /// How many events carry the tag, reading them all.
    pub fn read_tag(&self, tag: String) -> Result<u64> {
        let query = DcbQuery::new().item(DcbQueryItem::new().tags([tag]));
        let (events, _) = self.db.read_with_head(Some(query), None, false, None)?;
        Ok(events.len() as u64)
    }

    /// Fills an empty database with tagged events.
    pub fn fill_tagged(&self, tagged: Tagged) -> Result<()> {
        const GROUP: u64 = 1_000;
        for from in (0..tagged.count).step_by(GROUP as usize) {
            let group = from..tagged.count.min(from + GROUP);
            self.append(group.map(|n| event(n, tagged.tags_of(n))).collect(), None)?;
        }
        Ok(())
    }
}

/// For tasks: its writer thread, which commits everything that waits.
#[derive(Debug)]
pub struct Shared {
    requests: mpsc::Sender<WriterThreadRequest>,
    threads: Vec<JoinHandle<()>>,
}

impl Shared {
    pub fn open(dir: &Path, settings: Settings) -> Result<Self> {
        let mvcc = engine(dir, settings)?;
        let (requests, waiting) = mpsc::channel(1_024);
        let (heads, _) = watch::channel(None);
        let mut threads = Vec::new();
        if settings.pipelined {
            let (jobs, waiting_jobs) = mpsc::unbounded_channel();
            let (file, page_size) = (mvcc.db_path.clone(), mvcc.page_size);
            threads.push(thread::spawn(move || {
                io_shell::start_io_uring_thread(file, page_size, waiting_jobs);
            }));
            threads.push(thread::spawn(move || {
                writer_thread_pipelining(jobs, mvcc, waiting, heads, GROUP_EVENTS);
            }));
        } else {
            threads.push(thread::spawn(move || writer_thread_blocking(mvcc, waiting, heads, GROUP_EVENTS)));
        }
        Ok(Self { requests, threads })
    }

    pub async fn append(&self, events: Vec<DcbEvent>, condition: Option<DcbAppendCondition>) -> Result<u64> {
        let (response_tx, answer) = oneshot::channel();
        let request =
            WriterThreadRequest::Append { events, condition, tracking_info: None, response_tx, cancel: None };
        self.requests.send(request).await.context("the writer thread has gone")?;
        Ok(answer.await.context("the writer thread did not answer")??)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.requests, closed));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// An event with these tags.
pub fn event(n: u64, tags: impl IntoIterator<Item = String>) -> DcbEvent {
    DcbEvent::new().event_type(EVENT_TYPE).data(payload(n).into_bytes()).tags(tags)
}

/// Fails if an event of the type carries both tags.
pub fn condition(tags: [String; 2], after: Option<u64>) -> DcbAppendCondition {
    let item = DcbQueryItem::new().types([EVENT_TYPE]).tags(tags);
    DcbAppendCondition::new(DcbQuery::new().item(item)).after(after)
}

/// Fails if the stream, which is a tag here, has an event after a position; 0 means any at all.
pub fn stream_condition(stream: String, after: u64) -> DcbAppendCondition {
    let item = DcbQueryItem::new().tags([stream]);
    DcbAppendCondition::new(DcbQuery::new().item(item)).after((after > 0).then_some(after))
}
