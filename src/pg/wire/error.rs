//! What can go wrong on a [`Wire`](super::Wire), told apart by what the caller may conclude from it.

use super::answer::SqlState;
use postgres_protocol::message::backend::{ErrorFields, Message};
use std::fmt;
use std::io;
use std::time::Duration;

/// Why an operation on a [`Wire`](super::Wire) failed.
///
/// Only [`WireError::Server`] leaves a usable connection. [`WireError::Unknown`] is the one after which
/// nobody knows whether the statement took effect.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Nothing listens there, or the network says so.
    #[error("cannot reach {host}:{port}: {source}")]
    Unreachable {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// Not connected and logged in within the limit.
    #[error("{host}:{port} did not complete the login within {limit:?}")]
    NoAnswer {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// How long was waited.
        limit: Duration,
    },
    /// The server refused the session: the password is wrong, the database is missing, it is starting, stopping, full.
    #[error("{host}:{port} takes no connection: {source}")]
    Refused {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// What it said.
        source: Box<ServerError>,
    },
    /// The two sides could not agree on a login: a method that is not spoken here, or a server that failed SCRAM's proof.
    #[error("cannot log in to {host}:{port}: {reason}")]
    Authentication {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// What was wrong.
        reason: String,
    },
    /// The statement failed for certain; the session is usable.
    #[error("{0}")]
    Server(Box<ServerError>),
    /// The connection was found broken before anything of the request was sent: the statement did not run.
    #[error("connection lost before the statement was sent: {0}")]
    NotSent(Lost),
    /// The request was sent, its answer did not come in full: whether the statement took effect is not known.
    #[error("connection lost after the statement was sent: {0}")]
    Unknown(Lost),
}

impl WireError {
    /// The server's SQLSTATE; for a lost connection without one `08006`, for one that never came about `08001`;
    /// `None` for a time-out.
    pub fn sqlstate(&self) -> Option<SqlState> {
        match self {
            WireError::Refused { source, .. } | WireError::Server(source) => Some(source.sqlstate),
            WireError::Unreachable { .. } | WireError::Authentication { .. } => Some(SqlState(*b"08001")),
            WireError::NoAnswer { .. } => None,
            WireError::NotSent(lost) | WireError::Unknown(lost) => match lost {
                Lost::Fatal(fatal) => Some(fatal.sqlstate),
                Lost::TimedOut => None,
                Lost::Closed | Lost::Io(_) | Lost::Abandoned | Lost::Garbled(_) => Some(SqlState(*b"08006")),
            },
        }
    }

    /// Whether the connection can still be used.
    pub fn is_usable(&self) -> bool {
        matches!(self, WireError::Server(_))
    }

    /// Whether it was the login that failed, so that trying again is of no use (SQLSTATE class 28).
    pub fn is_authentication(&self) -> bool {
        match self {
            WireError::Authentication { .. } => true,
            WireError::Refused { source, .. } => source.sqlstate.as_str().starts_with("28"),
            _ => false,
        }
    }
}

/// How a connection was lost.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The server closed it without a word.
    #[error("the server closed it")]
    Closed,
    /// The server ended the session with a FATAL or PANIC message.
    #[error("{0}")]
    Fatal(Box<ServerError>),
    /// The network said so.
    #[error("{0}")]
    Io(io::Error),
    /// The deadline passed.
    #[error("timed out")]
    TimedOut,
    /// An earlier operation was dropped while it waited for its answer.
    #[error("an earlier statement was abandoned half-way")]
    Abandoned,
    /// The server sent what does not belong here.
    #[error("{0}")]
    Garbled(String),
}

/// An ErrorResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`, not translated.
    pub severity: String,
    /// The SQLSTATE.
    pub sqlstate: SqlState,
    /// The primary message.
    pub message: String,
    /// The server's hint.
    pub hint: Option<String>,
}

impl ServerError {
    /// Reads a whole ErrorResponse or NoticeResponse frame, header included.
    pub(super) fn read(frame: &[u8]) -> io::Result<ServerError> {
        match Message::parse(&mut frame.into())? {
            Some(Message::ErrorResponse(body)) => ServerError::collect(body.fields()),
            Some(Message::NoticeResponse(body)) => ServerError::collect(body.fields()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not an error response")),
        }
    }

    fn collect(mut fields: ErrorFields<'_>) -> io::Result<ServerError> {
        use fallible_iterator::FallibleIterator;
        let mut error =
            ServerError { severity: String::new(), sqlstate: SqlState(*b"XX000"), message: String::new(), hint: None };
        while let Some(field) = fields.next()? {
            let text = String::from_utf8_lossy(field.value_bytes());
            match field.type_() {
                // `V` is `S` untranslated; it has been sent since PostgreSQL 9.6.
                b'V' => error.severity = text.into_owned(),
                b'C' => error.sqlstate = SqlState::read(field.value_bytes()),
                b'M' => error.message = text.into_owned(),
                b'H' => error.hint = Some(text.into_owned()),
                _ => {}
            }
        }
        Ok(error)
    }

    /// Whether the session ends with it.
    pub fn is_fatal(&self) -> bool {
        self.severity == "FATAL" || self.severity == "PANIC"
    }
}

impl std::error::Error for ServerError {}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity, self.sqlstate, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}
