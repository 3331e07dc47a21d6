//! Lag of every stream as the servers themselves tell it, in four ways beside [commit to visible](super::visibility):
//! LSN distance in bytes; the sender's own `replay_lag`; the age of a heartbeat (the visibility probe's marker) on the
//! target; the age of the last transaction that it replayed. And whether it is connected, and what its slot keeps.
//!
//! All servers are asked at planned instants over connections of their own. Ages are by the target's clock and stamps by
//! the writer's: on one machine they are one clock. What a server does not say is absent.
//!
//! - The distance is of bytes, not of time: a checkpoint's full pages are most of it for a while.
//! - `replay_lag` is of a recent acknowledgement, with its way back, and becomes NULL when nothing is written.
//! - A heartbeat is as old as the interval of its writes even when there is no lag.
//! - The last replayed transaction ages on an idle primary though nothing is behind. It is here to teach that.
//!
//! Summary: `lag.bytes.*`, `lag.reported.*`, `lag.heartbeat.*`, `lag.last_replayed.*`, `lag.retained.max`,
//! `lag.written`, `lag.connected`, by stream. Points: measurement `lag`.

mod reading;
mod tally;

use super::apart::{Apart, Stop};
use super::stream::Stream;
use crate::base::Name;
use crate::base::clock::Clock;
use crate::base::units::Time;
use crate::metric::{Points, Value};
use crate::pg::connect::connect;
use crate::pg::{Host, Login};
use reading::{Reading, read};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tally::{Tally, lag};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tokio_postgres::Client;

/// Longest time for connecting and for an answer.
const ANSWER: Duration = Duration::from_secs(1);

/// `[probe.lag]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lags {
    /// Time between readings.
    pub every: Time,
}

impl Default for Lags {
    fn default() -> Self {
        Lags { every: Time::ms(250) }
    }
}

/// The probe at work.
#[derive(Debug)]
pub struct Running {
    phase: Arc<Mutex<Vec<String>>>,
    probing: Apart<Vec<Value>>,
}

/// What the probe works with.
struct Probe {
    every: Duration,
    streams: Vec<Stream>,
    login: Login,
    clock: Clock,
    points: Points,
    /// Whether the visibility probe's table is there.
    beats: bool,
    /// The phases so far.
    phase: Arc<Mutex<Vec<String>>>,
}

impl Running {
    /// Starts asking `hosts` for the lag of `streams`; it connects as it can. `beats`: the visibility probe is at work.
    pub fn start(
        settings: &Lags,
        hosts: Vec<Host>,
        streams: Vec<Stream>,
        (login, clock, points): (Login, Clock, Points),
        beats: bool,
    ) -> io::Result<Running> {
        let phase: Arc<Mutex<Vec<String>>> = Arc::default();
        let probe = Probe { every: *settings.every, streams, login, clock, points, beats, phase: phase.clone() };
        Ok(Running { phase, probing: Apart::start("lag", |stop| probe.run(hosts, stop))? })
    }

    /// What is read from now on belongs to the phase called `name`.
    pub fn phase(&self, name: &str) {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
    }

    /// Stops, and sums up.
    pub async fn stop(self) -> Vec<Value> {
        self.probing.stop().await
    }
}

/// A stream's tallies: of all, and of each phase by its number.
#[derive(Default)]
struct Of {
    all: Tally,
    phases: BTreeMap<usize, Tally>,
}

impl Probe {
    async fn run(self, hosts: Vec<Host>, mut stop: Stop) -> Vec<Value> {
        let mut tallies: Vec<Of> = self.streams.iter().map(|_| Of::default()).collect();
        tokio::select! {
            () = stop.asked() => {}
            () = self.ask_for_ever(hosts, &mut tallies) => {}
        }
        let phases = self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut values = Vec::new();
        for (stream, of) in self.streams.iter().zip(tallies) {
            let mine = |value: Value| value.node(&stream.to).subject(stream.subject());
            values.extend(of.all.values().into_iter().map(mine));
            for (number, tally) in of.phases {
                values.extend(tally.values().into_iter().map(|value| mine(value).phase(&phases[number])));
            }
        }
        values
    }

    async fn ask_for_ever(&self, hosts: Vec<Host>, tallies: &mut [Of]) {
        let mut clients: BTreeMap<Name, Client> = BTreeMap::new();
        let start = self.clock.elapsed();
        loop {
            let passed = self.clock.elapsed().saturating_sub(start).as_nanos() / self.every.as_nanos().max(1);
            let due = start + self.every.saturating_mul(passed as u32 + 1);
            sleep_until(self.clock.instant(due).into()).await;
            let said = self.ask(&hosts, &mut clients).await;
            let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner).len().checked_sub(1);
            let mut points = Vec::new();
            for (stream, of) in self.streams.iter().zip(tallies.iter_mut()) {
                let lag = lag(stream, &said);
                of.all.count(&lag);
                if let Some(phase) = phase {
                    of.phases.entry(phase).or_default().count(&lag);
                }
                points.push(lag.point(stream, due));
            }
            self.points.send(points);
        }
    }

    /// Asks all at the same time. Who does not answer is left out, and connected to anew the next time.
    async fn ask(&self, hosts: &[Host], clients: &mut BTreeMap<Name, Client>) -> BTreeMap<Name, Reading> {
        let mut asked = JoinSet::new();
        for host in hosts {
            let (host, login, beats) = (host.clone(), self.login.clone(), self.beats);
            let known = clients.remove(&host.node);
            asked.spawn(async move {
                let client = match known {
                    Some(client) => client,
                    None => connect(&host, &login, ANSWER).await.ok()?,
                };
                let reading = timeout(ANSWER, read(&client, beats)).await.ok()?.ok()?;
                Some((host.node, client, reading))
            });
        }
        let mut said = BTreeMap::new();
        for (node, client, reading) in asked.join_all().await.into_iter().flatten() {
            clients.insert(node.clone(), client);
            said.insert(node, reading);
        }
        said
    }
}
