//! A thread of a load: a single-threaded runtime, the clients that are fixed to it, their desk.

use super::client::{Client, Line, Pace};
use super::collector::Message;
use super::connection::{CONNECT, Own, Route};
use super::desk::{Counters, Desk};
use super::pacer::Pacer;
use super::pool::{Pooled, Shared};
use super::schedule::Schedule;
use super::transaction::Chooser;
use super::{Load, LoadError};
use crate::base::clock::Clock;
use crate::base::timer::Timer;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use std::rc::Rc;
use std::sync::{Arc, mpsc::Sender};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// How long clients may go on connecting before a load is said not to start.
const START: Duration = Duration::from_secs(10);

/// How long transactions under way may take to end after the stop.
const GRACE: Duration = Duration::from_secs(1);

/// What a thread is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    /// Begin to send.
    Go(Instant),
    /// Hand over what was counted.
    Cut,
    /// Stop sending; hand over the rest.
    Stop(Instant),
}

/// What a thread is made of.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) load: Load,
    pub(super) route: Arc<Route>,
    pub(super) pool: Option<Arc<Shared>>,
    pub(super) clock: Clock,
    pub(super) seed: u64,
    /// This thread, of how many.
    pub(super) thread: u32,
    pub(super) threads: u32,
}

/// A thread's ends of the channels.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) counters: Arc<Counters>,
    pub(super) ready: oneshot::Sender<Result<(), LoadError>>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) collector: Sender<Message>,
}

/// Says that the thread is over, however it ended.
struct Farewell(Sender<Message>);

impl Drop for Farewell {
    fn drop(&mut self) {
        // Without a collector nobody is left to know.
        let _ = self.0.send(Message::Over);
    }
}

impl Plan {
    /// The body of the thread.
    pub(super) fn run(self, ends: Ends) {
        let _farewell = Farewell(ends.collector.clone());
        // Not `tokio::runtime::Runtime`: what clients share here is not `Send`, so that it needs no locks.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
        match runtime {
            Ok(runtime) => runtime.block_on(self.work(ends)),
            Err(source) => {
                let _ = ends.ready.send(Err(LoadError::Thread(source)));
            }
        }
    }

    async fn work(self, mut ends: Ends) {
        let desk = Rc::new(Desk::new(self.clock, self.route.transactions.len(), ends.counters.clone()));
        let (lines, timer) = match self.prepare().await {
            Ok(prepared) => prepared,
            Err(error) => {
                let _ = ends.ready.send(Err(error));
                return;
            }
        };
        if ends.ready.send(Ok(())).is_err() {
            return;
        }
        let Some(Command::Go(start)) = ends.commands.recv().await else { return };
        desk.begin(start);
        let pacer = timer.and_then(|timer| self.pacer(timer, start));
        let mut pacing = JoinSet::new();
        if let Some(pacer) = pacer.clone() {
            pacing.spawn_local(async move { pacer.run().await });
        }
        let mut clients = JoinSet::new();
        for (index, line) in lines {
            let pace = pacer.clone().map_or(Pace::Closed(start), Pace::Open);
            clients.spawn_local(self.client(index, line, desk.clone()).run(pace));
        }
        let stop = loop {
            match ends.commands.recv().await {
                Some(Command::Cut) => {
                    let _ = ends.collector.send(Message::Slice(Box::new(desk.cut())));
                }
                Some(Command::Stop(at)) => break at,
                Some(Command::Go(_)) => {}
                None => return,
            }
        };
        desk.stop(stop);
        if let Some(pacer) = pacer {
            pacer.close(&desk, stop);
        }
        let rest = async {
            while let Some(ended) = clients.join_next().await {
                // A client that panicked has told nobody yet.
                ended.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
            }
        };
        if tokio::time::timeout(GRACE, rest).await.is_err() {
            clients.shutdown().await;
        }
        let _ = ends.collector.send(Message::Slice(Box::new(desk.cut())));
        // Pooled connections made here may still be in use by clients of other threads.
        while ends.commands.recv().await.is_some() {}
    }

    /// This thread's clients: every `threads`th one of the load.
    fn indices(&self) -> impl Iterator<Item = u32> + use<> {
        (self.thread..self.load.clients).step_by(self.threads as usize)
    }

    /// All that can fail before the load begins.
    async fn prepare(&self) -> Result<(Vec<(u32, Line)>, Option<Timer>), LoadError> {
        let timer = self.load.profile.open().map(|_| Timer::register()).transpose();
        Ok((self.connect().await?, timer.map_err(LoadError::Thread)?))
    }

    async fn connect(&self) -> Result<Vec<(u32, Line)>, LoadError> {
        if let Some(shared) = &self.pool {
            if self.thread == 0 {
                let late = || LoadError::Nobody { to: self.load.to.clone(), limit: START };
                tokio::time::timeout(START, shared.fill()).await.map_err(|_| late())?.map_err(LoadError::Pool)?;
            }
            return Ok(self.indices().map(|index| (index, Line::Pooled(Pooled::new(shared.clone())))).collect());
        }
        let mut attempts = JoinSet::new();
        for index in self.indices() {
            let own = Own::new(self.route.clone(), index as usize);
            let to = self.load.to.clone();
            attempts.spawn_local(async move { Ok((index, Line::Own(first_connection(own, to).await?))) });
        }
        let mut lines = Vec::new();
        while let Some(attempt) = attempts.join_next().await {
            lines.push(attempt.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))?);
        }
        Ok(lines)
    }

    fn pacer(&self, timer: Timer, start: Instant) -> Option<Rc<Pacer>> {
        let open = self.load.profile.open()?;
        let seed = self.seed.wrapping_add(u64::from(self.thread));
        let schedule = Schedule::new(open, self.thread, self.threads, seed);
        Some(Rc::new(Pacer::new(schedule, timer, start)))
    }

    fn client(&self, index: u32, line: Line, desk: Rc<Desk>) -> Client {
        // Spread by the golden ratio, so that neighbouring clients' seeds differ in most bits.
        let seed = self.seed ^ (u64::from(index) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let transactions = self.load.mix.transactions();
        let chooser = match self.load.mix.in_turn() {
            // Each client begins elsewhere, so that they do not go side by side.
            true => {
                let apart = index as usize * transactions.len() / self.load.clients as usize;
                Chooser::InTurn(apart, transactions.len())
            }
            false => Chooser::new(transactions.into_iter().map(|(_, weight)| weight)),
        };
        Client {
            desk,
            line,
            chooser,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            route: self.route.clone(),
            timeout: self.load.timeout.map(|time| *time),
        }
    }
}

/// Connects for the first time. What trying again cannot mend ends it at once: a login that is refused, a statement
/// that cannot be prepared.
async fn first_connection(mut own: Own, to: String) -> Result<Own, LoadError> {
    let limit = Instant::now() + START;
    loop {
        let error = match tokio::time::timeout_at(limit.into(), own.connect()).await {
            Ok(Ok(())) => return Ok(own),
            Ok(Err(error)) => error,
            Err(_) => return Err(LoadError::Nobody { to, limit: START }),
        };
        if error.is_authentication() || error.is_usable() || Instant::now() + CONNECT > limit {
            return Err(LoadError::Connect(error));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
