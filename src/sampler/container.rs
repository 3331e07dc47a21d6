//! What the containers of nodes use, read from their engine into points, and what the engine tells of them while it
//! happens.
//!
//! One task a container, beside the task that reads its server's views and never in its way. Ticks are due at whole
//! seconds of the views' grid and no more often, around faults neither: an engine answers in milliseconds and not in
//! microseconds. A tick at which the last one was still unanswered, or which the engine answered with an error, is
//! counted as missed; of a container that does not run there is nothing to read, and no point.

use super::grid::Grid;
use super::happening;
use crate::base::clock::Clock;
use crate::cluster::Node;
use crate::driver::docker::stats::Stats;
use crate::driver::outcome::SignalError;
use crate::metric::{Event, Events, Field, Point, Points, Value, sampled};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a reading under way, and telling what happened, may still take at the end.
const LAST_WORD: Duration = Duration::from_millis(750);

/// Where the trial stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Now {
    /// Before the first phase.
    Before,
    /// In the phase of this name.
    Phase(Arc<str>),
    /// Sampling is to end.
    Over,
}

/// Samplers of containers at work, one a container; none where no node is one.
#[derive(Debug)]
pub struct Running {
    now: watch::Sender<Now>,
    nodes: JoinSet<Account>,
    listeners: JoinSet<()>,
}

impl Running {
    /// Samples those of `nodes` that are containers at the whole seconds that are multiples of `every`, rounded up to
    /// a second, and tells what happens to them as `container.oom` and `container.died`.
    pub async fn start(
        nodes: &[Arc<Node>],
        every: Duration,
        clock: Clock,
        points: &Points,
        events: &Events,
    ) -> Running {
        let (now, told) = watch::channel(Now::Before);
        let listeners = happening::listen(nodes, clock, events, &told).await;
        let grid = Grid::new(super::next_whole_second(clock), whole_seconds(every));
        let mut running = JoinSet::new();
        for node in nodes.iter().filter(|node| node.is_container()) {
            let sampler = ContainerSampler {
                node: node.clone(),
                clock,
                points: points.clone(),
                events: events.clone(),
                under_way: JoinSet::new(),
                failing: false,
                account: Account { node: node.name.clone(), ..Account::default() },
            };
            running.spawn(sampler.run(grid, told.clone()));
        }
        Running { now, nodes: running, listeners }
    }

    /// A phase begins.
    pub fn phase(&self, name: &str) {
        self.now.send_replace(Now::Phase(name.into()));
    }

    /// Ends all sampling, within a second whatever the engine does. Gives of each container `container.ticks` and
    /// `container.missed`, and by phase `container.throttled` and `container.memory.max`.
    pub async fn stop(mut self) -> Vec<Value> {
        self.now.send_replace(Now::Over);
        let told = async { while self.listeners.join_next().await.is_some() {} };
        // Who is not through by then is ended with the set.
        let _ = tokio::time::timeout(LAST_WORD, told).await;
        let mut accounts = self.nodes.join_all().await;
        accounts.sort_by(|a, b| a.node.cmp(&b.node));
        accounts.iter().flat_map(Account::values).collect()
    }
}

pub(super) fn whole_seconds(every: Duration) -> Duration {
    Duration::from_secs(every.as_secs() + u64::from(every.subsec_nanos() > 0))
}

/// What a container's sampler ended with.
#[derive(Debug, Default)]
struct Account {
    node: String,
    ticks: u64,
    missed: u64,
    phases: Vec<Usage>,
    /// The last reading, and the phase it was made in; none before the first, nor after one of a container that did
    /// not run.
    last: Option<(Arc<str>, Stats)>,
}

/// What was used in a phase.
#[derive(Debug)]
struct Usage {
    phase: Arc<str>,
    periods: u64,
    throttled: u64,
    memory_max: Option<u64>,
}

impl Account {
    /// Takes a reading into account. Between two readings of different phases nothing is known of either.
    fn take(&mut self, phase: &Arc<str>, stats: Stats) {
        if stats == Stats::default() {
            self.last = None;
            return;
        }
        if self.phases.last().is_none_or(|usage| usage.phase != *phase) {
            self.phases.push(Usage { phase: phase.clone(), periods: 0, throttled: 0, memory_max: None });
        }
        let Some(usage) = self.phases.last_mut() else { return };
        usage.memory_max = usage.memory_max.max(stats.memory_bytes);
        if let Some((before, last)) = &self.last
            && before == phase
        {
            let grown = |of: fn(&Stats) -> Option<u64>| of(&stats)?.checked_sub(of(last)?);
            // They begin at zero again when the container starts again.
            if let (Some(periods), Some(throttled)) =
                (grown(|stats| stats.cpu_periods), grown(|stats| stats.cpu_throttled_periods))
            {
                usage.periods += periods;
                usage.throttled += throttled;
            }
        }
        self.last = Some((phase.clone(), stats));
    }

    fn values(&self) -> Vec<Value> {
        let mut values = vec![Value::new("container.ticks", self.ticks as f64)];
        if self.ticks > 0 {
            values.push(Value::new("container.missed", self.missed as f64 / self.ticks as f64));
        }
        for usage in &self.phases {
            let of_phase = |metric, value| Value::new(metric, value).phase(&*usage.phase);
            // Without a limit there are no periods.
            if usage.periods > 0 {
                values.push(of_phase("container.throttled", usage.throttled as f64 / usage.periods as f64));
            }
            values.extend(usage.memory_max.map(|bytes| of_phase("container.memory.max", bytes as f64)));
        }
        values.into_iter().map(|value| value.node(&self.node)).collect()
    }
}

