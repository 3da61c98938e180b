//! Why a command failed, ready to be shown: for people, or as JSON.

use std::{error::Error as StdError, fmt, io};

use larder::{Error, ErrorKind};
use serde_json::{Map, Value, json};

use crate::exit_code::ExitCode;

/// A failure with everything that is said about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ExitCode,
    pub(crate) message: String,
    pub(crate) context: Map<String, Value>,
    /// Further lines for people, each with its own indentation.
    pub(crate) details: Vec<String>,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: ExitCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), context: Map::new(), details: Vec::new(), hint: None }
    }

    /// A bad command line or text.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ExitCode::InvalidArgument, message)
    }

    /// Adds what it concerns: a line for people, a field in JSON.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.details.push(match &value {
            Value::String(text) => format!("{key}: {text}"),
            other => format!("{key}: {other}"),
        });
        self.context.insert(key.replace(' ', "_"), value);
        self
    }

    /// Adds what it concerns in JSON only, where the message says it already.
    pub(crate) fn about(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.context.insert(key.to_owned(), value.into());
        self
    }

    /// Adds what can be done about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What a command returned, as a failure to show; `None` if nobody reads the output any more.
    pub(crate) fn from_error(error: anyhow::Error) -> Option<Self> {
        if error.chain().any(is_broken_pipe) {
            return None;
        }
        let error = match error.downcast::<Self>() {
            Ok(failure) => return Some(failure),
            Err(error) => error,
        };
        let error = match error.downcast::<Error>() {
            Ok(error) => return Some(Self::from_library(&error)),
            Err(error) => error,
        };
        let error = match error.downcast::<larder_kv::Error>() {
            Ok(error) => return Some(Self::from_kv(&error)),
            Err(error) => error,
        };
        let code = match error.downcast_ref::<io::Error>() {
            Some(io) if io.kind() == io::ErrorKind::NotFound => ExitCode::NotFound,
            Some(io) if io.kind() == io::ErrorKind::StorageFull => ExitCode::Full,
            _ => ExitCode::Io,
        };
        Some(Self::new(code, format!("{error:#}")))
    }

    /// An error of the library, with what its kind carries.
    pub(crate) fn from_library(error: &Error) -> Self {
        let code = ExitCode::of(error.kind());
        let mut failure = Self::new(code, error.kind().to_string());
        failure.explain(error.kind());
        for (key, value) in error.context() {
            failure = failure.with(key, value.as_str());
        }
        let mut source = error.source();
        while let Some(cause) = source {
            failure = failure.with("cause", cause.to_string());
            source = cause.source();
        }
        let hint = error.hint().map(str::to_owned);
        failure.hint = hint.or(failure.hint).or_else(|| code.default_hint().map(str::to_owned));
        failure
    }

    /// An error of the key-value store.
    fn from_kv(error: &larder_kv::Error) -> Self {
        use larder_kv::ErrorKind;
        let mut failure = Self::new(ExitCode::of_kv(error.kind()), error.kind().to_string());
        for (key, value) in error.context() {
            failure = failure.with(key, value.as_str());
        }
        let mut source = error.source();
        while let Some(cause) = source {
            failure = failure.with("cause", cause.to_string());
            source = cause.source();
        }
        let advice = match error.kind() {
            ErrorKind::Locked { .. } => {
                Some("one process at a time has the file: end the other, or watch it with `larder kv watch`")
            }
            ErrorKind::Corrupted { .. } => {
                Some("`larder kv repair` saves what is sound, and keeps a copy of the damaged file")
            }
            ErrorKind::NotFound => Some("see the keys there are with `larder kv list`"),
            ErrorKind::Incompatible if error.hint().is_none() => {
                Some("is this the right file, and the right `--node`?")
            }
            ErrorKind::Io => Some("check the path, its permissions and the disk"),
            ErrorKind::Full => Some("make room on the disk and run the command again"),
            _ => None,
        };
        // Here, advice names commands.
        failure.hint = advice.or(error.hint()).map(str::to_owned);
        failure
    }

    /// A refused append explains itself.
    fn explain(&mut self, kind: &ErrorKind) {
        match kind {
            ErrorKind::Conflict { expected, actual } => {
                self.message = format!("conflict: the stream's head is {actual}, not {expected}");
                self.context.insert("expected".into(), (*expected).into());
                self.context.insert("actual".into(), (*actual).into());
                self.hint = Some(conflict_hint(*expected, *actual));
            }
            ErrorKind::ConditionFailed { matching } => {
                self.message = "condition failed: these events stand in the way, nothing was written".into();
                for event in matching {
                    let tags = event.tags.join(", ");
                    self.details.push(format!("position {}  {}  [{tags}]", event.position, event.event_type));
                }
                let events = matching.iter().map(
                    |event| json!({ "position": event.position, "type": event.event_type, "tags": event.tags }),
                );
                self.context.insert("matching".into(), events.collect());
                if let Some(last) = matching.last() {
                    self.hint = Some(format!(
                        "read them and decide again; if they are fine, append with `--after {}`{}",
                        last.position,
                        if matching.len() >= 10 { " or later (only the first 10 are shown)" } else { "" }
                    ));
                }
            }
            ErrorKind::InvalidArgument { field, .. } => {
                self.context.insert("field".into(), (*field).into());
            }
            ErrorKind::TooLarge { field, limit, actual } => {
                self.context.insert("field".into(), (*field).into());
                self.context.insert("limit".into(), (*limit).into());
                self.context.insert("actual".into(), (*actual).into());
            }
            ErrorKind::HistoryCompacted { through } => {
                self.context.insert("through".into(), through.get().into());
            }
            _ => {}
        }
    }

    /// One JSON object.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "kind": self.code.kind_name(),
            "message": self.message,
            "context": self.context,
            "hint": self.hint,
            "exit_code": self.code as u8,
        })
    }
}

fn is_broken_pipe(cause: &(dyn StdError + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Failure {}

/// What to do about a stream whose head is not the expected one.
fn conflict_hint(expected: u64, actual: u64) -> String {
    let written = match actual.checked_sub(expected) {
        None | Some(0) => {
            return format!("the stream is shorter than you believe; append with `--expect {actual}`");
        }
        Some(1) => format!("event {actual} first: read it"),
        Some(_) => format!("events {} to {actual} first: read them", expected + 1),
    };
    format!("somebody wrote {written}, decide again, append with `--expect {actual}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_tells_who_is_where() {
        let error = Error::new(ErrorKind::Conflict { expected: 2, actual: 5 });
        let failure = Failure::from_error(error.into()).unwrap();
        assert_eq!(failure.code, ExitCode::Conflict);
        assert_eq!(failure.context["actual"], 5);
        assert!(failure.hint.unwrap().starts_with("somebody wrote events 3 to 5 first: read them, decide"));
        assert!(conflict_hint(4, 5).starts_with("somebody wrote event 5 first: read it, decide"));
        assert!(conflict_hint(5, 2).starts_with("the stream is shorter than you believe"));
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(Failure::from_error(anyhow::Error::from(error).context("write")).is_none());
    }

    #[test]
    fn the_help_lists_every_code() {
        for code in [ExitCode::Findings, ExitCode::Locked, ExitCode::Unsupported, ExitCode::Interrupted] {
            let number = (code as u8).to_string();
            assert!(crate::exit_code::HELP.split_whitespace().any(|word| word == number), "{number}");
        }
    }
}
