//! Data directories that are kept beyond the run that loaded them, so that every trial, both sides of a comparison and the
//! next run start from the same bytes. A work directory has one store of them:
//!
//! ```text
//! <work>/templates/
//!   password                     0600: of the superuser of every server that stands on one of them
//!   <label>-<key>/               the key follows from all that its bytes depend on: see `Wants`
//!     .pgbench-rs                the mark: the run that made it
//!     template.json              the state file, written last: without it there is no template
//!     data/                      the data directory; on btrfs a subvolume
//!   <label>-<key>.lock           held by whoever uses it, makes it or removes it
//!   .making-<run>-<label>-<key>/ half made, and the run's own, until it is renamed
//! ```
//!
//! A half-made one is in its run's inventory and goes with it; one whose run is not known any more goes by `clean` or
//! `template prune`. A whole one is nobody's: it goes by `template remove`, or
//! when the store has grown beyond its limit and no other was left unused for longer.

mod lock;
mod prune;
mod wants;

pub use prune::Pruned;
pub use wants::Wants;

use crate::base::index::state_of_user;
use crate::base::inventory::MARK;
use crate::pg::{Secret, conf};
use crate::snapshot;
use lock::{Hold, Lock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The store's name in its work directory.
pub const STORE: &str = "templates";
const CARD: &str = "template.json";
/// How the name of a half-made one begins.
const MAKING: &str = ".making-";
const PASSWORD: &str = "password";
/// Between two looks whether another run has let go of a template.
const AGAIN: Duration = Duration::from_millis(200);

/// The templates of one work directory.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// What is known of a template: `template.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// What is in it.
    pub wants: Wants,
    /// The run that made it, whose mark it bears.
    pub run: String,
    /// When, UTC.
    pub made_at: String,
    /// How long it took, in seconds.
    pub took: f64,
    /// What it takes up on disk, in bytes.
    pub bytes: u64,
    /// What came of loading: rows, rejects, files with their hashes.
    #[serde(default)]
    pub loaded: serde_json::Value,
}

/// A template of the store.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
    /// What is known of it; absent of what is left of a removal that broke off, and of what another version of this
    /// program made.
    pub card: Option<Card>,
    /// Whether it is no template any more.
    pub broken: bool,
    /// When it was last used.
    pub used: SystemTime,
}

/// A template that is being used: while this lives nobody removes it.
#[derive(Debug)]
pub struct Held {
    /// It.
    pub dir: PathBuf,
    /// What is known of it.
    pub card: Card,
    _lock: Lock,
}

/// A template's place, to be filled by the holder and by nobody else.
#[derive(Debug)]
pub struct Vacant {
    name: String,
    wants: Wants,
    lock: Lock,
}

/// A template, or the place for it.
#[derive(Debug)]
pub enum Found {
    /// It is there.
    There(Held),
    /// It is to be made.
    Missing(Vacant),
}

/// Why a store of templates could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The store is not this user's.
    #[error("{} is not this user's own directory\nhint: name another place with --work DIR", .0.display())]
    NotOwn(PathBuf),
    /// There is none of this name.
    #[error("there is no template `{0}`\nhint: `pgbench-rs template list` names them")]
    Unknown(String),
    /// Several begin so.
    #[error("several templates begin with `{name}`: {}", .all.join(", "))]
    Several {
        /// As written.
        name: String,
        /// Those that begin so.
        all: Vec<String>,
    },
    /// A run uses it.
    #[error("template `{0}` is in use by a run, or being made or removed")]
    InUse(String),
    /// It is not as this program makes them.
    #[error("{} was not removed: {why}", path.display())]
    NotRemoved {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}

impl Store {
    /// Opens the store of a work directory, which exists, and enters it in the user's list of stores.
    pub fn open(work: &Path) -> Result<Store, StoreError> {
        let store = Store::in_work(&fs::canonicalize(work).map_err(at(work))?)?;
        let list = list_of_user().map_err(at(work))?;
        enter(&list, &store.dir).map_err(at(&list))?;
        Ok(store)
    }

