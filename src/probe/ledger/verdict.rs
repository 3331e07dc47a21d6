//! The ledger against what the surviving server holds.

use super::book::{Account, Book, name};
use crate::base::ranges::Ranges;
use crate::metric::Value;
use std::time::Duration;

/// The rows of the surviving server, taken in one after the other.
#[derive(Clone, Debug)]
pub struct Survivor<'a> {
    book: &'a Book,
    present: Vec<Ranges>,
    unexpected: u64,
    duplicates: u64,
}

impl<'a> Survivor<'a> {
    /// No rows yet.
    pub fn new(book: &'a Book) -> Self {
        Survivor { book, present: vec![Ranges::new(); book.accounts().len()], unexpected: 0, duplicates: 0 }
    }

    /// `rows` rows hold this writer and sequence number; given once for each pair.
    pub fn holds(&mut self, writer: i32, seq: i64, rows: i64) {
        let rows = rows.max(0) as u64;
        let known = usize::try_from(writer).ok().and_then(|i| Some((i, self.book.accounts().get(i)?)));
        match (known, u64::try_from(seq)) {
            (Some((i, account)), Ok(seq)) if (1..=account.sent).contains(&seq) && !account.failed.contains(seq) => {
                self.present[i].insert(seq);
                self.duplicates += u64::from(rows > 1);
            }
            _ => self.unexpected += rows,
        }
    }

    /// What that says.
    pub fn verdict(&self) -> Verdict {
        let mut verdict = Verdict { unexpected: self.unexpected, duplicates: self.duplicates, ..Verdict::default() };
        for (account, present) in self.book.accounts().iter().zip(&self.present) {
            let lost = account.ok.difference(present);
            verdict.holes += holes(account, &lost, present);
            verdict.weak_lost += account.weak.difference(present).count();
            verdict.recovered += account.unknown.intersection(present).count();
            verdict.acked_lost.push(lost);
        }
        let of_writers = verdict.acked_lost.iter().enumerate();
        verdict.lost_acks = of_writers.flat_map(|(writer, lost)| self.book.acked_at(writer, lost)).collect();
        verdict.lost_acks.sort_unstable();
        let newest = verdict.lost_acks.last().copied();
        let since = |at: Duration, fault: Duration| at.as_secs_f64() - fault.as_secs_f64();
        verdict.last_lost_ack = newest.zip(self.book.fault_at()).map(|(at, fault)| since(at, fault));
        verdict
    }
}

/// What a failover costs is a suffix: of the writes that one server acknowledged to one writer, in order, the
/// last ones. A lost write followed by a surviving one of the same server is a hole in that order.
fn holes(account: &Account, lost: &Ranges, present: &Ranges) -> u64 {
    if lost.is_empty() {
        return 0;
    }
    let surviving = account.ok.union(&account.weak).intersection(present);
    let ends = account.servers.iter().skip(1).map(|next| next - 1).chain([account.sent]);
    let stretches = account.servers.iter().zip(ends);
    let of_one_server = |(&first, last): (&u64, u64)| {
        let last_survivor = surviving.intersection(&Ranges::run(first, last)).last()?;
        Some(lost.intersection(&Ranges::run(first, last_survivor)).count())
    };
    stretches.filter_map(of_one_server).sum()
}

/// Runs of lost writes that are shown of one writer.
const SHOWN: usize = 5;

/// The counts that only the surviving server can give.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// By writer: acknowledged and not there.
    pub acked_lost: Vec<Ranges>,
    /// Acknowledged with a warning and not there.
    pub weak_lost: u64,
    /// Of unknown outcome and there.
    pub recovered: u64,
    /// Rows that were never sent, or were refused for certain.
    pub unexpected: u64,
    /// Writes that are there more than once.
    pub duplicates: u64,
    /// Lost acknowledged writes that a surviving one of the same writer and server follows.
    pub holes: u64,
    /// From the measured fault to the acknowledgement of the newest lost write, in seconds; negative: before the
    /// fault. Absent when none was lost, and when it is not known.
    pub last_lost_ack: Option<f64>,
    /// When the lost writes had been acknowledged, in order, as far as that is still known.
    pub lost_acks: Vec<Duration>,
}

impl Verdict {
    /// How many lost writes were acknowledged after `fenced`, when the primary that was fenced was proven unable to
    /// acknowledge any. Absent when the instants of some are not known any more.
    pub fn lost_after(&self, fenced: Duration) -> Option<Value> {
        let lost: u64 = self.acked_lost.iter().map(Ranges::count).sum();
        let after = self.lost_acks.iter().filter(|at| **at > fenced).count();
        (lost == self.lost_acks.len() as u64).then(|| Value::new("ledger.lost_after_fence", after as f64))
    }

    /// As rows of the summary.
    pub fn values(&self) -> Vec<Value> {
        let lost: u64 = self.acked_lost.iter().map(Ranges::count).sum();
        [
            ("ledger.acked_lost", lost),
            ("ledger.weak_lost", self.weak_lost),
            ("ledger.recovered", self.recovered),
            ("ledger.unexpected", self.unexpected),
            ("ledger.duplicates", self.duplicates),
            ("ledger.holes", self.holes),
        ]
        .map(|(metric, count)| Value::new(metric, count as f64))
        .into_iter()
        .chain(self.last_lost_ack.map(|seconds| Value::new("ledger.last_lost_ack", seconds)))
        .collect()
    }

