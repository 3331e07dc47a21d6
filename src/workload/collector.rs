//! Merges what the threads count, interval by interval, into phases; keeps the latency log; sends points.
//!
//! A thread of its own, so that compressing histograms and writing files delays no client. All threads of a load are
//! told to cut by this one: every second of the trial's clock, and when a phase begins.

use super::LoadError;
use super::desk::Slice;
use super::mix::Transaction;
use super::outcome::{Outcome, Stretch, Throughput};
use super::tally::Tally;
use super::worker::Command;
use crate::base::clock::Clock;
use crate::base::histogram::{Histogram, IntervalLog, LogError};
use crate::metric::{Field, Point, Points};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// The grid of intervals.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the collector is told.
#[derive(Debug)]
pub(super) enum Message {
    /// The clients begin at this instant.
    Go(Instant),
    /// A phase begins.
    Phase(String, Duration),
    /// What a thread counted between two cuts.
    Slice(Box<Slice>),
    /// The load ends; say what came of it.
    Stop(Instant, oneshot::Sender<Result<Outcome, LoadError>>),
    /// A thread is over.
    Over,
    /// Nobody waits for an outcome any more.
    Abandon,
}

/// The state of the collecting thread.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) load: String,
    pub(super) transactions: Vec<Transaction>,
    pub(super) clock: Clock,
    pub(super) points: Points,
    pub(super) log: IntervalLog,
    pub(super) workers: Vec<mpsc::UnboundedSender<Command>>,
    /// Cuts that not all threads have answered, after `closed` ones that they have.
    pub(super) cuts: VecDeque<Cut>,
    pub(super) closed: u64,
    pub(super) stretches: Vec<Stretch>,
    pub(super) throughput: Throughput,
    /// When the last cut was ordered; the one that the clients began at to start with.
    pub(super) last: Duration,
    /// The first thing that went wrong with the log.
    pub(super) failed: Option<LogError>,
}

/// A cut that was ordered; what the threads have answered so far.
#[derive(Debug)]
pub(super) struct Cut {
    from: Duration,
    to: Duration,
    stretch: usize,
    tally: Tally,
    missing: usize,
}