    /// The same, in no list.
    pub fn in_work(work: &Path) -> Result<Store, StoreError> {
        let dir = work.join(STORE);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(&dir)(error)),
            _ => {}
        }
        let meta = fs::symlink_metadata(&dir).map_err(at(&dir))?;
        if !meta.is_dir() || meta.uid() != nix::unistd::geteuid().as_raw() {
            return Err(StoreError::NotOwn(dir));
        }
        // Servers pass through it while a template is filled.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).map_err(at(&dir))?;
        Ok(Store { dir })
    }

    /// All stores of this user that are still there.
    pub fn all_of_user() -> io::Result<Vec<Store>> {
        let text = match fs::read_to_string(list_of_user()?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        Ok(text.lines().map(PathBuf::from).filter(|dir| dir.is_dir()).map(|dir| Store { dir }).collect())
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Why nothing is kept here; absent: it is.
    pub fn refuses(&self) -> Result<Option<&'static str>, snapshot::SnapshotError> {
        let zfs = crate::base::zfs::KINDS.contains(&snapshot::choose::look(&self.dir)?.file_system.as_str());
        Ok(zfs.then_some("a data directory on ZFS is a dataset, which belongs to its run"))
    }

    /// The password of the superuser of all servers that stand on a template: it is in their data directories.
    pub fn password(&self) -> Result<Secret, StoreError> {
        let path = self.dir.join(PASSWORD);
        let write = || {
            let aside = self.dir.join(format!(".{PASSWORD}-{}", std::process::id()));
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            file.write_all(conf::random_password().expose().as_bytes())?;
            file.sync_all()?;
            // Of two that write at the same time, the first counts for both.
            let first = fs::hard_link(&aside, &path);
            fs::remove_file(&aside)?;
            match first {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        };
        if !path.try_exists().map_err(at(&path))? {
            write().map_err(at(&path))?;
        }
        fs::read_to_string(&path).map(Secret::new).map_err(at(&path))
    }

    /// The template of `wants`, or its place; waits while another run makes or removes it, of which `waiting` is told.
    pub async fn find(&self, label: &str, wants: &Wants, waiting: impl Fn(&str)) -> Result<Found, StoreError> {
        let name = wants.name(label);
        let (dir, lock) = (self.dir.join(&name), self.lock(&name));
        loop {
            if let Some(held) = self.hold(&name, wants)? {
                return Ok(Found::There(held));
            }
            if let Some(alone) = Lock::attempt(&lock, Hold::Alone).map_err(at(&lock))? {
                match read(&dir) {
                    Some(card) if card.wants == *wants => drop(alone),
                    // Left by a removal that broke off, or by an older program.
                    _ => {
                        prune::remove_here(&self.dir, &dir)?;
                        return Ok(Found::Missing(Vacant { name, wants: wants.clone(), lock: alone }));
                    }
                }
            }
            waiting(&name);
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn hold(&self, name: &str, wants: &Wants) -> Result<Option<Held>, StoreError> {
        let (dir, lock) = (self.dir.join(name), self.lock(name));
        if !dir.exists() {
            return Ok(None);
        }
        let Some(shared) = Lock::attempt(&lock, Hold::Shared).map_err(at(&lock))? else { return Ok(None) };
        let Some(card) = read(&dir).filter(|card| card.wants == *wants) else { return Ok(None) };
        touch(&dir).map_err(at(&dir))?;
        Ok(Some(Held { dir, card, _lock: shared }))
    }

    /// All that is in it, the least recently used first.
    pub fn list(&self) -> Result<Vec<Kept>, StoreError> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(at(&self.dir))? {
            let entry = entry.map_err(at(&self.dir))?;
            let (dir, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if name.starts_with('.') || !dir.join(MARK).is_file() {
                continue;
            }
            let used = fs::metadata(dir.join(CARD)).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let broken = !dir.join(CARD).exists();
            all.push(Kept { name, card: read(&dir), broken, dir, used });
        }
        all.sort_by(|a, b| (a.used, &a.name).cmp(&(b.used, &b.name)));
        Ok(all)
    }

    fn lock(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.lock"))
    }
}

impl Vacant {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is to be in it.
    pub fn wants(&self) -> &Wants {
        &self.wants
    }

    /// The directory in which `run` is to make it.
    pub fn making(&self, store: &Store, run: &str) -> PathBuf {
        store.dir.join(format!("{MAKING}{run}-{}", self.name))
    }

    /// What was made in `made` is whole, on disk and without a server: from here on it is the template. None when it was
    /// removed by somebody else in the same moment.
    pub fn fill(
        self,
        store: &Store,
        made: &Path,
        run: &str,
        took: Duration,
        loaded: serde_json::Value,
    ) -> Result<Option<Held>, StoreError> {
        let card = Card {
            wants: self.wants.clone(),
            run: run.to_owned(),
            made_at: jiff::Timestamp::now().to_string(),
            took: took.as_secs_f64(),
            loaded,
            bytes: snapshot::blocks(made).map_err(|error| at(made)(io::Error::other(error.to_string())))?,
        };
        let dir = store.dir.join(&self.name);
        let write = || {
            let mut file = File::create(made.join(CARD))?;
            file.write_all(&serde_json::to_vec_pretty(&card)?)?;
            file.sync_all()?;
            File::open(made)?.sync_all()?;
            fs::rename(made, &dir)?;
            File::open(&store.dir)?.sync_all()
        };
        write().map_err(at(made))?;
        let lock = self.lock.share().map_err(at(&dir))?;
        Ok(read(&dir).map(|card| Held { dir, card, _lock: lock }))
    }
}

/// The state file of a template's directory, if it has one and it reads.
fn read(dir: &Path) -> Option<Card> {
    serde_json::from_slice(&fs::read(dir.join(CARD)).ok()?).ok()
}

/// Notes that a template is used.
fn touch(dir: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).open(dir.join(CARD))?.set_modified(SystemTime::now())
}

/// The list of this user's stores: a path a line.
fn list_of_user() -> io::Result<PathBuf> {
    Ok(state_of_user()?.join("templates"))
}

fn enter(list: &Path, store: &Path) -> io::Result<()> {
    let known = fs::read_to_string(list).unwrap_or_default();
    if known.lines().any(|line| Path::new(line) == store) {
        return Ok(());
    }
    if let Some(parent) = list.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).open(list)?;
    // In one write, as another run may do the same.
    file.write_all(format!("{}\n", store.display()).as_bytes())
}

#[cfg(test)]
mod tests;
