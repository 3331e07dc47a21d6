//! Who stands where, and which ways lead through a proxy or can be cut: what a scenario's network comes to.

use super::Scenario;
use super::topology::NodePlan;
use crate::base::Name;
use crate::cluster::ways::WaysSpec;
use crate::driver::{Driver, Network};
use crate::fault::Fault;
use crate::manager::Manager;
use crate::net::proxy::Shape;
use crate::net::side::{self, Party, Placed, Side};
use std::collections::BTreeMap;
use std::num::NonZero;

impl Scenario {
    /// Everybody who sends packets in it but the observer: nodes, clients of each site, the manager.
    pub fn placed(&self) -> Vec<Placed> {
        let nodes = self.nodes().into_iter().map(|node| Placed { party: Party::Node(node.name), site: node.site });
        nodes.chain(self.parties()).collect()
    }

    /// Those of them that are not nodes.
    fn parties(&self) -> Vec<Placed> {
        let mut sites: Vec<Option<String>> = self.load.values().map(|load| load.site.clone()).collect();
        if let Some(ledger) = &self.probe.ledger {
            sites.extend(ledger.sites.iter().cloned().map(Some));
            if ledger.sites.is_empty() {
                sites.push(None);
            }
        }
        sites.sort();
        sites.dedup();
        let clients = sites.into_iter().map(|site| Placed { party: Party::Clients(site.clone()), site });
        let manager = match &self.manager {
            Manager::Builtin(builtin) => Some(Placed { party: Party::Manager, site: builtin.site.clone() }),
            Manager::None(_) => None,
        };
        clients.chain(manager).collect()
    }

    /// All that is done in it.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.phase.iter().flat_map(|phase| phase.steps.values().map(|step| &step.act))
    }

    /// Whether packets are to vanish, for which nodes need a network of their own.
    pub fn vanishing(&self) -> bool {
        let asked = self.nodes().into_iter().find_map(|node| match node.driver {
            Driver::Process(process) => process.network,
            Driver::Docker(_) | Driver::External(_) => None,
        });
        match asked {
            Some(network) => network == Network::Namespaces,
            None => self.faults().any(Fault::needs_packets),
        }
    }

    /// What of it this machine does itself, so that no server can be on the engine of another.
    pub fn only_here(&self) -> Option<String> {
        let nodes = self.nodes();
        let of_node = |node: &NodePlan| match (&node.disk, &node.dir) {
            (Some(_), _) => Some(format!("node `{}` is to have a disk of its own", node.name)),
            (None, Some(_)) => Some(format!("node `{}` is to have a `dir` of this machine", node.name)),
            (None, None) => None,
        };
        let link = self.link.iter().find_map(|(name, link)| {
            let (from, to) = self.between_nodes((&link.between[0], &link.between[1]), |_| true)?;
            Some(format!("the link `{name}` leads from `{from}` to `{to}` through a proxy of this machine"))
        });
        let nodes_only = |fault: &&Fault| {
            let proxied = fault.needs_proxies().then(|| fault.sides()).flatten();
            fault.needs_packets() || proxied.is_some_and(|it| self.between_nodes((it.from, it.to), |_| true).is_some())
        };
        let fault = || self.faults().find(nodes_only);
        link.or_else(|| nodes.iter().find_map(of_node)).or_else(|| {
            let fault = fault()?;
            Some(format!("networks of other machines are not touched: {}", fault.describe(&fault.written())))
        })
    }

    /// Of the ways between two sides, one from a server to a server for which `is` holds. Whoever else connects to
    /// servers does so from this machine.
    pub fn between_nodes(&self, sides: (&Side, &Side), is: impl Fn(&NodePlan) -> bool) -> Option<(Name, Name)> {
        let (one, other) = side::parties(sides, &self.placed(), None);
        let nodes: Vec<NodePlan> = self.nodes().into_iter().filter(is).collect();
        side::ways(&one, &other).into_iter().find_map(|(from, to)| match from {
            Party::Node(from) if nodes.iter().any(|node| node.name == to) => Some((from, to)),
            _ => None,
        })
    }

    /// What its network is to be. A way that a fault may slow, reset or hold leads through a proxy from the start.
    pub fn ways(&self) -> WaysSpec {
        let placed = self.placed();
        let mut slow = BTreeMap::new();
        for link in self.link.values() {
            let shape = Shape {
                delay: *link.rtt / 2,
                jitter: *link.jitter,
                bandwidth: link.bandwidth.and_then(|size| NonZero::new(size.0)),
            };
            let (one, other) = side::parties((&link.between[0], &link.between[1]), &placed, None);
            slow.extend(side::ways(&one, &other).into_iter().map(|lane| (lane, shape)));
        }
        for sides in self.faults().filter(|fault| fault.needs_proxies()).filter_map(Fault::sides) {
            let (one, other) = side::parties((sides.from, sides.to), &placed, None);
            for lane in side::ways(&one, &other) {
                slow.entry(lane).or_default();
            }
        }
        WaysSpec { vanishing: self.vanishing(), parties: self.parties(), slow }
    }
}
