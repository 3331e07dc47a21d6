//! Undoing what a run created: at its own end, and by `pgbench-rs clean` for runs that died.
//!
//! Only what an inventory names is touched. A process must match by pid and start time, or run the
//! named program inside a named directory. A directory must lie where the inventory says it must, be
//! reached without symbolic links, and bear the run's mark. What belongs to the system (mounts, control
//! groups, networks) must bear a name of ours, and a mount lie in a directory of the run; a dataset or pool of ZFS
//! must say in a property of its own that it is the run's: see [`system`].

mod directory;
mod system;
pub mod watchdog;

pub use directory::remove;

use crate::base::hunt::Hunt;
use crate::base::index::{Index, IndexEntry, copy_of, leave};
use crate::base::inventory::{Contents, Entry, Estate, Id, Inventory, Owner, Thing};
use crate::base::proc::{self, Stat};
use crate::driver::docker::Address;
use crate::driver::docker::cleanup::{self, Labelled};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long processes may take to die after SIGKILL.
const DYING: Duration = Duration::from_secs(5);

/// A run that the index names.
#[derive(Clone, Debug)]
pub struct PastRun {
    /// Whose.
    pub owner: Owner,
    /// Its inventory.
    pub inventory: PathBuf,
    /// Whether its harness still runs; then nothing of it is a leftover.
    pub alive: bool,
    /// What exists of it. `Err` when its inventory cannot be read.
    pub remains: Result<Remains, String>,
    index_entry: PathBuf,
}

/// What exists of a run.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// Directories, in order of creation.
    pub directories: Vec<Remaining<PathBuf>>,
    /// Processes that are alive.
    pub processes: Vec<Remaining<Stat>>,
    /// Datasets, pools, mounts, control groups, namespaces and network devices, in order of creation.
    pub others: Vec<Remaining<Thing>>,
    /// What bears the run's label on container engines.
    pub labelled: Vec<Remaining<Labelled>>,
    /// Why an engine could not be asked.
    pub unasked: Vec<String>,
}

impl Remains {
    /// Whether nothing is left, as far as could be asked.
    pub fn is_empty(&self) -> bool {
        let here = self.directories.is_empty() && self.processes.is_empty() && self.others.is_empty();
        here && self.labelled.is_empty()
    }
}

/// Something that exists of a run.
#[derive(Clone, Debug)]
pub struct Remaining<T> {
    /// What.
    pub what: T,
    /// It was meant to stay.
    pub kept: bool,
}

/// What an undoing did.
#[derive(Clone, Debug, Default)]
pub struct Undone {
    /// How many processes were killed.
    pub killed: usize,
    /// The directories that were removed.
    pub removed: Vec<PathBuf>,
    /// What was removed from container engines, in words.
    pub labelled: Vec<String>,
    /// Datasets, pools, mounts, control groups, namespaces and network devices that were there and are gone.
    pub undone: Vec<Thing>,
    /// What could not be undone, and why.
    pub errors: Vec<String>,
}

/// All runs in the index of which something may be left, with what is left.
pub fn runs(index: &Index) -> io::Result<Vec<PastRun>> {
    let run = |(index_entry, entry): (PathBuf, IndexEntry)| {
        // The results folder may have been deleted.
        let path = if entry.inventory.exists() { entry.inventory } else { copy_of(&index_entry) };
        let remains = Contents::read(&path)
            .map(|contents| remains(&contents))
            .map_err(|error| format!("cannot read {}: {error}", path.display()));
        PastRun { alive: entry.owner.is_alive(), owner: entry.owner, inventory: path, remains, index_entry }
    };
    Ok(index.entries()?.into_iter().map(run).collect())
}

impl PastRun {
    /// Kills and removes what is left of a dead run; what was meant to stay only when `kept` says so.
    /// The run leaves the index when nothing is left.
    pub fn remove(&self, kept: bool) -> io::Result<Undone> {
        if self.owner.is_alive() {
            let pid = self.owner.harness.pid;
            return Err(io::Error::other(format!("run {} still runs as pid {pid}", self.owner.run)));
        }
        let mut estate = Estate::open(&self.inventory)?;
        let contents = estate.contents()?;
        let undone = undo(&contents, kept, |id| estate.gone(id));
        // Tables are for their owner to drop: he was told, and that is all that can be done from here.
        let tables = |entry: &&Entry| matches!(entry.thing, Thing::Tables { .. }) && !entry.gone;
        for entry in contents.entries.iter().filter(tables) {
            estate.gone(entry.id)?;
        }
        let on_engine = |entry: &Entry| matches!(entry.thing, Thing::Labelled { .. }) && !entry.gone;
        let after = estate.contents()?;
        if remains(&after).is_empty() && !after.entries.iter().any(on_engine) {
            leave(&self.index_entry)?;
        }
        Ok(undone)
    }

    /// Takes a dead run out of the index without touching anything; for one whose inventory is gone.
    pub fn forget(&self) -> io::Result<()> {
        leave(&self.index_entry)
    }
}

