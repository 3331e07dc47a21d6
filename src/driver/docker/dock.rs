//! What the servers of a run share on one engine: the engine, the run's network on it, and who they run as.
//!
//! A node's data directory lies on this machine's disk as that of a process does, below the run's work
//! directory, and is mounted into the container at the same path: configuration is written and templates are
//! copied as for processes. The servers run as the user whom processes would run as, for whom a `passwd` file
//! of the run's own is mounted, since the image does not know that user.
//!
//! An engine of another machine sees none of these files. There a data directory is a [volume](super::volume), what
//! else a container needs is put into it before it starts, and servers use the network of their machine: each
//! listens on one address of it, at a port of its own.

use super::address::Address;
use super::container::{Once, bind, bind_at};
use super::engine::{Engine, EngineError};
use super::image::{Image, ImageError};
use super::network::{Lan, LanError};
use super::ports::Ports;
use super::volume::Given;
use super::{Docker, Network};
use crate::base::inventory::{Id, Thing};
use crate::base::tool::{IP, ToolError};
use crate::driver::{SUPERUSER, Workplace};
use crate::pg::control;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// `initdb` takes one to three seconds on an idle machine.
const INITDB_LIMIT: Duration = Duration::from_secs(120);

/// The servers' place on one engine.
#[derive(Debug)]
pub struct Dock {
    /// The engine.
    pub engine: Engine,
    pub(super) place: Arc<Workplace>,
    /// The run's network; absent when servers use the network of the engine's host.
    pub lan: Option<Lan>,
    pub(super) entry: Id,
    /// What tells its engine from others; see [`Engine::identity`].
    identity: String,
    /// Of an engine on another machine: where its servers listen, and their ports.
    pub(super) remote: Option<(IpAddr, Ports)>,
    passwd: PathBuf,
    made: AtomicU32,
    /// The harness's own addresses that were added to the bridge.
    stations: tokio::sync::Mutex<BTreeSet<IpAddr>>,
}

/// Why servers cannot be run in containers.
#[derive(Debug, thiserror::Error)]
pub enum DockError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The image is of no use.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// There is no network.
    #[error(transparent)]
    Lan(#[from] LanError),
    /// A program of this machine failed.
    #[error("the harness has no address of its own on the containers' network: {0}{hint}", hint = of_bridge(&.0.to_string()))]
    Tool(#[from] ToolError),
    /// The servers use the network of the engine's host.
    #[error("the servers have no network of their own")]
    NoLan,
    /// A file could not be made.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The host of an engine on another machine has no address that is known here.
    #[error(
        "servers on the container engine at {engine} would listen on `{host}`, which has no address: {why}\n\
         hint: let `address = \"…\"` in the driver's table say where that machine is reached"
    )]
    Address {
        /// How the engine is reached.
        engine: String,
        /// The host.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// There is no port for a server on the machine's own network.
    #[error("no port can be had: {0}")]
    Port(io::Error),
    /// All ports that servers on another machine may have are taken.
    #[error(
        "no port from {} to {} is free on the machine of the container engine at {engine}\n\
         hint: `ss -ltn` there says which are in use",
        super::ports::FIRST,
        super::ports::LAST
    )]
    NoPort {
        /// How the engine is reached.
        engine: String,
    },
    /// Ways out are cut on this machine alone.
    #[error("the engine is another machine's, where servers use that machine's own network: `internal` cannot be had")]
    NoInternal,
    /// A program failed that makes a data directory, or works on one.
    #[error("`{program}` in a container of `{image}` exited with status {status}:\n{said}{}", of_initdb(said))]
    Program {
        /// The program.
        program: &'static str,
        /// The image.
        image: String,
        /// Its exit status.
        status: i64,
        /// What it said.
        said: String,
    },
}

impl Dock {
    /// Reaches the engine and makes the run's network there. What is made is named in the inventory before.
    pub async fn open(place: &Arc<Workplace>, settings: &Docker) -> Result<Arc<Dock>, DockError> {
        Dock::on(place, Engine::of(settings).await?, settings).await
    }

