//! The one way in which a clone's files are written: below its own data directory, through no symbolic link, and only
//! after it was made sure that the directory is the clone's and shares no file with its source.

use crate::base::inventory::MARK;
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// What of a data directory is looked at to tell whether two are one: files that every one has.
const TELLING: [&str; 2] = ["", "PG_VERSION"];

/// Why nothing is written to a directory.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// It is not the clone's own.
    #[error("nothing was written to {dir}: {why}", dir = dir.display())]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// How that shows.
        why: String,
    },
    /// A file of it could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The data directory of a clone.
#[derive(Debug)]
pub struct Fence {
    dir: OwnedFd,
    path: PathBuf,
    /// Whose its files are.
    owner: (u32, u32),
}

impl Fence {
    /// Makes sure that `data` lies below `home`, that `home` bears the mark of `run`, and that it is not `source`.
    pub fn open(home: &Path, data: &Path, run: &str, source: &Path) -> Result<Fence, FenceError> {
        let wrong = |why: String| Err(FenceError::NotOurs { dir: data.to_owned(), why });
        let real = |path: &Path| fs::canonicalize(path).map_err(at(path));
        let (real_home, real_data, real_source) = (real(home)?, real(data)?, real(source)?);
        if real_data != data || !real_data.starts_with(&real_home) || real_data == real_home {
            let (data, home) = (real_data.display(), real_home.display());
            return wrong(format!("it is {data}, which is not below {home}, the clone's own"));
        }
        match fs::read_to_string(home.join(MARK)) {
            Ok(mark) if mark == run && !run.is_empty() => {}
            Ok(mark) => return wrong(format!("the mark above it is that of run {mark}")),
            Err(error) => return Err(at(&home.join(MARK))(error)),
        }
        if real_source.starts_with(&real_data) || real_data.starts_with(&real_source) {
            return wrong(format!("it and the source, {}, lie in each other", real_source.display()));
        }
        for name in TELLING {
            let (one, other) = (data.join(name), source.join(name));
            let (one, other) = (fs::metadata(&one).map_err(at(&one))?, fs::metadata(&other).map_err(at(&other))?);
            if (one.dev(), one.ino()) == (other.dev(), other.ino()) {
                let what = if name.is_empty() { "it" } else { name };
                return wrong(format!("{what} is the same file here and in the source, {}", real_source.display()));
            }
        }
        Fence::unchecked(data)
    }

    fn unchecked(data: &Path) -> Result<Fence, FenceError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::open(data, flags, Mode::empty()).map_err(|errno| at(data)(errno.into()))?;
        let meta = fs::metadata(data).map_err(at(data))?;
        Ok(Fence { dir, path: data.to_owned(), owner: (meta.uid(), meta.gid()) })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only its owner can read, in place of what was there, be it a link.
    pub fn write(&self, name: &str, text: &str) -> Result<(), FenceError> {
        let aside = format!("{name}.new");
        self.remove(&aside)?;
        let mut file = self.create(&aside)?;
        file.write_all(text.as_bytes()).map_err(at(&self.path.join(&aside)))?;
        let failed = |errno: Errno| at(&self.path.join(name))(errno.into());
        let (from, from_name) = self.parent(&aside)?;
        let (to, to_name) = self.parent(name)?;
        rustix::fs::renameat(&from, &from_name, &to, &to_name).map_err(failed)
    }

