//! A copy of a directory.

use super::{SnapshotDriver, SnapshotError, Symlink, aside, extents};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A copy of a directory. Dropping it removes nothing; [`Copied::destroy`] does.
#[derive(Clone, Debug)]
pub struct Copied {
    place: Place,
    symlinks: Vec<Symlink>,
}

/// Where a copy is, and of which driver: enough to find it again in another process, to ask for its space and to
/// destroy it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    driver: SnapshotDriver,
    /// All that was copied.
    root: PathBuf,
    /// The data directory: the root, or deeper in it.
    data: PathBuf,
}

impl Copied {
    pub(super) fn new(place: Place, symlinks: Vec<Symlink>) -> Copied {
        Copied { place, symlinks }
    }

    /// Where it is, for another process.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its driver.
    pub fn driver(&self) -> SnapshotDriver {
        self.place.driver
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.place.data
    }

    /// The symbolic links in it: all where it was made file by file, else those in the data directory itself and in
    /// `pg_tblspc`. They say what the original's said.
    pub fn symlinks(&self) -> &[Symlink] {
        &self.symlinks
    }

    /// See [`Place::space`].
    pub async fn space(&self) -> Result<Option<u64>, SnapshotError> {
        self.place.space().await
    }

    /// See [`Place::destroy`].
    pub async fn destroy(&self) -> Result<(), SnapshotError> {
        self.place.destroy().await
    }
}

impl Place {
    pub(super) fn new(driver: SnapshotDriver, root: PathBuf, deeper: &Path) -> Place {
        let data = root.join(deeper);
        Place { driver, root, data }
    }

    /// All that was copied: the data directory, and what lies beside and above it in the same subvolume or dataset.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Bytes that would be free again without the copy. Of `copy`, the blocks of its files; of `reflink`, those that it
    /// shares with nobody, without what was written but has no place on disk yet. Absent where the file system does not
    /// tell.
    pub async fn space(&self) -> Result<Option<u64>, SnapshotError> {
        let (driver, root) = (self.driver, self.root.clone());
        aside(move || match driver {
            SnapshotDriver::Reflink => extents::unshared(&root),
            SnapshotDriver::Copy => blocks(&root).map(Some),
        })
        .await
    }

    /// Removes it; what is gone is fine. The directory that holds it stays, with its mark.
    pub async fn destroy(&self) -> Result<(), SnapshotError> {
        let root = self.root.clone();
        aside(move || match fs::remove_dir_all(&root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SnapshotError::at(&root)(error)),
            _ => Ok(()),
        })
        .await
    }
}

/// What the files of a directory take up on disk, in bytes.
fn blocks(root: &Path) -> Result<u64, SnapshotError> {
    let mut bytes = 0;
    super::each_file(root, &mut |path, _| {
        // In units of 512 bytes, whatever the file system's own are (stat(2)).
        bytes += fs::symlink_metadata(path)?.blocks() * 512;
        Ok(())
    })?;
    Ok(bytes)
}
