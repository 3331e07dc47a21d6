//! Everything resolved: which variants there are, which trials in which order, with which seeds.
//! Nothing here is decided later but what only the machine can say.

mod clones;
mod data;
mod estimate;
mod logical;
mod order;
mod place;
mod print;

pub use clones::Places;
pub use estimate::Estimate;
pub use print::Printed;

use crate::scenario::read::Document;
use crate::scenario::{Scenario, Stopping};
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
    /// When there are fewer trials than these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stopping>,
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
    /// What the levels set: path and value, as typed after `--set`.
    pub patches: Vec<(String, String)>,
    /// The scenario with those levels in force, and without axes.
    pub scenario: Scenario,
}

/// One repetition of a variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which repetition of its variant, from 1.
    pub trial: u32,
    /// Index into [`Plan::variants`].
    pub variant: usize,
    /// Place in the run, from 1.
    pub position: u32,
    /// Seed of everything random in it; the same for all variants of a round, so that they meet the same draws.
    pub seed: u64,
}

/// Resolves a scenario: each combination of levels as often as there are trials, interleaved.
pub fn expand(document: &Document) -> Plan {
    let scenario = &document.scenario;
    let variants: Vec<Variant> = document
        .combinations
        .iter()
        .map(|combination| Variant {
            name: combination.name(),
            levels: combination.levels.clone(),
            patches: combination.patches.clone(),
            scenario: combination.scenario.clone(),
        })
        .collect();
    Plan {
        scenario: scenario.name.clone(),
        question: scenario.question.clone(),
        answer: scenario.answer.clone(),
        stop: scenario.stop.clone(),
        trials: order::trials(scenario.design.order, variants.len(), scenario.trials, scenario.seed),
        variants,
    }
}

impl Plan {
    /// The variant of a trial.
    pub fn variant(&self, trial: &Trial) -> &Variant {
        &self.variants[trial.variant]
    }
}
