//! Why there is no clone.

use super::fence::FenceError;
use super::identity::Stranger;
use super::phase::Phase;
use super::protocol::Refused;
use crate::base::exec::CommandError;
use crate::base::units::Size;
use crate::driver::MakeError;
use crate::driver::outcome::SignalError;
use crate::driver::start::{StartError, whole};
use crate::pg::Lsn;
use crate::pg::connect::{ConnectError, in_words};
use crate::pg::control::ControlError;
use crate::pg::version::{Major, Version};
use crate::snapshot::SnapshotError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a source cannot be cloned as it is.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be asked.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It refused a statement.
    #[error("{node}: {what}: {}", in_words(source))]
    Sql {
        /// The source.
        node: String,
        /// What was done.
        what: &'static str,
        /// What the server said.
        source: tokio_postgres::Error,
    },
    /// The directory is another's.
    #[error(transparent)]
    Stranger(#[from] Stranger),
    /// The directory's control file cannot be read.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The directory is of another version.
    #[error("{dir} is of PostgreSQL {found}, and the clone's programs are of {made}\nhint: {hint}", dir = dir.display())]
    Version {
        /// The directory.
        dir: PathBuf,
        /// What its `PG_VERSION` says.
        found: String,
        /// What would run on its clone.
        made: Major,
        /// What would help.
        hint: String,
    },
    /// Another user's.
    #[error("{dir} belongs to the user with id {owner}, and the clone's server would run as {user}\nhint: {hint}", dir = dir.display())]
    Owner {
        /// The directory.
        dir: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user of the clone's server.
        user: u32,
        /// What would help.
        hint: &'static str,
    },
    /// Part of it lies elsewhere.
    #[error(
        "{what} of {dir} leads to {target}: the clone's server would write there, into the source's own files\n\
         hint: {hint}", dir = dir.display(), target = target.display()
    )]
    Leaves {
        /// What does.
        what: String,
        /// The data directory.
        dir: PathBuf,
        /// To where.
        target: PathBuf,
        /// What would help.
        hint: &'static str,
    },
    /// Something that was needed is not there.
    #[error("{dir}: {why}", dir = dir.display())]
    Unfit {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The version cannot do it.
    #[error("PostgreSQL {0} has no {1}")]
    TooOld(Version, &'static str),
}

/// Why there is no clone.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// The source cannot be cloned as it is.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What was asked for cannot be made whole.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is too little room.
    #[error(
        "{path} has {free} free; the copy takes about {needed}, and {reserve} is to be left to the source\n\
         hint: remove other clones, let `reserve` be less, or name another place", path = path.display()
    )]
    Room {
        /// Where the copy would go.
        path: PathBuf,
        /// What is free there.
        free: Size,
        /// What the copy takes at once.
        needed: Size,
        /// What must be left.
        reserve: Size,
    },
    /// Nothing limits a directory of plain files.
    #[error(
        "`basebackup` cannot limit what a clone has of its own\n\
         hint: put the source on ZFS and let `method` be `zfs`, or leave `quota` out"
    )]
    NoQuota,
    /// Precooked clones come from a base, and others do not.
    #[error(
        "a clone of the mode `precooked` comes from a base, and one of another mode from a server\n\
         hint: cook a base first, with `Base::cook`, and clone that"
    )]
    Base,
    /// The recipe asks for settings that the server would not take.
    #[error("{}", .0.join("\n"))]
    Settings(Vec<String>),
    /// The directory could not be copied.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The copy is not what it must be.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// A program is not there.
    #[error("there is no `{0}` on this machine\nhint: apt-get install postgresql, of version 14 or later")]
    NoProgram(&'static str),
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// WAL that the copy needs is gone.
    #[error(
        "the copy needs the WAL segment {segment}, and {dir} no longer has it\n\
         hint: set `wal_keep_size` on the source, or leave it a free replication slot (`max_replication_slots`)",
        dir = dir.display()
    )]
    NoWal {
        /// Its name.
        segment: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// What the server wrote of the backup is not understood.
    #[error("the backup's label says nothing of {0}")]
    Label(&'static str),
    /// A server could not be made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// The clone's server did not start.
    #[error(transparent)]
    Start(Box<StartError>),
    /// Processes did not do as told.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// The clone refused a statement.
    #[error("clone `{clone}`: {what}: {}", in_words(source))]
    Sql {
        /// The clone.
        clone: String,
        /// What was done.
        what: &'static str,
        /// What the server said.
        source: tokio_postgres::Error,
    },
    /// The clone takes no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It came up and is not consistent.
    #[error(
        "the clone recovered up to {reached}, and is consistent only from {needed} on\n\
         hint: WAL of the source was missing from the copy"
    )]
    Short {
        /// How far it came.
        reached: Lsn,
        /// How far it had to come.
        needed: Lsn,
    },
    /// A file or directory could not be made.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Whoever asked for it no longer wants it.
    #[error("the clone was no longer wanted{}", .0.map(|phase| format!(", in its phase `{phase}`")).unwrap_or_default())]
    Unwanted(Option<Phase>),
    /// The task that made it ended without a word.
    #[error("making the clone broke off: {0}")]
    Broke(String),
    /// There is none, and not all of it could be removed.
    #[error("{}\nand then not everything of it could be removed: {}\nhint: `pgbench-rs clean` lists what is left", whole(cause), left.join("; "))]
    Left {
        /// Why there is none.
        cause: Box<CloneError>,
        /// What is left, and why.
        left: Vec<String>,
    },
}

/// For `map_err`: an error of the system, with the path that it is about.
pub(super) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> CloneError + use<> {
    let path = path.to_owned();
    move |source| CloneError::Io { path, source }
}
