//! Rows of a file: read by a thread of its own, handed over in chunks, in bounded memory.

mod csv_rows;
mod json_rows;
mod line_rows;
mod mapping;
mod meter;

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use anyhow::Context;

pub(crate) use self::mapping::{Mapping, TagField, TypeFrom};
use self::meter::{Meter, Metered};
use crate::{exit_code::ExitCode, failure::Failure};

/// How a file says its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values; the first line names the columns
    Csv,
    /// An array of objects, or a GeoJSON FeatureCollection
    Json,
    /// One object a line
    Jsonl,
}

impl Format {
    /// The format that a file's name tells.
    pub(crate) fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "csv" => Self::Csv,
            "json" | "geojson" => Self::Json,
            "jsonl" | "ndjson" => Self::Jsonl,
            _ => return None,
        })
    }
}

/// Where a row stands, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) row: u64,
    pub(crate) line: u64,
}

/// A row: a JSON object's text, or why it is none.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) place: Place,
    pub(crate) json: Result<String, String>,
}

/// What the reading thread says.
#[derive(Debug)]
pub(crate) enum Message {
    Rows(Vec<Row>),
    /// Reading cannot go on; nothing follows.
    Failed(Failure),
}

/// What to read, and from where on.
#[derive(Debug, Clone)]
pub(crate) struct InputOptions {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    pub(crate) numbers: bool,
    pub(crate) from_line: u64,
    pub(crate) from_row: u64,
    /// The fields that are asked for; a CSV file must have them.
    pub(crate) fields: Vec<String>,
}

/// A file that is being read.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) messages: Receiver<Message>,
    /// The file's size, if it has one.
    pub(crate) size: Option<u64>,
    meter: Arc<Meter>,
}

impl Input {
    /// Opens the file and starts to read.
    pub(crate) fn open(options: InputOptions) -> anyhow::Result<Self> {
        let (reader, size) = open_file(&options.path)?;
        Self::start(options, reader, size)
    }

    fn start(
        options: InputOptions,
        reader: Box<dyn BufRead + Send>,
        size: Option<u64>,
    ) -> anyhow::Result<Self> {
        let meter = Arc::new(Meter::default());
        let metered = Metered::new(reader, meter.clone());
        // Two chunks wait at most, while a third is made and a fourth is committed.
        let (sender, messages) = sync_channel(2);
        let its_meter = meter.clone();
        thread::Builder::new()
            .name("larder-input".into())
            .spawn(move || {
                let mut rows =
                    Rows { options, sender, chunk: Vec::new(), bytes: 0, row: 0, meter: its_meter };
                if let Err(Stopped::Failed(failure)) = rows.read(metered) {
                    // Those before it are good.
                    let _ = rows.hand_over();
                    let _ = rows.sender.send(Message::Failed(failure));
                }
            })
            .context("cannot start a thread")?;
        Ok(Self { messages, size, meter })
    }

    /// The bytes read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.meter.total()
    }
}

/// Opens a file or, for `-`, the standard input.
pub(crate) fn open_file(path: &Path) -> anyhow::Result<(Box<dyn BufRead + Send>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::with_capacity(64 * 1024, io::stdin())), None));
    }
    let cannot = |error: io::Error| {
        let code = if error.kind() == io::ErrorKind::NotFound { ExitCode::NotFound } else { ExitCode::Io };
        Failure::new(code, format!("cannot read `{}`: {error}", path.display()))
            .hint("check the file's name and permissions; `-` is the standard input")
    };
    let file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if metadata.is_dir() {
        return Err(cannot(io::Error::from(io::ErrorKind::IsADirectory)).into());
    }
    Ok((Box::new(BufReader::with_capacity(64 * 1024, file)), metadata.is_file().then_some(metadata.len())))
}

/// Why the reading thread stopped early.
#[derive(Debug)]
enum Stopped {
    /// Nobody takes rows any more.
    Unwanted,
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Collects rows into chunks and hands them over.
struct Rows {
    options: InputOptions,
    sender: SyncSender<Message>,
    chunk: Vec<Row>,
    bytes: usize,
    row: u64,
    meter: Arc<Meter>,
}

impl Rows {
    /// The most rows and bytes of a chunk; it becomes one commit.
    const CHUNK_ROWS: usize = 1_000;
    const CHUNK_BYTES: usize = 512 * 1024;

