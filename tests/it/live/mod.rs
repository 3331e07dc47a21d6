//! Tests against real PostgreSQL servers. Absence of PostgreSQL fails with an instruction; it never skips.

mod access;
mod cli;
mod clones;
mod containers;
mod disks;
mod docker;
mod etl;
mod faults;
mod fixture;
mod host;
mod imdb;
mod lab;
mod load;
mod locks;
mod manager;
mod net;
mod orphaned;
mod probes;
mod proxy;
mod receivers;
mod remote;
mod sampling;
mod servers;
mod sinks;
mod snapshots;
mod templates;
mod versions;
mod views;

pub use fixture::not_run;
