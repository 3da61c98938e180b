//! `larder tail`: the last events, then every new one.

use larder::{ErrorKind, Event, EventLog, Position, Query};

use crate::{
    context::Context, exit_code::ExitCode, failure::Failure, filter::Filter, interrupt::Interrupt,
    query_syntax,
};

/// Shows the last events and follows the log, also what other processes append; Ctrl-C ends it
#[derive(Debug, clap::Args)]
#[command(after_long_help = query_syntax::HELP)]
pub(crate) struct Tail {
    /// The log to follow
    #[arg(long, value_name = "LOG")]
    log: String,
    /// Only events of this stream
    #[arg(long, value_name = "STREAM", conflicts_with_all = ["types", "tags", "query"])]
    stream: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Starts after this position; 0 is the beginning
    #[arg(long, value_name = "POSITION", conflicts_with = "last")]
    after: Option<Position>,
    /// Starts with this many events of the past
    #[arg(long, value_name = "N", default_value_t = 10)]
    last: usize,
    /// Ends after this many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl Tail {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let query = self.filter.to_query()?;
        if self.limit == Some(0) {
            return Err(Failure::invalid("`--limit 0` shows nothing; the least is 1").into());
        }
        let store = context.open_to_read()?;
        let log = store.event_log(&self.log)?;
        if log.info().wait()?.is_none() {
            context.ui.note(format!("there is no log `{}` yet; waiting for its first event", self.log));
        }
        // Closing the store ends the subscription.
        let to_close = store.clone();
        Interrupt::listen(move || drop(to_close.close().wait()))?;
        let after = match self.after {
            Some(after) => after,
            None => self.start(&log, &query)?,
        };
        self.follow(context, &log, &query, after)?;
        Ok(ExitCode::Success)
    }

    fn follow(
        &self,
        context: &Context,
        log: &EventLog,
        query: &Query,
        after: Position,
    ) -> anyhow::Result<()> {
        let subscription = match &self.stream {
            Some(stream) => log.subscribe_stream(stream),
            None => log.subscribe(query),
        };
        let mut shown = 0;
        for event in subscription.after(after).wait_iter() {
            match event {
                Ok(event) => {
                    context.ui.event(&event)?;
                    context.ui.flush()?;
                    shown += 1;
                }
                Err(error) => self.told(context, error)?,
            }
            if self.limit == Some(shown) {
                break;
            }
        }
        Ok(())
    }

    /// A subscription tells once that older events are gone, and goes on.
    fn told(&self, context: &Context, error: larder::Error) -> anyhow::Result<()> {
        let ErrorKind::HistoryCompacted { through } = error.kind() else { return Err(error.into()) };
        if self.after.is_some() {
            context.ui.warn(format!("events through position {through} are no longer all there"));
        }
        Ok(())
    }

    /// The position below the first of the last events. What is committed meanwhile lies above it.
    fn start(&self, log: &EventLog, query: &Query) -> anyhow::Result<Position> {
        let head = log.info().wait()?.map_or(Position::START, |info| info.head);
        if self.last == 0 {
            return Ok(head);
        }
        let read = match &self.stream {
            Some(stream) => log.read(stream, ..),
            None => log.query(query),
        };
        let mut last: Option<Event> = None;
        for event in read.descending().limit(self.last.min(1_000)).each().wait_iter().take(self.last) {
            last = Some(event?);
        }
        Ok(last.map_or(head, |event| Position::new(event.position.get() - 1)))
    }
}
