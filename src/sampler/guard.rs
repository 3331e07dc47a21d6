//! Keeps sampling from harming what is sampled: where the server is slow to answer, it is asked half as often, and
//! again half as often, until it answers.

use std::collections::VecDeque;
use std::time::Duration;

/// Answers that the median is taken of.
const WINDOW: usize = 50;
/// A median longer than this beyond the way there is too long; one shorter than a quarter of it is good again.
const TOO_LONG: Duration = Duration::from_millis(20);

/// Watches how long answers take.
#[derive(Debug)]
pub(super) struct Guard {
    usual: Duration,
    slowest: Duration,
    period: Duration,
    window: VecDeque<Duration>,
    /// The quickest answer so far: what the way there takes at most.
    way: Option<Duration>,
}

/// Ask at another pace from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) period: Duration,
    /// The median that made it so.
    pub(super) median: Duration,
    pub(super) slower: bool,
}

impl Guard {
    /// Of ticks that are due every `usual`, and may be as seldom as every `slowest`.
    pub(super) fn new(usual: Duration, slowest: Duration) -> Guard {
        Guard { usual, slowest: slowest.max(usual), period: usual, window: VecDeque::new(), way: None }
    }

    /// An answer took `rtt`.
    pub(super) fn heard(&mut self, rtt: Duration) -> Option<Change> {
        let way = self.way.map_or(rtt, |way| way.min(rtt));
        self.way = Some(way);
        self.window.push_back(rtt);
        if self.window.len() < WINDOW {
            return None;
        }
        let mut sorted: Vec<_> = self.window.iter().copied().collect();
        sorted.sort_unstable();
        let median = sorted[sorted.len() / 2];
        self.window.pop_front();
        let period = if median > way + TOO_LONG {
            (self.period * 2).min(self.slowest)
        } else if median < way + TOO_LONG / 4 {
            (self.period / 2).max(self.usual)
        } else {
            self.period
        };
        let slower = period > self.period;
        if period == self.period {
            return None;
        }
        // The next judgement is about answers at the new pace.
        self.window.clear();
        self.period = period;
        Some(Change { period, median, slower })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn changes(guard: &mut Guard, rtt: Duration, times: usize) -> Vec<u128> {
        (0..times).filter_map(|_| guard.heard(rtt)).map(|change| change.period.as_millis()).collect()
    }

    #[test]
    fn slow_answers_halve_the_pace_and_quick_ones_restore_it() {
        let mut guard = Guard::new(ms(100), ms(1000));
        assert_eq!(changes(&mut guard, ms(1), 100), []);
        assert_eq!(changes(&mut guard, ms(30), 400), [200, 400, 800, 1000]);
        assert_eq!(changes(&mut guard, ms(12), 200), [], "neither harm nor health");
        assert_eq!(changes(&mut guard, ms(2), 300), [500, 250, 125, 100]);
    }

    #[test]
    fn a_long_way_is_not_the_servers_doing() {
        let mut guard = Guard::new(ms(100), ms(1000));
        assert_eq!(changes(&mut guard, ms(80), 200), []);
    }

    #[test]
    fn single_slow_answers_change_nothing() {
        let mut guard = Guard::new(ms(100), ms(1000));
        for i in 0..300 {
            assert_eq!(guard.heard(ms(if i % 3 == 0 { 500 } else { 1 })), None);
        }
    }
}
