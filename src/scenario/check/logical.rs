//! Publications and subscriptions: everybody named is there and can do it, in his version; and what is published is
//! what is driven.

use super::nodes::no_node;
use super::traffic::positive;
use super::{Findings, Part};
use crate::cluster::logical::{Publication, Subscription, Tables};
use crate::fault::Cutover;
use crate::manager::Manager;
use crate::pg::version::Major;
use crate::scenario::logical::DECODING_ON_STANDBYS;
use crate::scenario::near::did_you_mean;
use crate::scenario::topology::NodePlan;
use crate::scenario::{Role, Scenario};

/// The longest name that PostgreSQL keeps whole.
const LONGEST: usize = 63;

pub(super) fn logical(scenario: &Scenario, findings: &mut Findings) {
    let nodes = scenario.nodes();
    for (name, publication) in &scenario.publication {
        identifier(&["publication", name], Part::Key, name, findings);
        one_publication(scenario, name, publication, &nodes, findings);
    }
    for (name, subscription) in &scenario.subscription {
        identifier(&["subscription", name], Part::Key, name, findings);
        if let Some(slot) = &subscription.slot {
            identifier(&["subscription", name, "slot"], Part::Value, slot, findings);
        }
        subscriber(scenario, name, subscription, &nodes, findings);
        publisher(scenario, name, subscription, &nodes, findings);
    }
    for (entry, node) in &scenario.node {
        let fed =
            scenario.subscriptions().iter().any(|one| nodes.iter().any(|n| n.name == one.to && n.entry == *entry));
        if node.role == Role::Subscriber && !fed && node.count != Some(0) {
            let hint = format!("add `[subscription.NAME]` with `to = \"{entry}\"` and `publications`");
            findings.key(&["node", entry], format!("the subscriber `{entry}` subscribes to nothing"), hint);
        }
    }
    slots(scenario, &nodes, findings);
    circles(scenario, &nodes, findings);
    ours(scenario, &nodes, findings);
}

/// As for slots, whose names are the strictest.
fn identifier(path: &[&str], part: Part, name: &str, findings: &mut Findings) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(plain) {
        let message = format!("`{name}` cannot be the name of a slot");
        let hint = format!("use small letters, digits and `_`, {LONGEST} at most");
        match part {
            Part::Key => findings.key(path, message, hint),
            Part::Value => findings.value(path, message, hint),
        }
    }
}

fn one_publication(
    scenario: &Scenario,
    name: &str,
    publication: &Publication,
    nodes: &[NodePlan],
    findings: &mut Findings,
) {
    let path = ["publication", name, "on"];
    let Some(node) = nodes.iter().find(|node| node.name == publication.on) else {
        let hint = no_node(&publication.on, scenario);
        return findings.value(&path, format!("there is no node `{}`", publication.on), hint);
    };
    if let (Role::Standby, Some(upstream)) = (node.role, &node.follows) {
        let message = format!("`{}` is a standby, which has the publications of the node it follows", node.name);
        findings.value(
            &path,
            message,
            format!("write `on = \"{upstream}\"`, and `from = \"{}\"` in the subscription", node.name),
        );
    }
    for (what, table, since) in publication.needs() {
        lacks(&["publication", name, "tables", &table, what], &format!("`{what}`"), node, since, findings);
    }
    let Tables::Listed(tables) = &publication.tables else { return };
    if tables.is_empty() {
        findings.value(&["publication", name, "tables"], "it publishes nothing", "name tables, or write \"all\"");
    }
    for (table, part) in tables {
        if part.columns.as_ref().is_some_and(Vec::is_empty) {
            let path = ["publication", name, "tables", table, "columns"];
            findings.value(&path, "no column is published", "name some, or leave it out for all");
        }
    }
    let written = scenario.written();
    if node.role == Role::Primary && !tables.keys().any(|table| written.iter().any(|(_, one)| one == table)) {
        let hint = match written.is_empty() {
            true => "no load writes; add one".to_owned(),
            false => {
                did_you_mean(tables.keys().next().map_or("", String::as_str), written.iter().map(|(_, table)| *table))
                    .unwrap_or_default()
            }
        };
        findings.key(&["publication", name], "no load writes any of its tables, so nothing would be replicated", hint);
    }
}

