//! A file system of a node's own, of a size that is known: in a file, through a loop device or as a pool of ZFS; ext4 in
//! memory where there are no loop devices.
//!
//! ```text
//! <trial>/<node>        the mount, at a directory that exists
//! <trial>/<node>.img    the file that holds it; sparse, so it takes only the room that was written to
//! ```
//!
//! The size is that of the device: the file system takes some for itself.

use super::ballast::Ballast;
use super::format::{Format, Recipe};
use super::{DiskError, aside, pool};
use crate::base::inventory::{Id, Inventory, Thing};
use crate::base::mounts::Mounts;
use crate::base::tool::{LOSETUP, MOUNT, UMOUNT};
use crate::base::units::Size;
use nix::fcntl::{FallocateFlags, fallocate};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a file system may be in use by those who were just killed.
const BUSY: Duration = Duration::from_secs(2);

/// A mounted file system. Dropping it unmounts nothing; [`FileSystem::unmount`] does, or cleaning by the
/// inventory.
#[derive(Debug)]
pub struct FileSystem {
    path: PathBuf,
    kind: Kind,
    entry: Id,
    inventory: Arc<Inventory>,
}

/// Where the bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On disk, in this file.
    Loop {
        /// The file.
        image: PathBuf,
    },
    /// On disk, a pool of ZFS in this file.
    Pool {
        /// The file.
        image: PathBuf,
        /// Its name.
        name: String,
    },
    /// In memory: it can be filled, but flushing it costs nothing and its speed cannot be limited.
    Memory {
        /// Why it is not on disk.
        why: String,
    },
}

impl FileSystem {
    /// Makes one of `format` of `size` bytes and mounts it at the directory `path`, which must exist, lie in a directory
    /// of the run, and keeps its owner and mode. On disk, or in memory where there are no loop devices and ext4 is asked
    /// for. When it fails, nothing of it is left.
    pub async fn mount(
        inventory: &Arc<Inventory>,
        path: &Path,
        size: u64,
        format: Format,
    ) -> Result<FileSystem, DiskError> {
        let least = format.least();
        if size < least.0 {
            let what = format!("{} is too small for {format}, which needs {least}", Size(size));
            return Err(DiskError::Impossible { what, hint: "give the node a larger disk" });
        }
        let Some(recipe) = format.recipe() else {
            let pool = pool::name(inventory, path).await?;
            return FileSystem::made(inventory, path, Some(&pool), async |path| {
                let (image, name) = (image_at(path), pool.clone());
                pool::make(inventory, &name, path, &image, size).await.map(|()| Kind::Pool { image, name })
            })
            .await;
        };
        FileSystem::made(inventory, path, None, async |path| match on_disk(inventory, path, size, recipe).await? {
            Ok(image) => Ok(Kind::Loop { image }),
            Err(why) if format == Format::Ext4 => in_memory(inventory, path, size).await.map(|()| Kind::Memory { why }),
            Err(why) => {
                let hint = "run as root on a kernel with loop devices and this file system";
                Err(DiskError::Impossible { what: format!("{format} cannot be mounted: {why}"), hint })
            }
        })
        .await
    }

    /// ext4's stand-in in memory, whatever the machine offers.
    pub async fn in_memory(inventory: &Arc<Inventory>, path: &Path, size: u64) -> Result<FileSystem, DiskError> {
        let why = "it was asked for".to_owned();
        FileSystem::made(inventory, path, None, async |path| {
            in_memory(inventory, path, size).await.map(|()| Kind::Memory { why })
        })
        .await
    }

