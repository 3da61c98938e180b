//! Paths of fields: `a.b` is the field `b` of the object `a`, `a\.b` a field with a dot in its name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The most characters of a path.
const PATH_CHARS: usize = 255;

/// Where a field is in an item, as the names on the way to it.
///
/// ```
/// use larder::FieldPath;
///
/// let path: FieldPath = r"address.zip\.code".parse()?;
/// assert_eq!(path.names(), ["address", "zip.code"]);
/// # Ok::<(), larder::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldPath {
    names: Vec<String>,
}

impl FieldPath {
    /// The names on the way, outermost first.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl std::str::FromStr for FieldPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |reason: &str| Error::invalid("field", format!("`{}` {reason}", text.escape_debug()));
        if text.chars().nth(PATH_CHARS).is_some() {
            return Err(refused("is longer than 255 characters"));
        }
        let mut names = vec![String::new()];
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let name = names.last_mut().expect("there is always one");
            match char {
                '.' => names.push(String::new()),
                '\\' => match chars.next() {
                    Some(escaped @ ('.' | '\\')) => name.push(escaped),
                    _ => return Err(refused("has a `\\` before something other than `.` or `\\`")),
                },
                char => name.push(char),
            }
        }
        if names.iter().any(String::is_empty) {
            return Err(refused("has an empty name"));
        }
        Ok(Self { names })
    }
}

impl TryFrom<String> for FieldPath {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<FieldPath> for String {
    fn from(path: FieldPath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, name) in self.names.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "." })?;
            f.write_str(&name.replace('\\', "\\\\").replace('.', "\\."))?;
        }
        Ok(())
    }
}
