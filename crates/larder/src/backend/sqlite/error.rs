//! SQLite's errors in the store's terms.

use rusqlite::{Error as SqliteError, ErrorCode};

use crate::error::{Error, ErrorKind};

/// What SQLite's error means to a caller, when nothing was written.
pub(super) fn translate(error: SqliteError) -> Error {
    Error::new(kind_of(&error)).caused_by(error)
}

fn kind_of(error: &SqliteError) -> ErrorKind {
    match error {
        SqliteError::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
                ErrorKind::Locked
            }
            ErrorCode::DiskFull => ErrorKind::Full,
            ErrorCode::ReadOnly => ErrorKind::ReadOnly,
            ErrorCode::DatabaseCorrupt | ErrorCode::ConstraintViolation => ErrorKind::Corrupted,
            ErrorCode::NotADatabase => ErrorKind::Incompatible,
            _ => ErrorKind::Io,
        },
        // A column of another type, a row that must be there and is not: what is stored is not what was written.
        SqliteError::FromSqlConversionFailure(..)
        | SqliteError::IntegralValueOutOfRange(..)
        | SqliteError::InvalidColumnType(..)
        | SqliteError::Utf8Error(..)
        | SqliteError::QueryReturnedNoRows => ErrorKind::Corrupted,
        _ => ErrorKind::Io,
    }
}

/// Whether SQLite says that the disk is full.
pub(super) fn is_full(error: &SqliteError) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

impl From<SqliteError> for Error {
    fn from(error: SqliteError) -> Self {
        translate(error)
    }
}
