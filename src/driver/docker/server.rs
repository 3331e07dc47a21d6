//! A server in a container: starting, killing, stopping it, and knowing whether it runs.
//!
//! The container is created at the first start and started again after every stop, so that a node stays the
//! same container with the same address as long as it exists. The image's entry point is left in force; with a
//! data directory that holds a cluster the official one only executes the server. `docker-init` is the first
//! process and passes signals on to the server.

use super::container::{State, bind, labels, log_config};
use super::dock::{Dock, DockError};
use super::engine::{Engine, EngineError, asked};
use super::follow::{self, End, Running};
use super::image::Image;
use super::volume::{Given, Volume};
use super::{Limits, cleanup};
use crate::driver::outcome::{Evidence, Killed, Proof, SignalError, Stopped};
use crate::driver::port::Port;
use crate::driver::start::{Pid, StartError, Step, accepts_login, log_tail};
use crate::driver::{Shutdown, Workplace};
use crate::net::filter::Filter;
use crate::net::namespace::NetNs;
use crate::pg::Host;
use crate::pg::control::{self, ControlData, ControlError};
use bollard::models::{ContainerCreateBody, HostConfig, NetworkingConfig};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// How long a container may take to end after SIGKILL; a process that waits for a disk takes its time.
const DYING: Duration = Duration::from_secs(10);
/// `/dev/shm` when nobody says; see [`Limits::shm_size`].
const SHM: i64 = 1 << 30;
/// Where servers listen that have an address of their own.
const PORT: u16 = 5432;

/// A server: a data directory, an address, a log, and from its first start on a container.
#[derive(Debug)]
pub struct ContainerServer {
    /// Where it listens.
    pub host: Host,
    /// Its data directory.
    pub data: PathBuf,
    /// Its log.
    pub log: PathBuf,
    pub(super) dock: Arc<Dock>,
    pub(super) name: String,
    image: String,
    limits: Limits,
    at: At,
    /// Which packets vanish; absent where it uses the network of the engine's host.
    filter: Option<Arc<Filter>>,
    /// Its data directory, when its engine is on another machine.
    volume: Option<Arc<Volume>>,
    /// Settings of its command line.
    settings: Vec<(String, String)>,
    made: OnceCell<()>,
    starting: tokio::sync::Mutex<()>,
    running: Mutex<Option<Arc<Running>>>,
    /// Parts of it were stopped where they stood.
    pub(super) parts_frozen: AtomicBool,
    kept: AtomicBool,
    own_end: OnceLock<String>,
}

/// Where it is on the network.
#[derive(Debug)]
enum At {
    Lan(Ipv4Addr),
    Port { _held: Port },
    Remote(u16),
}

impl ContainerServer {
    /// A server that does not run yet, at an address of its own.
    pub fn new(
        dock: &Arc<Dock>,
        node: &str,
        image: &Image,
        limits: Limits,
        data: PathBuf,
        log: PathBuf,
    ) -> Result<ContainerServer, DockError> {
        let (at, host) = match (&dock.lan, &dock.remote) {
            (_, Some((address, ports))) => {
                let none = || DockError::NoPort { engine: dock.engine.name().to_owned() };
                let port = ports.take(&dock.place.setup.run, node).ok_or_else(none)?;
                (At::Remote(port), Host::new(node, address.to_string(), port))
            }
            (Some(lan), None) => {
                let address = lan.take_address()?;
                (At::Lan(address), Host::new(node, address.to_string(), PORT))
            }
            (None, None) => {
                let port = Port::reserve().map_err(|source| DockError::Io { path: data.clone(), source })?;
                let host = Host::new(node, "127.0.0.1", port.number());
                (At::Port { _held: port }, host)
            }
        };
        Ok(ContainerServer {
            name: dock.name(node),
            host,
            data,
            log,
            dock: dock.clone(),
            image: image.id.clone(),
            limits,
            filter: dock.lan.is_some().then(|| Arc::new(Filter::of_container(dock.place.setup.inventory.clone()))),
            at,
            volume: None,
            settings: Vec::new(),
            made: OnceCell::new(),
            starting: tokio::sync::Mutex::new(()),
            running: Mutex::new(None),
            parts_frozen: AtomicBool::new(false),
            kept: AtomicBool::new(false),
            own_end: OnceLock::new(),
        })
    }

