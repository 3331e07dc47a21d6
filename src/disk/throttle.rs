//! How many bytes a second the processes of a control group may read from a block device and write to it.

use super::DiskError;
use super::cgroup::{Cgroup, Version};
use crate::base::mounts::Mounts;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes a second; absent: as fast as the device can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// What may be read.
    pub read: Option<u64>,
    /// What may be written.
    pub write: Option<u64>,
}

/// A block device by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    major: u64,
    minor: u64,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl Device {
    /// The device that the file system of `dir` is on; the whole disk if that is a partition, for limits are a
    /// disk's.
    pub fn of(dir: &Path) -> Result<Device, DiskError> {
        let mut device = Device::numbered(dir.metadata().map_err(DiskError::io(dir))?.dev());
        // The number that btrfs gives its files is no device's; the table of mounts has one of its devices.
        if !device.block().exists()
            && let Some(source) = Mounts::read().ok().and_then(|mounts| Some(mounts.over(dir)?.source.clone()))
            && let Ok(meta) = fs::metadata(source)
        {
            device = Device::numbered(meta.rdev());
        }
        let Ok(block) = fs::canonicalize(device.block()) else {
            return Err(DiskError::Impossible {
                what: format!("{} is on no block device whose speed could be limited", dir.display()),
                hint: "give the node a disk of its own that is ext4, xfs or btrfs (disk = \"1GB\")",
            });
        };
        if !block.join("partition").exists() {
            return Ok(device);
        }
        let whole = block.parent().unwrap_or(&block).join("dev");
        let text = fs::read_to_string(&whole).map_err(DiskError::io(&whole))?;
        Device::parse(text.trim()).ok_or_else(|| DiskError::io(whole)(io::ErrorKind::InvalidData.into()))
    }

    fn numbered(number: u64) -> Device {
        Device { major: nix::sys::stat::major(number), minor: nix::sys::stat::minor(number) }
    }

    fn block(self) -> PathBuf {
        PathBuf::from(format!("/sys/dev/block/{self}"))
    }

    fn parse(text: &str) -> Option<Device> {
        let (major, minor) = text.split_once(':')?;
        Some(Device { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// Sets both limits, from now on.
pub fn set(cgroup: &Cgroup, device: Device, limits: Limits) -> Result<(), DiskError> {
    write(&cgroup.path, cgroup.version, device, limits)
}

fn write(cgroup: &Path, version: Version, device: Device, limits: Limits) -> Result<(), DiskError> {
    for (file, text) in lines(version, device, limits) {
        let file = cgroup.join(file);
        // Never made: the kernel offers it or does not.
        let opened = fs::File::options().write(true).open(&file);
        opened.and_then(|mut opened| opened.write_all(text.as_bytes())).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => DiskError::Impossible {
                what: format!("{} is missing, so the speed of disks cannot be limited", file.display()),
                hint: "it takes a kernel with CONFIG_BLK_DEV_THROTTLING, and the io controller switched on",
            },
            _ => DiskError::io(file)(error),
        })?;
    }
    Ok(())
}

/// What is written to which file.
fn lines(version: Version, device: Device, Limits { read, write }: Limits) -> Vec<(&'static str, String)> {
    match version {
        // Here 0 stands for no limit.
        Version::V1 => vec![
            ("blkio.throttle.read_bps_device", format!("{device} {}", read.unwrap_or(0))),
            ("blkio.throttle.write_bps_device", format!("{device} {}", write.unwrap_or(0))),
        ],
        Version::V2 => {
            let shown = |limit: Option<u64>| limit.map_or("max".to_owned(), |limit| limit.to_string());
            vec![("io.max", format!("{device} rbps={} wbps={}", shown(read), shown(write)))]
        }
    }
}

/// Lifts all limits of the group at `path`, so that who waits for a disk in it can go on, or die.
pub fn lift(path: &Path) -> Result<(), String> {
    let read = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
    for (version, text) in [
        (Version::V1, read("blkio.throttle.read_bps_device") + &read("blkio.throttle.write_bps_device")),
        (Version::V2, read("io.max")),
    ] {
        for device in text.lines().filter_map(|line| Device::parse(line.split_ascii_whitespace().next()?)) {
            write(path, version, device, Limits::default()).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_the_kernel_wants_them() {
        let device = Device { major: 7, minor: 1 };
        let limits = Limits { read: None, write: Some(2_000_000) };
        let v1 = [("blkio.throttle.read_bps_device", "7:1 0"), ("blkio.throttle.write_bps_device", "7:1 2000000")];
        assert_eq!(lines(Version::V1, device, limits), v1.map(|(file, text)| (file, text.to_owned())));
        let v2 = [("io.max", "7:1 rbps=max wbps=2000000".to_owned())];
        assert_eq!(lines(Version::V2, device, limits), v2);
    }

    #[test]
    fn lifting_resets_every_device_that_is_named() {
        let group = tempfile::tempdir().unwrap();
        fs::write(group.path().join("io.max"), "7:1 rbps=max wbps=2000000 riops=max wiops=max\n").unwrap();
        lift(group.path()).unwrap();
        let now = fs::read_to_string(group.path().join("io.max")).unwrap();
        assert!(now.starts_with("7:1 rbps=max wbps=max"), "{now}");
        assert_eq!(lift(&group.path().join("gone")), Ok(()));
    }

    #[test]
    fn a_directory_in_memory_is_on_no_device() {
        let error = Device::of(Path::new("/proc")).unwrap_err().to_string();
        assert!(error.contains("no block device") && error.contains("hint:"), "{error}");
    }
}
