//! How a data directory is copied so quickly that nobody notices: [`SnapshotDriver`]. A driver says what its copies are
//! worth ([`Capabilities`]); what must be done to a live server before, that its copy can be believed, follows from
//! that and is decided by whoever asks for the copy. [`choose`](choose::choose) finds the best driver for a directory.
//!
//! [`Origin`] is the directory that is copied, into which nothing is ever written; [`Copied`] is a copy, within a marked
//! directory of the run's own:
//!
//! ```text
//! <dir>/                 made by the caller with `Inventory::directory`
//!   .pgbench-rs          the mark
//!   data/                the copy; of btrfs a subvolume, of ZFS where the clone is mounted
//!     …/                 the data directory, when the origin lies deeper in its subvolume or dataset
//! ```

mod btrfs;
pub mod choose;
mod copied;
mod copy;
mod directory;
mod error;
mod extents;
pub mod label;
mod origin;
mod reflink;
mod symlink;
mod walk;
mod zfs;

pub use copied::{Copied, Place, blocks};
pub use directory::{OwnDataset, directory};
pub use error::SnapshotError;
pub use origin::Origin;
pub use symlink::Symlink;
pub use walk::Skip;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, FileType};
use std::io;
use std::path::Path;
use std::time::Duration;

/// How a directory is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotDriver {
    /// A snapshot of the dataset, and a clone of that.
    Zfs,
    /// A writable snapshot of the subvolume.
    Btrfs,
    /// Each file shares its blocks with the original (FICLONE).
    Reflink,
    /// All bytes are read and written.
    Copy,
}

impl fmt::Display for SnapshotDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a driver's copies of a directory that is being written to are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The copy is of one instant, over all files.
    pub atomic: bool,
    /// Of two writes, the copy never has the later one without the earlier, even when neither was flushed. A copy that
    /// is atomic and does not keep the order is one as a power cut leaves it: good for a server with `fsync` on.
    pub keeps_write_order: bool,
    /// What of the original's blocks it shares.
    pub shares_blocks: Sharing,
    /// What the original has in memory need not be read from disk again for the copy.
    pub shares_cache: bool,
    /// The file system can limit how many bytes of its own one copy may have.
    pub quota: bool,
}

impl Capabilities {
    /// Whether a copy of a running server needs the backup interface (`pg_backup_start`), or a server that is stopped
    /// or frozen meanwhile.
    pub fn needs_backup(&self) -> bool {
        !self.atomic
    }
}

/// What a copy shares of the original's blocks, until one of the two writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// Nothing: it takes as much room as the original.
    Nothing,
    /// All of each file; the time it takes grows with their number.
    EachFile,
    /// All of the directory, however large.
    Whole,
}

/// How long the steps of a copy took; absent where there is no such step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// Holding the instant: ZFS's snapshot; btrfs's, which is the copy already.
    pub snapshot: Option<Duration>,
    /// Making a directory of it: ZFS's clone and its mount; walking over the files.
    pub clone: Option<Duration>,
}

impl SnapshotDriver {
    /// All of them, the best first.
    pub const ALL: [SnapshotDriver; 4] =
        [SnapshotDriver::Zfs, SnapshotDriver::Btrfs, SnapshotDriver::Reflink, SnapshotDriver::Copy];

    /// Its name, as scenarios and options have it.
    pub fn name(self) -> &'static str {
        match self {
            SnapshotDriver::Zfs => "zfs",
            SnapshotDriver::Btrfs => "btrfs",
            SnapshotDriver::Reflink => "reflink",
            SnapshotDriver::Copy => "copy",
        }
    }

    /// What its copies are worth.
    pub fn capabilities(self) -> Capabilities {
        match self {
            SnapshotDriver::Zfs => zfs::CAPABILITIES,
            SnapshotDriver::Btrfs => btrfs::CAPABILITIES,
            SnapshotDriver::Reflink => reflink::CAPABILITIES,
            SnapshotDriver::Copy => copy::CAPABILITIES,
        }
    }
}

/// Removes a directory and all that is in it; what is gone is fine. A btrfs subvolume goes as a whole, without a walk.
pub fn remove(dir: &Path) -> io::Result<()> {
    btrfs::remove(dir)
}

/// Runs what blocks where it hinders nobody.
async fn aside<T: Send + 'static>(
    action: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    let joined = tokio::task::spawn_blocking(action).await;
    joined.unwrap_or_else(|error| Err(SnapshotError::at(Path::new("copying"))(io::Error::other(error))))
}

/// Calls `with` for everything below a directory that is no directory. What vanishes meanwhile is passed over.
fn each_file(dir: &Path, with: &mut dyn FnMut(&Path, FileType) -> io::Result<()>) -> Result<(), SnapshotError> {
    let vanished = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(dir) {
        Err(error) if vanished(&error) => return Ok(()),
        entries => entries.map_err(SnapshotError::at(dir))?,
    };
    for entry in entries {
        let entry = entry.map_err(SnapshotError::at(dir))?;
        let path = entry.path();
        let done = match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                each_file(&path, with)?;
                continue;
            }
            kind => kind.and_then(|kind| with(&path, kind)),
        };
        match done {
            Err(error) if !vanished(&error) => return Err(SnapshotError::at(&path)(error)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_it_is_called() {
        for driver in SnapshotDriver::ALL {
            assert_eq!(serde_json::to_value(driver).unwrap(), driver.name());
            assert_eq!(driver.to_string(), driver.name());
        }
    }

    #[test]
    fn whoever_keeps_the_order_is_atomic() {
        for driver in SnapshotDriver::ALL {
            let its = driver.capabilities();
            assert!(its.atomic || !its.keeps_write_order, "{driver}");
            assert_eq!(its.needs_backup(), !its.atomic);
        }
    }
}
