//! What can be done to a cluster: one file a kind. A fault resolves its target when it is injected,
//! as another host would see it, and whatever it did is undone at the end of its step, phase or trial,
//! however that ends.

mod aim;
pub mod apply_conflict;
pub mod cutover;
pub mod disable_subscription;
pub mod disk;
pub mod drop_slot;
pub mod freeze;
pub mod hold_snapshot;
pub mod kill;
pub mod link;
pub mod load;
pub mod partition;
pub mod pause_replay;
pub mod stop;
pub mod switchover;
mod undo;
pub mod vacuum;

pub use aim::{Aim, Between, Sides};
pub use apply_conflict::ApplyConflict;
pub use cutover::Cutover;
pub use disable_subscription::DisableSubscription;
pub use disk::{FillDisk, SlowDisk};
pub use drop_slot::DropSlot;
pub use freeze::{Freeze, FreezeWhat};
pub use hold_snapshot::HoldSnapshot;
pub use kill::Kill;
pub use link::{Link, Reset, Stall};
pub use load::Load;
pub use partition::{Disconnect, LoseHost, Partition};
pub use pause_replay::PauseReplay;
pub use stop::{Stop, StopMode};
pub use switchover::Switchover;
pub use undo::Undo;
pub use vacuum::Vacuum;

