//! The workload: what each writer does, derived from the seed alone, so that a checker in another process can
//! derive it again.

use std::{fmt, str::FromStr};

use larder::{Event, NewEvent, Payload, Uuid};

use crate::random::Random;

/// The log that every harness writes to.
pub const LOG: &str = "crash";
/// The stream that every writer appends to.
pub const SHARED: &str = "shared";
/// How many buckets events are tagged with.
pub const BUCKETS: u64 = 5;
/// The event types.
pub const TYPES: [&str; 3] = ["Opened", "Moved", "Closed"];
/// Streams of its own that each writer has.
const OWN_STREAMS: u64 = 3;

/// A step of a writer: which writer, and the how-manieth of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId {
    /// The writer.
    pub writer: u32,
    /// From 0.
    pub index: u32,
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.writer, self.index)
    }
}

impl FromStr for StepId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (writer, index) = text.split_once('-').ok_or(())?;
        Ok(Self { writer: writer.parse().map_err(drop)?, index: index.parse().map_err(drop)? })
    }
}

/// What a writer does in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub id: StepId,
    /// What.
    pub deed: Deed,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// One part is an append; several are a batch.
    Append {
        /// What is appended where.
        parts: Vec<Part>,
        /// The expected sequence is given (own streams only).
        exact: bool,
        /// Only if no event carries this tag yet; the events do.
        once: Option<String>,
        /// Wait as a future, which leaves the commit to the writer's thread.
        as_future: bool,
    },
    /// A stream of its own is compacted, all but its last events.
    Compact {
        /// The stream.
        stream: String,
        /// How many events stay.
        keep: u64,
    },
    /// Tasks of its own fail, and its projection catches up.
    Work,
}

/// Events for one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The stream, if any.
    pub stream: Option<String>,
    /// What is appended.
    pub events: Vec<PlannedEvent>,
}

/// An event as it will be appended, and must be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedEvent {
    event_type: &'static str,
    payload: Payload,
    metadata: Option<String>,
    tags: Vec<String>,
    id: Option<Uuid>,
}

impl Step {
    /// The step of this id in the run of this seed.
    #[must_use]
    pub fn of(seed: u64, id: StepId) -> Self {
        let mut random = Random::of(seed, u64::from(id.writer) << 32 | u64::from(id.index));
        let own = format!("own-{}-{}", id.writer, random.below(OWN_STREAMS));
        let deed = match random.below(22) {
            0 => Deed::Compact { stream: own, keep: random.below(4) },
            1..=3 => {
                let parts =
                    vec![part(&mut random, id, 0, Some(own), None), part(&mut random, id, 1, None, None)];
                Deed::Append { parts, exact: false, once: None, as_future: true }
            }
            4..=6 => {
                // Every writer comes by the same names.
                let once = format!("once:{}", id.index / 4);
                let parts = vec![part(&mut random, id, 0, None, Some(&once))];
                Deed::Append { parts, exact: false, once: Some(once), as_future: random.once_in(2) }
            }
            7..=10 => Deed::Append {
                parts: vec![part(&mut random, id, 0, Some(SHARED.to_owned()), None)],
                exact: false,
                once: None,
                as_future: random.once_in(2),
            },
            11..=12 => Deed::Work,
            _ => Deed::Append {
                parts: vec![part(&mut random, id, 0, Some(own), None)],
                exact: random.once_in(2),
                once: None,
                as_future: random.once_in(2),
            },
        };
        Self { id, deed }
    }

    /// Its parts, if it is an append.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        match &self.deed {
            Deed::Append { parts, .. } => parts,
            Deed::Compact { .. } | Deed::Work => &[],
        }
    }

    /// Whether it is a batch, which changes every surface.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        self.parts().len() > 1
    }

    /// Whether repeating it is recognised.
    #[must_use]
    pub fn has_ids(&self) -> bool {
        !self.parts().is_empty()
            && self.parts().iter().all(|part| part.events.iter().all(|event| event.id.is_some()))
    }
}

fn part(random: &mut Random, id: StepId, number: usize, stream: Option<String>, once: Option<&str>) -> Part {
    let count = if random.once_in(4) { 2 + random.index(4) } else { 1 };
    let with_ids = random.once_in(3);
    let events = (0..count)
        .map(|index| {
            let mut tags = vec![Name { step: id, part: number, index }.to_string()];
            tags.push(format!("bucket:{}", random.below(BUCKETS)));
            tags.extend(once.map(str::to_owned));
            PlannedEvent {
                event_type: TYPES[random.index(TYPES.len())],
                payload: payload(random),
                metadata: random.once_in(4).then(|| format!(r#"{{"by": {}}}"#, random.below(100))),
                tags,
                id: with_ids.then(|| Uuid::from_u64_pair(random.next_u64(), random.next_u64())),
            }
        })
        .collect();
    Part { stream, events }
}

fn payload(random: &mut Random) -> Payload {
    let number = random.next_u64();
    match random.below(16) {
        0 => Payload::Bytes(number.to_le_bytes().repeat(1 + random.index(20))),
        // Longer than a page.
        1 => Payload::Json(format!(r#"{{"n": {number}, "long": "{}"}}"#, "long ".repeat(1_000))),
        _ => Payload::Json(format!(r#"{{"n":{number},"pad":"{}"}}"#, "p".repeat(random.index(200)))),
    }
}

/// The name that each event carries as a tag: `event:<step>.<part>.<index>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The step that appended it.
    pub step: StepId,
    /// Which part of it.
    pub part: usize,
    /// Which event of that.
    pub index: usize,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event:{}.{}.{}", self.step, self.part, self.index)
    }
}

impl Name {
    /// The name that an event carries.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let name = event.tags.iter().find_map(|tag| tag.strip_prefix("event:"))?;
        let mut fields = name.split('.');
        let step = fields.next()?.parse().ok()?;
        let part = fields.next()?.parse().ok()?;
        let index = fields.next()?.parse().ok()?;
        Some(Self { step, part, index })
    }
}

impl PlannedEvent {
    /// As it is given to an append.
    pub fn to_new(&self) -> NewEvent {
        let mut event = match &self.payload {
            Payload::Json(json) => NewEvent::json(self.event_type, json.clone()),
            Payload::Bytes(bytes) => NewEvent::bytes(self.event_type, bytes.clone()),
        };
        if let Some(metadata) = &self.metadata {
            event = event.metadata_json(metadata.clone());
        }
        if let Some(id) = self.id {
            event = event.id(id);
        }
        event.tags(self.tags.iter().cloned())
    }

    /// Its tags, in order; the first is its name.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Whether this is what was read.
    #[must_use]
    pub fn is(&self, event: &Event) -> bool {
        self.event_type == event.event_type
            && self.payload == event.payload
            && self.metadata == event.metadata
            && self.tags == event.tags
            && self.id == event.given_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_the_same_each_time() {
        for index in 0..100 {
            let id = StepId { writer: 3, index };
            assert_eq!(Step::of(9, id), Step::of(9, id));
            let (one, other) = (Step::of(9, id), Step::of(10, id));
            assert!(one != other || one.deed == Deed::Work, "{one:?}");
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
