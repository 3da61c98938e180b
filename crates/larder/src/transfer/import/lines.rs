//! The lines of an export, checked one by one and as a whole.

use std::io::{BufRead, Read};

use super::{
    super::{
        Transferred,
        format::{Line, Row, VERSION, bad},
        io_error,
    },
    section::{Kind, Place, Section},
};
use crate::{
    error::{Error, ErrorKind, Result},
    limits::Limits,
};

/// A longer line's memory is given back.
const KEPT_BYTES: usize = 4 << 20;

pub(super) struct Lines<'a, R> {
    reader: R,
    limits: &'a Limits,
    line: Vec<u8>,
    /// The line's, from 1.
    pub(super) number: u64,
    crc: u32,
    stage: Stage,
    /// What kind of section was the last one.
    kind: Kind,
    pub(super) found: Transferred,
}

#[derive(Debug)]
enum Stage {
    Start,
    Between,
    In(Section),
    Ended,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(super) fn new(reader: R, limits: &'a Limits) -> Self {
        let (line, stage, kind, found) = (Vec::new(), Stage::Start, Kind::Log, Transferred::default());
        Self { reader, limits, line, number: 0, crc: 0, stage, kind, found }
    }

    /// How many the last line has.
    pub(super) fn bytes(&self) -> usize {
        self.line.len()
    }

    /// The next row, and its section; `None` at the end of the export.
    pub(super) fn next(&mut self) -> Result<Option<(Place, Row)>> {
        loop {
            let crc_before = self.crc;
            if !self.read_line()? {
                return match self.stage {
                    Stage::Ended => Ok(None),
                    Stage::Start => Err(bad("the file is empty").with("line", "1")),
                    _ => Err(Error::corrupted("the export is cut off: its last line is missing")
                        .with("line", self.number.to_string())),
                };
            }
            let number = self.number;
            let step = self.step(crc_before);
            if let Some(row) = step.map_err(|error| error.with("line", number.to_string()))? {
                return Ok(Some(row));
            }
        }
    }

    /// Reads a line, but no more of it than a line can have.
    fn read_line(&mut self) -> Result<bool> {
        let longest = longest(self.limits);
        if self.line.capacity() > KEPT_BYTES {
            self.line = Vec::new();
        }
        self.line.clear();
        self.number += 1;
        let mut bounded = (&mut self.reader).take(longest);
        bounded.read_until(b'\n', &mut self.line).map_err(io_error)?;
        self.crc = crc32c::crc32c_append(self.crc, &self.line);
        if self.line.len() as u64 == longest {
            let error = Error::too_large("line of an export", longest, longest + 1);
            return Err(error.with("line", self.number.to_string()));
        }
        Ok(!self.line.is_empty())
    }

    /// Takes the line that was read.
    fn step(&mut self, crc_before: u32) -> Result<Option<(Place, Row)>> {
        let line: Line<'_> = match serde_json::from_slice(&self.line) {
            Ok(line) => line,
            Err(error) => return Err(self.unreadable(&error)),
        };
        match (&mut self.stage, line) {
            (Stage::Start, Line::LarderExport { version: VERSION, .. }) => self.stage = Stage::Between,
            (Stage::Start, Line::LarderExport { version, .. }) => {
                return Err(Error::new(ErrorKind::Incompatible)
                    .with("format version", version.to_string())
                    .with_hint(format!("this build reads version {VERSION}; import it with a newer one")));
            }
            (Stage::Start, _) => return Err(bad("the first line does not say that this is an export")),
            (Stage::Between, Line::End { rows, crc32c }) => {
                if rows != self.found.rows() || crc32c != format!("{crc_before:08x}") {
                    return Err(Error::corrupted(
                        "the export is not as it was written: its checksum differs",
                    ));
                }
                self.stage = Stage::Ended;
            }
            (Stage::Between, line) => {
                let (section, row) = Section::begin(line, &mut self.found)?;
                let place = section.place.clone();
                if place.kind < self.kind {
                    return Err(bad("logs, QueryDbs, task buckets and projections are out of order"));
                }
                self.kind = place.kind;
                self.stage = Stage::In(section);
                return Ok(row.map(|row| (place, row)));
            }
            (Stage::In(section), line) => {
                let taken = section.take(line, self.limits, &mut self.found)?;
                let place = section.place.clone();
                if taken.ends {
                    self.stage = Stage::Between;
                }
                return Ok(Some((place, taken.row)));
            }
            (Stage::Ended, _) => return Err(bad("a line after the last one")),
        }
        Ok(None)
    }

    fn unreadable(&self, error: &serde_json::Error) -> Error {
        if matches!(self.stage, Stage::Start) {
            return bad("the first line does not say that this is an export").caused_by(error.to_string());
        }
        if !self.line.ends_with(b"\n") {
            return Error::corrupted("the export is cut off in this line");
        }
        Error::corrupted("the export is not as it was written").caused_by(error.to_string())
    }
}

/// How long a line can be. Escaped text takes six bytes for one at most, and an event has it in the payload and in the
/// metadata; a container's or an object's bytes take two each.
fn longest(limits: &Limits) -> u64 {
    let Limits { payload_bytes, item_bytes, snapshot_bytes, object_bytes, .. } = limits;
    let longest = (payload_bytes * 12).max(item_bytes * 6).max(snapshot_bytes * 2).max(object_bytes * 2);
    longest as u64 + (1 << 20)
}
