//! Rows of comma-separated values, as JSON objects.

use std::{collections::VecDeque, io::Read};

use csv::{ByteRecord, ReaderBuilder};

use super::{Rows, Stopped};
use crate::{exit_code::ExitCode, failure::Failure};

/// Reads records; the first names the columns.
pub(super) fn read(reader: impl Read, rows: &mut Rows) -> Result<(), Stopped> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(Lines::new(reader));
    let mut record = ByteRecord::new();
    let mut columns: Option<Vec<String>> = None;
    loop {
        let before = reader.position().line();
        if !reader.read_byte_record(&mut record).map_err(|error| csv_failed(rows, before, &error))? {
            return Ok(());
        }
        let line = record.position().map_or(before, |at| reader.get_mut().line_of(at));
        let Some(columns) = &columns else {
            columns = Some(header(&record, &rows.options.fields)?);
            rows.meter.start_row();
            continue;
        };
        if let Some(place) = rows.next_place(line) {
            let json = object(columns, &record, rows.options.numbers);
            rows.push(place, json)?;
        }
    }
}

/// Knows on which line a record starts: the parser's own count is behind after empty lines and `\r\n`.
struct Lines<R> {
    inner: R,
    /// Where lines start that are not empty and lie ahead: offset in bytes, and number.
    starts: VecDeque<(u64, u64)>,
    offset: u64,
    line: u64,
    /// Where the line starts of which nothing but line ends has been read.
    pending: Option<u64>,
}

impl<R> Lines<R> {
    fn new(inner: R) -> Self {
        Self { inner, starts: VecDeque::new(), offset: 0, line: 1, pending: Some(0) }
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.line += 1;
                    self.pending = Some(self.offset + 1);
                }
                b'\r' => {}
                _ => {
                    if let Some(start) = self.pending.take() {
                        self.starts.push_back((start, self.line));
                    }
                }
            }
            self.offset += 1;
        }
    }

    /// The line of the record that the parser met at or after this place.
    fn line_of(&mut self, at: &csv::Position) -> u64 {
        while self.starts.front().is_some_and(|(start, _)| *start < at.byte()) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(at.line(), |(_, line)| *line)
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.take(&buffer[..length]);
        Ok(length)
    }
}

fn csv_failed(rows: &Rows, line: u64, error: &csv::Error) -> Failure {
    match error.kind() {
        csv::ErrorKind::Io(error) => rows.io_failed(line, error),
        _ => Failure::new(ExitCode::BadInput, format!("line {line}: {error}")).with("line", line),
    }
}

/// The names of the columns.
fn header(record: &ByteRecord, fields: &[String]) -> Result<Vec<String>, Failure> {
    let bad = |reason: String| {
        let hint = "the first line of a CSV file names its columns, each once";
        Failure::new(ExitCode::BadInput, format!("line 1: {reason}")).with("line", 1).hint(hint)
    };
    let mut columns: Vec<String> = Vec::with_capacity(record.len());
    for (place, name) in record.iter().enumerate() {
        let name = name.strip_prefix(b"\xef\xbb\xbf").filter(|_| place == 0).unwrap_or(name);
        let name = std::str::from_utf8(name).map_err(|error| bad(format!("not UTF-8: {error}")))?;
        if columns.iter().any(|column| column == name) {
            return Err(bad(format!("two columns are named `{name}`")));
        }
        columns.push(name.to_owned());
    }
    if let Some(field) = fields.iter().find(|field| !columns.contains(field)) {
        let failure = Failure::invalid(format!("there is no column `{field}`"));
        return Err(failure.hint(format!("the columns are `{}`", columns.join("`, `"))));
    }
    Ok(columns)
}

/// A record as a JSON object of strings and, if asked for, numbers.
fn object(columns: &[String], record: &ByteRecord, numbers: bool) -> Result<String, String> {
    if record.len() != columns.len() {
        return Err(format!("{} values, but there are {} columns", record.len(), columns.len()));
    }
    let mut json = String::with_capacity(record.as_slice().len() * 2);
    for (column, value) in columns.iter().zip(record) {
        json.push(if json.is_empty() { '{' } else { ',' });
        let value =
            std::str::from_utf8(value).map_err(|error| format!("`{column}` is not UTF-8: {error}"))?;
        quote(&mut json, column)?;
        json.push(':');
        if numbers && is_number(value) { json.push_str(value) } else { quote(&mut json, value)? }
    }
    json.push('}');
    Ok(json)
}

fn quote(json: &mut String, text: &str) -> Result<(), String> {
    json.push_str(&serde_json::to_string(text).map_err(|error| error.to_string())?);
    Ok(())
}

/// Whether a value is written as JSON writes numbers: `-1.50` is, `007`, `+1` and `.5` are not.
fn is_number(value: &str) -> bool {
    value.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<&serde_json::value::RawValue>(value).is_ok_and(|raw| raw.get() == value)
}

#[cfg(test)]
mod tests {
    use crate::input::{Format, testing::rows_of};

    #[test]
    fn values_stay_text_unless_numbers_are_asked_for() {
        let text = "id,size\n007,1.50\n-3,\"a \"\"b\"\"\"\n";
        let (rows, _) = rows_of(Format::Csv, text, |_| {});
        assert_eq!(rows[0].json.as_deref(), Ok(r#"{"id":"007","size":"1.50"}"#));
        let (rows, _) = rows_of(Format::Csv, text, |options| options.numbers = true);
        assert_eq!(rows[0].json.as_deref(), Ok(r#"{"id":"007","size":1.50}"#));
        assert_eq!(rows[1].json.as_deref(), Ok(r#"{"id":-3,"size":"a \"b\""}"#));
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        for end in ["\n", "\r\n"] {
            let text = ["a,b", "1,\"x", "y\"", "2,z", "", "3", "4,w"].join(end);
            let (rows, failure) = rows_of(Format::Csv, &text, |_| {});
            assert!(failure.is_none());
            let lines: Vec<u64> = rows.iter().map(|row| row.place.line).collect();
            assert_eq!(lines, [2, 4, 6, 7], "{end:?}");
            assert_eq!(rows[2].json.as_ref().unwrap_err(), "1 values, but there are 2 columns");
        }
    }

    #[test]
    fn columns_must_be_named_once_and_be_there() {
        let (_, failure) = rows_of(Format::Csv, "a,b,a\n1,2,3\n", |_| {});
        assert!(failure.unwrap().message.contains("two columns are named `a`"));
        let (_, failure) = rows_of(Format::Csv, "a,b\n1,2\n", |options| options.fields = vec!["c".into()]);
        assert!(failure.unwrap().hint.unwrap().contains("`a`, `b`"));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_name() {
        let (rows, _) = rows_of(Format::Csv, "\u{feff}a\n1\n", |_| {});
        assert_eq!(rows[0].json.as_deref(), Ok(r#"{"a":"1"}"#));
    }

    #[test]
    fn an_unclosed_quote_does_not_fill_the_memory() {
        let text = format!("a\n1\n\"{}", "x\n".repeat(2 << 20));
        let (rows, failure) = rows_of(Format::Csv, &text, |_| {});
        assert_eq!(rows.len(), 1);
        assert!(failure.unwrap().message.contains("16 MiB"));
    }
}
