//! A cluster that somebody else runs: connected to, asked whether it is what the scenario says, and given back as it
//! was. Nothing of it is made, configured, stopped or removed here.

use super::error::sql;
use super::network::Network;
use super::node::{Node, NodeSpec};
use super::order::in_order;
use super::settings::{self, Mismatch};
use super::ways::{Ways, WaysSpec};
use super::{BuildError, CONNECT_LIMIT, Cluster, DownError};
use crate::cluster::Part;
use crate::driver::docker::Limits;
use crate::driver::{Files, Stand, Workplace};
use crate::pg::connect::connect;
use crate::pg::find::Finder;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// How long is looked for another server that accepts writes, before one that was primary is started again.
const FIND: Duration = Duration::from_secs(2);

/// A database of a cluster of servers, and the schema in it where tables are made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Database {
    system: u64,
    name: String,
    schema: Option<String>,
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.schema.as_deref().unwrap_or("no schema at all");
        write!(f, "database {} ({schema}) of system {}", self.name, self.system)
    }
}

impl Cluster {
    /// The cluster of a trial on servers that somebody else runs. All of them must answer. Whom a standby follows is theirs to say; of the settings it is asked whether they
    /// hold.
    pub async fn attach(place: &Arc<Workplace>, nodes: &[NodeSpec], ways: &WaysSpec) -> Result<Cluster, BuildError> {
        let specs = in_order(nodes)?;
        let mut cluster = Cluster {
            nodes: Vec::new(),
            unconfirmed: Vec::new(),
            in_memory: Vec::new(),
            copies: Vec::new(),
            files: Vec::new(),
            disks: Vec::new(),
            network: Network::default(),
            ways: Ways::default(),
            parties: ways.parties.clone(),
            place: place.clone(),
            made: Vec::new(),
            kept: AtomicBool::new(false),
            publications: OnceLock::new(),
            subscriptions: Mutex::default(),
            successors: OnceLock::new(),
            cut_over: AtomicBool::new(false),
        };
        for spec in &specs {
            // Nothing of it lies here.
            let files = Files::Here { place: place.clone(), dir: PathBuf::new(), dataset: None };
            let server =
                spec.make.server(place, &spec.name, (&files, PathBuf::new()), Limits::default(), Stand::Own)?;
            let node = Node::new(spec, files, server, None);
            cluster.ways.nodes.insert(node.name.clone(), node.host.clone());
            cluster.nodes.push(Arc::new(node));
        }
        cluster.refuse_sockets(ways)?;
        cluster.lay_ways(ways).await?;
        let mut unconfirmed: Vec<Mismatch> = Vec::new();
        let mut first: Option<(String, Database)> = None;
        for spec in specs {
            if let Some(node) = cluster.node(&spec.name) {
                node.start().await.map_err(|error| BuildError::Start(Box::new(error)))?;
                let database = cluster.database(node).await?;
                match &first {
                    None => first = Some((node.name.clone(), database)),
                    Some((of, other)) if *other != database => {
                        let (database, other) = (database.to_string().into(), other.to_string().into());
                        return Err(BuildError::Elsewhere { node: node.name.clone(), database, of: of.clone(), other });
                    }
                    Some(_) => {}
                }
                unconfirmed.extend(cluster.is_as_said(spec, node).await?);
            }
        }
        cluster.unconfirmed = unconfirmed;
        Ok(cluster)
    }

    /// A proxy reaches servers over TCP.
    fn refuse_sockets(&self, ways: &WaysSpec) -> Result<(), BuildError> {
        let by_socket = |name: &str| self.node(name).is_some_and(|node| node.host.host.starts_with(['/', '@']));
        match ways.slow.keys().find(|(_, to)| by_socket(to)) {
            Some((from, to)) => Err(BuildError::Topology(format!(
                "the way from {from} to `{to}` is to lead through a proxy, and its `conninfo` names a Unix socket\n\
                 hint: name a host"
            ))),
            None => Ok(()),
        }
    }

    /// Where tables of ours would be made on a node, and dropped again.
    async fn database(&self, node: &Node) -> Result<Database, BuildError> {
        let client = connect(&node.host, &self.login("pgbench-rs verify"), CONNECT_LIMIT).await?;
        let ask = "SELECT system_identifier, current_database()::text, current_schema()::text FROM pg_control_system()";
        let row = client.query_one(ask, &[]).await.map_err(sql(node, "asking which database it is"))?;
        Ok(Database { system: row.get::<_, i64>(0).cast_unsigned(), name: row.get(1), schema: row.get(2) })
    }

    /// Checks the role, and returns the settings that do not hold.
    async fn is_as_said(&self, spec: &NodeSpec, node: &Node) -> Result<Vec<Mismatch>, BuildError> {
        let client = connect(&node.host, &self.login("pgbench-rs verify"), CONNECT_LIMIT).await?;
        let row =
            client.query_one("SELECT pg_is_in_recovery()", &[]).await.map_err(sql(node, "asking for its role"))?;
        let (wanted, found) = match (spec.primary, row.get::<_, bool>(0)) {
            (true, true) => ("primary", "a standby"),
            (false, false) => ("standby", "a primary"),
            _ => {
                let asked = settings::verify(&client, &node.name, &spec.settings).await;
                return asked.map_err(sql(node, "asking for its settings"));
            }
        };
        Err(BuildError::Role { node: node.name.clone(), wanted, found })
    }

    /// Takes back what commands of the scenario did. One that was primary stays down when another accepts writes by
    /// now: started as it was it would be a second primary.
    pub(super) async fn give_back(&self) -> Result<(), DownError> {
        let mut errors = Vec::new();
        for node in &self.nodes {
            let Some(server) = node.server().external() else { continue };
            if let Err(error) = node.thaw(Part::Server).await {
                errors.push(error.to_string());
            }
            if node.is_running() {
                continue;
            }
            let answers = connect(&node.host, &self.login("pgbench-rs restore"), CONNECT_LIMIT).await.is_ok();
            match self.another_primary(node).await {
                Some(other) if node.began_as_primary && !answers => errors.push(format!(
                    "node `{}` was ended by a command and is left down: `{other}` accepts writes now",
                    node.name
                )),
                _ => errors.extend(server.restore().await.err()),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(DownError(errors)) }
    }

    async fn another_primary(&self, node: &Node) -> Option<String> {
        let others = self.hosts().into_iter().filter(|host| host.node != node.name).collect();
        let finder = Finder::new(others, self.login("pgbench-rs restore"), FIND);
        tokio::time::timeout(FIND, finder.writable()).await.ok().map(|host| host.node)
    }
}
