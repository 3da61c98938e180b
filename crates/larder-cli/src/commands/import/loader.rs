//! Commits rows, a chunk at a time, and knows which of them cannot be taken.

use larder::{EventLog, Position, Store};

use crate::{
    exit_code::ExitCode,
    failure::Failure,
    input::{Mapping, Place, Row},
};

/// A row that was left out.
#[derive(Debug)]
pub(super) struct BadRow {
    pub(super) place: Place,
    pub(super) reason: String,
}

/// What an import has done so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) written: u64,
    /// Rows whose id the log had seen, with the same content.
    pub(super) already_there: u64,
    pub(super) skipped: u64,
    /// The first rows that were left out.
    pub(super) bad: Vec<BadRow>,
    pub(super) first_position: Position,
    pub(super) last_position: Position,
    /// The last row that is done with.
    through: Option<Place>,
}

/// Why a chunk was not committed as it is.
enum Refused {
    /// This row of the chunk cannot be taken.
    Row { index: usize, failure: Failure },
    /// It is not the rows' fault.
    Commit(larder::Error),
}

/// Appends rows to a log.
#[derive(Debug)]
pub(super) struct Loader {
    store: Store,
    log: EventLog,
    mapping: Mapping,
    skip_bad: bool,
    /// The log's head when the last chunk was committed: what lies above it is new.
    /// `None` before the first: nothing is opened, and no file made, before there are rows.
    head: Option<Position>,
    tally: Tally,
}

impl Loader {
    pub(super) fn new(store: &Store, mapping: Mapping, skip_bad: bool) -> anyhow::Result<Self> {
        let log = store.event_log(&mapping.log)?;
        Ok(Self { store: store.clone(), log, mapping, skip_bad, head: None, tally: Tally::default() })
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn into_tally(self) -> Tally {
        self.tally
    }

    /// Commits the rows; the first bad one stops it, with everything before it committed, unless bad ones are
    /// to be left out.
    pub(super) fn load(&mut self, rows: &[Row]) -> anyhow::Result<()> {
        let mut rows: Vec<&Row> = rows.iter().collect();
        while !rows.is_empty() {
            match self.commit(&rows) {
                Ok(()) => return Ok(()),
                Err(Refused::Commit(error)) => {
                    return Err(self.progress(Failure::from_library(&error)).into());
                }
                Err(Refused::Row { index, failure }) if self.skip_bad => {
                    self.skip(rows.remove(index).place, failure);
                }
                Err(Refused::Row { index, failure }) => {
                    let place = rows[index].place;
                    self.load_before(&rows[..index])?;
                    return Err(self.stopped_at(place, failure).into());
                }
            }
        }
        Ok(())
    }

    fn load_before(&mut self, rows: &[&Row]) -> anyhow::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.commit(rows).map_err(|refused| {
            let failure = match refused {
                Refused::Commit(error) => Failure::from_library(&error),
                Refused::Row { failure, .. } => failure,
            };
            self.progress(failure).into()
        })
    }

    fn commit(&mut self, rows: &[&Row]) -> Result<(), Refused> {
        let mut batch = self.store.batch();
        let mut slots = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let bad =
                |reason: &String| Refused::Row { index, failure: Failure::new(ExitCode::BadInput, reason) };
            let json = row.json.as_ref().map_err(bad)?;
            let (stream, event) = self.mapping.event(json).map_err(|reason| bad(&reason))?;
            slots.push(batch.add(match stream {
                Some(stream) => self.log.append(stream, larder::Expected::Any, [event]),
                None => self.log.append_if([event], None),
            }));
        }
        let mut head = match self.head {
            Some(head) => head,
            None => {
                let info = self.log.info().wait().map_err(Refused::Commit)?;
                info.map_or(Position::START, |info| info.head)
            }
        };
        let committed = batch.commit().wait().map_err(refused)?;
        for slot in slots {
            // A row whose id was seen before, in an earlier import or in this one, answers with its old position.
            let position = committed[slot].last_position;
            if position <= head {
                self.tally.already_there += 1;
                continue;
            }
            head = position;
            self.tally.written += 1;
            if self.tally.first_position == Position::START {
                self.tally.first_position = position;
            }
            self.tally.last_position = position;
        }
        self.head = Some(head);
        self.tally.through = rows.last().map(|row| row.place);
        Ok(())
    }

    fn skip(&mut self, place: Place, failure: Failure) {
        const SHOWN: usize = 5;
        self.tally.skipped += 1;
        if self.tally.bad.len() < SHOWN {
            self.tally.bad.push(BadRow { place, reason: failure.message });
        }
    }

    /// A row stopped the import.
    fn stopped_at(&self, place: Place, failure: Failure) -> Failure {
        let Place { line, row } = place;
        let mut stopped = Failure { message: format!("line {line}: {}", failure.message), ..failure }
            .with("line", line)
            .with("row", row);
        stopped.code = ExitCode::BadInput;
        self.progress(stopped).hint(format!(
            "correct it and go on with `--from-line {line}` (or `--from-row {row}`); `--skip-bad` leaves such rows out"
        ))
    }

    /// Says how far the import got.
    pub(super) fn progress(&self, failure: Failure) -> Failure {
        let tally = &self.tally;
        if tally.through.is_none() && failure.code == ExitCode::InvalidArgument {
            return failure;
        }
        let failure = failure.with("committed events", tally.written);
        let Some(through) = tally.through else { return failure };
        let hint = failure.hint.clone();
        let mut failure = failure.with("committed through line", through.line);
        if tally.last_position > Position::START {
            failure = failure.with("last position", tally.last_position.get());
        }
        let next = through.row + 1;
        failure.hint(match hint {
            Some(hint) => format!("{hint}; then go on with `--from-row {next}`"),
            None => format!("go on with `--from-row {next}`"),
        })
    }
}

/// Whether an error is about one of the batch's rows.
fn refused(error: larder::Error) -> Refused {
    use larder::ErrorKind::{AlreadyExists, InvalidArgument, TooLarge};
    match (error.index(), error.kind()) {
        (Some(index), InvalidArgument { .. } | TooLarge { .. } | AlreadyExists) => {
            let mut failure = Failure::from_library(&error);
            if matches!(error.kind(), AlreadyExists) {
                failure.message = "an event with this id is there already, and says something else".into();
            }
            Refused::Row { index, failure }
        }
        _ => Refused::Commit(error),
    }
}
