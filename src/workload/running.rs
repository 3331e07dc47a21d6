//! A load from start to stop, as the run sees it.

use super::collector::{Collector, Message};
use super::connection::{Route, To};
use super::desk::Counters;
use super::outcome::{Outcome, Stretch, Throughput};
use super::pool::Shared;
use super::space::{Imdb, Space};
use super::worker::{Ends, Plan};
use super::{Load, mix::Transaction};
use crate::base::clock::Clock;
use crate::base::histogram::{IntervalLog, LogError};
use crate::metric::Points;
use crate::pg::find::Finder;
use crate::pg::wire::WireError;
use crate::pg::{Host, Login};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc as commands, oneshot};

/// How long one server may take to say whether it accepts writes.
const ASK: Duration = Duration::from_millis(500);

/// What a load needs beside its settings.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its name in the scenario.
    pub name: String,
    /// Where it goes.
    pub target: Target,
    /// Who its clients are.
    pub login: Login,
    /// The trial's clock.
    pub clock: Clock,
    /// Where its points of every second go.
    pub points: Points,
    /// The trial's seed; its random draws follow from it, the name and the client's number.
    pub seed: u64,
    /// The latency log to write, such as `latency/NAME.hlog`.
    pub log: PathBuf,
}

/// A load's target, resolved.
#[derive(Clone, Debug)]
pub enum Target {
    /// Whichever of these accepts writes, found again when it changes (`@primary`).
    Writable(Vec<Host>),
    /// These, clients spread over them (`@standbys`, a node).
    Nodes(Vec<Host>),
}

/// Why a load did not start or has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A client could not connect, or not prepare its statements.
    #[error("a client could not start: {0}")]
    Connect(WireError),
    /// No server could be used in time.
    #[error(
        "`{to}` had no server for the load within {limit:?}\nhint: see the servers' logs, and whether the login is right"
    )]
    Nobody {
        /// The load's target.
        to: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The target resolved to no server at all, or the load has no client.
    #[error("the load has {0}")]
    Nothing(&'static str),
    /// The pool could not connect.
    #[error("the pool could not connect: {0}")]
    Pool(deadpool_postgres::PoolError),
    /// The pool's settings make no sense.
    #[error("cannot build the pool: {0}")]
    Build(deadpool_postgres::BuildError),
    /// No thread or runtime could be made.
    #[error("cannot start a thread of the load: {0}")]
    Thread(std::io::Error),
    /// The latency log could not be written.
    #[error(transparent)]
    Log(LogError),
    /// A thread of the load panicked; its message is on stderr.
    #[error("a thread of the load died")]
    Died,
}

/// Counters of a running load, for progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Completed transactions.
    pub done: u64,
    /// Failed ones.
    pub errors: u64,
}

/// A load that is running. Dropped without [`Running::stop`], it ends without an outcome.
#[derive(Debug)]
pub struct Running {
    collector: mpsc::Sender<Message>,
    counters: Vec<Arc<Counters>>,
    clock: Clock,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Connects all clients of the load and lets them begin together. An error leaves nothing running.
    pub async fn start(load: &Load, setup: Setup) -> Result<Running, LoadError> {
        Running::start_on(load, setup, None).await
    }

