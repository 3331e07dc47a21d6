//! A lock between processes on one template: flock(2) on a file beside it, which the kernel lets go of when its holder
//! dies, however that comes.

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A held lock. Dropping it lets it go.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Others may use it, too.
    Shared,
    /// Nobody else may: it is made or removed.
    Alone,
}

impl Lock {
    /// Takes the lock whose file is `path`; none while somebody holds it in a way that excludes this.
    pub fn attempt(path: &Path, hold: Hold) -> io::Result<Option<Lock>> {
        loop {
            let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            let operation = match hold {
                Hold::Shared => FlockOperation::NonBlockingLockShared,
                Hold::Alone => FlockOperation::NonBlockingLockExclusive,
            };
            match flock(&file, operation) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            // Whoever removed the template removed this file with it, and others lock a new one.
            if fs::metadata(path).is_ok_and(|meta| file.metadata().is_ok_and(|own| own.ino() == meta.ino())) {
                return Ok(Some(Lock { file, path: path.to_owned() }));
            }
        }
    }

    /// Removes the lock's file, of a template that is gone.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// Lets others use it, too. Somebody else may hold it alone for a moment in between (flock(2)), so what it protects
    /// must be looked at again.
    pub fn share(self) -> io::Result<Lock> {
        loop {
            match flock(&self.file, FlockOperation::LockShared) {
                Ok(()) => return Ok(self),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for Lock {
    /// Closing the file is not enough: a child that this process is about to start has the file, too, from fork until
    /// exec, and would hold the lock for so long.
    fn drop(&mut self) {
        // It fails for a file that is not open only; the file is closed next in any case.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_or_several_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let take = |hold| Lock::attempt(&path, hold).unwrap();
        let alone = take(Hold::Alone).unwrap();
        assert!(take(Hold::Shared).is_none() && take(Hold::Alone).is_none());
        let shared = alone.share().unwrap();
        let other = take(Hold::Shared).unwrap();
        assert!(take(Hold::Alone).is_none());
        drop((shared, other));
        take(Hold::Alone).unwrap().remove().unwrap();
        assert!(!path.exists());
        assert!(take(Hold::Alone).is_some(), "its file is made anew");
    }

    #[test]
    fn it_is_let_go_though_a_child_has_the_file_still() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let lock = Lock::attempt(&path, Hold::Alone).unwrap().unwrap();
        // As fork(2) leaves it to a child that has not come to its exec(2).
        let inherited = lock.file.try_clone().unwrap();
        drop(lock);
        assert!(Lock::attempt(&path, Hold::Alone).unwrap().is_some());
        drop(inherited);
    }
}
