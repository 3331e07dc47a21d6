//! Whether servers really run with the settings they were given.
//!
//! Texts are not compared, values are: `pg_settings` tells type and unit of a setting, and what was
//! wanted is read as the server would read it (`guc.c`), so `128MB` is confirmed by 16384 of 8 kB and
//! `yes` by `on`.

use super::node::NodeSpec;
use crate::pg::Host;
use crate::pg::settings::value::{boolean, number};
use std::collections::BTreeMap;
use std::fmt;
use tokio_postgres::Client;

/// Settings that nobody else may set, and why: the driver sets them itself, or relies on their defaults.
const RESERVED: &[(&[&str], &str)] = &[
    (
        &["port", "listen_addresses", "unix_socket_directories", "unix_socket_group", "unix_socket_permissions"],
        "each server gets an address of its own when it starts",
    ),
    (
        &["data_directory", "config_file", "hba_file", "ident_file", "external_pid_file"],
        "it lays out the data directories; `node.NAME.dir` says where one goes",
    ),
    (&["include", "include_dir", "include_if_exists"], "all settings stand in the scenario, and in its results"),
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
    (&["update_process_title"], "processes to be frozen are known by their titles"),
];

/// Why nobody but the driver may set this setting; `None`: anybody may.
pub fn reserved(name: &str) -> Option<&'static str> {
    let is_name = |reserved: &&str| reserved.eq_ignore_ascii_case(name);
    RESERVED.iter().find(|(names, _)| names.iter().any(&is_name)).map(|(_, why)| *why)
}

/// How many standbys and `pg_basebackup`s a server lets stream when its settings do not say: PostgreSQL's own
/// default, or what `nodes` servers need, each of which may come to serve all others.
fn senders(nodes: usize) -> usize {
    (nodes + 5).max(10)
}

/// What every server gets: its place, its name in process titles, and the log on standard error.
pub(super) fn of_driver(host: &Host) -> Vec<(String, String)> {
    let settings = [
        ("listen_addresses", host.host.as_str()),
        ("port", &host.port.to_string()),
        ("unix_socket_directories", ""),
        ("cluster_name", &host.node),
        ("log_destination", "stderr"),
        ("logging_collector", "off"),
        ("log_line_prefix", "%m [%p] %q%a "),
    ];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// What one of `nodes` nodes gets: what every server gets, what replication and `pg_rewind` need, then its own.
pub(super) fn of_node(spec: &NodeSpec, host: &Host, nodes: usize) -> Vec<(String, String)> {
    let mut settings = of_driver(host);
    let senders = senders(nodes).to_string();
    for (name, value) in [
        ("wal_level", "replica"),
        ("hot_standby", "on"),
        ("max_wal_senders", &senders),
        ("max_replication_slots", &senders),
        ("wal_log_hints", "on"),
    ] {
        settings.push((name.to_owned(), value.to_owned()));
    }
    settings.extend(spec.settings.iter().cloned());
    settings
}

/// A setting that a server does not confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The node.
    pub node: String,
    /// The setting.
    pub setting: String,
    /// What it was given.
    pub wanted: String,
    /// What it says; absent when it knows no such setting.
    pub found: Option<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { node, setting, wanted, found } = self;
        match found {
            Some(found) => write!(f, "node `{node}`: {setting} should be `{wanted}` and is `{found}`"),
            None => write!(f, "node `{node}`: {setting} should be `{wanted}` and is not known to the server"),
        }
    }
}

/// A row of `pg_settings`.
#[derive(Debug)]
struct Live<'a> {
    setting: &'a str,
    unit: Option<&'a str>,
    kind: &'a str,
    boot: Option<&'a str>,
}

/// Asks a server for each of `wanted` (the last of several values of one setting counts).
pub async fn verify(
    client: &Client,
    node: &str,
    wanted: &[(String, String)],
) -> Result<Vec<Mismatch>, tokio_postgres::Error> {
    let mut mismatches = Vec::new();
    for (i, (name, value)) in wanted.iter().enumerate() {
        if wanted[i + 1..].iter().any(|(later, _)| later.eq_ignore_ascii_case(name)) {
            continue;
        }
        let row = client
            .query_one(
                "SELECT current_setting($1, true), s.setting, s.unit, s.vartype, s.boot_val \
                 FROM (SELECT 1) one LEFT JOIN pg_settings s ON s.name = lower($1)",
                &[name],
            )
            .await?;
        let shown: Option<String> = row.get(0);
        let confirmed = match row.get::<_, Option<&str>>(1) {
            Some(setting) => confirms(&Live { setting, unit: row.get(2), kind: row.get(3), boot: row.get(4) }, value),
            // Of an extension's setting whose library is not loaded the server knows only the text.
            None => shown.as_deref() == Some(value),
        };
        if !confirmed {
            let (node, setting, wanted) = (node.to_owned(), name.clone(), value.clone());
            mismatches.push(Mismatch { node, setting, wanted, found: shown });
        }
    }
    Ok(mismatches)
}

