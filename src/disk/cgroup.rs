//! Control groups: one of our own for a server's processes, or the one a container has. Of either version of
//! the kernel's interface, whichever limits block devices on this machine.

use super::DiskError;
use crate::base::inventory::{Id, Inventory, Thing};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What every group made here is called, in front.
const PREFIX: &str = "pgbr-";
/// How long those who were just killed may be in a group.
const BUSY: Duration = Duration::from_secs(5);

/// The interface through which block devices are limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `blkio` of the first version. It limits what a process reads and writes itself (direct I/O, `fsync`),
    /// but not what the kernel writes for it later.
    V1,
    /// `io` of the second, which limits that, too.
    V2,
}

/// Where the groups are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its directory.
    pub root: PathBuf,
    /// Its interface.
    pub version: Version,
}

/// A control group.
#[derive(Debug)]
pub struct Cgroup {
    /// Its directory.
    pub path: PathBuf,
    /// Its interface.
    pub version: Version,
    /// For one of our own.
    own: Option<(Id, Arc<Inventory>)>,
}

impl Hierarchy {
    /// The one of this machine that can limit block devices, or why there is none.
    pub fn find() -> Result<Hierarchy, DiskError> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(DiskError::io("/proc/self/mountinfo"))?;
        let found = hierarchies(&mounts);
        if let Some(v1) = found.iter().find(|hierarchy| hierarchy.version == Version::V1) {
            return Ok(v1.clone());
        }
        let Some(v2) = found.into_iter().next() else {
            let hint = "mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup";
            return Err(DiskError::Impossible { what: "no control groups are mounted".to_owned(), hint });
        };
        let offered = |file: &str| {
            let list = fs::read_to_string(v2.root.join(file)).unwrap_or_default();
            list.split_ascii_whitespace().any(|controller| controller == "io")
        };
        if !offered("cgroup.controllers") {
            let what = "this kernel's control groups do not limit block devices".to_owned();
            return Err(DiskError::Impossible {
                what,
                hint: "it takes CONFIG_BLK_CGROUP and CONFIG_BLK_DEV_THROTTLING",
            });
        }
        if !offered("cgroup.subtree_control") {
            let what = format!("control groups below {} do not limit block devices", v2.root.display());
            let hint = "allow it: echo +io > /sys/fs/cgroup/cgroup.subtree_control";
            return Err(DiskError::Impossible { what, hint });
        }
        Ok(v2)
    }
}

/// The mounts of control groups that may limit block devices.
fn hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    let each = mountinfo.lines().filter_map(|line| {
        let (at, what) = line.split_once(" - ")?;
        let root = PathBuf::from(at.split(' ').nth(4)?);
        let mut what = what.split(' ');
        let version = match what.next()? {
            "cgroup" if what.nth(1)?.split(',').any(|controller| controller == "blkio") => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        Some(Hierarchy { root, version })
    });
    each.collect()
}

impl Cgroup {
    /// Names a group in the inventory, then makes it; `name` tells it from those of other nodes and runs.
    pub fn create(inventory: &Arc<Inventory>, name: &str) -> Result<Cgroup, DiskError> {
        let hierarchy = Hierarchy::find()?;
        let path = hierarchy.root.join(format!("{PREFIX}{name}"));
        if path.exists() {
            return Err(DiskError::io(&path)(io::ErrorKind::AlreadyExists.into()));
        }
        let thing = Thing::Cgroup { path: path.clone() };
        let id = inventory.thing(thing).map_err(DiskError::io(inventory.path()))?;
        match fs::create_dir(&path) {
            Ok(()) => Ok(Cgroup { path, version: hierarchy.version, own: Some((id, inventory.clone())) }),
            Err(error) => {
                // An entry of the inventory too many does no harm.
                let _ = inventory.gone(id);
                let hint = "run as root, on a machine or in a container where /sys/fs/cgroup can be written to";
                let what = format!("cannot make the control group {}: {error}", path.display());
                Err(DiskError::Impossible { what, hint })
            }
        }
    }

