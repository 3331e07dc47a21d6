//! The results folder: what a run observed, written as soon as it is known and read back whole or in part.
//!
//! ```text
//! results/<scenario>-<run_id>/       run_id: <utc>-<id>, short and sortable
//!   run.json          scenario as written, plan, command line, versions, host facts, settings, ways of cloning, accounting, result
//!   trials.csv        one row a trial: the index; rows of other files count only when their trial is in it
//!   summary.csv       one value a row
//!   events.csv        dated happenings
//!   lock_edges.csv    who waited for whose locks, one episode a row
//!   metrics.lp.gz     every sampled point, line protocol (written by the sink)
//!   inventory.jsonl   what was created and whether it is gone (written by the inventory)
//!   latency/          HdrHistogram V2 interval logs (written by the loads)
//!   report.html       what people look at (written by the report, made again at will)
//!   nodes/<trial>/<node>/postgresql.log
//! ```
//!
//! A value that is not known is absent; it is never written as 0. Passwords are masked in all that is written.

pub mod host;
pub mod outline;
mod read;
mod row;
mod write;

pub use outline::Outline;
pub use read::read;
pub use row::{EventRow, LockRow, Status, SummaryRow, TrialRow};
pub use write::{Ended, LOCK_EDGES, Opening, Writer, lock_edges, write_manifest};

use crate::probe::clones::Way;
use crate::sink::{Account, Accounting, WriteError};
use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

/// `run.json`: what is known of a run as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// `<utc>-<id>`.
    pub run_id: String,
    /// The scenario's name.
    pub scenario: String,
    /// How the run ended; `running` is what a killed harness leaves.
    pub status: RunStatus,
    /// Why it failed or was interrupted.
    pub reason: Option<String>,
    /// When it began, UTC.
    pub started_at: String,
    /// When it ended, UTC.
    pub ended_at: Option<String>,
    /// Version of this program.
    pub version: String,
    /// Git revision that it was built from; absent when the build was not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The command line.
    pub command: Vec<String>,
    /// The `--set`s.
    pub sets: Vec<String>,
    /// The scenario as written.
    pub scenario_text: String,
    /// The machine.
    pub host: host::Facts,
    /// Whether servers, load and probes share one machine.
    pub colocated: bool,
    /// How the servers existed: `process`, `docker`, `external`.
    pub driver: String,
    /// The servers' programs, one a version. Early runs have a single one under `server`.
    #[serde(alias = "server", deserialize_with = "one_or_many")]
    pub servers: Vec<Server>,
    /// What trials started from.
    #[serde(default)]
    pub templates: Vec<Template>,
    /// Settings that differ from the server's defaults: by variant, `node.setting` or `setting` and value.
    #[serde(default)]
    pub settings: IndexMap<String, BTreeMap<String, String>>,
    /// By which ways clones came, by variant: all that were taken in its trials.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub clones: IndexMap<String, Vec<Way>>,
    /// What is sampled and the servers do not have: `view.column`, or `view`.
    #[serde(default)]
    pub absent: BTreeSet<String>,
    /// What became of every sampled point.
    #[serde(default)]
    pub accounting: Accounting,
    /// What became of them on their way to each `[sink.NAME]`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub sinks: IndexMap<String, Account>,
    /// Why there were no more trials, where a rule says when there are enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// The whole plan.
    pub plan: serde_json::Value,
    /// What the report made of it, once it is over.
    #[serde(default)]
    pub result: Option<serde_json::Value>,
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Server>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(Server),
        Many(Vec<Server>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(server) => vec![server],
        OneOrMany::Many(servers) => servers,
    })
}

/// The servers' program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Such as `15.18`.
    pub version: String,
    /// The folder of `postgres` and its companions, of servers that are processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bindir: Option<PathBuf>,
    /// The image with its digest or id, of servers in containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The version of the container engine and of its interface, how it is reached, and why it is this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// How a server that somebody else runs is reached, its password masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conninfo: Option<String>,
}

/// A data directory from which trials started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Its name in the work directory's store, or in the run.
    pub name: String,
    /// Whether it is kept beyond the run.
    pub kept: bool,
    /// Why it is not, so that the next run loads again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_kept: Option<String>,
    /// What was loaded into it, and how.
    pub data: Vec<serde_json::Value>,
    /// When it was made, UTC, if it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<String>,
    /// The run that made it, if it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by_run: Option<String>,
    /// What it takes up on disk, if it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What came of loading: rows, rejects, files with their hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<serde_json::Value>,
    /// The snapshot driver of its file system; `copy` reads and writes every byte. Absent where an engine copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Why that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Why a stopping rule ended the trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    /// The metric that was looked at after every round.
    pub metric: String,
    /// How well it was to be known: 0.02 is two per cent.
    pub within: f64,
    /// Rounds that there were to be in any case.
    pub at_least: u32,
    /// Rounds after which it was to end in any case.
    pub at_most: u32,
    /// Rounds that there were.
    pub rounds: u32,
    /// Which of these it was.
    pub reason: StopReason,
    /// How far the 95 % interval reaches above the geometric mean, as a share of it, by variant; null where it has none.
    pub half_widths: IndexMap<String, Option<f64>>,
}

/// What ended the trials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The metric was known well enough in every variant.
    Precise,
    /// There were as many rounds as there were to be at most.
    Ceiling,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Not yet, or the harness was killed.
    Running,
    /// All trials were run.
    Finished,
    /// Stopped by a person; finished trials are kept.
    Interrupted,
    /// The run itself failed.
    Failed,
}

/// A results folder, read.
#[derive(Clone, Debug)]
pub struct Record {
    /// The folder.
    pub dir: PathBuf,
    /// `run.json`.
    pub manifest: Manifest,
    /// What reports need of the plan.
    pub plan: Outline,
    /// `trials.csv`, in the order in which they ended.
    pub trials: Vec<TrialRow>,
    /// `summary.csv`.
    pub values: Vec<SummaryRow>,
    /// `events.csv`.
    pub events: Vec<EventRow>,
    /// `lock_edges.csv`.
    pub locks: Vec<LockRow>,
}

/// A results folder could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file could not be read.
    #[error("cannot read {}: {source}{}", .path.display(), if .source.kind() == io::ErrorKind::NotFound {
        "\nhint: a results folder is `results/<scenario>-<run>`, with `run.json` in it" } else { "" })]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what this program writes.
    #[error("{} is damaged, or was not written by this program: {what}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong, with its place.
        what: String,
    },
    /// The plan does not go into JSON.
    #[error("the plan cannot be recorded: {0}")]
    Plan(serde_json::Error),
}
