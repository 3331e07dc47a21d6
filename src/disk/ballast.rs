//! Filling a file system: a file that takes all the room there is.

use super::mount::reserve;
use super::{DiskError, aside};
use crate::base::disk::free;
use nix::errno::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file's name. A dot in front hides it from what lists data directories.
const NAME: &str = ".pgbench-rs-ballast";
/// How much is reserved by one call at most; smaller parts follow when that much is not free.
const PART: u64 = 64 << 20;
/// Below this a file system is full.
const BLOCK: u64 = 4096;

/// A file that takes room. Dropping it removes nothing.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    /// How many bytes it took.
    pub bytes: u64,
}

impl Ballast {
    /// Takes room on the file system of `dir` until `leave` bytes are free to users other than root, or all
    /// of it. What others write meanwhile counts too.
    pub(super) async fn fill(dir: &Path, leave: u64) -> Result<Ballast, DiskError> {
        let path = dir.join(NAME);
        let at = path.clone();
        let bytes = aside(&path, move || take(&at, leave).map_err(DiskError::io(&at))).await;
        match bytes {
            Ok(bytes) => Ok(Ballast { path, bytes }),
            Err(error) => Ballast { path, bytes: 0 }.release().await.and(Err(error)),
        }
    }

    /// Makes the room free again.
    pub async fn release(&self) -> Result<(), DiskError> {
        let path = self.path.clone();
        let removed = move || match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DiskError::io(path)(error)),
            _ => Ok(()),
        };
        aside(&self.path, removed).await
    }
}

fn take(path: &Path, leave: u64) -> io::Result<u64> {
    let dir = path.parent().unwrap_or(path);
    let mut file = File::options().append(true).create(true).open(path)?;
    let mut offset = file.metadata()?.len();
    let mut part = PART;
    loop {
        let room = free(dir)?.saturating_sub(leave);
        part = part.min(room) / BLOCK * BLOCK;
        if part == 0 {
            // Full, but for what is left of a block, which no file can use.
            break;
        }
        match reserve(&file, offset, part) {
            Ok(()) => offset += part,
            Err(Errno::ENOSPC) => part /= 2,
            Err(Errno::EOPNOTSUPP) => match write(&mut file, part)? {
                0 => part /= 2,
                written => offset += written,
            },
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    file.sync_all()?;
    Ok(offset)
}

/// For file systems that reserve nothing: bytes that do not compress. Returns how many found room.
fn write(file: &mut File, length: u64) -> io::Result<u64> {
    let mut block = [0; BLOCK as usize];
    for done in (0..length).step_by(BLOCK as usize) {
        rand::fill(&mut block);
        match file.write_all(&block) {
            // The file system said there was room; the next look at it says how much.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(done),
            written => written?,
        }
    }
    Ok(length)
}