use crate::base::clock::Clock;
use crate::cluster::{Cluster, Node};
use crate::manager;
use crate::metric::{Event, Events, Value};
use crate::net::Side;
use crate::net::side::Roles;
use crate::pg::{connect::connect, find::Finder};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
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
    /// Packets between two sides vanish.
    Partition(Partition),
    /// A server's network is unplugged.
    Disconnect(Disconnect),
    /// A server is cut off from everybody, then killed.
    LoseHost(LoseHost),
    /// A way between two sides becomes slower.
    Link(Link),
    /// Every connection between two sides is reset.
    Reset(Reset),
    /// What is sent between two sides is held.
    Stall(Stall),
    /// A server's disk is full.
    FillDisk(FillDisk),
    /// A server's disk is slow.
    SlowDisk(SlowDisk),
    /// A subscription is disabled.
    DisableSubscription(DisableSubscription),
    /// A subscription's slot is dropped.
    DropSlot(DropSlot),
    /// A subscription fails with a duplicate key.
    ApplyConflict(ApplyConflict),
    /// A long report on a standby.
    HoldSnapshot(HoldSnapshot),
    /// `ANALYZE` and `VACUUM` on the primary.
    Vacuum(Vacuum),
    /// Clients move to a subscriber.
    Cutover(Cutover),
    /// Data is loaded into the primary.
    Load(Load),
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
    /// No proxy stands on a way.
    #[error("no proxy stands on the way from {from} to {to}")]
    NoProxy {
        /// Who connects.
        from: String,
        /// To which node.
        to: String,
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
    /// What can be loaded.
    pub data: load::Sets,
    /// Who hears what steps measured; nobody, where it is absent.
    pub values: Option<UnboundedSender<Value>>,
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
            Fault::Partition(_) => "fault.partition",
            Fault::Disconnect(_) => "fault.disconnect",
            Fault::LoseHost(_) => "fault.lose_host",
            Fault::Link(_) => "fault.link",
            Fault::Reset(_) => "fault.reset",
            Fault::Stall(_) => "fault.stall",
            Fault::FillDisk(_) => "fault.fill_disk",
            Fault::SlowDisk(_) => "fault.slow_disk",
            Fault::DisableSubscription(_) => "fault.disable_subscription",
            Fault::DropSlot(_) => "fault.drop_slot",
            Fault::ApplyConflict(_) => "fault.apply_conflict",
            Fault::Cutover(_) => "fault.cutover",
            Fault::HoldSnapshot(_) => "fault.hold_snapshot",
            Fault::Vacuum(_) => "fault.vacuum",
            Fault::Load(_) => "etl.load",
        }
    }

    /// Whom it is for, as written; a switchover is for the manager.
    pub fn target(&self) -> Option<&str> {
        match self {
            Fault::Kill(kill) => Some(&kill.of),
            Fault::Stop(stop) => Some(&stop.of),
            Fault::Freeze(freeze) => Some(&freeze.of),
            Fault::PauseReplay(pause) => Some(&pause.of),
            Fault::Disconnect(disconnect) => Some(&disconnect.of),
            Fault::LoseHost(lose) => Some(&lose.of),
            Fault::FillDisk(fill) => Some(&fill.of),
            Fault::SlowDisk(slow) => Some(&slow.of),
            Fault::Cutover(cutover) => Some(&cutover.to),
            Fault::HoldSnapshot(hold) => Some(&hold.of),
            Fault::Load(_) | Fault::Vacuum(_) => Some("@primary"),
            Fault::Switchover(_) | Fault::Partition(_) | Fault::Link(_) | Fault::Reset(_) | Fault::Stall(_) => None,
            Fault::DisableSubscription(_) | Fault::DropSlot(_) | Fault::ApplyConflict(_) => None,
        }
    }

    /// The subscription that it is for.
    pub fn subscription(&self) -> Option<&str> {
        match self {
            Fault::DisableSubscription(disable) => Some(&disable.of),
            Fault::DropSlot(drop) => Some(&drop.of),
            Fault::ApplyConflict(conflict) => Some(&conflict.of),
            _ => None,
        }
    }

    /// Between whom, of a fault of the network. A partition or stall that does not say whom is for nobody.
    pub fn sides(&self) -> Option<Sides<'_>> {
        match self {
            Fault::Partition(cut) => Sides::written(cut.between.as_ref(), cut.from.as_ref(), cut.to.as_ref()),
            Fault::Stall(stall) => Sides::written(stall.between.as_ref(), stall.from.as_ref(), stall.to.as_ref()),
            Fault::Link(link) => Sides::written(Some(&link.between), None, None),
            Fault::Reset(reset) => Sides::written(Some(&reset.between), None, None),
            _ => None,
        }
    }

    /// Whether it goes on until it is taken back.
    pub fn lasts(&self) -> bool {
        !matches!(
            self,
            Fault::Kill(_)
                | Fault::Stop(_)
                | Fault::LoseHost(_)
                | Fault::Switchover(_)
                | Fault::Cutover(_)
                | Fault::Vacuum(_)
                | Fault::Reset(_)
                | Fault::Load(_)
        )
    }

    /// Whether packets vanish, which needs nodes with a network of their own.
    pub fn needs_packets(&self) -> bool {
        matches!(self, Fault::Partition(_) | Fault::Disconnect(_) | Fault::LoseHost(_))
    }

    /// Whether its ways lead through proxies.
    pub fn needs_proxies(&self) -> bool {
        matches!(self, Fault::Link(_) | Fault::Reset(_) | Fault::Stall(_))
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
                FreezeWhat::LogicalWorkers => format!("freeze the logical replication workers of {nodes}"),
            },
            Fault::PauseReplay(_) => format!("pause replay on {nodes}"),
            Fault::Switchover(switchover) => match &switchover.to {
                Some(to) => format!("switch over to {to}, rolled back after {}", switchover.timeout),
                None => format!("switch over, rolled back after {}", switchover.timeout),
            },
            Fault::Partition(_) => format!("cut off {nodes}"),
            Fault::Disconnect(_) => format!("unplug the network of {nodes}"),
            Fault::LoseHost(_) => format!("cut off {nodes} from everybody, then kill -9"),
            Fault::Link(link) => format!("slow the way {nodes}: {}", link.in_words()),
            Fault::Reset(_) => format!("reset connections {nodes}"),
            Fault::Stall(_) => format!("hold what is sent {nodes}"),
            Fault::FillDisk(fill) => format!("fill the disk of {nodes} but for {}", fill.leave),
            Fault::Load(load) => format!("load `{}` into {nodes}", load.data),
            Fault::SlowDisk(slow) => format!("slow down the disk of {nodes}: {}", slow.in_words()),
            Fault::DisableSubscription(disable) => format!("disable the subscription {}", disable.of),
            Fault::DropSlot(drop) => format!("drop the slot of the subscription {}", drop.of),
            Fault::HoldSnapshot(_) => format!("a long report on {nodes}"),
            Fault::Vacuum(_) => format!("analyze and vacuum {nodes}"),
            Fault::Cutover(cutover) => {
                let without = [(cutover.sequences, "sequences"), (cutover.subscribers, "subscribers")];
                let without = without.iter().filter(|(with, _)| !with).map(|(_, what)| format!(", without {what}"));
                format!("move clients to {nodes}{}", without.collect::<String>())
            }
            Fault::ApplyConflict(of) => format!("a duplicate key in {} stops the subscription {}", of.table, of.of),
        }
    }

    /// Whom it is for, as written.
    pub fn written(&self) -> String {
        match (self.target().or(self.subscription()), self.sides()) {
            (Some(target), _) => target.to_owned(),
            (None, Some(sides)) => match sides.one_way {
                true => format!("from {} to {}", sides.from, sides.to),
                false => format!("between {} and {}", sides.from, sides.to),
            },
            (None, None) => String::new(),
        }
    }

    /// Does it. The result says how to take it back.
    pub async fn inject(&self, aim: Aim, reach: &Reach) -> Result<Undo, FaultError> {
        match self {
            Fault::Kill(_) => kill::inject(aim.nodes, reach).await,
            Fault::Stop(stop) => stop.inject(aim.nodes, reach).await,
            Fault::Freeze(freeze) => freeze.inject(aim.nodes, reach).await,
            Fault::PauseReplay(_) => pause_replay::inject(aim.nodes, reach).await,
            Fault::Switchover(switchover) => switchover.inject(reach).await,
            Fault::Partition(_) => partition::cut(&aim, reach).await,
            Fault::Disconnect(_) => partition::unplug(aim.nodes, reach).await,
            Fault::LoseHost(_) => partition::lose(aim, reach).await,
            Fault::Link(link) => link.inject(&aim, reach),
            Fault::Reset(_) => link::reset(&aim, reach).await,
            Fault::Stall(_) => link::stall(&aim, reach),
            Fault::FillDisk(fill) => fill.inject(aim.nodes, reach).await,
            Fault::SlowDisk(slow) => slow.inject(aim.nodes, reach).await,
            Fault::DisableSubscription(_) => disable_subscription::inject(aim.subscribed()?, reach).await,
            Fault::DropSlot(_) => drop_slot::inject(aim.subscribed()?, reach).await,
            Fault::ApplyConflict(conflict) => conflict.inject(aim.subscribed()?, reach).await,
            Fault::HoldSnapshot(_) => hold_snapshot::inject(aim.nodes, reach).await,
            Fault::Vacuum(_) => vacuum::inject(aim.nodes, reach).await,
            Fault::Cutover(cutover) => cutover.inject(aim.nodes, reach).await,
            Fault::Load(load) => load.inject(aim.nodes, reach).await,
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
        let hosts = self.cluster.serving(&self.cluster.hosts()).concat();
        let finder = Finder::new(hosts, self.cluster.login("pgbr-fault"), FIND);
        let host = tokio::time::timeout(FIND, finder.writable()).await.ok()?;
        self.cluster.node(&host.node).cloned()
    }

    /// Who plays which role, as every node says of itself; nothing is asked where no side depends on it.
    async fn roles(&self, sides: &[&Side]) -> Roles {
        if !sides.iter().any(|side| side.has_roles()) {
            return Roles::default();
        }
        let names = |nodes: Vec<Arc<Node>>| nodes.into_iter().map(|node| node.name.clone()).collect();
        let (primaries, standbys) = tokio::join!(self.by_recovery(false), self.by_recovery(true));
        Roles { primaries: names(primaries), standbys: names(standbys) }
    }

    /// The nodes that say they are in recovery, in the cluster's order.
    async fn in_recovery(&self) -> Vec<Arc<Node>> {
        self.by_recovery(true).await
    }

    async fn by_recovery(&self, wanted: bool) -> Vec<Arc<Node>> {
        let mut asked = JoinSet::new();
        for host in self.cluster.group(self.cluster.hosts()) {
            let login = self.cluster.login("pgbr-fault");
            asked.spawn(async move {
                let client = connect(&host, &login, FIND).await.ok()?;
                let answer = client.query_one("SELECT pg_is_in_recovery()", &[]);
                let row = tokio::time::timeout(FIND, answer).await.ok()?.ok()?;
                (row.get::<_, bool>(0) == wanted).then_some(host.node)
            });
        }
        let found: Vec<String> = asked.join_all().await.into_iter().flatten().collect();
        self.cluster.nodes.iter().filter(|node| found.contains(&node.name)).cloned().collect()
    }

    fn measured(&self, value: Value) {
        // Whoever would hear it is gone with the trial.
        let _ = self.values.as_ref().map(|values| values.send(value));
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
