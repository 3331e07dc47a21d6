//! The scenario language: what a person writes, read with positions and checked as a whole.
//!
//! The types here are the file's shape and nothing more; the kinds (faults, mixes, profiles, …) bring
//! theirs from the rooms that act on them. [`read`] goes from text to checked variants, and every
//! problem it finds carries the place in the text ([`error`]). A place is found by its path
//! (`load.app.clients`), the same path that `--set` and the levels of an axis use, so the types need
//! no positions of their own and go through JSON unchanged.
//!
//! ```text
//! text ─toml─▶ tree ─path::set (--set, level)─▶ tree ─shape─▶ Scenario ─check─▶ findings ─error─▶ Problem
//! ```

mod axes;
mod check;
pub mod data;
pub mod error;
mod logical;
mod near;
mod path;
pub mod read;
mod setting;
mod shape;
pub mod shipped;
mod source;
mod stop;
pub mod tables;
pub mod topology;
mod ways;

use crate::base::{
    Name,
    units::{Size, Time},
};
use crate::cluster::logical::{Publication, Subscription};
use crate::disk::OwnDisk;
use crate::driver::Driver;
use crate::fault::Fault;
use crate::manager::Manager;
use crate::net::Side;
use crate::pg::version::Major;
use crate::probe::{Probes, clones::Campaign};
use crate::sampler::Sample;
use crate::sink::Destination;
use crate::workload::Load;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub use data::Data;
pub use error::{Problem, ScenarioErrors};
pub use near::near;
pub use setting::{SettingValue, Settings};
pub use source::Source;
pub use stop::{Percent, Stopping};

/// A scenario as written. One variant of it (its levels patched in) has the same shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, which the results folder bears.
    pub name: String,
    /// What it asks, in a sentence.
    pub question: String,
    /// What a reader should know besides.
    #[serde(default)]
    pub about: Option<String>,
    /// The metrics that the verdict is about; all else is context.
    #[serde(default)]
    pub answer: Vec<String>,
    /// Repetitions of each variant.
    #[serde(default = "one")]
    pub trials: u32,
    /// When there are fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stopping>,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// How servers exist, unless a node says otherwise.
    #[serde(default)]
    pub driver: Driver,
    /// The servers.
    pub node: IndexMap<Name, Node>,
    /// What can be subscribed to.
    #[serde(default)]
    pub publication: IndexMap<Name, Publication>,
    /// Who subscribes to it.
    #[serde(default)]
    pub subscription: IndexMap<Name, Subscription>,
    /// Ways that are slow.
    #[serde(default)]
    pub link: IndexMap<Name, Link>,
    /// What goes for all servers.
    #[serde(default)]
    pub postgres: Postgres,
    /// Who detects and promotes.
    #[serde(default)]
    pub manager: Manager,
    /// What is loaded.
    #[serde(default)]
    pub data: IndexMap<Name, Data>,
    /// The traffic.
    #[serde(default)]
    pub load: IndexMap<Name, Load>,
    /// The active checks.
    #[serde(default)]
    pub probe: Probes,
    /// Thin clones that are made.
    #[serde(default)]
    pub clone: IndexMap<Name, Campaign>,
    /// The passive reading.
    #[serde(default)]
    pub sample: Sample,
    /// Where sampled points go beside the file.
    #[serde(default)]
    pub sink: IndexMap<Name, Destination>,
    /// The stretches of time, in order.
    pub phase: Vec<Phase>,
    /// The axes: for each, its levels; a level is a patch in the paths of `--set`.
    #[serde(default)]
    pub vary: IndexMap<Name, Axis>,
    /// How variants are combined and ordered.
    #[serde(default)]
    pub design: Design,
    /// What must hold for a trial to be believed.
    #[serde(default)]
    pub valid: IndexMap<String, Bound>,
    /// What is expected of the world.
    #[serde(default)]
    pub claim: Vec<Claim>,
}

/// Levels by name.
pub type Axis = IndexMap<Name, Level>;
/// A level: values by path; the string `absent` removes what stands at the path.
pub type Level = IndexMap<String, toml::Value>;

