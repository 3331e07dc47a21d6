//! What is known of the machine that a run ran on. A fact that the system does not tell is absent.

use crate::base::mounts::Mounts;
use serde::{Deserialize, Serialize};
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Facts of the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Its name.
    pub name: Option<String>,
    /// Operating system and its version.
    pub os: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The processor's model.
    pub cpu: Option<String>,
    /// Cores that this process may use.
    pub cores: Option<usize>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Where the data directories were.
    pub work: PathBuf,
    /// File system, device and mount point of that place.
    pub work_file_system: Option<String>,
}

/// The facts of this machine, with those of the file system that `work` is on.
pub fn facts(work: &Path) -> Facts {
    let line = |path: &str| read_to_string(path).ok().map(|text| text.trim().to_owned());
    let whole = work.canonicalize().unwrap_or_else(|_| work.to_owned());
    Facts {
        name: line("/proc/sys/kernel/hostname"),
        os: line("/etc/os-release").and_then(|text| value_of(&text, "PRETTY_NAME", '=')),
        kernel: line("/proc/sys/kernel/osrelease"),
        cpu: line("/proc/cpuinfo").and_then(|text| value_of(&text, "model name", ':')),
        cores: std::thread::available_parallelism().ok().map(Into::into),
        memory: line("/proc/meminfo").and_then(|text| {
            let kilobytes: u64 = value_of(&text, "MemTotal", ':')?.strip_suffix(" kB")?.parse().ok()?;
            Some(kilobytes * 1024)
        }),
        work_file_system: Mounts::read().ok().and_then(|mounts| file_system(&mounts, &whole)),
        work: work.to_owned(),
    }
}

/// The value of the first line `key <separator> value`, without quotes.
fn value_of(text: &str, key: &str, separator: char) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(separator));
    let (_, value) = pairs.find(|(name, _)| name.trim() == key)?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// The file system of an absolute path.
fn file_system(mounts: &Mounts, path: &Path) -> Option<String> {
    let mount = mounts.over(path)?;
    Some(format!("{} ({} on {})", mount.kind, mount.source, mount.point.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_wins() {
        let mountinfo = "\
            22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            30 22 0:26 / /tmp rw - tmpfs tmpfs rw,size=1g\n\
            31 30 7:0 / /tmp/my\\040disk rw - btrfs /dev/loop0 rw\n";
        let at = |path: &str| file_system(&Mounts::parse(mountinfo), Path::new(path)).unwrap();
        assert_eq!(at("/var/tmp"), "ext4 (/dev/vda on /)");
        assert_eq!(at("/tmp/x"), "tmpfs (tmpfs on /tmp)");
        assert_eq!(at("/tmp/my disk/x"), "btrfs (/dev/loop0 on /tmp/my disk)");
        assert_eq!(at("/tmpfile"), "ext4 (/dev/vda on /)");
    }

    #[test]
    fn this_machine_is_known() {
        let facts = facts(Path::new("/"));
        assert!(facts.cores.is_some_and(|cores| cores > 0));
        assert!(facts.memory.is_some_and(|bytes| bytes > 1 << 20), "{facts:?}");
        assert!(facts.kernel.is_some() && facts.work_file_system.is_some(), "{facts:?}");
    }
}
