//! Removing templates: one by name, or the least recently used ones until the rest fits.

use super::lock::{Hold, Lock};
use super::{CARD, Kept, Store, StoreError, at};
use crate::base::inventory::MARK;
use crate::clean;
use std::fs;
use std::io;
use std::path::Path;

/// What pruning came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names of those that were removed, with what each took up.
    pub removed: Vec<(String, u64)>,
    /// Bytes of those that are left.
    pub left: u64,
    /// Of these, bytes of those that would have been removed, were they not in use.
    pub in_use: u64,
}

impl Store {
    /// Removes templates, the least recently used first, until all together take up no more than `limit` bytes. Those in
    /// use stay.
    pub fn prune(&self, limit: u64) -> Result<Pruned, StoreError> {
        let all = self.list()?;
        let mut pruned = Pruned { left: all.iter().map(bytes).sum(), ..Pruned::default() };
        for kept in all {
            if pruned.left <= limit && !kept.broken {
                continue;
            }
            match self.try_remove(&kept) {
                Ok(()) => {
                    pruned.left -= bytes(&kept);
                    pruned.removed.push((kept.name.clone(), bytes(&kept)));
                }
                Err(StoreError::InUse(_)) => pruned.in_use += bytes(&kept),
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }

    /// Removes the template whose name is, or begins with, `name`.
    pub fn remove(&self, name: &str) -> Result<Kept, StoreError> {
        let kept = self.named(name)?;
        self.try_remove(&kept)?;
        Ok(kept)
    }

    fn named(&self, name: &str) -> Result<Kept, StoreError> {
        let mut all = self.list()?;
        if let Some(exact) = all.iter().position(|kept| kept.name == name) {
            return Ok(all.swap_remove(exact));
        }
        all.retain(|kept| kept.name.starts_with(name) && !name.is_empty());
        match (all.len(), all.pop()) {
            (1, Some(kept)) => Ok(kept),
            (_, None) => Err(StoreError::Unknown(name.to_owned())),
            (_, Some(last)) => {
                let all = all.into_iter().map(|kept| kept.name).chain([last.name]).collect();
                Err(StoreError::Several { name: name.to_owned(), all })
            }
        }
    }

    fn try_remove(&self, kept: &Kept) -> Result<(), StoreError> {
        let path = self.lock(&kept.name);
        let lock = Lock::attempt(&path, Hold::Alone).map_err(at(&path))?;
        let lock = lock.ok_or_else(|| StoreError::InUse(kept.name.clone()))?;
        remove_here(&self.dir, &kept.dir)?;
        lock.remove().map_err(at(&path))
    }
}

fn bytes(kept: &Kept) -> u64 {
    kept.card.as_ref().map_or(0, |card| card.bytes)
}

/// Removes a template's directory, which the caller has locked: its state file first, so that no half of one is ever taken
/// for a whole. Only what bears a mark is removed.
pub(super) fn remove_here(store: &Path, dir: &Path) -> Result<(), StoreError> {
    match fs::remove_file(dir.join(CARD)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(dir)(error)),
        _ => {}
    }
    if !dir.try_exists().map_err(at(dir))? {
        return Ok(());
    }
    // The state file may be gone already, so the mark itself says whose it was.
    let run = fs::read_to_string(dir.join(MARK)).map_err(at(&dir.join(MARK)))?;
    clean::remove(dir, store, &run).map_err(|why| StoreError::NotRemoved { path: dir.to_owned(), why })
}
