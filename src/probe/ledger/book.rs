//! What was sent and what came of it, writer by writer.

use super::miss::{Misses, Why};
use super::outage::{Gaps, Outage};
use crate::base::ranges::Ranges;
use crate::metric::{Field, Point, Value};
use std::collections::VecDeque;
use std::time::Duration;

/// What a writer knows of a write that it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged with the durability that was asked for.
    Ok,
    /// Acknowledged with a warning that its durability is weaker (a cancelled synchronous wait).
    Weak,
    /// Refused by the server, whose session went on: not applied, for certain.
    Failed,
    /// Sent, and not answered: it may have been applied, or may yet be.
    Unknown,
}

impl Outcome {
    /// Whether the client was told that the write is there.
    pub fn is_acked(self) -> bool {
        matches!(self, Outcome::Ok | Outcome::Weak)
    }
}

/// The writes of one writer. Sequence numbers begin at 1; each is sent once.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The highest sequence number that was sent.
    pub sent: u64,
    /// Sequence numbers with [`Outcome::Ok`].
    pub ok: Ranges,
    /// Sequence numbers with [`Outcome::Weak`].
    pub weak: Ranges,
    /// Sequence numbers with [`Outcome::Failed`].
    pub failed: Ranges,
    /// Sequence numbers with [`Outcome::Unknown`].
    pub unknown: Ranges,
    /// Due writes that were not sent.
    pub skipped: u64,
    /// For every server that acknowledged, in order, the first sequence number that it acknowledged. A server
    /// that was started anew counts as another one.
    pub servers: Vec<u64>,
    /// The next acknowledgement comes from another server.
    moved: bool,
    gaps: Gaps,
    /// When each of the last acknowledged ones was.
    acked_at: VecDeque<(u64, Duration)>,
}

/// How many acknowledgements of a writer keep their instant, to tell when what was lost had been promised.
const DATED: usize = 50_000;

/// The accounts of all writers, and the gaps between their acknowledgements taken together.
#[derive(Clone, Debug)]
pub struct Book {
    accounts: Vec<Account>,
    gaps: Gaps,
    misses: Misses,
    timelines: Timelines,
}

impl Book {
    /// Empty accounts of `writers` writers.
    pub fn new(writers: usize) -> Book {
        Book {
            accounts: vec![Account::default(); writers],
            gaps: Gaps::default(),
            misses: Misses::default(),
            timelines: Timelines::default(),
        }
    }

    /// The accounts, by writer.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The sequence number that `writer` sends next.
    pub fn next(&self, writer: usize) -> u64 {
        self.accounts[writer].sent + 1
    }

    /// The next write of `writer` was sent to a server on `timeline`; at `at` its outcome was known.
    pub fn settle(&mut self, writer: usize, outcome: Outcome, timeline: u32, at: Duration) {
        let account = &mut self.accounts[writer];
        account.sent += 1;
        let seq = account.sent;
        match outcome {
            Outcome::Ok => account.ok.insert(seq),
            Outcome::Weak => account.weak.insert(seq),
            Outcome::Failed => account.failed.insert(seq),
            Outcome::Unknown => account.unknown.insert(seq),
        };
        if outcome.is_acked() {
            if account.moved || account.servers.is_empty() {
                account.servers.push(seq);
                account.moved = false;
            }
            if account.acked_at.len() == DATED {
                account.acked_at.pop_front();
            }
            account.acked_at.push_back((seq, at));
            account.gaps.acked(at);
            self.gaps.acked(at);
            self.timelines.acked(timeline, at);
        } else {
            account.gaps.not_acked();
            self.gaps.not_acked();
            self.misses.missed(at, Why::Ended(outcome));
        }
    }

    /// `writer` let the instant `at` pass, because it was waiting or had no connection.
    pub fn skip(&mut self, writer: usize, at: Duration) {
        self.accounts[writer].skipped += 1;
        self.accounts[writer].gaps.not_acked();
        self.gaps.not_acked();
        self.misses.missed(at, Why::Late);
    }

    /// `writer` is now connected to another server than the one that gave its last acknowledgement, or to the
    /// same one started anew.
    pub fn moved(&mut self, writer: usize) {
        self.accounts[writer].moved = true;
    }

