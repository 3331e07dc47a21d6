//! What a server is that is to be cloned: asked over SQL, in one question.

use crate::pg::Lsn;
use crate::pg::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio_postgres::{Client, Row, Statement};

/// Settings that decide something here, or of which is said what became of them.
const ASKED: &[&str] = &[
    "archive_command",
    "archive_library",
    "archive_mode",
    "config_file",
    "data_directory",
    "external_pid_file",
    "fsync",
    "full_page_writes",
    "hba_file",
    "ident_file",
    "max_active_replication_origins",
    "max_replication_slots",
    "primary_conninfo",
    "restore_command",
    "session_preload_libraries",
    "shared_preload_libraries",
    "synchronous_standby_names",
    "wal_level",
];

/// Settings that a clone gets from its source, so that its queries are planned and answered as there; with all of
/// [`CARRIED_CATEGORIES`].
const CARRIED: &[&str] =
    &["hash_mem_multiplier", "maintenance_work_mem", "standard_conforming_strings", "temp_buffers", "work_mem"];

/// As `pg_settings` has them. What it has of preloaded libraries is a category of its own.
const CARRIED_CATEGORIES: &[&str] = &[
    "Query Tuning",
    "Client Connection Defaults / Statement Behavior",
    "Client Connection Defaults / Locale and Formatting",
    "Client Connection Defaults / Other Defaults",
];

/// Settings of those categories that mean nothing in a clone, or that it has of its own.
const NOT_CARRIED: &[&str] = &["default_tablespace", "temp_tablespaces", "session_replication_role", "lc_messages"];

/// Settings that may hold a password: of them it is only kept that they are set.
const SECRET: &[&str] = &["archive_command", "archive_library", "primary_conninfo", "restore_command"];

/// What a source said of itself. There is no secret in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFacts {
    /// Its version.
    pub version: Version,
    /// Which cluster it is; standbys and clones have the same.
    pub system_identifier: u64,
    /// It is a standby, or recovers.
    pub in_recovery: bool,
    /// What was flushed to the WAL when it was asked; of a standby, what was replayed.
    pub lsn: Lsn,
    /// Its clock when it was asked.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub at: jiff::Timestamp,
    /// Its port.
    pub port: u16,
    /// When its postmaster started, in seconds since 1970.
    pub started: i64,
    /// Its `postmaster.pid` as it reads it itself; absent when the role may not ask.
    #[serde(skip)]
    pub pidfile: Option<String>,
    /// Settings that decide something, or of which is said what became of them; what the role may not see is absent.
    pub asked: BTreeMap<String, String>,
    /// Settings that the clone gets, too, in the units of `pg_settings`.
    pub carried: BTreeMap<String, String>,
    /// Tablespaces that lie outside the data directory, with where.
    pub tablespaces: Vec<String>,
    /// Replication slots, which no clone gets.
    pub slots: Vec<String>,
    /// Subscriptions, which no clone follows.
    pub subscriptions: Vec<String>,
    /// Databases and roles that load libraries in their sessions (`ALTER DATABASE`, `ALTER ROLE`).
    pub loads: Vec<String>,
    /// A superuser who may log in.
    pub superuser: Option<String>,
}

fn as_text<S: serde::Serializer>(at: &jiff::Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(at)
}

fn from_text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<jiff::Timestamp, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

impl SourceFacts {
    /// The question on `client`, to be asked again and again.
    pub(super) async fn prepare(client: &Client) -> Result<Statement, tokio_postgres::Error> {
        client.prepare(&question()).await
    }

    /// Asks it.
    pub(super) async fn ask(client: &Client, question: &Statement) -> Result<SourceFacts, tokio_postgres::Error> {
        SourceFacts::read(&client.query_one(question, &[]).await?)
    }

    fn read(row: &Row) -> Result<SourceFacts, tokio_postgres::Error> {
        let number: i32 = row.try_get("version")?;
        let lsn: String = row.try_get("lsn")?;
        let micros: i64 = row.try_get("at")?;
        let pairs = |names: &str, values: &str| -> Result<BTreeMap<String, String>, tokio_postgres::Error> {
            let (names, values): (Vec<String>, Vec<String>) = (row.try_get(names)?, row.try_get(values)?);
            Ok(names.into_iter().zip(values).collect())
        };
        let port: i32 = row.try_get("port")?;
        let mut asked = pairs("asked_names", "asked_values")?;
        for (name, value) in &mut asked {
            if SECRET.contains(&name.as_str()) && !value.is_empty() {
                *value = "****".to_owned();
            }
        }
        Ok(SourceFacts {
            version: Version { major: number as u32 / 10_000, minor: number as u32 % 10_000 },
            system_identifier: row.try_get::<_, i64>("system_identifier")? as u64,
            in_recovery: row.try_get("in_recovery")?,
            lsn: lsn.parse().unwrap_or_default(),
            at: jiff::Timestamp::from_microsecond(micros).unwrap_or_default(),
            port: port as u16,
            started: row.try_get("started")?,
            pidfile: row.try_get("pidfile")?,
            asked,
            carried: pairs("carried_names", "carried_values")?,
            tablespaces: row.try_get("tablespaces")?,
            slots: row.try_get("slots")?,
            subscriptions: row.try_get("subscriptions")?,
            loads: row.try_get("loads")?,
            superuser: row.try_get("superuser")?,
        })
    }