    fn read(&mut self, reader: Metered<Box<dyn BufRead + Send>>) -> Result<(), Stopped> {
        match self.options.format {
            Format::Csv => csv_rows::read(reader, self)?,
            Format::Json => json_rows::read(reader, self)?,
            Format::Jsonl => line_rows::read(reader, self)?,
        }
        self.hand_over()
    }

    /// Counts the next row; `None` if it lies before those that are wanted.
    fn next_place(&mut self, line: u64) -> Option<Place> {
        self.meter.start_row();
        self.row += 1;
        let wanted = line >= self.options.from_line && self.row >= self.options.from_row;
        wanted.then_some(Place { row: self.row, line })
    }

    fn push(&mut self, place: Place, json: Result<String, String>) -> Result<(), Stopped> {
        self.bytes += json.as_ref().map_or(0, String::len);
        self.chunk.push(Row { place, json });
        if self.chunk.len() >= Self::CHUNK_ROWS || self.bytes >= Self::CHUNK_BYTES {
            self.hand_over()?;
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), Stopped> {
        self.bytes = 0;
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.is_empty() {
            return Ok(());
        }
        self.sender.send(Message::Rows(chunk)).map_err(|_| Stopped::Unwanted)
    }

    /// Reading broke off.
    fn io_failed(&self, line: u64, error: &io::Error) -> Failure {
        let code = if error.kind() == io::ErrorKind::InvalidData { ExitCode::BadInput } else { ExitCode::Io };
        Failure::new(code, format!("line {line}: {error}")).with("line", line)
    }
}

/// The rows of a CSV text that is at hand, for the demo.
pub(crate) fn csv_text_rows(text: &'static str) -> anyhow::Result<Vec<Row>> {
    let options = InputOptions {
        path: PathBuf::new(),
        format: Format::Csv,
        numbers: false,
        from_line: 1,
        from_row: 1,
        fields: Vec::new(),
    };
    let input = Input::start(options, Box::new(text.as_bytes()), None)?;
    let mut all = Vec::new();
    for message in &input.messages {
        match message {
            Message::Rows(rows) => all.extend(rows),
            Message::Failed(failure) => return Err(failure.into()),
        }
    }
    Ok(all)
}

/// JSON text without the space between its tokens; the tokens stay as they are.
fn without_space(json: &str) -> String {
    let mut kept = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if matches!(c, ' ' | '\n' | '\r' | '\t') {
            continue;
        } else {
            in_string = c == '"';
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// All rows of a text, and how reading failed, if it did.
    pub(crate) fn rows_of(
        format: Format,
        text: &str,
        change: impl FnOnce(&mut InputOptions),
    ) -> (Vec<Row>, Option<Failure>) {
        let mut options = InputOptions {
            path: "-".into(),
            format,
            numbers: false,
            from_line: 1,
            from_row: 1,
            fields: Vec::new(),
        };
        change(&mut options);
        let (sender, messages) = sync_channel(1_000);
        let meter = Arc::new(Meter::default());
        let reader: Box<dyn BufRead + Send> = Box::new(io::Cursor::new(text.to_owned()));
        let reader = Metered::new(reader, meter.clone());
        let mut rows = Rows { options, sender, chunk: Vec::new(), bytes: 0, row: 0, meter };
        let failure = match rows.read(reader) {
            Ok(()) | Err(Stopped::Unwanted) => None,
            Err(Stopped::Failed(failure)) => Some(failure),
        };
        let _ = rows.hand_over();
        drop(rows);
        let chunks = messages.into_iter().flat_map(|message| match message {
            Message::Rows(rows) => rows,
            Message::Failed(_) => Vec::new(),
        });
        (chunks.collect(), failure)
    }

    #[test]
    fn space_goes_only_between_tokens() {
        assert_eq!(
            without_space("{ \"a b\\\" \" :\n [1e+21 , \"\\\\\" ] }"),
            "{\"a b\\\" \":[1e+21,\"\\\\\"]}"
        );
    }
}
