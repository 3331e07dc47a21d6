//! Removing a directory that is a run's own.

use crate::base::inventory::MARK;
use crate::base::mounts::Mounts;
use crate::snapshot;
use std::fs;
use std::io;
use std::path::Path;

/// Removes a directory of `run`, our mark last, so that a removal that breaks off can be repeated.
pub fn remove(path: &Path, within: &Path, run: &str) -> Result<(), String> {
    let said = |error: io::Error| error.to_string();
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(said(error)),
        Ok(meta) if !meta.is_dir() => return Err("it is no directory any more".to_owned()),
        Ok(_) => {}
    }
    if fs::canonicalize(path).map_err(said)? != path {
        return Err("it is now reached through a symbolic link".to_owned());
    }
    if path == within || !path.starts_with(within) {
        return Err(format!("it does not lie in the work directory {}", within.display()));
    }
    match fs::read_to_string(path.join(MARK)) {
        Ok(mark) if mark == run && !run.is_empty() => {}
        // Killed between making the directory and marking it: empty, and only then removable.
        Ok(mark) if mark.is_empty() => {
            fs::remove_file(path.join(MARK)).map_err(said)?;
            return fs::remove_dir(path).map_err(said);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return fs::remove_dir(path).map_err(said),
        Ok(mark) => return Err(format!("its mark {MARK} says it belongs to run {mark}")),
        Err(error) => return Err(said(error)),
    }
    // What is mounted in it would be emptied with it, whosever it is.
    let mounts = Mounts::read().map_err(said)?;
    if let Some(mount) = mounts.at(path).or_else(|| mounts.below(path).next()) {
        return Err(format!("{} is mounted in it, at {}", mount.source, mount.point.display()));
    }
    for child in fs::read_dir(path).map_err(said)? {
        let child = child.map_err(said)?;
        if child.file_name() != MARK {
            let child_is_dir = child.file_type().map_err(said)?.is_dir();
            let child = child.path();
            let removed = if child_is_dir { snapshot::remove(&child) } else { fs::remove_file(&child) };
            removed.map_err(|error| format!("{}: {error}", child.display()))?;
        }
    }
    fs::remove_file(path.join(MARK)).map_err(said)?;
    fs::remove_dir(path).map_err(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn removes_only_what_bears_the_mark_and_lies_within() {
        let dir = tempfile::tempdir().unwrap();
        let work = fs::canonicalize(dir.path()).unwrap();
        let make = |name: &str, mark: Option<&str>| {
            let path = work.join(name);
            fs::create_dir_all(path.join("data")).unwrap();
            if let Some(mark) = mark {
                fs::write(path.join(MARK), mark).unwrap();
            }
            path
        };
        assert!(remove(&make("a", Some("r1")), &work, "r1").is_ok());
        assert!(!work.join("a").exists());
        assert!(remove(&make("b", Some("r2")), &work, "r1").is_err());
        assert!(remove(&make("c", None), &work, "r1").is_err());
        assert!(remove(&make("d", Some("r1")), &work.join("b"), "r1").is_err());
        assert!(remove(&make("e", Some("")), &work, "").is_err(), "a run without a name owns nothing");
        symlink(work.join("d"), work.join("link")).unwrap();
        assert!(remove(&work.join("link"), &work, "r1").is_err());
        assert!(remove(&work.join("missing"), &work, "r1").is_ok());
        fs::create_dir(work.join("empty")).unwrap();
        assert!(remove(&work.join("empty"), &work, "r1").is_ok());
        for left in ["b/data", "c/data", "d/data", "e/data"] {
            assert!(work.join(left).exists(), "{left} is gone");
        }
    }
}
