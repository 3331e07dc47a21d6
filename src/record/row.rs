//! The rows of the CSV files; the fields' order is the columns' order.

use serde::{Deserialize, Serialize, Serializer};

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It counts.
    Ok,
    /// The apparatus cannot be believed.
    Invalid,
    /// It could not be carried out.
    Failed,
    /// A person stopped it.
    Interrupted,
}

impl Status {
    /// As it stands in `trials.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Invalid => "invalid",
            Status::Failed => "failed",
            Status::Interrupted => "interrupted",
        }
    }
}

/// A row of `trials.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialRow {
    /// Of the run.
    pub run_id: String,
    /// Name of the variant.
    pub variant: String,
    /// Which repetition of it, from 1.
    pub trial: u32,
    /// Place in the run, from 1.
    pub position: u32,
    /// Wall time of the trial's zero, UTC.
    pub started_at: String,
    /// How it ended.
    pub status: Status,
    /// Why, unless it is `ok`.
    pub reason: Option<String>,
}

/// A row of `summary.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// Of the run.
    pub run_id: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Name of the variant.
    pub variant: String,
    /// Which repetition of it, from 1.
    pub trial: u32,
    /// The phase it is of; absent for the whole trial.
    pub phase: Option<String>,
    /// The node it is of.
    pub node: Option<String>,
    /// Which transaction, writer, load or target it is of.
    pub subject: Option<String>,
    /// Name in the catalogue.
    pub metric: String,
    /// The metric's unit.
    pub unit: String,
    /// In that unit.
    #[serde(serialize_with = "shortest")]
    pub value: f64,
}

/// A row of `lock_edges.csv`: pairs of blocker and waiter that are alike, for as long as there was one at each tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockRow {
    /// Of the run.
    pub run_id: String,
    /// Name of the variant.
    pub variant: String,
    /// Which repetition of it, from 1.
    pub trial: u32,
    /// Where.
    pub node: String,
    /// Milliseconds from the trial's zero to the first tick at which there was such a pair.
    #[serde(serialize_with = "shortest")]
    pub began_ms: f64,
    /// To the last one.
    #[serde(serialize_with = "shortest")]
    pub ended_ms: f64,
    /// Ticks.
    pub ticks: u64,
    /// The wait event: what kind of lock was waited for.
    pub lock: String,
    /// On which table, when that was seen.
    pub relation: Option<String>,
    /// `query_id` of the blocker, where the server computes it.
    pub blocker_queryid: Option<i64>,
    /// What the blocker was doing; `prepared` stands for a prepared transaction.
    pub blocker_state: String,
    /// `query_id` of the waiter.
    pub waiter_queryid: Option<i64>,
    /// Most pairs at one tick.
    pub pairs_max: u64,
    /// Longest chain to one of the waiters.
    pub depth_max: Option<u64>,
    /// Longest wait of one of them, in seconds.
    pub longest_wait_s: Option<f64>,
}

/// A row of `events.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// Of the run.
    pub run_id: String,
    /// Name of the variant.
    pub variant: String,
    /// Which repetition of it, from 1.
    pub trial: u32,
    /// Milliseconds since the trial's zero.
    #[serde(serialize_with = "shortest")]
    pub elapsed_ms: f64,
    /// Wall time, UTC.
    pub at: String,
    /// Dotted kind.
    pub kind: String,
    /// The node it is about.
    pub node: Option<String>,
    /// One sentence for people.
    pub text: String,
}

/// The shortest decimal that reads back as the same number, and `12` rather than `12.0`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn shortest<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}
