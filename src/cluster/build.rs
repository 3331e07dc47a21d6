//! Building a cluster: copy, configure, start in the order in which nodes follow each other, wait until
//! every standby streams, ask whether the settings hold.

use super::disks::Disk;
use super::network::{Network, NetworkError};
use super::node::{Node, NodeSpec};
use super::settings::{self, Mismatch};
use super::template::{CONF, FillError, Template};
use super::ways::{Ways, WaysSpec};
use super::{Cluster, Made};
use crate::base::exec::{Command, CommandError};
use crate::base::wait::{self, Poll, WaitError};
use crate::disk::mount::{FileSystem, Kind};
use crate::disk::{DiskError, OwnDisk};
use crate::driver::files::CopyError;
use crate::driver::outcome::SignalError;
use crate::driver::start::{StartError, whole};
use crate::driver::{Files, MakeError, SERVER_PROGRAM, Workplace};
use crate::pg::conf;
use crate::pg::connect::{ConnectError, connect};
use crate::pg::programs::ProgramsError;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Time between two looks whether standbys stream.
const LOOK: Duration = Duration::from_millis(5);
/// Writing out what was copied takes as long as the data set is large.
const SYNC_LIMIT: Duration = Duration::from_secs(3600);

/// Why a cluster, or a template, could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The nodes do not make a cluster.
    #[error("{0}")]
    Topology(String),
    /// There are no programs of a node's version.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// A setting is the driver's own business.
    #[error("node `{node}`: `{setting}` cannot be set: {why}")]
    Reserved {
        /// The node.
        node: String,
        /// The setting.
        setting: String,
        /// Why.
        why: &'static str,
    },
    /// A file or directory could not be made.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Servers that somebody else runs do not replicate each other's database.
    #[error(
        "node `{node}` leads to {database}, and `{of}` to {other}\n\
         hint: all nodes of a scenario are servers of one cluster; let each `conninfo` name the same database and \
         lead to the same schema"
    )]
    Elsewhere {
        /// The node.
        node: String,
        /// Where it leads.
        database: Box<str>,
        /// Another node.
        of: String,
        /// Where that one leads.
        other: Box<str>,
    },
    /// The network could not be made.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A disk could not be made.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A server could not be made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// A data directory could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A helper command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A server did not start.
    #[error(transparent)]
    Start(Box<StartError>),
    /// A server did not end.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// A server that had started takes no connection any more.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A server refused a statement.
    #[error("node `{node}`: {what}: {}", whole(source))]
    Sql {
        /// The node.
        node: String,
        /// What was done.
        what: &'static str,
        /// What the server said.
        source: tokio_postgres::Error,
    },
    /// A standby does not stream.
    #[error("standby `{standby}` does not stream from `{upstream}` after {waited:.1?}: {last_status}{}", log.as_ref().map(|log| format!("\nlog: {}", log.display())).unwrap_or_default())]
    Streaming {
        /// The standby.
        standby: String,
        /// The node that it follows.
        upstream: String,
        /// How long was waited.
        waited: Duration,
        /// What the upstream says of it.
        last_status: String,
        /// The standby's log, where it is kept here.
        log: Option<PathBuf>,
    },
    /// A server that somebody else runs is not what the scenario says.
    #[error(
        "node `{node}` is to be a {wanted}, and its server is {found}\n\
         hint: let its `role` and `conninfo` agree; after a promotion nobody makes the old primary a standby again"
    )]
    Role {
        /// The node.
        node: String,
        /// Its role in the scenario.
        wanted: &'static str,
        /// What its server says.
        found: &'static str,
    },
    /// Loading the data failed.
    #[error("template `{template}` could not be filled: {source}")]
    Fill {
        /// The template.
        template: String,
        /// Why.
        source: FillError,
    },
    /// A template's server had to be killed.
    #[error("the server of template `{template}` did not shut down within {limit:?}")]
    Unclean {
        /// The template.
        template: String,
        /// How long it was given.
        limit: Duration,
    },
    /// Building failed, and so did taking down what stood.
    #[error("{cause}\nand then {down}")]
    AndDown {
        /// Why building failed.
        cause: Box<BuildError>,
        /// What is left.
        down: super::DownError,
    },
}

