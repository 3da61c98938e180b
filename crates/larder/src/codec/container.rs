//! The container of a state: a header, and the state as its codec left it. `docs/formats/snapshot.md` has the bytes.

use super::{
    Codec, EncryptionKey, compress,
    encrypt::{CHECK_BYTES, NONCE_BYTES, is_key_id, wrong_key},
};
use crate::{
    error::{Error, ErrorKind, Result},
    event::Payload,
    snapshot::Subject,
};

const MAGIC: [u8; 3] = *b"LSN";
const VERSION: u8 = 1;
const FIXED_BYTES: usize = 16;

const JSON: u8 = 1;
const BYTES: u8 = 2;
const ZSTD: u8 = 1;
const XCHACHA20_POLY1305: u8 = 1;

/// Where a snapshot belongs, independent of the store that it is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub log: &'a str,
    pub subject: &'a Subject,
    pub at: u64,
    pub schema: Option<&'a str>,
}

impl Place<'_> {
    /// Its bytes: no two places have the same.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let text = |bytes: &mut Vec<u8>, text: &str| {
            let length = u32::try_from(text.len()).expect("names are short");
            bytes.extend(length.to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        let mut bytes = Vec::with_capacity(64);
        text(&mut bytes, self.log);
        bytes.push(match self.subject {
            Subject::Stream(_) => 0,
            Subject::Query(_) => 1,
        });
        text(&mut bytes, self.subject.name());
        bytes.extend(self.at.to_le_bytes());
        match self.schema {
            Some(schema) => text(&mut bytes, schema),
            None => bytes.extend(u32::MAX.to_le_bytes()),
        }
        bytes
    }
}

/// What a container says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub is_json: bool,
    pub is_compressed: bool,
    pub encryption: Option<Encryption>,
    /// The length of the state as it was saved.
    pub state_bytes: u64,
}

/// With what a container is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encryption {
    pub key_id: String,
    pub check: [u8; CHECK_BYTES],
    pub nonce: [u8; NONCE_BYTES],
}

impl Header {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + CHECK_BYTES + NONCE_BYTES + 16);
        bytes.extend(MAGIC);
        let id = self.encryption.as_ref().map_or("", |encryption| &encryption.key_id);
        let id_bytes = u8::try_from(id.len()).expect("key ids are short");
        bytes.extend([
            VERSION,
            if self.is_json { JSON } else { BYTES },
            if self.is_compressed { ZSTD } else { 0 },
            if self.encryption.is_some() { XCHACHA20_POLY1305 } else { 0 },
            id_bytes,
        ]);
        bytes.extend(self.state_bytes.to_le_bytes());
        if let Some(Encryption { key_id, check, nonce }) = &self.encryption {
            bytes.extend(key_id.as_bytes());
            bytes.extend(check);
            bytes.extend(nonce);
        }
        bytes
    }

    /// Reads a container's header, and gives the body with it.
    pub(crate) fn parse(container: &[u8]) -> Result<(Self, &[u8])> {
        let wrong = || Error::corrupted("a snapshot's state without a valid header");
        let (fixed, rest) = container.split_first_chunk::<FIXED_BYTES>().ok_or_else(wrong)?;
        let [l, s, n, version, content, compression, encryption, id_bytes, length @ ..] = *fixed;
        if [l, s, n] != MAGIC {
            return Err(wrong());
        }
        if version != VERSION {
            return Err(Error::new(ErrorKind::Incompatible)
                .with("version of a snapshot's state", version.to_string()));
        }
        let flag = |value: u8, set: u8| match value {
            0 => Ok(false),
            value if value == set => Ok(true),
            _ => Err(wrong()),
        };
        let is_json = match content {
            JSON => true,
            BYTES => false,
            _ => return Err(wrong()),
        };
        let is_compressed = flag(compression, ZSTD)?;
        let (encryption, body) = match (flag(encryption, XCHACHA20_POLY1305)?, id_bytes) {
            (false, 0) => (None, rest),
            (true, 1..) => {
                let (encryption, body) = Encryption::parse(rest, id_bytes.into()).ok_or_else(wrong)?;
                (Some(encryption), body)
            }
            _ => return Err(wrong()),
        };
        let state_bytes = u64::from_le_bytes(length);
        Ok((Self { is_json, is_compressed, encryption, state_bytes }, body))
    }
}

