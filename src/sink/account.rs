//! What became of points: of those of a trial on their way into the file, and of those of a run on their way to a server.

use crate::base::units::counted;
use serde::{Deserialize, Serialize};

/// What became of every sampled point on its way into `metrics.lp.gz`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// Points that samplers handed over.
    pub produced: u64,
    /// Points that are in the file.
    pub written: u64,
    /// Points that are not: the queue was full, no field could be written, it was a series too many, or the disk refused them.
    pub dropped: u64,
    /// Of the dropped, those of a series beyond the most that a trial may have.
    #[serde(default)]
    pub beyond_series: u64,
    /// Fields left out of written points because they were infinite or not a number.
    pub not_finite: u64,
}

impl Accounting {
    /// Whether every point is accounted for.
    pub fn adds_up(&self) -> bool {
        self.produced == self.written + self.dropped
    }
}

impl std::ops::AddAssign for Accounting {
    fn add_assign(&mut self, other: Accounting) {
        self.produced += other.produced;
        self.written += other.written;
        self.dropped += other.dropped;
        self.beyond_series += other.beyond_series;
        self.not_finite += other.not_finite;
    }
}

/// What became of every point that was meant for a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Points that samplers handed over; of a replay, lines of the file.
    pub produced: u64,
    /// Points that the server confirmed.
    pub acknowledged: u64,
    /// Points that it said it left out, for what they are.
    pub rejected: u64,
    /// Points that it refused one by one; they are in `quarantine-NAME.lp`.
    pub quarantined: u64,
    /// Points that are in the file, and that it does not have (as far as was heard of it).
    pub pending: u64,
    /// Points that are not even in the file.
    pub dropped: u64,
    /// Byte of `metrics.lp.gz` up to which everything is settled; a replay goes on there.
    pub offset: u64,
    /// Why points are pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Account {
    /// Whether every point is accounted for.
    pub fn adds_up(&self) -> bool {
        self.produced == self.settled() + self.pending + self.dropped
    }

    /// The account after a replay that went on at its offset: what was pending has become what `replay` says.
    pub fn resumed(&self, replay: &Account) -> Account {
        // Of a batch that was under way when the run ended, a part was settled, and all of it was sent again.
        let twice = replay.produced.saturating_sub(self.pending);
        Account {
            produced: self.produced,
            acknowledged: (self.acknowledged + replay.acknowledged).saturating_sub(twice),
            rejected: self.rejected + replay.rejected,
            quarantined: self.quarantined + replay.quarantined,
            pending: replay.pending,
            dropped: self.dropped,
            offset: replay.offset,
            problem: replay.problem.clone(),
        }
    }

    /// Points of which the server said what became of them.
    pub fn settled(&self) -> u64 {
        self.acknowledged + self.rejected + self.quarantined
    }

    /// Such as `12 of 15 points acknowledged, 3 pending (no answer within 10 s)`.
    pub fn in_words(&self) -> String {
        let mut text = format!("{} of {} acknowledged", self.acknowledged, counted(self.produced as usize, "point"));
        let others = [
            (self.rejected, "rejected"),
            (self.quarantined, "quarantined"),
            (self.pending, "pending"),
            (self.dropped, "dropped"),
        ];
        for (number, what) in others.into_iter().filter(|(number, _)| *number > 0) {
            text += &format!(", {number} {what}");
        }
        if !self.adds_up() {
            text += ", and the sum does not close";
        }
        match &self.problem {
            Some(problem) => format!("{text} ({problem})"),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(produced: u64, acknowledged: u64, pending: u64, offset: u64) -> Account {
        Account { produced, acknowledged, pending, offset, ..Account::default() }
    }

    #[test]
    fn what_was_pending_becomes_what_the_replay_says_and_the_sum_still_closes() {
        let problem = Some("no answer within 10 s".to_owned());
        // Three points of the batch at the offset had been settled, and came again.
        let before = Account { problem, dropped: 1, ..account(21, 13, 7, 500) };
        let half = before.resumed(&account(10, 6, 4, 700));
        assert_eq!(half, Account { dropped: 1, ..account(21, 16, 4, 700) });
        let whole = half.resumed(&account(4, 4, 0, 900));
        assert_eq!(whole, Account { dropped: 1, ..account(21, 20, 0, 900) });
        assert!(before.adds_up() && half.adds_up() && whole.adds_up());
        assert_eq!(whole.resumed(&account(0, 0, 0, 900)), whole, "nothing was left");
    }
}
