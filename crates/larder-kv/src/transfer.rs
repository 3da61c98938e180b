//! Entries as JSON Lines: see `docs/formats/kv-export.md`.

use std::{
    borrow::Cow,
    io::{BufRead, Read as _, Write},
};

use serde::{Deserialize, Serialize};

use crate::{
    client::Client,
    error::{Error, Result},
    scan::Entry,
    value::{Key, MAX_KEY_BYTES, MAX_VALUE_BYTES, Value},
};

const VERSION: u32 = 1;
/// What one batch of an import holds at most.
const BATCH_ENTRIES: usize = 1_000;
const BATCH_BYTES: usize = 4 << 20;
/// A byte takes six at most, as an escaped control character.
const MOST_LINE_BYTES: u64 = 6 * (MAX_KEY_BYTES + MAX_VALUE_BYTES) as u64 + 1_024;

/// What an export or import has moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transferred {
    /// The entries.
    pub entries: u64,
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line<'a> {
    /// The first one.
    LarderKvExport { version: u32, node_id: Cow<'a, str> },
    /// An entry; bytes that are no UTF-8 are in hexadecimal.
    Entry {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_hex: Option<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value_hex: Option<Cow<'a, str>>,
    },
    /// The last one: the number of entries, and the CRC-32C of all lines before.
    End { entries: u64, crc32c: Cow<'a, str> },
}

impl Client {
    /// Writes the entries whose keys start with this as JSON Lines; `""` for all. Reads and writes go on meanwhile,
    /// as with [`scan`](Self::scan).
    ///
    /// ```
    /// use larder_kv::{Client, ClientOptions};
    ///
    /// # fn main() -> larder_kv::Result<()> {
    /// let client = Client::open(ClientOptions::memory_only("node-a")).wait()?;
    /// client.put("settings/theme", "dark").wait()?;
    /// let mut lines = Vec::new();
    /// client.export("", &mut lines)?;
    ///
    /// let copy = Client::open(ClientOptions::memory_only("node-b")).wait()?;
    /// copy.import(&lines[..])?;
    /// assert_eq!(copy.get("settings/theme")?, "dark");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Closed`; `Io` if the lines cannot be written.
    pub fn export(&self, prefix: impl AsRef<[u8]>, mut to: impl Write) -> Result<Transferred> {
        let mut crc = 0;
        let mut write = |line: &Line<'_>| -> Result<()> {
            let mut text = serde_json::to_vec(line).map_err(|error| Error::io(error.into()))?;
            text.push(b'\n');
            crc = crc32c::crc32c_append(crc, &text);
            to.write_all(&text).map_err(Error::io)
        };
        write(&Line::LarderKvExport { version: VERSION, node_id: self.node_id().into() })?;
        let mut moved = Transferred::default();
        for Entry { key, value } in self.scan(prefix)? {
            let (text, hex) = (key.as_str(), value.as_str());
            write(&Line::Entry {
                key: text.map(Cow::Borrowed),
                key_hex: text.is_none().then(|| to_hex(&key).into()),
                value: hex.map(Cow::Borrowed),
                value_hex: hex.is_none().then(|| to_hex(&value).into()),
            })?;
            moved.entries += 1;
        }
        let end = Line::End { entries: moved.entries, crc32c: format!("{crc:08x}").into() };
        let text = serde_json::to_string(&end).map_err(|error| Error::io(error.into()))?;
        writeln!(to, "{text}").and_then(|()| to.flush()).map_err(Error::io)?;
        Ok(moved)
    }

    /// Puts the entries of an export, in batches of up to 1,000, each of them atomic. It waits on this thread.
    ///
    /// # Errors
    /// `InvalidArgument` with the number of the line that cannot be taken: the batches before its own are there; and those
    /// of a [`Write`](crate::Write).
    pub fn import(&self, from: impl BufRead) -> Result<Transferred> {
        let (mut moved, mut crc, mut ended) = (Transferred::default(), 0, false);
        let (mut batch, mut bytes) = (self.batch(), 0);
        let mut lines = from;
        let mut text = Vec::new();
        for number in 1_u64.. {
            text.clear();
            let read = (&mut lines).take(MOST_LINE_BYTES).read_until(b'\n', &mut text);
            if read.map_err(Error::io)? == 0 {
                break;
            }
            let refused = |reason: String| Error::invalid("import", format!("line {number}: {reason}"));
            if text.len() as u64 == MOST_LINE_BYTES {
                return Err(refused("it is longer than any line of an export".into()));
            }
            if ended {
                return Err(refused("it comes after the end".into()));
            }
            let line: Line<'_> = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
            match (number, line) {
                (1, Line::LarderKvExport { version: VERSION, .. }) => {}
                (1, Line::LarderKvExport { version, .. }) => {
                    return Err(refused(format!(
                        "an export of version {version}; this build knows {VERSION}"
                    )));
                }
                (1, _) => return Err(refused("it is not the beginning of an export".into())),
                (_, Line::LarderKvExport { .. }) => return Err(refused("another export begins".into())),
                (_, Line::Entry { key, key_hex, value, value_hex }) => {
                    let key = bytes_of(key, key_hex).map_err(|why| refused(format!("its key {why}")))?;
                    let value =
                        bytes_of(value, value_hex).map_err(|why| refused(format!("its value {why}")))?;
                    bytes += key.len() + value.len();
                    batch.put(Key::from(key), Value::from(value));
                    moved.entries += 1;
                }
                (_, Line::End { entries, crc32c }) => {
                    if entries != moved.entries || *crc32c != *format!("{crc:08x}") {
                        return Err(refused("lines before it are missing or were changed".into()));
                    }
                    ended = true;
                }
            }
            crc = crc32c::crc32c_append(crc, &text);
            if batch.len() >= BATCH_ENTRIES || bytes >= BATCH_BYTES {
                std::mem::replace(&mut batch, self.batch()).commit().wait()?;
                bytes = 0;
            }
        }
        if !ended {
            return Err(Error::invalid("import", "the export ends early: its last line is missing"));
        }
        batch.commit().wait()?;
        Ok(moved)
    }
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes everything");
        hex
    })
}

