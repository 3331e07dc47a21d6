//! The driver `reflink`: each file of the copy shares its blocks with the original (FICLONE: XFS, btrfs, OpenZFS from 2.2
//! on where block cloning is on, …). It takes as long as there are files, however large.

use super::{Capabilities, Sharing, SnapshotDriver, SnapshotError};
use rustix::fs::{IFlags, Mode, OFlags, ioctl_ficlone, ioctl_getflags, ioctl_setflags, open};
use rustix::io::Errno;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Each file is cloned at one instant (ioctl_ficlone(2): "atomic with respect to concurrent writes"), all files are not.
/// The clone's pages are its own: files cloned on XFS and btrfs began with nothing in the page cache, though the original
/// was there as a whole (measured).
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    atomic: false,
    keeps_write_order: false,
    shares_blocks: Sharing::EachFile,
    shares_cache: false,
    quota: false,
};

/// Where files can share their blocks unless that was turned off, as the kernel names these file systems.
pub(super) const USUAL: [&str; 2] = ["xfs", "btrfs"];

/// Lets an empty file have all that another one has.
pub(super) fn file(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    loop {
        match ioctl_ficlone(to, from) {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// Lets a new directory be without copy-on-write where the original is (`chattr +C` on btrfs): the files that are then
/// made in it are, too, and FICLONE refuses files that differ in this.
pub(super) fn take_flags(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    match ioctl_getflags(from) {
        Ok(flags) if flags.contains(IFlags::NOCOW) => {
            let own = ioctl_getflags(to)?;
            if own.contains(IFlags::NOCOW) { Ok(()) } else { ioctl_setflags(to, own | IFlags::NOCOW) }
        }
        // A file system without such flags has no such difference.
        _ => Ok(()),
    }
}

/// Clones a nameless file in `home`, which is on the file system of `dir`.
pub(super) fn probe(dir: &Path, home: &Path, kind: &str) -> Result<(), SnapshotError> {
    let nameless = || {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        open(home, flags, Mode::from_raw_mode(0o600))
    };
    let tried = || -> Result<(), Errno> {
        let mut one = std::fs::File::from(nameless()?);
        one.write_all(&[7; 8192]).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        file(&one.into(), &nameless()?)
    };
    tried().map_err(|errno| match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            SnapshotError::at(home)(errno.into())
        }
        errno => SnapshotError::Impossible {
            driver: SnapshotDriver::Reflink,
            dir: dir.to_owned(),
            why: format!("{kind} does not let files share blocks here ({errno})"),
            hint: "put it on XFS (mkfs.xfs -m reflink=1) or btrfs, or use the driver `copy`".to_owned(),
        },
    })
}
