//! Where a series of runs changes its level: E-Divisive of Matteson and James, "A nonparametric approach for multiple
//! change point analysis of multivariate data", *J. Am. Stat. Assoc.* 109 (2014), as MongoDB uses it for its benchmarks
//! (Daly and others, "The use of change point detection to identify software performance regressions", ICPE 2020).
//!
//! A series is cut where the energy distance of what lies before and behind is greatest; a cut counts when fewer than
//! [`LEVEL`] of shuffled series have one as great; then both parts are cut further. Nothing is assumed of the distribution,
//! but that runs do not depend on each other.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// The share of series without any change in which one is found all the same.
pub const LEVEL: f64 = 0.05;

/// Runs in a part. One alone is no level.
pub const SHORTEST: usize = 2;

/// Runs below which no change can be significant: with fewer there are too few ways to shuffle them.
pub const LEAST: usize = 8;

/// Series that are shuffled for each cut.
const SHUFFLES: u32 = 999;

/// A change of level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The first value of the new level.
    pub at: usize,
    /// The share of shuffled series that have a cut as great.
    pub p: f64,
}

/// All changes of `series`, in order. The same series has the same ones each time.
pub fn changes(series: &[f64]) -> Vec<Change> {
    with_parts_of(SHORTEST, series)
}

fn with_parts_of(shortest: usize, series: &[f64]) -> Vec<Change> {
    let mut rng = StdRng::seed_from_u64(8);
    let mut changes: Vec<Change> = Vec::new();
    while let Some(change) = next(shortest, series, &changes, &mut rng) {
        changes.push(change);
        changes.sort_by_key(|change| change.at);
    }
    changes
}

/// The greatest cut that is left, if it is significant.
fn next(shortest: usize, series: &[f64], known: &[Change], rng: &mut StdRng) -> Option<Change> {
    let ends = known.iter().map(|change| change.at).chain([series.len()]);
    let begins = [0].into_iter().chain(known.iter().map(|change| change.at));
    let parts: Vec<&[f64]> = begins.clone().zip(ends).map(|(begin, end)| &series[begin..end]).collect();
    let cuts = begins.zip(&parts).filter_map(|(begin, part)| best(shortest, part).map(|(at, size)| (begin + at, size)));
    let (at, size) = cuts.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let mut as_great = 0;
    for _ in 0..SHUFFLES {
        let shuffled = parts.iter().filter_map(|part| {
            let mut part = part.to_vec();
            part.shuffle(rng);
            best(shortest, &part).map(|(_, size)| size)
        });
        // Sums of the same numbers in another order are not the same to the last digit.
        as_great += u32::from(shuffled.fold(0.0, f64::max) >= size * (1.0 - 1e-9));
    }
    let p = f64::from(as_great + 1) / f64::from(SHUFFLES + 1);
    (size > 0.0 && p <= LEVEL).then_some(Change { at, p })
}

/// Where the energy distance is greatest, and how great it is; none where the parts would be too short.
fn best(shortest: usize, part: &[f64]) -> Option<(usize, f64)> {
    let cuts = distances(part).enumerate().skip(shortest);
    let cuts = cuts.take_while(|(at, _)| at + shortest <= part.len());
    cuts.max_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// For each cut, n m / (n + m) times the energy distance of the n values before and the m behind it.
fn distances(part: &[f64]) -> impl Iterator<Item = f64> + '_ {
    let from = |x: f64, others: &[f64]| others.iter().map(|y| (x - y).abs()).sum::<f64>();
    // Sums over pairs: both before, one before and one behind, both behind.
    let (mut before, mut across) = (0.0, 0.0);
    let mut behind: f64 = (0..part.len()).map(|i| from(part[i], &part[i + 1..])).sum();
    (0..part.len()).map(move |cut| {
        let (n, m) = (cut as f64, (part.len() - cut) as f64);
        let size = if cut == 0 {
            0.0
        } else {
            n * m / (n + m) * (2.0 * across / (n * m) - 2.0 * before / (n * n) - 2.0 * behind / (m * m))
        };
        let (left, right) = (from(part[cut], &part[..cut]), from(part[cut], &part[cut + 1..]));
        (before, across, behind) = (before + left, across - left + right, behind - right);
        size
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn noise(rng: &mut StdRng, n: usize, level: f64) -> Vec<f64> {
        let normal = |rng: &mut StdRng| {
            let (u, v): (f64, f64) = (rng.random(), rng.random());
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        };
        (0..n).map(|_| level * (0.02 * normal(rng)).exp()).collect()
    }

    fn places(series: &[f64]) -> Vec<usize> {
        changes(series).iter().map(|change| change.at).collect()
    }

    /// `fixtures/changes.py` says how they were made.
    #[test]
    fn as_mongodb_has_it() {
        let fixtures: serde_json::Value = serde_json::from_str(include_str!("fixtures/changes.json")).unwrap();
        let sets = fixtures["sets"].as_array().unwrap();
        assert_eq!(sets.len(), 10);
        for set in sets {
            let list = |key: &str| -> Vec<f64> { serde_json::from_value(set[key].clone()).unwrap() };
            let series = list("series");
            for (ours, theirs) in distances(&series).zip(list("t")) {
                assert!((ours - theirs).abs() <= 1e-9 * (1.0 + theirs.abs()), "{ours} and not {theirs}");
            }
            let theirs: Vec<usize> = serde_json::from_value(set["changes"].clone()).unwrap();
            // It lets a single run be a level, and finds less for that.
            let ours: Vec<usize> = with_parts_of(1, &series).iter().map(|change| change.at).collect();
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn planted_steps_are_found() {
        let mut rng = StdRng::seed_from_u64(8);
        for (before, behind) in [(20, 3), (30, 10), (15, 15)] {
            let found = (0..40).filter(|_| {
                let series = [noise(&mut rng, before, 100.0), noise(&mut rng, behind, 110.0)].concat();
                places(&series).contains(&before)
            });
            let found = found.count();
            assert!(found >= 36, "{before} + {behind}: in {found} of 40");
        }
        let there_and_back = [noise(&mut rng, 12, 100.0), noise(&mut rng, 12, 120.0), noise(&mut rng, 12, 100.0)];
        assert_eq!(places(&there_and_back.concat()), [12, 24]);
    }

    #[test]
    fn noise_changes_at_the_nominal_rate() {
        let mut rng = StdRng::seed_from_u64(8);
        for n in [LEAST, 20, 40] {
            let called = (0..400).filter(|_| !changes(&noise(&mut rng, n, 100.0)).is_empty()).count() as u64;
            let (low, high) = super::super::same::exact(called, 400).unwrap();
            assert!(low < LEVEL && high > 0.02, "{n} runs: {called} of 400 ({low}–{high})");
        }
    }

    #[test]
    fn what_stands_still_or_is_too_short_has_none() {
        assert_eq!(changes(&[5.0; 30]), []);
        assert_eq!(changes(&[]), []);
        assert_eq!(changes(&[1.0, 1.0, 9.0]), []);
        // One wild run is no level.
        let mut series = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8, 100.1, 99.9, 100.3].to_vec();
        series.push(300.0);
        assert_eq!(changes(&series), []);
    }
}
