//! The first page of a file: which format it has, whose it is, and which of its node's files.

use crate::{
    error::{Error, Result},
    wal::frame::{u32_at, u64_at},
};

/// The format that this build writes, and the only one so far.
pub const FORMAT_VERSION: u32 = 1;
/// Where the frames start: the header has a page of its own, which is never written again.
pub const HEADER_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"LARDERKV";
const COPY_BYTES: usize = 512;
/// The header is there twice, in two sectors.
const COPY_OFFSETS: [usize; 2] = [0, 2048];
const NODE_ID_OFFSET: usize = 34;
const NODE_ID_BYTES: usize = 128;

/// The header of a file.
///
/// ```
/// use larder_kv::wal::header::{HEADER_BYTES, Header};
///
/// let header = Header { node_id: "node-a".into(), epoch: 7, generation: 1 };
/// let page = header.encode();
/// assert_eq!(page.len(), HEADER_BYTES);
/// assert_eq!(Header::decode(&page)?.0, header);
/// # Ok::<(), larder_kv::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The node whose file it is: at most 128 bytes.
    pub node_id: String,
    /// When the node's data was begun, in microseconds since 1970. A node that lost its data comes back with another.
    pub epoch: u64,
    /// Which file of this epoch: each compaction begins the next.
    pub generation: u64,
}

/// What a frame's checksum continues, so that frames of other files are not taken for this one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity(pub(crate) u32);

impl Header {
    /// The first page.
    ///
    /// # Panics
    /// If the node id is longer than 128 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let node_id = self.node_id.as_bytes();
        assert!(node_id.len() <= NODE_ID_BYTES, "node ids are checked when a client is opened");
        let mut copy = vec![0; COPY_BYTES];
        copy[..8].copy_from_slice(&MAGIC);
        copy[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        copy[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        copy[24..32].copy_from_slice(&self.generation.to_le_bytes());
        copy[32] = u8::try_from(node_id.len()).expect("at most 128");
        copy[NODE_ID_OFFSET..NODE_ID_OFFSET + node_id.len()].copy_from_slice(node_id);
        let checksum = checksum(&copy);
        copy[12..16].copy_from_slice(&checksum.to_le_bytes());
        let mut page = vec![0; HEADER_BYTES];
        for offset in COPY_OFFSETS {
            page[offset..offset + COPY_BYTES].copy_from_slice(&copy);
        }
        page
    }

    /// What the checksums of the file's frames continue.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity(u32_at(&self.encode(), 12))
    }

    /// Reads the first page, of which both copies have to be sound.
    ///
    /// # Errors
    /// `Incompatible` if it is of another format or a newer version, `Corrupted` if it is damaged.
    pub fn decode(page: &[u8]) -> Result<(Self, Identity)> {
        let first = decode_copy(page, COPY_OFFSETS[0])?;
        let second = decode_copy(page, COPY_OFFSETS[1])?;
        if first != second {
            return Err(Error::corrupted(COPY_OFFSETS[1] as u64, "two headers that differ"));
        }
        Ok(first)
    }

    /// Reads whichever copy is sound.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), if neither is.
    pub fn decode_either(page: &[u8]) -> Result<(Self, Identity)> {
        decode_copy(page, COPY_OFFSETS[0])
            .or_else(|error| decode_copy(page, COPY_OFFSETS[1]).map_err(|_| error))
    }
}

/// Over everything but the magic and itself: so damage to the magic is told from another format.
fn checksum(copy: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&copy[8..12]), &copy[16..COPY_BYTES])
}

fn decode_copy(page: &[u8], offset: usize) -> Result<(Header, Identity)> {
    let Some(copy) = page.get(offset..offset + COPY_BYTES) else {
        let magic = &page[..page.len().min(MAGIC.len())];
        return Err(if MAGIC.starts_with(magic) {
            Error::corrupted(page.len() as u64, "a file that ends within its header")
        } else {
            Error::incompatible("a file of another format")
        });
    };
    let (is_magic, stored) = (copy[..8] == MAGIC, u32_at(copy, 12));
    let is_sound = checksum(copy) == stored;
    match (is_magic, is_sound) {
        (true, true) => {}
        (false, false) => return Err(Error::incompatible("a file of another format")),
        _ => return Err(Error::corrupted(offset as u64, "a damaged header")),
    }
    let version = u32_at(copy, 8);
    if version != FORMAT_VERSION {
        let found = format!("format version {version}; this build knows version {FORMAT_VERSION}");
        return Err(Error::incompatible(found).with_hint("open it with a newer version of Larder"));
    }
    let length = usize::from(copy[32]);
    let node_id = copy.get(NODE_ID_OFFSET..NODE_ID_OFFSET + length.min(NODE_ID_BYTES));
    let node_id = node_id.and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::to_owned);
    let node_id = node_id.ok_or_else(|| Error::corrupted(offset as u64, "a node id that is no text"))?;
    let header = Header { node_id, epoch: u64_at(copy, 16), generation: u64_at(copy, 24) };
    Ok((header, Identity(stored)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn header() -> Header {
        Header { node_id: "node-a".into(), epoch: 1_700_000_000_000_000, generation: 3 }
    }

    #[test]
    fn every_damaged_bit_of_a_copy_is_noticed() {
        let page = header().encode();
        for offset in COPY_OFFSETS {
            for at in offset..offset + COPY_BYTES {
                for bit in 0..8 {
                    let mut damaged = page.clone();
                    damaged[at] ^= 1 << bit;
                    let error = Header::decode(&damaged).unwrap_err();
                    assert!(matches!(error.kind(), ErrorKind::Corrupted { .. }), "{at} {bit} {error}");
                    assert_eq!(Header::decode_either(&damaged).unwrap().0, header());
                }
            }
        }
    }

    #[test]
    fn a_short_page_is_damaged_and_another_format_is_not_ours() {
        let page = header().encode();
        for length in 0..2048 + COPY_BYTES {
            let error = Header::decode(&page[..length]).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Corrupted { .. }), "{length} {error}");
        }
        for other in [&b"SQLite format 3\0"[..], &[b'x'; 5000]] {
            assert_eq!(*Header::decode(other).unwrap_err().kind(), ErrorKind::Incompatible);
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        let mut page = header().encode();
        for offset in COPY_OFFSETS {
            page[offset + 8] = 2;
            let sum = checksum(&page[offset..offset + COPY_BYTES]);
            page[offset + 12..offset + 16].copy_from_slice(&sum.to_le_bytes());
        }
        let error = Header::decode(&page).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Incompatible);
        assert!(error.to_string().contains("version 2"), "{error}");
    }
}
