//! What reports need of a plan, read leniently from the plan's JSON: what a record of last year has and
//! today's scenario language does not know is passed over, so that old and new records take one path.

use crate::base::units::Time;
use crate::plan::Plan;
use crate::plan::Trial;
use crate::sink::Destination;
use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};

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
    #[serde(deserialize_with = "scenario")]
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
    /// Who promotes: the kind (`builtin`, `none`) with its settings.
    #[serde(default)]
    pub manager: serde_json::Value,
    /// Campaigns of thin clones, with their settings.
    #[serde(default)]
    pub clone: IndexMap<String, serde_json::Value>,
    /// Where points went beside the file; what today's language does not know is not there.
    #[serde(default, rename = "sink", deserialize_with = "sinks")]
    pub sinks: IndexMap<String, Destination>,
    /// What must hold for a trial to be believed.
    #[serde(default)]
    pub valid: Valid,
    /// What is expected of the world.
    #[serde(default, rename = "claim")]
    pub claims: Vec<Claim>,
}

fn sinks<'de, D: Deserializer<'de>>(from: D) -> Result<IndexMap<String, Destination>, D::Error> {
    let all = IndexMap::<String, serde_json::Value>::deserialize(from)?;
    Ok(all.into_iter().filter_map(|(name, sink)| Some((name, serde_json::from_value(sink).ok()?))).collect())
}

/// A phase.
#[derive(Clone, Debug, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it lasts.
    pub lasts: Time,
    /// What is done in it.
    #[serde(default, rename = "do")]
    pub steps: IndexMap<String, Step>,
}

/// Something that is done in a phase.
#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    /// The kind (`kill`, `freeze`, …) with its settings.
    pub act: serde_json::Value,
    /// Whether outages are measured from this step.
    #[serde(default)]
    pub measured: bool,
}

/// `[valid]`: what must hold for a trial to be believed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Valid {
    /// Bounds by metric.
    pub bounds: IndexMap<String, Bound>,
    /// The scenario's [`Scenario::meant_phase`], in which metrics are bounded that are known by phase.
    #[serde(skip)]
    pub phase: Option<String>,
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
    /// Of which phase; absent: of [`Scenario::meant_phase`], or of the whole trial if it is not known by phase.
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

impl Scenario {
    /// The phase that a metric means where none is named and it is known by phase: that of the measured step (the
    /// one marked so, or the only one there is), else the longest, of equally long ones the last.
    pub fn meant_phase(&self) -> Option<&str> {
        let mut steps = self.phases.iter().flat_map(|phase| phase.steps.values().map(move |step| (phase, step)));
        let marked = steps.clone().find(|(_, step)| step.measured);
        let only = steps.next().filter(|_| steps.next().is_none());
        let measured = marked.or(only).map(|(phase, _)| phase);
        let meant = measured.or_else(|| self.phases.iter().max_by_key(|phase| phase.lasts));
        meant.map(|phase| phase.name.as_str())
    }

    /// Whether a step of this kind (`kill`, …) is in any phase.
    pub fn has_step(&self, kind: &str) -> bool {
        self.phases.iter().flat_map(|phase| phase.steps.values()).any(|step| step.act.get(kind).is_some())
    }

    /// Whether clones of it are made by `pg_resetwal`.
    pub fn makes_unsafe_clones(&self) -> bool {
        self.clone.values().any(|campaign| campaign.pointer("/recipe/mode/resetwal").is_some())
    }

    /// Whether its manager promotes without fencing the old primary.
    pub fn promotes_unfenced(&self) -> bool {
        self.manager.pointer("/builtin/fence").and_then(serde_json::Value::as_str) == Some("none")
    }
}

/// A scenario whose `[valid]` knows the phase in which it bounds.
fn scenario<'de, D: Deserializer<'de>>(from: D) -> Result<Scenario, D::Error> {
    let mut scenario = Scenario::deserialize(from)?;
    scenario.valid.phase = scenario.meant_phase().map(ToOwned::to_owned);
    Ok(scenario)
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
            stop: None,
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
        assert_eq!(scenario.valid.bounds["generator.late.p99"], Bound { min: None, max: Some(0.005) });
        assert_eq!(scenario.claims[0].when["commit"], ["on", "remote_apply"]);
        assert_eq!(scenario.loads["app"].profile.keys().collect::<Vec<_>>(), ["open"]);
        assert!(scenario.has_step("kill") && !scenario.has_step("freeze") && !scenario.promotes_unfenced());
    }

    #[test]
    fn the_phase_meant_is_that_of_the_measured_step_or_the_longest() {
        let meant = |phases: serde_json::Value| {
            let scenario: Scenario = serde_json::from_value(serde_json::json!({ "phase": phases })).unwrap();
            scenario.meant_phase().map(ToOwned::to_owned)
        };
        let phase = |name: &str, lasts: &str, measured: &[bool]| {
            let steps = measured.iter().enumerate();
            let steps = steps.map(|(i, measured)| {
                (format!("{name}{i}"), serde_json::json!({ "act": { "kill": {} }, "measured": measured }))
            });
            let steps: serde_json::Map<_, _> = steps.collect();
            serde_json::json!({ "name": name, "lasts": lasts, "do": steps })
        };
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(meant([phase("a", "3s", &[]), phase("b", "10s", &[]), phase("c", "1s", &[])].into()), is("b"));
        assert_eq!(meant([phase("a", "9s", &[]), phase("b", "9s", &[])].into()), is("b"));
        assert_eq!(meant([phase("a", "9s", &[]), phase("b", "1s", &[false])].into()), is("b"));
        assert_eq!(meant([phase("a", "1s", &[true]), phase("b", "9s", &[false])].into()), is("a"));
        assert_eq!(meant(serde_json::json!([])), None);
    }
}
