//! The directory that is copied.

use super::btrfs::Subvolume;
use super::copied::{Copied, Kind, Place};
use super::label::Label;
use super::walk::{self, Skip};
use super::zfs::Dataset;
use super::{SnapshotDriver, SnapshotError, Symlink, Took, aside, reflink};
use crate::base::inventory::{Inventory, MARK};
use crate::base::mounts::{Mount, Mounts};
use crate::base::zfs::ZfsError;
use nix::unistd::{AccessFlags, access};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// What the copy is called within its directory.
const ROOT: &str = "data";

/// A directory that a driver can copy. Nothing is ever written into it.
#[derive(Clone, Debug)]
pub struct Origin {
    driver: SnapshotDriver,
    dir: PathBuf,
    mount: Mount,
    ground: Ground,
    home: Option<PathBuf>,
    skip: Skip,
    label: Label,
    quota: Option<u64>,
    inventory: Arc<Inventory>,
}

/// What the driver takes hold of.
#[derive(Clone, Debug)]
enum Ground {
    Zfs(Dataset),
    Btrfs(Subvolume),
    /// Each file.
    Files,
}

impl Origin {
    /// Makes sure that `driver` can copy `dir`, as far as can be told without doing it.
    pub async fn open(driver: SnapshotDriver, dir: &Path, inventory: &Arc<Inventory>) -> Result<Origin, SnapshotError> {
        let (dir, inventory) = (dir.to_owned(), inventory.clone());
        aside(move || Origin::open_here(driver, &dir, inventory)).await
    }

    pub(super) fn open_here(
        driver: SnapshotDriver,
        dir: &Path,
        inventory: Arc<Inventory>,
    ) -> Result<Origin, SnapshotError> {
        let Examined { dir, mount, ground, home } = examine(driver, dir)?;
        let (skip, label) = (Skip::default(), Label::default());
        Ok(Origin { driver, dir, mount, ground, home, skip, label, quota: None, inventory })
    }

    /// The same, with something left out of its copies where they are made file by file. By default, nothing is.
    #[must_use]
    pub fn skipping(self, skip: Skip) -> Origin {
        Origin { skip, ..self }
    }

    /// The same, with copies that say whose they are, where the file system can keep that.
    #[must_use]
    pub fn labelled(self, label: Label) -> Origin {
        Origin { label, ..self }
    }

    /// The same, with copies that may have no more than so many bytes of their own: whoever writes to one then finds the
    /// disk full before the original's server does. Only where the driver can ([`Capabilities::quota`]).
    ///
    /// [`Capabilities::quota`]: super::Capabilities::quota
    pub fn limited_to(self, bytes: u64) -> Result<Origin, SnapshotError> {
        if !self.driver.capabilities().quota {
            return Err(SnapshotError::Impossible {
                driver: self.driver,
                dir: self.dir,
                why: "it cannot limit what a copy has of its own".to_owned(),
                hint: "put it on ZFS, or make room for all that copies may write".to_owned(),
            });
        }
        Ok(Origin { quota: Some(bytes), ..self })
    }

    /// Its driver.
    pub fn driver(&self) -> SnapshotDriver {
        self.driver
    }

    /// The directory, without symbolic links.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Symbolic links where PostgreSQL and its packages make them: in the directory itself and in `pg_tblspc`.
    pub fn symlinks(&self) -> Result<Vec<Symlink>, SnapshotError> {
        Symlink::usual(&self.dir)
    }

    /// A directory that exists, in which this user may make directories for copies.
    pub fn home(&self) -> Result<&Path, SnapshotError> {
        self.home.as_deref().ok_or_else(|| SnapshotError::Impossible {
            driver: self.driver,
            dir: self.dir.clone(),
            why: "its parent directory is on another file system, or this user may not write there".to_owned(),
            hint: format!("say where copies go: a directory of yours on the file system of {}", self.dir.display()),
        })
    }

    /// Whether `path`, which exists, is on the same file system. The subvolumes of a btrfs are one file system.
    pub fn is_beside(&self, path: &Path) -> Result<bool, SnapshotError> {
        let path = fs::canonicalize(path).map_err(SnapshotError::at(path))?;
        Ok(over(&mounts()?, &path)?.device == self.mount.device)
    }