    /// Which acknowledged writes were lost, for people; none when none was. `3 of w1: 7-9; 1 of w3: 6-6`
    pub fn lost(&self) -> Option<String> {
        let of_writers = self.acked_lost.iter().enumerate().filter(|(_, lost)| !lost.is_empty());
        let text: Vec<String> = of_writers
            .map(|(writer, lost)| {
                let shown: Vec<String> =
                    lost.runs().take(SHOWN).map(|(first, last)| format!("{first}-{last}")).collect();
                let more = if lost.runs().nth(SHOWN).is_some() { ", …" } else { "" };
                format!("{} of {}: {}{more}", lost.count(), name(writer), shown.join(", "))
            })
            .collect();
        (!text.is_empty()).then(|| text.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::book::Outcome::{self, *};
    use super::*;
    use crate::metric::catalogue;

    /// A book of one writer with these outcomes; `None` is a move to another server.
    fn book(outcomes: &[Option<Outcome>]) -> Book {
        let mut book = Book::new(1);
        for outcome in outcomes {
            match outcome {
                Some(outcome) => book.settle(0, *outcome, 1, Duration::from_millis(7)),
                None => book.moved(0),
            }
        }
        book
    }

    fn verdict(book: &Book, rows: &[(i32, i64, i64)]) -> Verdict {
        let mut survivor = Survivor::new(book);
        rows.iter().for_each(|&(writer, seq, rows)| survivor.holds(writer, seq, rows));
        survivor.verdict()
    }

    fn present(seqs: impl IntoIterator<Item = i64>) -> Vec<(i32, i64, i64)> {
        seqs.into_iter().map(|seq| (0, seq, 1)).collect()
    }

    #[test]
    fn all_there_is_all_zero() {
        let book = book(&[Some(Ok), Some(Weak), Some(Ok)]);
        let expected = Verdict { acked_lost: vec![Ranges::new()], ..Verdict::default() };
        assert_eq!(verdict(&book, &present(1..=3)), expected);
        assert_eq!(expected.lost(), None);
    }

    #[test]
    fn each_kind_is_counted() {
        let book = book(&[Some(Ok), Some(Weak), Some(Failed), Some(Unknown), Some(Unknown), Some(Ok)]);
        let rows = [(0, 1, 3), (0, 3, 1), (0, 4, 1), (0, 7, 2), (1, 1, 1), (-1, 1, 1), (0, -5, 1), (0, 0, 1)];
        let seen = verdict(&book, &rows);
        assert_eq!(seen.acked_lost, [Ranges::run(6, 6)]);
        assert_eq!((seen.weak_lost, seen.recovered, seen.duplicates), (1, 1, 1));
        assert_eq!(seen.unexpected, 1 + 2 + 4, "the refused row, the two beyond the end, four foreign ones");
        assert_eq!(seen.holes, 0, "nothing survives after the lost one");
        assert_eq!(seen.lost().unwrap(), "1 of w1: 6-6");
        assert!(seen.values().iter().all(|v| catalogue::find(v.metric).is_some()));
        assert_eq!(seen.values()[0].value, 1.0);
    }

    #[test]
    fn a_suffix_lost_in_a_failover_is_no_hole() {
        let mut outcomes = vec![Some(Ok); 10];
        outcomes.push(Some(Unknown));
        outcomes.push(None);
        outcomes.extend(vec![Some(Ok); 10]);
        let book = book(&outcomes);
        let seen = verdict(&book, &present((1..=7).chain(12..=21)));
        assert_eq!((&seen.acked_lost[0], seen.holes), (&Ranges::run(8, 10), 0));
    }

    #[test]
    fn a_lost_write_before_a_surviving_one_of_the_same_server_is_a_hole() {
        let mut outcomes = vec![Some(Ok); 10];
        outcomes.push(None);
        outcomes.extend(vec![Some(Ok); 10]);
        let book = book(&outcomes);
        let seen = verdict(&book, &present([1, 2, 3, 6, 7, 11, 14, 15]));
        assert_eq!(seen.acked_lost[0], [4, 5, 8, 9, 10, 12, 13, 16, 17, 18, 19, 20].into_iter().collect());
        assert_eq!(seen.holes, 2 + 2);
    }

    #[test]
    fn losses_are_held_against_the_fence() {
        let mut book = Book::new(2);
        let ms = Duration::from_millis;
        for (writer, at) in [(0, 10), (1, 20), (0, 30), (1, 40), (0, 50)] {
            book.settle(writer, Ok, 1, ms(at));
        }
        book.fault(ms(15));
        let seen = verdict(&book, &[(0, 1, 1), (0, 3, 1)]);
        assert_eq!(seen.lost_acks, [ms(20), ms(30), ms(40)]);
        assert_eq!(seen.last_lost_ack, Some(0.025));
        let after = |fence| seen.lost_after(ms(fence)).map(|value| value.value);
        assert_eq!((after(40), after(39), after(5)), (Some(0.0), Some(1.0), Some(3.0)));
        let undated = Verdict { lost_acks: vec![ms(20)], ..seen.clone() };
        assert_eq!(undated.lost_after(ms(40)), None, "of two nobody knows when they were acknowledged");
        assert!(catalogue::find(seen.lost_after(ms(40)).unwrap().metric).is_some());
    }

    #[test]
    fn a_surviving_weak_write_makes_a_hole_too() {
        let book = book(&[Some(Ok), Some(Ok), Some(Weak)]);
        assert_eq!(verdict(&book, &present([1, 3])).holes, 1);
    }

    #[test]
    fn a_long_list_of_losses_is_cut() {
        let book = book(&[Some(Ok); 20]);
        let lost = verdict(&book, &present((1..=20).filter(|seq| seq % 2 == 0))).lost();
        assert_eq!(lost.unwrap(), "10 of w1: 1-1, 3-3, 5-5, 7-7, 9-9, …");
    }
}
