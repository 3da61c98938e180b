//! What is written: payloads, streams, and a set of tagged events that every side generates alike.

use serde::Serialize;

/// The length of every payload, in bytes.
pub const PAYLOAD_BYTES: usize = 200;

/// The metadata of every event that Larder stores here.
pub const METADATA: &str = r#"{"actor":"bench","trace":"4bf92f3577b34da6"}"#;

/// The type of every event; conditions ask for it.
pub const EVENT_TYPE: &str = "StudentSubscribed";

/// A JSON object of exactly [`PAYLOAD_BYTES`] bytes that differs with `n`.
pub fn payload(n: u64) -> String {
    const FILL: &str = "The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs. \
                        Sphinx of black quartz, judge my vow. How vexingly quick daft zebras jump in the night.";
    let head = format!(r#"{{"number":{n},"amount":{}.5,"note":""#, n % 9_973);
    let fill = PAYLOAD_BYTES - head.len() - 2;
    format!("{head}{}\"}}", &FILL[..fill])
}

/// The stream of a writer.
pub fn own_stream(writer: usize) -> String {
    format!("account-{writer:06}")
}

/// A number that looks random, from a number: SplitMix64.
pub fn scatter(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An item of a read model, about as long as [`payload`], with fields for two indexes.
#[derive(Debug, Clone, Serialize)]
pub struct WorkItem {
    #[serde(skip)]
    pub key: String,
    pub status: &'static str,
    pub day: String,
    pub amount: i64,
    pub customer: String,
    pub note: &'static str,
}

impl WorkItem {
    /// The key of an item.
    pub fn key(number: u64) -> String {
        format!("order-{number:08}")
    }

    /// An item as it is after some change.
    pub fn of(number: u64, change: u64) -> Self {
        let random = scatter(change);
        Self {
            key: Self::key(number),
            status: ["open", "paid", "packed", "sent", "closed"][(random % 5) as usize],
            day: format!("2026-{:02}-{:02}", random / 5 % 12 + 1, random / 60 % 28 + 1),
            amount: (random / 1_680 % 100_000) as i64,
            customer: format!("customer-{:05}", number % 10_007),
            note: "Sphinx of black quartz, judge my vow. How vexingly quick daft zebras jump in the night.",
        }
    }

    /// The items that a batch saves, scattered over all of them.
    pub fn batch(batch: u64, size: u64, items: u64) -> impl Iterator<Item = Self> {
        (batch * size..(batch + 1) * size).map(move |n| Self::of(scatter(n) % items, n))
    }

    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("it has string keys")
    }
}

/// `count` events with three tags each: exactly 10 events share a student, 100 a course, 10,000 a region, all
/// scattered over the log.
#[derive(Debug, Clone, Copy)]
pub struct Tagged {
    pub count: u64,
}

/// How many events share one tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagKind {
    Student,
    Course,
    Region,
}

impl TagKind {
    pub fn events(self) -> u64 {
        match self {
            Self::Student => 10,
            Self::Course => 100,
            Self::Region => 10_000,
        }
    }

    /// Coprime to every power of ten, so that multiplying by it scatters the numbers below one.
    fn multiplier(self) -> u64 {
        match self {
            Self::Student => 387_420_489,
            Self::Course => 982_451_653,
            Self::Region => 472_882_027,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Student => "student",
            Self::Course => "course",
            Self::Region => "region",
        }
    }

    pub fn tag(self, number: u64) -> String {
        format!("{}:{number:06}", self.name())
    }
}

impl Tagged {
    /// How many tags of a kind there are.
    pub fn tags(self, kind: TagKind) -> u64 {
        self.count / kind.events()
    }

    fn number(self, event: u64, kind: TagKind) -> u64 {
        let place = u128::from(event) * u128::from(kind.multiplier()) % u128::from(self.count);
        place as u64 / kind.events()
    }

    /// The tags of an event, from 0.
    pub fn tags_of(self, event: u64) -> [String; 3] {
        [TagKind::Student, TagKind::Course, TagKind::Region].map(|kind| kind.tag(self.number(event, kind)))
    }

    /// A student and a course, both of which have events, together none; never the same two for two numbers.
    /// `None` if the number's pair has an event after all.
    pub fn unmet_pair(self, number: u64) -> Option<(u64, u64)> {
        let (students, courses) = (self.tags(TagKind::Student), self.tags(TagKind::Course));
        let place = u128::from(number) * 982_451_653 % u128::from(students * courses);
        let (student, course) = (place as u64 / courses, place as u64 % courses);
        let met = self.events_of(student).any(|event| self.number(event, TagKind::Course) == course);
        (!met).then_some((student, course))
    }

    /// The events of a student: undoes the multiplication.
    fn events_of(self, student: u64) -> impl Iterator<Item = u64> {
        let inverse = inverse(TagKind::Student.multiplier() % self.count, self.count);
        (0..TagKind::Student.events()).map(move |nth| {
            let place = student * TagKind::Student.events() + nth;
            (u128::from(place) * u128::from(inverse) % u128::from(self.count)) as u64
        })
    }
}

/// The inverse of `a` modulo `m`, which are coprime: extended Euclid.
fn inverse(a: u64, m: u64) -> u64 {
    let (mut r, mut next_r) = (i128::from(m), i128::from(a));
    let (mut t, mut next_t) = (0_i128, 1_i128);
    while next_r != 0 {
        let quotient = r / next_r;
        (r, next_r) = (next_r, r - quotient * next_r);
        (t, next_t) = (next_t, t - quotient * next_t);
    }
    t.rem_euclid(i128::from(m)) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    const TAGGED: Tagged = Tagged { count: 100_000 };

    #[test]
    fn payloads_are_json_of_their_length() {
        for n in [0, 9, 1_000_000_000] {
            assert_eq!(payload(n).len(), PAYLOAD_BYTES);
            serde_json::from_str::<serde_json::Value>(&payload(n)).expect("a payload is JSON");
        }
    }

    #[test]
    fn every_tag_has_its_number_of_events() {
        let mut counts: HashMap<String, u64> = HashMap::new();
        for tag in (0..TAGGED.count).flat_map(|event| TAGGED.tags_of(event)) {
            *counts.entry(tag).or_default() += 1;
        }
        for kind in [TagKind::Student, TagKind::Course, TagKind::Region] {
            assert!((0..TAGGED.tags(kind)).all(|tag| counts[&kind.tag(tag)] == kind.events()));
        }
    }

    #[test]
    fn unmet_pairs_are_unmet_and_differ() {
        let met: HashSet<(u64, u64)> = (0..TAGGED.count)
            .map(|event| (TAGGED.number(event, TagKind::Student), TAGGED.number(event, TagKind::Course)))
            .collect();
        let pairs: Vec<_> = (0..50_000).filter_map(|number| TAGGED.unmet_pair(number)).collect();
        assert!(pairs.len() > 49_000);
        assert!(pairs.iter().all(|pair| !met.contains(pair)));
        assert_eq!(pairs.iter().collect::<HashSet<_>>().len(), pairs.len());
    }
}
