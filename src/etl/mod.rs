//! Bringing data in: where it comes from, and how it is loaded.

pub mod pgbench;
