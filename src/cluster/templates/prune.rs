//! Removing templates: one by name, the least recently used ones until the rest fits, or half-made ones that no run knows of.

use super::lock::{Hold, Lock};
use super::{CARD, Kept, MAKING, Store, StoreError, at};
use crate::base::hunt::Hunt;
use crate::base::inventory::MARK;
use crate::clean;
use crate::driver::SERVER_PROGRAM;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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

    /// Half-made templates that nobody will finish or clean up: nobody makes one of that name, no server stands in it, and
    /// its run is not `known`, so that no inventory that `clean` finds names it.
    pub fn forsaken(&self, known: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, StoreError> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(at(&self.dir))? {
            let dir = entry.map_err(at(&self.dir))?.path();
            if self.hold_forsaken(&dir, &known)?.is_some() {
                all.push(dir);
            }
        }
        Ok(all)
    }

    /// Removes [them](Store::forsaken).
    pub fn sweep(&self, known: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, StoreError> {
        let all = self.forsaken(&known)?;
        for dir in &all {
            if let Some((run, _lock)) = self.hold_forsaken(dir, &known)? {
                let not = |why| StoreError::NotRemoved { path: dir.clone(), why };
                clean::remove(dir, &self.dir, &run).map_err(not)?;
            }
        }
        Ok(all)
    }

    /// The run of a half-made template that is forsaken, and the lock that keeps others from making one of that name.
    fn hold_forsaken(
        &self,
        dir: &Path,
        known: impl Fn(&str) -> bool,
    ) -> Result<Option<(String, Option<Lock>)>, StoreError> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(run) = fs::read_to_string(dir.join(MARK)) else { return Ok(None) };
        let Some(label) = name.strip_prefix(MAKING).and_then(|name| name.strip_prefix(&format!("{run}-"))) else {
            return Ok(None);
        };
        if run.is_empty() || known(&run) {
            return Ok(None);
        }
        // A lock's file is made by whoever makes a template, and there is none to hold where it is gone.
        let path = self.lock(label);
        let mut lock = None;
        if path.exists() {
            lock = Lock::attempt(&path, Hold::Alone).map_err(at(&path))?;
            if lock.is_none() {
                return Ok(None);
            }
        }
        let mut hunt = Hunt::default();
        hunt.directory(dir.to_owned(), SERVER_PROGRAM.to_owned());
        Ok(hunt.find().is_empty().then_some((run, lock)))
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