    /// The same on an engine that was reached already.
    pub async fn on(place: &Arc<Workplace>, engine: Engine, settings: &Docker) -> Result<Arc<Dock>, DockError> {
        let identity = engine.identity().await?;
        let remote = match engine.remote_host() {
            Some(host) => {
                Some((address(&engine, settings.address.as_deref().unwrap_or(host)).await?, Ports::default()))
            }
            None => None,
        };
        let inventory = &place.setup.inventory;
        let Address { host, certs } = engine.address().clone();
        let named = inventory.thing(Thing::Labelled { engine: host, certs });
        let entry = named.map_err(|source| DockError::Io { path: inventory.path().to_owned(), source })?;
        let passwd = place.dir().join("passwd");
        write_passwd(place, &passwd).map_err(|source| DockError::Io { path: passwd.clone(), source })?;
        let lan = match settings.network {
            Network::Internal if remote.is_some() => return Err(DockError::NoInternal),
            Network::Bridge if remote.is_none() => Some(Lan::create(&engine, &place.setup.run, false).await?),
            Network::Internal => Some(Lan::create(&engine, &place.setup.run, true).await?),
            Network::Bridge | Network::Host => None,
        };
        Ok(Arc::new(Dock {
            engine,
            place: place.clone(),
            lan,
            entry,
            identity,
            remote,
            passwd,
            made: AtomicU32::new(0),
            stations: Default::default(),
        }))
    }

    /// Whether servers of these settings have their place here: the engine is the same, however it is called, and so is
    /// the network.
    pub async fn is_for(&self, engine: &Engine, settings: &Docker) -> Result<bool, DockError> {
        if self.is_remote() == engine.is_local() || self.identity != engine.identity().await? {
            return Ok(false);
        }
        match (&self.remote, engine.remote_host()) {
            (Some((own, _)), Some(host)) => {
                Ok(*own == address(engine, settings.address.as_deref().unwrap_or(host)).await?)
            }
            _ => Ok(self.network() == settings.network),
        }
    }

    /// How its servers are reached, on this machine's engine.
    fn network(&self) -> Network {
        match &self.lan {
            Some(lan) if lan.internal => Network::Internal,
            Some(_) => Network::Bridge,
            None => Network::Host,
        }
    }

    /// The image `reference`, pulled when it is not there; see [`Engine::image`].
    pub async fn image(&self, reference: &str, progress: impl FnMut(&str)) -> Result<Image, DockError> {
        let image = self.engine.image(reference, &self.place.setup.run, progress).await?;
        if let Some((_, ports)) = &self.remote {
            ports.learn(&self.engine, &self.place.setup.run, &image.id).await?;
        }
        Ok(image)
    }

    /// Makes a cluster in the empty directory `dir`, whose superuser has the password in the file `pwfile`, with the
    /// `initdb` of the image; see [`control::initdb`].
    pub async fn initdb(&self, image: &Image, pwfile: &Path, dir: &Path) -> Result<(), DockError> {
        let mut binds = self.common_binds();
        binds.extend([bind(pwfile, false), bind(dir, true)]);
        self.run_initdb(image, pwfile, dir, binds, Vec::new()).await
    }

    pub(super) async fn run_initdb(
        &self,
        image: &Image,
        pwfile: &Path,
        dir: &Path,
        binds: Vec<String>,
        given: Vec<Given>,
    ) -> Result<(), DockError> {
        let args = control::initdb_args(SUPERUSER, pwfile, dir);
        let args = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        self.program(image, "initdb", args, binds, given, INITDB_LIMIT).await
    }

    /// Throws away the WAL of the data directory `dir` with the `pg_resetwal` of the image; see [`control::resetwal`].
    pub async fn resetwal(&self, image: &Image, dir: &Path) -> Result<(), DockError> {
        let mut binds = self.common_binds();
        binds.push(bind(dir, true));
        let args = control::resetwal_args(dir).into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        self.program(image, "pg_resetwal", args, binds, Vec::new(), control::RESETWAL_LIMIT).await
    }

    /// Runs a program of an image on a data directory, in a container of its own.
    async fn program(
        &self,
        image: &Image,
        program: &'static str,
        args: Vec<String>,
        binds: Vec<String>,
        given: Vec<Given>,
        limit: Duration,
    ) -> Result<(), DockError> {
        let once = Once {
            run: &self.place.setup.run,
            image: &image.id,
            cmd: std::iter::once(program.to_owned()).chain(args).collect(),
            user: Some(self.user()),
            binds,
            given,
            owner: self.ids(),
            limit,
            ..Once::default()
        };
        let output = self.engine.once(once).await?;
        if output.status == 0 {
            return Ok(());
        }
        let said = output.stderr.lines().map(|line| format!("    {line}\n")).collect::<String>();
        Err(DockError::Program {
            program,
            image: image.reference.clone(),
            status: output.status,
            said: said.trim_end().to_owned(),
        })
    }