fn subscriber(
    scenario: &Scenario,
    name: &str,
    subscription: &Subscription,
    nodes: &[NodePlan],
    findings: &mut Findings,
) {
    let path = ["subscription", name, "to"];
    let mut targets = nodes.iter().filter(|node| [&node.name, &node.entry].contains(&&subscription.to)).peekable();
    if targets.peek().is_none() {
        let hint = no_node(&subscription.to, scenario);
        return findings.value(&path, format!("there is no node `{}`", subscription.to), hint);
    }
    for node in targets {
        if node.role != Role::Subscriber {
            let message = format!("`{}` is no subscriber", node.name);
            return findings.value(&path, message, "give that node `role = \"subscriber\"`");
        }
    }
    for (option, value, since) in subscription.options() {
        let ends = scenario.ends(subscription, option);
        let old = |node: &&NodePlan| ends.contains(&node.name) && node.version.is_some_and(|version| version < since);
        if let Some(node) = nodes.iter().find(old) {
            lacks(&["subscription", name, option], &format!("`{option} = {value}`"), node, since, findings);
        }
    }
}

fn publisher(
    scenario: &Scenario,
    name: &str,
    subscription: &Subscription,
    nodes: &[NodePlan],
    findings: &mut Findings,
) {
    if subscription.publications.is_empty() {
        let hint = "name one, such as `publications = [\"books\"]`";
        return findings.value(&["subscription", name, "publications"], "it subscribes to nothing", hint);
    }
    let mut on = None;
    for (i, publication) in subscription.publications.iter().enumerate() {
        let path = ["subscription", name, "publications", &i.to_string()];
        let Some(written) = scenario.publication.get(publication) else {
            let hint = match did_you_mean(publication, scenario.publication.keys().map(String::as_str)) {
                Some(hint) => hint,
                None => format!("add `[publication.{publication}]`"),
            };
            findings.value(&path, format!("there is no publication `{publication}`"), hint);
            continue;
        };
        if *on.get_or_insert(&written.on) != &written.on {
            let message =
                format!("`{publication}` is on `{}`, and another is on `{}`", written.on, on.map_or("", |on| on));
            findings.value(&path, message, "a subscription connects to one node; make two of it");
        }
    }
    let (Some(on), Some(from)) = (on, &subscription.from) else { return };
    let path = ["subscription", name, "from"];
    let Some(node) = nodes.iter().find(|node| node.name == *from) else {
        return findings.value(&path, format!("there is no node `{from}`"), no_node(from, scenario));
    };
    if head(node, nodes) != on.as_str() {
        let message = format!("`{from}` has nothing of what is published on `{on}`");
        findings.value(&path, message, format!("name `{on}` or a standby of it, or leave it out"));
    } else if node.role == Role::Standby {
        lacks(&path, "decoding on a standby", node, DECODING_ON_STANDBYS, findings);
    }
}

/// Says that a node's version lacks something, when the version is known.
fn lacks(path: &[&str], what: &str, node: &NodePlan, since: Major, findings: &mut Findings) {
    if let Some(version) = node.version.filter(|version| *version < since) {
        let message = format!("PostgreSQL {version}, which `{}` is of, has no {what}", node.name);
        findings.value(path, message, format!("it came with version {since}"));
    }
}

/// The name of the node at the head of a node's physical group.
fn head<'n>(node: &'n NodePlan, nodes: &'n [NodePlan]) -> &'n str {
    let mut head = node;
    // In a circle, which is said elsewhere, this ends anyway.
    for _ in nodes {
        match nodes.iter().find(|other| Some(&other.name) == head.follows.as_ref()) {
            Some(upstream) => head = upstream,
            None => break,
        }
    }
    &head.name
}

