//! A server in a container: starting, killing, stopping it, and knowing whether it runs.
//!
//! The container is created at the first start and started again after every stop, so that a node stays the
//! same container with the same address as long as it exists. The image's entry point is left in force; with a
//! data directory that holds a cluster the official one only executes the server. `docker-init` is the first
//! process and passes signals on to the server.

mod end;
mod start;

use super::container::State;
use super::dock::{Dock, DockError};
use super::engine::{Engine, EngineError};
use super::follow::Running;
use super::image::Image;
use super::volume::Volume;
use super::{Limits, cleanup};
use crate::disk::throttle::{self, Device};
use crate::driver::Workplace;
use crate::driver::outcome::SignalError;
use crate::driver::port::Port;
use crate::net::filter::Filter;
use crate::pg::Host;
use crate::pg::control::{self, ControlData, ControlError};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::OnceCell;

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
    /// The limit of its disk's speed that is to be in force whenever it runs.
    pub(super) slowed: tokio::sync::Mutex<Option<(Device, throttle::Limits)>>,
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
    /// A server that does not run yet, at an address of its own; where it uses the network of the engine's host, at a
    /// port of `at`, else of 127.0.0.1.
    pub fn new(
        dock: &Arc<Dock>,
        node: &str,
        image: &Image,
        limits: Limits,
        data: PathBuf,
        log: PathBuf,
        at: Option<Ipv4Addr>,
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
                let at = at.unwrap_or(Ipv4Addr::LOCALHOST);
                let port = Port::reserve(at).map_err(DockError::Port)?;
                let host = Host::new(node, at.to_string(), port.number());
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
            slowed: tokio::sync::Mutex::default(),
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
        let mut server = ContainerServer::new(dock, node, image, limits, volume.data().to_owned(), log, None)?;
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
            let _ = cleanup::kill_one(self.dock.engine.address(), &self.name);
        }
        match (&self.dock.lan, &self.dock.remote, &self.at) {
            (Some(lan), _, At::Lan(address)) => lan.give_back(*address),
            (_, Some((_, ports)), At::Remote(port)) => ports.give_back(*port),
            _ => {}
        }
    }
}
