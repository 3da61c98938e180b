//! What an event says about its own append, and what a writer says about its attempt.

use larder::{AppendCondition, Appended, Error, ErrorKind, Event, Position};
use serde::{Deserialize, Serialize};

/// The guards and the shape of one append: the payload of each of its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// Which writer's, and its how-manieth.
    pub(crate) writer: String,
    pub(crate) number: u64,
    pub(crate) stream: Option<String>,
    /// The expected sequence, unless it was any.
    pub(crate) expected: Option<u64>,
    pub(crate) condition: Option<AppendCondition>,
    /// How many events.
    pub(crate) events: usize,
}

impl Claim {
    pub(crate) fn key(&self) -> (&str, u64) {
        (&self.writer, self.number)
    }
}

/// The payload: the claim, and which of its events this is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) claim: Claim,
    pub(crate) index: usize,
}

impl Said {
    pub(crate) fn by(event: &Event) -> Self {
        event.decode().expect("every event of the oracle carries its claim")
    }
}

/// One attempt, and its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) claim: Claim,
    pub(crate) answer: Answer,
    /// It was one of several in a batch.
    pub(crate) batched: bool,
}

/// An event that stood in the way: position, type, tags.
pub(crate) type Told = (Position, String, Vec<String>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Accepted {
        first_seq_nr: u64,
        first_position: Position,
        last_position: Position,
    },
    Conflict {
        expected: u64,
        actual: u64,
    },
    ConditionFailed(Vec<Told>),
    /// Another operation of its batch was refused.
    WithItsBatch,
    /// Another process held the file for too long.
    Locked,
    Other(String),
}

impl Attempt {
    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self.answer, Answer::Accepted { .. })
    }
}

impl From<Appended> for Answer {
    fn from(appended: Appended) -> Self {
        let Appended { first_seq_nr, first_position, last_position, .. } = appended;
        Self::Accepted { first_seq_nr, first_position, last_position }
    }
}

impl From<&Error> for Answer {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Conflict { expected, actual } => {
                Self::Conflict { expected: *expected, actual: *actual }
            }
            ErrorKind::ConditionFailed { matching } => {
                let told = matching.iter().cloned();
                Self::ConditionFailed(
                    told.map(|event| (event.position, event.event_type, event.tags)).collect(),
                )
            }
            ErrorKind::Locked => Self::Locked,
            _ => Self::Other(error.to_string()),
        }
    }
}
