//! The one table from what went wrong to the process's exit code and to the advice that is given by default.

use larder::ErrorKind;

/// How a command ends. The numbers are documented in `docs/cli.md` and stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitCode {
    Success = 0,
    /// `verify` found something wrong.
    Findings = 1,
    /// A bad command line, name, number or text; clap uses the same number.
    InvalidArgument = 2,
    NotFound = 3,
    Conflict = 4,
    ConditionFailed = 5,
    AlreadyExists = 6,
    TooLarge = 7,
    /// A row of an import, or a line of an export, that cannot be taken.
    BadInput = 8,
    Decode = 9,
    HistoryCompacted = 10,
    WrongKey = 11,
    /// Compaction beyond the checkpoint of a projection that reads the log.
    ProjectionBehind = 12,
    LeaseLost = 13,
    Locked = 20,
    Full = 21,
    ReadOnly = 22,
    Closed = 23,
    Poisoned = 24,
    CommitUnknown = 25,
    Io = 26,
    Corrupted = 30,
    Incompatible = 31,
    Unsupported = 32,
    /// Ended by Ctrl-C before the work was done.
    Interrupted = 130,
}

impl ExitCode {
    /// The code for an error of the library.
    pub(crate) fn of(kind: &ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidArgument { .. } => Self::InvalidArgument,
            ErrorKind::TooLarge { .. } => Self::TooLarge,
            ErrorKind::Conflict { .. } => Self::Conflict,
            ErrorKind::ConditionFailed { .. } => Self::ConditionFailed,
            ErrorKind::AlreadyExists => Self::AlreadyExists,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::HistoryCompacted { .. } => Self::HistoryCompacted,
            ErrorKind::Decode => Self::Decode,
            ErrorKind::WrongKey { .. } => Self::WrongKey,
            ErrorKind::ProjectionBehind { .. } => Self::ProjectionBehind,
            ErrorKind::LeaseLost => Self::LeaseLost,
            ErrorKind::Locked => Self::Locked,
            ErrorKind::Full => Self::Full,
            ErrorKind::ReadOnly => Self::ReadOnly,
            ErrorKind::Closed => Self::Closed,
            ErrorKind::Corrupted => Self::Corrupted,
            ErrorKind::CommitUnknown => Self::CommitUnknown,
            ErrorKind::Poisoned => Self::Poisoned,
            ErrorKind::Incompatible => Self::Incompatible,
            ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Io,
        }
    }

    /// The code for an error of the key-value store.
    pub(crate) fn of_kv(kind: &larder_kv::ErrorKind) -> Self {
        use larder_kv::ErrorKind;
        match kind {
            ErrorKind::InvalidArgument { .. } => Self::InvalidArgument,
            ErrorKind::TooLarge { .. } => Self::TooLarge,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Locked { .. } => Self::Locked,
            ErrorKind::Full => Self::Full,
            ErrorKind::Closed => Self::Closed,
            ErrorKind::Corrupted { .. } => Self::Corrupted,
            ErrorKind::CommitUnknown => Self::CommitUnknown,
            ErrorKind::Poisoned => Self::Poisoned,
            ErrorKind::Incompatible => Self::Incompatible,
            _ => Self::Io,
        }
    }

    /// The name of the kind of failure, as `--json` shows it.
    pub(crate) fn kind_name(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Findings => "Findings",
            Self::InvalidArgument => "InvalidArgument",
            Self::NotFound => "NotFound",
            Self::Conflict => "Conflict",
            Self::ConditionFailed => "ConditionFailed",
            Self::AlreadyExists => "AlreadyExists",
            Self::TooLarge => "TooLarge",
            Self::BadInput => "BadInput",
            Self::Decode => "Decode",
            Self::HistoryCompacted => "HistoryCompacted",
            Self::WrongKey => "WrongKey",
            Self::ProjectionBehind => "ProjectionBehind",
            Self::LeaseLost => "LeaseLost",
            Self::Locked => "Locked",
            Self::Full => "Full",
            Self::ReadOnly => "ReadOnly",
            Self::Closed => "Closed",
            Self::Poisoned => "Poisoned",
            Self::CommitUnknown => "CommitUnknown",
            Self::Io => "Io",
            Self::Corrupted => "Corrupted",
            Self::Incompatible => "Incompatible",
            Self::Unsupported => "Unsupported",
            Self::Interrupted => "Interrupted",
        }
    }

    /// What to do about it, when the error itself does not say.
    pub(crate) fn default_hint(self) -> Option<&'static str> {
        Some(match self {
            Self::Locked => {
                "another process is writing; try again, or wait longer with `--store 'sqlite:PATH?busy_timeout=30000'`"
            }
            Self::TooLarge => "keep what is large in a file of its own, and let the event name it",
            Self::Io => "check the path, its permissions and the disk",
            Self::Full => "make room on the disk and run the command again",
            Self::ReadOnly => "leave `mode=ro` out of the store's URL, and check the file's permissions",
            Self::CommitUnknown => "look with `larder read` whether it was written before you repeat it",
            Self::Corrupted => "see everything that is damaged with `larder verify`; restore from a backup",
            Self::Incompatible => "is this the right file? `larder import` takes data from other places",
            Self::Poisoned => "run the command again: each run opens the store anew",
            Self::Unsupported => "use a store in a file: `--store sqlite:PATH`",
            Self::AlreadyExists => "the id was used before for something else; give a new event a new id",
            _ => return None,
        })
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// The table as `larder help` shows it.
pub(crate) const HELP: &str = "\
Exit codes:
   0  success
   1  `verify` found something wrong
   2  InvalidArgument: a bad command line, name, number or text
   3  NotFound               4  Conflict              5  ConditionFailed
   6  AlreadyExists          7  TooLarge              8  BadInput: a row or line of a file
   9  Decode                10  HistoryCompacted      11  WrongKey
  12  ProjectionBehind      13  LeaseLost
  20  Locked                21  Full                 22  ReadOnly
  23  Closed                24  Poisoned             25  CommitUnknown
  26  Io                    30  Corrupted            31  Incompatible
  32  Unsupported          130  Interrupted by Ctrl-C";
