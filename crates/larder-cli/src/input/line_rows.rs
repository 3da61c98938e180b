//! Rows of JSON Lines.

use std::io::BufRead;

use serde_json::value::RawValue;

use super::{Rows, Stopped, without_space};

/// Reads one object a line; empty lines are passed over.
pub(super) fn read(mut reader: impl BufRead, rows: &mut Rows) -> Result<(), Stopped> {
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        bytes.clear();
        rows.meter.start_row();
        line += 1;
        if reader.read_until(b'\n', &mut bytes).map_err(|error| rows.io_failed(line, &error))? == 0 {
            return Ok(());
        }
        let content = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| line == 1).unwrap_or(&bytes);
        if content.trim_ascii().is_empty() {
            continue;
        }
        if let Some(place) = rows.next_place(line) {
            rows.push(place, object(content.trim_ascii()))?;
        }
    }
}

/// The JSON object that a line is.
fn object(line: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
    serde_json::from_str::<&RawValue>(text)
        .map_err(|error| format!("not JSON at column {}: {}", error.column(), reason_of(&error)))?;
    if text.starts_with('{') { Ok(without_space(text)) } else { Err("not a JSON object".into()) }
}

/// What a JSON error says, without its place.
pub(super) fn reason_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use crate::input::{Format, Place, testing::rows_of};

    #[test]
    fn empty_lines_count_as_lines_but_not_as_rows() {
        let (rows, failure) = rows_of(Format::Jsonl, "{\"a\": 1}\n\n{\"b\":1e+21}\r\n[]\n{\n", |_| {});
        assert!(failure.is_none());
        assert_eq!(rows[0].json.as_deref(), Ok("{\"a\":1}"));
        assert_eq!(rows[1].json.as_deref(), Ok("{\"b\":1e+21}"));
        assert_eq!(rows[1].place, Place { row: 2, line: 3 });
        assert_eq!(rows[2].json.as_ref().unwrap_err(), "not a JSON object");
        assert!(rows[3].json.as_ref().unwrap_err().starts_with("not JSON at column"));
        assert_eq!(rows[3].place.line, 5);
    }

    #[test]
    fn reading_starts_where_it_is_told_to() {
        let text = "{\"n\":1}\n\n{\"n\":2}\n{\"n\":3}\n";
        let (rows, _) = rows_of(Format::Jsonl, text, |options| options.from_line = 3);
        assert_eq!(rows.iter().map(|row| row.place.line).collect::<Vec<_>>(), [3, 4]);
        let (rows, _) = rows_of(Format::Jsonl, text, |options| options.from_row = 3);
        assert_eq!(rows.iter().map(|row| row.place.line).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn a_line_without_end_stops_before_it_fills_the_memory() {
        let text = format!("{{\"n\":1}}\n\"{}", "x".repeat(2 << 20));
        let (rows, failure) = rows_of(Format::Jsonl, &text, |_| {});
        assert_eq!(rows.len(), 1);
        assert!(failure.unwrap().message.starts_with("line 2: "));
    }
}
