//! What can be done to a cluster: one file a kind. A fault resolves its target when it is injected,
//! as another host would see it, and whatever it did is undone at the end of its step, phase or trial,
//! however that ends.

pub mod freeze;
pub mod kill;
pub mod pause_replay;
pub mod stop;
pub mod switchover;

pub use freeze::{Freeze, FreezeWhat};
pub use kill::Kill;
pub use pause_replay::PauseReplay;
pub use stop::{Stop, StopMode};
pub use switchover::Switchover;

use crate::base::clock::Clock;
use crate::cluster::{Cluster, Node, Part};
use crate::manager;
use crate::metric::{Event, Events};
use crate::pg::{connect::connect, find::Finder};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a fault looks for its target.
const FIND: Duration = Duration::from_secs(2);

/// `act = { kind = … }` of a step. Targets are `@primary`, `@standbys` or a node's name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// kill -9 of every process of a server.
    Kill(Kill),
    /// Stops a server as `pg_ctl stop` does.
    Stop(Stop),
    /// Freezes (SIGSTOP) a server, or some processes of it.
    Freeze(Freeze),
    /// `pg_wal_replay_pause()` on standbys.
    PauseReplay(PauseReplay),
    /// A planned switchover, asked of the manager.
    Switchover(Switchover),
}

/// Why a fault was not injected or not undone.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// Nobody plays the role that it is for.
    #[error("no node is {target} now")]
    NoTarget {
        /// Role or node, as written.
        target: String,
    },
    /// What it does failed.
    #[error("{what} {node}: {source}")]
    Failed {
        /// What was done.
        what: &'static str,
        /// To which node.
        node: String,
        /// What came of it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is for a server that runs.
    #[error("{node} is not running")]
    NotRunning {
        /// The node.
        node: String,
    },
    /// A stop that became a kill.
    #[error("{node} did not stop within {limit:?} and was killed")]
    Killed {
        /// The node.
        node: String,
        /// How long it was given.
        limit: Duration,
    },
    /// It failed for one server, and then what it did to others could not be taken back.
    #[error("{cause}\nand then {undo}")]
    NotTakenBack {
        /// Why it failed.
        cause: Box<FaultError>,
        /// What is left.
        undo: Box<FaultError>,
    },
    /// The scenario has nobody who could do it.
    #[error("a switchover needs a manager; the scenario has none")]
    NoManager,
    /// The task that did it panicked.
    #[error("it died: {0}")]
    Died(String),
}

impl FaultError {
    fn failed(
        what: &'static str,
        node: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> FaultError {
        FaultError::Failed { what, node: node.to_owned(), source: source.into() }
    }
}

/// What a fault can reach in one trial.
#[derive(Clone)]
pub struct Reach {
    /// The servers.
    pub cluster: Arc<Cluster>,
    /// Who promotes, when there is somebody.
    pub manager: Option<Arc<manager::Running>>,
    /// The trial's clock.
    pub clock: Clock,
    /// Where events go.
    pub events: Events,
}

/// What is to be done to take a fault back.
#[derive(Clone)]
pub enum Undo {
    /// Nothing: it has no lasting effect of its own.
    Nothing,
    /// Start servers that it ended.
    Start(Vec<Arc<Node>>),
    /// Let processes go on.
    Thaw(Vec<(Arc<Node>, Part)>),
    /// Let standbys replay.
    ResumeReplay(Vec<Arc<Node>>),
}

impl Fault {
    /// The kind of its event.
    pub fn event(&self) -> &'static str {
        match self {
            Fault::Kill(_) => "fault.kill",
            Fault::Stop(_) => "fault.stop",
            Fault::Freeze(_) => "fault.freeze",
            Fault::PauseReplay(_) => "fault.pause_replay",
            Fault::Switchover(_) => "fault.switchover",
        }
    }

    /// Whom it is for, as written; a switchover is for the manager.
    pub fn target(&self) -> Option<&str> {
        match self {
            Fault::Kill(kill) => Some(&kill.of),
            Fault::Stop(stop) => Some(&stop.of),
            Fault::Freeze(freeze) => Some(&freeze.of),
            Fault::PauseReplay(pause) => Some(&pause.of),
            Fault::Switchover(_) => None,
        }
    }

    /// What it does to `nodes` (names, or a target as written), in a few words: `freeze the WAL senders of a`.
    pub fn describe(&self, nodes: &str) -> String {
        match self {
            Fault::Kill(_) => format!("kill -9 {nodes}"),
            Fault::Stop(stop) => match stop.mode {
                StopMode::Fast => format!("stop {nodes} (fast)"),
                StopMode::Immediate => format!("stop {nodes} (immediate)"),
            },
            Fault::Freeze(freeze) => match freeze.what {
                FreezeWhat::Server => format!("freeze {nodes}"),
                FreezeWhat::WalReceiver => format!("freeze the WAL receiver of {nodes}"),
                FreezeWhat::WalSenders => format!("freeze the WAL senders of {nodes}"),
            },
            Fault::PauseReplay(_) => format!("pause replay on {nodes}"),
            Fault::Switchover(switchover) => match &switchover.to {
                Some(to) => format!("switch over to {to}, rolled back after {}", switchover.timeout),
                None => format!("switch over, rolled back after {}", switchover.timeout),
            },
        }
    }

