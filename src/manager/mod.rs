//! Who detects that a primary is gone and promotes another: the loop around the pure function of
//! [`crate::failover`]. It observes over TCP and SQL, as another host would, and acts the same way, but for
//! what an operator's tools do: fencing, stopping and starting go through the cluster's nodes.
//!
//! One task a server checks it on a fixed grid over a connection that is kept; the loop hands every check and
//! every ended action to [`step`](crate::failover::step) and carries out what comes back, each action in a task of its own.

mod act;
mod check;
mod outcome;
mod running;

pub use outcome::Outcome;
pub use running::{Running, StartError, SwitchoverError};

use crate::base::units::Time;
use serde::{Deserialize, Serialize};

/// `[manager]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// The reconciler of this project.
    Builtin(Builtin),
    /// Nobody: what fails stays failed.
    None(Nobody),
}

impl Default for Manager {
    fn default() -> Self {
        Manager::None(Nobody {})
    }
}

/// Settings of [`Manager::Builtin`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Builtin {
    /// When a primary counts as dead.
    #[serde(default)]
    pub detect: Detect,
    /// What proves that the old primary can no longer acknowledge writes.
    #[serde(default)]
    pub fence: Fence,
    /// Where it stands.
    #[serde(default)]
    pub site: Option<String>,
    /// `false`: promote only when a switchover is asked for.
    #[serde(default = "yes")]
    pub automatic: bool,
}

/// When a primary counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Detect {
    /// Time between checks.
    pub every: Time,
    /// Consecutive failed checks until it is confirmed dead.
    pub misses: u32,
    /// Longest one check may take.
    pub timeout: Time,
}

impl Default for Detect {
    fn default() -> Self {
        Detect { every: Time::ms(100), misses: 3, timeout: Time::ms(500) }
    }
}

/// What proves that the old primary can no longer acknowledge writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// The driver kills every process of it and proves that none is left.
    #[default]
    Driver,
    /// Nothing: unsafe, to show what happens without.
    None,
}

/// Settings of [`Manager::None`]: there are none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nobody {}

fn yes() -> bool {
    true
}
