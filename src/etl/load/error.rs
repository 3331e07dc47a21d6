//! Why a load failed.

use crate::etl::source::SourceError;
use crate::pg::connect::{ConnectError, in_words};
use std::io;
use std::path::PathBuf;

/// Why a load failed. What was complete stays; [`resume`](super::Existing::Resume) goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The server cannot be reached, or refuses the login.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The rows cannot be had.
    #[error("{table}: {source}")]
    Source {
        /// Whose.
        table: String,
        /// Why.
        source: SourceError,
    },
    /// The server refuses a statement.
    #[error("{doing}: {}", in_words(.source))]
    Sql {
        /// What was done, and to which table.
        doing: String,
        /// What it said.
        source: tokio_postgres::Error,
    },
    /// The server cannot be loaded into.
    #[error("{0}")]
    Server(String),
    /// Tables are there already.
    #[error(
        "there already: {}\nhint: `resume` keeps what a load of the same data completed, `drop` begins anew", .0.join(", ")
    )]
    Exists(Vec<String>),
    /// A table that is there is not what this load would make.
    #[error("table {table} is there already, and {why}\nhint: `drop` begins anew")]
    Other {
        /// The table.
        table: String,
        /// What is otherwise.
        why: &'static str,
    },
    /// A setting that cannot be had.
    #[error("setting {name}: {why}")]
    Setting {
        /// Its name.
        name: String,
        /// Why not.
        why: String,
    },
    /// Too many rows are rejected.
    #[error("more than {limit} rejected rows{}\nhint: look whether these are the right files, or raise max_rejects", last_of(.last))]
    TooMany {
        /// So many are allowed.
        limit: u64,
        /// The table and the reason of the last.
        last: Option<(String, String)>,
    },
    /// The rejects cannot be written.
    #[error("{}: {why}", .path.display())]
    Rejects {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// The server counts other rows than were sent.
    #[error("{table}: {sent} rows were sent, and the server says that it took {taken}")]
    Count {
        /// The table.
        table: String,
        /// Rows sent.
        sent: u64,
        /// Rows that it took.
        taken: u64,
    },
    /// What loads ended without saying why.
    #[error("{0}")]
    Broken(String),
    /// It was asked to stop.
    #[error("interrupted\nhint: `resume` goes on with what is complete")]
    Interrupted,
}

fn last_of(last: &Option<(String, String)>) -> String {
    last.as_ref().map(|(table, reason)| format!("; the last in {table}: {reason}")).unwrap_or_default()
}

/// Says what was being done when a statement failed.
pub(super) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, LoadError>;
}

impl<T> Doing<T> for Result<T, tokio_postgres::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, LoadError> {
        self.map_err(|source| LoadError::Sql { doing: what(), source })
    }
}
