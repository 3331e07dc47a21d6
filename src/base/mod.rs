//! What every other room stands on and what knows nothing of PostgreSQL: waiting on a condition,
//! running a helper command with its whole error, the inventory of what a run created, units, the clock,
//! histograms.
//!
//! Processes are read from Linux's `/proc`; there is no other way here to find the orphans of a
//! server whose parent is dead.

pub mod child;
pub mod clock;
pub mod disk;
pub mod exec;
pub mod histogram;
pub mod hunt;
pub mod index;
pub mod inventory;
pub mod mask;
pub mod mounts;
pub mod near;
pub mod proc;
pub mod ranges;
pub mod shm;
pub mod timer;
pub mod tool;
pub mod units;
pub mod user;
pub mod wait;
pub mod zfs;

/// Names that a scenario gives to nodes, loads, phases and steps.
pub type Name = String;
