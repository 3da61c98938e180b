//! What `verify` says of one thing that is wrong.

use std::fmt;

use crate::event::Position;

/// One thing that `verify` found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The log it concerns, if one.
    pub log: Option<String>,
    /// The position it concerns, if one.
    pub position: Option<Position>,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(log) = &self.log {
            write!(f, "log {log}: ")?;
        }
        if let Some(position) = self.position {
            write!(f, "position {position}: ")?;
        }
        f.write_str(&self.problem)
    }
}
