//! Re-verifies all of history against what every event and every writer says.

use std::collections::{BTreeMap, HashMap, HashSet};

use larder::{Event, Position};

use crate::claim::{Answer, Attempt, Claim, Said, Told};

/// Everything that is wrong.
pub(crate) fn violations(history: &[Event], attempts: &[Attempt]) -> Vec<String> {
    let mut checker = Checker { history, heads: HashMap::new(), appends: BTreeMap::new(), found: Vec::new() };
    checker.order();
    checker.appends();
    checker.guards();
    checker.answers(attempts);
    checker.found
}

struct Checker<'a> {
    history: &'a [Event],
    /// Each stream's head.
    heads: HashMap<&'a str, u64>,
    /// The events of each append, by writer and number.
    appends: BTreeMap<(String, u64), Append<'a>>,
    found: Vec<String>,
}

struct Append<'a> {
    claim: Claim,
    events: Vec<(usize, &'a Event)>,
}

fn name(claim: &Claim) -> String {
    format!("append {} of {}", claim.number, claim.writer)
}

impl<'a> Checker<'a> {
    fn find(&mut self, violation: String) {
        // A broken backend breaks everything; the first ones tell.
        if self.found.len() < 200 {
            self.found.push(violation);
        }
    }

    /// Positions rise, streams have no holes, ids are used once.
    fn order(&mut self) {
        let (mut last, mut ids) = (Position::START, HashSet::new());
        for event in self.history {
            if event.position <= last {
                self.find(format!("position {} comes after {last}", event.position));
            }
            last = event.position;
            if let Some(stream) = event.stream.as_deref() {
                let head = self.heads.entry(stream).or_default();
                *head += 1;
                let expected = *head;
                if event.seq_nr != expected {
                    self.find(format!("{stream} has {} where {expected} belongs", event.seq_nr));
                }
            }
            if !ids.insert(event.id) {
                self.find(format!("the id of the event at {} was used before: {}", event.position, event.id));
            }
        }
    }

    /// Each append is there in one piece.
    fn appends(&mut self) {
        for event in self.history {
            let Said { claim, index } = Said::by(event);
            let key = (claim.writer.clone(), claim.number);
            let append = self.appends.entry(key).or_insert_with(|| Append { claim, events: Vec::new() });
            append.events.push((index, event));
        }
        let torn: Vec<String> = self.appends.values().filter_map(torn).collect();
        torn.into_iter().for_each(|violation| self.find(violation));
    }

    /// What each append was guarded by really held at its place.
    fn guards(&mut self) {
        let mut broken = Vec::new();
        for Append { claim, events } in self.appends.values() {
            let Some((_, first)) = events.first() else { continue };
            if let Some(expected) = claim.expected.filter(|expected| first.seq_nr != expected + 1) {
                let at = first.seq_nr.saturating_sub(1);
                broken.push(format!("{} expected the stream at {expected}, it was at {at}", name(claim)));
            }
            if let Some(condition) = &claim.condition {
                let between =
                    |event: &&Event| event.position > condition.after && event.position < first.position;
                let violating = self
                    .history
                    .iter()
                    .filter(between)
                    .find(|event| condition.fail_if_events_match.matches(&event.event_type, &event.tags));
                broken.extend(violating.map(|event| {
                    let (at, by) = (first.position, event.position);
                    format!("{} at {at}: its condition was violated by {by}", name(claim))
                }));
            }
        }
        broken.into_iter().for_each(|violation| self.find(violation));
    }

    /// Every answer is true: what was accepted is there, what was refused is not and was refused for a reason.
    fn answers(&mut self, attempts: &[Attempt]) {
        let accepted: HashSet<_> = attempts
            .iter()
            .filter(|attempt| attempt.is_accepted())
            .map(|attempt| attempt.claim.key())
            .collect();
        let (mut wrong, mut accepted_later) = (Vec::new(), HashSet::new());
        for attempt @ Attempt { claim, answer, .. } in attempts.iter().rev() {
            let append = self.appends.get(&(claim.writer.clone(), claim.number));
            let refused = match answer {
                Answer::Accepted { .. } => {
                    accepted_later.insert(claim.key());
                    wrong.extend(self.not_there(claim, answer, append));
                    continue;
                }
                // What was refused once may be accepted when it is tried again, but not the other way round.
                _ => !accepted_later.contains(&claim.key()),
            };
            if append.is_some() && refused {
                wrong.push(format!("{} was refused but is there: {answer:?}", name(claim)));
            } else {
                wrong.extend(self.no_reason(attempt));
            }
        }
        for (writer, number) in self.appends.keys() {
            if !accepted.contains(&(writer.as_str(), *number)) {
                wrong.push(format!("append {number} of {writer} is there but was not acknowledged"));
            }
        }
        wrong.extend(backwards(attempts));
        wrong.into_iter().for_each(|violation| self.find(violation));
    }

