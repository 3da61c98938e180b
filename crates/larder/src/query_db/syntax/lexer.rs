//! A text, and how far it has been read.

use serde_json::Value;

use super::SyntaxError;

/// The rest of a text.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    pub(super) text: &'a str,
    /// In bytes.
    pub(super) at: usize,
}

/// Whether a path may have it outside of quotes.
pub(super) fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || "_-.$@:/#\\".contains(c)
}

impl<'a> Lexer<'a> {
    /// What is left after any spaces.
    pub(super) fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    pub(super) fn refuse<T>(&self, at: usize, reason: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError { at, reason: reason.into() })
    }

    /// Refuses what comes next, with what should have.
    pub(super) fn expected<T>(&mut self, what: &str) -> Result<T, SyntaxError> {
        let found = match self.rest().chars().next() {
            None => "the end".to_owned(),
            Some('"') => "a text in quotes".to_owned(),
            Some(c) => match self.peek_word() {
                "" => format!("`{}`", c.escape_debug()),
                word => format!("`{word}`"),
            },
        };
        self.refuse(self.at, format!("{what} should be here, not {found}"))
    }

    /// The run of letters and the like that comes next.
    pub(super) fn peek_word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
        &rest[..end]
    }

    /// Reads one of the syntax's words, whatever its case.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let is_next = self.peek_word().eq_ignore_ascii_case(word);
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    /// Reads this sign.
    pub(super) fn sign(&mut self, sign: &str) -> bool {
        let is_next = self.rest().starts_with(sign);
        if is_next {
            self.at += sign.len();
        }
        is_next
    }

    /// Reads a JSON value.
    pub(super) fn value(&mut self) -> Result<Value, SyntaxError> {
        let rest = self.rest();
        let start = self.at;
        let end = value_end(rest);
        if end == 0 {
            return self.expected("a JSON value");
        }
        let value = &rest[..end];
        match serde_json::from_str(value) {
            Ok(read) => {
                self.at += end;
                Ok(read)
            }
            Err(_) if value.starts_with(is_letter) => {
                self.refuse(start, format!("`{value}` is not a JSON value; text is in double quotes"))
            }
            Err(error) => {
                // Its own place says nothing once a string is cut off: that is where the text ends.
                let offset = if error.is_eof() { end } else { byte_of(value, &error) };
                self.refuse(start + offset, format!("not a JSON value: {}", reason_of(&error)))
            }
        }
    }

    /// Reads a JSON string.
    pub(super) fn string(&mut self) -> Result<String, SyntaxError> {
        let start = {
            self.rest();
            self.at
        };
        match self.value()? {
            Value::String(text) => Ok(text),
            other => self.refuse(start, format!("a text in double quotes should be here, not `{other}`")),
        }
    }
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

/// What the parser of JSON says, without its own line and column.
fn reason_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

/// Where the parser of JSON stopped, in bytes.
fn byte_of(value: &str, error: &serde_json::Error) -> usize {
    let line_start: usize =
        value.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let mut at = (line_start + error.column().saturating_sub(1)).min(value.len());
    while !value.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// How far a JSON value reaches, if it is one.
fn value_end(rest: &str) -> usize {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, c) in rest.char_indices() {
        if in_string {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => continue,
            }
            if in_string || depth > 0 {
                continue;
            }
            return at + 1;
        }
        match c {
            '"' if at > 0 && depth == 0 => return at,
            '"' => in_string = true,
            '[' | '{' if at > 0 && depth == 0 => return at,
            '[' | '{' => depth += 1,
            ']' | '}' if depth <= 1 => return if depth == 1 { at + 1 } else { at },
            ']' | '}' => depth -= 1,
            _ if depth > 0 => {}
            c if c.is_whitespace() || "(),=<>!".contains(c) => return at,
            _ => {}
        }
    }
    rest.len()
}
