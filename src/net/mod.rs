//! How the servers and clients of a trial reach each other: where each of them stands, network namespaces
//! of the run's own, packets that vanish between them, and a TCP proxy that makes a way slow, or breaks it.

pub mod cut;
pub mod filter;
pub mod lan;
pub mod namespace;
pub mod proxy;
pub mod side;

pub use side::{Party, Placed, Side};
