//! The loop: observe, decide, act.

use super::act::carry_out;
use super::check::Checker;
use super::outcome::Outcome;
use super::{Builtin, Fence};
use crate::base::Name;
use crate::base::clock::Clock;
use crate::cluster::Cluster;
use crate::failover::{Address, Completion, Failure, Fencing, Member, Observed, Request, Seen, Spec, Status, step};
use crate::metric::Events;
use crate::net::Party;
use crate::pg::standby_names::StandbyNames;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// `application_name` of its sessions.
const NAME: &str = "pgbench-rs manager";

/// A manager at work. Dropping it ends it; [`Running::stop`] also says how things stand.
#[derive(Debug)]
pub struct Running {
    inputs: mpsc::UnboundedSender<Input>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Outcome>,
}

/// Why a manager could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A server could not be asked what it is.
    #[error("node `{node}` {failure}\nhint: its log says why")]
    Node {
        /// Which.
        node: Name,
        /// How the check failed.
        failure: Failure,
    },
    /// Not one server accepts writes.
    #[error("one node must accept writes, and these do: {}", if .0.is_empty() { "none".to_owned() } else { .0.join(", ") })]
    Primaries(Vec<Name>),
}

/// Why a switchover did not take place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwitchoverError {
    /// It was refused or rolled back.
    #[error("no switchover: {0}")]
    Failed(String),
    /// Another one is under way.
    #[error("no switchover: another one is under way")]
    Busy,
    /// The manager was stopped.
    #[error("no switchover: the manager was stopped")]
    Stopped,
}

#[derive(Debug)]
enum Input {
    Seen(Name, Seen),
    Done(Completion),
    Switch { to: Option<Name>, timeout: Duration, answer: oneshot::Sender<Result<Name, SwitchoverError>> },
}

impl Running {
    /// Asks every node once what it is, then watches them. `synchronous` is what acknowledgements wait for;
    /// absent also where `synchronous_commit` lets them wait for nobody. Events are stamped with `clock`.
    pub async fn start(
        settings: Builtin,
        cluster: Arc<Cluster>,
        synchronous: Option<StandbyNames>,
        clock: Clock,
        events: Events,
    ) -> Result<Running, StartError> {
        let login = cluster.login(NAME);
        let mut first = BTreeMap::new();
        let mut checkers = Vec::new();
        for host in cluster.group(cluster.hosts_of(&Party::Manager)) {
            let checker = |limit| Checker::new(cluster.clone(), host.clone(), login.clone(), limit);
            // Nothing is urgent yet, and the first connection is the slowest.
            let mut patient = checker(settings.detect.timeout.0.max(Duration::from_secs(5)));
            first.insert(host.node.clone(), patient.check(clock).await);
            checkers.push((host.node.clone(), checker(*settings.detect.timeout)));
        }
        let (spec, status) = begin(&settings, &cluster, synchronous, &first)?;
        let (inputs, received) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let mut tasks = JoinSet::new();
        let mut nudges = Vec::new();
        let grid = Instant::now();
        for (name, checker) in checkers {
            let nudge = Arc::new(Notify::new());
            nudges.push(nudge.clone());
            tasks.spawn(watch(name, checker, grid, spec.every, nudge, clock, inputs.clone()));
        }
        let observed = Observed { nodes: first, ..Observed::default() };
        let state =
            Loop { spec, status, observed, cluster, clock, events, nudges, tasks, inputs: inputs.clone(), asked: None };
        let task = tokio::spawn(state.run(received, stopped));
        Ok(Running { inputs, stop, task })
    }

    /// Makes `to` (absent: whoever would be elected) the primary, and returns its name when it accepts
    /// writes. The target may take `timeout` to catch up; then everything is as it was. The old primary
    /// comes back as a standby afterwards.
    pub async fn switchover(&self, to: Option<Name>, timeout: Duration) -> Result<Name, SwitchoverError> {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(Input::Switch { to, timeout, answer }).map_err(|_| SwitchoverError::Stopped)?;
        answered.await.unwrap_or(Err(SwitchoverError::Stopped))
    }

