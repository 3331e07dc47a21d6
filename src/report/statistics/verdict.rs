//! What an interval entitles to say.

use super::Ratio;
use crate::metric::Better;
use serde::Serialize;
use statrs::stats_tests::Alternative;
use statrs::stats_tests::fisher::fishers_exact;

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better by more than the margin.
    Better,
    /// Worse by more than the margin.
    Worse,
    /// No difference beyond the margin.
    Same,
    /// Beyond the margin by an amount that is neither good nor bad.
    Differs,
    /// Too few trials, or too much noise, for any of these.
    CannotTell,
}

impl Verdict {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Better => "better",
            Verdict::Worse => "WORSE",
            Verdict::Same => "same",
            Verdict::Differs => "differs",
            Verdict::CannotTell => "cannot tell",
        }
    }
}

/// The verdict on a ratio: the *whole* interval must lie within the margin (1/(1 + margin) to 1 + margin) for "same",
/// the whole of it beyond for a difference. Two one-sided tests; Schuirmann, *J. Pharmacokin. Biopharm.* 15 (1987).
pub fn of_ratio(ratio: &Ratio, margin: f64, better: Better) -> Verdict {
    let (low, high) = (1.0 / (1.0 + margin), 1.0 + margin);
    let gains = match better {
        Better::Higher => [Verdict::Worse, Verdict::Better],
        Better::Lower => [Verdict::Better, Verdict::Worse],
        Better::Neither => [Verdict::Differs; 2],
    };
    if ratio.high < low {
        gains[0]
    } else if ratio.low > high {
        gains[1]
    } else if ratio.low >= low && ratio.high <= high {
        Verdict::Same
    } else {
        Verdict::CannotTell
    }
}

/// The probability, if both sides were alike, of a split as uneven as this or more: Fisher's exact test, two-sided.
/// Each side is (trials in which it happened, trials in which it did not).
pub fn fisher(a: (u64, u64), b: (u64, u64)) -> Option<f64> {
    fishers_exact(&[a.0, a.1, b.0, b.1], Alternative::TwoSided).ok()
}

/// The verdict on something that should not happen, by the trials in which it did. That it happened on neither side
/// is no proof of sameness.
pub fn of_harm(a: (u64, u64), b: (u64, u64)) -> Verdict {
    let share = |(yes, no): (u64, u64)| yes as f64 / (yes + no).max(1) as f64;
    match fisher(a, b) {
        Some(p) if p < 0.05 && share(b) > share(a) => Verdict::Worse,
        Some(p) if p < 0.05 => Verdict::Better,
        _ => Verdict::CannotTell,
    }
}
