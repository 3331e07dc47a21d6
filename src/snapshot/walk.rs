//! Copying a directory file by file: what the drivers `reflink` and `copy` have in common.
//!
//! Owners and modes are kept. Times, extended attributes and hard links are not: PostgreSQL looks at none of them in a
//! data directory. Sockets, pipes and devices are left out. What vanishes meanwhile is passed over, for a server that
//! runs removes files as it goes. Nothing is flushed to disk.

use super::{SnapshotDriver, SnapshotError, Symlink, copy, reflink};
use rustix::fs::{self, AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is left out of a copy that is made file by file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// Nothing.
    #[default]
    Nothing,
    /// What a server makes anew whenever it starts, with or without recovery: of the list in the manual's "Making a Base
    /// Backup Using the Low Level API" (and `basebackup.c`) all but `pg_replslot`, which recovery does not make anew,
    /// and unlogged tables, which are good in the copy of a stopped server.
    Volatile,
}

/// Directories whose contents every start removes or makes anew.
const VOLATILE: [&str; 6] = ["pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"];
/// The file that is copied after all others, as `pg_basebackup` does it: of a standby it says how much WAL the rest needs.
const CONTROL: (&str, &str) = ("global", "pg_control");
/// Permissions, of a mode.
const PERMISSIONS: u32 = 0o7777;
/// What is made in a directory gets its group.
const SET_GROUP: u32 = 0o2000;

impl Skip {
    /// Whether it leaves out the entry `name` of the directory `within`, which is given from the data directory.
    fn has(self, within: &Path, name: &[u8]) -> bool {
        if self == Skip::Nothing {
            return false;
        }
        let starts = |with: &str| name.starts_with(with.as_bytes());
        let within = within.as_os_str().as_bytes();
        let top = within.is_empty() && [&b"postmaster.pid"[..], b"postmaster.opts"].contains(&name);
        top || VOLATILE.iter().any(|dir| dir.as_bytes() == within) || starts("pgsql_tmp") || starts("pg_internal.init")
    }
}

/// A copy under way.
struct Walk {
    how: SnapshotDriver,
    skip: Skip,
    stop: Arc<AtomicBool>,
    /// What the system takes away from the mode of a new file.
    umask: u32,
    /// Whose a new file is, in the directory under way.
    own: (u32, u32),
    /// Where the copy is made, for errors.
    to: PathBuf,
    /// The entry under way, from the data directory.
    at: PathBuf,
    buffer: Vec<u8>,
    links: Vec<Symlink>,
}

/// Tells a walk to end when nobody waits for it any more.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Copies the directory `from` to `to`, which is not there yet, and returns the symbolic links in it.
pub(super) async fn copy(
    how: SnapshotDriver,
    from: &Path,
    to: &Path,
    skip: Skip,
) -> Result<Vec<Symlink>, SnapshotError> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let wanted = Wanted(Arc::default());
    let stop = wanted.0.clone();
    super::aside(move || copy_here(how, &from, &to, skip, stop)).await
}

fn copy_here(
    how: SnapshotDriver,
    from: &Path,
    to: &Path,
    skip: Skip,
    stop: Arc<AtomicBool>,
) -> Result<Vec<Symlink>, SnapshotError> {
    let at = SnapshotError::at;
    let source = File::open(from).map_err(at(from))?;
    let (Some(parent), Some(name)) = (to.parent(), to.file_name()) else {
        return Err(SnapshotError::Place { dir: to.to_owned(), why: "it has no name".to_owned() });
    };
    let into = File::open(parent).map_err(at(parent))?;
    let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let (umask, to, buffer) = (umask()?, to.to_owned(), Vec::new());
    let mut walk = Walk { how, skip, stop, umask, own, to, at: PathBuf::new(), buffer, links: Vec::new() };
    let from = OwnedFd::from(source);
    let again = from.try_clone().map_err(at(&walk.to))?;
    let to = walk.directory(from, into.as_fd(), &c_string(name)?)?;
    walk.control(again.as_fd(), to.as_fd())?;
    walk.links.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.links)
}

fn c_string(name: &OsStr) -> Result<CString, SnapshotError> {
    CString::new(name.as_bytes()).map_err(|error| SnapshotError::at(Path::new(name))(error.into()))
}

/// This process's file mode creation mask, which can be read without setting it only here (proc(5)).
fn umask() -> Result<u32, SnapshotError> {
    let path = Path::new("/proc/self/status");
    let status = std::fs::read_to_string(path).map_err(SnapshotError::at(path))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    // A kernel that does not tell (before 4.7) gets a mask that hides nothing from us: every mode is then set by itself.
    Ok(line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(PERMISSIONS))
}

