//! Goes through the history of a bucket, commit by commit, with a model of its triggers that knows nothing of backends.

use std::collections::{BTreeMap, HashMap, HashSet};

use larder::{DeadTask, backend::Lease};

use crate::{
    recorder::{Answer, Asked, Entry, Said},
    workload::ATTEMPTS,
};

/// What a run has left behind.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) entries: Vec<Entry>,
    /// The commits in their order: their notes, and when each was, in microseconds since 1970.
    pub(crate) notes: Vec<(String, u64)>,
    /// The versions of what was acknowledged together with an effect.
    pub(crate) effects: Vec<u64>,
    pub(crate) dead: Vec<DeadTask>,
    /// How many triggers are still to be handled.
    pub(crate) left: u64,
}

impl Outcome {
    fn count(&self, counts: impl Fn(&Asked, &Answer) -> bool) -> usize {
        let commits = self.entries.iter().filter(|entry| match entry {
            Entry::Commit { asked, answer, .. } => counts(asked, answer),
            Entry::Handler { .. } => false,
        });
        commits.count()
    }

    fn counts(&self) -> [usize; 5] {
        [
            self.count(|_, answer| matches!(answer, Answer::Put { .. })),
            self.count(|asked, answer| matches!((asked, answer), (Asked::Fail { .. }, Answer::Done))),
            self.count(|asked, answer| matches!((asked, answer), (Asked::Renew { .. }, Answer::Done))),
            self.count(|_, answer| *answer == Answer::LeaseLost),
            self.dead.len(),
        ]
    }

    pub(crate) fn summary(&self) -> String {
        let [puts, failures, renewals, lost, dead] = self.counts();
        let effects = self.effects.len();
        format!(
            "{puts} puts, {failures} failures, {renewals} renewals, {lost} leases lost, {dead} dead, {effects} effects"
        )
    }

    /// A run in which nothing goes wrong proves nothing.
    pub(crate) fn assert_that_it_tells(&self) {
        assert!(
            self.counts().iter().all(|count| *count > 0) && !self.effects.is_empty(),
            "{}",
            self.summary()
        );
    }
}

/// Everything that is wrong.
pub(crate) fn violations(outcome: &Outcome) -> Vec<String> {
    let mut checker = Checker::default();
    let commits = checker.commits(outcome);
    for (note, at) in &outcome.notes {
        match commits.get(note.as_str()) {
            Some((asked, answer)) => checker.commit(asked, answer, *at),
            None => checker.find(format!("commit {note} is there, and was not answered")),
        }
    }
    checker.refusals(outcome);
    checker.handlers(outcome);
    checker.end(outcome);
    checker.found
}

/// A trigger, by the version of its object.
#[derive(Debug, Default)]
struct Trigger {
    key: String,
    number: u64,
    due_at: u64,
    attempts: u32,
    /// The lease, and when it runs out.
    held: Option<(Lease, u64)>,
    acknowledged: bool,
    /// What the worker said that gave it up.
    given_up: Option<String>,
}

impl Trigger {
    /// Whether it is out of the way of the next one of its key.
    fn is_over(&self, now: u64) -> bool {
        let has_run_out = || self.held.is_none_or(|(_, until)| until <= now);
        self.acknowledged || self.given_up.is_some() || (self.attempts >= ATTEMPTS && has_run_out())
    }
}

#[derive(Debug, Default)]
struct Checker {
    triggers: BTreeMap<u64, Trigger>,
    versions: HashMap<u64, u64>,
    /// When each lease runs out, and whether its holder has ended it.
    leases: HashMap<(u64, u64), (u64, bool)>,
    found: Vec<String>,
}

type Commits<'a> = HashMap<&'a str, (&'a Asked, &'a Answer)>;

impl Checker {
    fn find(&mut self, violation: String) {
        // A broken backend breaks everything; the first ones tell.
        if self.found.len() < 200 {
            self.found.push(violation);
        }
    }