/// For `map_err`: an error of the system, with the path that it is about.
pub(super) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> BuildError + use<> {
    let path = path.to_owned();
    move |source| BuildError::Io { path, source }
}

impl Cluster {
    /// Builds the cluster of a trial from a template and starts it. When that fails, what stood is
    /// taken down again.
    pub async fn up(
        place: &Arc<Workplace>,
        trial: &str,
        template: &Template,
        nodes: &[NodeSpec],
        ways: &WaysSpec,
    ) -> Result<Cluster, BuildError> {
        let specs = in_order(nodes)?;
        let mut cluster = Cluster {
            nodes: Vec::new(),
            unconfirmed: Vec::new(),
            in_memory: Vec::new(),
            network: Network::default(),
            ways: Ways::default(),
            parties: ways.parties.clone(),
            place: place.clone(),
            made: Vec::new(),
            volumes: Vec::new(),
            kept: AtomicBool::new(false),
        };
        match cluster.build(trial, template, &specs, ways).await {
            Ok(()) => Ok(cluster),
            Err(cause) => match cluster.down().await {
                Ok(()) => Err(cause),
                Err(down) => Err(BuildError::AndDown { cause: Box::new(cause), down }),
            },
        }
    }

    async fn build(
        &mut self,
        trial: &str,
        template: &Template,
        specs: &[&NodeSpec],
        ways: &WaysSpec,
    ) -> Result<(), BuildError> {
        self.network = Network::make(self, specs, ways).await?;
        let trial_dir = match specs.iter().any(|spec| !spec.make.is_remote()) {
            true => self.make(&self.place.dir().join(trial), &self.place.dir.clone(), None)?,
            false => self.place.dir().join(trial),
        };
        for spec in specs {
            let node = self.prepare(trial, &trial_dir, template, spec, specs.len()).await?;
            self.ways.nodes.insert(node.name.clone(), node.host.clone());
            self.nodes.push(Arc::new(node));
        }
        self.lay_ways(ways).await?;
        for spec in specs {
            if let (Some(node), Some(upstream)) = (self.node(&spec.name), self.upstream(spec)) {
                let followed = node.follow_on_start(&self.way(node, upstream)).await;
                followed.map_err(|error| io_at(&node.dir)(io::Error::other(error.to_string())))?;
            }
        }
        self.sync().await?;
        for spec in specs {
            let (Some(node), upstream) = (self.node(&spec.name), self.upstream(spec)) else { continue };
            if let (Some(upstream), Some(slot)) = (upstream, node.slot_name()) {
                self.create_slot(upstream, &slot).await?;
            }
            node.start().await.map_err(|error| BuildError::Start(Box::new(error)))?;
        }
        for spec in specs {
            if let (Some(node), Some(upstream)) = (self.node(&spec.name), self.upstream(spec)) {
                self.streams(node, upstream).await?;
            }
        }
        if ways.vanishing {
            self.prepare_filters().await?;
        }
        let mut unconfirmed: Vec<Mismatch> = Vec::new();
        for spec in specs {
            if let Some(node) = self.node(&spec.name) {
                let client = connect(&node.host, &self.login("pgbench-rs verify"), CONNECT_LIMIT).await?;
                let wanted = settings::of_node(spec, &node.host, specs.len());
                let asked = settings::verify(&client, &node.name, &wanted).await;
                unconfirmed.extend(asked.map_err(sql(node, "asking for its settings"))?);
            }
        }
        self.unconfirmed = unconfirmed;
        Ok(())
    }