    /// The measured fault happened at `t0`.
    pub fn fault(&mut self, t0: Duration) {
        self.gaps.fault(t0);
        self.misses.fault(t0);
        self.accounts.iter_mut().for_each(|account| account.gaps.fault(t0));
    }

    /// The write outage of all writers together, as seen at `end`.
    pub fn outage(&self, end: Duration) -> Option<Outage> {
        self.gaps.outage(end)
    }

    /// The first write after the fault that was not acknowledged when it should have been, and what became of it.
    pub fn first_miss(&self) -> Option<(Duration, Why)> {
        self.misses.first()
    }

    /// When each of these writes of `writer` was acknowledged, but for those of too long ago.
    pub fn acked_at(&self, writer: usize, writes: &Ranges) -> Vec<Duration> {
        let dated = self.accounts.get(writer).map(|account| account.acked_at.iter()).into_iter().flatten();
        dated.filter(|(seq, _)| writes.contains(*seq)).map(|(_, at)| *at).collect()
    }

    /// When the measured fault happened.
    pub fn fault_at(&self) -> Option<Duration> {
        self.gaps.fault_at()
    }

    fn sum(&self, count: impl Fn(&Account) -> u64) -> u64 {
        self.accounts.iter().map(count).sum()
    }

    /// What the writers themselves know: the counts, and the outages as seen at `end`.
    pub fn values(&self, end: Duration) -> Vec<Value> {
        let mut values: Vec<Value> = [
            ("ledger.attempted", self.sum(|a| a.sent)),
            ("ledger.acked", self.sum(|a| a.ok.count())),
            ("ledger.weak_ok", self.sum(|a| a.weak.count())),
            ("ledger.failed", self.sum(|a| a.failed.count())),
            ("ledger.unknown", self.sum(|a| a.unknown.count())),
            ("ledger.skipped", self.sum(|a| a.skipped)),
        ]
        .map(|(metric, count)| Value::new(metric, count as f64))
        .into();
        values.push(Value::new("ledger.acked_stale", self.timelines.stale as f64));
        values.push(Value::new("ledger.split_brain", self.timelines.split_brain().as_secs_f64()));
        values.extend(self.outage(end).map(outage_value));
        for (writer, account) in self.accounts.iter().enumerate() {
            values.extend(account.gaps.outage(end).map(|outage| outage_value(outage).subject(name(writer))));
        }
        values
    }

    /// The counts so far, cumulative, as a point of the measurement `ledger`.
    pub fn point(&self, elapsed: Duration) -> Point {
        let fields = [
            ("acked", self.sum(|a| a.ok.count())),
            ("weak_ok", self.sum(|a| a.weak.count())),
            ("failed", self.sum(|a| a.failed.count())),
            ("unknown", self.sum(|a| a.unknown.count())),
            ("skipped", self.sum(|a| a.skipped)),
        ];
        let fields = fields.map(|(name, count)| (name, Field::Int(count as i64))).into();
        Point { measurement: "ledger", node: String::new(), role: "", tags: Vec::new(), fields, elapsed }
    }
}

/// Which timelines acknowledged. A promotion begins a new one; who still acknowledges on an older one is a primary
/// that does not know of it.
#[derive(Clone, Debug, Default)]
struct Timelines {
    /// The newest, and its first acknowledgement.
    newest: Option<(u32, Duration)>,
    /// Acknowledgements on an older timeline that came after one on a newer.
    stale: u64,
    /// The longest time from the first acknowledgement on a newer timeline to one on an older.
    overlap: Duration,
}

impl Timelines {
    fn acked(&mut self, timeline: u32, at: Duration) {
        match self.newest {
            Some((newest, since)) if timeline < newest => {
                self.stale += 1;
                self.overlap = self.overlap.max(at.saturating_sub(since));
            }
            Some((newest, _)) if timeline == newest => {}
            _ => self.newest = Some((timeline, at)),
        }
    }

    fn split_brain(&self) -> Duration {
        self.overlap
    }
}

/// What a writer is called where a value is of it: `w1` is the first.
pub(super) fn name(writer: usize) -> String {
    format!("w{}", writer + 1)
}