/// The bytes, of which there is one form.
fn bytes_of(text: Option<Cow<'_, str>>, hex: Option<Cow<'_, str>>) -> Result<Vec<u8>, &'static str> {
    match (text, hex) {
        (Some(text), None) => Ok(text.into_owned().into_bytes()),
        (None, Some(hex)) => {
            let pair = |pair: &[u8]| {
                let digits = std::str::from_utf8(pair).ok().filter(|digits| digits.len() == 2)?;
                u8::from_str_radix(digits, 16).ok()
            };
            hex.as_bytes().chunks(2).map(pair).collect::<Option<_>>().ok_or("is not hexadecimal")
        }
        _ => Err("is missing, or there twice"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ClientOptions;

    fn client() -> Client {
        Client::open(ClientOptions::memory_only("node-a")).wait().unwrap()
    }

    fn exported() -> Vec<u8> {
        let client = client();
        for n in 0..2_500_u32 {
            client.put(format!("k/{n:05}"), n.to_le_bytes().to_vec()).wait().unwrap();
        }
        client.put([0xff, 0], "é\n").wait().unwrap();
        let mut lines = Vec::new();
        assert_eq!(client.export("", &mut lines).unwrap().entries, 2_501);
        lines
    }

    #[test]
    fn any_bytes_come_back() {
        let (copy, lines) = (client(), exported());
        assert_eq!(copy.import(&lines[..]).unwrap().entries, 2_501);
        assert_eq!(copy.get([0xff, 0]).unwrap(), "é\n");
        assert_eq!(&*copy.get("k/02499").unwrap(), 2_499_u32.to_le_bytes());
        assert_eq!(copy.size(), 2_501);
    }

    #[test]
    fn what_is_damaged_or_cut_is_refused() {
        let lines = exported();
        let end = lines[..lines.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        assert!(client().import(&lines[..=end]).unwrap_err().to_string().contains("ends early"));
        let mut damaged = lines.clone();
        let at = end - 6;
        damaged[at] = if damaged[at] == b'0' { b'1' } else { b'0' };
        assert!(client().import(&damaged[..]).is_err());
        let error = client().import(&b"{}\n"[..]).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
