//! The servers: one primary, everybody follows somebody, no name twice.

use super::Findings;
use crate::scenario::near::{list, near};
use crate::scenario::topology::NodePlan;
use crate::scenario::{Role, Scenario};

/// The longest name from which slots, folders and `application_name`s can be made (NAMEDATALEN is 64).
const LONGEST_NAME: usize = 40;

pub(super) fn nodes(scenario: &Scenario, findings: &mut Findings) {
    let nodes = scenario.nodes();
    names(&nodes, findings);
    primaries(scenario, &nodes, findings);
    for (entry, node) in &scenario.node {
        let path = ["node", entry, "follows"];
        match (node.role, &node.follows) {
            (Role::Primary, Some(_)) => {
                findings.key(&path, format!("`{entry}` is a primary and follows nobody"), "leave out `follows`")
            }
            (Role::Subscriber, Some(_)) => findings.key(
                &path,
                format!("`{entry}` is a subscriber and follows nobody"),
                "leave out `follows`, and let a `[subscription.NAME]` lead to it",
            ),
            (Role::Standby, None) => findings.key(
                &["node", entry],
                format!("the standby `{entry}` follows nobody"),
                "say which node it streams from, such as `follows = \"a\"`",
            ),
            (Role::Standby, Some(upstream)) if node.count != Some(0) => {
                follows(entry, upstream, scenario, &nodes, findings)
            }
            _ => {}
        }
        if node.role == Role::Primary && node.count.is_some_and(|count| count != 1) {
            let message = format!("the primary `{entry}` cannot stand {} times", node.count.unwrap_or_default());
            findings.value(&["node", entry, "count"], message, "there is exactly one primary; leave out `count`");
        }
        if node.role == Role::Primary && node.slot {
            findings.value(&["node", entry, "slot"], "a primary streams from nobody", "leave out `slot`");
        }
    }
    cycles(&nodes, findings);
}

fn names(nodes: &[NodePlan], findings: &mut Findings) {
    for (i, node) in nodes.iter().enumerate() {
        let path = ["node", node.entry.as_str()];
        if let Some(other) = nodes[..i].iter().find(|other| other.name == node.name) {
            findings.key(
                &path,
                format!("`{}` makes a node `{}`, and so does `{}`", node.entry, node.name, other.entry),
                "with a `count`, nodes are called as their entry with a number; call one of them otherwise",
            );
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let starts = node.name.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts || !node.name.chars().all(plain) || node.name.len() > LONGEST_NAME {
            findings.key(
                &path,
                format!("`{}` cannot be the name of a node", node.name),
                format!("use a small letter, then small letters, digits and `_`, {LONGEST_NAME} at most, as for slots"),
            );
        }
    }
}

fn primaries(scenario: &Scenario, nodes: &[NodePlan], findings: &mut Findings) {
    let primaries: Vec<_> = nodes.iter().filter(|node| node.role == Role::Primary).collect();
    if primaries.is_empty() && !scenario.node.values().any(|node| node.role == Role::Primary) {
        findings.key(&["node"], "there is no primary", "give one node `role = \"primary\"`");
    }
    let mut entries: Vec<_> = primaries.iter().map(|node| node.entry.as_str()).collect();
    entries.dedup();
    for second in entries.iter().skip(1) {
        findings.value(
            &["node", second, "role"],
            format!("`{second}` is a second primary, beside `{}`", entries[0]),
            "there is exactly one; make it a standby that follows, or a subscriber",
        );
    }
}

fn follows(entry: &str, upstream: &str, scenario: &Scenario, nodes: &[NodePlan], findings: &mut Findings) {
    let path = ["node", entry, "follows"];
    if nodes.iter().any(|node| node.entry == entry && node.name == upstream) || entry == upstream {
        return findings.value(&path, format!("`{entry}` follows itself"), "a standby streams from another node");
    }
    if !nodes.iter().any(|node| node.name == upstream) {
        findings.value(&path, format!("there is no node `{upstream}`"), no_node(upstream, scenario));
    }
}

/// What somebody may have meant with a node that is not there.
pub(super) fn no_node(name: &str, scenario: &Scenario) -> String {
    let nodes = scenario.nodes();
    let of_entry: Vec<_> = nodes.iter().filter(|node| node.entry == name).map(|node| node.name.as_str()).collect();
    if !of_entry.is_empty() {
        return format!("`{name}` stands for {}; name one of them", list(of_entry));
    }
    let names = || nodes.iter().map(|node| node.name.as_str());
    match near(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the nodes are {}", list(names())),
    }
}

fn cycles(nodes: &[NodePlan], findings: &mut Findings) {
    let upstream = |name: &str| nodes.iter().find(|node| node.name == name).and_then(|node| node.follows.as_deref());
    for node in nodes {
        let mut way = vec![node.name.as_str()];
        while let Some(next) = way.last().and_then(|last| upstream(last)) {
            let back = way.len() > 1 && next == node.name;
            if back {
                way.push(next);
                findings.value(
                    &["node", &node.entry, "follows"],
                    format!("`{}` follows itself in a circle: {}", node.name, way.join(" → ")),
                    "the way up must end at the primary",
                );
            }
            if back || way.contains(&next) {
                break;
            }
            way.push(next);
        }
    }
}