impl Collector {
    /// The body of the thread.
    pub(super) fn run(mut self, inbox: &Receiver<Message>) {
        let mut due = None;
        let stop = loop {
            let message = match due {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => inbox.recv_timeout(self.clock.instant(due).saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(Message::Go(at)) => {
                    self.last = self.clock.since(at);
                    self.tell(Command::Go(at));
                    due = Some(next_on_grid(self.last));
                }
                Ok(Message::Phase(name, at)) => {
                    self.cut(at);
                    self.stretches.push(Stretch::new(Some(name), self.transactions.len()));
                }
                Ok(Message::Slice(slice)) => self.take(*slice),
                Ok(Message::Stop(at, reply)) => break Some((at, reply)),
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.clock.elapsed();
                    self.cut(now);
                    due = Some(next_on_grid(now));
                }
                Ok(Message::Over | Message::Abandon) | Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        match stop {
            Some((at, reply)) => self.finish(inbox, at, reply),
            // A thread that ended by itself has panicked; the others end when their commands do. Who stops the load
            // learns it from the reply that never comes.
            None => self.workers.clear(),
        }
    }

    fn finish(mut self, inbox: &Receiver<Message>, at: Instant, reply: oneshot::Sender<Result<Outcome, LoadError>>) {
        self.tell(Command::Stop(at));
        self.order(self.clock.since(at));
        while !self.cuts.is_empty() {
            match inbox.recv() {
                Ok(Message::Slice(slice)) => self.take(*slice),
                Ok(Message::Over) | Err(_) => return,
                Ok(_) => {}
            }
        }
        // The threads wait for the end of their commands before they let go of their connections.
        let threads = self.workers.len();
        self.workers.clear();
        let outcome = match self.failed {
            None => Ok(Outcome::new(&self.load, &self.transactions, threads, &self.stretches, self.throughput)),
            Some(error) => Err(LoadError::Log(error)),
        };
        let _ = reply.send(outcome);
    }

    fn tell(&self, command: Command) {
        for worker in &self.workers {
            // A thread that is gone has said so itself.
            let _ = worker.send(command);
        }
    }

    fn cut(&mut self, at: Duration) {
        self.tell(Command::Cut);
        self.order(at);
    }

    fn order(&mut self, at: Duration) {
        self.cuts.push_back(Cut {
            from: self.last,
            to: at,
            stretch: self.stretches.len() - 1,
            tally: Tally::new(self.transactions.len()),
            missing: self.workers.len(),
        });
        self.last = at;
    }

    /// Takes in a slice. Each thread answers all cuts in order, but threads are not in step with each other.
    fn take(&mut self, slice: Slice) {
        self.throughput.add(&slice.bins);
        let Some(cut) = self.cuts.get_mut((slice.cut - self.closed) as usize) else { return };
        cut.tally.merge(&slice.tally);
        cut.missing -= 1;
        while self.cuts.front().is_some_and(|cut| cut.missing == 0)
            && let Some(cut) = self.cuts.pop_front()
        {
            self.closed += 1;
            self.close(&cut);
        }
    }

    /// An interval is whole.
    fn close(&mut self, cut: &Cut) {
        self.stretches[cut.stretch].tally.merge(&cut.tally);
        self.points.send(self.describe(cut));
        if self.failed.is_none() {
            self.failed = self.write(cut).err();
        }
    }

    fn write(&mut self, cut: &Cut) -> Result<(), LogError> {
        let (from, length) = (cut.from, cut.to.saturating_sub(cut.from));
        for (what, latencies) in self.transactions.iter().zip(&cut.tally.latencies) {
            let measures =
                [("response", &latencies.response), ("service", &latencies.service), ("wait", &latencies.wait)];
            for (measure, histogram) in measures.into_iter().filter(|(_, histogram)| histogram.count() > 0) {
                self.log.append(&format!("{}.{measure}", what.name()), histogram, from, length)?;
            }
        }
        let own = [("generator.late", &cut.tally.late), ("pool_wait", &cut.tally.pool_wait)];
        for (tag, histogram) in own.into_iter().filter(|(_, histogram)| histogram.count() > 0) {
            self.log.append(tag, histogram, from, length)?;
        }
        self.log.flush()
    }

    /// The interval as points: one for each transaction of the mix, one for the whole load, and its response times.
    fn describe(&self, cut: &Cut) -> Vec<Point> {
        let point = |measurement, tags, fields| Point {
            measurement,
            node: String::new(),
            role: "",
            tags,
            fields,
            elapsed: cut.to,
        };
        let load = || ("load", self.load.clone());
        let elapsed = || ("elapsed_seconds", Field::Float(cut.to.as_secs_f64()));
        let mut points: Vec<Point> = (self.transactions.iter().zip(&cut.tally.latencies))
            .map(|(what, of)| {
                let mut fields = vec![("done", Field::Int(of.response.count() as i64))];
                let quantiles = [
                    ("response_p50", of.response.quantile(0.5)),
                    ("response_p99", of.response.quantile(0.99)),
                    ("response_max", of.response.max()),
                    ("service_p50", of.service.quantile(0.5)),
                    ("service_p99", of.service.quantile(0.99)),
                    ("wait_p99", of.wait.quantile(0.99)),
                ];
                fields.extend(quantiles.into_iter().filter_map(|(name, value)| Some((name, Field::Float(value?)))));
                fields.push(elapsed());
                point("load_latency", vec![load(), ("transaction", what.name().to_owned())], fields)
            })
            .collect();
        let count = |name, count: u64| (name, Field::Int(count as i64));
        let fields = vec![
            count("done", cut.tally.done()),
            count("errors", cut.tally.failed()),
            count("started", cut.tally.started),
            count("reconnects", cut.tally.reconnects),
            elapsed(),
        ];
        points.push(point("load_ops", vec![load()], fields));
        let mut response = Histogram::default();
        for of in &cut.tally.latencies {
            response.merge(&of.response);
        }
        points.extend(response.octaves().into_iter().map(|(micros, of)| {
            let tags = vec![load(), ("bucket", format!("{micros:010}us"))];
            point("load_latency_buckets", tags, vec![count("done", of)])
        }));
        points
    }
}

/// The next whole second of the trial's clock.
fn next_on_grid(now: Duration) -> Duration {
    Duration::from_secs(now.as_secs()) + INTERVAL
}