    /// Copies the directory into `dir`, which [`Inventory::directory`] has made and in which nothing is but the mark.
    /// `name` tells the copy from others of the run. When it fails, `dir` is as before.
    pub async fn clone_to(&self, name: &str, dir: &Path) -> Result<(Copied, Took), SnapshotError> {
        if !is_name(name) {
            return Err(SnapshotError::Name(name.to_owned()));
        }
        let root = self.place(dir)?.join(ROOT);
        let inventory = &self.inventory;
        let (kind, deeper) = match &self.ground {
            Ground::Zfs(dataset) => (Kind::Zfs(dataset.pair(inventory.run(), name)), dataset.deeper.as_path()),
            Ground::Btrfs(subvolume) => (Kind::Btrfs, subvolume.deeper.as_path()),
            Ground::Files if self.driver == SnapshotDriver::Reflink => (Kind::Reflink, Path::new("")),
            Ground::Files => (Kind::Copy, Path::new("")),
        };
        let mut copied = Copied::begin(Place::new(inventory.run(), kind, root, deeper), inventory)?;
        match self.make(name, &mut copied).await {
            Ok(took) => Ok((copied, took)),
            // Nothing was made, and what is called so is another copy.
            Err(cause @ SnapshotError::Zfs(ZfsError::Exists(_))) => copied.forget().and(Err(cause)),
            Err(cause) => match copied.destroy().await {
                Ok(()) => Err(cause),
                Err(left) => Err(SnapshotError::Left { cause: Box::new(cause), left: Box::new(left) }),
            },
        }
    }

    async fn make(&self, name: &str, copied: &mut Copied) -> Result<Took, SnapshotError> {
        let root = copied.place().root().to_owned();
        let began = Instant::now();
        let took = match &self.ground {
            Ground::Zfs(dataset) => {
                let pair = dataset.pair(self.inventory.run(), name);
                pair.make(name, &root, (&self.label, self.quota), &self.inventory).await?
            }
            Ground::Btrfs(subvolume) => {
                let subvolume = subvolume.clone();
                aside(move || subvolume.snapshot(&root)).await?;
                Took { snapshot: Some(began.elapsed()), clone: None }
            }
            Ground::Files => {
                copied.symlinks = walk::copy(self.driver, &self.dir, &root, self.skip).await?;
                return Ok(Took { snapshot: None, clone: Some(began.elapsed()) });
            }
        };
        copied.symlinks = Symlink::usual(copied.data())?;
        Ok(took)
    }

    /// The directory for a copy, without symbolic links.
    fn place(&self, dir: &Path) -> Result<PathBuf, SnapshotError> {
        let dir = fs::canonicalize(dir).map_err(SnapshotError::at(dir))?;
        let wrong = |why: &str| Err(SnapshotError::Place { dir: dir.clone(), why: why.to_owned() });
        if dir.starts_with(&self.dir) {
            return wrong("it lies in what is to be copied");
        }
        match fs::read_to_string(dir.join(MARK)) {
            Ok(mark) if mark == self.inventory.run() => {}
            Ok(_) => return wrong("its mark is another run's"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return wrong("it bears no mark"),
            Err(error) => return Err(SnapshotError::at(&dir.join(MARK))(error)),
        }
        for entry in fs::read_dir(&dir).map_err(SnapshotError::at(&dir))? {
            if entry.map_err(SnapshotError::at(&dir))?.file_name() != MARK {
                return wrong("it is not empty");
            }
        }
        if matches!(self.driver, SnapshotDriver::Btrfs | SnapshotDriver::Reflink) && !self.is_beside(&dir)? {
            let hint = match &self.home {
                Some(home) => format!("put it below {}", home.display()),
                None => format!("put it on the file system that is mounted at {}", self.mount.point.display()),
            };
            return Err(SnapshotError::Apart { driver: self.driver, dir: self.dir.clone(), to: dir, hint });
        }
        Ok(dir)
    }
}

/// A directory that a driver can copy, as found.
pub(super) struct Examined {
    dir: PathBuf,
    mount: Mount,
    ground: Ground,
    home: Option<PathBuf>,
}

/// Makes sure that `driver` can copy `dir`, as far as can be told without doing it.
pub(super) fn examine(driver: SnapshotDriver, dir: &Path) -> Result<Examined, SnapshotError> {
    let dir = fs::canonicalize(dir).map_err(SnapshotError::at(dir))?;
    // To be looked into, and a directory at all.
    fs::read_dir(&dir).map_err(SnapshotError::at(&dir))?;
    let mounts = mounts()?;
    let mount = over(&mounts, &dir)?.clone();
    let impossible =
        |why: String, hint: &str| SnapshotError::Impossible { driver, dir: dir.clone(), why, hint: hint.to_owned() };
    if driver != SnapshotDriver::Copy
        && let Some(other) = mounts.below(&dir).next()
    {
        let why = format!("another file system is mounted in it, at {}", other.point.display());
        return Err(impossible(why, "use the driver `copy`, or keep the whole directory on one file system"));
    }
    // A clone of ZFS is mounted anywhere, and a plain copy goes anywhere.
    let anywhere = matches!(driver, SnapshotDriver::Zfs | SnapshotDriver::Copy);
    let beside = |parent: &&Path| over(&mounts, parent).is_ok_and(|other| other.device == mount.device);
    let home = dir.parent().filter(|parent| anywhere || beside(parent));
    let home = home.filter(|home| access(*home, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()).map(Path::to_owned);
    let ground = match driver {
        SnapshotDriver::Zfs => Ground::Zfs(Dataset::of(&dir, &mount)?),
        SnapshotDriver::Btrfs => Ground::Btrfs(Subvolume::of(&dir, &mount)?),
        SnapshotDriver::Reflink | SnapshotDriver::Copy => Ground::Files,
    };
    match (driver, &home) {
        (SnapshotDriver::Reflink, Some(home)) => reflink::probe(&dir, home, &mount.kind)?,
        // Nothing can be tried, and the first copy shows it.
        (SnapshotDriver::Reflink, None) if reflink::USUAL.contains(&mount.kind.as_str()) => {}
        (SnapshotDriver::Reflink, None) => {
            let why = format!("whether files can share blocks on {} cannot be tried beside it", mount.kind);
            return Err(impossible(why, "run as somebody who may write in its parent directory"));
        }
        _ => {}
    }
    Ok(Examined { dir, mount, ground, home })
}

pub(super) fn mounts() -> Result<Mounts, SnapshotError> {
    Mounts::read().map_err(SnapshotError::at(Path::new("/proc/self/mountinfo")))
}

pub(super) fn over<'m>(mounts: &'m Mounts, path: &Path) -> Result<&'m Mount, SnapshotError> {
    let missing = || std::io::Error::other("the table of mounts has no file system for it");
    mounts.over(path).ok_or_else(|| SnapshotError::at(path)(missing()))
}

