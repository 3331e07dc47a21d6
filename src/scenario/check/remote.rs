//! Servers on container engines of other machines, and what cannot be had there: everything that this machine does
//! itself, with its own networks, proxies and file systems.

use super::Findings;
use crate::driver::Driver;
use crate::driver::docker::Network;
use crate::fault::Fault;
use crate::net::Side;
use crate::scenario::Scenario;
use crate::scenario::topology::NodePlan;

pub(super) fn remote(scenario: &Scenario, findings: &mut Findings) {
    let nodes = scenario.nodes();
    bridges(&nodes, findings);
    let Some(far) = nodes.iter().find(|node| is_remote(node)) else { return };
    if let Some(near) = nodes.iter().find(|node| is_here(node)) {
        findings.key(
            &["node", &near.entry, "driver"],
            format!("`{}` is on this machine's engine, and `{}` on another's", near.name, far.name),
            "they would not reach each other; name this machine's engine as another sees it, such as `host = \"ssh://me@this-machine\"`",
        );
    }
    for node in nodes.iter().filter(|node| is_remote(node)) {
        let things = [("disk", node.disk.is_some()), ("dir", node.dir.is_some())];
        for (key, _) in things.into_iter().filter(|(_, given)| *given) {
            findings.key(
                &["node", &node.entry, key],
                format!("`{key}` is made on this machine, and `{}` is on another's engine", node.name),
                format!("leave out `{key}`: its data directory is a volume of that engine"),
            );
        }
    }
    for (name, link) in &scenario.link {
        between(scenario, &["link", name, "between"], (&link.between[0], &link.between[1]), findings);
    }
}

/// Nothing is passed on from one engine's bridge to another's. (Who is on the machine's own network and who is on one
/// bridge reach each other, whichever engine runs them.)
fn bridges(nodes: &[NodePlan], findings: &mut Findings) {
    let internal =
        |node: &&NodePlan| matches!(&node.driver, Driver::Docker(docker) if docker.network == Network::Internal);
    for node in nodes.iter().filter(internal) {
        let message =
            format!("`{}` would be cut off from nodes on other networks: `internal` is for clones", node.name);
        findings.key(&["node", &node.entry, "driver"], message, "leave `network` out, or let it be `host`");
    }
    let socket = |node: &NodePlan| match &node.driver {
        Driver::Docker(docker) if docker.network == Network::Bridge && is_here(node) => {
            // Of old the one is a link to the other.
            docker.host.as_ref().map(|host| host.replacen("unix:///var/run/", "unix:///run/", 1))
        }
        _ => None,
    };
    let mut on_bridges = nodes.iter().filter_map(|node| Some((node, socket(node)?)));
    let Some((first, of_first)) = on_bridges.next() else { return };
    if let Some((other, _)) = on_bridges.find(|(_, socket)| *socket != of_first) {
        findings.key(
            &["node", &other.entry, "driver"],
            format!(
                "`{}` and `{}` are on networks of two engines, which do not reach each other",
                first.name, other.name
            ),
            "let the nodes of one engine use `network = \"host\"`",
        );
    }
}

/// A fault at `act` that proxies of this machine bring about.
pub(super) fn fault(scenario: &Scenario, act: &[&str], fault: &Fault, findings: &mut Findings) {
    if let (true, Some(sides)) = (fault.needs_proxies(), fault.sides()) {
        let key = if sides.one_way { "to" } else { "between" };
        between(scenario, &[act, &[key]].concat(), (sides.from, sides.to), findings);
    }
}

/// A way through a proxy of this machine begins on this machine.
fn between(scenario: &Scenario, path: &[&str], sides: (&Side, &Side), findings: &mut Findings) {
    if let Some((from, to)) = scenario.between_nodes(sides, is_remote) {
        let message = format!(
            "the way from `{from}` to `{to}` would lead through a proxy of this machine, and `{to}` is on another's engine"
        );
        let hint = "let one side be `@clients` or `@manager`, whose ways begin here; let the engines be of this machine \
                    (`unix://…`); or use `freeze`, `kill` and `stop`";
        findings.value(path, message, hint);
    }
}

/// Whether a node is on an engine of another machine, as far as is written.
pub(super) fn is_remote(node: &NodePlan) -> bool {
    matches!(&node.driver, Driver::Docker(docker) if docker.is_remote() == Some(true))
}

fn is_here(node: &NodePlan) -> bool {
    matches!(&node.driver, Driver::Docker(docker) if docker.is_remote() == Some(false))
}
