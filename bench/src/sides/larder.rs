//! Larder, with everything on: durability `Flushed`, checksums, metadata, ids, bus.

use std::path::Path;

use anyhow::Result;
use larder::{BulkEvent, EventLog, NewEvent, QueryItem, Store, Uuid};

use crate::{
    harness::Scene,
    workload::{EVENT_TYPE, METADATA, Tagged, payload},
};

/// A store on disk and the log that is written and read.
#[derive(Debug, Clone)]
pub struct Larder {
    store: Store,
    pub log: EventLog,
    ids: bool,
}

impl Larder {
    /// The file of a store in this directory.
    pub fn file(dir: &Path) -> std::path::PathBuf {
        dir.join("larder.db")
    }

    pub fn open(dir: &Path, scene: &Scene) -> Result<Self> {
        let store = Store::open(larder::Config::sqlite(Self::file(dir))).wait()?;
        let log = store.event_log("bench")?;
        Ok(Self { store, log, ids: scene.ids })
    }

    pub fn close(&self) -> Result<()> {
        Ok(self.store.close().wait()?)
    }

    pub fn batch(&self) -> larder::WriteBatch {
        self.store.batch()
    }

    /// An event without tags.
    pub fn event(&self, n: u64) -> NewEvent {
        let event = NewEvent::json(EVENT_TYPE, payload(n)).metadata_json(METADATA);
        if self.ids { event.id(Uuid::now_v7()) } else { event }
    }

    /// The position of the last event.
    pub fn head(&self) -> Result<u64> {
        Ok(self.log.info().wait()?.map_or(0, |info| info.head.get()))
    }

    /// Fills an empty log with tagged events.
    pub fn fill_tagged(&self, tagged: Tagged) -> Result<()> {
        let events = (0..tagged.count).map(move |n| {
            let event = NewEvent::json(EVENT_TYPE, payload(n)).metadata_json(METADATA);
            BulkEvent::from(event.tags(tagged.tags_of(n)))
        });
        self.log.append_many(events).wait()?;
        Ok(())
    }

    /// Fills an empty log with streams, round after round one event for each.
    pub fn fill_streams(&self, streams: u64, events: u64) -> Result<()> {
        let all = (0..events).flat_map(move |event| (0..streams).map(move |stream| (stream, event)));
        let events = all.map(|(stream, event)| {
            let event = NewEvent::json(EVENT_TYPE, payload(event)).metadata_json(METADATA);
            BulkEvent::from((stream_name(stream), event))
        });
        self.log.append_many(events).wait()?;
        Ok(())
    }

    /// How many events carry the tag, reading them all.
    pub fn read_tag(&self, tag: &str) -> Result<u64> {
        let page = self.log.query(QueryItem::new().tag(tag)).wait()?;
        Ok(page.items.len() as u64)
    }
}

/// The name of a prepared stream, the same on every side.
pub fn stream_name(number: u64) -> String {
    format!("account-{number:06}")
}