    fn not_there(&self, claim: &Claim, answer: &Answer, append: Option<&Append<'_>>) -> Option<String> {
        let Some(Append { events, .. }) = append else {
            return Some(format!("{} was acknowledged but is not there", name(claim)));
        };
        let (first, last) = (events.first()?.1, events.last()?.1);
        let true_answer = Answer::Accepted {
            first_seq_nr: first.seq_nr,
            first_position: first.position,
            last_position: last.position,
        };
        (*answer != true_answer)
            .then(|| format!("{} was acknowledged as {answer:?}, it is {true_answer:?}", name(claim)))
    }

    fn no_reason(&self, Attempt { claim, answer, batched }: &Attempt) -> Option<String> {
        let reasonable = match answer {
            Answer::Accepted { .. } | Answer::WithItsBatch | Answer::Locked => true,
            Answer::Conflict { expected, actual } => {
                let head = claim.stream.as_deref().and_then(|stream| self.heads.get(stream));
                // What a refused batch had appended before counts for it, and is not in history.
                let possible = *batched || *actual <= *head.unwrap_or(&0);
                claim.expected == Some(*expected) && actual != expected && possible
            }
            Answer::ConditionFailed(matching) => {
                let exists = |told| *batched || self.exists(told);
                stood_in_the_way(claim, matching) && matching.iter().all(exists)
            }
            Answer::Other(error) => {
                return Some(format!("{} was neither accepted nor refused by a guard: {error}", name(claim)));
            }
        };
        (!reasonable).then(|| format!("{} was refused for no reason: {answer:?}", name(claim)))
    }

    fn exists(&self, (position, event_type, tags): &Told) -> bool {
        let same = |event: &Event| event.event_type == *event_type && event.tags == *tags;
        self.history
            .binary_search_by_key(position, |event| event.position)
            .is_ok_and(|place| same(&self.history[place]))
    }
}

/// Whether these are such events as the condition forbids.
fn stood_in_the_way(claim: &Claim, matching: &[Told]) -> bool {
    let Some(condition) = &claim.condition else { return false };
    let counts = |(position, event_type, tags): &Told| {
        *position > condition.after && condition.fail_if_events_match.matches(event_type, tags)
    };
    (1..=10).contains(&matching.len())
        && matching.iter().all(counts)
        && matching.is_sorted_by(|one, next| one.0 < next.0)
}

/// Says if an append's events do not lie together, in order, all of them.
fn torn(Append { claim, events }: &Append<'_>) -> Option<String> {
    let whole = events.len() == claim.events
        && events.iter().enumerate().all(|(n, (index, event))| {
            let first = events[0].1;
            let n = n as u64;
            let seq_nr = if claim.stream.is_some() { first.seq_nr + n } else { 0 };
            *index as u64 == n
                && event.position.get() == first.position.get() + n
                && event.seq_nr == seq_nr
                && event.stream.as_deref() == claim.stream.as_deref()
        });
    (!whole).then(|| {
        let at: Vec<_> = events.iter().map(|(index, event)| (index, event.position.get())).collect();
        let what = if events.len() > claim.events { "was written twice" } else { "is not in one piece" };
        format!("{} {what}: {at:?}", name(claim))
    })
}

/// What one writer was told first lies below what it was told later.
fn backwards(attempts: &[Attempt]) -> Vec<String> {
    let mut last: HashMap<&str, (u64, Position)> = HashMap::new();
    let mut found = Vec::new();
    for Attempt { claim, answer, .. } in attempts {
        if let Answer::Accepted { first_position, last_position, .. } = answer {
            match last.get(claim.writer.as_str()) {
                Some((number, before)) if *number != claim.number && first_position <= before => {
                    found.push(format!("{} lies below append {number}", name(claim)));
                }
                _ => {}
            }
            last.insert(&claim.writer, (claim.number, *last_position));
        }
    }
    found
}
