//! Everything resolved: which variants there are, which trials in which order, with which seeds.
//! Nothing here is decided later but what only the machine can say.

use crate::scenario::Scenario;
use serde::{Deserialize, Serialize};

/// What a run will do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the scenario.
    pub scenario: String,
    /// Its question.
    pub question: String,
    /// The metrics that the verdict is about.
    pub answer: Vec<String>,
    /// All variants, in the order of the axes' levels.
    pub variants: Vec<Variant>,
    /// All trials, in the order in which they run.
    pub trials: Vec<Trial>,
}

/// One combination of levels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Variant {
    /// Such as `commit=on,standbys=2`; `only` when nothing is varied.
    pub name: String,
    /// Level by axis.
    pub levels: Vec<(String, String)>,
    /// The scenario with those levels in force.
    pub scenario: Scenario,
}

/// One repetition of a variant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Which repetition of its variant, from 1.
    pub trial: u32,
    /// Index into [`Plan::variants`].
    pub variant: usize,
    /// Place in the run, from 1.
    pub position: u32,
    /// Seed of everything random in it.
    pub seed: u64,
}
