//! The settings of a clone's server. Those that keep it to itself are given on its command line, which goes over all
//! files: over what was copied with it, and over `postgresql.auto.conf`.

use super::facts::SourceFacts;
use super::recipe::Recipe;
use crate::pg::Host;
use crate::pg::control_file::ControlFile;
use crate::pg::settings::{missing, wrong};
use crate::pg::version::Major;
use std::path::Path;

/// Settings that keep a clone from acting on the world of its source. Nobody may set them otherwise.
const GUARDS: &[(&str, &str)] = &[
    // The source's archive takes the clone's WAL for its own: identifier and timeline are the same.
    ("archive_mode", "off"),
    ("archive_command", ""),
    ("archive_library", ""),
    ("archive_cleanup_command", ""),
    ("restore_command", ""),
    ("recovery_end_command", ""),
    ("promote_trigger_file", ""),
    ("recovery_target", ""),
    ("recovery_target_lsn", ""),
    ("recovery_target_name", ""),
    ("recovery_target_time", ""),
    ("recovery_target_xid", ""),
    ("recovery_target_timeline", "latest"),
    // It would be another standby of the source's primary, perhaps one that is waited for.
    ("primary_conninfo", ""),
    ("primary_slot_name", ""),
    ("synchronous_standby_names", ""),
    ("synchronized_standby_slots", ""),
    ("sync_replication_slots", "off"),
    ("max_wal_senders", "0"),
    // A subscriber's clone would take the slot on the publisher, and with it the subscriber's changes.
    ("max_logical_replication_workers", "0"),
    ("summarize_wal", "off"),
    // Sessions load what a database or a role asks for nevertheless; that is said.
    ("session_preload_libraries", ""),
    ("local_preload_libraries", ""),
    ("external_pid_file", ""),
    ("ssl", "off"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("restart_after_crash", "off"),
];

/// Settings that are the driver's, or that [`Recipe::preload`] stands for.
const OWN: &[&str] = &[
    "listen_addresses",
    "port",
    "unix_socket_directories",
    "unix_socket_permissions",
    "unix_socket_group",
    "cluster_name",
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "shared_preload_libraries",
    "include",
    "include_dir",
    "include_if_exists",
];

/// What a server gets that nobody's data depend on, and that is to be there at once.
const FAST: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("shared_buffers", "32MB"),
    // On a file system that copies what is written, old segments are no gain.
    ("wal_init_zero", "off"),
    ("wal_recycle", "off"),
    ("log_line_prefix", "%m [%p] %q%a "),
    ("log_timezone", "UTC"),
    // What the log says of the last transaction is read.
    ("lc_messages", "C"),
];

/// Fewer connections than this leave none beside the reserved ones.
const LEAST_CONNECTIONS: i32 = 20;
/// `max_replication_slots` of a source that could not be asked: the server's default.
const SLOTS: &str = "10";

/// Whether nobody but the engine may set this setting of a clone.
pub fn is_reserved(name: &str) -> bool {
    let same = |other: &&str| other.eq_ignore_ascii_case(name);
    OWN.iter().any(same) || GUARDS.iter().any(|(guard, _)| same(guard))
}

/// What of the settings that a recipe asks for a server of this version would not take, or not be given.
pub fn problems(recipe: &Recipe, major: Major) -> Vec<String> {
    let problem = |(name, value): (&String, &String)| {
        if is_reserved(name) {
            return Some(format!("`{name}` cannot be set: it keeps the clone to itself, or tells it where it lies"));
        }
        let missing = missing(name, major).map(|missing| format!("{missing}\nhint: {}", missing.hint()));
        missing
            .or_else(|| wrong(name, value, Some(major)).map(|wrong| format!("{}\nhint: {}", wrong.message, wrong.hint)))
    };
    recipe.settings.iter().filter_map(problem).collect()
}

