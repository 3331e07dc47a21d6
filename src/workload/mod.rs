//! Traffic: a load is a mix of weighted transactions, sent by clients under a profile, and every
//! one of them is timed from the instant it was meant to start.
//!
//! ```text
//! Running ──────▶ collector (a thread): intervals ─▶ phases, latency log, points
//!   start, phase,      │ cut, stop        ▲ slices
//!   live, stop         ▼                  │
//!                 worker (a thread each, single-threaded runtime)
//!                   clients ─▶ desk       clients own a connection, or share a pool
//!                   pacer: due instants of an open loop
//! ```
//!
//! *response* = done − intended, *service* = done − sent, *wait* = sent − intended. In an open loop a transaction is
//! intended when the schedule says; in a closed loop when its client's last one ended. Only completed transactions
//! are in the histograms; the others are counted by cause, and every one that was started is accounted for.
//! A latency log has the tags `TRANSACTION.{response,service,wait}`, `generator.late` and `pool_wait`, in µs.

mod client;
mod collector;
mod connection;
mod desk;
mod imdb;
pub mod mix;
mod outcome;
mod pacer;
mod pool;
pub mod profile;
pub mod queries;
pub mod rate;
mod running;
mod schedule;
pub mod space;
mod tally;
mod transaction;
mod worker;

pub use mix::Mix;
pub use outcome::{Account, Outcome, Throughput};
pub use profile::Profile;
pub use running::{Live, LoadError, Running, Setup, Target};
pub use schedule::Schedule;

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
    /// Where its clients stand.
    #[serde(default)]
    pub site: Option<String>,
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