fn outage_value(outage: Outage) -> Value {
    match outage {
        Outage::Over(gap) => Value::new("failover.write_outage", gap.length().as_secs_f64()),
        Outage::Open(gap) => Value::new("failover.write_outage_at_least", gap.length().as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::catalogue;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn value(values: &[Value], metric: &str, subject: Option<&str>) -> Option<f64> {
        values.iter().find(|v| v.metric == metric && v.subject.as_deref() == subject).map(|v| v.value)
    }

    #[test]
    fn every_write_has_one_outcome() {
        let mut book = Book::new(2);
        let outcomes = [Outcome::Ok, Outcome::Weak, Outcome::Failed, Outcome::Unknown, Outcome::Ok];
        for (i, outcome) in outcomes.into_iter().enumerate() {
            assert_eq!(book.next(1), i as u64 + 1);
            book.settle(1, outcome, 1, ms(i as u64));
        }
        book.skip(0, ms(5));
        let values = book.values(ms(10));
        let counts = ["attempted", "acked", "weak_ok", "failed", "unknown", "skipped"];
        let counts = counts.map(|name| value(&values, &format!("ledger.{name}"), None).unwrap());
        assert_eq!(counts, [5.0, 2.0, 1.0, 1.0, 1.0, 1.0]);
        assert!(values.iter().all(|v| catalogue::find(v.metric).is_some()));
        assert_eq!(book.accounts()[1].ok, [1, 5].into_iter().collect());
        assert_eq!(book.point(ms(1000)).fields[0], ("acked", Field::Int(2)));
    }

    #[test]
    fn outages_are_overall_and_per_writer() {
        let mut book = Book::new(3);
        book.settle(0, Outcome::Ok, 1, ms(10));
        book.settle(1, Outcome::Ok, 1, ms(20));
        book.settle(2, Outcome::Ok, 1, ms(30));
        book.fault(ms(35));
        book.settle(0, Outcome::Weak, 1, ms(100));
        book.settle(1, Outcome::Ok, 1, ms(300));
        book.settle(2, Outcome::Unknown, 1, ms(400));
        book.settle(0, Outcome::Ok, 1, ms(450));
        let values = book.values(ms(500));
        let at = |metric, subject| value(&values, metric, subject);
        assert_eq!(at("failover.write_outage", None), Some(0.2));
        assert_eq!(at("failover.write_outage", Some("w1")), Some(0.35));
        assert_eq!(at("failover.write_outage", Some("w2")), Some(0.28));
        assert_eq!(at("failover.write_outage", Some("w3")), None);
        assert_eq!(at("failover.write_outage_at_least", Some("w3")), Some(0.47));
    }

    #[test]
    fn a_server_begins_with_the_first_write_that_it_acknowledged() {
        let mut book = Book::new(1);
        for outcome in [Outcome::Failed, Outcome::Ok, Outcome::Ok, Outcome::Unknown] {
            book.settle(0, outcome, 1, ms(1));
        }
        book.moved(0);
        book.settle(0, Outcome::Failed, 1, ms(2));
        book.settle(0, Outcome::Ok, 1, ms(3));
        book.settle(0, Outcome::Ok, 1, ms(4));
        assert_eq!(book.accounts()[0].servers, [2, 6]);
    }

    #[test]
    fn acknowledgements_on_an_older_timeline_are_a_split_brain() {
        let mut book = Book::new(2);
        let at = |book: &Book, metric| value(&book.values(ms(1000)), metric, None);
        book.settle(0, Outcome::Ok, 1, ms(100));
        book.settle(1, Outcome::Ok, 2, ms(200));
        assert_eq!((at(&book, "ledger.acked_stale"), at(&book, "ledger.split_brain")), (Some(0.0), Some(0.0)));
        book.settle(0, Outcome::Ok, 1, ms(250));
        book.settle(0, Outcome::Unknown, 1, ms(280));
        book.settle(0, Outcome::Weak, 1, ms(300));
        book.settle(1, Outcome::Ok, 2, ms(400));
        assert_eq!((at(&book, "ledger.acked_stale"), at(&book, "ledger.split_brain")), (Some(2.0), Some(0.1)));
        assert_eq!(book.acked_at(0, &[1, 2, 3].into_iter().collect()), [ms(100), ms(250)]);
        assert!(book.acked_at(0, &[3].into_iter().collect()).is_empty(), "its outcome is not known");
    }
}