impl Header {
    /// Whether this very key encrypted it.
    pub(crate) fn is_encrypted_with(&self, key: &EncryptionKey) -> bool {
        let with = |encryption: &Encryption| encryption.key_id == key.id() && encryption.check == key.check();
        self.encryption.as_ref().is_some_and(with)
    }
}

impl Encryption {
    fn parse(bytes: &[u8], id_bytes: usize) -> Option<(Self, &[u8])> {
        let (id, rest) = bytes.split_at_checked(id_bytes)?;
        let key_id = std::str::from_utf8(id).ok().filter(|id| is_key_id(id))?.to_owned();
        let (check, rest) = rest.split_first_chunk()?;
        let (nonce, body) = rest.split_first_chunk()?;
        Some((Self { key_id, check: *check, nonce: *nonce }, body))
    }
}

/// Makes the container of a state.
pub(crate) fn seal(codec: &Codec, place: &Place<'_>, is_json: bool, state: &[u8]) -> Result<Vec<u8>> {
    let nonce = match &codec.keyring {
        Some(_) => random_nonce()?,
        None => [0; NONCE_BYTES],
    };
    seal_with(codec, place, is_json, state, nonce)
}

/// The same, with a nonce that must never be used again with the key.
pub(super) fn seal_with(
    codec: &Codec,
    place: &Place<'_>,
    is_json: bool,
    state: &[u8],
    nonce: [u8; NONCE_BYTES],
) -> Result<Vec<u8>> {
    let frame = match codec.uncompressed_bytes {
        Some(bytes) if state.len() > bytes => compress::compress(state)?,
        _ => None,
    };
    let active = codec.keyring.as_ref().map(super::Keyring::active);
    let encryption = active.map(|key| Encryption { key_id: key.id().to_owned(), check: key.check(), nonce });
    let header =
        Header { is_json, is_compressed: frame.is_some(), encryption, state_bytes: state.len() as u64 };
    let mut container = header.bytes();
    let body = frame.as_deref().unwrap_or(state);
    match active {
        None => container.extend_from_slice(body),
        Some(key) => {
            let bound = [&container[..], &place.bytes()].concat();
            container.extend(key.encrypt(nonce, body, &bound)?);
        }
    }
    Ok(container)
}

/// The state of a container, at most so many bytes of it.
pub(crate) fn open(codec: &Codec, place: &Place<'_>, container: &[u8], limit: usize) -> Result<Payload> {
    let (header, body) = Header::parse(container)?;
    let length = usize::try_from(header.state_bytes).unwrap_or(usize::MAX);
    if length > limit {
        return Err(Error::too_large("snapshot state", limit as u64, header.state_bytes)
            .with_hint("it was saved under a higher limit: raise `Limits::snapshot_bytes`"));
    }
    let decrypted = match &header.encryption {
        None => None,
        Some(Encryption { key_id, check, nonce }) => {
            let keyring = codec.keyring.as_ref();
            let keyring = keyring.ok_or_else(|| wrong_key(key_id).with_hint("no keyring was given"))?;
            let head = container.len() - body.len();
            let bound = [&container[..head], &place.bytes()].concat();
            Some(keyring.find(key_id, *check)?.decrypt(*nonce, body, &bound)?)
        }
    };
    let state = if header.is_compressed {
        compress::decompress(decrypted.as_deref().unwrap_or(body), length)?
    } else {
        decrypted.unwrap_or_else(|| body.to_vec())
    };
    if state.len() != length {
        return Err(Error::corrupted("a state of another length than it had"));
    }
    if !header.is_json {
        return Ok(Payload::Bytes(state));
    }
    let text = String::from_utf8(state);
    text.map(Payload::Json).map_err(|error| Error::corrupted("a state that is not UTF-8").caused_by(error))
}

/// 24 random bytes do not meet again, however many snapshots there are.
fn random_nonce() -> Result<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce)
        .map_err(|error| Error::new(ErrorKind::Io).with("found", format!("no randomness: {error}")))?;
    Ok(nonce)
}
