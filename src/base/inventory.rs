//! What a run created and must undo: `inventory.jsonl` in the results folder.
//!
//! A directory is named here *before* it is created, a process as soon as it has a pid (its directory
//! is named before, so that a process between fork and registration is found by where it stands).
//! Every line is one JSON object, written by one `write` in append mode, so a harness that is killed
//! leaves at most half a line at the end; reading skips such a line. Entries are undone backwards.
//!
//! Each user has an index of runs, `$XDG_STATE_HOME/pgbench-rs/runs/<run>.json` (by default below
//! `~/.local/state`), which names each run's inventory, so that [`super::clean`] finds it wherever the
//! results were written.

use super::index::{Index, IndexEntry, copy_of, leave};
use super::proc::{self, Identity};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Name of the file that marks a directory as a run's own; it holds the run's id. Only marked
/// directories are ever removed.
pub const MARK: &str = ".pgbench-rs";

/// Number of an entry, in order of creation.
pub type Id = u64;

/// Whose inventory it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The run's id, which is also its folder's name.
    pub run: String,
    /// The harness.
    pub harness: Identity,
    /// The boot of the machine in which it ran.
    pub boot: String,
}

impl Owner {
    /// Whether the harness still runs.
    pub fn is_alive(&self) -> bool {
        self.boot == proc::boot() && self.harness.is_alive()
    }
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Owner(Owner),
    Created { id: Id, thing: Thing },
    Gone { id: Id },
    Kept { id: Id },
    Note { text: String },
}

/// Something that a run created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Thing {
    /// A directory with our mark in it, and all that is below.
    Directory {
        /// Where: absolute, without symbolic links.
        path: PathBuf,
        /// The work directory that it must lie in.
        within: PathBuf,
        /// The program whose processes, standing in the directory, belong to it.
        program: Option<String>,
    },
    /// A server.
    Process {
        /// Its pid and start time.
        identity: Identity,
        /// Its node.
        node: String,
        /// Its data directory.
        dir: PathBuf,
    },
    /// A helper command, leader of a session.
    Command {
        /// Its pid and start time.
        identity: Identity,
        /// Its program.
        program: String,
    },
    /// Everything on a container engine that bears the run's label: containers, networks, volumes.
    Labelled {
        /// How the engine is reached, as in `DOCKER_HOST`.
        engine: String,
        /// The folder of certificates, where TLS is spoken with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certs: Option<PathBuf>,
    },
    /// A network namespace with a name (`ip netns`), and the links that end in it.
    Namespace {
        /// Its name.
        name: String,
    },
    /// A network device of this machine: a bridge of the run's own, or an address added to one.
    Device {
        /// Its name.
        name: String,
    },
    /// A file system mounted within a directory of the run, and the loop device below it.
    Mount {
        /// Where.
        path: PathBuf,
    },
    /// A dataset of ZFS or a snapshot of one; it says itself whose it is ([`super::zfs::RUN`]).
    Dataset {
        /// Its name.
        name: String,
        /// Where it is mounted, or the clone of it; in a directory of the run.
        path: PathBuf,
    },
    /// A pool of ZFS in a file of the run's own; it says itself whose it is.
    Pool {
        /// Its name.
        name: String,
        /// Where it is mounted, in a directory of the run.
        path: PathBuf,
    },
    /// A control group of the run's own.
    Cgroup {
        /// Its directory.
        path: PathBuf,
    },
    /// Tables in a database of servers that somebody else runs. Only the run itself can log in there and drop them.
    Tables {
        /// Their names, as SQL lists them.
        names: String,
        /// The database, in words and without a password.
        database: String,
    },
}

