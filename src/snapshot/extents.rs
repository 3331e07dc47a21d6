//! What of a file's blocks nobody else has, by FIEMAP (Documentation/filesystems/fiemap.rst of the kernel).

use super::{SnapshotError, each_file};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Extents that are asked for at once.
const BATCH: usize = 128;
/// No more of the file follows.
const LAST: u32 = 0x1;
/// It has no place on disk yet.
const UNKNOWN: u32 = 0x2;
/// It lies in the file system's own tree, which snapshots share as well.
const INLINE: u32 = 0x200;
/// Other files have it, too.
const SHARED: u32 = 0x2000;

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    reserved_too: [u32; 3],
}

/// `struct fiemap`.
#[repr(C)]
struct Head {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
}

#[repr(C)]
struct Map {
    head: Head,
    extents: [Extent; BATCH],
}

mod request {
    // The kernel encodes the size of the head alone: _IOWR('f', 11, struct fiemap).
    nix::ioctl_readwrite!(fiemap, b'f', 11, super::Head);
}

/// Bytes of all files in a directory that are on disk and that no other file shares; absent where the file system does
/// not tell.
pub(super) fn unshared(root: &Path) -> Result<Option<u64>, SnapshotError> {
    let mut bytes = Some(0);
    each_file(root, &mut |path, file| {
        if file.is_file() && bytes.is_some() {
            let own = of_file(&File::open(path)?)?;
            bytes = bytes.zip(own).map(|(all, own)| all + own);
        }
        Ok(())
    })?;
    Ok(bytes)
}

fn of_file(file: &File) -> io::Result<Option<u64>> {
    let (mut start, mut bytes) = (0, 0);
    loop {
        let head = Head { start, length: u64::MAX - start, flags: 0, mapped: 0, count: BATCH as u32, reserved: 0 };
        let mut map = Map { head, extents: [Extent::default(); BATCH] };
        #[expect(
            unsafe_code,
            reason = "the kernel writes at most `count` extents behind the head, and so many are there"
        )]
        // The pointer is to the whole of `map`, whose first field is the head.
        let asked = unsafe { request::fiemap(file.as_raw_fd(), (&raw mut map).cast()) };
        match asked.map_err(io::Error::from) {
            Ok(_) => {}
            Err(error) if [Some(Errno::OPNOTSUPP), Some(Errno::NOTTY)].contains(&Errno::from_io_error(&error)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let found = map.extents.get(..map.head.mapped as usize).unwrap_or_default();
        let own = found.iter().filter(|extent| extent.flags & (SHARED | UNKNOWN | INLINE) == 0);
        bytes += own.map(|extent| extent.length).sum::<u64>();
        match found.last() {
            Some(last) if last.flags & LAST == 0 => start = last.logical + last.length,
            _ => return Ok(Some(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_has_the_same_structures() {
        assert_eq!((size_of::<Head>(), size_of::<Extent>()), (32, 56));
        assert_eq!(std::mem::offset_of!(Map, extents), 32);
    }

    #[test]
    fn a_file_alone_shares_nothing() {
        // Not /tmp, which may be in memory, where there are no extents.
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        if let Some(bytes) = of_file(&file).unwrap() {
            assert_eq!(bytes, 1 << 20);
        }
    }
}
