//! Links and the faults of the network: both sides are there, and the servers stand where packets can vanish.

use super::nodes::no_node;
use super::{Findings, externals};
use crate::driver::docker::Network as DockerNetwork;
use crate::driver::{Driver, Network};
use crate::fault::{Fault, Partition, Stall};
use crate::net::side::{Party, Side, Term, parties, ways};
use crate::scenario::near::list;
use crate::scenario::{Role, Scenario, topology::NodePlan};
use std::collections::BTreeMap;

pub(super) fn links(scenario: &Scenario, findings: &mut Findings) {
    let placed = scenario.placed();
    let mut taken: BTreeMap<(Party, String), &str> = BTreeMap::new();
    for (name, link) in &scenario.link {
        findings.name(&["link", name], super::Part::Key, name);
        if !both(scenario, &["link", name, "between"], &link.between, findings) {
            continue;
        }
        externals::between(scenario, &["link", name, "between"], (&link.between[0], &link.between[1]), findings);
        if link.rtt.is_zero() && link.jitter.is_zero() && link.bandwidth.is_none() {
            let hint = "give it an `rtt`, a `jitter` or a `bandwidth`";
            findings.key(&["link", name], format!("`{name}` makes nothing slow"), hint);
        }
        if link.bandwidth.is_some_and(|size| size.0 == 0) {
            findings.value(&["link", name, "bandwidth"], "nothing passes", "bytes a second, such as \"10MB\"");
        }
        if *link.jitter > *link.rtt / 2 {
            let message = format!("a jitter of {} on a delay of half of {}", link.jitter, link.rtt);
            findings.value(
                &["link", name, "jitter"],
                message,
                "at most half of `rtt`: nothing arrives before it is sent",
            );
        }
        let (one, other) = parties((&link.between[0], &link.between[1]), &placed, None);
        if let Some(first) = ways(&one, &other).into_iter().find_map(|way| taken.insert(way, name)) {
            let message = format!("a way of `{name}` is one of `{first}` too");
            findings.value(&["link", name, "between"], message, "a way has one speed; let the sides not overlap");
        }
    }
}

/// Two sides that are written as a list.
fn both(scenario: &Scenario, path: &[&str], between: &[Side; 2], findings: &mut Findings) -> bool {
    let before = findings.0.len();
    for (i, one) in between.iter().enumerate() {
        side(scenario, &[path, &[i.to_string().as_str()]].concat(), one, findings);
    }
    if between.iter().all(|side| side.0.contains(&Term::Rest)) {
        findings.value(path, "`@rest` of `@rest` is nobody", "name one of the sides");
    }
    findings.0.len() == before
}

fn side(scenario: &Scenario, path: &[&str], side: &Side, findings: &mut Findings) {
    if side.0.is_empty() {
        findings.value(path, "nobody stands on this side", "name a node, a role or a site");
    }
    let placed = scenario.placed();
    for term in &side.0 {
        match term {
            Term::Node(name) if !scenario.nodes().iter().any(|node| node.name == *name) => {
                findings.value(path, format!("there is no node `{name}`"), no_node(name, scenario));
            }
            Term::Site(site) if !placed.iter().any(|placed| placed.site.as_ref() == Some(site)) => {
                let mut sites: Vec<&str> = placed.iter().filter_map(|placed| placed.site.as_deref()).collect();
                sites.sort_unstable();
                sites.dedup();
                let hint = match sites.is_empty() {
                    true => "no node has a `site`".to_owned(),
                    false => format!("the sites are {}", list(sites)),
                };
                findings.value(path, format!("nobody stands at the site `{site}`"), hint);
            }
            Term::Clients if !placed.iter().any(|placed| matches!(placed.party, Party::Clients(_))) => {
                findings.value(path, "there are no clients", "add a `[load.NAME]` or `[probe.ledger]`");
            }
            Term::Standbys if !scenario.nodes().iter().any(|node| node.role == Role::Standby) => {
                let hint = "add one, such as `s = { role = \"standby\", follows = \"a\" }`";
                findings.value(path, "there is no standby", hint);
            }
            Term::Manager if !placed.iter().any(|placed| placed.party == Party::Manager) => {
                findings.value(path, "there is no manager", "add `[manager]` with `kind = \"builtin\"`");
            }
            _ => {}
        }
    }
}

/// A fault of the network, whose table stands at `act`.
pub(super) fn fault(scenario: &Scenario, act: &[&str], fault: &Fault, findings: &mut Findings) {
    let at = |key: &'static str| [act, &[key]].concat();
    if let Fault::Partition(Partition { between, from, to }) | Fault::Stall(Stall { between, from, to }) = fault {
        let hint = "write `between = [\"a\", \"@standbys\"]` for both ways, or `from` and `to` for one";
        match (between, from, to) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            (Some(_), _, _) => findings.key(&at("between"), "`between` is both ways, `from` and `to` one", hint),
            (None, _, _) => findings.key(&at("kind"), "it does not say between whom", hint),
        }
        for (key, one) in [("from", from), ("to", to)] {
            if let Some(one) = one {
                side(scenario, &at(key), one, findings);
            }
        }
        if let Some(between) = between {
            both(scenario, &at("between"), between, findings);
        }
    }
    match fault {
        Fault::Link(link) => {
            both(scenario, &at("between"), &link.between, findings);
            if link.delay.is_zero() && link.jitter.is_zero() && link.bandwidth.is_none() {
                findings.key(&at("kind"), "it makes nothing slow", "give it a `delay`, a `jitter` or a `bandwidth`");
            }
            if link.jitter > link.delay {
                findings.value(&at("jitter"), "more jitter than delay", "nothing arrives before it is sent");
            }
            if link.bandwidth.is_some_and(|size| size.0 == 0) {
                findings.value(&at("bandwidth"), "nothing passes", "use `kind = \"stall\"` for that");
            }
        }
        Fault::Reset(reset) => _ = both(scenario, &at("between"), &reset.between, findings),
        _ => {}
    }
    super::remote::fault(scenario, act, fault, findings);
    if fault.needs_packets() {
        vanishing(scenario, act, findings);
    }
}

/// Packets can vanish only where every node has a network of its own.
fn vanishing(scenario: &Scenario, act: &[&str], findings: &mut Findings) {
    let without = |node: &NodePlan| match &node.driver {
        Driver::Process(process) if process.network == Some(Network::Loopback) => {
            Some("its network is the loopback; leave out `network`, or let it be `namespaces`")
        }
        Driver::Docker(docker) if docker.network == DockerNetwork::Host => {
            Some("its network is the host's; leave out `network`, or let it be `bridge`")
        }
        Driver::Docker(docker) if docker.is_remote() == Some(true) => Some(
            "its engine is on another machine, and only networks of this one are cut; `reset` and `stall` act on the ways between `@clients` or `@manager` and it",
        ),
        Driver::External(_) => {
            Some("somebody else runs it; `reset` and `stall` act on the ways between `@clients` and it")
        }
        _ => None,
    };
    let nodes = scenario.nodes();
    if let Some((node, hint)) = nodes.iter().find_map(|node| Some((node, without(node)?))) {
        let message = format!("packets to and from `{}` cannot vanish", node.name);
        findings.key(&[act, &["kind"]].concat(), message, hint);
    }
}
