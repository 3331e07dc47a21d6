//! The methods tried where the truth is known: do intervals hold it as often as they say?

use super::ratio::paired;
use super::verdict::{Verdict, of_ratio};
use crate::metric::Better;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Noise of one trial, as a logarithm.
type Noise = fn(&mut StdRng) -> f64;

fn normal(rng: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// A one-sided tail, as outages have it.
fn exponential(rng: &mut StdRng) -> f64 {
    -(1.0 - rng.random::<f64>()).ln()
}

/// A checkpoint strikes one trial in ten.
fn two_peaks(rng: &mut StdRng) -> f64 {
    0.2 * normal(rng) + if rng.random::<f64>() < 0.1 { 4.0 } else { 0.0 }
}

/// Student's t with 3 degrees of freedom: wild trials now and then.
fn heavy(rng: &mut StdRng) -> f64 {
    let squares: f64 = (0..3).map(|_| normal(rng).powi(2)).sum();
    normal(rng) / (squares / 3.0).sqrt()
}

/// `n` rounds in which A and B share the machine's drift and B takes `ratio` times as long.
fn rounds(rng: &mut StdRng, n: usize, noise: Noise, ratio: f64) -> Vec<(f64, f64)> {
    let round = |_| {
        let drift = normal(rng);
        ((drift + 0.05 * noise(rng)).exp(), (drift + 0.05 * noise(rng)).exp() * ratio)
    };
    (0..n).map(round).collect()
}

fn share(times: u32, mut happens: impl FnMut() -> bool) -> f64 {
    f64::from((0..times).map(|_| u32::from(happens())).sum::<u32>()) / f64::from(times)
}

/// The percentile bootstrap of the mean log ratio, as many tools have it.
fn bootstrap(rng: &mut StdRng, pairs: &[(f64, f64)]) -> (f64, f64) {
    let logs: Vec<f64> = pairs.iter().map(|(a, b)| (b / a).ln()).collect();
    let n = logs.len();
    let mut means: Vec<f64> =
        (0..400).map(|_| (0..n).map(|_| logs[rng.random_range(0..n)]).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    (means[9].exp(), means[389].exp())
}

#[test]
fn the_interval_holds_the_ratio_as_often_as_it_says() {
    let mut rng = StdRng::seed_from_u64(8);
    for (name, noise) in
        [("normal", normal as Noise), ("exponential", exponential), ("two peaks", two_peaks), ("heavy", heavy)]
    {
        for n in [3, 5, 10] {
            let held = share(2000, || {
                let ratio = paired(&rounds(&mut rng, n, noise, 1.1)).unwrap();
                ratio.low <= 1.1 && 1.1 <= ratio.high
            });
            // 95 % of 2,000, but for three standard errors of the simulation.
            assert!(held > 0.935, "{name}, {n} pairs: {held}");
        }
    }
}

#[test]
fn a_bootstrap_of_five_does_not() {
    let mut rng = StdRng::seed_from_u64(8);
    let held = share(2000, || {
        let pairs = rounds(&mut rng, 5, normal, 1.1);
        let (low, high) = bootstrap(&mut rng, &pairs);
        low <= 1.1 && 1.1 <= high
    });
    assert!((0.78..0.88).contains(&held), "{held}");
}

#[test]
fn alike_is_called_different_at_the_nominal_rate() {
    let mut rng = StdRng::seed_from_u64(8);
    // 60 trials of the same thing, paired anew a thousand times, as `selftest` does it.
    let trials: Vec<f64> = (0..60).map(|_| (0.05 * normal(&mut rng)).exp()).collect();
    let rate = super::same::false_positives(&trials, 5, 1000, 8).unwrap();
    assert!((0.03..0.07).contains(&rate), "{rate}");
}

#[test]
fn what_is_detectable_is_detected() {
    let mut rng = StdRng::seed_from_u64(8);
    for (times, expected) in [(1.0, 0.7..0.9), (2.0, 0.99..1.01)] {
        let found = share(1000, || {
            // The true spread of a log ratio of two such trials, and what that lets five pairs see.
            let shift: f64 = 3.745;
            let effect = (times * shift * 0.05 * 2f64.sqrt() / 5f64.sqrt()).exp();
            paired(&rounds(&mut rng, 5, normal, effect)).unwrap().low > 1.0
        });
        assert!(expected.contains(&found), "{times} times the detectable effect: found in {found}");
    }
}

#[test]
fn half_a_per_cent_is_not_called_the_same_by_noise() {
    let mut rng = StdRng::seed_from_u64(8);
    let mut of = |n| {
        let ratio = paired(&rounds(&mut rng, n, normal, 1.005)).unwrap();
        of_ratio(&ratio, 0.01, Better::Lower)
    };
    // Five trials with noise of 5 % never have an interval within 1 %; many thousands do.
    assert!((0..200).all(|_| of(5) != Verdict::Same));
    assert_eq!(of(20_000), Verdict::Same);
}

#[test]
fn a_rule_that_stops_early_costs_little_coverage_from_five_trials_on() {
    use super::stopping::{Rule, Stop, half_width};
    let mut rng = StdRng::seed_from_u64(8);
    let mut held = |floor| {
        let rule = Rule { within: 0.04, floor, ceiling: 60 };
        share(2000, || {
            let mut values = Vec::new();
            while !matches!(rule.stop(&values), Some(Stop::Precise { .. } | Stop::Ceiling { .. })) {
                values.push((0.05 * normal(&mut rng)).exp());
            }
            let mean = values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64;
            mean.abs() <= half_width(&values).unwrap().ln_1p()
        })
    };
    let (two, five) = (held(2), held(5));
    assert!(five > 0.90 && two < five, "from two trials on {two}, from five on {five}");
}
