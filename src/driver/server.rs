//! A server, however it exists, and what can be done to it.

use super::Workplace;
use super::docker::ContainerServer;
use super::external::ExternalServer;
use super::outcome::{Killed, Proof, SignalError, Stopped};
use super::process::ProcessServer;
use super::start::{StartError, Step};
use crate::base::proc::Stat;
use crate::pg::Host;
use crate::pg::control::{ControlData, ControlError};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which processes of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of them.
    Server,
    /// A standby's WAL receiver.
    WalReceiver,
    /// The WAL senders, one for each standby and each `pg_basebackup`.
    WalSenders,
    /// All processes of logical replication: those that apply or copy, and the one that starts them.
    LogicalWorkers,
}

/// How a server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// SIGINT: rolls back what is open, writes a shutdown checkpoint, sends the rest of the WAL.
    Fast,
    /// SIGQUIT: exits at once; the next start recovers.
    Immediate,
}

impl Part {
    /// How the process calls itself in its title, after the server's `cluster_name`.
    pub(super) fn role(self) -> Option<&'static str> {
        match self {
            Part::Server => None,
            Part::WalReceiver => Some("walreceiver"),
            Part::WalSenders => Some("walsender"),
            // Version 16 says what kind of worker after these words.
            Part::LogicalWorkers => Some("logical replication"),
        }
    }

    pub(super) fn in_words(self) -> &'static str {
        match self {
            Part::Server => "process",
            Part::WalReceiver => "WAL receiver",
            Part::WalSenders => "WAL sender",
            Part::LogicalWorkers => "logical replication worker",
        }
    }
}

/// A server: somewhere, something that at times listens.
#[derive(Debug)]
pub enum Server {
    /// Processes of this machine.
    Process(ProcessServer),
    /// A container.
    Container(ContainerServer),
    /// Somebody else's.
    External(ExternalServer),
}

impl Server {
    /// The node's name.
    pub fn name(&self) -> &str {
        &self.host().node
    }

    /// Where it listens.
    pub fn host(&self) -> &Host {
        match self {
            Server::Process(server) => &server.host,
            Server::Container(server) => &server.host,
            Server::External(server) => &server.host,
        }
    }

    /// The run that it belongs to.
    pub fn place(&self) -> &Arc<Workplace> {
        match self {
            Server::Process(server) => server.place(),
            Server::Container(server) => server.place(),
            Server::External(server) => server.place(),
        }
    }

    /// The server that somebody else runs, if it is one.
    pub fn external(&self) -> Option<&ExternalServer> {
        match self {
            Server::Process(_) | Server::Container(_) => None,
            Server::External(server) => Some(server),
        }
    }

    /// The container that it is, if it is one.
    pub fn container(&self) -> Option<&ContainerServer> {
        match self {
            Server::Process(_) | Server::External(_) => None,
            Server::Container(server) => Some(server),
        }
    }

    /// The server's own log, where it is kept here.
    pub fn log(&self) -> Option<&Path> {
        match self {
            Server::Process(server) => Some(&server.log),
            Server::Container(server) => Some(&server.log),
            Server::External(_) => None,
        }
    }

    /// The same with settings on its command line, over those of all files, and perhaps reached in another way than
    /// over TCP with the run's password. Of somebody else's server nothing changes.
    ///
    /// How far its start has come is then read from its `postmaster.pid`, instead of being asked.
    #[must_use]
    pub fn with(self, settings: Vec<(String, String)>, host: Option<Host>) -> Server {
        match self {
            Server::Process(server) => Server::Process(server.with(settings, host)),
            Server::Container(server) => Server::Container(server.with(settings, host)),
            Server::External(server) => Server::External(server),
        }
    }

    /// Starts the server and waits until a login gets a row. Returns how long that took.
    ///
    /// When it fails, nothing of the server is left running.
    pub async fn start(&self) -> Result<Duration, StartError> {
        let began = Instant::now();
        self.start_by_steps(|_| {}).await.map(|()| began.elapsed())
    }

