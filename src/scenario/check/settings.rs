//! PostgreSQL's settings: those that are the laboratory's own, and those that make no sense together.
//! Whether a setting exists and takes its value is for the server to say; it is asked before a trial.

use super::Findings;
use crate::pg::standby_names::StandbyNames;
use crate::scenario::near::list;
use crate::scenario::topology::NodePlan;
use crate::scenario::{Role, Scenario, Settings};

/// Settings that a scenario cannot have, and why.
const OWNED: &[(&[&str], &str)] = &[
    (
        &["port", "listen_addresses", "unix_socket_directories", "unix_socket_group", "unix_socket_permissions"],
        "each server gets an address of its own when it starts",
    ),
    (
        &["data_directory", "config_file", "hba_file", "ident_file", "external_pid_file"],
        "it lays out the data directories; `node.NAME.dir` says where one goes",
    ),
    (
        &["primary_conninfo", "primary_slot_name", "cluster_name"],
        "it follows from `follows` and `slot`, and changes when a standby is repointed",
    ),
    (
        &["logging_collector", "log_destination", "log_directory", "log_filename", "event_source"],
        "the servers' logs are kept with the results",
    ),
    (
        &[
            "restore_command",
            "archive_cleanup_command",
            "recovery_end_command",
            "recovery_target",
            "recovery_target_action",
            "recovery_target_inclusive",
            "recovery_target_lsn",
            "recovery_target_name",
            "recovery_target_time",
            "recovery_target_timeline",
            "recovery_target_xid",
            "promote_trigger_file",
        ],
        "a standby streams until it is promoted",
    ),
    (&["hot_standby"], "standbys are observed by connecting to them"),
];

/// What PostgreSQL takes for `synchronous_commit`.
const SYNCHRONOUS_COMMIT: [&str; 11] =
    ["off", "local", "remote_write", "on", "remote_apply", "true", "false", "yes", "no", "1", "0"];

pub(super) fn settings(scenario: &Scenario, findings: &mut Findings) {
    written(&["postgres", "settings"], &scenario.postgres.settings, findings);
    for (entry, node) in &scenario.node {
        written(&["node", entry, "settings"], &node.settings, findings);
    }
    let nodes = scenario.nodes();
    for node in &nodes {
        synchronous(scenario, node, &nodes, findings);
        senders(scenario, node, &nodes, findings);
    }
}

/// Where a node's setting is written: its own, or that of all.
fn path_of<'a>(scenario: &'a Scenario, node: &'a NodePlan, setting: &'a str) -> Vec<&'a str> {
    match scenario.node.get(&node.entry) {
        Some(entry) if entry.settings.contains_key(setting) => vec!["node", &node.entry, "settings", setting],
        _ => vec!["postgres", "settings", setting],
    }
}

fn written(table: &[&str], settings: &Settings, findings: &mut Findings) {
    for (name, value) in settings {
        let path = [table, &[name.as_str()]].concat();
        let lower = name.to_lowercase();
        if let Some((_, why)) = OWNED.iter().find(|(names, _)| names.contains(&lower.as_str())) {
            findings.key(&path, format!("`{name}` is set by the laboratory itself"), format!("leave it out: {why}"));
        }
        if lower != *name {
            findings.key(&path, format!("`{name}` is not how settings are written"), format!("write `{lower}`"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.$".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || !name.chars().all(plain) {
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
    if let Some(names) = &names {
        synchronous_names(names, &path, node, nodes, findings);
    }
    let Some(commit) = node.settings.get("synchronous_commit") else { return };
    let path = path_of(scenario, node, "synchronous_commit");
    if !SYNCHRONOUS_COMMIT.contains(&commit.to_lowercase().as_str()) {
        let hint = format!("it can be {}", list(SYNCHRONOUS_COMMIT[..5].iter().copied()));
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
    if node.role == Role::Primary {
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
