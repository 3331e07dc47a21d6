//! A copy of a directory.

use super::label::State;
use super::zfs::Pair;
use super::{SnapshotDriver, SnapshotError, Symlink, aside, extents};
use crate::base::inventory::{Id, Inventory, MARK};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A copy of a directory. Dropping it removes nothing; [`Copied::destroy`] does, or cleaning by the inventory.
#[derive(Clone, Debug)]
pub struct Copied {
    place: Place,
    pub(super) symlinks: Vec<Symlink>,
    /// What of it stands in the inventory beside the directory that holds it.
    entries: Vec<Id>,
    inventory: Arc<Inventory>,
}

/// Where a copy is, and of which driver: enough to find it again in another process, to ask for its space and to
/// destroy it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The run whose it is.
    run: String,
    kind: Kind,
    /// All that was copied.
    root: PathBuf,
    /// The data directory: the root, or deeper in it.
    data: PathBuf,
}

/// What it consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Zfs(Pair),
    Btrfs,
    Reflink,
    Copy,
}

impl Copied {
    /// Names what is about to be made.
    pub(super) fn begin(place: Place, inventory: &Arc<Inventory>) -> Result<Copied, SnapshotError> {
        let entries = match &place.kind {
            Kind::Zfs(pair) => pair.enter(&place.root, inventory)?,
            Kind::Btrfs | Kind::Reflink | Kind::Copy => Vec::new(),
        };
        Ok(Copied { place, symlinks: Vec::new(), entries, inventory: inventory.clone() })
    }

    /// Where it is, for another process.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its driver.
    pub fn driver(&self) -> SnapshotDriver {
        self.place.driver()
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

    /// See [`Place::say`].
    pub async fn say(&self, state: State) -> Result<(), SnapshotError> {
        self.place.say(state).await
    }

    /// Removes it; see [`Place::destroy`].
    pub async fn destroy(&self) -> Result<(), SnapshotError> {
        self.place.destroy().await?;
        self.forget()
    }

    /// Marks what belongs to it as meant to stay when the run ends. The directory that holds it is the caller's to mark.
    pub fn keep(&self) -> Result<(), SnapshotError> {
        let kept = self.entries.iter().try_for_each(|&entry| self.inventory.keep(entry));
        kept.map_err(SnapshotError::at(self.inventory.path()))
    }

    /// Marks what was named for it as gone.
    pub(super) fn forget(&self) -> Result<(), SnapshotError> {
        // Backwards, as it is undone.
        let gone = self.entries.iter().rev().try_for_each(|&entry| self.inventory.gone(entry));
        gone.map_err(SnapshotError::at(self.inventory.path()))
    }
}

impl Place {
    pub(super) fn new(run: &str, kind: Kind, root: PathBuf, deeper: &Path) -> Place {
        // Joining nothing would add a slash.
        let data = if deeper.as_os_str().is_empty() { root.clone() } else { root.join(deeper) };
        Place { run: run.to_owned(), kind, root, data }
    }

    /// Its driver.
    pub fn driver(&self) -> SnapshotDriver {
        match self.kind {
            Kind::Zfs(_) => SnapshotDriver::Zfs,
            Kind::Btrfs => SnapshotDriver::Btrfs,
            Kind::Reflink => SnapshotDriver::Reflink,
            Kind::Copy => SnapshotDriver::Copy,
        }
    }

    /// All that was copied: the data directory, and what lies beside and above it in the same subvolume or dataset.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Bytes that would be free again without the copy, as far as the file system knows. Of `zfs`, what the clone has
    /// used (as of the last transaction group, some seconds ago), and not what its snapshot keeps of the original. Of
    /// `btrfs` and `reflink`, the extents of its files that nobody shares; what was written and has no place on disk yet
    /// is not among them. Of `copy`, the blocks of its files. Absent where the file system does not tell.
    pub async fn space(&self) -> Result<Option<u64>, SnapshotError> {
        let Place { kind, data, .. } = self.clone();
        aside(move || match kind {
            Kind::Zfs(pair) => pair.space(),
            // Of the data directory alone: what else is in the subvolume may be a whole system.
            Kind::Btrfs | Kind::Reflink => extents::unshared(&data),
            Kind::Copy => blocks(&data).map(Some),
        })
        .await
    }

    /// Lets it say how far it is, where the file system can keep that; what is gone says nothing.
    pub async fn say(&self, state: State) -> Result<(), SnapshotError> {
        let Place { kind: Kind::Zfs(pair), run, .. } = self.clone() else { return Ok(()) };
        aside(move || pair.say(state, &run)).await
    }

    /// Removes it; what is gone is fine. The directory that holds it stays, with its mark. Nothing may run on it any
    /// more. Only what lies in a directory with the run's mark, and of ZFS only what says by its property that it is the
    /// run's, is removed. btrfs frees the blocks after this has returned.
    pub async fn destroy(&self) -> Result<(), SnapshotError> {
        let place = self.clone();
        aside(move || place.destroy_here()).await
    }

    fn destroy_here(&self) -> Result<(), SnapshotError> {
        if let Kind::Zfs(pair) = &self.kind {
            pair.destroy(&self.run)?;
        }
        if self.root.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(());
        }
        let mark = self.root.with_file_name(MARK);
        let not_ours = |why: String| {
            let what = format!("what lies in {}", self.root.display());
            Err(SnapshotError::NotOurs { what, why })
        };
        match fs::read_to_string(&mark) {
            Ok(run) if run == self.run => {}
            Ok(run) => return not_ours(format!("the mark beside it names run {run}")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return not_ours("no mark is beside it".to_owned());
            }
            Err(error) => return Err(SnapshotError::at(&mark)(error)),
        }
        match self.kind {
            // Where the clone was mounted is empty now.
            Kind::Zfs(_) => fs::remove_dir(&self.root),
            Kind::Btrfs | Kind::Reflink | Kind::Copy => super::remove(&self.root),
        }
        .map_err(SnapshotError::at(&self.root))
    }
}

/// What the files of a directory take up on disk, in bytes.
pub fn blocks(root: &Path) -> Result<u64, SnapshotError> {
    let mut bytes = 0;
    super::each_file(root, &mut |path, _| {
        // In units of 512 bytes, whatever the file system's own are (stat(2)).
        bytes += fs::symlink_metadata(path)?.blocks() * 512;
        Ok(())
    })?;
    Ok(bytes)
}