/// What is known of a clone when its settings are made.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What was asked for.
    pub recipe: &'a Recipe,
    /// Its version.
    pub major: Major,
    /// Its control file.
    pub control: &'a ControlFile,
    /// What the source said; nothing of one that did not run.
    pub source: Option<&'a SourceFacts>,
    /// Where it listens.
    pub host: &'a Host,
    /// The address on which it listens, if on any.
    pub address: Option<&'a str>,
    /// The directory of its Unix socket, if it has one.
    pub socket: Option<&'a Path>,
    /// Its data directory, as its server sees it.
    pub data: &'a Path,
}

/// Libraries of the source that the clone preloads, and those that it does not.
pub fn preloaded(recipe: &Recipe, source: Option<&SourceFacts>) -> (Vec<String>, Vec<String>) {
    let all = source.map(|source| source.libraries("shared_preload_libraries")).unwrap_or_default();
    all.into_iter().partition(|library| recipe.preload.contains(library))
}

/// All settings of the command line; later ones go over earlier ones.
pub fn arguments(wanted: &Wanted<'_>) -> Vec<(String, String)> {
    let mut settings: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| {
        if missing(name, wanted.major).is_none() {
            settings.push((name.to_owned(), value.to_owned()));
        }
    };
    FAST.iter().for_each(|(name, value)| set(name, value));
    set("autovacuum", if wanted.recipe.autovacuum { "on" } else { "off" });
    let control = wanted.control;
    set("wal_level", control.wal_level.name());
    set("max_connections", &control.max_connections.max(LEAST_CONNECTIONS).to_string());
    for (name, value) in [
        ("max_worker_processes", control.max_worker_processes),
        ("max_prepared_transactions", control.max_prepared_transactions),
        ("max_locks_per_transaction", control.max_locks_per_transaction),
    ] {
        set(name, &value.to_string());
    }
    set("track_commit_timestamp", if control.track_commit_timestamp { "on" } else { "off" });
    // Recovery has a place for each origin from which changes came, and there are as many as these.
    for name in ["max_replication_slots", "max_active_replication_origins"] {
        set(name, wanted.source.and_then(|source| source.setting(name)).unwrap_or(SLOTS));
    }
    settings.extend(wanted.recipe.settings.clone());
    let mut set = |name: &str, value: &str| {
        if missing(name, wanted.major).is_none() {
            settings.push((name.to_owned(), value.to_owned()));
        }
    };
    let (preload, _) = preloaded(wanted.recipe, wanted.source);
    set("shared_preload_libraries", &preload.join(","));
    GUARDS.iter().for_each(|(name, value)| set(name, value));
    set("cluster_name", &wanted.host.node);
    set("listen_addresses", wanted.address.unwrap_or_default());
    set("port", &wanted.host.port.to_string());
    set("unix_socket_directories", &wanted.socket.map(|dir| dir.to_string_lossy()).unwrap_or_default());
    set("unix_socket_permissions", "0700");
    set("unix_socket_group", "");
    for (name, file) in [("hba_file", HBA), ("ident_file", IDENT)] {
        set(name, &wanted.data.join(file).to_string_lossy());
    }
    settings
}

/// The clone's own host-based authentication.
pub const HBA: &str = "pg_hba.conf";
/// The clone's own map of user names.
pub const IDENT: &str = "pg_ident.conf";

/// The settings of the clone's `postgresql.conf`: those of its source by which queries are planned and answered, then
/// those of the command line, for whoever starts it without us.
pub fn conf(wanted: &Wanted<'_>) -> Vec<(String, String)> {
    let carried = wanted.source.map(|source| &source.carried);
    let carried = carried.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
    carried.chain(arguments(wanted)).collect()
}