    /// A setting of [`ASKED`], when it is set to anything.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.asked.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a setting of [`ASKED`] is on; so is what is not known to be off.
    pub fn is_on(&self, name: &str) -> bool {
        self.setting(name) != Some("off")
    }

    /// The names in a setting that is a list of libraries.
    pub fn libraries(&self, name: &str) -> Vec<String> {
        let trimmed = |name: &str| name.trim().trim_matches('"').to_owned();
        self.setting(name).unwrap_or_default().split(',').map(trimmed).filter(|name| !name.is_empty()).collect()
    }
}

/// All of it in one statement, which looks at `pg_settings` once.
fn question() -> String {
    let list = |names: &[&str]| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let categories: Vec<String> = CARRIED_CATEGORIES.iter().map(|name| format!("category LIKE '{name}%'")).collect();
    let carried = format!(
        // What this session has set for itself is no setting of the server's.
        "setting IS DISTINCT FROM boot_val AND context <> 'internal' AND source NOT IN ('client', 'session') \
         AND (name IN ({}) OR {}) AND name NOT IN ({})",
        list(CARRIED),
        categories.join(" OR "),
        list(NOT_CARRIED),
    );
    let asked = format!("name IN ({})", list(ASKED));
    let of = |what: &str, which: &str| {
        format!("coalesce((SELECT array_agg({what} ORDER BY name) FROM settings WHERE {which}), '{{}}')")
    };
    format!(
        "WITH settings AS MATERIALIZED (SELECT name, coalesce(setting, '') AS setting, {asked} AS asked, \
         ({carried}) IS TRUE AS carried FROM pg_settings) \
         SELECT current_setting('server_version_num')::int AS version, \
         (SELECT system_identifier FROM pg_control_system()) AS system_identifier, \
         pg_is_in_recovery() AS in_recovery, \
         CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0'::pg_lsn) \
              ELSE pg_current_wal_flush_lsn() END::text AS lsn, \
         (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at, \
         current_setting('port')::int AS port, \
         extract(epoch FROM pg_postmaster_start_time())::bigint AS started, \
         CASE WHEN has_function_privilege('pg_read_file(text)', 'execute') \
              THEN pg_read_file('postmaster.pid') END AS pidfile, \
         {} AS asked_names, {} AS asked_values, {} AS carried_names, {} AS carried_values, \
         ARRAY(SELECT spcname::text || ' at ' || pg_tablespace_location(oid) FROM pg_tablespace \
               WHERE pg_tablespace_location(oid) LIKE '/%' ORDER BY 1) AS tablespaces, \
         ARRAY(SELECT slot_name::text FROM pg_replication_slots WHERE NOT temporary ORDER BY 1) AS slots, \
         ARRAY(SELECT subname::text FROM pg_subscription ORDER BY 1) AS subscriptions, \
         ARRAY(SELECT concat_ws(' of ', coalesce(r.rolname, 'everybody'), d.datname) FROM pg_db_role_setting s \
               LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase \
               WHERE array_to_string(s.setconfig, ',') ~ '(session|local)_preload_libraries=' ORDER BY 1) AS loads, \
         (SELECT rolname::text FROM pg_roles WHERE rolsuper AND rolcanlogin \
          ORDER BY rolname = current_user DESC, oid LIMIT 1) AS superuser",
        of("name", "asked"),
        of("setting", "asked"),
        of("name", "carried"),
        of("setting", "carried"),
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn libraries_are_named_with_and_without_quotes() {
        let mut facts = empty();
        facts.asked.insert("shared_preload_libraries".to_owned(), r#"pg_cron, "pg_stat_statements" ,"#.to_owned());
        assert_eq!(facts.libraries("shared_preload_libraries"), ["pg_cron", "pg_stat_statements"]);
        assert!(facts.libraries("session_preload_libraries").is_empty());
        assert!(facts.is_on("fsync"), "what is not known is not taken to be off");
    }

    pub fn empty() -> SourceFacts {
        SourceFacts {
            version: Version { major: 15, minor: 1 },
            system_identifier: 1,
            in_recovery: false,
            lsn: Lsn(0),
            at: jiff::Timestamp::UNIX_EPOCH,
            port: 5432,
            started: 0,
            pidfile: None,
            asked: BTreeMap::new(),
            carried: BTreeMap::new(),
            tablespaces: Vec::new(),
            slots: Vec::new(),
            subscriptions: Vec::new(),
            loads: Vec::new(),
            superuser: None,
        }
    }
}
