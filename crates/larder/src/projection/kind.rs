//! What each write of a projection answers.

use crate::{backend::Outcome, write_kind::write_kind};

write_kind! {
    /// The kind of a moved checkpoint.
    SetCheckpoint => (), Outcome::Done => &();
    /// The kind of any other change of a projection's record.
    ChangeProjection => (), Outcome::Done => &();
}
