//! Tests of deciders in the form given, when, then: no store, no I/O.

use std::fmt::{self, Debug};

use serde::Serialize;

use crate::decider::Decider;

/// Given what has happened to an aggregate: the start of a test of a [`Decider`].
///
/// ```
/// use larder::{Decider, testing::given};
/// # use serde::{Deserialize, Serialize};
/// #
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// # enum Event { Opened, Closed }
/// # #[derive(Debug, PartialEq)]
/// # struct NotOpen;
/// # struct Door;
/// # impl Decider for Door {
/// #     type State = bool;
/// #     type Command = ();
/// #     type Event = Event;
/// #     type Rejection = NotOpen;
/// #     fn initial(&self) -> bool { false }
/// #     fn evolve(&self, _: bool, event: &Event) -> bool { *event == Event::Opened }
/// #     fn decide(&self, open: &bool, (): &()) -> Result<Vec<Event>, NotOpen> {
/// #         if *open { Ok(vec![Event::Closed]) } else { Err(NotOpen) }
/// #     }
/// # }
/// // A door whose one command closes it.
/// given(Door, [Event::Opened]).when(()).then([Event::Closed]).then_state(|open| !open);
/// given(Door, []).when(()).rejected(NotOpen);
/// ```
#[must_use = "nothing is checked before `then` or `rejected`"]
pub fn given<D: Decider>(decider: D, events: impl IntoIterator<Item = D::Event>) -> Given<D> {
    let state = events.into_iter().fold(decider.initial(), |state, event| decider.evolve(state, &event));
    Given { decider, state }
}

/// See [`given`].
#[derive(Debug)]
#[must_use = "nothing is checked before `then` or `rejected`"]
pub struct Given<D: Decider> {
    decider: D,
    state: D::State,
}

impl<D: Decider> Given<D> {
    /// When this command comes.
    #[expect(clippy::needless_pass_by_value, reason = "a test reads better without the reference")]
    pub fn when(self, command: D::Command) -> When<D> {
        let decided = self.decider.decide(&self.state, &command);
        When { decider: self.decider, state: self.state, decided }
    }
}

/// See [`given`].
#[must_use = "nothing is checked before `then` or `rejected`"]
pub struct When<D: Decider> {
    decider: D,
    state: D::State,
    decided: Result<Vec<D::Event>, D::Rejection>,
}

impl<D: Decider> When<D> {
    /// Then these events follow, in this order; none if there are none.
    ///
    /// # Panics
    /// If others do, or the command was rejected: the message shows both as JSON.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = D::Event>) -> Then<D>
    where
        D::Event: Serialize,
        D::Rejection: Debug,
    {
        let expected = listed(expected);
        let found = match self.decided {
            Ok(events) => events,
            Err(rejection) => panic!("rejected as {rejection:?}; expected{expected}"),
        };
        let shown = listed(&found);
        assert!(shown == expected, "other events than expected\nexpected{expected}\nfound{shown}");
        let state = found.iter().fold(self.state, |state, event| self.decider.evolve(state, event));
        Then { state }
    }

    /// Then it is rejected with this reason.
    ///
    /// # Panics
    /// If it is rejected with another one, or not at all.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a test reads better without the reference")]
    pub fn rejected(self, expected: D::Rejection)
    where
        D::Event: Serialize,
        D::Rejection: Debug + PartialEq,
    {
        match self.decided {
            Err(found) => assert!(found == expected, "rejected as {found:?}; expected {expected:?}"),
            Ok(events) => panic!("not rejected as {expected:?}; it led to{}", listed(&events)),
        }
    }
}

impl<D: Decider> Debug for When<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("When").field("is_rejected", &self.decided.is_err()).finish_non_exhaustive()
    }
}

/// See [`given`].
#[derive(Debug)]
pub struct Then<D: Decider> {
    state: D::State,
}

impl<D: Decider> Then<D> {
    /// And the state after them is so.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn then_state(self, check: impl FnOnce(&D::State) -> bool) {
        assert!(check(&self.state), "the state after the events is not as expected");
    }
}

/// Events as JSON, a line each.
fn listed<E: Serialize>(events: impl IntoIterator<Item = E>) -> String {
    let lines: Vec<String> = events
        .into_iter()
        .map(|event| serde_json::to_string(&event).unwrap_or_else(|error| format!("(no JSON: {error})")))
        .collect();
    if lines.is_empty() { " no events".to_owned() } else { format!(":\n  {}", lines.join("\n  ")) }
}
