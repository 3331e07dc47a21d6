//! Whether every target ends up with what its source has: table by table, by count and by a checksum that does not
//! depend on the order of rows, under the row filters and column lists of its subscriptions.
//!
//! First everybody gets time to catch up, from the end of the load on: how long that took is `lag.drained`. Only then
//! are tables read. A target that differs, or that did not catch up, fails the trial (unless the scenario says otherwise):
//! the figures before it are of something else than replication.
//!
//! Summary: `lag.drained`, `truth.behind` and `truth.rows`, `truth.differing`, by stream.

mod compare;
mod drain;

pub use compare::compare;
pub use drain::{Drain, Drained};

use crate::base::units::Time;
use serde::{Deserialize, Serialize};

/// `[probe.truth]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Truth {
    /// How long targets may take to catch up when the load has ended and faults are undone.
    pub catch_up: Time,
    /// Whether a target that does not catch up, or that differs, fails the trial. Where it is what is asked for, it does
    /// not: it is then an outcome as any other.
    pub fails: bool,
}

impl Default for Truth {
    fn default() -> Self {
        Truth { catch_up: Time::s(60), fails: true }
    }
}

/// What comparing came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows of the source that the target was to have.
    pub rows: u64,
    /// What differs, in words; empty: nothing.
    pub differences: Vec<String>,
}
