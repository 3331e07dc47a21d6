//! What a load did.

use crate::etl::source::Digest;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// A load that went well. Times are in seconds where it is written.
#[derive(Clone, Debug, Serialize)]
pub struct Loaded {
    /// [What](crate::etl::source::Source::name) was loaded.
    pub source: &'static str,
    /// Its tables, in the source's order.
    pub tables: Vec<LoadedTable>,
    /// From the first statement to the last.
    #[serde(serialize_with = "seconds")]
    pub total: Duration,
    /// WAL that the server wrote meanwhile, for whomever, in bytes.
    pub wal_bytes: u64,
    /// Connections that loaded.
    pub streams: usize,
    /// What the user should know: a setting that had no effect, one that an earlier load left and that was taken back.
    pub notes: Vec<String>,
}

/// What was done for one table. What was not done has no time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LoadedTable {
    /// Its name.
    pub name: String,
    /// Whether an earlier load had completed it; its counts are that load's.
    pub kept: bool,
    /// What its rows [depend on](crate::etl::source::Source::key).
    pub key: String,
    /// Rows that came: `loaded + rejected`.
    pub rows_in: u64,
    /// Rows that are in the table.
    pub loaded: u64,
    /// Rows that are not, each in the [rejects](crate::etl::rejects).
    pub rejected: u64,
    /// Bytes as the source stores them; of generated rows, those sent.
    pub bytes: u64,
    /// The file it was read from.
    pub file: Option<Digest>,
    /// `CREATE TABLE`, and primary key and indexes when they come first.
    #[serde(serialize_with = "seconds_if")]
    pub create: Option<Duration>,
    /// Reading and `COPY`; with several streams per table, from the first part's beginning to the last one's end.
    #[serde(serialize_with = "seconds_if")]
    pub copy: Option<Duration>,
    /// The primary key, and finding duplicates.
    #[serde(serialize_with = "seconds_if")]
    pub primary_key: Option<Duration>,
    /// The indexes.
    #[serde(serialize_with = "seconds_if")]
    pub indexes: Option<Duration>,
    /// The foreign keys, and finding orphans.
    #[serde(serialize_with = "seconds_if")]
    pub foreign_keys: Option<Duration>,
    /// `VACUUM (ANALYZE)` or `ANALYZE`.
    #[serde(serialize_with = "seconds_if")]
    pub analyze: Option<Duration>,
}

fn seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

fn seconds_if<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(to)
}
