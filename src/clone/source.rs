//! The server that is cloned.

use super::error::SourceError;
use super::facts::SourceFacts;
use super::identity::same_server;
use super::precooked::Cooked;
use super::recipe::Method;
use crate::base::inventory::Inventory;
use crate::base::proc;
use crate::driver::{SERVER_PROGRAM, Server};
use crate::pg::connect::connect;
use crate::pg::control::ControlError;
use crate::pg::control_file::ControlFile;
use crate::pg::version::Major;
use crate::pg::{Host, Login, Lsn};
use crate::snapshot::choose::{Choice, choose};
use crate::snapshot::{Origin, SnapshotDriver, SnapshotError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_postgres::{Client, Statement};

/// How long a login may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A server that can be cloned, and its data directory.
#[derive(Debug)]
pub struct Source {
    /// What it is called.
    pub name: String,
    /// Its data directory, as it is seen here, without symbolic links.
    data: PathBuf,
    /// How it is reached; absent: no server runs on the directory.
    reach: Option<(Host, Login)>,
    /// It is the harness's own, and may be frozen.
    server: Option<Arc<Server>>,
    /// An open session: a login takes longer than the question.
    session: tokio::sync::Mutex<Option<Session>>,
    /// What was known of the server whose stopped copy this is.
    inherited: Option<Cooked>,
    /// The directory as drivers can copy it, once it was looked at.
    origins: Mutex<BTreeMap<Option<SnapshotDriver>, Found>>,
    /// Held while it is frozen, so that nobody thaws it while somebody else still copies.
    pub(super) freezing: Arc<tokio::sync::Mutex<()>>,
}

/// A session on a source, and the question that is asked of it again and again.
#[derive(Debug)]
struct Session {
    client: Client,
    question: Statement,
}

/// The directory as a driver can copy it, and why that one was chosen.
type Found = (Origin, Option<Choice>);

/// A checkpoint that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Checkpointed {
    /// The latest checkpoint before.
    pub before: Lsn,
    /// The latest checkpoint afterwards.
    pub after: Lsn,
    /// From where recovery would have read before.
    pub redo_before: Lsn,
    /// From where recovery would read now.
    pub redo_after: Lsn,
    /// There was a new one. On a standby a CHECKPOINT is a restartpoint, and none is made when no checkpoint of the
    /// primary has been replayed since the last.
    pub made: bool,
}

impl Checkpointed {
    pub(super) fn between(before: &ControlFile, after: &ControlFile) -> Checkpointed {
        Checkpointed {
            before: before.checkpoint,
            after: after.checkpoint,
            redo_before: before.redo,
            redo_after: after.redo,
            made: before.checkpoint != after.checkpoint,
        }
    }
}

impl Source {
    /// A server that runs on `data` and is reached as `host` by `login`, who is a superuser or has the rights of
    /// `pg_monitor` and `pg_checkpoint`, and may call the backup functions.
    pub fn running(name: impl Into<String>, data: &Path, host: Host, login: Login) -> Result<Source, SourceError> {
        Source::new(name.into(), data, Some((host, login)))
    }

    /// A directory on which no server runs.
    pub fn stopped(name: impl Into<String>, data: &Path) -> Result<Source, SourceError> {
        Source::new(name.into(), data, None)
    }

    fn new(name: String, data: &Path, reach: Option<(Host, Login)>) -> Result<Source, SourceError> {
        let real = fs::canonicalize(data).map_err(|source| unfit(data, &source))?;
        Ok(Source {
            name,
            data: real,
            reach,
            server: None,
            session: tokio::sync::Mutex::default(),
            inherited: None,
            origins: Mutex::default(),
            freezing: Arc::default(),
        })
    }

    /// Says that the server is the harness's own: it may be frozen.
    #[must_use]
    pub fn ours(self, server: Arc<Server>) -> Source {
        Source { server: Some(server), ..self }
    }

    /// Says what was known of the server whose stopped copy this is.
    #[must_use]
    pub(super) fn inheriting(self, cooked: Cooked) -> Source {
        Source { inherited: Some(cooked), ..self }
    }

    /// What was known of the server whose stopped copy this is.
    pub(super) fn inherited(&self) -> Option<&Cooked> {
        self.inherited.as_ref()
    }

    /// The directory as `driver` can copy it, or as the best can, and then why that is the best.
    pub(super) async fn origin(
        &self,
        driver: Option<SnapshotDriver>,
        inventory: &Arc<Inventory>,
    ) -> Result<Found, SnapshotError> {
        let known = || self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(&driver) {
            return Ok(found.clone());
        }
        let found = match driver {
            Some(driver) => (Origin::open(driver, &self.data, inventory).await?, None),
            None => {
                let (origin, choice) = choose(&self.data, inventory).await?;
                (origin, Some(choice))
            }
        };
        known().insert(driver, found.clone());
        Ok(found)
    }

    /// Where clones of it can go, if nobody says: a directory that is there, on the same file system where that matters.
    pub async fn home(&self, method: Method, inventory: &Arc<Inventory>) -> Result<PathBuf, SnapshotError> {
        let driver = method.driver().or((method == Method::Basebackup).then_some(SnapshotDriver::Copy));
        Ok(self.origin(driver, inventory).await?.0.home()?.to_owned())
    }

    /// Whether a server runs on the directory, though none is known.
    pub(super) fn is_in_use(&self) -> bool {
        let servers = || proc::standing_in(&proc::alive(), &[(self.data.clone(), SERVER_PROGRAM.to_owned())]);
        self.data.join("postmaster.pid").exists() && !servers().is_empty()
    }

