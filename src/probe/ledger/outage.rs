//! How long acknowledgements stayed away.
//!
//! The *write outage* of a fault at t0 is the longest gap between two successive acknowledgements whose end
//! lies after t0. It may span t0 (a killed server) or begin after it (a switchover that writes its checkpoint
//! first, a standby whose silence holds up the next commit), so its begin is not bounded; a later stall of
//! another cause that was longer than the fault's own would be taken for it, and the instants of the
//! gap's two ends, which are recorded, show that.
//!
//! Any acknowledgement ends a gap, a weak one too: the client went on.

use std::collections::VecDeque;
use std::time::Duration;

/// Acknowledgements remembered for a fault that is told of late; one that came before its instant is among them.
const REMEMBERED: usize = 64;

/// The time between two successive acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last acknowledgement before it.
    pub from: Duration,
    /// The first one after it.
    pub to: Duration,
}

impl Gap {
    /// How long it was.
    pub fn length(&self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

/// What is known of an outage at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Writes came back.
    Over(Gap),
    /// They had not; the gap's end is where watching ended, so that it is a lower bound.
    Open(Gap),
}

/// Follows the acknowledgements of one writer, or of all of them, in constant memory.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    recent: VecDeque<Duration>,
    fault: Option<Duration>,
    longest: Option<Gap>,
    /// A write was due after the last acknowledgement, and is not acknowledged.
    owed: bool,
}

impl Gaps {
    /// A write was acknowledged.
    pub fn acked(&mut self, at: Duration) {
        if self.fault.is_some()
            && let Some(&from) = self.recent.back()
        {
            self.closed(Gap { from, to: at });
        }
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
        self.owed = false;
    }

    /// A due write was skipped, refused or not answered.
    pub fn not_acked(&mut self) {
        self.owed = true;
    }

    /// When the measured fault happened.
    pub fn fault_at(&self) -> Option<Duration> {
        self.fault
    }

    /// The measured fault happened at `t0`. Only the first one counts.
    pub fn fault(&mut self, t0: Duration) {
        if self.fault.is_none() {
            self.fault = Some(t0);
            let recent: Vec<Duration> = self.recent.iter().copied().collect();
            for pair in recent.windows(2).filter(|pair| pair[1] > t0) {
                self.closed(Gap { from: pair[0], to: pair[1] });
            }
        }
    }

    fn closed(&mut self, gap: Gap) {
        if self.longest.is_none_or(|longest| gap.length() > longest.length()) {
            self.longest = Some(gap);
        }
    }

    /// The outage, as seen at `end`, after which no write was due. None without a fault, and without an
    /// acknowledgement from which to count.
    pub fn outage(&self, end: Duration) -> Option<Outage> {
        self.fault?;
        let open = Gap { from: *self.recent.back()?, to: end };
        match self.longest {
            Some(longest) if !self.owed || longest.length() >= open.length() => Some(Outage::Over(longest)),
            None if !self.owed => None,
            _ => Some(Outage::Open(open)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn gaps(acks: &[u64], fault: u64, after: &[u64]) -> Gaps {
        let mut gaps = Gaps::default();
        acks.iter().for_each(|&at| gaps.acked(ms(at)));
        gaps.fault(ms(fault));
        after.iter().for_each(|&at| gaps.acked(ms(at)));
        gaps
    }

    fn over(from: u64, to: u64) -> Option<Outage> {
        Some(Outage::Over(Gap { from: ms(from), to: ms(to) }))
    }

    #[test]
    fn counts_from_the_last_ack_before_the_fault() {
        assert_eq!(gaps(&[10, 20, 500, 510], 515, &[900, 910]).outage(ms(1000)), over(510, 900));
    }

    #[test]
    fn a_longer_gap_before_the_fault_is_not_the_outage() {
        assert_eq!(gaps(&[10, 900, 910], 915, &[930, 940]).outage(ms(1000)), over(910, 930));
    }

    #[test]
    fn the_outage_may_begin_after_the_fault() {
        assert_eq!(gaps(&[10, 20], 22, &[30, 40, 400, 410]).outage(ms(500)), over(40, 400));
    }

    #[test]
    fn a_fault_told_of_late_finds_the_gaps_that_have_ended_since() {
        assert_eq!(gaps(&[10, 20, 320, 330], 22, &[340]).outage(ms(500)), over(20, 320));
        assert_eq!(gaps(&[10, 320, 330], 325, &[340]).outage(ms(500)), over(320, 330), "that one ended before it");
    }

    #[test]
    fn writes_that_never_came_back_give_a_lower_bound() {
        let mut gaps = gaps(&[10, 20], 22, &[30]);
        gaps.not_acked();
        assert_eq!(gaps.outage(ms(5000)), Some(Outage::Open(Gap { from: ms(30), to: ms(5000) })));
    }

    #[test]
    fn the_rest_after_the_last_write_is_no_outage() {
        assert_eq!(gaps(&[10, 20], 22, &[30, 40]).outage(ms(5000)), over(20, 30), "nothing was due");
        let mut gaps = gaps(&[10, 20], 22, &[320, 330]);
        gaps.not_acked();
        assert_eq!(gaps.outage(ms(500)), over(20, 320), "one write is late, but by less");
    }

    #[test]
    fn without_a_fault_or_an_ack_there_is_no_outage() {
        let mut gaps = Gaps::default();
        gaps.not_acked();
        gaps.fault(ms(10));
        assert_eq!(gaps.outage(ms(100)), None);
        let mut gaps = Gaps::default();
        gaps.acked(ms(1));
        gaps.acked(ms(50));
        assert_eq!(gaps.outage(ms(100)), None);
    }

    #[test]
    fn memory_does_not_grow() {
        let mut gaps = Gaps::default();
        (0..10_000).for_each(|at| gaps.acked(ms(at)));
        assert_eq!(gaps.recent.len(), REMEMBERED);
    }
}
