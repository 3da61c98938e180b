//! How a snapshot's state becomes the bytes that are stored: compressed, encrypted, or neither.

mod compress;
mod container;
mod encrypt;
#[cfg(test)]
mod tests;

pub(crate) use self::container::{Header, Place, open, seal};
pub use self::encrypt::{EncryptionKey, Keyring};

/// How states of snapshots are stored: by default, those over 1 KiB are compressed, and nothing is encrypted.
///
/// A codec says how to write; reading needs of it only the keys.
///
/// ```
/// use larder::{Codec, Config, EncryptionKey, Keyring, Store};
///
/// # fn main() -> larder::Result<()> {
/// let keyring = Keyring::new(EncryptionKey::new("2026", [7; 32])?);
/// let config = Config::memory().snapshot_codec(Codec::default().encrypted(keyring));
/// let snapshots = Store::open(config).wait()?.event_log("orders")?.snapshots();
/// snapshots.save("order-1", 3, "a secret").wait()?;
/// let state: Option<String> = snapshots.latest("order-1").wait()?.map(|found| found.decode()).transpose()?;
/// assert_eq!(state.as_deref(), Some("a secret"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Codec {
    /// The longest state, in bytes, that is not compressed; `None` compresses nothing.
    pub(crate) uncompressed_bytes: Option<usize>,
    pub(crate) keyring: Option<Keyring>,
}

impl Codec {
    /// Stores states as they are.
    #[must_use]
    pub fn none() -> Self {
        Self { uncompressed_bytes: None, keyring: None }
    }

    /// Compresses states longer than this many bytes with zstd, if that makes them shorter.
    #[must_use]
    pub fn compress_over(mut self, bytes: usize) -> Self {
        self.uncompressed_bytes = Some(bytes);
        self
    }

    /// Encrypts with the keyring's active key, after compression, with XChaCha20-Poly1305.
    #[must_use]
    pub fn encrypted(mut self, keyring: Keyring) -> Self {
        self.keyring = Some(keyring);
        self
    }

    /// The keys, if it encrypts.
    #[must_use]
    pub fn keyring(&self) -> Option<&Keyring> {
        self.keyring.as_ref()
    }
}

impl Default for Codec {
    fn default() -> Self {
        Self::none().compress_over(1_024)
    }
}
