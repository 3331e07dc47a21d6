//! A node: a server with a name, a place and a rank, and the settings by which a standby follows another.

use super::disks::Disk;
use crate::base::proc::Stat;
use crate::base::units::Size;
use crate::disk::OwnDisk;
use crate::driver::docker::stats::Stats;
use crate::driver::docker::{Engine, Limits};
use crate::driver::outcome::{Killed, Proof, SignalError, Stopped};
use crate::driver::start::StartError;
use crate::driver::{Files, Make, Part, Server, Shutdown};
use crate::pg::control::ControlError;
use crate::pg::{Host, Lsn, conf};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where a change by `ALTER SYSTEM` is written.
const AUTO_CONF: &str = "postgresql.auto.conf";
const STANDBY_SIGNAL: &str = "standby.signal";

/// What a node is to be.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Its name; it is the server's `cluster_name` and, of a standby, the `application_name`.
    pub name: String,
    /// Whether it is the primary when the cluster starts; exactly one is.
    pub primary: bool,
    /// The node that a standby streams from. Who is no primary and follows nobody is a subscriber, which accepts writes
    /// of its own.
    pub follows: Option<String>,
    /// Where it stands.
    pub site: Option<String>,
    /// Whether a standby uses a physical replication slot.
    pub slot: bool,
    /// Rank in an election among equals, higher first; 0 is never promoted.
    pub priority: u32,
    /// Settings; later ones go over earlier ones.
    pub settings: Vec<(String, String)>,
    /// Where its data directory goes, for another file system than the work directory's.
    pub dir: Option<PathBuf>,
    /// What its server is made with.
    pub make: Make,
    /// What its container may use.
    pub limits: Limits,
    /// A file system of its own.
    pub disk: Option<OwnDisk>,
}

/// A node of a running cluster. All methods may be called at the same time.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub site: Option<String>,
    /// Rank in an election among equals, higher first; 0 is never promoted.
    pub priority: u32,
    /// Whether it uses a physical replication slot when it follows another.
    pub slot: bool,
    /// Whether it was the primary when the cluster started.
    pub began_as_primary: bool,
    /// The node that it streamed from when the cluster started; absent of the primary and of subscribers.
    pub follows: Option<String>,
    /// Where it listens.
    pub host: Host,
    /// Its data directory, as its server sees it; empty of a server that somebody else runs.
    pub dir: PathBuf,
    files: Files,
    server: Arc<Server>,
    pub(super) disk: Option<Arc<Disk>>,
    fenced: AtomicBool,
}

