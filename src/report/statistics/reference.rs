//! The methods tried on real trials: those of `results/2026-11-25-2core-vm-planted`, whose README says how they were made.

use super::ratio::{Ratio, paired};
use super::same::{exact, false_positives};
use super::verdict::{Verdict, of_ratio};
use crate::metric::Better;
use crate::record::SummaryRow;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

/// Rounds of variants that are alike, or 0.5 % apart.
const PLANTED: &str = include_str!("../../../results/2026-11-25-2core-vm-planted/planted.csv");

/// Rounds of a campaign.
const FIVE: usize = 5;

/// What `metric` was on both sides, round for round.
fn rounds(csv: &str, metric: &str, [a, b]: [&str; 2]) -> Vec<(f64, f64)> {
    let rows = csv::Reader::from_reader(csv.as_bytes()).into_deserialize::<SummaryRow>();
    let mut found: BTreeMap<(String, u32), [Option<f64>; 2]> = BTreeMap::new();
    for row in rows.map(|row| row.unwrap()).filter(|row| row.metric == metric) {
        let side = [a, b].iter().position(|variant| *variant == row.variant);
        if let Some(side) = side {
            found.entry((row.run_id, row.trial)).or_default()[side] = Some(row.value);
        }
    }
    found.into_values().filter_map(|[a, b]| Some((a?, b?))).collect()
}

fn alike(metric: &str) -> Vec<(f64, f64)> {
    rounds(PLANTED, metric, ["delay=none", "delay=same"])
}

/// The change of throughput that five such rounds see in 80 % of cases, as a factor above 1.
fn stated(rounds: &[(f64, f64)]) -> f64 {
    paired(rounds).unwrap().detectable_with(FIVE as u64, 0.0).unwrap()
}

/// A thousand campaigns made of rounds that are alike, in which B takes `factor` times as much.
fn campaigns(rounds: &[(f64, f64)], factor: f64) -> Vec<Ratio> {
    let mut rng = StdRng::seed_from_u64(8);
    let mut drawn = rounds.to_vec();
    let mut campaign = || {
        drawn.shuffle(&mut rng);
        let labelled = drawn[..FIVE].iter().map(|(a, b)| if rng.random() { (*a, *b) } else { (*b, *a) });
        let slowed: Vec<(f64, f64)> = labelled.map(|(a, b)| (a, b * factor)).collect();
        paired(&slowed).unwrap()
    };
    (0..1000).map(|_| campaign()).collect()
}

fn share(of: &[Ratio], what: impl Fn(&Ratio) -> bool) -> f64 {
    of.iter().filter(|ratio| what(ratio)).count() as f64 / of.len() as f64
}

#[test]
fn alike_is_called_different_no_more_often_than_it_should() {
    for metric in ["load.tps", "load.response.p99"] {
        let rounds = alike(metric);
        assert!(rounds.len() >= 30, "60 trials");
        let trials: Vec<f64> = rounds.iter().flat_map(|(a, b)| [*a, *b]).collect();
        let rate = false_positives(&trials, FIVE, 1000, 1).unwrap();
        let (low, high) = exact((rate * 1000.0).round() as u64, 1000).unwrap();
        println!("{metric}: {rate} ({low:.3}–{high:.3}), five rounds see {:.4}", stated(&rounds));
        // Never more often; wild trials, of which these have some, make Student's t a little shy (see `simulation`).
        assert!(low <= 0.05 && high >= 0.03, "{metric}: {rate} ({low}–{high})");
    }
}

#[test]
fn a_real_slowdown_of_about_what_is_detectable_is_found() {
    let slowed = rounds(PLANTED, "load.tps", ["delay=none", "delay=slow"]);
    let whole = paired(&slowed).unwrap();
    let times = -whole.estimate.ln() / stated(&alike("load.tps")).ln();
    let found = slowed.chunks_exact(FIVE).filter(|five| paired(five).unwrap().high < 1.0).count();
    println!("{:.4}, {times:.2} times what is stated: in {found} of {}", whole.estimate, slowed.len() / FIVE);
    assert!((0.8..1.1).contains(&times), "{times}");
    // 80 % of 8.
    assert!(found >= 6, "{found} of 8");
}

#[test]
fn a_slowdown_laid_over_real_trials_is_found() {
    let alike = alike("load.tps");
    let detectable = stated(&alike).ln();
    for (times, least) in [(1.0, 0.7), (2.0, 0.95)] {
        let campaigns = campaigns(&alike, (-times * detectable).exp());
        let found = share(&campaigns, |ratio| ratio.high < 1.0);
        println!("{times} times what is stated: in {found}");
        assert!(found >= least, "{times}: {found}");
    }
}

#[test]
fn half_a_per_cent_cannot_be_told() {
    let tell = |margin: f64| move |ratio: &Ratio| of_ratio(ratio, margin, Better::Higher);
    // Really there.
    let half = rounds(PLANTED, "load.tps", ["delay=none", "delay=half"]);
    let real: Vec<Ratio> = half.chunks_exact(FIVE).map(|five| paired(five).unwrap()).collect();
    assert_eq!(real.len(), 8);
    let verdicts: Vec<Verdict> = real.iter().map(tell(0.01)).collect();
    println!("{:?}: {verdicts:?}", paired(&half));
    for (ratio, verdict) in real.iter().zip(&verdicts) {
        let within = ratio.low >= 1.0 / 1.01 && ratio.high <= 1.01;
        assert_eq!(*verdict, if within { Verdict::Same } else { Verdict::CannotTell }, "{ratio:?}");
    }
    assert!(verdicts.iter().filter(|verdict| **verdict == Verdict::CannotTell).count() >= 6, "{verdicts:?}");
    // Laid over trials that are alike.
    let laid = campaigns(&alike("load.tps"), 0.995);
    for margin in [0.005, 0.01] {
        let same = share(&laid, |ratio| tell(margin)(ratio) == Verdict::Same);
        let unknown = share(&laid, |ratio| tell(margin)(ratio) == Verdict::CannotTell);
        println!("margin {margin}: same {same}, cannot tell {unknown}");
        assert!(unknown >= 0.85, "{margin}: {unknown}");
    }
}
