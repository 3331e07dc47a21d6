//! Passive reading of PostgreSQL's statistics views into points, on a fixed grid.

use crate::base::units::Time;
use serde::{Deserialize, Serialize};

/// `[sample]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sample {
    /// Time between ticks.
    pub every: Time,
    /// Time between ticks in a phase in which a fault is injected.
    pub around_fault: Time,
}

impl Default for Sample {
    fn default() -> Self {
        Sample { every: Time::s(1), around_fault: Time::ms(100) }
    }
}