    /// The same; `told` is told when each step begins.
    pub async fn start_by_steps(&self, told: impl Fn(Step)) -> Result<(), StartError> {
        match self {
            // In a box: whoever starts servers has much on the stack already.
            Server::Process(server) => Box::pin(server.start(told)).await,
            Server::Container(server) => Box::pin(server.start_by_steps(told)).await,
            Server::External(server) => server.start().await.map(drop),
        }
    }

    /// What the control file of its data directory says, where that is; no server must run on it.
    pub async fn control_data(&self) -> Result<ControlData, ControlError> {
        match self {
            Server::Process(server) => server.control_data().await,
            Server::Container(server) => server.control_data().await,
            Server::External(server) => Err(ControlError::NotHere { node: server.host.node.clone() }),
        }
    }

    /// Whether it runs, frozen or not.
    pub fn is_running(&self) -> bool {
        match self {
            Server::Process(server) => server.is_running(),
            Server::Container(server) => server.is_running(),
            Server::External(server) => server.is_running(),
        }
    }

    /// Its processes on this machine, the postmaster first; of a container or somebody else's none.
    pub fn processes(&self) -> Vec<Stat> {
        match self {
            Server::Process(server) => server.members(Part::Server),
            Server::Container(_) | Server::External(_) => Vec::new(),
        }
    }

    /// Kills (SIGKILL) every process of it, and returns when nothing of it is left.
    pub async fn kill(&self) -> Result<Killed, SignalError> {
        match self {
            Server::Process(server) => server.kill().await,
            Server::Container(server) => server.kill().await,
            Server::External(server) => server.kill().await,
        }
    }

    /// Kills everything and says how it is known that nothing is left.
    pub async fn fence(&self) -> Result<Proof, SignalError> {
        match self {
            Server::Process(server) => server.fence().await,
            Server::Container(server) => server.fence().await,
            Server::External(server) => {
                let node = server.host.node.clone();
                Err(SignalError::NoCommand { node, what: "fence" })
            }
        }
    }

    /// Tells it to stop; after `limit` it is killed. A frozen server is thawed; frozen parts of a server that
    /// runs stay frozen, which may well use up the limit.
    pub async fn stop(&self, how: Shutdown, limit: Duration) -> Result<Stopped, SignalError> {
        match self {
            Server::Process(server) => server.stop(how, limit).await,
            Server::Container(server) => server.stop(how, limit).await,
            Server::External(server) => server.stop(how, limit).await,
        }
    }

    /// Stops the processes of `part` where they stand, and returns how many, once all have stopped.
    pub async fn freeze(&self, part: Part) -> Result<usize, SignalError> {
        match self {
            Server::Process(server) => server.freeze(part).await,
            Server::Container(server) => server.freeze(part).await,
            Server::External(server) => server.freeze(part).await,
        }
    }

    /// Lets the frozen processes of `part` go on. Returns how many there were.
    pub async fn thaw(&self, part: Part) -> Result<usize, SignalError> {
        match self {
            Server::Process(server) => Ok(server.thaw(part)),
            Server::Container(server) => server.thaw(part).await,
            Server::External(server) => server.thaw(part).await,
        }
    }

    /// Ends it and removes what it is made of besides its data directory: a container. Somebody else's is left.
    pub async fn remove(&self) -> Result<(), SignalError> {
        match self {
            Server::Process(server) => server.kill().await.map(drop),
            Server::Container(server) => server.remove().await,
            Server::External(_) => Ok(()),
        }
    }

    /// That it ended when nobody had told it to, the first time that this happened, with the end of its log.
    pub fn own_end(&self) -> Option<&str> {
        match self {
            Server::Process(server) => server.own_end(),
            Server::Container(server) => server.own_end(),
            // Why it ended is not known here.
            Server::External(_) => None,
        }
    }

    /// Lets it outlive the harness. Only sure when the run was set up so ([`super::Setup::keep`]).
    pub fn keep(&self) -> std::io::Result<()> {
        match self {
            Server::Process(server) => server.keep(),
            Server::Container(server) => server.keep(),
            Server::External(_) => Ok(()),
        }
    }
}