    /// The same with its data directory on its engine's machine.
    pub fn on(
        dock: &Arc<Dock>,
        node: &str,
        image: &Image,
        limits: Limits,
        volume: &Arc<Volume>,
        log: PathBuf,
    ) -> Result<ContainerServer, DockError> {
        let mut server = ContainerServer::new(dock, node, image, limits, volume.data().to_owned(), log)?;
        server.volume = Some(volume.clone());
        Ok(server)
    }

    /// The same with settings on its command line; see [`Server::with`](crate::driver::Server::with).
    pub(in crate::driver) fn with(mut self, settings: Vec<(String, String)>, host: Option<Host>) -> ContainerServer {
        self.settings = settings;
        self.host = host.unwrap_or(self.host.clone());
        self
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.host.node
    }

    /// Its container's name on the engine.
    pub fn container(&self) -> &str {
        &self.name
    }

    /// The run that it belongs to.
    pub fn place(&self) -> &Arc<Workplace> {
        &self.dock.place
    }

    /// The engine that it is on.
    pub fn engine(&self) -> &Engine {
        &self.dock.engine
    }

    /// What it may use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether it runs, frozen or not.
    pub fn is_running(&self) -> bool {
        self.running().as_ref().is_some_and(|running| running.end().is_none())
    }

    /// Starts the container and waits until a login gets a row. Returns how long that took.
    ///
    /// When it fails, nothing of the server is left running.
    pub async fn start(&self) -> Result<Duration, StartError> {
        let began = Instant::now();
        self.start_by_steps(|_| {}).await.map(|()| began.elapsed())
    }

    /// The same; `told` is told when each step begins.
    pub async fn start_by_steps(&self, told: impl Fn(Step)) -> Result<(), StartError> {
        let _one_start = self.starting.lock().await;
        let began = Instant::now();
        let log_offset = fs::metadata(&self.log).map_or(0, |meta| meta.len());
        let error =
            |status: String| self.out_of_reach(StartError::new(&self.host, &self.log, log_offset, began, status));
        if self.is_running() {
            return Err(error("it runs already".to_owned()));
        }
        // In a container the server has another pid than here.
        let seen = self.volume.is_none() && !self.settings.is_empty();
        let pidfile = seen.then(|| Pid::before_start(&self.data));
        told(Step::Create);
        let created = self.made.get_or_try_init(|| self.create()).await;
        created.map_err(|source| error(source.to_string()))?;
        told(Step::Launch);
        let running = self.launch().await.map_err(|source| error(source.to_string()))?;
        told(Step::Accept);
        let ready = tokio::select! {
            end = running.ended() => Err(end.in_words()),
            ready = self.ready(pidfile.as_ref(), told) => ready,
        };
        match ready {
            Ok(()) => {
                running.set_ready();
                Ok(())
            }
            Err(status) => {
                // Killed first, so that the error shows the whole of its log.
                let killed = self.kill().await;
                let error = error(status);
                match killed {
                    Ok(_) => Err(error),
                    Err(left) => Err(StartError { last_status: format!("{}; {left}", error.last_status), ..error }),
                }
            }
        }
    }

    /// What was cut off stays cut off, in the network namespace that this start has made; then waits for a login.
    async fn ready(&self, pidfile: Option<&Pid>, told: impl Fn(Step)) -> Result<(), String> {
        if let Some(filter) = &self.filter
            && let Some(path) = self.network_namespace().await.map_err(|error| error.to_string())?
        {
            let entered = filter.enter(NetNs::at(path)).await;
            entered.map_err(|error| format!("its network is not as it is to be: {error}"))?;
        }
        accepts_login(&self.host, self.place(), pidfile, told).await
    }