/// Undoes all that the running harness created and that is neither gone nor kept; takes the run out of
/// the index when nothing is left, kept things included.
pub fn undo_own(inventory: &Inventory) -> Undone {
    let mut undone = undo(&inventory.contents(), false, |id| inventory.gone(id));
    if inventory.contents().entries.iter().all(|entry| entry.gone)
        && let Err(error) = inventory.close()
    {
        undone.errors.push(format!("cannot take the run out of the index: {error}"));
    }
    undone
}

/// What of an inventory still exists. Blocks while container engines are asked.
pub fn remains(contents: &Contents) -> Remains {
    let mut remains = Remains::default();
    for entry in contents.entries.iter().filter(|entry| !entry.gone) {
        if let Thing::Directory { path, .. } = &entry.thing
            && path.symlink_metadata().is_ok()
        {
            remains.directories.push(Remaining { what: path.clone(), kept: stays(entry, contents) });
        }
        if system::exists(&entry.thing, contents) {
            remains.others.push(Remaining { what: entry.thing.clone(), kept: stays(entry, contents) });
        }
    }
    for kept in [false, true] {
        let processes = hunt(contents, |entry| entry.kept == kept).find();
        remains.processes.extend(processes.into_iter().map(|what| Remaining { what, kept }));
    }
    remains.ask_engines(contents);
    remains
}

impl Remains {
    /// Lists what stands on engines; what is kept on one is all that is there.
    fn ask_engines(&mut self, contents: &Contents) {
        let run = contents.owner.as_ref().map_or("", |owner| &owner.run);
        let mut engines: Vec<(Address, bool)> = Vec::new();
        for entry in contents.entries.iter().filter(|entry| !entry.gone) {
            let Some(engine) = engine_of(&entry.thing) else { continue };
            match engines.iter_mut().find(|(known, _)| *known == engine) {
                Some((_, kept)) => *kept |= entry.kept,
                None => engines.push((engine, entry.kept)),
            }
        }
        for (engine, kept) in engines {
            match cleanup::list(&engine, run) {
                Ok(found) => self.labelled.extend(found.into_iter().map(|what| Remaining { what, kept })),
                Err(error) => self.unasked.push(format!("what run {run} left on a container engine: {error}")),
            }
        }
    }
}

/// The engine on which something bears the run's label.
fn engine_of(thing: &Thing) -> Option<Address> {
    match thing {
        Thing::Labelled { engine, certs } => Some(Address { host: engine.clone(), certs: certs.clone() }),
        _ => None,
    }
}

/// A hunt for the processes of those entries that `which` takes and that are not marked gone.
pub fn hunt(contents: &Contents, which: impl Fn(&Entry) -> bool) -> Hunt {
    let mut hunt = Hunt::default();
    let same_boot = contents.owner.as_ref().is_some_and(|owner| owner.boot == proc::boot());
    for entry in contents.entries.iter().filter(|entry| same_boot && !entry.gone && which(entry)) {
        match &entry.thing {
            Thing::Process { identity, .. } => hunt.process(*identity),
            Thing::Command { identity, .. } => hunt.session(*identity),
            Thing::Directory { path, program: Some(program), .. } => hunt.directory(path.clone(), program.clone()),
            _ => {}
        }
    }
    hunt
}

fn undo(contents: &Contents, kept: bool, mut gone: impl FnMut(Id) -> io::Result<()>) -> Undone {
    let mut undone = Undone::default();
    let to_undo = |entry: &Entry| kept || !stays(entry, contents);
    let entries: Vec<&Entry> = contents.entries.iter().filter(|entry| !entry.gone && to_undo(entry)).collect();
    system::free_the_waiting(&entries);
    let mut hunt = hunt(contents, to_undo);
    let left = hunt.end(Duration::ZERO, DYING);
    undone.killed = hunt.killed();
    let names =
        left.iter().map(|stat| format!("pid {} ({}) is still there after SIGKILL", stat.identity.pid, stat.name));
    undone.errors.extend(names);
    let mut blocked: Vec<PathBuf> = Vec::new();
    for entry in system::in_order(entries) {
        let done = match &entry.thing {
            Thing::Directory { path, within, .. } => undo_directory(path, within, contents, &mut blocked, &mut undone),
            Thing::Process { .. } | Thing::Command { .. } => left.is_empty(),
            Thing::Labelled { engine, certs } => {
                let engine = Address { host: engine.clone(), certs: certs.clone() };
                undo_labelled(&engine, contents, &mut undone)
            }
            // The run that made them says why it could not drop them.
            Thing::Tables { .. } => false,
            Thing::Namespace { .. }
            | Thing::Device { .. }
            | Thing::Mount { .. }
            | Thing::Dataset { .. }
            | Thing::Pool { .. }
            | Thing::Cgroup { .. } => {
                undo_of_system(&entry.thing, contents, left.is_empty(), &mut blocked, &mut undone)
            }
        };
        if done && let Err(error) = gone(entry.id) {
            undone.errors.push(error.to_string());
        }
    }
    undone
}

