//! Executing commands on what matches a query.

use std::{fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    ExecuteError, Executed, ScopedDecider,
    executor::{ATTEMPTS, Attempts, new_events},
};
use crate::{
    backend::HiddenRead,
    error::{Error, ErrorKind, Result},
    event::Position,
    event_log::EventLog,
    operation::Call,
    query::{AppendCondition, Query},
};

/// Executes the commands of a [`ScopedDecider`] on a log. Cheap to clone.
pub struct ScopedExecutor<D> {
    log: EventLog,
    decider: Arc<D>,
    attempts: u32,
}

impl<D> ScopedExecutor<D>
where
    D: ScopedDecider<State: Send + 'static, Event: Serialize + DeserializeOwned + Send + Sync + 'static>
        + Send
        + Sync
        + 'static,
    D::Command: Send + Sync + 'static,
    D::Rejection: Send + 'static,
{
    pub(crate) fn new(log: EventLog, decider: D) -> Self {
        Self { log, decider: Arc::new(decider), attempts: ATTEMPTS }
    }

    /// Tries a command so often when other writers are first, with a growing, random wait in between. Default 10, at
    /// least 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Reads the events in the command's scope, decides, and appends if no other event has come into the scope; else,
    /// again.
    ///
    /// # Errors
    /// [`Rejected`](ExecuteError::Rejected) by the decider. [`Failed`](ExecuteError::Failed): `ConditionFailed` if other
    /// writers were first each time; `HistoryCompacted` if an event in the scope was compacted or trimmed; `Decode` if an
    /// event is none of the decider's; those of reads and commits.
    pub fn execute(&self, command: D::Command) -> Call<Executed<D>, ExecuteError<D::Rejection>> {
        let this = self.clone();
        Call::new(async move {
            let mut attempts = Attempts::new(&this.log, this.attempts);
            loop {
                match this.attempt(&command).await {
                    Err(ExecuteError::Failed(error)) => attempts.failed(error).await?,
                    ended => return ended,
                }
            }
        })
    }

    async fn attempt(&self, command: &D::Command) -> Result<Executed<D>, ExecuteError<D::Rejection>> {
        let scope = self.decider.scope(command);
        let (state, last, through) = self.load(&scope).await?;
        let events = self.decider.decide(&state, command).map_err(ExecuteError::Rejected)?;
        let state = events.iter().fold(state, |state, event| self.decider.evolve(state, event));
        if events.is_empty() {
            return Ok(Executed { state, events, position: last, seq_nr: 0 });
        }
        let condition = AppendCondition { fail_if_events_match: scope, after: through };
        let appended = self.log.append_if(new_events(&*self.decider, &events), condition).await?;
        Ok(Executed { state, events, position: appended.last_position, seq_nr: 0 })
    }

    /// The state, the position of the last event that it follows from, and the position through which it is known.
    async fn load(&self, scope: &Query) -> Result<(D::State, Position, Position)> {
        let (mut state, mut last, mut after) = (self.decider.initial(), Position::START, None);
        let through = loop {
            let page = self.log.query(scope).after(after).limit(1_000).await?;
            for event in &page {
                last = event.position;
                state = self.decider.evolve(state, &event.decode_enum()?);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break page.through,
            }
        };
        self.check_whole(scope, through).await?;
        Ok((state, last, through))
    }

    /// Whether nothing in the scope is hidden: a decision on a part of the facts would be none.
    async fn check_whole(&self, scope: &Query, through: Position) -> Result<()> {
        let (log, query, after) = (self.log.name_arc(), scope.clone(), Position::START);
        let backend = self.log.store().backend().await?;
        match backend.first_hidden(HiddenRead { log, query, after, through }).await? {
            Some(hidden) => Err(Error::new(ErrorKind::HistoryCompacted { through: hidden })
                .during("execute")
                .with("log", self.log.name())),
            None => Ok(()),
        }
    }
}

impl<D> Clone for ScopedExecutor<D> {
    fn clone(&self) -> Self {
        Self { log: self.log.clone(), decider: self.decider.clone(), attempts: self.attempts }
    }
}

impl<D> fmt::Debug for ScopedExecutor<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedExecutor").field("log", &self.log.name()).finish_non_exhaustive()
    }
}
