//! Where everything of a plan stands, in words: what servers are made of, what they may use, who stands where, and
//! what lies between them.

use crate::driver::Driver;
use crate::driver::docker::Network;
use crate::pg::settings;
use crate::scenario::Scenario;
use crate::scenario::topology::NodePlan;
use std::fmt::{self, Write};

/// What all servers are made of, in a line; where they differ, a line for each.
pub(super) fn made_of(f: &mut fmt::Formatter<'_>, scenario: &Scenario) -> fmt::Result {
    let nodes = scenario.nodes();
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for node in &nodes {
        let words = driver(node, scenario.vanishing());
        match lines.iter_mut().find(|(known, _)| *known == words) {
            Some((_, names)) => names.push(&node.name),
            None => lines.push((words, vec![&node.name])),
        }
    }
    for (words, names) in &lines {
        let of = if lines.len() > 1 { format!("{}: ", names.join(", ")) } else { String::new() };
        writeln!(f, "  {of}{words}")?;
    }
    Ok(())
}

fn driver(node: &NodePlan, vanishing: bool) -> String {
    match &node.driver {
        Driver::Process(_) => {
            let network = if vanishing { "in network namespaces of the run's own" } else { "on loopback" };
            format!("processes of this machine, {network}")
        }
        Driver::Docker(docker) => {
            let image = docker.reference(node.version.map_or(*settings::KNOWN.end(), |version| version.0));
            let host = docker.host.as_ref().map_or(String::new(), |host| format!(" on the engine at {host}"));
            let network = match docker.network {
                _ if docker.is_remote() == Some(true) => "on the network of the engine's machine",
                Network::Bridge => "on a bridge of the run's own",
                Network::Host => "on the network of the engine's machine",
                Network::Internal => "on a bridge from which nothing is passed on",
            };
            format!("containers of {image}{host}, {network}")
        }
        Driver::External(_) => "servers that somebody else runs".to_owned(),
    }
}

/// What a node may use, each with a comma in front.
pub(super) fn limits(node: &NodePlan) -> String {
    let mut words = String::new();
    let limits = &node.limits;
    let mut add = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(words, ", {what} {value}");
        }
    };
    add("memory", limits.memory.map(|size| size.to_string()));
    add("cpus", limits.cpus.map(|cpus| cpus.to_string()));
    add("shm_size", limits.shm_size.map(|size| size.to_string()));
    add("a disk of", node.disk.map(|disk| disk.to_string()));
    words
}

/// Where somebody stands, with a comma in front.
pub(super) fn at(site: Option<&String>) -> String {
    site.map_or(String::new(), |site| format!(", at {site}"))
}

/// What lies between two sides.
pub(super) fn links(f: &mut fmt::Formatter<'_>, scenario: &Scenario) -> fmt::Result {
    for (name, link) in &scenario.link {
        let [one, other] = &link.between;
        write!(f, "  link {name}: between {one} and {other}, {} a round trip", link.rtt)?;
        if !link.jitter.is_zero() {
            write!(f, ", give or take {} each way", link.jitter)?;
        }
        if let Some(bandwidth) = link.bandwidth {
            write!(f, ", {bandwidth} a second each way")?;
        }
        writeln!(f, ", through proxies")?;
    }
    Ok(())
}

/// Whether any server is a container.
pub(super) fn containers(scenario: &Scenario) -> bool {
    scenario.nodes().iter().any(|node| matches!(node.driver, Driver::Docker(_)))
}