    /// Stops watching. Actions under way are given up where they stand.
    pub async fn stop(self) -> Outcome {
        // Either the loop hears it, or it has ended and its outcome waits.
        let _ = self.stop.send(());
        match self.task.await {
            Ok(outcome) => outcome,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// The specification and the first status, from what the nodes said of themselves.
fn begin(
    settings: &Builtin,
    cluster: &Cluster,
    synchronous: Option<StandbyNames>,
    first: &BTreeMap<Name, Seen>,
) -> Result<(Spec, Status), StartError> {
    let addresses: BTreeMap<Address, &Name> =
        cluster.nodes.iter().map(|n| (Address { host: n.host.host.clone(), port: n.host.port }, &n.name)).collect();
    let mut nodes = BTreeMap::new();
    let mut primaries = Vec::new();
    for node in &cluster.nodes {
        let facts = match first.get(&node.name).map(|seen| &seen.result) {
            Some(Ok(facts)) => facts,
            Some(Err(failure)) => return Err(StartError::Node { node: node.name.clone(), failure: failure.clone() }),
            None => continue,
        };
        if facts.writable() {
            primaries.push(node.name.clone());
        }
        let upstream = facts.upstream.as_ref().filter(|_| facts.in_recovery);
        let follows = upstream.and_then(|address| addresses.get(address)).map(|name| (*name).clone());
        let address = Address { host: node.host.host.clone(), port: node.host.port };
        nodes.insert(node.name.clone(), Member { address, priority: node.priority, follows });
    }
    let [primary] = primaries.as_slice() else { return Err(StartError::Primaries(primaries)) };
    let spec = Spec {
        nodes,
        every: *settings.detect.every,
        timeout: *settings.detect.timeout,
        misses: settings.detect.misses.max(1),
        automatic: settings.automatic,
        fencing: match settings.fence {
            Fence::Driver => Fencing::Required,
            Fence::None => Fencing::None,
        },
        synchronous,
    };
    let status = Status::new(&spec, primary);
    Ok((spec, status))
}

/// Checks one server on the grid, and at once when nudged. A check that overruns its tick skips ticks.
async fn watch(
    name: Name,
    mut checker: Checker,
    grid: Instant,
    every: Duration,
    nudge: Arc<Notify>,
    clock: Clock,
    to: mpsc::UnboundedSender<Input>,
) {
    let mut ticks = interval_at(grid, every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = nudge.notified() => {}
        }
        if to.send(Input::Seen(name.clone(), checker.check(clock).await)).is_err() {
            return;
        }
    }
}

/// What the loop holds between inputs.
struct Loop {
    spec: Spec,
    status: Status,
    observed: Observed,
    cluster: Arc<Cluster>,
    clock: Clock,
    events: Events,
    nudges: Vec<Arc<Notify>>,
    /// Checkers and actions; they end with the loop.
    tasks: JoinSet<()>,
    inputs: mpsc::UnboundedSender<Input>,
    asked: Option<oneshot::Sender<Result<Name, SwitchoverError>>>,
}

impl Loop {
    async fn run(
        mut self,
        mut received: mpsc::UnboundedReceiver<Input>,
        mut stopped: oneshot::Receiver<()>,
    ) -> Outcome {
        let mut wake_in = Duration::ZERO;
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                input = timeout(wake_in, received.recv()) => match input {
                    Ok(Some(input)) => self.take(input),
                    Ok(None) => break,
                    Err(_) => {}
                },
            }
            wake_in = self.step();
        }
        Outcome { primary: self.status.primary, phase: self.status.phase, episodes: self.status.episodes }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Seen(name, seen) => _ = self.observed.nodes.insert(name, seen),
            Input::Done(completion) => self.observed.completions.push(completion),
            Input::Switch { answer, .. } if self.asked.is_some() => {
                // Who asked may have gone; there is nobody else to tell.
                let _ = answer.send(Err(SwitchoverError::Busy));
            }
            Input::Switch { to, timeout, answer } => {
                let id = self.observed.request.as_ref().map_or(1, |request| request.id + 1);
                self.observed.request = Some(Request { id, to, at: self.clock.elapsed(), timeout });
                self.asked = Some(answer);
                self.nudge();
            }
        }
    }

    /// Decides, and sets going what was decided. Returns when to look again.
    fn step(&mut self) -> Duration {
        let step = step(self.clock.elapsed(), &self.spec, &self.status, &self.observed);
        self.observed.completions.clear();
        self.status = step.status;
        while self.tasks.try_join_next().is_some() {}
        for event in step.events {
            // When nobody records events any more, the run is over.
            let _ = self.events.send(event);
        }
        for action in step.actions {
            let (to, login) = (self.inputs.clone(), self.cluster.login(NAME));
            let done = carry_out(self.cluster.clone(), login, self.clock, action);
            self.tasks.spawn(async move {
                let _ = to.send(Input::Done(done.await));
            });
        }
        if step.check_now {
            self.nudge();
        }
        self.tell();
        step.wake_in
    }

    fn nudge(&self) {
        for nudge in &self.nudges {
            nudge.notify_one();
        }
    }

    /// Answers who asked for a switchover.
    fn tell(&mut self) {
        let open = self.observed.request.as_ref().map(|request| request.id);
        let Some(answer) = self.status.answer.as_ref().filter(|answer| Some(answer.id) == open) else { return };
        if let Some(asked) = self.asked.take() {
            let _ = asked.send(answer.result.clone().map_err(SwitchoverError::Failed));
        }
    }
}