    /// Names it in the inventory, `pool` if it is one, and makes it.
    async fn made(
        inventory: &Arc<Inventory>,
        path: &Path,
        pool: Option<&str>,
        make: impl AsyncFnOnce(&Path) -> Result<Kind, DiskError>,
    ) -> Result<FileSystem, DiskError> {
        let path = fs::canonicalize(path).map_err(DiskError::io(path))?;
        let before = path.metadata().map_err(DiskError::io(&path))?;
        if is_mounted(&path) {
            let hint = "unmount it, or name another work directory with --work DIR";
            return Err(DiskError::Impossible { what: format!("{} is a mount already", path.display()), hint });
        }
        let thing = match pool {
            Some(name) => Thing::Pool { name: name.to_owned(), path: path.clone() },
            None => Thing::Mount { path: path.clone() },
        };
        let entry = inventory.thing(thing).map_err(DiskError::io(inventory.path()))?;
        match make(&path).await {
            Ok(kind) => {
                let made = FileSystem { path, kind, entry, inventory: inventory.clone() };
                match as_before(&made.path, &before) {
                    Ok(()) => Ok(made),
                    Err(error) => made.unmount().await.and(Err(error)),
                }
            }
            Err(error) => {
                // An entry of the inventory too many does no harm.
                if unmount(&path).is_ok() {
                    let _ = inventory.gone(entry);
                }
                Err(error)
            }
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its bytes are.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Writes a file into it until only `leave` bytes are free to users other than root.
    pub async fn fill(&self, leave: u64) -> Result<Ballast, DiskError> {
        Ballast::fill(&self.path, leave).await
    }

    /// Unmounts it, whoever may still have a file open there, and removes its file. A pool of ZFS goes only when nobody
    /// has.
    pub async fn unmount(&self) -> Result<(), DiskError> {
        let path = self.path.clone();
        match &self.kind {
            Kind::Pool { name, .. } => pool::destroy(&self.inventory, &path, name).await?,
            Kind::Loop { .. } | Kind::Memory { .. } => {
                aside(&self.path, move || unmount(&path).map_err(DiskError::Left)).await?;
            }
        }
        if let Kind::Loop { image } | Kind::Pool { image, .. } = &self.kind {
            absent(image)?;
        }
        self.inventory.gone(self.entry).map_err(DiskError::io(self.inventory.path()))
    }
}

/// Gives what is mounted at `path` the owner and mode of the directory below it.
fn as_before(path: &Path, before: &Metadata) -> Result<(), DiskError> {
    std::os::unix::fs::chown(path, Some(before.uid()), Some(before.gid())).map_err(DiskError::io(path))?;
    let mode = fs::Permissions::from_mode(before.mode() & 0o7777);
    fs::set_permissions(path, mode).map_err(DiskError::io(path))
}

fn image_at(path: &Path) -> PathBuf {
    let mut image = OsString::from(path);
    image.push(".img");
    PathBuf::from(image)
}

/// A new file of that size, which takes no room yet.
pub(super) fn sparse(image: &Path, size: u64) -> Result<(), DiskError> {
    let file = File::options().write(true).create_new(true).open(image).map_err(DiskError::io(image))?;
    file.set_len(size).map_err(DiskError::io(image))
}

/// The file that it was made in, or why that could not be mounted.
async fn on_disk(
    inventory: &Arc<Inventory>,
    path: &Path,
    size: u64,
    recipe: Recipe,
) -> Result<Result<PathBuf, String>, DiskError> {
    let image = image_at(path);
    sparse(&image, size)?;
    let made = async {
        let args = recipe.args.iter().map(OsString::from);
        recipe.tool.run(args.chain([image.clone().into()]), inventory).await?;
        let options = ["-o", recipe.options].map(OsString::from);
        Ok(MOUNT.run(options.into_iter().chain([image.clone().into(), path.into()]), inventory).await)
    };
    match made.await {
        Ok(Ok(_)) => Ok(Ok(image)),
        Ok(Err(why)) => absent(&image).map(|()| Err(why.to_string())),
        Err(error) => absent(&image).and(Err(error)),
    }
}

async fn in_memory(inventory: &Arc<Inventory>, path: &Path, size: u64) -> Result<(), DiskError> {
    let options = ["-t", "tmpfs", "-o", &format!("size={size}"), "pgbench-rs"].map(OsString::from);
    MOUNT.run(options.into_iter().chain([path.into()]), inventory).await?;
    Ok(())
}

pub(super) fn absent(file: &Path) -> Result<(), DiskError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DiskError::io(file)(error)),
        _ => Ok(()),
    }
}

/// Whether something is mounted at exactly `path`.
pub fn is_mounted(path: &Path) -> bool {
    source(path).is_some()
}

/// What is mounted at `path`: a loop device, or any word.
fn source(path: &Path) -> Option<PathBuf> {
    Mounts::read().ok()?.at(path).map(|mount| PathBuf::from(&mount.source))
}

/// Unmounts what is mounted at `path`; when it stays in use, lets it go as soon as nobody uses it any more.
/// Detaches the loop device below. Nothing there is fine.
pub fn unmount(path: &Path) -> Result<(), String> {
    let began = Instant::now();
    while let Some(device) = source(path) {
        let image = image_of(&device);
        let lazy: &[&str] = if began.elapsed() > BUSY { &["--lazy"] } else { &[] };
        let args = lazy.iter().map(OsString::from).chain([path.into()]);
        match UMOUNT.run_here(args) {
            Ok(_) => detach(&device, image)?,
            Err(error) if !lazy.is_empty() && is_mounted(path) => return Err(error.to_string()),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    Ok(())
}

/// The file behind a loop device.
fn image_of(device: &Path) -> Option<String> {
    let name = device.strip_prefix("/dev").ok()?.to_str().filter(|name| name.starts_with("loop"))?;
    fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()
}

/// A loop device that `mount` made goes by itself with the last user; here for one that does not.
fn detach(device: &Path, image: Option<String>) -> Result<(), String> {
    if image.is_some() && image_of(device) == image {
        match LOSETUP.run_here([OsString::from("--detach"), device.into()]) {
            Err(error) if image_of(device) == image => return Err(error.to_string()),
            _ => {}
        }
    }
    Ok(())
}

/// Reserves the blocks of `length` bytes from `offset` on.
pub(super) fn reserve(file: &File, offset: u64, length: u64) -> nix::Result<()> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    fallocate(file, FallocateFlags::empty(), number(offset), number(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_mounted_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_mounted(dir.path()));
        assert_eq!(unmount(dir.path()), Ok(()));
        assert_eq!(unmount(&dir.path().join("missing")), Ok(()));
    }
}
