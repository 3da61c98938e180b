//! Deciders: a command is decided on the state that its events add up to, and what it leads to is appended if nothing
//! has changed in between.
//!
//! The pattern is Jérémie Chassaing's "functional event sourcing decider".

mod executor;
mod outcome;
mod scoped;

pub use self::{
    executor::Executor,
    outcome::{ExecuteError, Executed},
    scoped::ScopedExecutor,
};
use crate::query::Query;

/// What an aggregate is: how its state follows from events, and which events a command leads to.
///
/// All of it is pure: it may be called again for the same command, when another writer was first.
///
/// ```
/// use larder::{Decider, Store};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// enum Event { Deposited(i64), Withdrawn(i64) }
/// enum Command { Deposit(i64), Withdraw(i64) }
/// #[derive(Debug, PartialEq)]
/// struct Overdrawn;
///
/// struct Account;
/// impl Decider for Account {
///     type State = i64;
///     type Command = Command;
///     type Event = Event;
///     type Rejection = Overdrawn;
///     fn initial(&self) -> i64 {
///         0
///     }
///     fn evolve(&self, balance: i64, event: &Event) -> i64 {
///         match event {
///             Event::Deposited(amount) => balance + amount,
///             Event::Withdrawn(amount) => balance - amount,
///         }
///     }
///     fn decide(&self, balance: &i64, command: &Command) -> Result<Vec<Event>, Overdrawn> {
///         match command {
///             Command::Deposit(amount) => Ok(vec![Event::Deposited(*amount)]),
///             Command::Withdraw(amount) if amount > balance => Err(Overdrawn),
///             Command::Withdraw(amount) => Ok(vec![Event::Withdrawn(*amount)]),
///         }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let accounts = Store::memory().event_log("accounts")?.decider(Account);
/// accounts.execute("account-1", Command::Deposit(10)).wait().map_err(|_| "failed")?;
/// let done = accounts.execute("account-1", Command::Withdraw(4)).wait().map_err(|_| "failed")?;
/// assert_eq!((done.state, done.seq_nr), (6, 2));
/// assert!(accounts.execute("account-1", Command::Withdraw(7)).wait().is_err());
/// # Ok(())
/// # }
/// ```
pub trait Decider {
    /// What decisions are based on.
    type State;
    /// What is asked for.
    type Command;
    /// What has happened: an enum, whose variants' names are event types.
    type Event;
    /// Why a command cannot be followed.
    type Rejection;

    /// The state before anything has happened.
    fn initial(&self) -> Self::State;

    /// The state after an event.
    fn evolve(&self, state: Self::State, event: &Self::Event) -> Self::State;

    /// The events that a command leads to; none if there is nothing to do.
    ///
    /// # Errors
    /// Why not.
    fn decide(
        &self,
        state: &Self::State,
        command: &Self::Command,
    ) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// The tags of an event.
    fn tags(&self, _event: &Self::Event) -> Vec<String> {
        Vec::new()
    }
}

/// A decider whose decisions span streams: they are based on the events that match a query, and hold if no other
/// matches by then (a dynamic consistency boundary).
///
/// The tags of its events have to make them match the scopes of later commands.
pub trait ScopedDecider: Decider {
    /// The events that a command is decided on.
    fn scope(&self, command: &Self::Command) -> Query;
}