    /// The directory of one of `nodes` nodes, with the template's data and its own configuration.
    async fn prepare(
        &mut self,
        trial: &str,
        trial_dir: &Path,
        template: &Template,
        spec: &NodeSpec,
        nodes: usize,
    ) -> Result<Node, BuildError> {
        let dir = match &spec.dir {
            _ if spec.make.is_remote() => trial_dir.join(&spec.name),
            None => self.make(&trial_dir.join(&spec.name), &self.place.dir.clone(), Some(SERVER_PROGRAM))?,
            Some(elsewhere) => {
                // Nodes of several trials and runs may be put there, so the name says whose it is.
                let name = format!("pgbench-rs-{}-{trial}-{}", self.place.setup.run, spec.name);
                self.make(&elsewhere.join(name), elsewhere, Some(SERVER_PROGRAM))?
            }
        };
        let place = self.place.clone();
        let disk = match spec.disk {
            None => None,
            Some(OwnDisk { size, format }) => {
                let path = dir.join("disk");
                place.data_directory(&path).map_err(io_at(&path))?;
                let disk = FileSystem::mount(&place.setup.inventory, &path, size.0, format).await?;
                if let Kind::Memory { why } = disk.kind() {
                    self.in_memory.push((spec.name.clone(), why.clone()));
                }
                Some(disk)
            }
        };
        let logs = place.setup.logs.join(trial).join(&spec.name);
        std::fs::create_dir_all(&logs).map_err(io_at(&logs))?;
        if spec.make.key() != template.made_by() {
            let (node, own, made) = (&spec.name, spec.make.key(), template.made_by());
            let why = format!("node `{node}` is of {own} and cannot run on what {made} made");
            return Err(BuildError::Topology(why));
        }
        // Not the root of a disk, where other things may lie.
        let within = disk.as_ref().map_or(dir.as_path(), FileSystem::path);
        let files = spec.make.files(&place, &spec.name, within).await?;
        self.volumes.extend(files.volume().cloned());
        template.copy(&files).await?;
        let server = {
            let stand = self.network.stand(&spec.name).await?;
            spec.make.server(&place, &spec.name, (&files, logs.join("postgresql.log")), spec.limits, stand)?
        };
        let node = Node::new(spec, files, server, disk.map(Disk::new));
        let settings = settings::of_node(spec, &node.host, nodes);
        let written = node.files().write(CONF, &conf::postgresql_conf(&settings)).await;
        written.map_err(io_at(&node.dir.join(CONF)))?;
        Ok(node)
    }

    fn make(&mut self, path: &Path, within: &Path, program: Option<&str>) -> Result<PathBuf, BuildError> {
        let (entry, path) = self.place.directory(path, within, program).map_err(io_at(path))?;
        let within = std::fs::canonicalize(within).map_err(io_at(within))?;
        self.made.push(Made { entry, path: path.clone(), within });
        Ok(path)
    }

    /// Writes what was copied to disk: the system would else do so in the midst of the trial.
    async fn sync(&self) -> Result<(), BuildError> {
        for volume in &self.volumes {
            volume.sync().await.map_err(CopyError::from)?;
        }
        let here = self.nodes.iter().filter(|node| matches!(node.files(), Files::Here { .. }));
        let dirs: Vec<&PathBuf> = here.map(|node| &node.dir).collect();
        if dirs.is_empty() {
            return Ok(());
        }
        let command = Command::new("sync", SYNC_LIMIT).arg("--file-system").args(dirs);
        let command = command.user(self.place.setup.user.as_ref());
        command.run(&self.place.setup.inventory).await?;
        Ok(())
    }

    async fn create_slot(&self, on: &Node, slot: &str) -> Result<(), BuildError> {
        let client = connect(&on.host, &self.login("pgbench-rs build"), CONNECT_LIMIT).await?;
        let create = "SELECT pg_create_physical_replication_slot($1::text::name, true)";
        client.execute(create, &[&slot]).await.map_err(sql(on, "creating a replication slot"))?;
        Ok(())
    }

    /// Waits until `standby` streams from `upstream`.
    async fn streams(&self, standby: &Node, upstream: &Node) -> Result<(), BuildError> {
        let client = connect(&upstream.host, &self.login("pgbench-rs build"), CONNECT_LIMIT).await?;
        let state = "SELECT state FROM pg_stat_replication WHERE application_name = $1";
        let look = || async {
            match client.query_opt(state, &[&standby.name]).await {
                Ok(Some(row)) if row.get::<_, Option<&str>>(0) == Some("streaming") => Poll::<_, Infallible>::Done(()),
                Ok(Some(row)) => Poll::not_yet(format!("it is in state {:?}", row.get::<_, Option<&str>>(0))),
                Ok(None) => Poll::not_yet("it is not connected"),
                Err(error) => Poll::not_yet(whole(&error)),
            }
        };
        let waited = wait::until(self.place.setup.start_limit, LOOK, look).await;
        waited.map_err(|WaitError::Timeout { waited, last_status }| BuildError::Streaming {
            standby: standby.name.clone(),
            upstream: upstream.name.clone(),
            waited,
            last_status,
            log: standby.log().map(Path::to_owned),
        })
    }