    /// Its data directory, as it is seen here.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The server, when it is the harness's own.
    pub fn server(&self) -> Option<&Arc<Server>> {
        self.server.as_ref()
    }

    /// How it is reached, when it runs.
    pub fn reach(&self) -> Option<(&Host, &Login)> {
        self.reach.as_ref().map(|(host, login)| (host, login))
    }

    /// A session of its own.
    pub(super) async fn connect(&self) -> Result<Client, SourceError> {
        let Some((host, login)) = &self.reach else {
            return Err(SourceError::Unfit { dir: self.data.clone(), why: "no server runs on it".to_owned() });
        };
        Ok(connect(host, login, CONNECT).await?)
    }

    /// What the control file of its directory says now.
    pub fn control(&self) -> Result<ControlFile, ControlError> {
        ControlFile::read(&self.data)
    }

    /// Asks what it is, and makes sure that its directory is its own, and that a server of version `made` run by the
    /// user with id `uid` can run on a copy. Nothing is said of a server that does not run.
    pub(super) async fn look(&self, made: Major, uid: u32) -> Result<(ControlFile, Option<SourceFacts>), SourceError> {
        let version = self.read("PG_VERSION").map_err(|source| unfit(&self.data, &source))?.unwrap_or_default();
        if version.trim() != made.to_string() {
            let found =
                if version.is_empty() { "no version that is known".to_owned() } else { version.trim().to_owned() };
            let hint = format!("name programs or an image of PostgreSQL {found}");
            return Err(SourceError::Version { dir: self.data.clone(), found, made, hint });
        }
        let owner = fs::metadata(&self.data).map_err(|source| unfit(&self.data, &source))?.uid();
        if owner != uid {
            let hint = "the owner of a copy is not changed, for that takes as long as there are files; run this as the \
                        owner, or as root with --server-user";
            return Err(SourceError::Owner { dir: self.data.clone(), owner, user: uid, hint });
        }
        let control = self.control()?;
        if self.reach.is_none() {
            return Ok((control, None));
        }
        let facts = self.ask().await?;
        let pidfile = self.read("postmaster.pid").map_err(|source| unfit(&self.data, &source))?;
        same_server(&self.data, &control, pidfile.as_deref(), &facts)?;
        Ok((control, Some(facts)))
    }

    /// Makes sure that all of the directory lies in it. `wal_elsewhere`: its WAL may be led to by a link.
    pub(super) fn stays_together(&self, facts: Option<&SourceFacts>, wal_elsewhere: bool) -> Result<(), SourceError> {
        let leaves = |what: String, target: PathBuf, hint: &'static str| {
            Err(SourceError::Leaves { what, dir: self.data.clone(), target, hint })
        };
        let wal = self.data.join("pg_wal");
        if !wal_elsewhere && wal.is_symlink() {
            let target = fs::read_link(&wal).map_err(|source| unfit(&wal, &source))?;
            let hint = "put the WAL into the data directory, or use `method = \"basebackup\"`";
            return leaves("pg_wal".to_owned(), target, hint);
        }
        let hint = "move its tables into a tablespace within the data directory: ALTER TABLE ALL IN TABLESPACE …";
        if let Some((name, target)) =
            facts.and_then(|facts| facts.tablespaces.first()).and_then(|place| place.split_once(" at "))
        {
            return leaves(format!("the tablespace `{name}`"), target.into(), hint);
        }
        let tablespaces = self.data.join("pg_tblspc");
        for entry in fs::read_dir(&tablespaces).map_err(|source| unfit(&tablespaces, &source))? {
            let path = entry.map_err(|source| unfit(&tablespaces, &source))?.path();
            if path.is_symlink() {
                let target = fs::read_link(&path).map_err(|source| unfit(&path, &source))?;
                return leaves(format!("the tablespace in {}", path.display()), target, hint);
            }
        }
        Ok(())
    }

    /// Asks for a checkpoint, and sees whether one was made.
    pub(super) async fn checkpoint(&self) -> Result<Checkpointed, SourceError> {
        let before = self.control()?;
        let mut session = self.session.lock().await;
        let Session { client, .. } = self.session(&mut session).await?;
        let asked = client.batch_execute("CHECKPOINT").await;
        asked.map_err(self.failed("CHECKPOINT"))?;
        Ok(Checkpointed::between(&before, &self.control()?))
    }

    async fn ask(&self) -> Result<SourceFacts, SourceError> {
        let mut session = self.session.lock().await;
        let Session { client, question } = self.session(&mut session).await?;
        SourceFacts::ask(client, question).await.map_err(self.failed("asking what it is"))
    }

    /// The open session, or a new one where it has ended.
    async fn session<'s>(&self, session: &'s mut Option<Session>) -> Result<&'s Session, SourceError> {
        if session.as_ref().is_none_or(|session| session.client.is_closed()) {
            *session = None;
        }
        match session {
            Some(session) => Ok(session),
            none => {
                let client = self.connect().await?;
                let question = SourceFacts::prepare(&client).await.map_err(self.failed("asking what it is"))?;
                Ok(none.insert(Session { client, question }))
            }
        }
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(tokio_postgres::Error) -> SourceError {
        let node = self.name.clone();
        move |source| SourceError::Sql { node, what, source }
    }

    fn read(&self, name: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.data.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => text.map(Some),
        }
    }
}

fn unfit(dir: &Path, error: &io::Error) -> SourceError {
    SourceError::Unfit { dir: dir.to_owned(), why: error.to_string() }
}
