//! A pool of ZFS in a file of the run's own. After a restart of the machine nobody knows of it (`cachefile=none`), and only
//! the file is left.

use super::mount::{absent, sparse};
use super::{DiskError, aside};
use crate::base::inventory::Inventory;
use crate::base::tool::ZPOOL;
use crate::base::zfs::{self, RUN, ZfsError};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// What the pool that is mounted at `path` is called: by run and node, whose directory is the mount or holds it, and with a
/// number, for trials follow each other. An error where no ZFS answers.
pub(super) async fn name(inventory: &Inventory, path: &Path) -> Result<String, DiskError> {
    aside(path, || Ok(zfs::answers()?)).await?;
    let node = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    Ok(format!("pgbench-rs-{}-{node}-{}", inventory.run(), inventory.contents().entries.len()))
}

/// Makes one of `size` bytes in the file `image`, which is not there yet, and mounts it at `path`.
pub(super) async fn make(
    inventory: &Arc<Inventory>,
    name: &str,
    path: &Path,
    image: &Path,
    size: u64,
) -> Result<(), DiskError> {
    sparse(image, size)?;
    let mut mountpoint = OsString::from("mountpoint=");
    mountpoint.push(path);
    let args = ["create", "-o", "cachefile=none", "-O", &format!("{RUN}={}", inventory.run()), "-O"];
    let args = args.map(OsString::from).into_iter().chain([mountpoint, name.into(), image.into()]);
    match ZPOOL.run(args, inventory).await.map_err(zfs::failed(name)) {
        Ok(_) => Ok(()),
        // What is called so is not this one.
        Err(error @ ZfsError::Exists(_)) => absent(image).and(Err(error.into())),
        Err(error) => {
            destroy(inventory, path, name).await?;
            absent(image).and(Err(error.into()))
        }
    }
}

/// Destroys it; what is gone is fine.
pub(super) async fn destroy(inventory: &Inventory, path: &Path, name: &str) -> Result<(), DiskError> {
    let (name, run) = (name.to_owned(), inventory.run().to_owned());
    aside(path, move || Ok(zfs::destroy_pool(&name, &run)?)).await
}
