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
    /// Points that are not: the queue was full, no field could be written, or the disk refused them.
    pub dropped: u64,
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
