//! Tests against real PostgreSQL servers. Absence of PostgreSQL fails with an instruction; it never skips.

mod cli;
mod fixture;
mod load;
mod manager;
mod probes;
mod proxy;
mod sampling;
mod servers;
