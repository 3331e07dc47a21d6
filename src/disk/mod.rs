//! Disks of the run's own: a small file system for a node, filled to the brim, and the speed at which a
//! server may read and write. All of it needs root, and says so.

pub mod ballast;
pub mod cgroup;
pub mod format;
pub mod mount;
mod pool;
mod possible;
pub mod throttle;

use crate::base::tool::ToolError;
use crate::base::zfs::ZfsError;
pub use format::{Format, OwnDisk};
use std::io;
use std::path::PathBuf;

/// Why something about a disk could not be done.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A program is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// ZFS refused.
    #[error(transparent)]
    Zfs(#[from] ZfsError),
    /// A file of the system, or the inventory.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The machine does not offer it.
    #[error("{what}\nhint: {hint}")]
    Impossible {
        /// What is missing.
        what: String,
        /// What would help.
        hint: &'static str,
    },
    /// What could not be undone.
    #[error("{0}")]
    Left(String),
}

impl DiskError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> DiskError {
        let path = path.into();
        move |source| DiskError::Io { path, source }
    }
}

/// Runs what blocks where it hinders nobody.
async fn aside<T: Send + 'static>(
    path: &std::path::Path,
    action: impl FnOnce() -> Result<T, DiskError> + Send + 'static,
) -> Result<T, DiskError> {
    let joined = tokio::task::spawn_blocking(action).await;
    joined.unwrap_or_else(|error| Err(DiskError::io(path)(io::Error::other(error))))
}