/// Whether it can be part of a dataset's name (zfs(8)) and of a file's.
fn is_name(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    first && name.len() <= 100 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::index::Index;

    fn lab() -> (tempfile::TempDir, Arc<Inventory>) {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::at(dir.path().join("runs"));
        let inventory = Inventory::create(&index, &dir.path().join("inventory.jsonl"), "r1").unwrap();
        fs::create_dir(dir.path().join("origin")).unwrap();
        fs::write(dir.path().join("origin/file"), "text").unwrap();
        (dir, inventory)
    }

    #[test]
    fn names() {
        assert!(is_name("a") && is_name("9-b_c.d"));
        for wrong in ["", "-a", ".a", "a/b", "a@b", "a b", "ä"] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }

    #[tokio::test]
    async fn copies_only_into_an_empty_directory_of_the_run() {
        let (lab, inventory) = lab();
        let origin = Origin::open(SnapshotDriver::Copy, &lab.path().join("origin"), &inventory).await.unwrap();
        let refused = async |dir: &Path| origin.clone_to("c", dir).await.unwrap_err().to_string();
        let plain = lab.path().join("plain");
        fs::create_dir(&plain).unwrap();
        assert!(refused(&plain).await.ends_with("it bears no mark"));
        fs::write(plain.join(MARK), "another").unwrap();
        assert!(refused(&plain).await.ends_with("another run's"));
        let (_, dir) = inventory.directory(&lab.path().join("c"), lab.path(), None).unwrap();
        fs::write(dir.join("x"), "").unwrap();
        assert!(refused(&dir).await.ends_with("it is not empty"));
        fs::remove_file(dir.join("x")).unwrap();
        assert!(origin.clone_to("a/b", &dir).await.unwrap_err().to_string().starts_with("`a/b` cannot be the name"));

        let (copied, took) = origin.clone_to("c", &dir).await.unwrap();
        assert!(took.clone.is_some() && took.snapshot.is_none());
        assert_eq!(copied.data(), dir.join("data"));
        assert_eq!(fs::read_to_string(copied.data().join("file")).unwrap(), "text");
        assert_eq!(copied.space().await.unwrap(), Some(4096));
        copied.destroy().await.unwrap();
        copied.destroy().await.unwrap();
        assert!(!copied.data().exists() && dir.join(MARK).exists());
    }

    #[tokio::test]
    async fn what_lies_in_itself_is_no_place() {
        let (lab, inventory) = lab();
        let origin = Origin::open(SnapshotDriver::Copy, &lab.path().join("origin"), &inventory).await.unwrap();
        let (_, dir) = inventory.directory(&lab.path().join("origin/c"), lab.path(), None).unwrap();
        let error = origin.clone_to("c", &dir).await.unwrap_err().to_string();
        assert!(error.ends_with("it lies in what is to be copied"), "{error}");
        assert_eq!(origin.home().unwrap(), fs::canonicalize(lab.path()).unwrap());
        assert!(origin.is_beside(lab.path()).unwrap() && !origin.is_beside(Path::new("/proc")).unwrap());
    }
}