    /// Makes a file that is not there yet.
    pub fn create(&self, name: &str) -> Result<File, FenceError> {
        let failed = |errno: Errno| at(&self.path.join(name))(errno.into());
        let (parent, file) = self.parent(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&parent, &file, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        if self.owner != (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()) {
            let (uid, gid) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
            rustix::fs::fchown(&made, Some(uid), Some(gid)).map_err(failed)?;
        }
        Ok(File::from(made))
    }

    /// Removes a file or link; whether it was there.
    pub fn remove(&self, name: &str) -> Result<bool, FenceError> {
        let (parent, file) = self.parent(name)?;
        match rustix::fs::unlinkat(&parent, &file, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(at(&self.path.join(name))(errno.into())),
        }
    }

    /// Removes all that is in a directory; how many entries it had.
    pub fn empty(&self, name: &str) -> Result<usize, FenceError> {
        let (parent, last) = self.parent(name)?;
        empty(parent.as_fd(), &last).map_err(|errno| at(&self.path.join(name))(errno.into()))
    }

    /// The directory that holds `name`, and what it is called there. Every step to it is a directory, and no link.
    fn parent(&self, name: &str) -> Result<(OwnedFd, CString), FenceError> {
        let path = Path::new(name);
        let failed = |error: io::Error| at(&self.path.join(name))(error);
        let c_string = |part: &std::ffi::OsStr| CString::new(part.as_bytes()).map_err(|error| failed(error.into()));
        let mut steps: Vec<CString> = Vec::new();
        for step in path.components() {
            match step {
                Component::Normal(part) => steps.push(c_string(part)?),
                _ => return Err(failed(io::Error::other("it leads out of the clone's directory"))),
            }
        }
        let last = steps.pop().ok_or_else(|| failed(io::Error::other("it has no name")))?;
        let mut dir = self.dir.try_clone().map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for step in steps {
            dir = rustix::fs::openat(&dir, &step, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        }
        Ok((dir, last))
    }
}

fn empty(parent: impl AsFd, name: &CStr) -> Result<usize, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match rustix::fs::openat(&parent, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(0),
        dir => dir?,
    };
    let mut entries = Vec::new();
    let mut reading = Dir::read_from(&dir)?;
    while let Some(entry) = reading.read() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            entries.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    for (name, kind) in &entries {
        let is_dir = match kind {
            FileType::Unknown => {
                let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            }
            kind => *kind == FileType::Directory,
        };
        if is_dir {
            empty(&dir, name)?;
        }
        rustix::fs::unlinkat(&dir, name, if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() })?;
    }
    Ok(entries.len())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FenceError + use<> {
    let path = path.to_owned();
    move |source| FenceError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A source and a clone's directory, each with the files that tell them apart.
    fn lab() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(root.path()).unwrap();
        let (home, source) = (real.join("clone"), real.join("source"));
        for dir in [home.join("data"), source.clone()] {
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("PG_VERSION"), "15\n").unwrap();
        }
        fs::write(home.join(MARK), "r1").unwrap();
        (root, home, source)
    }

    #[test]
    fn only_a_marked_directory_that_is_not_the_source_is_written_to() {
        let (_root, home, source) = lab();
        let data = home.join("data");
        assert!(Fence::open(&home, &data, "r1", &source).is_ok());
        let refused = |home: &Path, data: &Path, run: &str, source: &Path| {
            Fence::open(home, data, run, source).unwrap_err().to_string()
        };
        assert!(refused(&home, &data, "r2", &source).contains("mark above it is that of run r1"));
        assert!(refused(&home, &data, "r1", &data).contains("lie in each other"));
        assert!(refused(&home, &data, "r1", &home).contains("lie in each other"));
        assert!(refused(&home, &source, "r1", &data).contains("which is not below"));
        symlink(&source, home.join("link")).unwrap();
        assert!(refused(&home, &home.join("link"), "r1", &source).contains("which is not below"));
        fs::remove_file(data.join("PG_VERSION")).unwrap();
        fs::hard_link(source.join("PG_VERSION"), data.join("PG_VERSION")).unwrap();
        assert!(refused(&home, &data, "r1", &source).contains("PG_VERSION is the same file here and in the source"));
    }

    #[test]
    fn no_link_is_followed_and_no_path_leads_out() {
        let (_root, home, source) = lab();
        let data = home.join("data");
        fs::write(source.join("postgresql.conf"), "theirs").unwrap();
        fs::create_dir(source.join("pg_wal")).unwrap();
        fs::write(source.join("pg_wal/1"), "wal").unwrap();
        symlink(source.join("postgresql.conf"), data.join("postgresql.conf")).unwrap();
        symlink(source.join("pg_wal"), data.join("pg_wal")).unwrap();
        let fence = Fence::open(&home, &data, "r1", &source).unwrap();
        fence.write("postgresql.conf", "ours").unwrap();
        assert_eq!(fs::read_to_string(source.join("postgresql.conf")).unwrap(), "theirs");
        assert_eq!(fs::read_to_string(data.join("postgresql.conf")).unwrap(), "ours");
        assert!(!data.join("postgresql.conf").is_symlink());
        assert!(fence.empty("pg_wal").is_err() && fence.remove("pg_wal/1").is_err());
        for outside in ["../../source/postgresql.conf", "/etc/passwd", "pg_wal/1", ""] {
            assert!(fence.write(outside, "ours").is_err(), "{outside}");
        }
        assert_eq!(fs::read_to_string(source.join("pg_wal/1")).unwrap(), "wal");
    }

    #[test]
    fn a_directory_is_emptied_with_all_below() {
        let (_root, home, source) = lab();
        let data = home.join("data");
        fs::create_dir_all(data.join("pg_replslot/a")).unwrap();
        fs::write(data.join("pg_replslot/a/state"), "x").unwrap();
        symlink(&source, data.join("pg_replslot/link")).unwrap();
        let fence = Fence::open(&home, &data, "r1", &source).unwrap();
        assert_eq!(fence.empty("pg_replslot").unwrap(), 2);
        assert_eq!(fs::read_dir(data.join("pg_replslot")).unwrap().count(), 0);
        assert!(source.join("PG_VERSION").exists());
        assert_eq!((fence.empty("pg_missing").unwrap(), fence.remove("postmaster.pid").unwrap()), (0, false));
    }
}
