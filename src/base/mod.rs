//! What every other room stands on and what knows nothing of PostgreSQL: waiting on a condition,
//! running a helper command with its whole error, the inventory of what a run created, the watchdog
//! that kills servers when the harness dies, units, the clock, histograms.

pub mod clock;
pub mod histogram;
pub mod ranges;
pub mod units;

/// Names that a scenario gives to nodes, loads, phases and steps.
pub type Name = String;