/// Who may log in: everybody over the Unix socket, whose directory is for the server's user alone; with a password from
/// this machine and from the server's own networks. Nobody for replication.
pub fn hba(socket: bool) -> String {
    let mut lines = String::new();
    if socket {
        lines.push_str("local all all trust\n");
    }
    for address in ["127.0.0.1/32", "::1/128", "samenet"] {
        // Takes passwords that are kept as SCRAM's, too.
        lines.push_str(&format!("host all all {address} md5\n"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::empty;
    use super::*;
    use crate::pg::control_file::tests::bytes;

    fn control() -> ControlFile {
        let numbers = [(180usize, 3i32), (184, 8), (192, 5), (196, 64)].map(|(at, n)| (at, n.to_ne_bytes()));
        let level = 2u32.to_ne_bytes();
        let mut set: Vec<(usize, &[u8])> = numbers.iter().map(|(at, bytes)| (*at, &bytes[..])).collect();
        set.push((172, &level));
        ControlFile::decode(&bytes(1300, &set)).unwrap()
    }

    fn last<'a>(settings: &'a [(String, String)], name: &str) -> Option<&'a str> {
        settings.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn of(major: u32, recipe: &Recipe, source: Option<&SourceFacts>) -> Vec<(String, String)> {
        let host = Host::new("c1", "/run/c1", 5433);
        let control = control();
        let (socket, data) = (Some(Path::new("/run/c1")), Path::new("/clones/c1/data"));
        arguments(&Wanted {
            recipe,
            major: Major(major),
            control: &control,
            source,
            host: &host,
            address: None,
            socket,
            data,
        })
    }

    #[test]
    fn nothing_goes_over_a_guard() {
        let mut recipe = Recipe::default();
        recipe.settings.insert("archive_mode".to_owned(), "on".to_owned());
        recipe.settings.insert("work_mem".to_owned(), "1GB".to_owned());
        recipe.settings.insert("fsync".to_owned(), "on".to_owned());
        let settings = of(15, &recipe, None);
        assert_eq!((last(&settings, "archive_mode"), last(&settings, "work_mem")), (Some("off"), Some("1GB")));
        assert_eq!((last(&settings, "fsync"), last(&settings, "primary_conninfo")), (Some("on"), Some("")));
        for name in ["archive_mode", "Primary_Conninfo", "port", "include", "shared_preload_libraries"] {
            assert!(is_reserved(name), "{name}");
        }
        assert_eq!(problems(&recipe, Major(15)).len(), 1);
        recipe.settings.insert("summarize_wal".to_owned(), "on".to_owned());
        recipe.settings.insert("io_method".to_owned(), "sync".to_owned());
        recipe.settings.insert("work_mem".to_owned(), "much".to_owned());
        let problems = problems(&recipe, Major(15)).join("\n");
        assert!(problems.contains("`io_method` does not exist in PostgreSQL 15; 18 and later have it"), "{problems}");
        assert!(problems.contains("`summarize_wal` cannot be set") && problems.contains("`much`"), "{problems}");
        assert!(!is_reserved("work_mem") && !is_reserved("shared_buffers"));
    }

    #[test]
    fn each_version_gets_what_it_has() {
        for (name, versions) in [
            ("archive_library", 15..=18),
            ("promote_trigger_file", 13..=15),
            ("sync_replication_slots", 17..=18),
            ("max_active_replication_origins", 18..=18),
            ("restore_command", 13..=18),
        ] {
            for major in 13..=18 {
                let there = last(&of(major, &Recipe::default(), None), name).is_some();
                assert_eq!(there, versions.contains(&major), "{name} in {major}");
            }
        }
    }

    #[test]
    fn what_recovery_needs_is_that_of_the_source() {
        let mut source = empty();
        source.asked.insert("max_replication_slots".to_owned(), "40".to_owned());
        source.asked.insert("shared_preload_libraries".to_owned(), "pg_cron,auto_explain".to_owned());
        let recipe = Recipe { preload: vec!["auto_explain".to_owned(), "other".to_owned()], ..Recipe::default() };
        let settings = of(15, &recipe, Some(&source));
        for (name, value) in [
            ("wal_level", "logical"),
            ("max_connections", "20"),
            ("max_prepared_transactions", "5"),
            ("max_replication_slots", "40"),
            ("shared_preload_libraries", "auto_explain"),
            ("unix_socket_directories", "/run/c1"),
            ("listen_addresses", ""),
            ("hba_file", "/clones/c1/data/pg_hba.conf"),
        ] {
            assert_eq!(last(&settings, name), Some(value), "{name}");
        }
        assert_eq!(preloaded(&recipe, Some(&source)).1, ["pg_cron"]);
        assert_eq!(last(&of(15, &recipe, None), "shared_preload_libraries"), Some(""));
    }
}
