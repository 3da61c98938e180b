//! What a writer does to the key-value client, derived from a seed.

use std::collections::BTreeMap;

use larder_kv::{Client, Result};

use crate::random::Random;

/// Keys of one writer: few, so that they are overwritten and removed again and again.
const KEYS: u64 = 12;

/// A value that is put, or none for a removal.
pub type Written = Option<Vec<u8>>;

/// What the keys of a writer hold; removed ones are there, with none.
pub type State = BTreeMap<String, Written>;

/// One write or one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// In the order in which they take effect.
    pub writes: Vec<(String, Written)>,
    /// Whether it is awaited, and so committed by a thread of the client, or waited on.
    pub is_awaited: bool,
}

impl Step {
    /// The step with this number of this writer. Every value it puts is unlike all others, and every step puts one:
    /// so no two steps in a row leave the same.
    #[must_use]
    pub fn of(seed: u64, writer: u32, number: u64) -> Self {
        let mut random = Random::of(seed, (u64::from(writer) << 40) | number);
        let count = if random.once_in(3) { 1 + random.below(6) } else { 0 };
        let mut writes: Vec<_> = (0..count).map(|n| write(writer, number, n, &mut random)).collect();
        let last = format!("{}k{}", prefix(writer), random.below(KEYS));
        writes.push((last, Some(value(writer, number, count, &mut random))));
        Self { writes, is_awaited: random.once_in(2) }
    }

    /// Does it, and waits for the answer.
    ///
    /// # Errors
    /// The client's.
    pub fn submit(&self, client: &Client) -> Result<()> {
        let write = match &self.writes[..] {
            [(key, Some(value))] => client.put(key.as_str(), value.clone()),
            several => {
                let mut batch = client.batch();
                for (key, value) in several {
                    match value {
                        Some(value) => batch.put(key.as_str(), value.clone()),
                        None => batch.remove(key.as_str()),
                    };
                }
                batch.commit()
            }
        };
        if self.is_awaited { larder_kv::wait(write) } else { write.wait() }
    }

    /// What it makes of a state.
    pub fn apply(&self, state: &mut State) {
        state.extend(self.writes.iter().cloned());
    }
}

/// The prefix of all keys of a writer.
#[must_use]
pub fn prefix(writer: u32) -> String {
    format!("w{writer}/")
}

fn write(writer: u32, number: u64, n: u64, random: &mut Random) -> (String, Written) {
    let key = format!("{}k{}", prefix(writer), random.below(KEYS));
    let written = if random.once_in(3) { None } else { Some(value(writer, number, n, random)) };
    (key, written)
}

fn value(writer: u32, number: u64, n: u64, random: &mut Random) -> Vec<u8> {
    let length = match random.below(40) {
        0 => 20_000,
        1..4 => 3_000,
        4..8 => 0,
        _ => 100,
    };
    let mut value = format!("{writer}.{number}.{n}:").into_bytes();
    let filler = random.below(length + 1);
    value.extend((0..filler).map(|_| random.next_u64().to_le_bytes()[0]));
    value
}