    /// Whom servers run as, as `uid:gid`.
    pub(super) fn user(&self) -> String {
        let (uid, gid) = self.ids();
        format!("{uid}:{gid}")
    }

    pub(super) fn ids(&self) -> (u32, u32) {
        ids(&self.place)
    }

    /// Whether its engine is on another machine.
    pub fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Who is who.
    pub(super) fn common_binds(&self) -> Vec<String> {
        vec![bind_at(&self.passwd, Path::new("/etc/passwd"), false)]
    }

    /// The same for a container on another machine.
    pub(super) fn passwd(&self) -> Given {
        Given { path: "/etc/passwd".into(), text: passwd(&self.place).into_bytes(), mode: 0o644 }
    }

    /// The `number`th of the harness's own addresses on the run's network, beside the bridge's. Only root can add one to
    /// the bridge; it goes with the network.
    pub async fn station(&self, number: usize) -> Result<IpAddr, DockError> {
        let Some(lan) = &self.lan else { return Err(DockError::NoLan) };
        let own = u8::try_from(number).ok().and_then(|number| lan.own_address(number)).ok_or(LanError::Full)?;
        let address = IpAddr::from(own);
        let mut stations = self.stations.lock().await;
        if stations.insert(address) {
            let with_length = format!("{address}/24");
            let added = IP.run(["address", "add", &with_length, "dev", &lan.device], &self.place.setup.inventory).await;
            if let Err(error) = added {
                stations.remove(&address);
                return Err(error.into());
            }
        }
        Ok(address)
    }

    /// A name for a container of `node`, which no other has.
    pub(super) fn name(&self, node: &str) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let letter = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
        let node: String = node.chars().map(letter).collect();
        format!("pgbench-rs-{}-{number}-{node}", self.place.setup.run)
    }
}

/// What helps when an address cannot be added to the engine's bridge.
fn of_bridge(said: &str) -> &'static str {
    if said.contains("Operation not permitted") {
        "\nhint: only root can add one to the engine's bridge; run as root"
    } else if said.contains("Cannot find device") {
        "\nhint: the engine's networks are not this machine's (an engine without root, Docker Desktop): packets vanish only \
         on an engine of this machine itself"
    } else {
        ""
    }
}

/// What helps when `initdb` fails in a container.
fn of_initdb(said: &str) -> &'static str {
    if said.contains("Permission denied") || said.contains("Operation not permitted") {
        "\nhint: does the engine map users (`userns-remap`, an engine without root)? Then the server's user does not own its \
         directory there"
    } else if said.contains("No space left on device") {
        "\nhint: free some, or name another place with --work DIR"
    } else {
        ""
    }
}

fn ids(place: &Workplace) -> (u32, u32) {
    match &place.setup.user {
        Some(user) => (user.uid, user.gid),
        None => (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
    }
}

fn passwd(place: &Workplace) -> String {
    let (uid, gid) = ids(place);
    format!("root:x:0:0:root:/root:/bin/sh\n{SUPERUSER}:x:{uid}:{gid}::/tmp:/bin/sh\n")
}

/// The address of an engine's machine. Asked for here, because a machine's own name often means its loopback to
/// itself.
async fn address(engine: &Engine, host: &str) -> Result<IpAddr, DockError> {
    let wrong = |why: String| DockError::Address { engine: engine.name().to_owned(), host: host.to_owned(), why };
    let found = tokio::net::lookup_host((host, 0)).await.map_err(|error| wrong(error.to_string()))?;
    let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found.first().copied().ok_or_else(|| wrong("the resolver knows none".to_owned()))
}

fn write_passwd(place: &Workplace, path: &Path) -> io::Result<()> {
    let text = passwd(place);
    // Several docks of a run write the same, and one of them may be mounted already.
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_helped_has_a_hint() {
        let initdb = |said: &str| {
            let (image, said) = ("x".to_owned(), said.to_owned());
            DockError::Program { program: "initdb", image, status: 1, said }.to_string()
        };
        let denied = initdb("initdb: error: could not change permissions of directory: Operation not permitted");
        assert!(denied.contains("\nhint: does the engine map users"), "{denied}");
        assert!(initdb("No space left on device").ends_with("--work DIR") && !initdb("odd").contains("hint"));
        assert!(of_bridge("RTNETLINK answers: Operation not permitted").contains("run as root"));
        assert!(of_bridge("Cannot find device \"pgbr1\"").contains("Docker Desktop"));
    }
}