    fn upstream(&self, spec: &NodeSpec) -> Option<&Arc<Node>> {
        self.node(spec.follows.as_ref()?)
    }
}

pub(super) fn sql(node: &Node, what: &'static str) -> impl FnOnce(tokio_postgres::Error) -> BuildError + use<> {
    let node = node.name.clone();
    move |source| BuildError::Sql { node, what, source }
}

/// The nodes in the order in which they can start: each after the one it follows.
pub(super) fn in_order(nodes: &[NodeSpec]) -> Result<Vec<&NodeSpec>, BuildError> {
    let wrong = |text: String| Err(BuildError::Topology(text));
    let mut ordered: Vec<&NodeSpec> = nodes.iter().filter(|node| node.primary).collect();
    match ordered.as_slice() {
        [_] => {}
        several => return wrong(format!("a cluster has one primary, this one {}", several.len())),
    }
    for node in nodes {
        if nodes.iter().filter(|other| other.name == node.name).count() > 1 {
            return wrong(format!("there are several nodes `{}`", node.name));
        }
        if node.primary == node.follows.is_some() {
            return wrong(format!("node `{}`: a standby follows another node, and a primary none", node.name));
        }
        for (setting, _) in &node.settings {
            if let Some(why) = settings::reserved(setting) {
                return Err(BuildError::Reserved { node: node.name.clone(), setting: setting.clone(), why });
            }
        }
    }
    while ordered.len() < nodes.len() {
        let is_in = |name: &str| ordered.iter().any(|node| node.name == name);
        let follows_one = |node: &&NodeSpec| !is_in(&node.name) && node.follows.as_deref().is_some_and(is_in);
        match nodes.iter().find(follows_one) {
            Some(next) => ordered.push(next),
            None => {
                let stray: Vec<&str> = nodes.iter().map(|n| n.name.as_str()).filter(|name| !is_in(name)).collect();
                return wrong(format!("no way leads from the primary to {}", stray.join(", ")));
            }
        }
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Make;
    use crate::pg::programs::Programs;
    use crate::pg::version::Version;

    fn node(name: &str, follows: Option<&str>) -> NodeSpec {
        NodeSpec {
            name: name.to_owned(),
            primary: follows.is_none(),
            follows: follows.map(str::to_owned),
            site: None,
            slot: false,
            priority: 100,
            settings: Vec::new(),
            dir: None,
            make: Make::Process(Programs { dir: "/".into(), version: Version { major: 15, minor: 0 } }),
            limits: Default::default(),
            disk: None,
        }
    }

    #[test]
    fn each_node_comes_after_the_one_it_follows() {
        let nodes = [node("c", Some("b")), node("b", Some("a")), node("a", None), node("d", Some("a"))];
        let names: Vec<&str> = in_order(&nodes).unwrap().iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }

    #[test]
    fn what_is_no_cluster_is_refused() {
        let said = |nodes: &[NodeSpec]| in_order(nodes).unwrap_err().to_string();
        assert!(said(&[]).contains("this one 0"));
        assert!(said(&[node("a", None), node("b", None)]).contains("this one 2"));
        assert!(said(&[node("a", None), node("b", Some("c")), node("c", Some("b"))]).contains("to b, c"));
        assert!(said(&[node("a", None), node("b", Some("a")), node("b", Some("a"))]).contains("several nodes `b`"));
        let mut reserved = node("a", None);
        reserved.settings.push(("Port".to_owned(), "5432".to_owned()));
        assert!(said(&[reserved]).contains("`Port` cannot be set"));
    }
}
