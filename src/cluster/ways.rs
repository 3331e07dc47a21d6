//! How each party of a trial reaches each node: directly, or through a proxy that makes the way slow; from
//! which address; and which packets must vanish for two of them to be cut off from each other.

use crate::base::Name;
use crate::net::proxy::{Proxies, Proxy, Shape, To, Way};
use crate::net::{Party, Placed};
use crate::pg::Host;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What the ways of a cluster are to be.
#[derive(Clone, Debug, Default)]
pub struct WaysSpec {
    /// Packets are to vanish: every node has a network of its own, and everybody an address of his own.
    pub vanishing: bool,
    /// Who connects to the nodes, beside the observer.
    pub parties: Vec<Placed>,
    /// Ways that lead through a proxy, and how slow they are.
    pub slow: BTreeMap<Lane, Shape>,
}

/// A way: who connects, and to which node.
pub type Lane = (Party, Name);

/// The ways of a running cluster.
#[derive(Debug, Default)]
pub struct Ways {
    /// The addresses of this machine from which a party connects; absent where all share one.
    pub(super) stations: BTreeMap<Party, IpAddr>,
    /// The observer's.
    pub(super) observer: Option<IpAddr>,
    /// The nodes' own.
    pub(super) nodes: BTreeMap<Name, Host>,
    pub(super) lanes: BTreeMap<Lane, Laid>,
}

/// A way through a proxy.
#[derive(Debug)]
pub(super) struct Laid {
    pub(super) proxy: Proxy,
    /// How slow it is when no fault makes it slower.
    pub(super) shape: Shape,
    faults: Mutex<InForce>,
}

/// What faults do to a way. They may overlap, and the end of one leaves the others.
#[derive(Debug, Default)]
struct InForce {
    slower: Vec<Slower>,
    forth_held: usize,
    back_held: usize,
}

/// What a fault adds to a way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slower {
    /// What each way takes longer.
    pub delay: Duration,
    /// How far the delay may lie beside that.
    pub jitter: Duration,
    /// Bytes a second each way.
    pub bandwidth: Option<NonZero<u64>>,
}

/// Only what the first of these send to the second is meant; absent: all of it.
pub type Only<'a> = Option<(&'a BTreeSet<Party>, &'a BTreeSet<Party>)>;

impl Laid {
    fn new(proxy: Proxy, shape: Shape) -> Laid {
        Laid { proxy, shape, faults: Mutex::default() }
    }

    fn change(&self, what: impl FnOnce(&mut InForce)) {
        // Whole after every statement. Held until the proxy has been told, so that it is told in order.
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let (slower, forth, back) = (faults.slower.clone(), faults.forth_held > 0, faults.back_held > 0);
        what(&mut faults);
        if faults.slower != slower {
            self.proxy.shape(faults.slower.iter().fold(self.shape, add));
        }
        for (way, before, now) in [(Way::Forth, forth, faults.forth_held > 0), (Way::Back, back, faults.back_held > 0)]
        {
            if before != now {
                self.proxy.stall(way, now);
            }
        }
    }
}

fn add(shape: Shape, slower: &Slower) -> Shape {
    let bandwidth = match (shape.bandwidth, slower.bandwidth) {
        (Some(own), Some(other)) => Some(own.min(other)),
        (own, other) => own.or(other),
    };
    Shape { delay: shape.delay + slower.delay, jitter: shape.jitter + slower.jitter, bandwidth }
}

/// Packets that vanish at a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// At which node.
    pub at: Name,
    /// From or to which address.
    pub peer: IpAddr,
    /// Whether they come from there; else they go there.
    pub incoming: bool,
}

impl Ways {
    /// Lays the slow ways, each from an address of its own where there are any, else all from `shared`. All nodes
    /// are known.
    pub(super) fn lay(
        &mut self,
        slow: &BTreeMap<Lane, Shape>,
        own: &[Option<IpAddr>],
        shared: IpAddr,
    ) -> std::io::Result<()> {
        if slow.is_empty() {
            return Ok(());
        }
        // One thread for all of them.
        let proxies = Proxies::start()?;
        for (((from, to), shape), own) in slow.iter().zip(own) {
            let Some(host) = self.nodes.get(to) else { continue };
            let target = To { host: host.host.clone(), port: host.port, from: *own };
            let proxy = proxies.open(SocketAddr::new(own.unwrap_or(shared), 0), target, *shape)?;
            self.lanes.insert((from.clone(), to.clone()), Laid::new(proxy, *shape));
        }
        Ok(())
    }

    /// Whether a way leads through a proxy.
    pub fn is_laid(&self, lane: &Lane) -> bool {
        self.lanes.contains_key(lane)
    }

