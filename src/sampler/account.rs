//! What a node's sampler ended with.

use super::episodes::Episode;
use crate::metric::Value;
use std::collections::BTreeSet;

/// The account of one node; every tick of every group of views counts.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) node: String,
    pub(super) ticks: u64,
    /// Passed over while an answer was awaited.
    pub(super) missed: u64,
    /// Not answered: the server was down.
    pub(super) down: u64,
    pub(super) absent: BTreeSet<String>,
    pub(super) episodes: Vec<Episode>,
    /// Episodes beyond what is kept.
    pub(super) beyond: u64,
}

impl Account {
    pub(super) fn values(&self) -> Vec<Value> {
        let mut values = vec![("sampler.ticks", self.ticks as f64)];
        if self.ticks > 0 {
            values.push(("sampler.missed", self.missed as f64 / self.ticks as f64));
            values.push(("sampler.down", self.down as f64 / self.ticks as f64));
        }
        values.into_iter().map(|(metric, value)| Value::new(metric, value).node(&self.node)).collect()
    }
}
