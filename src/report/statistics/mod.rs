//! What a handful of trials can say: medians with intervals that assume no distribution, the bound that goes with "it
//! never happened", ratios of two sides, what a ratio entitles to say, and when to stop. One run is one sample: the
//! trial is the unit everywhere, never the transaction.

pub mod changes;
pub mod ratio;
#[cfg(test)]
mod reference;
pub mod same;
#[cfg(test)]
mod simulation;
pub mod stopping;
pub mod verdict;

pub use ratio::Ratio;

use serde::Serialize;

/// An interval between two observed values, with the probability that it holds the true median.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Probability (0 to 1) that the median of all possible trials lies within.
    pub coverage: f64,
}

/// The probability that intervals should have; with fewer than six values none has it.
const WANTED: f64 = 0.95;

/// The median; of an even number the mean of the middle two. None of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let n = sorted.len();
    match n {
        0 => None,
        _ if n.is_multiple_of(2) => Some(f64::midpoint(sorted[n / 2 - 1], sorted[n / 2])),
        _ => Some(sorted[n / 2]),
    }
}

/// The interval of the median between the k-th smallest and the k-th largest value, for the greatest k that
/// covers it with 95 %; where none does, from the smallest to the largest. None of fewer than two values.
///
/// The number of values below the median is binomial (n, ½) whatever the distribution, so the coverage is
/// 1 − 2 P(X < k): Conover, *Practical Nonparametric Statistics*, section 3.2.
pub fn median_interval(values: &[f64]) -> Option<Interval> {
    let sorted = sorted(values);
    let n = sorted.len();
    if n < 2 {
        return None;
    }
    let enough = (1..=n / 2).take_while(|k| coverage(n, *k) >= WANTED).last();
    let k = enough.unwrap_or(1);
    Some(Interval { low: sorted[k - 1], high: sorted[n - k], coverage: coverage(n, k) })
}

/// Probability that the k-th smallest and the k-th largest of n values hold the median between them.
fn coverage(n: usize, k: usize) -> f64 {
    let mut term = 0.5f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let mut below = 0.0;
    for i in 0..k {
        below += term;
        term *= (n - i) as f64 / (i + 1) as f64;
    }
    1.0 - 2.0 * below
}

/// The greatest share of trials, at 95 %, in which something may happen that happened in none of `n`:
/// 1 − 0.05^(1/n), the exact one-sided bound of Clopper and Pearson for zero events.
pub fn zero_upper_bound(n: usize) -> Option<f64> {
    (n > 0).then(|| 1.0 - 0.05f64.powf(1.0 / n as f64))
}

