//! When transactions are sent: as fast as answers come (closed loop), or at planned instants
//! whether answers come or not (open loop).

use serde::{Deserialize, Serialize};

/// `profile = { kind = … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Each client sends its next transaction when the last one has ended.
    Closed(Closed),
    /// Transactions are due at planned instants; a client that is busy makes them wait, and the wait counts.
    Open(Open),
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
}