impl Walk {
    /// Copies the directory `from` to the new one `name` in `into`, which it returns.
    fn directory(&mut self, from: OwnedFd, into: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, SnapshotError> {
        let stat = fs::fstat(&from).map_err(|errno| self.failed(errno))?;
        let made = fs::mkdirat(into, name, mode(stat.st_mode | 0o700));
        made.map_err(|errno| self.failed(errno))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = fs::openat(into, name, flags, Mode::empty()).map_err(|errno| self.failed(errno))?;
        if self.how == SnapshotDriver::Reflink {
            reflink::take_flags(&from, &to).map_err(|errno| self.failed(errno))?;
        }
        // A directory may hand its group on to what is made in it, and that it does so.
        let made = fs::fstat(&to).map_err(|errno| self.failed(errno))?;
        let wanted = (stat.st_mode | 0o700) & PERMISSIONS;
        if (made.st_uid, made.st_gid, made.st_mode & PERMISSIONS) != (stat.st_uid, stat.st_gid, wanted) {
            self.give(&to, &stat, Some(wanted))?;
        }
        let outer = self.own;
        if wanted & SET_GROUP != 0 {
            self.own.1 = stat.st_gid;
        }
        let mut dir = Dir::new(from).map_err(|errno| self.failed(errno))?;
        let mut entries = Vec::new();
        while let Some(entry) = dir.read() {
            let entry = entry.map_err(|errno| self.failed(errno))?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                entries.push((name.to_owned(), entry.file_type()));
            }
        }
        let from = dir.fd().map_err(|errno| self.failed(errno))?;
        for (name, kind) in entries {
            if self.stop.load(Ordering::Relaxed) {
                return Err(SnapshotError::BrokenOff);
            }
            let control = self.at.as_os_str() == CONTROL.0 && name.to_bytes() == CONTROL.1.as_bytes();
            if !control && !self.skip.has(&self.at, name.to_bytes()) {
                self.entry(from, to.as_fd(), &name, kind)?;
            }
        }
        self.own = outer;
        Ok(to)
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
    ) -> Result<(), SnapshotError> {
        self.at.push(OsStr::from_bytes(name.to_bytes()));
        let kind = match kind {
            FileType::Unknown => match fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(errno) => return self.vanished(errno),
            },
            known => known,
        };
        match kind {
            FileType::RegularFile => self.file(from, to, name)?,
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match fs::openat(from, name, flags, Mode::empty()) {
                    Ok(from) => drop(self.directory(from, to, name)?),
                    Err(errno) => return self.vanished(errno),
                }
            }
            FileType::Symlink => self.symlink(from, to, name)?,
            _ => {}
        }
        self.at.pop();
        Ok(())
    }

    /// Copies the file `name` of one directory into another: open, stat, create, chown where it is
    /// not ours, copy, twice close.
    fn file(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), SnapshotError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = match fs::openat(from, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            from => from.map_err(|errno| self.failed(errno))?,
        };
        let stat = fs::fstat(&from).map_err(|errno| self.failed(errno))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = fs::openat(to, name, flags, mode(stat.st_mode)).map_err(|errno| self.failed(errno))?;
        // What lets others act as the owner is taken away when the owner changes.
        let hidden = (stat.st_mode & (self.umask | 0o7000) & PERMISSIONS != 0).then_some(stat.st_mode);
        if self.own != (stat.st_uid, stat.st_gid) || hidden.is_some() {
            self.give(&to, &stat, hidden)?;
        }
        if stat.st_size == 0 {
            return Ok(());
        }
        match self.how {
            SnapshotDriver::Copy => copy::bytes(from, to, &mut self.buffer, &self.stop),
            _ => reflink::file(&from, &to),
        }
        .map_err(|errno| self.failed(errno))
    }

    fn symlink(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), SnapshotError> {
        let target = match fs::readlinkat(from, name, Vec::new()) {
            Err(Errno::NOENT) => return Ok(()),
            target => target.map_err(|errno| self.failed(errno))?,
        };
        fs::symlinkat(&target, to, name).map_err(|errno| self.failed(errno))?;
        let target = OsStr::from_bytes(target.to_bytes()).into();
        self.links.push(Symlink { path: self.at.clone(), target });
        Ok(())
    }

    /// Copies what is copied last, if it is there.
    fn control(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), SnapshotError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |at: BorrowedFd<'_>| fs::openat(at, CONTROL.0, flags, Mode::empty());
        self.at = Path::new(CONTROL.0).join(CONTROL.1);
        match (open(from), open(to)) {
            (Ok(from), Ok(to)) => self.file(from.as_fd(), to.as_fd(), &c_string(OsStr::new(CONTROL.1))?),
            // No data directory of a server's; what failed for another reason has failed before.
            _ => Ok(()),
        }
    }

    /// Gives what was just made its owner, and a mode.
    fn give(&self, to: &OwnedFd, stat: &Stat, wanted: Option<u32>) -> Result<(), SnapshotError> {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        let given = match fs::fchown(to, Some(uid), Some(gid)) {
            // Only its group is another: who is not in that, and not root, cannot give it away, and no server minds.
            Err(Errno::PERM) if stat.st_uid == self.own.0 => Ok(()),
            given => given,
        };
        let given = given.and_then(|()| wanted.map_or(Ok(()), |wanted| fs::fchmod(to, mode(wanted))));
        given.map_err(|errno| self.failed(errno))
    }

    /// The entry under way is no longer there, or cannot be reached.
    fn vanished(&mut self, errno: Errno) -> Result<(), SnapshotError> {
        if errno != Errno::NOENT {
            return Err(self.failed(errno));
        }
        self.at.pop();
        Ok(())
    }

    fn failed(&self, errno: Errno) -> SnapshotError {
        // Joining nothing would add a slash.
        let path = if self.at.as_os_str().is_empty() { self.to.clone() } else { self.to.join(&self.at) };
        SnapshotError::at(&path)(errno.into())
    }
}

