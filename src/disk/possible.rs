//! Whether a disk of each kind can be made here, as far as can be told without making one.

use super::{DiskError, Format};
use crate::base::tool::{LOSETUP, MOUNT, UMOUNT, ZFS, ZPOOL};
use crate::base::zfs;
use std::fs;
use std::path::Path;

impl Format {
    /// What one would be made with, or what is missing and what brings it.
    pub fn possible(self) -> Result<String, DiskError> {
        let recipe = self.recipe();
        let tools = match &recipe {
            Some(recipe) => vec![recipe.tool, MOUNT, UMOUNT, LOSETUP],
            None => {
                zfs::answers()?;
                vec![ZFS, ZPOOL]
            }
        };
        let paths: Result<Vec<_>, _> = tools.iter().map(|tool| tool.path()).collect();
        let made_with: Vec<String> = paths?.iter().map(|path| path.display().to_string()).collect();
        if !nix::unistd::geteuid().is_root() {
            let what = "only root can mount file systems".to_owned();
            return Err(DiskError::Impossible { what, hint: "run as root where a node has a `disk`" });
        }
        if recipe.is_some() {
            in_kernel(self)?;
        }
        Ok(made_with.join(", "))
    }
}

/// Whether the kernel has loop devices and this kind of file system, built in or as a module.
fn in_kernel(format: Format) -> Result<(), DiskError> {
    let missing = |what: &str| {
        let hint = "use a kernel that has it; ext4 is then made in memory, and the others not at all";
        Err(DiskError::Impossible { what: format!("the kernel has no {what}"), hint })
    };
    if !Path::new("/dev/loop-control").exists() && !has_module("loop") {
        return missing("loop devices");
    }
    let known = fs::read_to_string("/proc/filesystems").map_err(DiskError::io("/proc/filesystems"))?;
    let is_known = known.lines().any(|line| line.split_whitespace().last() == Some(format.name()));
    if is_known || has_module(format.name()) { Ok(()) } else { missing(format.name()) }
}

/// Whether there is a module that could be loaded.
fn has_module(name: &str) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let list = Path::new("/lib/modules").join(release.trim()).join("modules.dep");
    let file = format!("/{name}.ko");
    fs::read_to_string(list)
        .is_ok_and(|list| list.lines().any(|line| line.split(':').next().is_some_and(|path| path.contains(&file))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_there_or_what_is_missing() {
        for format in Format::ALL {
            match format.possible() {
                Ok(found) => assert!(found.contains(if format == Format::Zfs { "zpool" } else { "mkfs" }), "{found}"),
                Err(error) => assert!(error.to_string().contains("\nhint: "), "{format}: {error}"),
            }
        }
        assert!(!has_module("no-such-file-system"));
    }
}
