//! Why a directory could not be copied.

use super::SnapshotDriver;
use crate::base::zfs::ZfsError;
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// Why a directory could not be copied, or a copy not be removed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// This driver cannot copy this directory.
    #[error("{driver} cannot copy {dir}: {why}\nhint: {hint}", dir = dir.display())]
    Impossible {
        /// The driver.
        driver: SnapshotDriver,
        /// The directory.
        dir: PathBuf,
        /// Why.
        why: String,
        /// What would help.
        hint: String,
    },
    /// The copy was to go to another file system.
    #[error(
        "{driver} copies within one file system: {to} is not on that of {dir}\nhint: {hint}",
        to = to.display(), dir = dir.display()
    )]
    Apart {
        /// The driver.
        driver: SnapshotDriver,
        /// What was to be copied.
        dir: PathBuf,
        /// To where.
        to: PathBuf,
        /// What would help.
        hint: String,
    },
    /// The place for the copy is not an empty directory of the run's own.
    #[error("{dir} is no place for a copy: {why}", dir = dir.display())]
    Place {
        /// The place.
        dir: PathBuf,
        /// Why not.
        why: String,
    },
    /// The name cannot be part of a dataset's.
    #[error("`{0}` cannot be the name of a copy\nhint: letters, digits, `-`, `_` and `.`, a letter or digit first")]
    Name(String),
    /// There is no room for it.
    #[error(
        "the file system is full: {path}: {said}\n\
         hint: remove other copies (each keeps what its origin has changed since), or make the file system larger",
        path = path.display()
    )]
    Full {
        /// What was being made.
        path: PathBuf,
        /// What the system said.
        said: String,
    },
    /// It does not say that it is the run's own.
    #[error("{what} was not touched: {why}")]
    NotOurs {
        /// What.
        what: String,
        /// How that shows.
        why: String,
    },
    /// ZFS refused.
    #[error(transparent)]
    Zfs(#[from] ZfsError),
    /// Whoever asked for the copy no longer wants it.
    #[error("the copy was broken off")]
    BrokenOff,
    /// A file of the system, of the directory or of the copy.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Copying failed, and so did removing what was half made.
    #[error("{cause}\nand what was half made of it could not be removed: {left}")]
    Left {
        /// Why copying failed.
        cause: Box<SnapshotError>,
        /// Why removing failed.
        left: Box<SnapshotError>,
    },
}

impl SnapshotError {
    /// For `map_err`: an error of the system, with the path that it is about. A full one is told apart.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> SnapshotError + use<> {
        let path = path.to_owned();
        move |source| match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => SnapshotError::Full { path, said: source.to_string() },
            _ => SnapshotError::Io { path, source },
        }
    }
}
