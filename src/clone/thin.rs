//! A clone that runs.

use super::door::Door;
use super::error::CloneError;
use super::making::remove;
use super::phase::{Phase, Phases, Span};
use super::settle::client;
use super::source::Source;
use crate::base::inventory::Id;
use crate::driver::{Server, Shutdown, Workplace};
use crate::pg::version::Major;
use crate::pg::{Host, Login, Lsn};
use crate::snapshot::{Copied, Place, SnapshotError, Symlink, label};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// How long the server may take to end at once.
const STOP: Duration = Duration::from_secs(10);
/// How long it may take to shut down in order.
const SHUTDOWN: Duration = Duration::from_secs(600);

/// What a clone's data directory is made of.
#[derive(Debug)]
pub(super) enum Body {
    /// A copy by a snapshot driver.
    Copied(Copied),
    /// A plain directory.
    Directory(PathBuf),
}

impl Body {
    pub fn data(&self) -> &Path {
        match self {
            Body::Copied(copied) => copied.data(),
            Body::Directory(path) => path,
        }
    }

    /// See [`Copied::say`].
    pub async fn say(&self, state: label::State) -> Result<(), SnapshotError> {
        match self {
            Body::Copied(copied) => copied.say(state).await,
            Body::Directory(_) => Ok(()),
        }
    }

    /// The symbolic links that were found in it. `pg_basebackup` makes none but for tablespaces, which are refused.
    pub fn symlinks(&self) -> &[Symlink] {
        match self {
            Body::Copied(copied) => copied.symlinks(),
            Body::Directory(_) => &[],
        }
    }
}

/// A writable clone, whose server runs. Dropping it kills the server and removes nothing; [`ThinClone::destroy`] does
/// both.
#[derive(Debug)]
pub struct ThinClone {
    /// Its name.
    pub name: String,
    place: Arc<Workplace>,
    entry: Id,
    home: PathBuf,
    within: PathBuf,
    body: Body,
    server: Arc<Server>,
    door: Door,
    of: Of,
}

/// What a clone is one of.
#[derive(Debug)]
pub(super) struct Of {
    /// What was copied.
    pub source: Arc<Source>,
    /// Its version.
    pub major: Major,
    /// Bytes of a segment of its WAL.
    pub segment_size: u64,
    /// As in [`Facts`](super::Facts), as are those that follow.
    pub timeline: Option<u32>,
    pub redo: Option<Lsn>,
    pub reached: Option<Lsn>,
    pub last_commit: Option<jiff::Timestamp>,
    pub is_unsafe: bool,
}

/// What became of a clone that was destroyed.
#[derive(Debug)]
pub struct Destroyed {
    /// [`Phase::Stop`] and [`Phase::Destroy`], counted from the request.
    pub spans: Vec<Span>,
    /// What is left, and why; nothing, if all is well.
    pub left: Vec<String>,
}

impl ThinClone {
    pub(super) fn new(
        place: Arc<Workplace>,
        (entry, home, within): (Id, PathBuf, PathBuf),
        body: Body,
        server: Arc<Server>,
        door: Door,
        of: Of,
    ) -> ThinClone {
        let name = door.name.clone();
        ThinClone { name, place, entry, home, within, body, server, door, of }
    }

    /// Where it listens, and how to log in there.
    pub fn host(&self) -> &Host {
        self.server.host()
    }

    /// The login that goes with [`ThinClone::host`].
    pub fn login(&self, application_name: &str) -> Login {
        self.door.login(self.place.login(application_name), &self.door.dbname)
    }

    /// Its server.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Its own directory, in which all of it lies.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        self.body.data()
    }

    /// Its copy, when a snapshot driver made it: for another process.
    pub fn copy(&self) -> Option<&Place> {
        match &self.body {
            Body::Copied(copied) => Some(copied.place()),
            Body::Directory(_) => None,
        }
    }

    /// Up to where it has the source's changes.
    pub fn reached(&self) -> Option<Lsn> {
        self.of.reached
    }

    pub(super) fn of(&self) -> &Of {
        &self.of
    }

    pub(super) fn place(&self) -> &Workplace {
        &self.place
    }

    /// Whether it was made in a way that may have left it inconsistent.
    pub fn is_unsafe(&self) -> bool {
        self.of.is_unsafe
    }

    /// A session in a database of it; absent: the one that is its login's.
    pub async fn connect(&self, dbname: Option<&str>) -> Result<Client, CloneError> {
        client(&self.place, self.host(), &self.door, dbname.unwrap_or(&self.door.dbname)).await
    }

    /// Bytes that would be free again without it, as far as its file system tells.
    pub async fn space(&self) -> Result<Option<u64>, SnapshotError> {
        match &self.body {
            Body::Copied(copied) => copied.space().await,
            Body::Directory(path) => {
                let path = path.clone();
                let walked = tokio::task::spawn_blocking(move || blocks(&path));
                walked.await.map_or(Ok(None), |bytes| Ok(bytes.ok()))
            }
        }
    }

    /// Lets it say how far it is, where its file system can keep that.
    pub(super) async fn say(&self, state: label::State) -> Result<(), SnapshotError> {
        self.body.say(state).await
    }

    /// Shuts its server down in order, and leaves its directory. It can be started again.
    pub async fn shut_down(&self) -> Result<Duration, CloneError> {
        let stopped = self.server.stop(Shutdown::Fast, SHUTDOWN).await?;
        if stopped.killed {
            return Err(CloneError::Broke(format!("clone `{}` did not shut down within {SHUTDOWN:?}", self.name)));
        }
        Ok(stopped.took)
    }

    /// Lets it outlive the harness. Only sure when the run was set up so; see
    /// [`Setup::keep`](crate::driver::Setup::keep).
    pub fn keep(&self) -> io::Result<()> {
        self.server.keep()?;
        if let Body::Copied(copied) = &self.body {
            copied.keep().map_err(io::Error::other)?;
        }
        self.place.setup.inventory.keep(self.entry)
    }

    /// Ends its server and removes all of it. Goes on after an error, and may be called again: what was busy may be so no
    /// longer.
    pub async fn destroy(&self) -> Destroyed {
        let mut phases = Phases::start(None);
        let mut left = Vec::new();
        phases.begin(Phase::Stop);
        // Nobody's data depend on how it ends.
        let stopped = self.server.stop(Shutdown::Immediate, STOP).await.map(drop);
        for ended in [stopped, self.server.remove().await] {
            left.extend(ended.err().map(|error| error.to_string()));
        }
        if !left.is_empty() {
            phases.fail();
            return Destroyed { spans: phases.spans().to_vec(), left };
        }
        phases.begin(Phase::Destroy);
        // Whether it could be said shows in what follows: it is gone, or what is left is said.
        let _ = self.say(label::State::Destroying).await;
        if let Body::Copied(copied) = &self.body
            && let Err(error) = copied.destroy().await
        {
            left.push(error.to_string());
        }
        left.extend(remove(&self.place, self.entry, &self.home, &self.within).await.err());
        if left.is_empty() {
            phases.end()
        } else {
            phases.fail()
        }
        Destroyed { spans: phases.spans().to_vec(), left }
    }
}

/// What the files of a directory take up on disk.
pub(super) fn blocks(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = match std::fs::symlink_metadata(entry.path()) {
            // A server that runs removes files as it goes.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            meta => meta?,
        };
        bytes += meta.blocks() * 512;
        if meta.is_dir() {
            bytes += blocks(&entry.path())?;
        }
    }
    Ok(bytes)
}