    /// The group that a process is in: a container's by its first process.
    pub fn of(pid: i32) -> Result<Cgroup, DiskError> {
        let hierarchy = Hierarchy::find()?;
        let file = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let text = fs::read_to_string(&file).map_err(DiskError::io(&file))?;
        let path = path_in(&text, hierarchy.version).filter(|path| !path.starts_with("/.."));
        let path = path.ok_or_else(|| DiskError::Impossible {
            what: format!("the control group of process {pid} cannot be reached from here"),
            hint: "run on the machine itself, not in a container",
        })?;
        let path = hierarchy.root.join(path.trim_start_matches('/'));
        Ok(Cgroup { path, version: hierarchy.version, own: None })
    }

    /// Makes `command`, and all that it starts, run in the group. The right to do so is that of this process,
    /// whatever user the command becomes.
    pub fn enter(&self, command: &mut std::process::Command) -> Result<(), DiskError> {
        let list = self.path.join("cgroup.procs");
        let mut list = File::options().write(true).open(&list).map_err(DiskError::io(&list))?;
        #[expect(unsafe_code, reason = "runs between fork and exec: one write to an open file, no allocation")]
        unsafe {
            command.pre_exec(move || list.write_all(b"0"));
        }
        Ok(())
    }

    /// Moves a process into the group; its children of before stay where they are.
    pub fn add(&self, pid: i32) -> Result<(), DiskError> {
        let list = self.path.join("cgroup.procs");
        let opened = File::options().write(true).open(&list);
        opened.and_then(|mut list| list.write_all(pid.to_string().as_bytes())).map_err(DiskError::io(&list))
    }

    /// Removes a group of our own, when all in it are dead; leaves a container's alone.
    pub async fn remove(&self) -> Result<(), DiskError> {
        let Some((id, inventory)) = &self.own else { return Ok(()) };
        let path = self.path.clone();
        super::aside(&self.path, move || remove(&path).map_err(DiskError::Left)).await?;
        inventory.gone(*id).map_err(DiskError::io(inventory.path()))
    }
}

/// The path of the hierarchy that limits block devices, as `/proc/<pid>/cgroup` has it.
fn path_in(text: &str, version: Version) -> Option<&str> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let ours = match version {
            Version::V1 => controllers.split(',').any(|controller| controller == "blkio"),
            Version::V2 => controllers.is_empty(),
        };
        ours.then_some(path)
    })
}

/// Removes a group that was made here; one that is gone is fine.
pub fn remove(path: &Path) -> Result<(), String> {
    if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
        return Err(format!("the control group {} does not bear a name of ours", path.display()));
    }
    let began = Instant::now();
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && began.elapsed() < BUSY => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_groups_of_either_version() {
        let text = "30 24 0:26 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio\n\
                    31 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                    33 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = hierarchies(text);
        let one = |root: &str, version| Hierarchy { root: root.into(), version };
        assert_eq!(found, [one("/sys/fs/cgroup/blkio", Version::V1), one("/sys/fs/cgroup/unified", Version::V2)]);
        let own = "7:blkio,x:/docker/1\n4:memory:/m\n0::/system.slice/docker-1.scope\n";
        assert_eq!(path_in(own, Version::V1), Some("/docker/1"));
        assert_eq!(path_in(own, Version::V2), Some("/system.slice/docker-1.scope"));
    }

    #[test]
    fn removes_only_names_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let [ours, theirs] = ["pgbr-1", "docker"].map(|name| dir.path().join(name));
        fs::create_dir(&ours).unwrap();
        fs::create_dir(&theirs).unwrap();
        assert!(remove(&theirs).is_err() && remove(&ours).is_ok() && remove(&ours).is_ok());
        assert!(theirs.exists() && !ours.exists());
    }
}