fn confirms(live: &Live<'_>, wanted: &str) -> bool {
    match live.kind {
        "bool" => boolean(wanted).is_some_and(|wanted| Some(wanted) == boolean(live.setting)),
        "enum" => {
            let same_boolean = || boolean(wanted).is_some_and(|wanted| Some(wanted) == boolean(live.setting));
            live.setting.eq_ignore_ascii_case(wanted) || same_boolean()
        }
        "integer" | "real" => {
            let (Some(wanted), Ok(found)) = (number(wanted, live.unit), live.setting.parse::<f64>()) else {
                return false;
            };
            // -1 often means "work it out", and the server then shows what it worked out.
            let automatic = wanted == -1.0 && live.boot == Some("-1");
            // An integer is rounded to its unit.
            let close = if live.kind == "integer" { 0.5 } else { found.abs() * 1e-9 };
            automatic || (wanted - found).abs() <= close
        }
        _ => live.setting == wanted,
    }
}

/// The settings of a server that differ from the built-in defaults, those of its place in the lab left out.
pub async fn changed(client: &Client) -> Result<BTreeMap<String, String>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT name, current_setting(name) FROM pg_settings \
             WHERE setting IS DISTINCT FROM boot_val AND context <> 'internal' AND source <> 'client'",
            &[],
        )
        .await?;
    let pairs = rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)));
    Ok(pairs.filter(|(name, _)| reserved(name).is_none()).collect())
}

/// One map of all nodes' settings: `setting` where all agree, `node.setting` where they do not.
pub fn merged(nodes: &[(String, BTreeMap<String, String>)]) -> BTreeMap<String, String> {
    let mut merged = BTreeMap::new();
    for (node, settings) in nodes {
        for (name, value) in settings {
            if nodes.iter().all(|(_, other)| other.get(name) == Some(value)) {
                merged.insert(name.clone(), value.clone());
            } else {
                merged.insert(format!("{node}.{name}"), value.clone());
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Make;
    use crate::pg::programs::Programs;
    use crate::pg::version::Version;

    fn live<'a>(kind: &'a str, setting: &'a str, unit: &'a str) -> Live<'a> {
        Live { setting, unit: (!unit.is_empty()).then_some(unit), kind, boot: None }
    }

    #[test]
    fn settings_of_the_driver_are_known_in_any_case() {
        for name in ["port", "Include", "UPDATE_PROCESS_TITLE", "restore_command"] {
            assert!(reserved(name).is_some(), "{name}");
        }
        assert_eq!(reserved("work_mem"), None);
    }

    #[test]
    fn every_node_can_serve_all_others() {
        let spec = NodeSpec {
            name: "a".to_owned(),
            primary: true,
            follows: None,
            site: None,
            slot: false,
            priority: 100,
            settings: Vec::new(),
            dir: None,
            make: Make::Process(Programs { dir: "/".into(), version: Version { major: 15, minor: 0 } }),
            limits: Default::default(),
            disk: None,
        };
        let host = Host::new("a", "127.0.0.1", 1);
        for (nodes, senders) in [(1, "10"), (5, "10"), (12, "17")] {
            for setting in ["max_wal_senders", "max_replication_slots"] {
                let wanted = (setting.to_owned(), senders.to_owned());
                assert!(of_node(&spec, &host, nodes).contains(&wanted), "{setting} of {nodes} nodes");
            }
        }
    }

    #[test]
    fn what_all_nodes_agree_on_is_said_once() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let nodes =
            [("a".to_owned(), map(&[("x", "1"), ("y", "2")])), ("b".to_owned(), map(&[("x", "1"), ("y", "3")]))];
        assert_eq!(merged(&nodes), map(&[("x", "1"), ("a.y", "2"), ("b.y", "3")]));
    }

    #[test]
    fn compares_values_and_not_texts() {
        for (kind, setting, unit, wanted) in [
            ("integer", "16384", "8kB", "128MB"),
            ("integer", "16384", "8kB", "131072kB"),
            ("integer", "16384", "8kB", "16384"),
            ("integer", "1024", "MB", "1GB"),
            ("integer", "300", "s", "5min"),
            ("integer", "100", "", "1e2"),
            ("real", "0.9", "", ".9"),
            ("real", "20", "ms", "0.02s"),
            ("bool", "on", "", "YES"),
            ("enum", "on", "", "true"),
            ("enum", "remote_apply", "", "Remote_Apply"),
            ("string", "ANY 1 (\"s1\")", "", "ANY 1 (\"s1\")"),
        ] {
            assert!(confirms(&live(kind, setting, unit), wanted), "{kind} {setting} {unit} against {wanted}");
        }
    }

    #[test]
    fn a_difference_is_seen() {
        for (kind, setting, unit, wanted) in [
            ("integer", "16384", "8kB", "64MB"),
            ("integer", "16384", "8kB", "128 MiB"),
            ("integer", "16384", "8kB", "16385"),
            ("bool", "on", "", "off"),
            ("bool", "on", "", "o"),
            ("enum", "local", "", "on"),
            ("string", "", "", "ANY 1 (s1)"),
        ] {
            assert!(!confirms(&live(kind, setting, unit), wanted), "{kind} {setting} {unit} against {wanted}");
        }
        let automatic = Live { setting: "512", unit: Some("8kB"), kind: "integer", boot: Some("-1") };
        assert!(confirms(&automatic, "-1") && !confirms(&automatic, "4kB"));
    }
}