fn mode(raw: u32) -> Mode {
    Mode::from_raw_mode(raw & PERMISSIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn volatile_is_what_every_start_makes_anew() {
        let skips = |within: &str, name: &str| Skip::Volatile.has(Path::new(within), name.as_bytes());
        for (within, name) in [
            ("", "postmaster.pid"),
            ("", "postmaster.opts"),
            ("pg_stat_tmp", "global.stat"),
            ("pg_subtrans", "0000"),
            ("base", "pgsql_tmp"),
            ("base/5", "pg_internal.init"),
        ] {
            assert!(skips(within, name), "{within}/{name}");
            assert!(!Skip::Nothing.has(Path::new(within), name.as_bytes()));
        }
        for (within, name) in [
            ("", "pg_subtrans"),
            ("", "backup_label"),
            ("base/5", "postmaster.pid"),
            ("base/5", "16384_init"),
            ("pg_replslot", "s1"),
            ("pg_xact", "0000"),
            ("x/pg_notify", "0000"),
        ] {
            assert!(!skips(within, name), "{within}/{name}");
        }
    }

    #[test]
    fn copies_all_and_reports_links() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(from.join("global")).unwrap();
        std::fs::create_dir_all(from.join("base/1")).unwrap();
        std::fs::write(from.join("global/pg_control"), "control").unwrap();
        std::fs::write(from.join("base/1/2"), vec![7; 3 << 20]).unwrap();
        std::fs::write(from.join("base/1/empty"), "").unwrap();
        std::fs::write(from.join("postmaster.pid"), "1").unwrap();
        for (path, mode) in [("base/1/2", 0o666), ("base", 0o2777), ("base/1/empty", 0o400)] {
            std::fs::set_permissions(from.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("/elsewhere", from.join("pg_wal")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(from.join("base/1/2"), Some(12), Some(34)).unwrap();
        }

        let links = copy_here(SnapshotDriver::Copy, &from, &to, Skip::Volatile, Arc::default()).unwrap();
        assert_eq!(links, [Symlink { path: "pg_wal".into(), target: "/elsewhere".into() }]);
        assert_eq!(std::fs::read_link(to.join("pg_wal")).unwrap(), Path::new("/elsewhere"));
        for name in ["global", "global/pg_control", "base", "base/1", "base/1/2", "base/1/empty"] {
            let (one, two) = (from.join(name).metadata().unwrap(), to.join(name).metadata().unwrap());
            assert_eq!((one.mode(), one.uid(), one.gid()), (two.mode(), two.uid(), two.gid()), "{name}");
            if one.is_file() {
                assert!(std::fs::read(from.join(name)).unwrap() == std::fs::read(to.join(name)).unwrap(), "{name}");
            }
        }
        assert!(!to.join("postmaster.pid").exists() && !to.join("socket").exists());
    }

    #[test]
    fn ends_when_nobody_wants_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("from/a")).unwrap();
        let stop = Arc::new(AtomicBool::new(true));
        let from = dir.path().join("from");
        let ended = copy_here(SnapshotDriver::Copy, &from, &dir.path().join("to"), Skip::Nothing, stop);
        assert!(matches!(ended, Err(SnapshotError::BrokenOff)), "{ended:?}");
    }
}
