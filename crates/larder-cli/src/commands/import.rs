//! `larder import`: the rows of a file become events.

mod loader;
mod native;

use std::{path::PathBuf, sync::mpsc::RecvTimeoutError, time::Duration};

use serde_json::json;

use self::loader::{Loader, Tally};
use crate::{
    context::Context,
    exit_code::ExitCode,
    failure::Failure,
    input::{Format, Input, InputOptions, Mapping, Message, TagField, TypeFrom},
    interrupt::Interrupt,
    ui::{Part, Unit, count, counted},
};

/// How long to wait for rows before looking whether Ctrl-C was pressed.
const PATIENCE: Duration = Duration::from_millis(100);

/// Imports the rows of a file as events, or an export with `--native`
///
/// Each row becomes an event whose payload is the row as a JSON object. CSV values stay text unless `--numbers`
/// is given. FIELD is the name of a column or of a member of the object, or a path such as `properties.place`.
///
/// Rows are committed a thousand at a time. A row that cannot be taken stops the import with its line; the rows
/// before it are committed, and `--from-line` goes on from there. With `--id-field` it is safe to import the same
/// file again: what is there already is not written twice.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The file; `-` is the standard input
    file: PathBuf,
    /// The log to append to
    #[arg(long, value_name = "LOG", required_unless_present = "native")]
    log: Option<String>,
    /// How the file says its rows [default: by the file's extension]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The field that names the stream of each event; without it events have no stream
    #[arg(long, value_name = "FIELD")]
    stream_field: Option<String>,
    /// The type of all events
    #[arg(long = "type", value_name = "TYPE", required_unless_present_any = ["type_field", "native"])]
    event_type: Option<String>,
    /// The field that names the type of each event
    #[arg(long, value_name = "FIELD", conflicts_with = "event_type")]
    type_field: Option<String>,
    /// A field whose value becomes the tag `PREFIX:value`; PREFIX is FIELD unless given
    #[arg(long = "tag-field", value_name = "FIELD[=PREFIX]")]
    tag_fields: Vec<TagField>,
    /// The field with each event's id: a UUID, or anything else that is unique in the log
    #[arg(long, value_name = "FIELD")]
    id_field: Option<String>,
    /// CSV values written as JSON numbers become numbers
    #[arg(long)]
    numbers: bool,
    /// Starts at the row on this line of the file
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true)]
    from_line: u64,
    /// Starts at this row, counted from 1
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        hide_default_value = true,
        conflicts_with = "from_line"
    )]
    from_row: u64,
    /// Leaves rows out that cannot be taken, and counts them
    #[arg(long)]
    skip_bad: bool,
    /// The file was written by `larder export`: positions, sequence numbers and ids stay as they were
    #[arg(long, conflicts_with_all = [
        "format", "stream_field", "event_type", "type_field", "tag_fields", "id_field", "numbers", "from_line",
        "from_row", "skip_bad",
    ])]
    native: bool,
}

impl Import {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        if self.native {
            return native::run(context, &self.file, self.log.as_deref());
        }
        let log = self.log.clone().unwrap_or_default();
        let format = self.format()?;
        let event_type = match (&self.event_type, &self.type_field) {
            (Some(name), _) => TypeFrom::Name(name.clone()),
            (None, field) => TypeFrom::Field(field.clone().unwrap_or_default()),
        };
        let mapping = Mapping {
            log: log.clone(),
            event_type,
            stream_field: self.stream_field.clone(),
            tag_fields: self.tag_fields.clone(),
            id_field: self.id_field.clone(),
        };
        let options = InputOptions {
            path: self.file.clone(),
            format,
            numbers: self.numbers,
            from_line: self.from_line,
            from_row: self.from_row,
            fields: mapping.fields(),
        };
        // The file comes first, so that a mistyped name creates no store.
        let input = Input::open(options)?;
        let store = context.open_or_create()?;
        let loader = Loader::new(&store, mapping, self.skip_bad)?;
        let loaded = self.load(context, &input, loader);
        let closed = store.close().wait();
        let tally = loaded?;
        closed?;
        self.show(context, &log, &tally)?;
        Ok(ExitCode::Success)
    }

    fn format(&self) -> Result<Format, Failure> {
        self.format.or_else(|| Format::of_name(&self.file)).ok_or_else(|| {
            Failure::invalid(format!("the name `{}` does not tell the format", self.file.display()))
                .hint("say it with `--format csv`, `json` or `jsonl`")
        })
    }

    fn load(&self, context: &Context, input: &Input, mut loader: Loader) -> anyhow::Result<Tally> {
        let interrupt = Interrupt::listen(|| {})?;
        let bar = context.ui.bar(input.size, Unit::Bytes);
        loop {
            let message = match input.messages.recv_timeout(PATIENCE) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            match message {
                Some(Message::Rows(rows)) => {
                    let loaded = loader.load(&rows);
                    bar.set(input.bytes_read());
                    bar.message(format!("{} events", count(loader.tally().written)));
                    loaded.inspect_err(|_| bar.finish())?;
                }
                Some(Message::Failed(failure)) => {
                    bar.finish();
                    return Err(loader.progress(failure).into());
                }
                None => {}
            }
            if interrupt.happened() {
                bar.finish();
                let failure = Failure::new(ExitCode::Interrupted, "interrupted; what was committed stays");
                return Err(loader.progress(failure).into());
            }
        }
        bar.finish();
        Ok(loader.into_tally())
    }

    fn show(&self, context: &Context, log: &str, tally: &Tally) -> anyhow::Result<()> {
        let ui = &context.ui;
        let result = json!({
            "log": log,
            "events": tally.written,
            "already_there": tally.already_there,
            "skipped": tally.skipped,
            "first_skipped": tally.bad.iter().map(|bad| json!({
                "line": bad.place.line, "row": bad.place.row, "reason": bad.reason,
            })).collect::<Vec<_>>(),
            "first_position": tally.first_position.get(),
            "last_position": tally.last_position.get(),
        });
        ui.result(&result, |ui| {
            let mut line = format!(
                "{} {} into log {}",
                ui.paint(Part::Good, "imported"),
                counted(tally.written, "event"),
                ui.paint(Part::Name, log)
            );
            if tally.written > 0 {
                line.push_str(&format!(
                    ", positions {} to {}",
                    count(tally.first_position.get()),
                    count(tally.last_position.get())
                ));
            }
            ui.line(line)?;
            if tally.already_there > 0 {
                ui.line(format!("  there already: {}", counted(tally.already_there, "event")))?;
            }
            Ok(())
        })?;
        if tally.skipped > 0 {
            ui.warn(format!("{} left out; the first:", counted(tally.skipped, "row")));
            for bad in &tally.bad {
                ui.note(format!("  line {}: {}", bad.place.line, bad.reason));
            }
        } else if tally.written + tally.already_there == 0 {
            let resumed = self.from_line > 1 || self.from_row > 1;
            ui.warn(if resumed { "the file has no rows from there on" } else { "the file has no rows" });
        }
        Ok(())
    }
}
