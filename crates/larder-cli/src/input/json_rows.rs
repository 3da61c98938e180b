//! Rows of one JSON text: the elements of an array, or the features of a GeoJSON FeatureCollection. One
//! element is in memory at a time.

use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{self, BufRead, Read},
    rc::Rc,
    sync::Arc,
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Meter, Rows, Stopped, line_rows::reason_of, without_space};
use crate::{exit_code::ExitCode, failure::Failure};

/// Reads the elements.
pub(super) fn read(reader: impl BufRead, rows: &mut Rows) -> Result<(), Stopped> {
    let lines = Rc::new(Cell::new(1));
    let counted = Counted { inner: reader, lines: lines.clone() };
    let meter = rows.meter.clone();
    let elements = Elements { meter, rows: RefCell::new(rows), lines, stopped: RefCell::new(None) };
    let mut deserializer = serde_json::Deserializer::from_reader(counted);
    let read = (&elements).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    let Elements { rows, stopped, .. } = elements;
    match (read, stopped.into_inner()) {
        (_, Some(stopped)) => Err(stopped),
        (Ok(()), None) => Ok(()),
        (Err(error), None) => Err(json_failed(rows.into_inner(), error).into()),
    }
}

fn json_failed(rows: &Rows, error: serde_json::Error) -> Failure {
    let line = error.line() as u64;
    if error.is_io() {
        return rows.io_failed(line, &error.into());
    }
    let place = format!("line {line}, column {}", error.column());
    Failure::new(ExitCode::BadInput, format!("{place}: {}", reason_of(&error)))
        .with("line", line)
        .hint("expected is an array of objects, or a GeoJSON FeatureCollection; for one object a line use `--format jsonl`")
}

/// Counts the lines that have been read. The deserializer takes one byte at a time, so the count is exact.
struct Counted<R> {
    inner: R,
    lines: Rc<Cell<u64>>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.inner.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.inner.consume(length);
        let ends = buffer[..length].iter().filter(|byte| **byte == b'\n').count();
        self.lines.set(self.lines.get() + ends as u64);
        Ok(length)
    }
}

struct Elements<'a> {
    rows: RefCell<&'a mut Rows>,
    meter: Arc<Meter>,
    lines: Rc<Cell<u64>>,
    /// Why it stopped, as the deserializer's own errors cannot carry it.
    stopped: RefCell<Option<Stopped>>,
}

impl Elements<'_> {
    /// Takes one element, which starts on this line.
    fn take(&self, line: u64, element: &RawValue) -> Result<(), Stopped> {
        let mut rows = self.rows.borrow_mut();
        let Some(place) = rows.next_place(line) else { return Ok(()) };
        let text = element.get();
        let json =
            if text.starts_with('{') { Ok(without_space(text)) } else { Err("not a JSON object".to_owned()) };
        rows.push(place, json)
    }
}

/// The whole text: an array, or an object with `features`.
impl<'de> DeserializeSeed<'de> for &Elements<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects or a GeoJSON FeatureCollection")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(Element(self))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "features" {
                found = true;
                map.next_value_seed(Features(self))?;
            } else {
                self.meter.pass_over(|| map.next_value::<IgnoredAny>())?;
            }
        }
        if found { Ok(()) } else { Err(A::Error::custom("an object without `features`")) }
    }
}

/// The value of `features`.
struct Features<'a, 'b>(&'a Elements<'b>);

impl<'de> DeserializeSeed<'de> for Features<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self.0)
    }
}

struct Element<'a, 'b>(&'a Elements<'b>);

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let line = self.0.lines.get();
        let element = Box::<RawValue>::deserialize(deserializer)?;
        self.0.take(line, &element).map_err(|stopped| {
            *self.0.stopped.borrow_mut() = Some(stopped);
            D::Error::custom("stopped")
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::input::{Format, testing::rows_of};

    #[test]
    fn elements_of_an_array_are_rows() {
        let text = "[{\"a\": 1},\n {\"a\": 2,\n \"b\": \"\\ud800\"}\n,\n3, {\"a\":1,\"a\":2}]\n";
        let (rows, failure) = rows_of(Format::Json, text, |_| {});
        assert!(failure.is_none());
        assert_eq!(rows[1].json.as_deref(), Ok("{\"a\":2,\"b\":\"\\ud800\"}"));
        assert_eq!(rows[2].json.as_ref().unwrap_err(), "not a JSON object");
        assert_eq!(rows[3].json.as_deref(), Ok("{\"a\":1,\"a\":2}"));
        assert_eq!(rows.iter().map(|row| row.place.line).collect::<Vec<_>>(), [1, 2, 5, 5]);
    }

    #[test]
    fn features_of_a_collection_are_rows() {
        let text = "{\"type\":\"FeatureCollection\",\"metadata\":{\"features\":[0]},\n\"features\":[\n{\"id\":1},\n{\"id\":2}],\"bbox\":[1]}";
        let (rows, failure) = rows_of(Format::Json, text, |options| options.from_line = 4);
        assert!(failure.is_none());
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].json.as_deref(), Ok("{\"id\":2}"));
        assert_eq!(rows[0].place.row, 2);
    }

    #[test]
    fn what_is_no_row_may_be_large() {
        let large = "x".repeat(2 << 20);
        let text = format!("{{\"about\":\"{large}\",\"features\":[{{\"id\":1}}],\"more\":[\"{large}\"]}}");
        let (rows, failure) = rows_of(Format::Json, &text, |_| {});
        assert!(failure.is_none());
        assert_eq!(rows.len(), 1);
        let (_, failure) = rows_of(Format::Json, &format!("[{{}},\"{large}"), |_| {});
        assert!(failure.unwrap().message.contains("16 MiB"));
    }

    #[test]
    fn broken_json_stops_with_its_line_and_keeps_what_came_before() {
        let (rows, failure) = rows_of(Format::Json, "[{\"a\":1},\n{\"a\":2},\n{\"a\" 3}]", |_| {});
        assert_eq!(rows.len(), 2);
        assert!(failure.unwrap().message.starts_with("line 3, column"));
    }

    #[test]
    fn other_json_is_refused() {
        for text in ["{\"a\":1}\n{\"a\":2}", "3", "", "[{}] x", "{\"features\":3}"] {
            let (_, failure) = rows_of(Format::Json, text, |_| {});
            assert!(failure.is_some(), "{text}");
        }
    }
}
