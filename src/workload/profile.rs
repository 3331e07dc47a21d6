//! When transactions are sent: as fast as answers come (closed loop), or at planned instants
//! whether answers come or not (open loop), at a rate that is steady, bursts or swings.

use super::rate::Rate;
use crate::base::units::Time;
use serde::{Deserialize, Serialize};

/// `profile = { kind = … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Each client sends its next transaction when the last one has ended.
    Closed(Closed),
    /// Transactions are due at planned instants; a client that is busy makes them wait, and the wait counts.
    Open(Open),
    /// An open loop that hums along and has bursts.
    Pulse(Pulse),
    /// An open loop whose rate swings.
    Cycle(Cycle),
}

impl Profile {
    /// Its rate and how its due instants are spaced; nothing for a closed loop.
    pub fn open(&self) -> Option<(Rate, Arrivals)> {
        match self {
            Profile::Closed(_) => None,
            Profile::Open(open) => Some((Rate::Steady(open.rate), open.arrivals)),
            Profile::Pulse(pulse) => Some((Rate::Pulse(pulse.clone()), pulse.arrivals)),
            Profile::Cycle(cycle) => Some((Rate::Cycle(cycle.clone()), cycle.arrivals)),
        }
    }
}

/// A closed loop has no settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {}

/// An open loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Transactions per second, of the whole load.
    pub rate: f64,
    /// How due instants are spaced.
    #[serde(default)]
    pub arrivals: Arrivals,
}

/// How due instants of an open loop are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// start + k × interval.
    #[default]
    Constant,
    /// Exponential gaps with the same mean, as `pgbench --rate` has them.
    Poisson,
    /// Gaps of a Rayleigh distribution with the same mean: few very short or very long ones.
    Rayleigh,
}

/// An open loop that hums along and has bursts: each period ends with one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pulse {
    /// Transactions per second between the bursts; may be 0.
    #[serde(default)]
    pub hum: f64,
    /// Transactions per second in a burst.
    pub peak: f64,
    /// A period: from the end of one burst to the end of the next.
    pub every: Time,
    /// How long a burst lasts.
    pub lasts: Time,
    /// How due instants are spaced.
    #[serde(default)]
    pub arrivals: Arrivals,
}

/// An open loop whose rate swings about a mean, in one cycle or in several that overlap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cycle {
    /// Transactions per second in the mean.
    pub rate: f64,
    /// The cycles, which add up.
    pub swings: Vec<Swing>,
    /// How due instants are spaced.
    #[serde(default)]
    pub arrivals: Arrivals,
}

/// A sine that begins at zero and rises.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swing {
    /// Its amplitude: transactions per second above and below the mean.
    pub by: f64,
    /// Its period.
    pub every: Time,
}
