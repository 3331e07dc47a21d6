//! Servers that belong together: a primary, the standbys that follow it, the subscribers that it feeds, built from one
//! template, and taken down whatever state they are in.
//!
//! ```text
//! <work>/<run>/<trial>/<node>/data/            copied from the template
//!   pgbench-rs.conf                            what the driver needs, then the scenario's settings
//!   postgresql.auto.conf, standby.signal       whom a standby follows
//! <logs>/<trial>/<node>/postgresql.log
//! ```

mod attach;
mod build;
mod disks;
mod error;
pub mod logical;
mod network;
pub mod node;
mod order;
mod prepare;
pub mod settings;
pub mod template;
pub mod templates;
pub mod ways;

use crate::base::Name;
use crate::base::inventory::Id;
use crate::clean;
use crate::driver::{Files, Workplace};
pub use crate::driver::{Part, Shutdown};
use crate::net::{Party, Placed};
use crate::pg::{Host, Login, connect::connect};
use disks::Disk;
pub use disks::NodeDiskError;
pub use error::BuildError;
use network::Network;
pub use network::NetworkError;
pub use node::Node;
use settings::Mismatch;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use ways::Ways;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a server may take to exit at once.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running cluster. Dropping it kills its servers but removes nothing; [`Cluster::down`] does both.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, each after the one it follows.
    pub nodes: Vec<Arc<Node>>,
    /// Settings that a node does not confirm; a trial with any is not valid.
    pub unconfirmed: Vec<Mismatch>,
    /// Nodes whose own disk is in memory, and why.
    pub in_memory: Vec<(String, String)>,
    /// How each node came by its data.
    pub copies: Vec<(String, template::Copy)>,
    network: Network,
    ways: Ways,
    parties: Vec<Placed>,
    place: Arc<Workplace>,
    made: Vec<Made>,
    /// Data directories.
    files: Vec<Files>,
    /// Disks of the nodes' own.
    disks: Vec<Arc<Disk>>,
    kept: AtomicBool,
    publications: OnceLock<Vec<logical::PublicationSpec>>,
    subscriptions: Mutex<Vec<logical::SubscriptionSpec>>,
    /// Nodes that are to take over.
    successors: OnceLock<Vec<Name>>,
    cut_over: AtomicBool,
}

/// A directory of the cluster, in order of creation.
#[derive(Clone, Debug)]
struct Made {
    entry: Id,
    path: PathBuf,
    within: PathBuf,
}

/// A server that was left running.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its node.
    pub node: String,
    /// How to connect: a connection string without the password.
    pub conninfo: String,
    /// The file with the password, for the environment variable `PGPASSFILE`.
    pub passfile: PathBuf,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: PGPASSFILE={} psql '{}'", self.node, self.passfile.display(), self.conninfo)
    }
}

/// What could not be taken down. Everything else was.
#[derive(Clone, Debug, thiserror::Error)]
#[error("not everything could be taken down: {}\nhint: `pgbench-rs clean` lists what is left", .0.join("; "))]
pub struct DownError(pub Vec<String>);

impl Cluster {
    /// Where all nodes listen, as the observer reaches them: he is never cut off.
    pub fn hosts(&self) -> Vec<Host> {
        self.nodes.iter().map(|node| self.ways.observed(&node.host)).collect()
    }

    /// Where all nodes listen, as `party` reaches them.
    pub fn hosts_of(&self, party: &Party) -> Vec<Host> {
        self.nodes.iter().map(|node| self.ways.host(party, &node.host)).collect()
    }

    /// How one node reaches another.
    pub fn way(&self, from: &Node, to: &Node) -> Host {
        self.ways.host(&Party::Node(from.name.clone()), &to.host)
    }

    /// How everybody reaches everybody.
    pub fn ways(&self) -> &Ways {
        &self.ways
    }

    /// Everybody who sends packets, and where he stands.
    pub fn placed(&self) -> Vec<Placed> {
        let node = |node: &Arc<Node>| Placed { party: Party::Node(node.name.clone()), site: node.site.clone() };
        self.nodes.iter().map(node).chain(self.parties.iter().cloned()).collect()
    }

    /// How to log in to any node.
    pub fn login(&self, application_name: &str) -> Login {
        self.place.login(application_name)
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Whether somebody else runs its servers.
    pub fn is_external(&self) -> bool {
        self.nodes.iter().any(|node| node.is_external())
    }

    /// The settings that differ from the server's defaults: `setting` where all nodes agree, else `node.setting`.
    pub async fn settings(&self) -> Result<BTreeMap<String, String>, BuildError> {
        let mut all = Vec::new();
        for node in &self.nodes {
            let client = connect(&node.host, &self.login("pgbr-settings"), CONNECT_LIMIT).await?;
            let sql = |source| BuildError::Sql { node: node.name.clone(), what: "reading settings", source };
            all.push((node.name.clone(), settings::changed(&client).await.map_err(sql)?));
        }
        Ok(settings::merged(&all))
    }

    /// Stops all servers at once, frozen ones too, and removes their directories. Goes on after an
    /// error. Does nothing after [`Cluster::keep`]; may be called again. Servers of somebody else's are given back
    /// as they were.
    pub async fn down(&self) -> Result<(), DownError> {
        if self.kept.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.is_external() {
            return self.give_back().await;
        }
        let mut errors = Vec::new();
        for node in self.nodes.iter().rev() {
            if let Err(error) = node.thaw(Part::Server).await {
                errors.push(error.to_string());
            }
            if let Err(error) = node.stop(Shutdown::Immediate, STOP_LIMIT).await {
                errors.push(error.to_string());
            }
            if let Err(error) = node.remove().await {
                errors.push(error.to_string());
            }
        }
        for files in self.files.iter().rev() {
            if let Err(error) = files.remove().await {
                errors.push(error.to_string());
            }
        }
        for disk in self.disks.iter().rev() {
            if let Err(error) = disk.remove().await {
                errors.push(error.to_string());
            }
        }
        if let Err(error) = self.network.remove().await {
            errors.push(error.to_string());
        }
        let (inventory, run) = (self.place.setup.inventory.clone(), self.place.setup.run.clone());
        let made = self.made.clone();
        let remove_all = move || {
            let mut errors = Vec::new();
            for Made { entry, path, within } in made.iter().rev() {
                match clean::remove(path, within, &run) {
                    Ok(()) => errors.extend(inventory.gone(*entry).err().map(|error| error.to_string())),
                    Err(why) => errors.push(format!("{} was not removed: {why}", path.display())),
                }
            }
            errors
        };
        // Only what nothing runs in is removed.
        if errors.is_empty() {
            match tokio::task::spawn_blocking(remove_all).await {
                Ok(more) => errors.extend(more),
                Err(error) => errors.push(error.to_string()),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(DownError(errors)) }
    }

    /// Leaves the servers running when the harness ends (`--keep`), and says how to connect. The run's
    /// [`Setup::keep`](crate::driver::Setup::keep) must have been set.
    pub fn keep(&self) -> std::io::Result<Vec<Kept>> {
        for made in &self.made {
            self.place.setup.inventory.keep(made.entry)?;
        }
        for node in &self.nodes {
            node.keep()?;
        }
        self.kept.store(true, Ordering::Relaxed);
        let kept = |node: &Arc<Node>| Kept {
            node: node.name.clone(),
            conninfo: node.conninfo(),
            passfile: self.place.passfile(),
        };
        Ok(self.nodes.iter().map(kept).collect())
    }
}