impl Thing {
    /// Where it is mounted, if it is a file system.
    pub fn mounted(&self) -> Option<&Path> {
        match self {
            Thing::Mount { path } | Thing::Dataset { path, .. } | Thing::Pool { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Whether it is a process, and no directory.
    pub fn is_process(&self) -> bool {
        matches!(self, Thing::Process { .. } | Thing::Command { .. })
    }
}

/// What it is and which, for the reader.
impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Thing::Directory { path, .. } => write!(f, "directory {}", path.display()),
            Thing::Process { identity, .. } | Thing::Command { identity, .. } => write!(f, "process {}", identity.pid),
            Thing::Labelled { engine, .. } => write!(f, "what bears the run's label on the engine {engine}"),
            Thing::Namespace { name } => write!(f, "network namespace {name}"),
            Thing::Device { name } => write!(f, "network device {name}"),
            Thing::Mount { path } => write!(f, "mount {}", path.display()),
            Thing::Dataset { name, .. } => write!(f, "dataset {name}"),
            Thing::Pool { name, .. } => write!(f, "pool {name}"),
            Thing::Cgroup { path } => write!(f, "control group {}", path.display()),
            Thing::Tables { names, database } => write!(f, "perhaps in {database}: DROP TABLE IF EXISTS {names}"),
        }
    }
}

/// An entry of the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: Id,
    /// What was created.
    pub thing: Thing,
    /// It is gone again.
    pub gone: bool,
    /// It is meant to stay.
    pub kept: bool,
}

/// An inventory as read.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Whose it is; absent when not even the first line was written.
    pub owner: Option<Owner>,
    /// All entries in order of creation.
    pub entries: Vec<Entry>,
}

impl Contents {
    /// Reads an inventory. Lines that are not whole are passed over.
    pub fn read(path: &Path) -> io::Result<Contents> {
        Ok(Contents::parse(&fs::read(path)?))
    }

    fn parse(bytes: &[u8]) -> Contents {
        let mut contents = Contents::default();
        for line in bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
            contents.apply(line);
        }
        contents
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Owner(owner) => self.owner = Some(owner),
            Line::Created { id, thing } => self.entries.push(Entry { id, thing, gone: false, kept: false }),
            Line::Gone { id } => self.entries.iter_mut().filter(|e| e.id == id).for_each(|e| e.gone = true),
            Line::Kept { id } => self.entries.iter_mut().filter(|e| e.id == id).for_each(|e| e.kept = true),
            Line::Note { .. } => {}
        }
    }
}

/// An inventory that is being written.
#[derive(Debug)]
pub struct Inventory {
    owner: Owner,
    path: PathBuf,
    index_entry: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// The same beside the index, for when the results folder is deleted before it is cleaned up.
    copy: File,
    next: Id,
    contents: Contents,
}

