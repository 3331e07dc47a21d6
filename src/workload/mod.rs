//! Traffic: a load is a mix of weighted transactions, sent by clients under a profile, and every
//! one of them is timed from the instant it was meant to start.

pub mod mix;
pub mod profile;

pub use mix::Mix;
pub use profile::Profile;

use crate::base::units::Time;
use serde::{Deserialize, Serialize};

/// A load as written: `[load.NAME]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// What is sent.
    pub mix: Mix,
    /// When it is sent.
    pub profile: Profile,
    /// Connections that send it, each one transaction at a time.
    #[serde(default = "one")]
    pub clients: u32,
    /// Worker threads, each with a single-threaded runtime.
    #[serde(default = "one")]
    pub threads: u32,
    /// `@primary` (whoever accepts writes), `@standbys` (clients spread over them) or a node.
    #[serde(default = "primary")]
    pub to: String,
    /// Longest a transaction may take from being sent; then its connection is dropped.
    #[serde(default)]
    pub timeout: Option<Time>,
    /// Clients share this many connections of a deadpool-postgres pool instead of owning one each.
    #[serde(default)]
    pub pool: Option<u32>,
}

fn one() -> u32 {
    1
}

fn primary() -> String {
    "@primary".into()
}
