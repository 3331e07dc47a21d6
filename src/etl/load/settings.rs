//! How a load is done.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a load is done: a scenario's `[data.NAME.load]`, and the flags of `pgbench-rs load`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Connections that load at the same time, each a table or a part of one; absent: as many as this machine has CPUs.
    pub streams: Option<u32>,
    /// Of how many of them a single table's rows may come, where the source can part them. More than one excludes
    /// `freeze`, which wants the transaction that created the table.
    pub streams_per_table: u32,
    /// Whether there are primary keys.
    pub primary_keys: bool,
    /// What comes of references between tables.
    pub foreign_keys: ForeignKeys,
    /// When primary keys and indexes are built, or that there are no indexes (but primary keys, after the copy).
    pub indexes: Indexes,
    /// What follows at the end, table by table.
    pub analyze: Analyze,
    /// Whether rows are frozen as they come (`COPY … FREEZE`).
    pub freeze: bool,
    /// What becomes of the tables that are there already.
    pub existing: Existing,
    /// More rejected rows than this fail the load.
    pub max_rejects: u64,
    /// Settings of the sessions that load.
    pub session: BTreeMap<String, String>,
    /// Settings of the whole server for the time of the load, by `ALTER SYSTEM`, taken back at its end. Those that need a
    /// restart are refused.
    pub server: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            streams: None,
            streams_per_table: 1,
            primary_keys: true,
            foreign_keys: ForeignKeys::None,
            indexes: Indexes::After,
            analyze: Analyze::Vacuum,
            freeze: true,
            existing: Existing::Fail,
            max_rejects: 100_000,
            // No asynchronous commit: a table that is complete stays, and there are few commits to wait for.
            session: [("maintenance_work_mem".to_owned(), "256MB".to_owned())].into(),
            server: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Connections that load at the same time.
    pub fn streams(&self) -> usize {
        match self.streams {
            Some(streams) => streams.max(1) as usize,
            None => std::thread::available_parallelism().map_or(2, usize::from),
        }
    }
}

/// What comes of references between tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignKeys {
    /// Nothing.
    #[default]
    None,
    /// Foreign keys, after all tables; rows that refer to nothing are rejected.
    Checked,
    /// Foreign keys `NOT VALID`: rows that refer to nothing stay.
    NotValid,
}

/// When primary keys and indexes are built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Indexes {
    /// After the table's copy, in its transaction.
    #[default]
    After,
    /// Before it, so that each row goes into them as it comes.
    Before,
    /// There are no indexes.
    None,
}

/// What follows at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Analyze {
    /// `VACUUM (ANALYZE)`.
    #[default]
    Vacuum,
    /// `ANALYZE`.
    Analyze,
    /// Nothing.
    None,
}

/// What becomes of tables that are there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// The load fails.
    #[default]
    Fail,
    /// Those that a load of the same data completed stay, and one that it began is made anew; others fail the load.
    Resume,
    /// They are dropped.
    Drop,
}
