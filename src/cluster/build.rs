//! Building a cluster: copy, configure, start in the order in which nodes follow each other, wait until
//! every standby streams, ask whether the settings hold.

use super::error::{io_at, sql};
use super::network::Network;
use super::node::{Node, NodeSpec};
use super::order::in_order;
use super::settings::{self, Mismatch};
use super::template::Template;
use super::ways::{Ways, WaysSpec};
use super::{BuildError, Cluster};
use crate::base::wait::{self, Poll, WaitError};
use crate::driver::Workplace;
use crate::driver::start::whole;
use crate::pg::connect::connect;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Time between two looks whether standbys stream.
const LOOK: Duration = Duration::from_millis(5);

impl Cluster {
    /// Builds the cluster of a trial from templates, one for each make of its nodes, and starts it. When that fails,
    /// what stood is taken down again.
    pub async fn up(
        place: &Arc<Workplace>,
        trial: &str,
        templates: &[&Template],
        nodes: &[NodeSpec],
        ways: &WaysSpec,
    ) -> Result<Cluster, BuildError> {
        let specs = in_order(nodes)?;
        let mut cluster = Cluster {
            nodes: Vec::new(),
            unconfirmed: Vec::new(),
            in_memory: Vec::new(),
            copies: Vec::new(),
            network: Network::default(),
            ways: Ways::default(),
            parties: ways.parties.clone(),
            place: place.clone(),
            made: Vec::new(),
            files: Vec::new(),
            disks: Vec::new(),
            kept: AtomicBool::new(false),
            publications: OnceLock::new(),
            subscriptions: Mutex::default(),
            successors: OnceLock::new(),
            cut_over: AtomicBool::new(false),
        };
        match cluster.build(trial, templates, &specs, ways).await {
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
        templates: &[&Template],
        specs: &[&NodeSpec],
        ways: &WaysSpec,
    ) -> Result<(), BuildError> {
        self.network = Network::make(self, specs, ways).await?;
        let trial_dir = match specs.iter().any(|spec| !spec.make.is_remote()) {
            true => self.make(&self.place.dir().join(trial), &self.place.dir.clone(), None)?,
            false => self.place.dir().join(trial),
        };
        for spec in specs {
            let node = self.prepare(trial, &trial_dir, templates, spec, specs.len()).await?;
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