/// Removes what the run made on a container engine, by its label.
fn undo_labelled(engine: &Address, contents: &Contents, undone: &mut Undone) -> bool {
    let run = contents.owner.as_ref().map_or("", |owner| &owner.run);
    // Who undoes its own waited for what it asked of the engine.
    let is_dead = contents.owner.as_ref().is_some_and(|owner| !owner.is_alive());
    let removed = if is_dead { cleanup::remove_of_dead(engine, run) } else { cleanup::remove(engine, run) };
    match removed {
        Ok(removed) => {
            undone.labelled.extend(removed.iter().map(ToString::to_string));
            true
        }
        Err(error) => {
            undone.errors.push(format!("what run {run} made on a container engine was not removed: {error}"));
            false
        }
    }
}

fn undo_directory(
    path: &Path,
    within: &Path,
    contents: &Contents,
    blocked: &mut Vec<PathBuf>,
    undone: &mut Undone,
) -> bool {
    let run = contents.owner.as_ref().map_or("", |owner| &owner.run);
    let existed = path.symlink_metadata().is_ok();
    let below = blocked.iter().any(|other| other.starts_with(path));
    match if below { Err("something in it stays".to_owned()) } else { remove(path, within, run) } {
        Ok(()) => {
            undone.removed.extend(existed.then(|| path.to_owned()));
            true
        }
        Err(why) => {
            undone.errors.push(format!("{} was not removed: {why}", path.display()));
            blocked.push(path.to_owned());
            false
        }
    }
}

/// What processes stand on goes only when all of them are dead.
fn undo_of_system(
    thing: &Thing,
    contents: &Contents,
    all_dead: bool,
    blocked: &mut Vec<PathBuf>,
    undone: &mut Undone,
) -> bool {
    let existed = system::exists(thing, contents);
    match if all_dead { system::undo(thing, contents) } else { Err("processes are still there".to_owned()) } {
        Ok(()) => {
            undone.undone.extend(existed.then(|| thing.clone()));
            true
        }
        Err(why) => {
            undone.errors.push(format!("{thing} was not undone: {why}"));
            blocked.extend(thing.mounted().map(Path::to_owned));
            false
        }
    }
}

/// Whether an entry is kept, or something that is kept needs it: what lies below a directory, a directory
/// on a mount, a server's network.
fn stays(entry: &Entry, contents: &Contents) -> bool {
    let kept = |needs: &dyn Fn(&Thing) -> bool| {
        contents.entries.iter().any(|other| other.kept && !other.gone && needs(&other.thing))
    };
    match &entry.thing {
        Thing::Directory { path, .. } => {
            kept(&|other| matches!(other, Thing::Directory { path: below, .. } if below.starts_with(path)))
        }
        Thing::Mount { path } | Thing::Dataset { path, .. } | Thing::Pool { path, .. } => {
            let on = |dir: &Path| dir.starts_with(path) || path.starts_with(dir);
            entry.kept || kept(&|other| matches!(other, Thing::Directory { path: dir, .. } if on(dir)))
        }
        Thing::Namespace { .. } | Thing::Device { .. } | Thing::Cgroup { .. } => {
            entry.kept || kept(&|other| matches!(other, Thing::Process { .. }))
        }
        _ => entry.kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_run_is_still_known_when_its_results_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::at(dir.path().join("runs"));
        let inventory = Inventory::create(&index, &dir.path().join("i"), "r1").unwrap();
        let (_, work) = inventory.directory(&dir.path().join("w"), dir.path(), None).unwrap();
        fs::remove_file(inventory.path()).unwrap();
        let runs = runs(&index).unwrap();
        let remains = runs[0].remains.as_ref().unwrap();
        assert_eq!(remains.directories.iter().map(|dir| &dir.what).collect::<Vec<_>>(), [&work]);
        inventory.close().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("runs")).unwrap().count(), 0);
    }

    #[test]
    fn undoes_backwards_and_spares_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let inventory = Inventory::create(&Index::at(dir.path().join("runs")), &dir.path().join("i"), "r1").unwrap();
        let (_, work) = inventory.directory(&dir.path().join("w"), dir.path(), None).unwrap();
        let (_, a) = inventory.directory(&work.join("a"), &work, None).unwrap();
        let (b_id, b) = inventory.directory(&work.join("b"), &work, None).unwrap();
        inventory.keep(b_id).unwrap();
        let undone = undo_own(&inventory);
        assert!(undone.errors.is_empty(), "{:?}", undone.errors);
        assert_eq!(undone.removed, [a]);
        let left = remains(&inventory.contents());
        assert!(left.directories.iter().all(|dir| dir.kept), "{left:?}");
        assert_eq!(left.directories.iter().map(|dir| &dir.what).collect::<Vec<_>>(), [&work, &b]);
    }
}
