//! Passive reading of PostgreSQL's statistics views into points, on fixed grids.
//!
//! One task and one connection a node, opened before the load. A tick's points carry the instant at which
//! it was *due*, the same on all nodes. A tick that the node did not answer is written as `up` 0; one that was
//! passed over is not written, and counted as missed. Counters are written raw: rates are made at reading time.
//! What is read of a server stands in [`wanted`]; who waits for whose locks is made of it in [`lock_tree`] and kept in
//! [`episodes`]. What containers, server processes and the machine use is read beside it; see
//! [`container`] and [`host`].

mod account;
mod activity;
pub mod container;
mod episodes;
mod grid;
mod guard;
mod happening;
pub mod host;
mod lock_tree;
mod node;
mod rounds;
mod session;
mod view;
mod wanted;

pub use episodes::{Episode, Pair};

use crate::base::clock::Clock;
use crate::base::units::Time;
use crate::metric::{Event, Events, Points, Value};
use crate::pg::{Host, Login};
use node::NodeSampler;
use rounds::Rounds;
use serde::{Deserialize, Serialize};
use session::{OpenError, Session};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// `application_name` of the sampler's sessions.
pub const APPLICATION_NAME: &str = "pgbr-sampler";

/// `[sample]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sample {
    /// Time between ticks at which sessions, their waits and positions in the WAL are read.
    pub waits: Time,
    /// Time between ticks at which counters are read, which servers bring up to date about once a second.
    pub every: Time,
    /// Time between ticks at which tables, indexes, sizes and statements are read.
    pub tables: Time,
}

impl Default for Sample {
    fn default() -> Self {
        Sample { waits: Time::ms(100), every: Time::s(1), tables: Time::s(15) }
    }
}

/// A server that is sampled.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub host: Host,
    /// Who reads. The application name is replaced by [`APPLICATION_NAME`].
    pub login: Login,
    /// Names of the tables that are of interest; none: the largest ones.
    pub tables: Vec<String>,
}

impl Target {
    async fn open(&self, limit: Duration) -> Result<Arc<Session>, OpenError> {
        let login = Login { application_name: APPLICATION_NAME.into(), ..self.login.clone() };
        Session::open(self.host.clone(), login, &self.tables, limit).await.map(Arc::new)
    }
}

/// Samplers at work, one a node.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    nodes: JoinSet<account::Account>,
    clock: Clock,
    events: Events,
}

/// What samplers ended with.
#[derive(Debug, Default)]
pub struct Ended {
    /// `sampler.ticks`, `sampler.missed` and `sampler.down` of each node.
    pub values: Vec<Value>,
    /// What the servers do not have: `view.column`, or `view`.
    pub absent: BTreeSet<String>,
    /// Who waited for whose locks, in order of the beginning.
    pub episodes: Vec<Episode>,
}

impl Running {
    /// Connects to `targets` and samples them, from the next whole second of wall time on. One that cannot be reached
    /// is sampled as down until it can.
    pub async fn start(targets: Vec<Target>, sample: &Sample, clock: Clock, points: Points, events: Events) -> Running {
        let mut opening = JoinSet::new();
        for target in targets {
            opening.spawn(NodeSampler::open(target, sample.clone(), clock, points.clone(), events.clone()));
        }
        let opened = opening.join_all().await;
        let (stop, stopped) = watch::channel(false);
        let rounds = Rounds::new(next_whole_second(clock), sample);
        let mut nodes = JoinSet::new();
        for sampler in opened {
            nodes.spawn(sampler.run(rounds.clone(), stopped.clone()));
        }
        Running { stop, nodes, clock, events }
    }

    /// Ends all sampling, within a quarter of a second whatever the servers do.
    pub async fn stop(self) -> Ended {
        self.stop.send_replace(true);
        let mut accounts = self.nodes.join_all().await;
        accounts.sort_by(|a, b| a.node.cmp(&b.node));
        let mut ended = Ended::default();
        for account in accounts {
            if account.beyond > 0 {
                let (node, beyond) = (account.node.clone(), account.beyond);
                let text = format!("{beyond} more episodes of waiting for locks on {node} than are kept");
                let (elapsed, kind) = (self.clock.elapsed(), "sampler.episodes_dropped");
                // Whoever collected events may be gone at the end of the trial.
                let _ = self.events.send(Event { elapsed, kind, node: Some(node), text });
            }
            ended.values.extend(account.values());
            ended.absent.extend(account.absent);
            ended.episodes.extend(account.episodes);
        }
        ended.episodes.sort_by_key(|episode| episode.began);
        ended
    }
}

/// The next whole second of wall time, so that the points of all runs fall on the same grid.
fn next_whole_second(clock: Clock) -> Duration {
    let now = clock.elapsed();
    let within = clock.at(now).subsec_nanosecond().rem_euclid(1_000_000_000);
    now + Duration::from_secs(1) - Duration::from_nanos(u64::from(within.unsigned_abs()))
}
