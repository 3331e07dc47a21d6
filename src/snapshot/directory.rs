//! A new directory that can be cloned as well as its file system allows: a subvolume on btrfs, a dataset on ZFS, else a
//! plain one.

use super::origin::{mounts, over};
use super::{SnapshotError, aside, btrfs};
use crate::base::inventory::{Id, Inventory, Thing};
use crate::base::tool::ZFS;
use crate::base::zfs::{self, KINDS, RUN};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A dataset that is a directory of the run's own. Dropping it destroys nothing; [`OwnDataset::destroy`] does, or cleaning
/// by the inventory.
#[derive(Debug)]
pub struct OwnDataset {
    name: String,
    entry: Id,
    inventory: Arc<Inventory>,
}

/// Makes the empty directory `path`, whose parent is a directory of the run. A subvolume is removed with its parent; a
/// dataset, which is returned, must be destroyed before.
///
/// A dataset inherits everything from the one that its parent lies on, the record size, too: PostgreSQL's pages of 8 kB
/// in records of 128 kB are what a user has who does not know better.
pub async fn directory(path: &Path, inventory: &Arc<Inventory>) -> Result<Option<OwnDataset>, SnapshotError> {
    let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
    let (kind, source) = aside(move || {
        let parent = fs::canonicalize(&parent).map_err(SnapshotError::at(&parent))?;
        over(&mounts()?, &parent).map(|mount| (mount.kind.clone(), mount.source.clone()))
    })
    .await?;
    // Only root can mount a dataset (see the driver), and without its command nobody can make one.
    if KINDS.contains(&kind.as_str()) && nix::unistd::geteuid().is_root() && ZFS.path().is_ok() {
        return OwnDataset::make(&source, path, inventory).await.map(Some);
    }
    let path = path.to_owned();
    aside(move || {
        let made = if kind == btrfs::KIND { btrfs::create(&path) } else { fs::create_dir(&path) };
        made.map_err(SnapshotError::at(&path)).map(|()| None)
    })
    .await
}

impl OwnDataset {
    async fn make(within: &str, path: &Path, inventory: &Arc<Inventory>) -> Result<OwnDataset, SnapshotError> {
        // The mountpoint is given as it will be found in the table of mounts.
        let parent = path.parent().unwrap_or(Path::new("/"));
        let parent = fs::canonicalize(parent).map_err(SnapshotError::at(parent))?;
        let path = parent.join(path.file_name().unwrap_or_default());
        let (run, number) = (inventory.run(), inventory.contents().entries.len());
        let name = format!("{within}/pgbench-rs-{run}-{number}");
        let thing = Thing::Dataset { name: name.clone(), path: path.clone() };
        let entry = inventory.thing(thing).map_err(SnapshotError::at(inventory.path()))?;
        let own = OwnDataset { name, entry, inventory: inventory.clone() };
        let mut mountpoint = std::ffi::OsString::from("mountpoint=");
        mountpoint.push(&path);
        let args = ["create".into(), "-o".into(), mountpoint, "-o".into(), format!("{RUN}={run}").into()];
        match ZFS.run(args.into_iter().chain([(&own.name).into()]), inventory).await.map_err(zfs::failed(&own.name)) {
            Ok(_) => Ok(own),
            Err(error) => own.destroy().await.and(Err(error.into())),
        }
    }

    /// Destroys it, and what is in it; what is gone is fine.
    pub async fn destroy(&self) -> Result<(), SnapshotError> {
        let (name, run) = (self.name.clone(), self.inventory.run().to_owned());
        aside(move || Ok(zfs::destroy(&name, &run)?)).await?;
        self.inventory.gone(self.entry).map_err(SnapshotError::at(self.inventory.path()))
    }
}
