//! Active checks: the ledger of acknowledged writes, commit-to-visible lag, lag as servers tell it, whether targets end
//! up equal to their sources, bloat and conflicts, standbys streaming again, throughput back in its band, throughput
//! steady, thin clones.

mod apart;
pub mod bloat;
pub mod clones;
pub mod lag;
pub mod ledger;
pub mod recovery;
pub mod steady;
pub mod stream;
pub mod streaming;
pub mod truth;
pub mod visibility;

use crate::base::units::Time;
use serde::{Deserialize, Serialize};

/// `[probe]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probes {
    /// `[probe.ledger]`
    #[serde(default)]
    pub ledger: Option<Ledger>,
    /// `[probe.visibility]`
    #[serde(default)]
    pub visibility: Option<Visibility>,
    /// `[probe.lag]`
    #[serde(default)]
    pub lag: Option<lag::Lags>,
    /// `[probe.truth]`; it is there anyway where there are subscriptions.
    #[serde(default)]
    pub truth: Option<truth::Truth>,
    /// `[probe.bloat]`
    #[serde(default)]
    pub bloat: Option<bloat::Bloat>,
}

/// The ledger of acknowledged writes: writers and connections of its own, at a fixed rate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// Writers, each with a connection of its own.
    pub writers: u32,
    /// Writes per second, of all writers together.
    pub rate: f64,
    /// Longest a write may take; its outcome is then unknown and its connection dropped.
    pub timeout: Time,
    /// Where its writers stand, in turn when there are several sites.
    pub sites: Vec<String>,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger { writers: 4, rate: 100.0, timeout: Time::s(1), sites: Vec::new() }
    }
}

/// Commit-to-visible lag: writes on the primary, polls every standby and subscriber until the row is seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Visibility {
    /// Time between writes.
    pub every: Time,
    /// Time between polls of one standby while a write is not yet seen.
    pub poll: Time,
}

impl Default for Visibility {
    fn default() -> Self {
        Visibility { every: Time::ms(100), poll: Time::ms(2) }
    }
}
