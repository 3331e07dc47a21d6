//! The same thing against itself: how often are trials that are alike called different?

use super::ratio::paired;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use statrs::distribution::{Beta, ContinuousCDF};

/// The share of `times` re-pairings of trials that are alike in which an interval of 95 % over `pairs` pairs leaves out
/// 1. Should be 5 %. None where there are fewer trials than two a pair, or no ratios.
///
/// Which trials of a round were A is drawn anew each time: they were alike, so any labels will do. Rounds (neighbours in
/// `trials`) stay together, so that drift of the machine is met as it is when variants are interleaved.
pub fn false_positives(trials: &[f64], pairs: usize, times: u32, seed: u64) -> Option<f64> {
    let rounds: Vec<(f64, f64)> = trials.chunks_exact(2).map(|two| (two[0], two[1])).collect();
    if pairs < 2 || rounds.len() < pairs {
        return None;
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let mut differ = 0;
    let mut drawn = rounds.clone();
    for _ in 0..times {
        drawn.shuffle(&mut rng);
        let labelled: Vec<(f64, f64)> =
            drawn[..pairs].iter().map(|(a, b)| if rng.random() { (*a, *b) } else { (*b, *a) }).collect();
        differ += u32::from(paired(&labelled)?.differs());
    }
    Some(f64::from(differ) / f64::from(times))
}

/// Where a share lies of which `happened` of `times` are known, with 95 %: the exact interval of Clopper and Pearson.
pub fn exact(happened: u64, times: u64) -> Option<(f64, f64)> {
    let (x, n) = (happened as f64, times as f64);
    let tail = (1.0 - super::WANTED) / 2.0;
    let low = if happened == 0 { 0.0 } else { Beta::new(x, n - x + 1.0).ok()?.inverse_cdf(tail) };
    let high = if happened == times { 1.0 } else { Beta::new(x + 1.0, n - x).ok()?.inverse_cdf(1.0 - tail) };
    (happened <= times && times > 0).then_some((low, high))
}
