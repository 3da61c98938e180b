//! `larder append`: one event, guarded as asked.

use std::io::Read as _;

use base64::{Engine, prelude::BASE64_STANDARD};
use larder::{AppendCondition, Appended, EventLog, Expected, NewEvent, Position, Uuid};
use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    query_syntax,
    ui::{Part, Ui},
};

/// Appends one event
///
/// With a stream, `--expect N` lets the append fail if the stream's head is not N (0: there is no such stream).
/// With `--if-none-match QUERY` it fails if an event matches the query: any at all, or one after `--after P`.
/// Both may be given; if either fails, nothing is written. A refused append says what stood in the way.
#[derive(Debug, clap::Args)]
#[command(after_long_help = query_syntax::HELP)]
pub(crate) struct Append {
    /// The log to append to
    #[arg(long, value_name = "LOG")]
    log: String,
    /// The stream the event belongs to
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// What the stream's head must be: a sequence number, or `any` [default: any]
    #[arg(long, value_name = "N|any", requires = "stream", value_parser = expected)]
    expect: Option<Expected>,
    /// Fails if an event matches this query
    #[arg(long, value_name = "QUERY")]
    if_none_match: Option<String>,
    /// Only events after this position stand in the way
    #[arg(long, value_name = "POSITION", requires = "if_none_match")]
    after: Option<Position>,
    /// The event's type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,
    /// The event's payload; `-` reads it from the standard input
    #[arg(long, value_name = "JSON", required_unless_present = "bytes")]
    data: Option<String>,
    /// A payload that is not JSON, in base64
    #[arg(long, value_name = "BASE64", conflicts_with = "data")]
    bytes: Option<String>,
    /// A tag on the event; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Data about the event: a JSON object
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// The event's id, which makes it safe to repeat the command
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
}

fn expected(text: &str) -> Result<Expected, String> {
    match text {
        "any" => Ok(Expected::Any),
        _ => text.parse().map(Expected::Exact).map_err(|_| "neither a number nor `any`".into()),
    }
}

impl Append {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let condition = self.condition()?;
        let event = self.event()?;
        let store = context.open_or_create()?;
        let log = store.event_log(&self.log)?;
        let appended = self.append(&log, event, condition);
        let closed = store.close().wait();
        let appended = appended.map_err(|error| {
            let failure = Failure::from_library(&error).about("log", &*self.log);
            match &self.stream {
                Some(stream) => failure.about("stream", &**stream),
                None => failure,
            }
        })?;
        closed?;
        self.show(&context.ui, &appended)?;
        Ok(ExitCode::Success)
    }

    fn append(
        &self,
        log: &EventLog,
        event: NewEvent,
        condition: Option<AppendCondition>,
    ) -> larder::Result<Appended> {
        let Some(stream) = &self.stream else { return log.append_if([event], condition).wait() };
        let append = log.append(stream, self.expect.unwrap_or(Expected::Any), [event]);
        match condition {
            Some(condition) => append.condition(condition).wait(),
            None => append.wait(),
        }
    }

    fn condition(&self) -> Result<Option<AppendCondition>, Failure> {
        let Some(query) = &self.if_none_match else { return Ok(None) };
        let fail_if_events_match = query_syntax::parse(query)?;
        Ok(Some(AppendCondition { fail_if_events_match, after: self.after.unwrap_or(Position::START) }))
    }

    fn event(&self) -> anyhow::Result<NewEvent> {
        let event = match (&self.bytes, &self.data) {
            (Some(base64), _) => {
                let bytes = BASE64_STANDARD
                    .decode(base64)
                    .map_err(|error| Failure::invalid(format!("`--bytes` is not base64: {error}")))?;
                NewEvent::bytes(&self.event_type, bytes)
            }
            (None, data) => NewEvent::json(&self.event_type, payload(data.as_deref().unwrap_or("-"))?),
        };
        let event = event.tags(&self.tags);
        let event = match &self.metadata {
            Some(metadata) => event.metadata_json(metadata),
            None => event,
        };
        Ok(match self.id {
            Some(id) => event.id(id),
            None => event,
        })
    }

    fn show(&self, ui: &Ui, appended: &Appended) -> anyhow::Result<()> {
        let seq_nr = self.stream.is_some().then_some(appended.last_seq_nr);
        let result = json!({
            "log": self.log,
            "stream": self.stream,
            "seq_nr": seq_nr,
            "position": appended.last_position.get(),
        });
        ui.result(&result, |ui| {
            let mut line = format!(
                "{} at position {} of log {}",
                ui.paint(Part::Good, "appended"),
                ui.paint(Part::Number, appended.last_position.to_string()),
                ui.paint(Part::Name, &self.log)
            );
            if let (Some(stream), Some(seq_nr)) = (&self.stream, seq_nr) {
                line.push_str(&format!(", as number {seq_nr} of stream {}", ui.paint(Part::Name, stream)));
            }
            ui.line(line)
        })?;
        Ok(())
    }
}

/// The JSON text, checked here so that the message can say how to quote it.
fn payload(data: &str) -> anyhow::Result<String> {
    let mut text = data.to_owned();
    if data == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text)?;
        text.truncate(text.trim_end().len());
    }
    serde_json::from_str::<&serde_json::value::RawValue>(&text).map_err(|error| {
        Failure::invalid(format!("`--data` is not JSON: {error}")).hint(
            r#"put JSON in single quotes: `--data '{"total": 42}'`; a text is `--data '"text"'`; other bytes go to `--bytes`"#,
        )
    })?;
    Ok(text)
}