    /// On another machine: the address may be none of its own, or not lead there from here.
    fn out_of_reach(&self, error: StartError) -> StartError {
        let says = |words: &str| error.log_tail.contains(words);
        let (engine, address) = (self.dock.engine.name(), &self.host.host);
        let hint = match &self.at {
            At::Remote(port) if says("Address already in use") => {
                format!(
                    "another program of the machine of {engine} listens on {address}:{port}; run this again: the port will be another"
                )
            }
            At::Remote(_) if says("could not bind") || says("could not create any TCP/IP sockets") => {
                format!(
                    "let `address = \"…\"` in the driver's table name an address that the machine of {engine} has itself"
                )
            }
            At::Remote(port) if says("ready to accept connections") => format!(
                "it runs, and {address}:{port} is not reached from here; let `address = \"…\"` in the driver's table say \
                 where the machine of {engine} is reached, or open the ports from 20000 to 30000 there"
            ),
            _ => return error,
        };
        StartError { hint: Some(hint), ..error }
    }

    async fn launch(&self) -> Result<Arc<Running>, EngineError> {
        let engine = &self.dock.engine;
        let (ended, running) = Running::new();
        let follow = follow::Follow::begin(engine, &self.name, &self.log).await?;
        engine.docker.start_container(&self.name, None).await.map_err(asked("starting the container"))?;
        self.parts_frozen.store(false, Ordering::Relaxed);
        tokio::spawn(follow.until_the_end(ended));
        let running = Arc::new(running);
        // What is replaced would be forgotten.
        self.own_end();
        *self.running() = Some(running.clone());
        Ok(running)
    }