struct Reading {
    due: Duration,
    now: Now,
    read: Option<Result<Stats, SignalError>>,
}

struct ContainerSampler {
    node: Arc<Node>,
    clock: Clock,
    points: Points,
    events: Events,
    /// At most one reading.
    under_way: JoinSet<Reading>,
    /// That the engine does not answer was told.
    failing: bool,
    account: Account,
}

impl ContainerSampler {
    async fn run(mut self, mut grid: Grid, mut now: watch::Receiver<Now>) -> Account {
        loop {
            let wake = self.clock.instant(grid.due());
            tokio::select! {
                changed = now.changed() => if changed.is_err() || *now.borrow_and_update() == Now::Over { break },
                Some(Ok(reading)) = self.under_way.join_next(), if !self.under_way.is_empty() => self.take(reading),
                () = tokio::time::sleep_until(wake.into()) => {
                    let (due, skipped) = grid.take(self.clock.elapsed());
                    let now = now.borrow().clone();
                    self.tick(due, u64::from(skipped), now);
                }
            }
        }
        match tokio::time::timeout(LAST_WORD, self.under_way.join_next()).await {
            Ok(Some(Ok(reading))) => self.take(reading),
            Ok(None) => {}
            Ok(Some(Err(_))) | Err(_) => self.account.missed += 1,
        }
        self.account
    }

    fn tick(&mut self, due: Duration, skipped: u64, now: Now) {
        self.account.ticks += 1 + skipped;
        self.account.missed += skipped;
        if !self.under_way.is_empty() {
            self.account.missed += 1;
            return;
        }
        let node = self.node.clone();
        self.under_way.spawn(async move { Reading { due, now, read: node.stats().await } });
    }

    fn take(&mut self, Reading { due, now, read }: Reading) {
        let stats = match read {
            None => return,
            Some(Ok(stats)) => stats,
            Some(Err(error)) => {
                self.account.missed += 1;
                if !std::mem::replace(&mut self.failing, true) {
                    let text = format!("the container of {} is not sampled: {error}", self.node.name);
                    let event = Event { elapsed: self.clock.elapsed(), kind: "sampler.lost", node: self.name(), text };
                    let _ = self.events.send(event);
                }
                return;
            }
        };
        self.failing = false;
        if let Now::Phase(phase) = &now {
            self.account.take(phase, stats);
        }
        // Of counters that outgrow what a point can hold nothing is known.
        let field = |(name, value)| Some((name, Field::Int(i64::try_from(value).ok()?)));
        let fields: Vec<_> = stats.fields().into_iter().filter_map(field).collect();
        if !fields.is_empty() {
            let (measurement, node) = (sampled::CONTAINER.name, self.node.name.clone());
            self.points.send(vec![Point { measurement, node, role: "", tags: Vec::new(), fields, elapsed: due }]);
        }
    }

    fn name(&self) -> Option<String> {
        Some(self.node.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(periods: u64, throttled: u64, memory: u64) -> Stats {
        Stats {
            cpu_periods: Some(periods),
            cpu_throttled_periods: Some(throttled),
            memory_bytes: Some(memory),
            ..Stats::default()
        }
    }

    #[test]
    fn only_whole_seconds() {
        for (every, whole) in [(100, 1000), (1000, 1000), (1500, 2000), (5000, 5000)] {
            assert_eq!(whole_seconds(Duration::from_millis(every)), Duration::from_millis(whole));
        }
    }

    #[test]
    fn what_was_used_between_readings_of_one_phase_counts() {
        let mut account = Account { node: "a".to_owned(), ticks: 8, missed: 2, ..Account::default() };
        let (calm, busy): (Arc<str>, Arc<str>) = ("calm".into(), "busy".into());
        account.take(&calm, stats(100, 50, 10));
        account.take(&calm, stats(110, 50, 30));
        account.take(&busy, stats(120, 60, 20));
        account.take(&busy, stats(130, 65, 20));
        // It ended and was started again; then so quickly that no reading fell in between.
        account.take(&busy, Stats::default());
        account.take(&busy, stats(200, 200, 5));
        account.take(&busy, stats(5, 5, 5));
        account.take(&busy, stats(15, 15, 5));
        let values = account.values();
        let value = |metric: &str, phase: Option<&str>| {
            let of = |value: &&Value| value.metric == metric && value.phase.as_deref() == phase;
            values.iter().find(of).map(|value| value.value)
        };
        assert_eq!((value("container.ticks", None), value("container.missed", None)), (Some(8.0), Some(0.25)));
        assert_eq!(value("container.throttled", Some("calm")), Some(0.0));
        assert_eq!(value("container.throttled", Some("busy")), Some(15.0 / 20.0));
        assert_eq!(value("container.memory.max", Some("calm")), Some(30.0));
        assert!(values.iter().all(|value| value.node.as_deref() == Some("a")));
    }

    #[test]
    fn without_a_limit_nothing_is_said_of_throttling() {
        let mut account = Account::default();
        account.take(&"p".into(), stats(0, 0, 1));
        account.take(&"p".into(), stats(0, 0, 1));
        assert!(account.values().iter().all(|value| value.metric != "container.throttled"));
    }
}
