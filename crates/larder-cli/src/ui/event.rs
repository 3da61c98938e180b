//! An event, for people and as JSON.

use std::{borrow::Cow, io};

use base64::{Engine, prelude::BASE64_STANDARD};
use larder::{Event, Payload};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Part, Ui, clean, format::time};

#[derive(Serialize)]
struct Row<'a> {
    log: &'a str,
    position: u64,
    stream: Option<&'a str>,
    seq_nr: Option<u64>,
    id: String,
    #[serde(rename = "type")]
    event_type: &'a str,
    tags: &'a [String],
    recorded_at: String,
    metadata: Option<Box<RawValue>>,
    payload: PayloadRow,
}

/// JSON as it is, or bytes in Base64.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum PayloadRow {
    Json(Box<RawValue>),
    Bytes { bytes: String },
}

/// An event as one line of JSON; its payload as it came, but for line breaks between its tokens.
pub(super) fn event_json(event: &Event) -> io::Result<String> {
    let payload = payload_json(&event.payload)?;
    let row = Row {
        log: &event.log,
        position: event.position.get(),
        stream: event.stream.as_deref(),
        seq_nr: event.stream.is_some().then_some(event.seq_nr),
        id: event.id.to_string(),
        event_type: &event.event_type,
        tags: &event.tags,
        recorded_at: time(event.recorded_at),
        metadata: event.metadata.as_deref().map(raw).transpose()?,
        payload,
    };
    Ok(serde_json::to_string(&row)?)
}

/// A payload, or a state, to embed in a line.
pub(crate) fn payload_json(payload: &Payload) -> io::Result<PayloadRow> {
    Ok(match payload {
        Payload::Json(json) => PayloadRow::Json(raw(json)?),
        Payload::Bytes(bytes) => PayloadRow::Bytes { bytes: BASE64_STANDARD.encode(bytes) },
    })
}

/// JSON text to embed in a line. Line breaks can only stand between tokens, where a space means the same.
pub(crate) fn raw(json: &str) -> io::Result<Box<RawValue>> {
    Ok(RawValue::from_string(on_one_line(json).into_owned())?)
}

fn on_one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ").into() } else { json.into() }
}

/// Two lines: where and what, then what it says, cut to the terminal's width.
pub(super) fn show(ui: &Ui, event: &Event, width: Option<usize>) -> io::Result<()> {
    let mut line = ui.paint(Part::Number, format!("{:>6}", event.position.get()));
    line.push_str("  ");
    line.push_str(&ui.paint(Part::Heading, clean(&event.event_type)));
    if let Some(stream) = &event.stream {
        let place = format!("{} #{}", clean(stream), event.seq_nr);
        line.push_str("  ");
        line.push_str(&ui.paint(Part::Name, place));
    }
    if !event.tags.is_empty() {
        let tags: Vec<String> = event.tags.iter().map(|tag| clean(tag)).collect();
        line.push_str("  [");
        line.push_str(&tags.join(", "));
        line.push(']');
    }
    line.push_str("  ");
    line.push_str(&ui.paint(Part::Faint, time(event.recorded_at)));
    ui.line(line)?;
    let said = match &event.payload {
        Payload::Json(json) => clean(&on_one_line(json)),
        Payload::Bytes(bytes) => format!("{} bytes", bytes.len()),
    };
    ui.line(format!("        {}", cut(&said, width.map(|width| width.saturating_sub(9)))))
}

fn cut(text: &str, width: Option<usize>) -> Cow<'_, str> {
    let Some(width) = width.filter(|width| *width < text.chars().count()) else { return text.into() };
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_over_lines_is_put_on_one() {
        let raw = raw("{\n  \"a\": 1e+21\n}").unwrap();
        assert_eq!(raw.get(), "{   \"a\": 1e+21 }");
    }

    #[test]
    fn long_text_is_cut_for_a_terminal_only() {
        assert_eq!(cut("abcdef", Some(4)), "abc…");
        assert_eq!(cut("abcdef", None), "abcdef");
    }
}
