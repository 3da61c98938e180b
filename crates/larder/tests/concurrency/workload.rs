//! A writer that appends under random guards, most of them plausible, many of them stale.

use larder::{
    AppendCondition, BoxError, EventLog, Expected, NewEvent, Position, Query, QueryItem, Result, Store, Uuid,
    Write,
};

use crate::{
    LOG,
    claim::{Answer, Attempt, Claim, Said},
};

const STREAMS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
const TYPES: [&str; 3] = ["Opened", "Changed", "Closed"];
const TAGS: [&str; 5] = ["a", "b", "c", "d", "e"];

pub(crate) struct Writer {
    store: Store,
    log: EventLog,
    name: String,
    numbers: Numbers,
    next: u64,
    /// A position that was the log's head a while ago.
    seen: Position,
}

impl Writer {
    pub(crate) fn new(store: &Store, name: String, seed: u64) -> Result<Self> {
        let (store, log) = (store.clone(), store.event_log(LOG)?);
        // Each writer has numbers, and so event ids, of its own.
        let own =
            name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(Self { store, log, name, numbers: Numbers(own), next: 0, seen: Position::START })
    }

    /// Tries so often, and tells what came of it.
    pub(crate) fn attempt(mut self, count: u64) -> Result<Vec<Attempt>, BoxError> {
        let mut tried = Vec::new();
        while self.next < count {
            match self.numbers.below(10) {
                0 => self.try_batch(&mut tried)?,
                _ => self.try_one(&mut tried)?,
            }
        }
        Ok(tried)
    }

    fn try_one(&mut self, tried: &mut Vec<Attempt>) -> Result<()> {
        let (claim, events) = self.plan()?;
        let mut again = self.numbers.below(8) == 0;
        loop {
            let answer = match self.write(&claim, &events).wait() {
                Ok(appended) => Answer::from(appended),
                Err(error) => Answer::from(&error),
            };
            tried.push(Attempt { claim: claim.clone(), answer, batched: false });
            // As if the answer had been lost: the ids make it the same append.
            if !again {
                return Ok(());
            }
            again = false;
        }
    }

    /// Two appends in one batch.
    fn try_batch(&mut self, tried: &mut Vec<Attempt>) -> Result<()> {
        let (first, second) = (self.plan()?, self.plan()?);
        let mut batch = self.store.batch();
        let slots = [&first, &second].map(|(claim, events)| batch.add(self.write(claim, events)));
        let committed = batch.commit().wait();
        for ((claim, _), slot) in [first, second].into_iter().zip(slots) {
            let answer = match &committed {
                Ok(committed) => Answer::from(committed[slot]),
                Err(error) if error.index().is_none_or(|index| index == slot.index()) => Answer::from(error),
                Err(_) => Answer::WithItsBatch,
            };
            tried.push(Attempt { claim, answer, batched: true });
        }
        Ok(())
    }

    fn write(&self, claim: &Claim, events: &[NewEvent]) -> Write<larder::Append> {
        match &claim.stream {
            Some(stream) => {
                let expected = claim.expected.map_or(Expected::Any, Expected::Exact);
                let write = self.log.append(stream, expected, events);
                match &claim.condition {
                    Some(condition) => write.condition(condition.clone()),
                    None => write,
                }
            }
            None => self.log.append_if(events, claim.condition.clone()),
        }
    }

    fn plan(&mut self) -> Result<(Claim, Vec<NewEvent>)> {
        let kind = self.numbers.below(10);
        let stream = (kind < 6).then(|| self.numbers.one_of(&STREAMS).to_owned());
        let expected = match &stream {
            Some(stream) => self.expectation(stream)?,
            None => None,
        };
        let condition = if kind >= 4 { Some(self.condition()?) } else { None };
        let events = 1 + usize::try_from(self.numbers.below(3)).unwrap_or(0);
        let (writer, number) = (self.name.clone(), self.next);
        self.next += 1;
        let claim = Claim { writer, number, stream, expected, condition, events };
        let events = (0..events).map(|index| self.event(&claim, index)).collect();
        Ok((claim, events))
    }

    fn event(&mut self, claim: &Claim, index: usize) -> NewEvent {
        let id = (self.numbers.next(), self.numbers.next());
        NewEvent::new(self.numbers.one_of(&TYPES), &Said { claim: claim.clone(), index })
            .tags(self.numbers.some_of(&TAGS))
            .id(Uuid::from_u64_pair(id.0, id.1))
    }

    /// The head, mostly; sometimes what is surely stale or a gap, sometimes anything.
    fn expectation(&mut self, stream: &str) -> Result<Option<u64>> {
        let head = self.log.head(stream).wait()?;
        Ok(match self.numbers.below(12) {
            0 => None,
            1 => Some(head + 1),
            2 => Some(head.saturating_sub(1)),
            _ => Some(head),
        })
    }

    /// Nothing since this writer looked; sometimes since it looked before that.
    fn condition(&mut self) -> Result<AppendCondition> {
        let query = self.query();
        let looked = self.log.query(&query).after(self.seen).wait()?.through;
        let after = if self.numbers.below(6) == 0 { self.seen } else { looked };
        self.seen = looked;
        Ok(AppendCondition { fail_if_events_match: query, after })
    }

    fn query(&mut self) -> Query {
        if self.numbers.below(12) == 0 {
            return Query::all();
        }
        let items = (0..1 + self.numbers.below(2)).map(|_| {
            let tags = self.numbers.some_of(&TAGS);
            let item = QueryItem::new().tags(tags.iter().copied());
            let typed = tags.is_empty() || self.numbers.below(2) == 0;
            if typed { item.types([self.numbers.one_of(&TYPES)]) } else { item }
        });
        items.collect::<Vec<_>>().into()
    }
}

/// A small deterministic source of numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.below(choices.len() as u64)).expect("an index fits")]
    }

    /// Each with a chance of one in three.
    fn some_of<'a>(&mut self, choices: &[&'a str]) -> Vec<&'a str> {
        choices.iter().copied().filter(|_| self.below(3) == 0).collect()
    }
}
