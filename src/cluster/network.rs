//! The network of a trial's nodes: where everybody stands on it, and what is done to it.
//!
//! Packets vanish by rules inside the nodes' own network namespaces, so the firewall of the machine is not touched, and
//! with a namespace its rules are gone.

use super::ways::{Block, WaysSpec};
use super::{Cluster, Node, node::NodeSpec};
use crate::base::Name;
use crate::driver::docker::{Dock, DockError};
use crate::driver::outcome::SignalError;
use crate::driver::{Make, Server, Stand};
use crate::net::cut::{Cut, End, Way};
use crate::net::filter::Filter;
use crate::net::lan::{Attached, Lan};
use crate::net::namespace::NetError;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::sync::Mutex;

/// What the nodes stand on.
#[derive(Debug, Default)]
pub(super) struct Network {
    kind: Kind,
    /// The packet filters of namespaces of this machine that were needed so far; containers have their own.
    filters: Mutex<BTreeMap<Name, Arc<Filter>>>,
}

#[derive(Debug, Default)]
enum Kind {
    /// The machine's own network: packets do not vanish.
    #[default]
    Shared,
    /// Network namespaces of this machine.
    Lan { lan: Lan, attached: BTreeMap<Name, Attached> },
    /// A container engine's bridge.
    Bridge(Arc<Dock>),
}

/// Why the network could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The system refused.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A container engine refused.
    #[error(transparent)]
    Dock(#[from] DockError),
    /// A server's driver refused.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// A proxy could not be laid.
    #[error("a proxy could not listen: {0}")]
    Proxy(io::Error),
    /// The node shares the machine's network.
    #[error("`{0}` has no network of its own")]
    Shared(Name),
}

impl Network {
    /// Makes what the nodes stand on. One of them on a bridge is enough: those beside it on the machine's own network
    /// are reached at the bridge's own address.
    pub(super) async fn make(cluster: &Cluster, specs: &[&NodeSpec], ways: &WaysSpec) -> Result<Network, NetworkError> {
        let processes = specs.iter().any(|spec| matches!(spec.make, Make::Process(_)));
        let bridge = specs.iter().find_map(|spec| match &spec.make {
            Make::Docker { dock, .. } if dock.lan.is_some() => Some(dock.clone()),
            _ => None,
        });
        let kind = match bridge {
            Some(dock) => Kind::Bridge(dock),
            None if processes && ways.vanishing => {
                let setup = &cluster.place.setup;
                let lan = Lan::create(&setup.inventory, &setup.run).await?;
                Kind::Lan { lan, attached: BTreeMap::new() }
            }
            None => Kind::Shared,
        };
        Ok(Network { kind, filters: Mutex::default() })
    }

    /// Where one more node stands.
    pub(super) async fn stand(&mut self, node: &str) -> Result<Stand<'_>, NetworkError> {
        match &mut self.kind {
            Kind::Shared => Ok(Stand::Own),
            Kind::Lan { lan, attached } => {
                let place = lan.node(node).await?;
                Ok(Stand::Namespace(attached.entry(node.to_owned()).or_insert(place)))
            }
            Kind::Bridge(dock) => Ok(dock.lan.as_ref().map_or(Stand::Own, |lan| Stand::At(lan.gateway()))),
        }
    }

    /// Where the observer stands; absent where all share one address.
    fn observer(&self) -> Option<IpAddr> {
        match &self.kind {
            Kind::Shared => None,
            Kind::Lan { lan, .. } => Some(lan.observer()),
            Kind::Bridge(dock) => dock.lan.as_ref().map(|lan| lan.gateway().into()),
        }
    }

    /// `count` addresses of this machine, no two the same; absent ones where all share one.
    async fn stations(&self, count: usize, vanishing: bool) -> Result<Vec<Option<IpAddr>>, NetworkError> {
        let mut addresses = Vec::new();
        for number in 0..count {
            addresses.push(match &self.kind {
                Kind::Lan { lan, .. } => Some(lan.station().await?),
                Kind::Bridge(dock) if vanishing => Some(dock.station(number).await?),
                Kind::Bridge(_) | Kind::Shared => None,
            });
        }
        Ok(addresses)
    }

    /// Removes what was made for this trial alone.
    pub(super) async fn remove(&self) -> Result<(), NetError> {
        match &self.kind {
            Kind::Lan { lan, .. } => lan.remove().await,
            // The bridge serves the whole run.
            Kind::Bridge(_) | Kind::Shared => Ok(()),
        }
    }
}

