//! The index of a user's runs: which inventories may still name something that exists, wherever the
//! results folders lie.

use super::inventory::Owner;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The index of a user's runs: a folder with a file for each run of which something may be left.
#[derive(Clone, Debug)]
pub struct Index {
    dir: PathBuf,
}

/// A file of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexEntry {
    /// Whose inventory it is.
    pub owner: Owner,
    /// Where it is.
    pub inventory: PathBuf,
}

/// The copy of the inventory that an entry of the index is about.
pub fn copy_of(index_entry: &Path) -> PathBuf {
    index_entry.with_extension("jsonl")
}

/// Takes a run out of the index.
pub fn leave(index_entry: &Path) -> io::Result<()> {
    fs::remove_file(index_entry)?;
    match fs::remove_file(copy_of(index_entry)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The folder in which this program keeps what it must know of earlier calls of the user who runs this:
/// `$XDG_STATE_HOME/pgbench-rs`, by default below `~/.local/state`.
pub fn state_of_user() -> io::Result<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = match (set("XDG_STATE_HOME"), set("HOME")) {
        (Some(state), _) => state,
        (None, Some(home)) => home.join(".local/state"),
        (None, None) => {
            let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?;
            let home = user.map(|user| user.dir).ok_or_else(|| {
                io::Error::other("this user has no home directory\nhint: set XDG_STATE_HOME to a folder of yours")
            })?;
            home.join(".local/state")
        }
    };
    Ok(state.join("pgbench-rs"))
}

impl Index {
    /// The index of the user who runs this.
    pub fn of_user() -> io::Result<Index> {
        Ok(Index::at(state_of_user()?.join("runs")))
    }

    /// An index in a folder of its own.
    pub fn at(dir: impl Into<PathBuf>) -> Index {
        Index { dir: dir.into() }
    }

    /// All entries, by file name. Files that are no entries are passed over.
    pub fn entries(&self) -> io::Result<Vec<(PathBuf, IndexEntry)>> {
        let files = match fs::read_dir(&self.dir) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths: Vec<PathBuf> = files.map(|file| file.map(|f| f.path())).collect::<io::Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let read = |path: PathBuf| Some((path.clone(), serde_json::from_slice(&fs::read(path).ok()?).ok()?));
        Ok(paths.into_iter().filter_map(read).collect())
    }

    /// Enters a run; returns its file of the index.
    pub(super) fn enter(&self, entry: &IndexEntry) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.dir)?;
        let path = self.dir.join(format!("{}.json", entry.owner.run));
        // Written aside and renamed, so that no reader ever sees half of it.
        let aside = path.with_extension("new");
        fs::write(&aside, serde_json::to_vec(entry)?)?;
        fs::rename(&aside, &path)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::super::inventory::Inventory;
    use super::*;

    #[test]
    fn the_index_names_open_inventories() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::at(dir.path().join("runs"));
        assert!(index.entries().unwrap().is_empty());
        let inventory = Inventory::create(&index, &dir.path().join("i.jsonl"), "r1").unwrap();
        fs::write(dir.path().join("runs/torn.json"), "{").unwrap();
        let entries = index.entries().unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].1.inventory, inventory.path());
        inventory.close().unwrap();
        assert!(index.entries().unwrap().is_empty());
    }
}
