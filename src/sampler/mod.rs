//! Passive reading of PostgreSQL's statistics views into points, on a fixed grid.
//!
//! One task and one connection a node, opened before the load. A tick's points carry the instant at which
//! it was *due*, the same on all nodes. A tick that the node did not answer is written as `up` 0; one that was
//! passed over is not written, and counted as missed. Counters are written raw: rates are made at reading time.
//! What containers use is read beside it; see [`container`].

pub mod container;
mod grid;
mod happening;
mod node;
mod session;
mod view;

use crate::base::clock::Clock;
use crate::base::units::Time;
use crate::metric::{Events, Points, Value};
use crate::pg::{Host, Login};
use grid::Grid;
use node::{Account, NodeSampler, Pace};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// `application_name` of the sampler's sessions.
pub const APPLICATION_NAME: &str = "pgbr-sampler";

/// `[sample]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sample {
    /// Time between ticks.
    pub every: Time,
    /// Time between ticks in a phase in which a fault is injected.
    pub around_fault: Time,
}

impl Default for Sample {
    fn default() -> Self {
        Sample { every: Time::s(1), around_fault: Time::ms(100) }
    }
}

/// Samplers at work, one a node.
#[derive(Debug)]
pub struct Running {
    pace: watch::Sender<Pace>,
    nodes: JoinSet<Account>,
}

impl Running {
    /// Connects to `hosts` and samples them every [`Sample::every`], from the next whole second of wall time on.
    /// A host that cannot be reached is sampled as down until it can. `login`'s application name is replaced
    /// by [`APPLICATION_NAME`].
    pub async fn start(
        hosts: Vec<Host>,
        login: Login,
        sample: &Sample,
        clock: Clock,
        points: Points,
        events: Events,
    ) -> Running {
        let login = Login { application_name: APPLICATION_NAME.into(), ..login };
        // A server may leave a reading unanswered for one tick, but never hold up its own report as down for long.
        let patience = sample.every.0.clamp(Duration::from_millis(500), Duration::from_secs(1));
        let mut opening = JoinSet::new();
        for host in hosts {
            let (login, points, events) = (login.clone(), points.clone(), events.clone());
            opening.spawn(NodeSampler::open(host, login, patience, clock, points, events));
        }
        let opened = opening.join_all().await;
        let (pace, paced) = watch::channel(Some(sample.every.0));
        let grid = Grid::new(next_whole_second(clock), sample.every.0);
        let mut nodes = JoinSet::new();
        for sampler in opened {
            nodes.spawn(sampler.run(grid, paced.clone()));
        }
        Running { pace, nodes }
    }

    /// Changes the time between ticks.
    pub fn pace(&self, every: Duration) {
        self.pace.send_replace(Some(every));
    }

    /// Ends all sampling, within a quarter of a second whatever the servers do. Gives `sampler.ticks`,
    /// `sampler.missed` and `sampler.down` of each node, and the names (`view.column`) of what the servers do not have.
    pub async fn stop(self) -> (Vec<Value>, BTreeSet<String>) {
        self.pace.send_replace(None);
        let mut accounts = self.nodes.join_all().await;
        accounts.sort_by(|a, b| a.node.cmp(&b.node));
        let (mut values, mut absent) = (Vec::new(), BTreeSet::new());
        for account in accounts {
            values.push(Value::new("sampler.ticks", account.ticks as f64).node(&account.node));
            if account.ticks > 0 {
                let share = account.missed as f64 / account.ticks as f64;
                let down = account.down as f64 / account.ticks as f64;
                values.push(Value::new("sampler.missed", share).node(&account.node));
                values.push(Value::new("sampler.down", down).node(&account.node));
            }
            absent.extend(account.absent);
        }
        (values, absent)
    }
}

/// The next whole second of wall time, so that the points of all runs fall on the same grid.
fn next_whole_second(clock: Clock) -> Duration {
    let now = clock.elapsed();
    let within = clock.at(now).subsec_nanosecond().rem_euclid(1_000_000_000);
    now + Duration::from_secs(1) - Duration::from_nanos(u64::from(within.unsigned_abs()))
}
