//! A server as processes: killing, stopping, freezing all of it or parts of it.

use super::outcome::{Evidence, Killed, Proof, SignalError, Stopped};
use super::port::Port;
use super::start::log_tail;
use super::{Part, SERVER_PROGRAM, Shutdown, Workplace};
use crate::base::child::Child;
use crate::base::exec::in_words;
use crate::base::hunt::Hunt;
use crate::base::inventory::Id;
use crate::base::proc::{self, Stat};
use crate::disk::DiskError;
use crate::disk::cgroup::Cgroup;
use crate::net::lan::Attached;
use crate::net::namespace::NetNs;
use crate::pg::Host;
use crate::pg::control::{self, ControlData, ControlError};
use crate::pg::programs::Programs;
use nix::sys::signal::Signal;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long processes may take to vanish after SIGKILL; one that waits for a disk takes its time.
const DYING: Duration = Duration::from_secs(10);
/// How long processes may take to stop after SIGSTOP.
const FREEZING: Duration = Duration::from_secs(2);

/// A server: a data directory, a port, a log, and at times processes.
#[derive(Debug)]
pub struct ProcessServer {
    /// Where it listens.
    pub host: Host,
    /// Its data directory.
    pub data: PathBuf,
    /// Its log.
    pub log: PathBuf,
    pub(super) programs: Programs,
    pub(super) place: Arc<Workplace>,
    pub(super) starting: tokio::sync::Mutex<()>,
    running: Mutex<Option<Arc<Running>>>,
    kept: AtomicBool,
    own_end: OnceLock<String>,
    /// The network namespace that it runs in, if not the machine's.
    pub(super) ns: Option<NetNs>,
    /// The control group that limits it, if one does.
    cgroup: Mutex<Option<Arc<Cgroup>>>,
    /// Settings of its command line.
    settings: Vec<(String, String)>,
    _port: Option<Port>,
}

/// Where servers listen that have an address of their own.
const PORT: u16 = 5432;

/// A started postmaster.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) entry: Id,
    /// A login got a row.
    pub(super) ready: AtomicBool,
    /// Somebody told it to end.
    asked: AtomicBool,
}

impl Running {
    pub(super) fn new(child: Child, entry: Id) -> Running {
        Running { child, entry, ready: AtomicBool::new(false), asked: AtomicBool::new(false) }
    }

    /// What comes next ends it; if it still runs, that is not of its own accord.
    fn ask(&self) {
        if !self.child.is_reaped() {
            self.asked.store(true, Ordering::Relaxed);
        }
    }

    /// How it ended, if nobody told it to: it had started, and crashed or shut itself down.
    fn own_end(&self) -> Option<String> {
        let own = self.ready.load(Ordering::Relaxed) && !self.asked.load(Ordering::Relaxed);
        let ended = own && self.child.is_reaped();
        ended.then(|| self.child.exited().map_or("ended".to_owned(), in_words))
    }
}

impl ProcessServer {
    /// A server of these programs that does not run yet: in a network namespace with an address of its own, or on
    /// a port of its own on the loopback.
    pub fn new(
        place: Arc<Workplace>,
        programs: Programs,
        name: &str,
        data: PathBuf,
        log: PathBuf,
        lan: Option<&Attached>,
    ) -> std::io::Result<ProcessServer> {
        let port = if lan.is_some() { None } else { Some(Port::reserve(Ipv4Addr::LOCALHOST)?) };
        let host = match (lan, &port) {
            (Some(lan), _) => Host::new(name, lan.address.to_string(), PORT),
            (None, port) => Host::new(name, "127.0.0.1", port.as_ref().map_or(PORT, Port::number)),
        };
        Ok(ProcessServer {
            host,
            data,
            log,
            programs,
            place,
            starting: tokio::sync::Mutex::new(()),
            running: Mutex::new(None),
            kept: AtomicBool::new(false),
            own_end: OnceLock::new(),
            ns: lan.map(|lan| lan.ns.clone()),
            cgroup: Mutex::new(None),
            settings: Vec::new(),
            _port: port,
        })
    }

    /// The same with settings on its command line; see [`Server::with`](super::Server::with).
    pub(super) fn with(mut self, settings: Vec<(String, String)>, host: Option<Host>) -> ProcessServer {
        self.settings = settings;
        self.host = host.unwrap_or(self.host.clone());
        self
    }