    async fn create(&self) -> Result<(), EngineError> {
        let dock = &self.dock;
        let binds = match &self.volume {
            Some(volume) => vec![volume.bind()],
            None => {
                let own = [bind(&dock.place.passfile(), false), bind(&self.data, true)];
                // The directory of its Unix socket, when it is reached by one.
                let socket = self.host.host.starts_with('/').then(|| bind(self.host.host.as_ref(), true));
                dock.common_binds().into_iter().chain(own).chain(socket).collect()
            }
        };
        let data = self.data.display().to_string();
        let command = ["postgres".to_owned(), "-D".to_owned(), data.clone()].into_iter();
        let bytes = |size: crate::base::units::Size| i64::try_from(size.0).unwrap_or(i64::MAX);
        let memory = self.limits.memory.map(bytes);
        let (network_mode, networking_config) = match (&self.at, &dock.lan) {
            (At::Lan(address), Some(lan)) => {
                let endpoints = [(lan.id().to_owned(), lan.endpoint(*address))];
                let config = NetworkingConfig { endpoints_config: Some(endpoints.into_iter().collect()) };
                (lan.id().to_owned(), Some(config))
            }
            _ => ("host".to_owned(), None),
        };
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: Some(command.chain(crate::driver::arguments(&self.settings)).collect()),
            user: Some(dock.user()),
            env: Some(vec![format!("PGDATA={data}"), "LC_ALL=C".to_owned()]),
            labels: Some(labels(&dock.place.setup.run, Some(self.name()))),
            stop_signal: Some("SIGINT".to_owned()),
            host_config: Some(HostConfig {
                binds: Some(binds),
                init: Some(true),
                memory,
                // Memory and swap together: no swap.
                memory_swap: memory,
                nano_cpus: self.limits.cpus.map(|cpus| (cpus * 1e9) as i64),
                shm_size: Some(self.limits.shm_size.map_or(SHM, bytes)),
                network_mode: Some(network_mode),
                log_config: Some(log_config()),
                ..HostConfig::default()
            }),
            networking_config,
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&self.name).build();
        let created = dock.engine.docker.create_container(Some(options), body).await;
        created.map_err(asked(format!("creating the container of `{}`", self.name())))?;
        if self.volume.is_some() {
            let path = dock.place.passfile();
            let lost =
                |error: std::io::Error| EngineError::Lost { what: path.display().to_string(), why: error.to_string() };
            let text = fs::read(&path).map_err(lost)?;
            dock.give(&self.name, &[dock.passwd(), Given { path, text, mode: 0o600 }]).await?;
        }
        Ok(())
    }

    /// What the control file of its data directory says; no server must run on it.
    pub async fn control_data(&self) -> Result<ControlData, ControlError> {
        // Its programs are in the image, and a container takes longer to start than a file to read.
        let Some(volume) = &self.volume else { return control::read_control_file(&self.data) };
        let bytes = volume.read(control::CONTROL_FILE).await;
        let path = self.data.join(control::CONTROL_FILE);
        match bytes {
            Ok(bytes) => control::decode(&bytes).map_err(|why| ControlError::Unknown { path, why }),
            Err(source) => Err(ControlError::Io { path, source }),
        }
    }

    /// Kills (SIGKILL) everything in the container, and returns when it has ended.
    pub async fn kill(&self) -> Result<Killed, SignalError> {
        let began = Instant::now();
        let (killed, _) = self.end_it().await?;
        Ok(Killed { processes: usize::from(killed), took: began.elapsed() })
    }

    /// Kills everything and says how it is known that nothing is left.
    pub async fn fence(&self) -> Result<Proof, SignalError> {
        let began = Instant::now();
        let (before, _) = self.end_it().await?;
        // A start that was under way has failed now; once it has let go, nothing more can come of it.
        let _no_start = self.starting.lock().await;
        let (after, state) = self.end_it().await?;
        let state = state.unwrap_or_else(|| State { status: "removed".to_owned(), ..State::default() });
        let evidence =
            Evidence::Container { name: self.name.clone(), status: state.status, exit_code: state.exit_code };
        let killed = usize::from(before || after);
        Ok(Proof { node: self.name().to_owned(), evidence, killed, took: began.elapsed() })
    }

    /// Whether it had to be killed, and how it stands now: it does not run.
    async fn end_it(&self) -> Result<(bool, Option<State>), SignalError> {
        let began = Instant::now();
        let engine = &self.dock.engine;
        let running = self.running().clone();
        if let Some(running) = &running {
            running.ask();
        }
        let killed = engine.signal(&self.name, "SIGKILL").await.map_err(|source| self.failed(source))?;
        let ended = async {
            if let Some(running) = &running {
                running.ended().await;
            }
        };
        let in_time = tokio::time::timeout(DYING, ended).await.is_ok();
        loop {
            let state = engine.state(&self.name).await.map_err(|source| self.failed(source))?;
            match state {
                Some(state) if state.running && (!in_time || began.elapsed() > DYING) => {
                    let (node, waited) = (self.name().to_owned(), began.elapsed());
                    let left = format!("container {} is {}", self.name, state.status);
                    return Err(SignalError::Undead { node, waited, left });
                }
                Some(state) if state.running => tokio::time::sleep(Duration::from_millis(5)).await,
                state => return Ok((killed, state)),
            }
        }
    }

    /// Tells it to stop; after `limit` it is killed. A paused container is let go on; frozen parts of a server
    /// that runs stay frozen, which may well use up the limit.
    pub async fn stop(&self, how: Shutdown, limit: Duration) -> Result<Stopped, SignalError> {
        let began = Instant::now();
        let running = self.running().clone();
        let Some(running) = running.filter(|running| running.end().is_none()) else {
            let killed = self.kill().await?.processes > 0;
            return Ok(Stopped { took: began.elapsed(), thawed: false, killed });
        };
        running.ask();
        let signal = match how {
            Shutdown::Fast => "SIGINT",
            Shutdown::Immediate => "SIGQUIT",
        };
        let thawed = self.state().await?.is_some_and(|state| state.paused);
        // The signal comes first, so that a frozen server does nothing else before it stops.
        self.dock.engine.signal(&self.name, signal).await.map_err(|source| self.failed(source))?;
        if thawed {
            self.unpause().await?;
        }
        let in_time = tokio::time::timeout(limit, running.ended()).await.is_ok();
        if !in_time {
            self.kill().await?;
        }
        Ok(Stopped { took: began.elapsed(), thawed, killed: !in_time })
    }

    /// Ends it and removes its container; the data directory stays.
    pub async fn remove(&self) -> Result<(), SignalError> {
        self.kill().await?;
        self.dock.engine.remove(&self.name).await.map_err(|source| self.failed(source))
    }

    /// Lets it outlive the harness.
    pub fn keep(&self) -> std::io::Result<()> {
        self.place().setup.inventory.keep(self.dock.entry)?;
        self.kept.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Unplugs it from the run's network; its connections hang. Nothing happens where it has no network of its own.
    pub async fn disconnect(&self) -> Result<(), SignalError> {
        let Some(lan) = &self.dock.lan else { return Ok(()) };
        lan.disconnect(&self.name).await.map_err(|source| self.failed(source))
    }

    /// Plugs it in again, at the same address.
    pub async fn reconnect(&self) -> Result<(), SignalError> {
        let (Some(lan), At::Lan(address)) = (&self.dock.lan, &self.at) else { return Ok(()) };
        lan.connect(&self.name, *address).await.map_err(|source| self.failed(source))
    }

    /// Which packets vanish on their way to it and from it; absent where it uses the network of the engine's host.
    pub fn filter(&self) -> Option<&Arc<Filter>> {
        self.filter.as_ref()
    }

    /// The network namespace of its container on the engine's machine, for the packet filter; absent while it does
    /// not run. Every start makes another.
    pub async fn network_namespace(&self) -> Result<Option<PathBuf>, SignalError> {
        let pid = self.state().await?.and_then(|state| state.pid);
        Ok(pid.map(|pid| format!("/proc/{pid}/ns/net").into()))
    }

    /// That it ended when nobody had told it to, the first time that this happened, with the end of its log: a
    /// crash of which it did not recover, memory used up, somebody else's signal.
    pub fn own_end(&self) -> Option<&str> {
        if let Some(end) = self.running().as_ref().and_then(|running| running.own_end()) {
            self.own_end.get_or_init(|| self.told(&end));
        }
        self.own_end.get().map(String::as_str)
    }

    fn told(&self, end: &End) -> String {
        let (node, log) = (self.name(), log_tail(&self.log, 0));
        let limit = self.limits.memory.filter(|_| end.out_of_memory);
        let hint = limit.map_or(String::new(), |limit| format!("\nhint: `memory` lets it use {limit}"));
        format!("node `{node}`: {}, and nobody had told it to\n{log}{hint}", end.in_words())
    }

    /// How its container stands; absent when there is none yet.
    pub async fn state(&self) -> Result<Option<State>, SignalError> {
        self.dock.engine.state(&self.name).await.map_err(|source| self.failed(source))
    }

    pub(super) fn failed(&self, source: EngineError) -> SignalError {
        SignalError::Engine { node: self.name().to_owned(), source }
    }

    fn running(&self) -> MutexGuard<'_, Option<Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The net below `stop` and `kill`, for a panic or a cancelled trial.
impl Drop for ContainerServer {
    fn drop(&mut self) {
        if self.is_running() && !self.kept.load(Ordering::Relaxed) {
            // What fails here is found by its label when the run is cleaned up.
            let _ = cleanup::kill_one(self.dock.engine.name(), &self.name);
        }
        match (&self.dock.lan, &self.dock.remote, &self.at) {
            (Some(lan), _, At::Lan(address)) => lan.give_back(*address),
            (_, Some((_, ports)), At::Remote(port)) => ports.give_back(*port),
            _ => {}
        }
    }
}