    /// Makes a way slower than it is, until [`Ways::quicken`] with the same.
    pub fn slow(&self, lane: &Lane, by: Slower) {
        if let Some(laid) = self.lanes.get(lane) {
            laid.change(|faults| faults.slower.push(by));
        }
    }

    /// Takes back what [`Ways::slow`] did once.
    pub fn quicken(&self, lane: &Lane, by: Slower) {
        let Some(laid) = self.lanes.get(lane) else { return };
        laid.change(|faults| {
            if let Some(at) = faults.slower.iter().position(|one| *one == by) {
                faults.slower.remove(at);
            }
        });
    }

    /// Resets every connection of a way, and returns how many there were.
    pub async fn reset(&self, lane: &Lane) -> std::io::Result<usize> {
        match self.lanes.get(lane) {
            Some(laid) => laid.proxy.reset().await,
            None => Ok(0),
        }
    }

    /// Holds what is sent on a way, until [`Ways::release`] with the same.
    pub fn hold(&self, lane: &Lane, only: Only<'_>) {
        self.held(lane, only, |count| *count += 1);
    }

    /// Takes back what [`Ways::hold`] did once: what was held passes.
    pub fn release(&self, lane: &Lane, only: Only<'_>) {
        self.held(lane, only, |count| *count = count.saturating_sub(1));
    }

    fn held(&self, lane: &Lane, only: Only<'_>, change: impl Fn(&mut usize)) {
        let Some(laid) = self.lanes.get(lane) else { return };
        let (client, server) = (&lane.0, Party::Node(lane.1.clone()));
        let sends =
            |party: &Party, other: &Party| only.is_none_or(|(from, to)| from.contains(party) && to.contains(other));
        laid.change(|faults| {
            if sends(client, &server) {
                change(&mut faults.forth_held);
            }
            if sends(&server, client) {
                change(&mut faults.back_held);
            }
        });
    }

    /// How `from` reaches `node`.
    pub fn host(&self, from: &Party, node: &Host) -> Host {
        let mut host = node.clone();
        host.from = self.stations.get(from).copied();
        if let Some(lane) = self.lanes.get(&(from.clone(), node.node.clone())) {
            let address = lane.proxy.address();
            (host.host, host.port) = (address.ip().to_string(), address.port());
        }
        host
    }

    /// How the observer reaches `node`: directly, from an address that is never cut off.
    pub fn observed(&self, node: &Host) -> Host {
        Host { from: self.observer, ..node.clone() }
    }

    /// The node that listens at an address, be it its own or that of a way to it.
    pub fn node_at(&self, host: &str, port: u16) -> Option<&Host> {
        let direct = self.nodes.values().find(|node| node.host == host && node.port == port);
        direct.or_else(|| {
            let is_it =
                |lane: &&Laid| lane.proxy.address().ip().to_string() == host && lane.proxy.address().port() == port;
            let ((_, to), _) = self.lanes.iter().find(|(_, lane)| is_it(lane))?;
            self.nodes.get(to)
        })
    }

    /// What must vanish so that nothing that `from` sends reaches `to`: at the receiver if it is a node, so that the
    /// sender's kernel notices nothing, else at the sender. A proxy between them is on the way, so both ends see it.
    pub fn blocks(&self, from: &Party, to: &Party) -> BTreeSet<Block> {
        let mut blocks = BTreeSet::new();
        if let Party::Node(at) = to {
            let peers = self.addresses(from).chain(self.between(from, to));
            blocks.extend(peers.map(|peer| Block { at: at.clone(), peer, incoming: true }));
        }
        if let Party::Node(at) = from {
            let beyond = self.addresses(to).filter(|_| !matches!(to, Party::Node(_)));
            let peers = beyond.chain(self.between(from, to));
            blocks.extend(peers.map(|peer| Block { at: at.clone(), peer, incoming: false }));
        }
        blocks
    }

    fn addresses(&self, party: &Party) -> impl Iterator<Item = IpAddr> {
        let of_node = match party {
            Party::Node(name) => self.nodes.get(name).and_then(|host| host.host.parse().ok()),
            _ => None,
        };
        of_node.or_else(|| self.stations.get(party).copied()).into_iter()
    }

    /// The addresses of the proxies between two parties, whoever connects to whom.
    fn between(&self, one: &Party, other: &Party) -> impl Iterator<Item = IpAddr> {
        self.lanes.iter().filter_map(move |((from, to), lane)| {
            let to = Party::Node(to.clone());
            let between = (from == one && to == *other) || (from == other && to == *one);
            between.then(|| lane.proxy.address().ip())
        })
    }
}
