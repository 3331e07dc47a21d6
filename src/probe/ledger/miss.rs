//! The first sign of trouble that clients saw: the first write after the fault that was refused, not answered, or not
//! sent when it was due because its writer still waited. Frozen and cut-off servers give silence and no errors, so a
//! late write counts as well.

use super::book::Outcome;
use std::collections::VecDeque;
use std::time::Duration;

/// Misses remembered for a fault that is told of late.
const REMEMBERED: usize = 64;

/// What became of a write that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was sent, and had an outcome other than an acknowledgement.
    Ended(Outcome),
    /// It was due, and its writer was still waiting or had no connection.
    Late,
}

impl Why {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Why::Ended(Outcome::Failed) => "refused",
            Why::Ended(_) => "not answered",
            Why::Late => "late: its writer still waited",
        }
    }
}

/// Keeps the first miss after the fault, in constant memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Misses {
    recent: VecDeque<(Duration, Why)>,
    fault: Option<Duration>,
    first: Option<(Duration, Why)>,
}

impl Misses {
    /// A write was missed at `at`.
    pub(super) fn missed(&mut self, at: Duration, why: Why) {
        match self.fault {
            Some(t0) if self.first.is_none() && at >= t0 => self.first = Some((at, why)),
            Some(_) => {}
            None => {
                if self.recent.len() == REMEMBERED {
                    self.recent.pop_front();
                }
                self.recent.push_back((at, why));
            }
        }
    }

    /// The measured fault happened at `t0`. Only the first one counts.
    pub(super) fn fault(&mut self, t0: Duration) {
        if self.fault.is_none() {
            self.fault = Some(t0);
            self.first = self.recent.drain(..).find(|(at, _)| *at >= t0);
        }
    }

    /// When it was, and what became of the write; none without a fault, and where nothing was missed since.
    pub(super) fn first(&self) -> Option<(Duration, Why)> {
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_after_the_fault_counts_though_it_is_told_of_late() {
        let ms = Duration::from_millis;
        let mut misses = Misses::default();
        misses.missed(ms(1), Why::Late);
        assert_eq!(misses.first(), None, "there was no fault");
        misses.missed(ms(12), Why::Ended(Outcome::Unknown));
        misses.missed(ms(14), Why::Late);
        misses.fault(ms(10));
        misses.missed(ms(20), Why::Ended(Outcome::Failed));
        misses.fault(ms(15));
        assert_eq!(misses.first(), Some((ms(12), Why::Ended(Outcome::Unknown))));
        let mut misses = Misses::default();
        misses.fault(ms(10));
        misses.missed(ms(30), Why::Late);
        misses.missed(ms(40), Why::Late);
        assert_eq!(misses.first(), Some((ms(30), Why::Late)));
        (0..10_000).for_each(|at| misses.missed(ms(at), Why::Late));
        assert!(misses.recent.len() <= REMEMBERED, "memory does not grow");
    }
}