impl Cluster {
    /// Gives everybody an address, and lays the slow ways. All nodes are there.
    pub(super) async fn lay_ways(&mut self, spec: &WaysSpec) -> Result<(), NetworkError> {
        self.ways.observer = self.network.observer();
        let stations = self.network.stations(spec.parties.len() + spec.slow.len(), spec.vanishing).await?;
        let (of_parties, of_proxies) = stations.split_at(spec.parties.len());
        for (placed, address) in spec.parties.iter().zip(of_parties) {
            self.ways.stations.extend(address.map(|address| (placed.party.clone(), address)));
        }
        let shared = self.ways.observer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        self.ways.lay(&spec.slow, of_proxies, shared).map_err(NetworkError::Proxy)
    }

    /// Makes sure that packets can vanish at once when they are to.
    pub(super) async fn prepare_filters(&self) -> Result<(), NetworkError> {
        for node in &self.nodes {
            self.filter(node).await?.prepare().await?;
        }
        Ok(())
    }

    /// Lets packets vanish, at all nodes at the same time, until the result is healed.
    pub async fn block(&self, blocks: &BTreeSet<Block>) -> Result<Cut, NetworkError> {
        let mut ends: BTreeMap<&Name, End> = BTreeMap::new();
        for Block { at, .. } in blocks {
            if let Some(node) = self.node(at)
                && !ends.contains_key(at)
                && let Ok(address) = node.host.host.parse()
            {
                ends.insert(at, End { address, filter: Some(self.filter(node).await?) });
            }
        }
        let way = |block: &Block| {
            let (node, peer) = (ends.get(&block.at)?.clone(), End { address: block.peer, filter: None });
            Some(if block.incoming { Way { from: peer, to: node } } else { Way { from: node, to: peer } })
        };
        let ways: Vec<Way> = blocks.iter().filter_map(way).collect();
        Ok(Cut::set(&ways).await?)
    }

    /// The packet filter of a node's namespace.
    async fn filter(&self, node: &Node) -> Result<Arc<Filter>, NetworkError> {
        let shared = || NetworkError::Shared(node.name.clone());
        match (&self.network.kind, &**node.server()) {
            (Kind::Lan { attached, .. }, _) => {
                let attached = attached.get(&node.name).ok_or_else(shared)?;
                let new = || Arc::new(Filter::new(attached.ns.clone(), self.place.setup.inventory.clone()));
                Ok(self.network.filters.lock().await.entry(node.name.clone()).or_insert_with(new).clone())
            }
            (Kind::Bridge(_), Server::Container(server)) => server.filter().cloned().ok_or_else(shared),
            _ => Err(shared()),
        }
    }

    /// Pulls the plug of a node's network.
    pub async fn unplug(&self, node: &Node) -> Result<(), NetworkError> {
        match (&self.network.kind, &**node.server()) {
            (Kind::Lan { attached, .. }, _) if attached.contains_key(&node.name) => {
                Ok(attached[&node.name].down().await?)
            }
            (Kind::Bridge(_), Server::Container(server)) => Ok(server.disconnect().await?),
            _ => Err(NetworkError::Shared(node.name.clone())),
        }
    }

    /// Plugs it in again.
    pub async fn replug(&self, node: &Node) -> Result<(), NetworkError> {
        match (&self.network.kind, &**node.server()) {
            (Kind::Lan { attached, .. }, _) if attached.contains_key(&node.name) => {
                Ok(attached[&node.name].up().await?)
            }
            (Kind::Bridge(_), Server::Container(server)) => Ok(server.reconnect().await?),
            _ => Err(NetworkError::Shared(node.name.clone())),
        }
    }
}
