//! What each write of a log answers, and what can be read from one in pages.

use super::{Appended, Compacted, StreamInfo, Trimmed};
use crate::{
    backend::{Backend, BoxFuture, EventRead, Outcome, StreamsRead},
    error::Result,
    event::{Event, Position},
    page::{Page, PageOptions, Row, sealed::Sealed},
    write_kind::write_kind,
};

write_kind! {
    /// The kind of an append: answers [`Appended`].
    Append => Appended, Outcome::Appended(appended) => appended;
    /// The kind of a compaction: answers [`Compacted`].
    Compact => Compacted, Outcome::Compacted(compacted) => compacted;
    /// The kind of a raised mark: answers [`Compacted`].
    RaiseMark => Compacted, Outcome::Compacted(compacted) => compacted;
    /// The kind of a trim: answers [`Trimmed`].
    Trim => Trimmed, Outcome::Trimmed(trimmed) => trimmed;
    /// The kind of a forget.
    Forget => (), Outcome::Done => &();
    /// The kind of a dropped log.
    DropLog => (), Outcome::Done => &();
    /// The kind of a change of the audit setting.
    AuditConditions => (), Outcome::Done => &();
}

impl Sealed for Event {}

impl Row for Event {
    type After = Position;
    type Request = EventRead;

    fn read(backend: &dyn Backend, request: EventRead) -> BoxFuture<'_, Result<Page<Self>>> {
        backend.read_events(request)
    }

    fn page_options(request: &mut EventRead) -> PageOptions<'_, Position> {
        let EventRead { after, limit, max_bytes, descending, .. } = request;
        PageOptions { after, limit, max_bytes, descending }
    }
}

impl Sealed for StreamInfo {}

impl Row for StreamInfo {
    type After = String;
    type Request = StreamsRead;

    fn read(backend: &dyn Backend, request: StreamsRead) -> BoxFuture<'_, Result<Page<Self>>> {
        backend.read_streams(request)
    }

    fn page_options(request: &mut StreamsRead) -> PageOptions<'_, String> {
        let StreamsRead { after, limit, max_bytes, descending, .. } = request;
        PageOptions { after, limit, max_bytes, descending }
    }
}
