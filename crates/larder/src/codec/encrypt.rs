//! Encryption with XChaCha20-Poly1305: keys, the ring that holds them, and the cipher.

use std::{fmt, str::FromStr, sync::Arc};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};

pub(super) const NONCE_BYTES: usize = 24;
pub(super) const CHECK_BYTES: usize = 8;
pub(super) const KEY_ID_BYTES: usize = 64;
const KEY_BYTES: usize = 32;

/// A secret key of 32 bytes, and the id by which a snapshot names it. Wiped from memory when dropped; never shown.
///
/// ```
/// use larder::EncryptionKey;
///
/// let key = EncryptionKey::new("2026-03", [7; 32])?; // from where secrets are kept
/// assert_eq!(format!("{key:?}"), "EncryptionKey(2026-03)");
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone)]
pub struct EncryptionKey {
    id: String,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl EncryptionKey {
    /// A key.
    ///
    /// # Errors
    /// `InvalidArgument` if the id is not 1 to 64 characters of `[A-Za-z0-9_.:-]`.
    pub fn new(id: impl Into<String>, bytes: [u8; 32]) -> Result<Self> {
        let (id, bytes) = (id.into(), Zeroizing::new(bytes));
        if !is_key_id(&id) {
            // It is not shown: it may be a key in the wrong place.
            return Err(Error::invalid(
                "key id",
                format!("not 1 to {KEY_ID_BYTES} characters of [A-Za-z0-9_.:-]"),
            ));
        }
        Ok(Self { id, bytes })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Tells keys of one id apart, without telling anything of the key.
    pub(super) fn check(&self) -> [u8; CHECK_BYTES] {
        let digest = Sha256::new().chain_update(b"larder snapshot key check 1\0").chain_update(*self.bytes);
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&digest.finalize()[..CHECK_BYTES]);
        check
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&(*self.bytes).into())
    }

    pub(super) fn encrypt(&self, nonce: [u8; NONCE_BYTES], data: &[u8], bound: &[u8]) -> Result<Vec<u8>> {
        let payload = Payload { msg: data, aad: bound };
        self.cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::invalid("state", "it is too long to be encrypted"))
    }

    pub(super) fn decrypt(&self, nonce: [u8; NONCE_BYTES], data: &[u8], bound: &[u8]) -> Result<Vec<u8>> {
        let payload = Payload { msg: data, aad: bound };
        self.cipher().decrypt(&XNonce::from(nonce), payload).map_err(|_| {
            Error::corrupted("a state that its key does not decrypt here").with("key", self.id.clone())
        })
    }
}

/// Whether this can be the id of a key.
pub(super) fn is_key_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=KEY_ID_BYTES).contains(&id.len()) && id.bytes().all(allowed)
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({})", self.id)
    }
}

/// The keys of a store: an active one, which encrypts, and retired ones, which still decrypt. Cheap to clone.
///
/// To replace a key, make a new one the active one, retire the old one, run `larder snapshots re-encrypt` (or
/// [`Store::reencrypt_snapshots`](crate::Store::reencrypt_snapshots)), and then take the old one away.
///
/// As text it is one key per line, the active one first: the id, a space, and 64 hexadecimal digits. Empty lines and
/// those that start with `#` are left out.
///
/// ```
/// use larder::{EncryptionKey, Keyring};
///
/// let keyring = Keyring::new(EncryptionKey::new("new", [2; 32])?).retired(EncryptionKey::new("old", [1; 32])?);
/// let text = format!("new {}\nold {}\n", "02".repeat(32), "01".repeat(32));
/// assert_eq!(format!("{:?}", text.parse::<Keyring>()?), format!("{keyring:?}"));
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Clone)]
pub struct Keyring {
    /// The active one first.
    keys: Arc<Vec<EncryptionKey>>,
}

impl Keyring {
    /// A keyring of one key, which is the active one.
    #[must_use]
    pub fn new(active: EncryptionKey) -> Self {
        Self { keys: Arc::new(vec![active]) }
    }

    /// Adds a key that only decrypts.
    #[must_use]
    pub fn retired(mut self, key: EncryptionKey) -> Self {
        Arc::make_mut(&mut self.keys).push(key);
        self
    }

    /// The key that encrypts.
    #[must_use]
    pub fn active(&self) -> &EncryptionKey {
        self.keys.first().expect("it is made with one")
    }

    /// The key that a state was encrypted with.
    pub(super) fn find(&self, id: &str, check: [u8; CHECK_BYTES]) -> Result<&EncryptionKey> {
        let mut of_this_id = self.keys.iter().filter(|key| key.id == id).peekable();
        let hint = match of_this_id.peek() {
            None => "the keyring has no key of this id",
            Some(_) => "the keyring has a key of this id, but not the one that encrypted",
        };
        of_this_id.find(|key| key.check() == check).ok_or_else(|| wrong_key(id).with_hint(hint))
    }
}

/// The state is encrypted, and not with a key that is at hand.
pub(super) fn wrong_key(id: &str) -> Error {
    Error::new(ErrorKind::WrongKey { key: id.to_owned() })
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retired: Vec<&str> = self.keys.iter().skip(1).map(EncryptionKey::id).collect();
        f.debug_struct("Keyring").field("active", &self.active().id()).field("retired", &retired).finish()
    }
}

impl FromStr for Keyring {
    type Err = Error;

    /// What is wrong is told by its line; the text is never shown.
    fn from_str(text: &str) -> Result<Self> {
        let lines = text.lines().zip(1..).map(|(line, number)| (line.trim(), number));
        let mut keys = Vec::new();
        for (line, number) in lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')) {
            keys.push(parse_key(line).map_err(|error| error.with("line", format!("{number}")))?);
        }
        if keys.is_empty() {
            return Err(Error::invalid("keyring", "it has no key"));
        }
        Ok(Self { keys: Arc::new(keys) })
    }
}

fn parse_key(line: &str) -> Result<EncryptionKey> {
    let (id, digits) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    let digits = digits.trim().as_bytes();
    let mut whole = digits.len() == KEY_BYTES * 2;
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => whole = false,
        }
    }
    if !whole {
        let reason = "a line is the key's id, a space, and the key as 64 hexadecimal digits";
        return Err(Error::invalid("keyring", reason));
    }
    EncryptionKey::new(id, *bytes)
}
