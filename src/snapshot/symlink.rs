//! Symbolic links in a data directory: `pg_wal` and the tablespaces in `pg_tblspc` may be ones, and then a copy's server
//! would write into the original's files.

use super::SnapshotError;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A symbolic link in a data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symlink {
    /// Where, from the data directory.
    pub path: PathBuf,
    /// What it says.
    pub target: PathBuf,
}

impl Symlink {
    /// Whether, in a copy, it leads out of the copy. An absolute one always does, for it leads to where the original's
    /// led.
    pub fn leaves(&self) -> bool {
        let mut depth = self.path.components().count().saturating_sub(1);
        for step in self.target.components() {
            match step {
                Component::CurDir => {}
                Component::Normal(_) => depth += 1,
                Component::ParentDir if depth > 0 => depth -= 1,
                _ => return true,
            }
        }
        false
    }

    /// Those that PostgreSQL and its packages make: in the directory itself and in `pg_tblspc`.
    pub(super) fn usual(data: &Path) -> Result<Vec<Symlink>, SnapshotError> {
        let mut links = Vec::new();
        for within in ["", "pg_tblspc"] {
            let dir = data.join(within);
            let entries = match fs::read_dir(&dir) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                entries => entries.map_err(SnapshotError::at(&dir))?,
            };
            for entry in entries {
                let entry = entry.map_err(SnapshotError::at(&dir))?;
                let path = entry.path();
                if entry.file_type().map_err(SnapshotError::at(&path))?.is_symlink() {
                    let target = fs::read_link(&path).map_err(SnapshotError::at(&path))?;
                    links.push(Symlink { path: Path::new(within).join(entry.file_name()), target });
                }
            }
        }
        links.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_lead_out() {
        let leaves = |path: &str, target: &str| Symlink { path: path.into(), target: target.into() }.leaves();
        assert!(leaves("pg_wal", "/srv/wal"));
        assert!(leaves("pg_wal", "../wal"));
        assert!(leaves("pg_tblspc/1", "../../x"));
        assert!(leaves("pg_tblspc/1", "x/../../../data/y"), "it comes back in, but only by its own name");
        assert!(!leaves("pg_tblspc/1", "../x"));
        assert!(!leaves("a", "./b"));
    }

    #[test]
    fn finds_the_usual_ones() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Symlink::usual(dir.path()).unwrap(), []);
        fs::create_dir(dir.path().join("pg_tblspc")).unwrap();
        std::os::unix::fs::symlink("/a", dir.path().join("pg_wal")).unwrap();
        std::os::unix::fs::symlink("/b", dir.path().join("pg_tblspc/1")).unwrap();
        let found: Vec<_> = Symlink::usual(dir.path()).unwrap().into_iter().map(|link| link.path).collect();
        assert_eq!(found, [Path::new("pg_tblspc/1"), Path::new("pg_wal")]);
    }
}