    /// Finds the servers that it is for, before the instant at which it acts, so that the search is not
    /// part of what is measured.
    pub async fn targets(&self, reach: &Reach) -> Result<Vec<Arc<Node>>, FaultError> {
        match self.target() {
            Some(target) => reach.resolve(target).await,
            None => Ok(Vec::new()),
        }
    }

    /// Does it to `targets`. The result says how to take it back.
    pub async fn inject(&self, targets: Vec<Arc<Node>>, reach: &Reach) -> Result<Undo, FaultError> {
        match self {
            Fault::Kill(_) => kill::inject(targets, reach).await,
            Fault::Stop(stop) => stop.inject(targets, reach).await,
            Fault::Freeze(freeze) => freeze.inject(targets, reach).await,
            Fault::PauseReplay(_) => pause_replay::inject(targets, reach).await,
            Fault::Switchover(switchover) => switchover.inject(reach).await,
        }
    }
}

impl Undo {
    /// Takes the fault back.
    pub async fn undo(self, reach: &Reach) -> Result<(), FaultError> {
        match self {
            Undo::Nothing => Ok(()),
            Undo::Start(nodes) => stop::start_again(nodes, reach).await,
            Undo::Thaw(parts) => freeze::thaw(parts).await,
            Undo::ResumeReplay(nodes) => pause_replay::resume(nodes, reach).await,
        }
    }
}

impl Reach {
    /// The nodes that a target stands for at this moment.
    async fn resolve(&self, target: &str) -> Result<Vec<Arc<Node>>, FaultError> {
        let nodes: Vec<Arc<Node>> = match target {
            "@primary" => self.writable().await.into_iter().collect(),
            "@standbys" => self.in_recovery().await,
            name => self.cluster.node(name).cloned().into_iter().collect(),
        };
        if nodes.is_empty() { Err(FaultError::NoTarget { target: target.to_owned() }) } else { Ok(nodes) }
    }

    /// The node that accepts writes, as SQL says.
    async fn writable(&self) -> Option<Arc<Node>> {
        let finder = Finder::new(self.cluster.hosts(), self.cluster.login("pgbr-fault"), FIND);
        let host = tokio::time::timeout(FIND, finder.writable()).await.ok()?;
        self.cluster.node(&host.node).cloned()
    }

    /// The nodes that say they are in recovery, in the cluster's order.
    async fn in_recovery(&self) -> Vec<Arc<Node>> {
        let mut asked = JoinSet::new();
        for node in &self.cluster.nodes {
            let (host, login) = (node.host.clone(), self.cluster.login("pgbr-fault"));
            asked.spawn(async move {
                let client = connect(&host, &login, FIND).await.ok()?;
                let answer = client.query_one("SELECT pg_is_in_recovery()", &[]);
                let row = tokio::time::timeout(FIND, answer).await.ok()?.ok()?;
                row.get::<_, bool>(0).then_some(host.node)
            });
        }
        let standbys: Vec<String> = asked.join_all().await.into_iter().flatten().collect();
        self.cluster.nodes.iter().filter(|node| standbys.contains(&node.name)).cloned().collect()
    }

    fn say(&self, kind: &'static str, node: Option<&str>, text: String) {
        // A closed channel means that the trial is over, and nobody would read it.
        let _ = self.events.send(Event { elapsed: self.clock.elapsed(), kind, node: node.map(str::to_owned), text });
    }
}

/// A fault that ends servers is for servers that run.
fn all_run(targets: &[Arc<Node>]) -> Result<(), FaultError> {
    match targets.iter().find(|node| !node.is_running()) {
        Some(node) => Err(FaultError::NotRunning { node: node.name.clone() }),
        None => Ok(()),
    }
}

/// Does `act` to all targets at once. When it fails for one it is taken back from all: half a fault is none.
async fn inject_all<F>(
    targets: &[Arc<Node>],
    undo: Undo,
    reach: &Reach,
    act: impl Fn(Arc<Node>) -> F,
) -> Result<Undo, FaultError>
where
    F: Future<Output = Result<(), FaultError>> + Send + 'static,
{
    let Err(cause) = at_once(targets, act).await else { return Ok(undo) };
    match undo.undo(reach).await {
        Ok(()) => Err(cause),
        Err(undo) => Err(FaultError::NotTakenBack { cause: Box::new(cause), undo: Box::new(undo) }),
    }
}

/// Does `act` to all nodes at the same time and waits for all of them; the first failure counts.
async fn at_once<F>(nodes: &[Arc<Node>], act: impl Fn(Arc<Node>) -> F) -> Result<(), FaultError>
where
    F: Future<Output = Result<(), FaultError>> + Send + 'static,
{
    let mut acts: JoinSet<_> = nodes.iter().map(|node| act(node.clone())).collect();
    let mut first = Ok(());
    while let Some(ended) = acts.join_next().await {
        first = first.and(ended.unwrap_or_else(|died| Err(FaultError::Died(died.to_string()))));
    }
    first
}
