//! What a file says, read from its start, and where it ends.

use std::io;

use crate::{
    error::{Error, Result},
    io::DiskFile,
    wal::{
        frame::{
            FRAME_ALIGNMENT, FRAME_HEAD_BYTES, Found, Frame, MAX_FRAME_BYTES, padded, parse, u32_at, u64_at,
        },
        header::{HEADER_BYTES, Header, Identity},
        reader::{FrameReader, Step},
    },
};

/// How much of the rest of a file is searched at a time.
const SEARCH_BYTES: usize = 1 << 20;
/// A search gives up after it has computed checksums over so much, and reports what it has come to as damage.
const MOST_CHECKED_BYTES: u64 = 16 << 30;

/// What was found when a client was opened.
///
/// ```
/// use larder_kv::{Client, ClientOptions};
///
/// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
/// assert_eq!(client.recovery().records, 0);
/// # Ok::<(), larder_kv::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Frames (atomic batches) that were read.
    pub frames: u64,
    /// Records that were read in them: puts and removals.
    pub records: u64,
    /// Keys that have a value now.
    pub keys: u64,
    /// Where the last sound frame ended, in bytes from the start of the file.
    pub end: u64,
    /// Bytes of a torn tail that were cut off after it: writes that nobody had been told were done.
    pub cut_off: u64,
    /// What the first of those bytes looked like, if any were cut off.
    pub cut_because: Option<&'static str>,
}

/// Where the frames of a file end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) offset: u64,
    /// The last frame's sequence; 0 if there is none.
    pub(crate) sequence: u64,
    /// Whether the last frame says that all before it is durable, and nothing else.
    pub(crate) is_sealed: bool,
    /// The file's length.
    pub(crate) file_bytes: u64,
    /// The bytes after the end that are not just zeros: how many, and what the first of them are.
    pub(crate) torn: Option<(u64, &'static str)>,
}

/// Reads the header page of a file.
pub(crate) fn read_header(file: &dyn DiskFile) -> Result<(Header, Identity)> {
    let mut page = vec![0; HEADER_BYTES];
    let length = file.read_at(0, &mut page).map_err(Error::io)?;
    Header::decode(&page[..length])
}

/// Hands every sound frame over, from the start, and finds out whether what follows the last is a torn tail.
///
/// # Errors
/// `Corrupted` if a frame is damaged that was durable once, or is out of order; those of `take`; `Io`.
pub(crate) fn read_frames(
    file: &dyn DiskFile,
    identity: Identity,
    mut take: impl FnMut(u64, &Frame<'_>) -> Result<()>,
) -> Result<End> {
    let file_bytes = file.len().map_err(Error::io)?;
    let mut reader =
        FrameReader::new(file, identity, HEADER_BYTES as u64, file_bytes.max(HEADER_BYTES as u64));
    let (mut sequence, mut is_sealed) = (0, false);
    let (offset, why) = loop {
        match reader.next().map_err(Error::io)? {
            Step::Frame(offset, frame) => {
                check_order(offset, &frame, sequence)?;
                take(offset, &frame)?;
                sequence = frame.sequence;
                is_sealed = frame.records.is_empty() && frame.durable_through == offset;
            }
            Step::End(offset, why) => break (offset, why),
        }
    };
    drop(reader);
    // A frame that says it was durable through a place after the end vouches for what should be there.
    let search = find_frame(file, identity, offset, sequence, file_bytes, |durable| durable > offset);
    let search = search.map_err(Error::io)?;
    if search.found.is_some() {
        let what = why.unwrap_or("nothing where a frame was");
        return Err(Error::corrupted(offset, what).with_hint("`repair` saves what is sound in the file"));
    }
    let because = why.unwrap_or("nothing, and then something");
    let torn = (search.rest_bytes > 0).then_some((search.rest_bytes, because));
    Ok(End { offset, sequence, is_sealed, file_bytes, torn })
}

fn check_order(offset: u64, frame: &Frame<'_>, sequence: u64) -> Result<()> {
    if frame.sequence != sequence + 1 {
        let found = format!("frame {} where frame {} belongs", frame.sequence, sequence + 1);
        return Err(Error::corrupted(offset, found));
    }
    if !(HEADER_BYTES as u64..=offset).contains(&frame.durable_through) {
        let found = format!("a frame that says it is durable through {}", frame.durable_through);
        return Err(Error::corrupted(offset, found));
    }
    Ok(())
}

/// What a search through a part of a file without a sound frame has found.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// Where the next frame is.
    pub(crate) found: Option<u64>,
    /// The bytes up to the last that is not zero; up to where it searched, if it has found something.
    pub(crate) rest_bytes: u64,
}

/// Searches a file, from the place where its sound frames end, for a later frame whose durable-through is wanted.
pub(crate) fn find_frame(
    file: &dyn DiskFile,
    identity: Identity,
    end: u64,
    sequence: u64,
    file_bytes: u64,
    is_wanted: impl Fn(u64) -> bool,
) -> io::Result<Search> {
    let mut search = Search::default();
    let mut checked_bytes = 0;
    let mut chunk = vec![0; SEARCH_BYTES + FRAME_HEAD_BYTES];
    let mut start = end;
    while start < file_bytes {
        let filled = file.read_at(start, &mut chunk)?;
        let bytes = &chunk[..filled];
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            search.rest_bytes = start - end + last as u64 + 1;
            for at in (0..bytes.len().min(SEARCH_BYTES)).step_by(FRAME_ALIGNMENT) {
                let Some(head) = bytes.get(at..at + FRAME_HEAD_BYTES) else { break };
                let offset = start + at as u64;
                if !is_plausible(head, offset, end, sequence, file_bytes) || !is_wanted(u64_at(head, 16)) {
                    continue;
                }
                // Bytes that look like a frame time and again are not worth more time: what follows is not given up.
                checked_bytes += u64::from(u32_at(head, 0));
                if checked_bytes > MOST_CHECKED_BYTES || is_frame(file, identity, offset, head)? {
                    search.found = Some(offset);
                    return Ok(search);
                }
            }
        }
        if filled < chunk.len() {
            break;
        }
        start += SEARCH_BYTES as u64;
    }
    Ok(search)
}

/// Whether this may be a frame that follows a frame of this sequence: what can be told without its checksum.
fn is_plausible(head: &[u8], offset: u64, end: u64, sequence: u64, file_bytes: u64) -> bool {
    let (length, left) = (u64::from(u32_at(head, 0)), file_bytes - offset);
    let (own, durable_through) = (u64_at(head, 8), u64_at(head, 16));
    let most_frames = (offset - end) / FRAME_HEAD_BYTES as u64 + 1;
    (FRAME_HEAD_BYTES as u64..=left.min(MAX_FRAME_BYTES as u64)).contains(&length)
        && (HEADER_BYTES as u64..=offset).contains(&durable_through)
        && own > sequence
        && own - sequence <= most_frames
}

fn is_frame(file: &dyn DiskFile, identity: Identity, offset: u64, head: &[u8]) -> io::Result<bool> {
    let mut bytes = vec![0; padded(u32_at(head, 0) as usize)];
    let filled = file.read_at(offset, &mut bytes)?;
    Ok(matches!(parse(&bytes[..filled], identity, offset), Found::Frame(_)))
}