    /// Whether all that it needs stands on its command line.
    pub(super) fn on_command_line(&self) -> bool {
        !self.settings.is_empty()
    }

    /// The arguments of its command line beside the data directory.
    pub(super) fn arguments(&self) -> impl Iterator<Item = String> {
        super::arguments(&self.settings)
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.host.node
    }

    /// The run that it belongs to.
    pub fn place(&self) -> &Arc<Workplace> {
        &self.place
    }

    /// What the control file of its data directory says; no server must run on it.
    pub async fn control_data(&self) -> Result<ControlData, ControlError> {
        let setup = &self.place.setup;
        control::control_data(&self.programs, setup.user.as_ref(), &self.data, &setup.inventory).await
    }

    /// Lets `cgroup` limit its processes, those that run and those that are started later.
    pub fn confine(&self, cgroup: Arc<Cgroup>) -> Result<(), DiskError> {
        for stat in self.members(Part::Server) {
            match cgroup.add(stat.identity.pid) {
                // It ended meanwhile; what it started is found by the postmaster's being in the group.
                Err(error) if stat.identity.is_alive() => return Err(error),
                _ => {}
            }
        }
        *self.cgroup.lock().unwrap_or_else(PoisonError::into_inner) = Some(cgroup);
        Ok(())
    }

