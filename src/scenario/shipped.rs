//! The scenarios that come with the program.

use super::Source;
use super::read::read;

/// A scenario that comes with the program.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its name, as typed after `run`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// All of them.
pub const SHIPPED: &[Shipped] = &[
    Shipped { name: "failover", text: include_str!("../../scenarios/failover.toml") },
    Shipped { name: "failover-lossy", text: include_str!("../../scenarios/failover-lossy.toml") },
    Shipped { name: "switchover", text: include_str!("../../scenarios/switchover.toml") },
    Shipped { name: "freeze", text: include_str!("../../scenarios/freeze.toml") },
    Shipped { name: "partition", text: include_str!("../../scenarios/partition.toml") },
    Shipped { name: "versions", text: include_str!("../../scenarios/versions.toml") },
    Shipped { name: "small-container", text: include_str!("../../scenarios/small-container.toml") },
    Shipped { name: "baseline", text: include_str!("../../scenarios/baseline.toml") },
    Shipped { name: "logical", text: include_str!("../../scenarios/logical.toml") },
    Shipped { name: "subscriber-outage", text: include_str!("../../scenarios/subscriber-outage.toml") },
    Shipped { name: "replication-lag", text: include_str!("../../scenarios/replication-lag.toml") },
    Shipped { name: "replication-lag-wal", text: include_str!("../../scenarios/replication-lag-wal.toml") },
    Shipped { name: "commit-ladder", text: include_str!("../../scenarios/commit-ladder.toml") },
    Shipped { name: "probe-overhead", text: include_str!("../../scenarios/probe-overhead.toml") },
    Shipped { name: "lag-knee", text: include_str!("../../scenarios/lag-knee.toml") },
    Shipped { name: "logical-lag", text: include_str!("../../scenarios/logical-lag.toml") },
    Shipped { name: "upgrade", text: include_str!("../../scenarios/upgrade.toml") },
    Shipped { name: "chained", text: include_str!("../../scenarios/chained.toml") },
    Shipped { name: "failover-slots", text: include_str!("../../scenarios/failover-slots.toml") },
    Shipped { name: "selftest", text: include_str!("../../scenarios/selftest.toml") },
    Shipped { name: "clone-startup", text: include_str!("../../scenarios/clone-startup.toml") },
    Shipped { name: "clone-container", text: include_str!("../../scenarios/clone-container.toml") },
    Shipped { name: "clone-impact", text: include_str!("../../scenarios/clone-impact.toml") },
    Shipped { name: "clone-size", text: include_str!("../../scenarios/clone-size.toml") },
    Shipped { name: "imdb-load", text: include_str!("../../scenarios/imdb-load.toml") },
    Shipped { name: "imdb-vacuum", text: include_str!("../../scenarios/imdb-vacuum.toml") },
    Shipped { name: "imdb-queries", text: include_str!("../../scenarios/imdb-queries.toml") },
    Shipped { name: "clone-many", text: include_str!("../../scenarios/clone-many.toml") },
];

/// The one called `name`.
pub fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}

impl Shipped {
    /// As what it is read.
    pub fn source(&self) -> Source {
        Source::new(format!("scenarios/{}.toml", self.name), self.text)
    }

    /// What it asks; empty if its text does not read, which a test rules out.
    pub fn question(&self) -> String {
        read(&self.source()).map(|document| document.scenario.question).unwrap_or_default()
    }
}
