//! What reports need of a plan, read leniently from the plan's JSON: what a record of last year has and
//! today's scenario language does not know is passed over, so that old and new records take one path.

use crate::base::units::Time;
use crate::plan::Plan;
use crate::plan::Trial;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// The plan of a record.
#[derive(Clone, Debug, Deserialize)]
pub struct Outline {
    /// Name of the scenario.
    pub scenario: String,
    /// Its question.
    pub question: String,
    /// The metrics that the verdict is about.
    pub answer: Vec<String>,
    /// All variants.
    pub variants: Vec<Variant>,
    /// All trials, in the order in which they were to run.
    pub trials: Vec<Trial>,
}

/// A variant of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Variant {
    /// Such as `commit=on,standbys=2`.
    pub name: String,
    /// Level by axis.
    pub levels: Vec<(String, String)>,
    /// The scenario with those levels in force.
    pub scenario: Scenario,
}

/// What reports need of a scenario.
#[derive(Clone, Debug, Deserialize)]
pub struct Scenario {
    /// The phases, in order.
    #[serde(rename = "phase")]
    pub phases: Vec<Phase>,
    /// The loads.
    #[serde(default, rename = "load")]
    pub loads: IndexMap<String, Load>,
    /// What must hold for a trial to be believed.
    #[serde(default)]
    pub valid: IndexMap<String, Bound>,
    /// What is expected of the world.
    #[serde(default, rename = "claim")]
    pub claims: Vec<Claim>,
}

/// A phase.
#[derive(Clone, Debug, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it lasts.
    pub lasts: Time,
}

/// A load.
#[derive(Clone, Debug, Deserialize)]
pub struct Load {
    /// Its connections.
    pub clients: u32,
    /// The kind (`open`, `closed`) with its settings.
    pub profile: IndexMap<String, serde_json::Value>,
}

/// What a value must lie within, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Not less than this.
    #[serde(default)]
    pub min: Option<f64>,
    /// Not more than this.
    #[serde(default)]
    pub max: Option<f64>,
}

impl Bound {
    /// Whether `value` lies within.
    pub fn holds(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

/// A statement about outcomes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Claim {
    /// Which metric.
    pub metric: String,
    /// Of which phase; absent: of the whole trial.
    #[serde(default)]
    pub phase: Option<String>,
    /// For which levels of which axes; absent: all.
    #[serde(default)]
    pub when: IndexMap<String, Vec<String>>,
    /// Must hold in every trial.
    #[serde(default)]
    pub every_trial: Option<Bound>,
    /// Must hold of the median over trials.
    #[serde(default)]
    pub median: Option<Bound>,
}

impl Outline {
    /// The outline of a plan that is being carried out.
    pub fn of(plan: &Plan) -> Result<Outline, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(plan)?)
    }

    /// The variant called `name`.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A plan with one variant per level of the axis `commit`, from a scenario as a person writes it (externally
    /// tagged, as the reader leaves it).
    pub(crate) fn plan(scenario: &str, levels: &[&str], trials: u32) -> Plan {
        let table: toml::Table = scenario.parse().unwrap();
        let variant = |level: &&str| -> crate::plan::Variant {
            let levels = toml::Value::try_from([["commit", *level]]).unwrap();
            let mut variant = toml::Table::new();
            variant.insert("name".into(), format!("commit={level}").into());
            variant.insert("patches".into(), toml::Value::Array(Vec::new()));
            variant.insert("levels".into(), levels);
            variant.insert("scenario".into(), table.clone().into());
            toml::from_str(&variant.to_string()).unwrap()
        };
        let text = |key: &str| table[key].as_str().unwrap().to_owned();
        let order = (1..=trials).flat_map(|trial| (0..levels.len()).map(move |variant| (trial, variant)));
        let trials =
            order.zip(1..).map(|((trial, variant), position)| Trial { trial, variant, position, seed: u64::MAX });
        Plan {
            scenario: text("name"),
            question: text("question"),
            answer: table["answer"].as_array().unwrap().iter().map(|m| m.as_str().unwrap().to_owned()).collect(),
            variants: levels.iter().map(variant).collect(),
            trials: trials.collect(),
        }
    }

    pub(crate) const SCENARIO: &str = r#"
        name = "failover"
        question = "How long do writes stop, and is any acknowledged write lost, when the primary is killed?"
        answer = ["failover.write_outage", "ledger.acked_lost"]
        [node]
        a = { role = "primary" }
        s = { role = "standby", follows = "a", count = 2 }
        [postgres.settings]
        primary_conninfo = "host=x password=hunter2"
        [load.app]
        mix = { tpcb = { scale = 10 } }
        profile = { open = { rate = 500.0 } }
        clients = 8
        [[phase]]
        name = "steady"
        lasts = "4s"
        [[phase]]
        name = "kill"
        lasts = "8s"
        do.kill = { at = "2s", act = { kill = { of = "@primary" } } }
        [valid]
        "generator.late.p99" = { max = "5ms" }
        [[claim]]
        metric = "ledger.acked_lost"
        when = { commit = ["on", "remote_apply"] }
        every_trial = { max = 0 }
        [[claim]]
        metric = "failover.write_outage"
        median = { max = "1s" }
    "#;

    #[test]
    fn a_plan_goes_through_json() {
        let outline = Outline::of(&plan(SCENARIO, &["off", "on"], 2)).unwrap();
        assert_eq!(outline.variants[1].levels, [("commit".into(), "on".into())]);
        assert_eq!(outline.trials.len(), 4);
        assert_eq!(outline.trials[3].seed, u64::MAX);
        let scenario = &outline.variants[0].scenario;
        assert_eq!(scenario.phases[1].lasts, Time::s(8));
        assert_eq!(scenario.valid["generator.late.p99"], Bound { min: None, max: Some(0.005) });
        assert_eq!(scenario.claims[0].when["commit"], ["on", "remote_apply"]);
        assert_eq!(scenario.loads["app"].profile.keys().collect::<Vec<_>>(), ["open"]);
    }
}
