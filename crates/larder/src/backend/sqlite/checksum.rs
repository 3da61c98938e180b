//! CRC-32C (Castagnoli) over what a row says and where it belongs.

/// A CRC-32C over many short pieces: they are gathered, because each call costs more than a short piece does.
pub(super) struct Crc {
    crc: u32,
    gathered: [u8; 192],
    length: usize,
}

impl Default for Crc {
    fn default() -> Self {
        Self { crc: 0, gathered: [0; 192], length: 0 }
    }
}

impl Crc {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(room) = self.gathered.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
            self.length = end;
        } else {
            self.flush();
            self.crc = crc32c::crc32c_append(self.crc, bytes);
        }
    }

    fn flush(&mut self) {
        self.crc = crc32c::crc32c_append(self.crc, &self.gathered[..self.length]);
        self.length = 0;
    }

    pub(super) fn finish(mut self) -> i64 {
        self.flush();
        i64::from(self.crc)
    }
}

/// A length as checksums take it, so that no two different rows have the same bytes.
pub(super) fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX - 1)
}