    /// Each commit that was answered well, by its note; each of them is in the history.
    fn commits<'a>(&mut self, outcome: &'a Outcome) -> Commits<'a> {
        let there: HashSet<&str> = outcome.notes.iter().map(|(note, _)| note.as_str()).collect();
        let mut commits = Commits::new();
        for entry in &outcome.entries {
            let Entry::Commit { note, asked, answer, .. } = entry else { continue };
            match answer {
                Answer::LeaseLost | Answer::Locked => {}
                Answer::Other(other) => self.find(format!("{asked:?} answered {other}")),
                _ if !there.contains(note.as_str()) => {
                    self.find(format!("{asked:?} was answered, and is not there"));
                }
                _ => {
                    commits.insert(note, (asked, answer));
                }
            }
        }
        commits
    }

    fn commit(&mut self, asked: &Asked, answer: &Answer, now: u64) {
        match (asked, answer) {
            (Asked::Put { key, after }, Answer::Put { version }) => {
                let trigger = Trigger { key: key.clone(), due_at: now + after, ..Trigger::default() };
                let is_above = self.triggers.last_key_value().is_none_or(|(last, _)| last < version);
                if self.triggers.insert(*version, trigger).is_some() || !is_above {
                    self.find(format!("version {version} comes too late"));
                }
            }
            (Asked::Claim { lease, .. }, Answer::Claimed(claimed)) => {
                for claimed in claimed {
                    let wrong = self.claim(claimed, now, *lease);
                    let name = format!("trigger {} of {}", claimed.lease.trigger, claimed.key);
                    wrong.into_iter().for_each(|wrong| self.find(format!("{name} was handed out {wrong}")));
                }
            }
            (Asked::Renew { lease, duration }, Answer::Done) => {
                if let Some(trigger) = self.held(asked, *lease, now) {
                    trigger.held = Some((*lease, now + duration));
                    self.leases.insert((lease.trigger, lease.token), (now + duration, false));
                }
            }
            (Asked::Acknowledge { lease }, Answer::Done) => {
                if let Some(trigger) = self.held(asked, *lease, now) {
                    (trigger.acknowledged, trigger.held) = (true, None);
                    self.leases.entry((lease.trigger, lease.token)).or_default().1 = true;
                }
            }
            (Asked::Fail { lease, error, retry_after }, Answer::Done) => {
                if let Some(trigger) = self.held(asked, *lease, now) {
                    trigger.held = None;
                    match retry_after {
                        Some(time) => trigger.due_at = now + time,
                        None => trigger.given_up = Some(error.clone()),
                    }
                    self.leases.entry((lease.trigger, lease.token)).or_default().1 = true;
                }
            }
            _ => self.find(format!("{asked:?} answered {answer:?}")),
        }
    }

    /// What is wrong with handing this out now.
    fn claim(&mut self, claimed: &larder::backend::Claimed, now: u64, lease: u64) -> Vec<String> {
        let mut wrong = Vec::new();
        let Some(trigger) = self.triggers.get(&claimed.version) else {
            return vec!["and was never put".to_owned()];
        };
        if trigger.key != claimed.key {
            wrong.push(format!("and belongs to {}", trigger.key));
        }
        if trigger.acknowledged {
            wrong.push("after it was acknowledged".to_owned());
        }
        if trigger.given_up.is_some() {
            wrong.push("after it was given up".to_owned());
        }
        if claimed.attempt != trigger.attempts + 1 {
            wrong.push(format!("as attempt {} after {}", claimed.attempt, trigger.attempts));
        }
        if claimed.attempt > ATTEMPTS {
            wrong.push(format!("as attempt {}, {ATTEMPTS} is the most", claimed.attempt));
        }
        match trigger.held {
            Some((_, until)) if until > now => wrong.push("under another's lease".to_owned()),
            None if trigger.due_at > now => wrong.push("before its time".to_owned()),
            _ => {}
        }
        let mut earlier = self.triggers.range(..claimed.version).map(|(_, trigger)| trigger);
        if earlier.any(|other| other.key == claimed.key && !other.is_over(now)) {
            wrong.push("before an earlier one of its key".to_owned());
        }
        let number = claimed.lease.trigger;
        if let Some(trigger) = self.triggers.get_mut(&claimed.version) {
            trigger.number = number;
            trigger.attempts += 1;
            trigger.held = Some((claimed.lease, now + lease));
        }
        self.versions.insert(number, claimed.version);
        self.leases.insert((number, claimed.lease.token), (now + lease, false));
        wrong
    }

    /// The trigger that this lease holds now.
    fn held(&mut self, asked: &Asked, lease: Lease, now: u64) -> Option<&mut Trigger> {
        let version = self.versions.get(&lease.trigger).copied().unwrap_or_default();
        let held = self.triggers.get(&version).and_then(|trigger| trigger.held);
        if held.is_none_or(|(held, until)| held != lease || until <= now) {
            self.find(format!("{asked:?} was answered, and {held:?} holds it at {now}"));
            return None;
        }
        self.triggers.get_mut(&version)
    }

    /// A lease was lost only if it had run out, or its holder had ended it.
    fn refusals(&mut self, outcome: &Outcome) {
        for entry in &outcome.entries {
            let Entry::Commit { asked, answer: Answer::LeaseLost, at, .. } = entry else { continue };
            let (Asked::Renew { lease, .. } | Asked::Acknowledge { lease } | Asked::Fail { lease, .. }) =
                asked
            else {
                self.find(format!("{asked:?} lost a lease"));
                continue;
            };
            let known = self.leases.get(&(lease.trigger, lease.token)).copied();
            if known.is_none_or(|(until, has_ended)| !has_ended && until > *at) {
                self.find(format!("{asked:?} lost its lease at {at} for no reason: {known:?}"));
            }
        }
    }

    /// Handlers were called under leases only, and what was acknowledged had succeeded.
    fn handlers(&mut self, outcome: &Outcome) {
        let (mut begun, mut succeeded) = (HashSet::new(), HashSet::new());
        let mut found = Vec::new();
        for entry in &outcome.entries {
            let Entry::Handler { trigger, attempt, version, said } = entry else { continue };
            let attempts = self.triggers.get(version).filter(|known| known.number == *trigger);
            if attempts.is_none_or(|known| *attempt == 0 || *attempt > known.attempts) {
                found.push(format!(
                    "a handler was given attempt {attempt} at trigger {trigger}, nobody claimed it"
                ));
            }
            let is_new = match said {
                Said::Begins => begun.insert((*version, *attempt)),
                Said::Succeeds => succeeded.insert((*version, *attempt)),
            };
            if !is_new {
                found.push(format!("a handler was given attempt {attempt} at trigger {trigger} twice"));
            }
        }
        for (version, trigger) in &self.triggers {
            let any =
                |said: &HashSet<(u64, u32)>| (1..=trigger.attempts).any(|n| said.contains(&(*version, n)));
            if !any(&begun) {
                found.push(format!("version {version} of {} was never handled", trigger.key));
            }
            if trigger.acknowledged && !succeeded.contains(&(*version, trigger.attempts)) {
                found.push(format!("version {version} of {} was acknowledged, no handler has", trigger.key));
            }
        }
        found.into_iter().for_each(|violation| self.find(violation));
    }

    /// Each trigger is acknowledged or a dead letter, and what handlers did took effect once.
    fn end(&mut self, outcome: &Outcome) {
        let mut found = Vec::new();
        let dead: HashMap<u64, &DeadTask> = outcome.dead.iter().map(|dead| (dead.version, dead)).collect();
        for (version, trigger) in &self.triggers {
            let name = format!("version {version} of {}", trigger.key);
            match dead.get(version) {
                None if trigger.acknowledged => {}
                None => found.push(format!("{name} is neither acknowledged nor a dead letter")),
                Some(_) if trigger.acknowledged => {
                    found.push(format!("{name} was acknowledged, and is a dead letter"));
                }
                Some(dead) => found.extend(not_expected(trigger, dead).map(|why| format!("{name} {why}"))),
            }
        }
        if outcome.left > 0 || dead.keys().any(|version| !self.triggers.contains_key(version)) {
            found.push(format!("{} triggers are left, {} are dead", outcome.left, dead.len()));
        }
        let mut effects = HashSet::new();
        for version in &outcome.effects {
            let is_known = self.triggers.get(version).is_some_and(|trigger| trigger.acknowledged);
            if !effects.insert(*version) || !is_known {
                found.push(format!("version {version} took effect twice, or without an acknowledgement"));
            }
        }
        found.into_iter().for_each(|violation| self.find(violation));
    }
}

/// What is wrong with a dead letter.
fn not_expected(trigger: &Trigger, dead: &DeadTask) -> Option<String> {
    if dead.attempts != trigger.attempts || dead.attempts != ATTEMPTS || dead.trigger != trigger.number {
        return Some(format!("is {dead:?} after {} attempts: nobody gave it up", trigger.attempts));
    }
    let expected = match &trigger.given_up {
        Some(error) => dead.error == *error,
        None => dead.error.contains("did not come back"),
    };
    (!expected).then(|| format!("is {dead:?}, its worker said {:?}", trigger.given_up))
}
