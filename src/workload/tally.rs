//! What is counted: by each thread for an interval, then merged over threads, phases, the whole load.

use super::mix::Transaction;
use super::queries::Answer;
use crate::base::histogram::Histogram;
use crate::pg::wire::SqlState;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Why a transaction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The server's SQLSTATE, or `08006` for a connection that was lost without one.
    SqlState(SqlState),
    /// The load's `timeout` passed; its connection was dropped.
    Timeout,
    /// A query came to something else than is known of its data.
    WrongAnswer(Transaction),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::SqlState(state) => state.fmt(f),
            Cause::Timeout => f.write_str("timeout"),
            Cause::WrongAnswer(what) => write!(f, "wrong_answer/{}", what.name()),
        }
    }
}

/// The three times of completed transactions.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    /// From the intended instant to the end.
    pub(super) response: Histogram,
    /// From sending to the end.
    pub(super) service: Histogram,
    /// From the intended instant to sending.
    pub(super) wait: Histogram,
}

impl Latencies {
    /// Adds all that `other` has counted.
    pub(super) fn merge(&mut self, other: &Latencies) {
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.wait.merge(&other.wait);
    }
}

/// Everything that is counted of a stretch of time. A transaction belongs to the stretch in which it ended.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Completed transactions, in the mix's order.
    pub(super) latencies: Vec<Latencies>,
    /// How long clients waited for a pooled connection.
    pub(super) pool_wait: Histogram,
    /// How late free clients were woken for due instants.
    pub(super) late: Histogram,
    /// Failed transactions.
    pub(super) errors: BTreeMap<Cause, u64>,
    /// What queries came to, by their place in the mix.
    pub(super) answers: BTreeMap<usize, Answer>,
    /// Transactions that became due (open loop) or were begun (closed loop).
    pub(super) started: u64,
    /// Of these, the ones that neither completed nor failed before the load ended.
    pub(super) unfinished: u64,
    /// Connections made after the first of each client.
    pub(super) reconnects: u64,
    /// CPU time of the threads.
    pub(super) cpu: Duration,
    /// Time covered, summed over the threads.
    pub(super) covered: Duration,
}

impl Tally {
    /// Nothing counted yet, for a mix of `transactions`.
    pub(super) fn new(transactions: usize) -> Tally {
        Tally {
            latencies: vec![Latencies::default(); transactions],
            pool_wait: Histogram::default(),
            late: Histogram::default(),
            errors: BTreeMap::new(),
            answers: BTreeMap::new(),
            started: 0,
            unfinished: 0,
            reconnects: 0,
            cpu: Duration::ZERO,
            covered: Duration::ZERO,
        }
    }

    /// Adds all that `other` has counted.
    pub(super) fn merge(&mut self, other: &Tally) {
        for (ours, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            ours.merge(theirs);
        }
        self.pool_wait.merge(&other.pool_wait);
        self.late.merge(&other.late);
        for (cause, count) in &other.errors {
            *self.errors.entry(*cause).or_default() += count;
        }
        self.answers.extend(&other.answers);
        self.started += other.started;
        self.unfinished += other.unfinished;
        self.reconnects += other.reconnects;
        self.cpu += other.cpu;
        self.covered += other.covered;
    }

    /// Completed transactions.
    pub(super) fn done(&self) -> u64 {
        self.latencies.iter().map(|of| of.response.count()).sum()
    }

    /// Of these, the ones that came to something else than they should.
    pub(super) fn wrong(&self) -> u64 {
        let wrong = |(cause, count): (&Cause, &u64)| matches!(cause, Cause::WrongAnswer(_)).then_some(*count);
        self.errors.iter().filter_map(wrong).sum()
    }

    /// Failed transactions.
    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Width of the bins in which completed transactions are counted.
pub(super) const BIN: Duration = Duration::from_millis(100);

/// Completed transactions of one thread in bins since the trial's zero; emptied with every interval.
#[derive(Debug)]
pub(super) struct Bins {
    /// The bin being filled, the instant at which it is full, and what is in it.
    index: u64,
    until: Instant,
    count: u32,
    /// Bins that were left behind, with something in them.
    full: Vec<(u64, u32)>,
}

impl Bins {
    /// Bins counted from `zero`.
    pub(super) fn new(zero: Instant) -> Bins {
        Bins { index: 0, until: zero + BIN, count: 0, full: Vec::new() }
    }

    /// Counts a transaction that ended at `done`; instants do not go back.
    #[inline]
    pub(super) fn add(&mut self, done: Instant) {
        if done >= self.until {
            self.advance(done);
        }
        self.count += 1;
    }

    #[cold]
    fn advance(&mut self, to: Instant) {
        self.leave();
        let steps = (to - self.until).as_millis() as u64 / BIN.as_millis() as u64 + 1;
        self.index += steps;
        self.until += Duration::from_millis(BIN.as_millis() as u64 * steps);
    }

    fn leave(&mut self) {
        if self.count > 0 {
            self.full.push((self.index, std::mem::take(&mut self.count)));
        }
    }

    /// Takes out what was counted since the last time, as index and count; an index can come again.
    pub(super) fn take(&mut self) -> Vec<(u64, u32)> {
        self.leave();
        std::mem::take(&mut self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_lie_on_the_grid_of_the_zero() {
        let zero = Instant::now();
        let mut bins = Bins::new(zero);
        for ms in [0, 99, 100, 350, 351] {
            bins.add(zero + Duration::from_millis(ms));
        }
        assert_eq!(bins.take(), [(0, 2), (1, 1), (3, 2)]);
        bins.add(zero + Duration::from_millis(399));
        bins.add(zero + Duration::from_millis(1000));
        assert_eq!(bins.take(), [(3, 1), (10, 1)]);
        assert_eq!(bins.take(), []);
    }

    #[test]
    fn merging_adds_everything() {
        let mut one = Tally::new(1);
        one.latencies[0].response.record(Duration::from_millis(1));
        one.errors.insert(Cause::Timeout, 2);
        one.started = 4;
        one.unfinished = 1;
        let mut both = one.clone();
        both.merge(&one);
        assert_eq!((both.started, both.done(), both.failed(), both.unfinished), (8, 2, 4, 2));
    }
}
