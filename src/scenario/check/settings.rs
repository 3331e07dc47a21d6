//! PostgreSQL's settings: those that are the driver's own, those that a version does not have or would not take, and
//! those that make no sense together. What cannot be judged from the table of settings (those of extensions, texts)
//! is for the server to say; it is asked before a trial.

use super::{Findings, versions};
use crate::cluster::settings::reserved;
use crate::pg::standby_names::StandbyNames;
use crate::pg::synchronous_commit;
use crate::scenario::near::list;
use crate::scenario::topology::NodePlan;
use crate::scenario::{Role, Scenario, Settings};

pub(super) fn settings(scenario: &Scenario, findings: &mut Findings) {
    written(&["postgres", "settings"], &scenario.postgres.settings, findings);
    for (entry, node) in &scenario.node {
        written(&["node", entry, "settings"], &node.settings, findings);
    }
    let nodes = scenario.nodes();
    versions::settings(scenario, &nodes, findings);
    for node in &nodes {
        synchronous(scenario, node, &nodes, findings);
        senders(scenario, node, &nodes, findings);
    }
}

/// Where a node's setting is written: its own, or that of all.
pub(super) fn path_of<'a>(scenario: &'a Scenario, node: &'a NodePlan, setting: &'a str) -> Vec<&'a str> {
    match scenario.node.get(&node.entry) {
        Some(entry) if entry.settings.contains_key(setting) => vec!["node", &node.entry, "settings", setting],
        _ => vec!["postgres", "settings", setting],
    }
}

/// Whether this can be a setting's name.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.$".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(plain)
}

fn written(table: &[&str], settings: &Settings, findings: &mut Findings) {
    for (name, value) in settings {
        let path = [table, &[name.as_str()]].concat();
        let lower = name.to_lowercase();
        if let Some(why) = reserved(name) {
            findings.key(&path, format!("`{name}` is not for a scenario to set"), format!("leave it out: {why}"));
        }
        if lower != *name {
            findings.key(&path, format!("`{name}` is not how settings are written"), format!("write `{lower}`"));
        }
        if !is_plain(name) {
            findings.key(
                &path,
                format!("`{name}` cannot be a setting"),
                "such as `work_mem`, or `auto_explain.log_nested`",
            );
        }
        let text = value.to_string();
        if text.contains(['\n', '\r', '\0']) {
            findings.value(&path, format!("the value of `{name}` has several lines"), "write it on one line");
        }
    }
}

fn synchronous(scenario: &Scenario, node: &NodePlan, nodes: &[NodePlan], findings: &mut Findings) {
    let names = node.settings.get("synchronous_standby_names").map_or("", String::as_str);
    let path = path_of(scenario, node, "synchronous_standby_names");
    let names = match StandbyNames::parse(names) {
        Ok(names) => names,
        Err(why) => {
            let hint = "write `FIRST n (names)`, `ANY n (names)` or a list of names, such as `ANY 1 (@nodes)`";
            return findings.value(&path, why, hint);
        }
    };
    let commit = node.settings.get("synchronous_commit");
    let waits = commit.map_or(Some(true), |commit| synchronous_commit::waits_for_standbys(commit));
    if let Some(names) = &names {
        synchronous_names(names, waits != Some(false), &path, node, nodes, findings);
    }
    let Some(commit) = commit else { return };
    let path = path_of(scenario, node, "synchronous_commit");
    if waits.is_none() {
        let hint = format!("it can be {}", list(synchronous_commit::LEVELS));
        findings.value(&path, format!("`{commit}` is no value of `synchronous_commit`"), hint);
    }
    if names.is_none() && commit.to_lowercase().starts_with("remote_") {
        findings.value(
            &path,
            format!("`{commit}` without synchronous standbys waits for nobody: it means `local`"),
            "name them: `synchronous_standby_names = \"ANY 1 (@nodes)\"`, or write what it means",
        );
    }
}

fn synchronous_names(
    names: &StandbyNames,
    waits: bool,
    path: &[&str],
    node: &NodePlan,
    nodes: &[NodePlan],
    findings: &mut Findings,
) {
    let all = || nodes.iter().map(|node| node.name.as_str());
    for name in &names.names {
        if name != "*" && !nodes.iter().any(|node| node.name.eq_ignore_ascii_case(name)) {
            let message = format!("`synchronous_standby_names` has `{name}`, which is no node");
            findings.value(path, message, format!("the nodes are {}; `@nodes` stands for all of them", list(all())));
        }
    }
    if waits && node.role == Role::Primary {
        let followers = nodes.iter().filter(|other| other.follows.as_deref() == Some(&node.name));
        let able = followers.filter(|follower| names.contains(&follower.name)).count();
        if able < names.count as usize {
            let streams = if able == 1 { "1 of these streams" } else { &format!("{able} of these stream") };
            findings.value(
                path,
                format!(
                    "commits would wait for ever: {} must confirm, and {streams} from `{}`",
                    names.count, node.name
                ),
                "name as many standbys that follow the primary, or set it to an empty string where there are none",
            );
        }
    }
}

/// A node that others stream from must be able to serve them.
fn senders(scenario: &Scenario, node: &NodePlan, nodes: &[NodePlan], findings: &mut Findings) {
    let followers = nodes.iter().filter(|other| other.follows.as_deref() == Some(&node.name)).count();
    if followers == 0 {
        return;
    }
    if node.settings.get("wal_level").is_some_and(|level| level == "minimal") {
        let path = path_of(scenario, node, "wal_level");
        findings.value(&path, "with `minimal` nobody can stream", "write `replica` or `logical`");
    }
    for setting in ["max_wal_senders", "max_replication_slots"] {
        let slots = nodes.iter().any(|other| other.slot && other.follows.as_deref() == Some(&node.name));
        let needed = setting == "max_wal_senders" || slots;
        let Some(limit) = node.settings.get(setting).and_then(|limit| limit.parse::<usize>().ok()) else { continue };
        if needed && limit < followers {
            let message = format!("`{setting}` is {limit}, and {followers} standbys stream from `{}`", node.name);
            findings.value(&path_of(scenario, node, setting), message, "leave it out, or raise it");
        }
    }
}