/// A server, or `count` of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// What it is when the cluster starts.
    pub role: Role,
    /// The node that a standby streams from.
    #[serde(default)]
    pub follows: Option<String>,
    /// How many of them: `s` with `count = 2` gives `s1` and `s2`. Absent: one, called as the key.
    #[serde(default)]
    pub count: Option<u32>,
    /// Where it stands.
    #[serde(default)]
    pub site: Option<String>,
    /// Whether a standby uses a physical replication slot.
    #[serde(default)]
    pub slot: bool,
    /// Rank in an election among equals, higher first; 0 is never promoted.
    #[serde(default = "hundred")]
    pub priority: u32,
    /// Settings of this node, over those of all.
    #[serde(default)]
    pub settings: Settings,
    /// Where its data directory goes, for another file system than `--work`'s.
    #[serde(default)]
    pub dir: Option<PathBuf>,
    /// How it exists, if otherwise than all.
    #[serde(default)]
    pub driver: Option<Driver>,
    /// Its major version, if another than that of all.
    #[serde(default)]
    pub version: Option<Major>,
    /// Most memory that its container may use, swap excluded.
    #[serde(default)]
    pub memory: Option<Size>,
    /// Most processor time that its container may use, in processors.
    #[serde(default)]
    pub cpus: Option<f64>,
    /// Size of its container's `/dev/shm`.
    #[serde(default)]
    pub shm_size: Option<Size>,
    /// A file system of its own for its data directory, so that it can be filled, slowed down or cloned.
    #[serde(default)]
    pub disk: Option<OwnDisk>,
}

/// `[link.NAME]`: every way between two sides leads through a TCP proxy that makes it slow.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The two sides.
    pub between: [Side; 2],
    /// Time for a round trip, beside what the machine itself takes; half of it each way.
    #[serde(default)]
    pub rtt: Time,
    /// How far the delay of each way may lie beside its half of `rtt`.
    #[serde(default)]
    pub jitter: Time,
    /// Bytes a second each way; absent: as many as pass.
    #[serde(default)]
    pub bandwidth: Option<Size>,
}

/// A server's role when the cluster starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Accepts writes.
    Primary,
    /// Replays another server's WAL.
    Standby,
    /// Applies the changes that it subscribes to; it has a WAL of its own and accepts writes.
    Subscriber,
}

/// `[postgres]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// Major version of every node; absent: the newest that is installed, or the one of the image.
    #[serde(default)]
    pub version: Option<Major>,
    /// Settings of every node. `@nodes` in a value stands for the quoted names of all nodes.
    #[serde(default)]
    pub settings: Settings,
}

/// A stretch of time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Its name, by which paths address it.
    pub name: String,
    /// How long it lasts; with `until`, at most.
    pub lasts: Time,
    /// The step with whose end it ends.
    #[serde(default)]
    pub until: Option<String>,
    /// How much of its beginning is no part of its steady state; absent: found out, if it has no steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<Time>,
    /// What is done in it.
    #[serde(default, rename = "do")]
    pub steps: IndexMap<Name, Step>,
}

/// Something that is done in a phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When, from the start of the phase.
    #[serde(default)]
    pub at: Time,
    /// What.
    pub act: Fault,
    /// How long until it is undone; absent: at the end of the trial.
    #[serde(default, rename = "for")]
    pub lasts: Option<Time>,
    /// Repeats it at this interval, to the end of the phase.
    #[serde(default)]
    pub every: Option<Time>,
    /// Whether outages are measured from this step; needed when there are several.
    #[serde(default)]
    pub measured: bool,
}

/// `[design]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Design {
    /// In which order trials of different variants follow each other.
    #[serde(default)]
    pub order: Order,
    /// Combinations (level by axis) that are left out.
    #[serde(default)]
    pub skip: Vec<IndexMap<String, String>>,
}

/// In which order trials of different variants follow each other; never all of A and then all of B.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A B C, C B A, A B C, …
    #[default]
    Abba,
    /// Each round of all variants in an order of its own, from the seed.
    Shuffle,
}

/// What a value must lie within.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Not less than this.
    #[serde(default)]
    pub min: Option<Limit>,
    /// Not more than this.
    #[serde(default)]
    pub max: Option<Limit>,
}

/// A number, or a duration with its unit for metrics in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Limit(pub f64);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl serde::de::Visitor<'_> for Visit {
            type Value = Limit;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, or a duration such as \"5ms\"")
            }
            fn visit_i64<E>(self, value: i64) -> Result<Limit, E> {
                Ok(Limit(value as f64))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Limit, E> {
                Ok(Limit(value as f64))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Limit, E> {
                Ok(Limit(value))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Limit, E> {
                text.parse::<Time>().map(|time| Limit(time.as_secs_f64())).map_err(E::custom)
            }
        }
        from.deserialize_any(Visit)
    }
}

/// A statement about outcomes. It is judged, and never discards a trial.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

fn one() -> u32 {
    1
}

fn hundred() -> u32 {
    100
}