/// Mean and sample variance; none of fewer than two values.
fn mean_and_variance(values: &[f64]) -> Option<(f64, f64)> {
    if values.len() < 2 {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    Some((mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    /// Against tables of the sign test's interval for the median (Hollander and Wolfe; Conover, table A3).
    #[test]
    fn ranks_and_coverage_are_the_published_ones() {
        for (n, k, percent) in [
            (2, 1, 50.0),
            (5, 1, 93.75),
            (6, 1, 96.88),
            (8, 1, 99.22),
            (9, 2, 96.09),
            (10, 2, 97.85),
            (15, 4, 96.48),
            (20, 6, 95.86),
            (25, 8, 95.67),
        ] {
            let values: Vec<f64> = (1..=n).map(f64::from).rev().collect();
            let interval = median_interval(&values).unwrap();
            assert_eq!((interval.low, interval.high), (f64::from(k), f64::from(n + 1 - k)), "n = {n}");
            assert!((interval.coverage * 100.0 - percent).abs() < 0.005, "n = {n}: {}", interval.coverage);
        }
        assert_eq!(median_interval(&[1.0]), None);
    }

    #[test]
    fn never_seen_is_not_never() {
        for (n, percent) in [(1, 95.0), (5, 45.1), (10, 25.9), (20, 13.9), (59, 4.95)] {
            assert!((zero_upper_bound(n).unwrap() * 100.0 - percent).abs() < 0.05, "n = {n}");
        }
        assert_eq!(zero_upper_bound(0), None);
    }

    /// Against SciPy's figures; `fixtures/make.py` says how they were made.
    #[test]
    fn as_scipy_has_it() {
        let fixtures: serde_json::Value = serde_json::from_str(include_str!("fixtures/scipy.json")).unwrap();
        let list = |value: &serde_json::Value| -> Vec<f64> { serde_json::from_value(value.clone()).unwrap() };
        let near = |what: &str, ours: &[f64], theirs: &[f64], within: f64| {
            let same = ours.iter().zip(theirs).all(|(a, b)| (a / b - 1.0).abs() < within);
            assert!(same && ours.len() == theirs.len(), "{what}: {ours:?} and not {theirs:?}");
        };
        let sets = fixtures["sets"].as_array().unwrap();
        assert!(sets.len() >= 10);
        for set in sets {
            let (a, b) = (list(&set["a"]), list(&set["b"]));
            let pairs: Vec<_> = a.iter().copied().zip(b.iter().copied()).collect();
            let three = |ratio: Ratio| [ratio.estimate, ratio.low, ratio.high];
            let paired = ratio::paired(&pairs).unwrap();
            near("paired", &three(paired), &list(&set["paired"]), 1e-9);
            near("unpaired", &three(ratio::unpaired(&a, &b).unwrap()), &list(&set["unpaired"]), 1e-9);
            near(
                "detectable",
                &[paired.detectable(0.0).unwrap().ln()],
                &[set["detectable"].as_f64().unwrap().ln()],
                1e-3,
            );
            let interval = median_interval(&a).unwrap();
            let ours = [median(&a).unwrap(), interval.low, interval.high, interval.coverage];
            near("median", &ours, &list(&set["median"]), 1e-12);
        }
        for case in fixtures["fisher"].as_array().unwrap() {
            let t: Vec<u64> = serde_json::from_value(case["table"].clone()).unwrap();
            let p = verdict::fisher((t[0], t[1]), (t[2], t[3])).unwrap();
            near("fisher", &[p], &[case["p"].as_f64().unwrap()], 1e-9);
        }
        for case in fixtures["exact"].as_array().unwrap() {
            let of: Vec<u64> = serde_json::from_value(case["of"].clone()).unwrap();
            let (low, high) = same::exact(of[0], of[1]).unwrap();
            let theirs = list(&case["within"]);
            assert!((low - theirs[0]).abs() < 1e-6 && (high - theirs[1]).abs() < 1e-6, "{of:?}: {low}, {high}");
        }
    }

    #[test]
    fn verdicts_need_the_whole_interval() {
        use crate::metric::Better::{Higher, Lower, Neither};
        use verdict::{Verdict, of_harm, of_ratio};
        let of = |factor: f64, noise: f64, better| {
            let pairs: Vec<_> = [-1.0, 0.0, 1.0].map(|i: f64| (1.0, factor * (noise * i).exp())).to_vec();
            of_ratio(&ratio::paired(&pairs).unwrap(), 0.05, better)
        };
        assert_eq!(of(1.2, 0.01, Lower), Verdict::Worse);
        assert_eq!(of(1.2, 0.01, Higher), Verdict::Better);
        assert_eq!(of(0.8, 0.01, Higher), Verdict::Worse);
        assert_eq!(of(0.8, 0.01, Neither), Verdict::Differs);
        assert_eq!(of(1.01, 0.01, Lower), Verdict::Same);
        assert_eq!(of(1.06, 0.01, Lower), Verdict::CannotTell, "it differs, but perhaps by less than the margin");
        assert_eq!(of(1.0, 0.1, Lower), Verdict::CannotTell);
        assert_eq!(of_harm((0, 5), (5, 0)), Verdict::Worse);
        assert_eq!(of_harm((5, 0), (0, 5)), Verdict::Better);
        assert_eq!(of_harm((0, 5), (0, 5)), Verdict::CannotTell, "never seen is not never");
    }

    #[test]
    fn no_ratio_where_there_is_none() {
        assert_eq!(ratio::paired(&[(1.0, 2.0)]), None);
        assert_eq!(ratio::paired(&[(1.0, 2.0), (0.0, 1.0)]), None);
        assert_eq!(ratio::unpaired(&[1.0], &[1.0, 2.0]), None);
        let exact = ratio::unpaired(&[2.0, 2.0], &[2.0, 2.0]).unwrap();
        assert_eq!((exact.low, exact.high), (1.0, 1.0));
    }

    #[test]
    fn more_trials_are_asked_for_where_they_would_tell() {
        let noisy = ratio::paired(&[(1.0, 1.1), (1.0, 0.95), (1.0, 1.05)]).unwrap();
        let few = noisy.needed(1.5).unwrap();
        let many = noisy.needed(1.02).unwrap();
        assert!((2..=4).contains(&few) && many > 100, "{few}, {many}");
        assert_eq!(noisy.needed(1.000_01), None);
    }
}