/// Why a stopped node could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum StoppedError {
    /// It runs.
    #[error("node `{0}` runs; this is for a stopped one")]
    Running(String),
    /// It was not shut down in order, so its last checkpoint says nothing of how far it came.
    #[error("node `{node}` was not shut down in order: its control file says `{state}`")]
    NotShutDown {
        /// The node.
        node: String,
        /// What the control file says.
        state: String,
    },
    /// Its control file could not be read.
    #[error("node `{node}`: {source}")]
    Control {
        /// The node.
        node: String,
        /// Why.
        source: ControlError,
    },
    /// A file of its data directory could not be written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Node {
    pub(super) fn new(spec: &NodeSpec, files: Files, server: Server, disk: Option<Arc<Disk>>) -> Node {
        Node {
            name: spec.name.clone(),
            site: spec.site.clone(),
            priority: spec.priority,
            slot: spec.slot,
            began_as_primary: spec.primary,
            follows: spec.follows.clone(),
            host: server.host().clone(),
            dir: files.dir().to_owned(),
            files,
            server: Arc::new(server),
            disk,
            fenced: AtomicBool::new(false),
        }
    }

    /// The files of its data directory.
    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// Its server, for whoever works on it as one and not as a node: to be cloned, it may have to stand still.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Whether somebody else runs it.
    pub fn is_external(&self) -> bool {
        self.server.external().is_some()
    }

    /// Whether its scenario names a command that promotes it.
    pub fn can_promote(&self) -> bool {
        self.server.external().is_some_and(|server| server.can_promote())
    }

    /// Promotes it by the command that its scenario names; `None` when it names none.
    pub async fn promote(&self, limit: Duration) -> Option<Result<Duration, SignalError>> {
        self.server.external()?.promote(limit).await
    }

    /// Kills (SIGKILL) every process of it; see [`Server::kill`].
    pub async fn kill(&self) -> Result<Killed, SignalError> {
        self.server.kill().await
    }

    /// Stops it, and kills it after `limit`; see [`Server::stop`].
    pub async fn stop(&self, how: Shutdown, limit: Duration) -> Result<Stopped, SignalError> {
        self.server.stop(how, limit).await
    }

    /// Starts it and waits for the first row; see [`Server::start`].
    pub async fn start(&self) -> Result<Duration, StartError> {
        self.server.start().await
    }

    /// Freezes processes of it; see [`Server::freeze`].
    pub async fn freeze(&self, part: Part) -> Result<usize, SignalError> {
        self.server.freeze(part).await
    }

    /// Lets frozen processes go on; see [`Server::thaw`].
    pub async fn thaw(&self, part: Part) -> Result<usize, SignalError> {
        self.server.thaw(part).await
    }

    /// Ends it and removes its container, if it has one; its directory stays.
    pub(super) async fn remove(&self) -> Result<(), SignalError> {
        self.server.remove().await
    }

    /// Kills everything of it and proves that nothing is left; see [`Server::fence`].
    pub async fn fence(&self) -> Result<Proof, SignalError> {
        // Before it is true, so that nobody starts it again after the proof.
        self.fenced.store(true, Ordering::SeqCst);
        self.server.fence().await
    }

    /// Whether it was fenced, or is being fenced, and must not start as the primary that it was: until it is
    /// made a standby.
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::SeqCst)
    }

    /// Whether its postmaster runs, frozen or not.
    pub fn is_running(&self) -> bool {
        self.server.is_running()
    }

    /// That it ended when nobody had told it to; see [`Server::own_end`].
    pub fn own_end(&self) -> Option<&str> {
        self.server.own_end()
    }

    /// Whether it is a container.
    pub fn is_container(&self) -> bool {
        self.server.container().is_some()
    }

    /// What its container has used since it was started; nothing of a node that is none. See
    /// [`ContainerServer::stats`](crate::driver::docker::ContainerServer::stats).
    pub async fn stats(&self) -> Option<Result<Stats, SignalError>> {
        Some(self.server.container()?.stats().await)
    }

    /// Its processes on this machine, the postmaster first; of a container or somebody else's server none.
    pub fn processes(&self) -> Vec<Stat> {
        self.server.processes()
    }

    /// The engine that its container is on.
    pub fn engine(&self) -> Option<&Engine> {
        self.server.container().map(|container| container.engine())
    }

    /// Memory that its container may use, where that is limited.
    pub fn memory_limit(&self) -> Option<Size> {
        self.server.container()?.limits().memory
    }

    /// The run that it belongs to.
    pub fn run(&self) -> &str {
        &self.server.place().setup.run
    }

    /// The server's own log, where it is kept here.
    pub fn log(&self) -> Option<&std::path::Path> {
        self.server.log()
    }

    /// Name of the slot that it uses on the node it follows: the node's name in the letters that slots
    /// may have.
    pub fn slot_name(&self) -> Option<String> {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        self.slot.then(|| self.name.chars().map(letter).collect())
    }

    /// The value of `primary_conninfo` by which it follows `upstream`, as [`Cluster::way`](super::Cluster::way)
    /// says it is reached.
    pub fn primary_conninfo(&self, upstream: &Host) -> String {
        let (login, passfile) = (self.server.place().login(&self.name), self.server.place().passfile());
        conf::conninfo(&[
            ("host", &upstream.host),
            ("port", &upstream.port.to_string()),
            ("user", &login.user),
            // Read only by who brings slots over (`sync_replication_slots`).
            ("dbname", &login.dbname),
            ("passfile", &passfile.to_string_lossy()),
            ("application_name", &self.name),
        ])
    }

    /// The connection string by which it subscribes to what is published on one of `publishers`, without the password: of
    /// several to the one that is the primary when it connects.
    pub fn publisher_conninfo(&self, publishers: &[Host]) -> String {
        let (login, passfile) = (self.server.place().login(""), self.server.place().passfile());
        let hosts = publishers.iter().map(|host| host.host.clone()).collect::<Vec<_>>().join(",");
        let ports = publishers.iter().map(|host| host.port.to_string()).collect::<Vec<_>>().join(",");
        let passfile = passfile.to_string_lossy();
        let mut parameters: Vec<(&str, &str)> = vec![
            ("host", &hosts),
            ("port", &ports),
            ("user", &login.user),
            ("dbname", &login.dbname),
            ("passfile", &passfile),
        ];
        if publishers.len() > 1 {
            // A server that connects to another does not heed `connect_timeout`.
            parameters.extend([("target_session_attrs", "primary"), ("tcp_user_timeout", "3000")]);
        }
        conf::conninfo(&parameters)
    }

    /// Whether it starts as a standby: `standby.signal` is there. Of a server that somebody else runs only its role at
    /// the beginning is known.
    pub async fn is_standby_on_disk(&self) -> io::Result<bool> {
        if self.is_external() {
            return Ok(!self.began_as_primary);
        }
        self.files.exists(STANDBY_SIGNAL).await
    }

    /// Makes a stopped node a standby of `upstream` when it starts next: `standby.signal`, and
    /// `primary_conninfo` and `primary_slot_name` in `postgresql.auto.conf`, where a change by
    /// `ALTER SYSTEM` would be too. The slot itself is not created.
    pub async fn follow_on_start(&self, upstream: &Host) -> Result<(), StoppedError> {
        if self.is_running() {
            return Err(StoppedError::Running(self.name.clone()));
        }
        let io = |name: &str| {
            let path = self.dir.join(name);
            move |source| StoppedError::Io { path, source }
        };
        let before = self.files.read_to_string(AUTO_CONF).await.map_err(io(AUTO_CONF))?;
        let settings =
            [("primary_conninfo", Some(self.primary_conninfo(upstream))), ("primary_slot_name", self.slot_name())];
        let after = conf::alter_auto_conf(&before, &settings);
        self.files.write(AUTO_CONF, &after).await.map_err(io(AUTO_CONF))?;
        self.files.write(STANDBY_SIGNAL, "").await.map_err(io(STANDBY_SIGNAL))?;
        self.fenced.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Where the shutdown checkpoint of a node that was stopped in order begins: it had written nothing
    /// after it.
    pub async fn shutdown_checkpoint(&self) -> Result<Lsn, StoppedError> {
        if self.is_running() {
            return Err(StoppedError::Running(self.name.clone()));
        }
        let data = self
            .server
            .control_data()
            .await
            .map_err(|source| StoppedError::Control { node: self.name.clone(), source })?;
        if !data.is_shut_down() {
            return Err(StoppedError::NotShutDown { node: self.name.clone(), state: data.state });
        }
        Ok(data.checkpoint)
    }

    /// How to connect to it, without the password.
    pub(super) fn conninfo(&self) -> String {
        let login = self.server.place().login("");
        conf::conninfo(&[
            ("host", &self.host.host),
            ("port", &self.host.port.to_string()),
            ("user", &login.user),
            ("dbname", &login.dbname),
        ])
    }

    pub(super) fn keep(&self) -> io::Result<()> {
        self.server.keep()
    }
}
