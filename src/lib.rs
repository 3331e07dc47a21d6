//! A laboratory for PostgreSQL topologies.
//!
//! A scenario file says which servers stand where, what data and load they get, what is done to
//! them and what is watched. One command builds all of it, runs it, measures it, tears it down and
//! answers the scenario's question with numbers that can be doubted and repeated:
//!
//! ```text
//! scenarios/x.toml ─read─▶ Scenario ─check, expand─▶ Plan ─▶ Run ─▶ results/<run>/ ─▶ Report
//!     text, spans       pure            pure, concrete   the only effects   files    from files alone
//! ```
//!
//! The rooms are in groups; a room imports only from rooms of a lower group (`tests/it/layers.rs`
//! holds the list and enforces it).

pub mod base;
pub mod clean;
pub mod cli;
pub mod clone;
pub mod cluster;
pub mod dashboard;
pub mod disk;
pub mod driver;
pub mod etl;
pub mod failover;
pub mod fault;
pub mod manager;
pub mod metric;
pub mod net;
pub mod pg;
pub mod plan;
pub mod probe;
pub mod record;
pub mod report;
pub mod run;
pub mod sampler;
pub mod scenario;
pub mod sink;
pub mod snapshot;
pub mod workload;
