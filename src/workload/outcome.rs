//! What a load ends with: summary values by phase, its account, throughput in fine bins.

use super::mix::Transaction;
use super::queries::Answer;
use super::tally::{BIN, Latencies, Tally};
use crate::base::histogram::Histogram;
use crate::metric::Value;
use std::collections::VecDeque;
use std::time::Duration;

/// What came of a load.
///
/// Values of a phase carry it; values of the whole load carry none. The subject is the load's name; of a mix of several
/// transactions also `load/transaction`, of errors also `load/SQLSTATE` (or `load/timeout`).
#[derive(Debug)]
pub struct Outcome {
    /// Rows for `summary.csv`.
    pub values: Vec<Value>,
    /// Where every transaction of the load went.
    pub account: Account,
    /// Completed transactions over time.
    pub throughput: Throughput,
}

/// The account of all transactions of a load: nothing disappears, so that
/// `started = done + errors + unfinished`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Became due (open loop) or were begun (closed loop).
    pub started: u64,
    /// Completed, and were acknowledged.
    pub done: u64,
    /// Failed; of those whose connection was lost or timed out, it is not known whether they took effect.
    pub errors: u64,
    /// Due but not sent, or sent but not ended, when the load was over.
    pub unfinished: u64,
}

impl Account {
    /// Whether it closes.
    pub fn closes(&self) -> bool {
        self.started == self.done + self.errors + self.unfinished
    }
}

/// Completed transactions of the load in bins of 100 ms on the trial's clock, the last hour of them.
#[derive(Clone, Debug, Default)]
pub struct Throughput {
    /// Index of the first bin that is kept.
    first: u64,
    counts: VecDeque<u64>,
}

impl Throughput {
    /// So that memory does not grow with the length of a run: an hour.
    const MOST: usize = 36_000;

    /// Width of a bin.
    pub const BIN: Duration = BIN;

    /// The bins in order: when each begins, and how many transactions completed in it.
    pub fn bins(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        (self.first..).zip(&self.counts).map(|(index, count)| (BIN * index as u32, *count))
    }

    /// What a load did that began with the trial.
    #[cfg(test)]
    pub fn of(bins: impl IntoIterator<Item = u64>) -> Throughput {
        Throughput { first: 0, counts: bins.into_iter().collect() }
    }

    pub(super) fn add(&mut self, bins: &[(u64, u32)]) {
        for (index, count) in bins {
            let Some(offset) = index.checked_sub(self.first) else { continue };
            if self.counts.len() <= offset as usize {
                self.counts.resize(offset as usize + 1, 0);
            }
            self.counts[offset as usize] += u64::from(*count);
        }
        let excess = self.counts.len().saturating_sub(Throughput::MOST);
        self.counts.drain(..excess);
        self.first += excess as u64;
    }
}

/// A phase, or what came before the first one.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) phase: Option<String>,
    pub(super) tally: Tally,
}

impl Stretch {
    pub(super) fn new(phase: Option<String>, transactions: usize) -> Stretch {
        Stretch { phase, tally: Tally::new(transactions) }
    }
}

impl Outcome {
    /// Sums up the stretches of the load called `load`, which ran on `threads` threads.
    pub(super) fn new(
        load: &str,
        transactions: &[Transaction],
        threads: usize,
        stretches: &[Stretch],
        throughput: Throughput,
    ) -> Outcome {
        let mut total = Tally::new(transactions.len());
        let mut values = Vec::new();
        for stretch in stretches {
            total.merge(&stretch.tally);
            if let Some(phase) = &stretch.phase {
                let of_phase = phase_values(load, transactions, threads, &stretch.tally);
                values.extend(of_phase.into_iter().map(|value| value.phase(phase)));
            }
        }
        values.extend(counts(load, &total));
        values.extend(answers(load, transactions, &total));
        let account = Account {
            started: total.started,
            done: total.done(),
            errors: total.failed(),
            unfinished: total.unfinished,
        };
        Outcome { values, account, throughput }
    }
}

/// What is counted of a phase and of the whole load alike.
fn counts(load: &str, tally: &Tally) -> Vec<Value> {
    let count = |metric, count: u64| Value::new(metric, count as f64).subject(load);
    let mut values = vec![
        count("load.started", tally.started),
        count("load.transactions", tally.done()),
        count("load.errors", tally.failed()),
        count("load.unfinished", tally.unfinished),
        count("load.reconnects", tally.reconnects),
    ];
    values.extend(
        tally
            .errors
            .iter()
            .map(|(cause, count)| Value::new("load.errors", *count as f64).subject(format!("{load}/{cause}"))),
    );
    values
}

/// What queries came to, and how many came to something else than they should.
fn answers(load: &str, transactions: &[Transaction], tally: &Tally) -> Vec<Value> {
    if !transactions.iter().any(|what| matches!(what, Transaction::ImdbQuery(_))) {
        return Vec::new();
    }
    let mut values = vec![Value::new("load.wrong", tally.wrong() as f64).subject(load)];
    for (index, Answer(rows, sum)) in &tally.answers {
        let subject = || format!("{load}/{}", transactions[*index].name());
        values.push(Value::new("load.answer.rows", *rows as f64).subject(subject()));
        values.push(Value::new("load.answer.sum", *sum as f64).subject(subject()));
    }
    values
}

