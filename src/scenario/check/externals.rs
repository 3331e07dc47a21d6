//! Servers that somebody else runs: what the connection string says, and what can be done to them only by a command
//! that their node names, or not at all.

use super::Findings;
use crate::driver::external::External;
use crate::fault::{Fault, FreezeWhat, Switchover};
use crate::manager::Manager;
use crate::net::side::Side;
use crate::pg::conninfo;
use crate::scenario::topology::NodePlan;
use crate::scenario::{Node, Role, Scenario};

/// What the nodes themselves say.
pub(super) fn externals(scenario: &Scenario, findings: &mut Findings) {
    let nodes = external(scenario);
    for (i, node) in nodes.iter().enumerate() {
        let path = driver_of(scenario, node, "conninfo");
        let Some(external) = node.driver.external() else { continue };
        let first = !nodes[..i].iter().any(|other| driver_of(scenario, other, "conninfo") == path);
        if first && let Err(error) = conninfo::check(&external.conninfo) {
            let said = error.to_string();
            let (message, hint) = said.split_once("\nhint: ").unwrap_or((
                &said,
                "such as \"host=db.example dbname=bench sslmode=verify-full\"; keep the password in a password file",
            ));
            findings.value(&path, message, hint);
        }
        if let Some(other) = nodes[..i].iter().find(|other| other.driver == node.driver) {
            let message = format!("`{}` and `{}` would be the same server", other.name, node.name);
            findings.value(&path, message, "give each node a `driver` with a `conninfo` of its own");
        }
    }
    for (entry, node) in &scenario.node {
        if node.driver.as_ref().unwrap_or(&scenario.driver).external().is_some() {
            not_ours(entry, node, findings);
        }
    }
    if matches!(scenario.manager, Manager::Builtin(_)) && !nodes.is_empty() {
        findings.key(
            &["manager"],
            "this manager writes `primary_conninfo` of its own, and starts and stops servers, which are somebody else's here",
            "leave it out: who manages them does so here too, and a `switchover` runs the command `promote` of a standby",
        );
    }
}

/// What goes for servers that are made here.
fn not_ours(entry: &str, node: &Node, findings: &mut Findings) {
    let given = [
        ("memory", node.memory.is_some()),
        ("cpus", node.cpus.is_some()),
        ("shm_size", node.shm_size.is_some()),
        ("disk", node.disk.is_some()),
        ("version", node.version.is_some()),
        ("dir", node.dir.is_some()),
        ("slot", node.slot),
    ];
    for (key, _) in given.into_iter().filter(|(_, given)| *given) {
        let message = format!("`{key}` of a server that somebody else runs is not for a scenario to say");
        findings.key(&["node", entry, key], message, "leave it out");
    }
}

/// A fault whose table stands at `act`.
pub(super) fn fault(scenario: &Scenario, act: &[&str], fault: &Fault, findings: &mut Findings) {
    let commands: &[&str] = match fault {
        Fault::Kill(_) => &["kill"],
        Fault::Stop(_) => &["stop"],
        Fault::Freeze(freeze) if freeze.what == FreezeWhat::Server => &["freeze", "thaw"],
        Fault::Freeze(freeze) => {
            if let Some(node) = meant(scenario, &freeze.of).first() {
                let message = format!("processes of `{}` are somebody else's", node.name);
                findings.value(
                    &[act, &["what"]].concat(),
                    message,
                    "only a whole server has commands; leave out `what`",
                );
            }
            &[]
        }
        Fault::FillDisk(_) | Fault::SlowDisk(_) => {
            if let Some(node) = meant(scenario, fault.target().unwrap_or_default()).first() {
                let message = format!("the disk of `{}` is somebody else's", node.name);
                findings.value(&[act, &["of"]].concat(), message, "this is for servers that are made here");
            }
            &[]
        }
        _ => &[],
    };
    for node in meant(scenario, fault.target().unwrap_or_default()) {
        for command in commands {
            needs(&[act, &["of"]].concat(), &node, command, findings);
        }
    }
    if let (true, Some(sides)) = (fault.needs_proxies(), fault.sides()) {
        let key = if sides.one_way { "to" } else { "between" };
        between(scenario, &[act, &[key]].concat(), (sides.from, sides.to), findings);
    }
}

/// A way that leads through a proxy of ours begins here, with a client.
pub(super) fn between(scenario: &Scenario, path: &[&str], sides: (&Side, &Side), findings: &mut Findings) {
    if let Some((from, to)) = scenario.between_nodes(sides, |node| node.driver.external().is_some()) {
        let message = format!("the way from `{from}` to `{to}` is theirs: somebody else runs these servers");
        findings.value(path, message, "let one side be `@clients`, whose ways begin here");
    }
}

/// A switchover without a manager: the command of a standby.
pub(super) fn switchover(scenario: &Scenario, act: &[&str], switchover: &Switchover, findings: &mut Findings) {
    let nodes = external(scenario);
    let standbys = || nodes.iter().filter(|node| node.role == Role::Standby);
    match &switchover.to {
        Some(to) => {
            if let Some(node) = standbys().find(|node| node.name == *to) {
                needs(&[act, &["to"]].concat(), node, "promote", findings);
            }
        }
        None => {
            let able = |node: &&NodePlan| node.priority > 0 && command(node, "promote");
            if standbys().next().is_some() && !standbys().any(|node| able(&node)) {
                let hint = "add `promote = \"…\"` to the `driver` of a standby";
                findings.key(&[act, &["kind"]].concat(), "no standby names a command that promotes it", hint);
            }
        }
    }
}

fn needs(path: &[&str], node: &NodePlan, command: &str, findings: &mut Findings) {
    if !self::command(node, command) {
        let message = format!("`{}` is somebody else's server, and names no command `{command}`", node.name);
        findings.value(path, message, format!("add `{command} = \"…\"` to its `driver`"));
    }
}

fn command(node: &NodePlan, name: &str) -> bool {
    node.driver.external().and_then(|external: &External| external.command(name)).is_some()
}

fn external(scenario: &Scenario) -> Vec<NodePlan> {
    scenario.nodes().into_iter().filter(|node| node.driver.external().is_some()).collect()
}

/// Those of them that a target means when the trial begins.
fn meant(scenario: &Scenario, target: &str) -> Vec<NodePlan> {
    let is = |node: &NodePlan| match target {
        "@primary" => node.role == Role::Primary,
        "@standbys" => node.role == Role::Standby,
        name => node.name == name,
    };
    external(scenario).into_iter().filter(is).collect()
}

/// Where a key of a node's driver is written.
fn driver_of<'a>(scenario: &'a Scenario, node: &'a NodePlan, key: &'a str) -> Vec<&'a str> {
    match scenario.node.get(&node.entry).and_then(|entry| entry.driver.as_ref()) {
        Some(_) => vec!["node", &node.entry, "driver", key],
        None => vec!["driver", key],
    }
}