fn slots(scenario: &Scenario, nodes: &[NodePlan], findings: &mut Findings) {
    let all = scenario.subscriptions();
    for (i, one) in all.iter().enumerate() {
        if let Some(other) = all[..i].iter().find(|other| other.slot == one.slot && other.from == one.from) {
            let message =
                format!("`{}` and `{}` would use one slot, `{}` on `{}`", other.name, one.name, one.slot, one.from);
            let entry = scenario.subscription.keys().find(|name| one.name.starts_with(name.as_str()));
            findings.key(&["subscription", entry.map_or(&one.name, |name| name)], message, "give one another `slot`");
        }
    }
    for node in nodes.iter().filter(|node| node.slot && node.role == Role::Subscriber) {
        let hint = "leave it out: a subscription has a slot anyway";
        findings.key(&["node", &node.entry, "slot"], "a subscriber streams from nobody", hint);
    }
}

fn circles(scenario: &Scenario, nodes: &[NodePlan], findings: &mut Findings) {
    let all = scenario.subscriptions();
    let feeds = |name: &str| {
        let head = nodes.iter().find(|node| node.name == name).map(|node| head(node, nodes).to_owned());
        all.iter().filter(move |one| Some(&one.to) == head.as_ref())
    };
    for one in &all {
        let (mut way, mut next) = (vec![one.to.clone()], vec![one]);
        while let Some(step) = next.pop() {
            if step.from == one.to {
                let message = format!("`{}` feeds itself: by `{}` it gets what it has sent", one.to, one.name);
                let entry = scenario.subscription.keys().find(|name| one.name.starts_with(name.as_str()));
                let hint = "every way must begin at the primary";
                findings.key(&["subscription", entry.map_or(&one.name, |name| name)], message, hint);
                return;
            }
            if !way.contains(&step.from) {
                way.push(step.from.clone());
                next.extend(feeds(&step.from));
            }
        }
    }
}

/// A cutover is to a subscriber of the primary's, and who manages servers would be in its way.
pub(super) fn cutover(scenario: &Scenario, act: &[&str], cutover: &Cutover, findings: &mut Findings) {
    positive(&[act, &["timeout"]].concat(), cutover.timeout, findings);
    let nodes = scenario.nodes();
    let path = [act, &["to"]].concat();
    let Some(to) = nodes.iter().find(|node| node.name == cutover.to) else {
        return findings.value(&path, format!("there is no node `{}`", cutover.to), no_node(&cutover.to, scenario));
    };
    let primary = nodes.iter().find(|node| node.role == Role::Primary).map(|node| node.name.as_str());
    let own: Vec<_> = scenario.subscriptions().into_iter().filter(|one| one.to == to.name).collect();
    let of_primary = |from: &str| nodes.iter().find(|node| node.name == from).map(|node| head(node, &nodes)) == primary;
    if to.role != Role::Subscriber || own.is_empty() || own.iter().any(|one| !of_primary(&one.from)) {
        let message = format!("`{}` does not subscribe to the primary", to.name);
        findings.value(&path, message, "clients move to a node that gets what they write");
    }
    if scenario.successors().len() > 1 {
        findings.key(&[act, &["kind"]].concat(), "clients are moved twice", "one cutover is one scenario");
    }
    if !matches!(scenario.manager, Manager::None(_)) {
        let hint = "leave out `[manager]`: it would find a primary that accepts no writes";
        findings.key(&[act, &["kind"]].concat(), "a manager stands in the way of a cutover", hint);
    }
}

/// What is not built: servers of somebody else's.
fn ours(scenario: &Scenario, nodes: &[NodePlan], findings: &mut Findings) {
    for node in nodes.iter().filter(|node| node.role == Role::Subscriber) {
        if node.driver.external().is_some() {
            let hint = "subscribers are made here; leave out `external`";
            findings.key(&["node", &node.entry], format!("somebody else runs `{}`", node.name), hint);
        }
    }
    if nodes.iter().any(|node| node.driver.external().is_some()) {
        for (name, _) in scenario.load.iter().filter(|(_, load)| load.mix.books().is_some()) {
            let hint = "books are made on servers that are made here; use a mix on pgbench's tables";
            findings.value(&["load", name, "mix"], "somebody else runs these servers", hint);
        }
    }
    let outside = nodes.iter().any(|node| node.driver.external().is_some());
    if let (true, Some(name)) = (outside, scenario.publication.keys().next()) {
        let hint = "publications are made on servers that are made here";
        findings.key(&["publication", name], "somebody else runs these servers", hint);
    }
}