fn phase_values(load: &str, transactions: &[Transaction], threads: usize, tally: &Tally) -> Vec<Value> {
    let mut values = counts(load, tally);
    // Time covered is summed over the threads.
    let elapsed = tally.covered.as_secs_f64() / threads as f64;
    let mut all = Latencies::default();
    for (what, of) in transactions.iter().zip(&tally.latencies) {
        all.merge(of);
        if transactions.len() > 1 {
            values.extend(throughput_and_latency(&format!("{load}/{}", what.name()), of, elapsed));
        }
    }
    values.extend(throughput_and_latency(load, &all, elapsed));
    let quantiles: [(&Histogram, &[(&str, f64)]); 2] = [
        (&tally.pool_wait, &[("load.pool_wait.p50", 0.5), ("load.pool_wait.p99", 0.99)]),
        (&tally.late, &[("generator.late.p99", 0.99), ("generator.late.max", 1.0)]),
    ];
    for (histogram, of) in quantiles {
        values.extend(quantiles_of(load, histogram, of));
    }
    if elapsed > 0.0 {
        values.push(Value::new("generator.cpu", tally.cpu.as_secs_f64() / tally.covered.as_secs_f64()).subject(load));
    }
    values
}

fn throughput_and_latency(subject: &str, of: &Latencies, elapsed: f64) -> Vec<Value> {
    let mut values = Vec::new();
    if elapsed > 0.0 {
        values.push(Value::new("load.tps", of.response.count() as f64 / elapsed).subject(subject));
    }
    if let Some(mean) = of.response.mean() {
        values.push(Value::new("load.response.mean", mean).subject(subject));
    }
    if of.response.saturated() > 0 {
        values.push(Value::new("load.response.saturated", of.response.saturated() as f64).subject(subject));
    }
    let measures: [(&Histogram, &[(&str, f64)]); 3] = [
        (
            &of.response,
            &[
                ("load.response.p50", 0.5),
                ("load.response.p90", 0.9),
                ("load.response.p99", 0.99),
                ("load.response.p999", 0.999),
                ("load.response.max", 1.0),
            ],
        ),
        (&of.service, &[("load.service.p50", 0.5), ("load.service.p99", 0.99), ("load.service.max", 1.0)]),
        (&of.wait, &[("load.wait.p99", 0.99), ("load.wait.max", 1.0)]),
    ];
    for (histogram, of) in measures {
        values.extend(quantiles_of(subject, histogram, of));
    }
    values
}

/// The quantiles of what was counted; none when nothing was.
fn quantiles_of<'a>(
    subject: &'a str,
    histogram: &'a Histogram,
    of: &'a [(&'static str, f64)],
) -> impl Iterator<Item = Value> + 'a {
    of.iter().filter_map(move |(metric, at)| Some(Value::new(metric, histogram.quantile(*at)?).subject(subject)))
}

#[cfg(test)]
mod tests {
    use super::super::tally::Cause;
    use super::*;
    use crate::metric::catalogue;
    use crate::pg::wire::SqlState;

    fn stretch(phase: Option<&str>, millis: &[u64]) -> Stretch {
        let mut stretch = Stretch::new(phase.map(str::to_owned), 2);
        for ms in millis {
            stretch.tally.latencies[0].response.record(Duration::from_millis(*ms));
        }
        stretch.tally.started = millis.len() as u64 + 1;
        stretch.tally.errors.insert(Cause::SqlState(SqlState(*b"40001")), 1);
        // Two threads that were watched for two seconds each.
        stretch.tally.covered = Duration::from_secs(4);
        stretch.tally.cpu = Duration::from_secs(1);
        stretch
    }

    fn find(outcome: &Outcome, metric: &str, phase: Option<&str>, subject: &str) -> Option<f64> {
        let found = outcome.values.iter().find(|value| {
            value.metric == metric && value.phase.as_deref() == phase && value.subject.as_deref() == Some(subject)
        });
        found.map(|value| value.value)
    }

    #[test]
    fn values_are_declared_and_unique_and_the_account_closes() {
        let stretches = [stretch(None, &[]), stretch(Some("steady"), &[10, 20, 30, 40]), stretch(Some("kill"), &[])];
        let mix = [Transaction::Tpcb, Transaction::SelectOnly];
        let outcome = Outcome::new("app", &mix, 2, &stretches, Throughput::default());
        for (i, value) in outcome.values.iter().enumerate() {
            assert!(catalogue::find(value.metric).is_some(), "{}", value.metric);
            let key = |v: &Value| (v.metric, v.phase.clone(), v.subject.clone());
            assert!(outcome.values[i + 1..].iter().all(|other| key(other) != key(value)), "{value:?} twice");
        }
        assert_eq!(outcome.account, Account { started: 7, done: 4, errors: 3, unfinished: 0 });
        assert!(outcome.account.closes());
        assert_eq!(find(&outcome, "load.tps", Some("steady"), "app"), Some(2.0));
        assert_eq!(find(&outcome, "load.tps", Some("kill"), "app"), Some(0.0));
        assert_eq!(find(&outcome, "load.tps", Some("steady"), "app/tpcb"), Some(2.0));
        assert_eq!(find(&outcome, "load.errors", None, "app/40001"), Some(3.0));
        assert_eq!(find(&outcome, "generator.cpu", Some("steady"), "app"), Some(0.25));
        assert_eq!(find(&outcome, "load.response.p99", Some("kill"), "app"), None, "nothing completed: not known");
    }

    #[test]
    fn throughput_keeps_the_last_hour() {
        let mut throughput = Throughput::default();
        throughput.add(&[(5, 2), (7, 1), (5, 1)]);
        let bins: Vec<_> = throughput.bins().filter(|(_, count)| *count > 0).collect();
        assert_eq!(bins, [(Duration::from_millis(500), 3), (Duration::from_millis(700), 1)]);
        throughput.add(&[(40_000, 9)]);
        throughput.add(&[(3, 9)]);
        assert_eq!(throughput.bins().count(), Throughput::MOST);
        assert_eq!(throughput.bins().last(), Some((Duration::from_secs(4000), 9)));
        assert_eq!(throughput.bins().map(|(_, count)| count).sum::<u64>(), 9);
    }
}