    /// The control group that limits it, if one does.
    pub(super) fn cgroup(&self) -> Option<Arc<Cgroup>> {
        self.cgroup.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether its postmaster runs, frozen or not.
    pub fn is_running(&self) -> bool {
        self.running().as_ref().is_some_and(|running| !running.child.is_reaped())
    }

    /// Kills (SIGKILL) the postmaster and everything that descends from it, and returns when nothing of
    /// it is left. The postmaster goes first, so that it can neither start others nor restart.
    pub async fn kill(&self) -> Result<Killed, SignalError> {
        let began = Instant::now();
        let running = self.running().clone();
        if let Some(running) = &running {
            running.ask();
        }
        let mut hunt = self.hunt();
        loop {
            let left = hunt.strike();
            if left.is_empty() {
                break;
            }
            if began.elapsed() > DYING {
                let (node, waited) = (self.name().to_owned(), began.elapsed());
                return Err(SignalError::Undead { node, waited, left: listed(&left) });
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if let Some(running) = running {
            running.child.wait().await;
            self.note_gone(running.entry);
        }
        hunt.release();
        Ok(Killed { processes: hunt.killed(), took: began.elapsed() })
    }

    /// Kills everything and says how it is known that nothing is left.
    pub async fn fence(&self) -> Result<Proof, SignalError> {
        let began = Instant::now();
        let before = self.kill().await?;
        // A start that was under way has failed now; once it has let go, nothing more can come of it.
        let _no_start = self.starting.lock().await;
        let after = self.kill().await?;
        let (node, killed) = (self.name().to_owned(), before.processes + after.processes);
        Ok(Proof { node, evidence: Evidence::Processes(self.data.clone()), killed, took: began.elapsed() })
    }

    /// Tells it to stop; after `limit` it is killed. A frozen postmaster is thawed, with all of its
    /// processes; frozen parts of a server that runs stay frozen, which may well use up the limit.
    pub async fn stop(&self, how: Shutdown, limit: Duration) -> Result<Stopped, SignalError> {
        let began = Instant::now();
        let running = self.running().clone();
        let Some(running) = running.filter(|running| !running.child.is_reaped()) else {
            let killed = self.kill().await?.processes > 0;
            return Ok(Stopped { took: began.elapsed(), thawed: false, killed });
        };
        running.ask();
        let postmaster = running.child.identity;
        let signal = match how {
            Shutdown::Fast => Signal::SIGINT,
            Shutdown::Immediate => Signal::SIGQUIT,
        };
        let thawed = postmaster.stat().is_some_and(|stat| stat.is_stopped());
        // Nothing is lost by a signal that fails: the limit passes and SIGKILL follows.
        let _ = postmaster.signal(signal);
        if thawed {
            self.thaw(Part::Server);
        }
        let in_time = tokio::time::timeout(limit, running.child.wait()).await.is_ok();
        // Also after an orderly end: nothing may be left, and this is how it is known.
        self.kill().await?;
        Ok(Stopped { took: began.elapsed(), thawed, killed: !in_time })
    }

    /// Stops (SIGSTOP) the processes of `part` where they stand, and returns how many, once all have
    /// stopped. Those that are started later are not frozen.
    pub async fn freeze(&self, part: Part) -> Result<usize, SignalError> {
        let began = Instant::now();
        loop {
            let members = self.members(part);
            let moving: Vec<Stat> = members.iter().filter(|stat| !stat.is_stopped()).cloned().collect();
            match (members.is_empty(), moving.is_empty()) {
                (true, _) => return Err(SignalError::Nobody { node: self.name().to_owned(), part: part.in_words() }),
                (false, true) => return Ok(members.len()),
                (false, false) if began.elapsed() > FREEZING => {
                    let (node, waited) = (self.name().to_owned(), began.elapsed());
                    return Err(SignalError::Unstopped { node, waited, left: listed(&moving) });
                }
                (false, false) => {}
            }
            for stat in &moving {
                // One that cannot be signalled is still moving at the next look.
                let _ = stat.identity.signal(Signal::SIGSTOP);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets the frozen processes of `part` go on (SIGCONT), children before the postmaster. Returns
    /// how many there were.
    ///
    /// The others get the signal, too: a freezing that was broken off may have told one to stop that has not yet done
    /// so, and this takes it back.
    pub fn thaw(&self, part: Part) -> usize {
        let went_on = |stat: &Stat| stat.identity.signal(Signal::SIGCONT) == Ok(true) && stat.is_stopped();
        self.members(part).into_iter().rev().filter(went_on).count()
    }

    /// Lets it outlive the harness. Only sure when the driver was set up so ([`super::Setup::keep`]).
    pub fn keep(&self) -> std::io::Result<()> {
        if let Some(running) = self.running().as_ref() {
            self.place.setup.inventory.keep(running.entry)?;
        }
        self.kept.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The processes of `part`, the postmaster first.
    pub(super) fn members(&self, part: Part) -> Vec<Stat> {
        let Some(running) = self.running().clone().filter(|running| !running.child.is_reaped()) else {
            return Vec::new();
        };
        let mut tree = proc::tree(&proc::alive(), running.child.identity);
        if let Some(role) = part.role() {
            let prefix = format!("postgres: {}: {role}", self.name());
            tree.retain(|stat| proc::title(stat.identity.pid).is_some_and(|title| title.starts_with(&prefix)));
        }
        tree
    }

    /// Ends what a postmaster that died by itself has left behind.
    pub(super) async fn end_leftovers(&self) -> Result<(), SignalError> {
        self.kill().await.map(drop)
    }

    pub(super) fn set_running(&self, running: Arc<Running>) {
        // What is replaced would be forgotten.
        self.own_end();
        *self.running() = Some(running);
    }

    /// That it ended when nobody had told it to, the first time that this happened, with the end of its log: a
    /// crash of which it did not recover, a full disk, somebody else's signal.
    pub fn own_end(&self) -> Option<&str> {
        if let Some(end) = self.running().as_ref().and_then(|running| running.own_end()) {
            self.own_end.get_or_init(|| {
                format!("node `{}` {end}, and nobody had told it to\n{}", self.name(), log_tail(&self.log, 0))
            });
        }
        self.own_end.get().map(String::as_str)
    }

    fn hunt(&self) -> Hunt {
        let mut hunt = Hunt::default();
        if let Some(running) = self.running().as_ref() {
            hunt.process(running.child.identity);
        }
        hunt.directory(self.data.clone(), SERVER_PROGRAM.to_owned());
        hunt
    }

    fn note_gone(&self, entry: Id) {
        // An inventory that can no longer be written says too much, never too little.
        let _ = self.place.setup.inventory.gone(entry);
    }

    fn running(&self) -> MutexGuard<'_, Option<Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The net below `stop` and `kill`, for a panic or a cancelled trial.
impl Drop for ProcessServer {
    fn drop(&mut self) {
        if self.is_running() && !self.kept.load(Ordering::Relaxed) {
            self.hunt().end(Duration::ZERO, Duration::from_secs(2));
        }
    }
}

fn listed(stats: &[Stat]) -> String {
    let names: Vec<String> =
        stats.iter().map(|stat| format!("pid {} ({}, state {})", stat.identity.pid, stat.name, stat.state)).collect();
    names.join(", ")
}