    /// The same, for transactions on IMDb's tables, with the keys that these have.
    pub async fn start_on(load: &Load, setup: Setup, imdb: Option<Arc<Imdb>>) -> Result<Running, LoadError> {
        if imdb.is_none() && load.mix.needs_imdb() {
            return Err(LoadError::Nothing("no tables of IMDb to read from"));
        }
        if load.clients == 0 {
            return Err(LoadError::Nothing("no clients"));
        }
        let log = IntervalLog::create(&setup.log, setup.clock.at(Duration::ZERO), &format!("load {}", setup.name))
            .map_err(LoadError::Log)?;
        let transactions: Vec<Transaction> = load.mix.transactions().into_iter().map(|(what, _)| what).collect();
        let (route, pool) = route(load, &setup, &transactions, imdb)?;
        // So that two loads of one trial draw differently (FNV-1a over the name).
        let mix = |seed: u64, byte| (seed ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        let seed = setup.name.bytes().fold(setup.seed, mix);
        // A thread without a client would only be counted as idle.
        let threads = load.threads.clamp(1, load.clients);
        let (collector, inbox) = mpsc::channel();
        let mut running = Running { collector, counters: Vec::new(), clock: setup.clock, threads: Vec::new() };
        let (mut workers, mut ready) = (Vec::new(), Vec::new());
        for thread in 0..threads {
            let plan = Plan {
                load: load.clone(),
                route: route.clone(),
                pool: pool.clone(),
                clock: setup.clock,
                seed,
                thread,
                threads,
            };
            let (commands, said) = running.spawn(&setup.name, plan)?;
            workers.push(commands);
            ready.push(said);
        }
        for said in ready {
            said.await.map_err(|_| LoadError::Died)??;
        }
        let collector = Collector {
            load: setup.name.clone(),
            stretches: vec![Stretch::new(None, transactions.len())],
            transactions,
            clock: setup.clock,
            points: setup.points,
            log,
            workers,
            cuts: VecDeque::new(),
            closed: 0,
            throughput: Throughput::default(),
            last: Duration::ZERO,
            failed: None,
        };
        let collecting = std::thread::Builder::new().name(format!("{} collector", setup.name));
        running.threads.push(collecting.spawn(move || collector.run(&inbox)).map_err(LoadError::Thread)?);
        running.tell(Message::Go(Instant::now()));
        Ok(running)
    }

    /// What ends from now on belongs to the phase called `name`.
    pub fn phase(&self, name: &str) {
        self.tell(Message::Phase(name.to_owned(), self.clock.elapsed()));
    }

    /// How far it is; cheap.
    pub fn live(&self) -> Live {
        self.counters.iter().fold(Live::default(), |sum, of| Live {
            done: sum.done + of.done.load(Relaxed),
            errors: sum.errors + of.errors.load(Relaxed),
        })
    }

    /// Stops sending, gives what is under way a second to end, and sums up.
    pub async fn stop(mut self) -> Result<Outcome, LoadError> {
        let (reply, outcome) = oneshot::channel();
        self.tell(Message::Stop(Instant::now(), reply));
        let outcome = outcome.await.map_err(|_| LoadError::Died)?;
        let threads = std::mem::take(&mut self.threads);
        // They are ending; this waits for their last step only.
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok()));
        if joined.await.unwrap_or(false) { outcome } else { Err(LoadError::Died) }
    }

    fn tell(&self, message: Message) {
        // A collector that is gone shows in `stop`.
        let _ = self.collector.send(message);
    }

    fn spawn(&mut self, name: &str, plan: Plan) -> Result<Spawned, LoadError> {
        let (to_worker, commands) = commands::unbounded_channel();
        let (ready, said) = oneshot::channel();
        let counters = Arc::new(Counters::default());
        self.counters.push(counters.clone());
        let ends = Ends { counters, ready, commands, collector: self.collector.clone() };
        let thread = std::thread::Builder::new().name(format!("{name} {}", plan.thread));
        self.threads.push(thread.spawn(move || plan.run(ends)).map_err(LoadError::Thread)?);
        Ok((to_worker, said))
    }
}

/// The way to tell a thread what to do, and to hear that its clients are connected.
type Spawned = (commands::UnboundedSender<super::worker::Command>, oneshot::Receiver<Result<(), LoadError>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.tell(Message::Abandon);
    }
}

fn route(
    load: &Load,
    setup: &Setup,
    transactions: &[Transaction],
    imdb: Option<Arc<Imdb>>,
) -> Result<(Arc<Route>, Option<Arc<Shared>>), LoadError> {
    let (Target::Writable(hosts) | Target::Nodes(hosts)) = &setup.target;
    if hosts.is_empty() {
        return Err(LoadError::Nothing("no server to go to"));
    }
    let to = match &setup.target {
        Target::Writable(hosts) => To::Writable(Finder::new(hosts.clone(), setup.login.clone(), ASK)),
        Target::Nodes(hosts) => To::Nodes(hosts.clone()),
    };
    // A mix without pgbench's transactions draws none of its numbers.
    let space = Space { scale: load.mix.scale().unwrap_or(1), books: load.mix.books().unwrap_or_default(), imdb };
    let route = Arc::new(Route { to, login: setup.login.clone(), transactions: transactions.to_vec(), space });
    let pool = load.pool.map(|size| Shared::new(&route, size)).transpose().map_err(LoadError::Build)?;
    Ok((route, pool))
}
