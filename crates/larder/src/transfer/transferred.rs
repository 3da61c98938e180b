//! What an export holds, counted.

use crate::event::Position;

/// What an export holds, or what an import has written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transferred {
    /// Each log, in the order of the export.
    pub logs: Vec<TransferredLog>,
    /// Each QueryDb, in the order of the export.
    pub query_dbs: Vec<TransferredQueryDb>,
    /// Each task bucket, in the order of the export.
    pub task_buckets: Vec<TransferredTaskBucket>,
    /// Each projection, in the order of the export.
    pub projections: Vec<TransferredProjection>,
}

impl Transferred {
    /// The events of all logs.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.logs.iter().map(|log| log.events).sum()
    }

    /// The items of all QueryDbs.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.query_dbs.iter().map(|query_db| query_db.items).sum()
    }

    /// The objects of all task buckets.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.task_buckets.iter().map(|bucket| bucket.objects).sum()
    }

    /// The triggers of all task buckets, dead letters included.
    #[must_use]
    pub fn triggers(&self) -> u64 {
        self.task_buckets.iter().map(|bucket| bucket.triggers).sum()
    }

    /// The rows of all logs: events, and everything else that is known of them; the items, objects and triggers; the
    /// projections, and their dead letters.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let logs: u64 = self.logs.iter().map(|log| log.rows).sum();
        let projections: u64 = self.projections.iter().map(|projection| 1 + projection.dead_letters).sum();
        logs + self.items() + self.objects() + self.triggers() + projections
    }
}

/// What an export holds of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferredLog {
    /// The log.
    pub log: String,
    /// Its events.
    pub events: u64,
    /// Its rows of every kind.
    pub rows: u64,
    /// The first position, of an event or of what is left of one; [`Position::START`] if there is none.
    pub first_position: Position,
    /// The last position, likewise.
    pub last_position: Position,
}

/// What an export holds of one QueryDb.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferredQueryDb {
    /// The QueryDb.
    pub query_db: String,
    /// Its visible items.
    pub items: u64,
}

/// What an export holds of one task bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferredTaskBucket {
    /// The bucket.
    pub bucket: String,
    /// Its objects.
    pub objects: u64,
    /// Its triggers, dead letters included.
    pub triggers: u64,
}

/// What an export holds of one projection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferredProjection {
    /// The projection.
    pub projection: String,
    /// The position through which events have taken effect.
    pub checkpoint: Position,
    /// The events that were passed over.
    pub dead_letters: u64,
    /// Whether it has to be rebuilt: it went on while it was exported.
    pub rebuild: bool,
}

impl TransferredLog {
    pub(super) fn new(log: &str) -> Self {
        Self { log: log.to_owned(), ..Self::default() }
    }

    pub(super) fn count(&mut self, position: Option<Position>, is_event: bool) {
        self.rows += 1;
        self.events += u64::from(is_event);
        if let Some(position) = position {
            if self.first_position == Position::START {
                self.first_position = position;
            }
            self.last_position = position;
        }
    }
}
