//! `larder read`: events of the past.

use larder::{Event, EventLog, Position, Query};

use crate::{context::Context, exit_code::ExitCode, failure::Failure, filter::Filter, query_syntax};

/// Reads events: all of a log, of a stream, or those that match
#[derive(Debug, clap::Args)]
#[command(after_long_help = query_syntax::HELP)]
pub(crate) struct Read {
    /// The log to read
    #[arg(long, value_name = "LOG")]
    log: String,
    /// Only events of this stream
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// From this sequence number on
    #[arg(long, value_name = "N", requires = "stream")]
    from: Option<u64>,
    /// Through this sequence number
    #[arg(long, value_name = "N", requires = "stream")]
    to: Option<u64>,
    #[command(flatten)]
    filter: Filter,
    /// Only events after this position; before it, with `--reverse`
    #[arg(long, value_name = "POSITION")]
    after: Option<Position>,
    /// No more events than this
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// The last event first
    #[arg(long)]
    reverse: bool,
}

impl Read {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let query = self.filter.to_query()?;
        if self.limit == Some(0) {
            return Err(Failure::invalid("`--limit 0` reads nothing; the least is 1").into());
        }
        let store = context.open_to_read()?;
        let log = context.existing_log(&store, &self.log)?;
        let mut shown = 0;
        for event in self.events(&log, &query) {
            context.ui.event(&event?)?;
            shown += 1;
            if self.limit == Some(shown) {
                break;
            }
        }
        if shown == 0 {
            context.ui.note(self.nothing(&log)?);
        }
        Ok(ExitCode::Success)
    }

    fn events(&self, log: &EventLog, query: &Query) -> impl Iterator<Item = larder::Result<Event>> {
        // A stream is read by number, and the query is applied to what comes.
        let (read, query) = match &self.stream {
            Some(stream) => {
                let range = self.from.unwrap_or(0)..=self.to.unwrap_or(u64::MAX);
                (log.read(stream, range), Some(query.clone()))
            }
            None => (log.query(query), None),
        };
        let mut read = read.after(self.after);
        if self.reverse {
            read = read.descending();
        }
        if let Some(limit) = self.limit.filter(|limit| *limit < 1_000) {
            read = read.limit(usize::try_from(limit).unwrap_or(1_000));
        }
        let matches = move |event: &Event| {
            query.as_ref().is_none_or(|query| query.matches(&event.event_type, &event.tags))
        };
        read.each().wait_iter().filter(move |event| event.as_ref().map_or(true, &matches))
    }

    /// Why nothing was shown.
    fn nothing(&self, log: &EventLog) -> anyhow::Result<String> {
        if let Some(stream) = &self.stream
            && log.head(stream).wait()? == 0
        {
            return Ok(format!("there is no stream `{stream}` in log `{}`", log.name()));
        }
        Ok("no events".into())
    }
}