impl Inventory {
    /// Begins the inventory of `run` at `path` and enters it in `index`.
    pub fn create(index: &Index, path: &Path, run: &str) -> io::Result<Arc<Inventory>> {
        let owner = Owner { run: run.to_owned(), harness: Identity::own()?, boot: proc::boot() };
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        let path = fs::canonicalize(path)?;
        let index_entry = index.enter(&IndexEntry { owner: owner.clone(), inventory: path.clone() })?;
        let copy = OpenOptions::new().append(true).create(true).open(copy_of(&index_entry))?;
        let state = Mutex::new(State { file, copy, next: 1, contents: Contents::default() });
        let inventory = Inventory { owner: owner.clone(), path, index_entry, state };
        inventory.write(Line::Owner(owner))?;
        Ok(Arc::new(inventory))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's id.
    pub fn run(&self) -> &str {
        &self.owner.run
    }

    /// Names a directory, then creates it (its parent must exist) with our mark in it. Returns its
    /// entry and its path without symbolic links.
    ///
    /// `within` is the work directory that it must lie in when it is removed; processes of `program`
    /// that stand in it count as its own.
    pub fn directory(&self, path: &Path, within: &Path, program: Option<&str>) -> io::Result<(Id, PathBuf)> {
        let name = path.file_name().ok_or_else(|| io::Error::other(format!("{} has no name", path.display())))?;
        let parent = fs::canonicalize(path.parent().unwrap_or(Path::new(".")))?;
        let path = parent.join(name);
        let id = self.next_id();
        let thing = Thing::Directory {
            path: path.clone(),
            within: fs::canonicalize(within)?,
            program: program.map(str::to_owned),
        };
        self.write(Line::Created { id, thing })?;
        fs::create_dir(&path)?;
        fs::write(path.join(MARK), &self.owner.run)?;
        Ok((id, path))
    }

    /// Names a server's process.
    pub fn process(&self, id: Id, identity: Identity, node: &str, dir: &Path) -> io::Result<()> {
        let thing = Thing::Process { identity, node: node.to_owned(), dir: dir.to_owned() };
        self.write(Line::Created { id, thing })
    }

    /// Names a helper command's process.
    pub fn command(&self, id: Id, identity: Identity, program: &str) -> io::Result<()> {
        self.write(Line::Created { id, thing: Thing::Command { identity, program: program.to_owned() } })
    }

    /// Names anything else, before it is created.
    pub fn thing(&self, thing: Thing) -> io::Result<Id> {
        let id = self.next_id();
        self.write(Line::Created { id, thing })?;
        Ok(id)
    }

    /// The number of an entry that is about to be made.
    pub fn next_id(&self) -> Id {
        let mut state = self.state();
        state.next += 1;
        state.next - 1
    }

    /// Marks an entry as gone.
    pub fn gone(&self, id: Id) -> io::Result<()> {
        self.write(Line::Gone { id })
    }

    /// Marks an entry as meant to stay when the run ends.
    pub fn keep(&self, id: Id) -> io::Result<()> {
        self.write(Line::Kept { id })
    }

    /// What it says now.
    pub fn contents(&self) -> Contents {
        self.state().contents.clone()
    }

    /// Takes the run out of the index; to be called when nothing of it is left.
    pub fn close(&self) -> io::Result<()> {
        leave(&self.index_entry)
    }

    fn write(&self, line: Line) -> io::Result<()> {
        let mut state = self.state();
        append(&mut state.file, &line)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot write {}: {error}", self.path.display())))?;
        append(&mut state.copy, &line).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write {}: {error}", copy_of(&self.index_entry).display()))
        })?;
        state.contents.apply(line);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes on with the inventory of a harness that is dead.
#[derive(Debug)]
pub struct Estate {
    file: File,
}

impl Estate {
    /// Opens it. The open file stays readable even if its folder is removed.
    pub fn open(path: &Path) -> io::Result<Estate> {
        Ok(Estate { file: OpenOptions::new().read(true).append(true).open(path)? })
    }

    /// What it says now.
    pub fn contents(&mut self) -> io::Result<Contents> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut bytes)?;
        if bytes.last().is_some_and(|&last| last != b'\n') {
            // The harness died within a line: what follows begins one of its own.
            self.file.write_all(b"\n")?;
        }
        Ok(Contents::parse(&bytes))
    }

    /// Marks an entry as gone.
    pub fn gone(&mut self, id: Id) -> io::Result<()> {
        append(&mut self.file, &Line::Gone { id })
    }

    /// Adds a note for the reader.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        append(&mut self.file, &Line::Note { text: text.to_owned() })
    }
}

fn append(file: &mut File, line: &Line) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    file.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_written_and_survives_half_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::at(dir.path().join("runs"));
        let path = dir.path().join("inventory.jsonl");
        let inventory = Inventory::create(&index, &path, "r1").unwrap();
        let (first, made) = inventory.directory(&dir.path().join("a"), dir.path(), Some("postgres")).unwrap();
        assert_eq!(fs::read_to_string(made.join(MARK)).unwrap(), "r1");
        let second = inventory.next_id();
        inventory.process(second, Identity { pid: 7, started: 8 }, "n", &made).unwrap();
        inventory.keep(first).unwrap();
        inventory.gone(second).unwrap();
        assert_eq!(Contents::read(&path).unwrap().entries, inventory.contents().entries);

        File::options().append(true).open(&path).unwrap().write_all(br#"{"created":{"id":3,"th"#).unwrap();
        let mut estate = Estate::open(&path).unwrap();
        assert_eq!(estate.contents().unwrap().entries.len(), 2);
        estate.gone(first).unwrap();
        let contents = estate.contents().unwrap();
        assert!(contents.entries[0].gone && contents.entries[0].kept && contents.entries[1].gone);
        assert!(contents.owner.unwrap().is_alive());
    }
}
