use super::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A load that began with the trial.
fn throughput(bins: impl IntoIterator<Item = u64>) -> Throughput {
    Throughput::of(bins)
}

fn stretch(seconds: u64, warm_up: Option<u64>) -> Stretch {
    let (from, warm_up) = (Duration::ZERO, warm_up.map(Duration::from_secs));
    Stretch { phase: "measure".into(), from, to: Duration::from_secs(seconds), warm_up }
}

fn normal(rng: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// `n` values around 100, each of which remembers `memory` of the one before.
fn noise(rng: &mut StdRng, n: usize, memory: f64) -> Vec<f64> {
    let mut deviation = 0.0;
    let mut next = || {
        deviation = memory * deviation + normal(rng);
        100.0 + deviation
    };
    (0..n + 50).map(|_| next()).skip(50).collect()
}

fn share(mut happens: impl FnMut() -> bool) -> f64 {
    f64::from((0..2000).map(|_| u32::from(happens())).sum::<u32>()) / 2000.0
}

/// `fixtures/make.py` says how they were made.
#[test]
fn as_pymser_has_it() {
    let fixtures: serde_json::Value = serde_json::from_str(include_str!("../fixtures/mser.json")).unwrap();
    let all = fixtures["series"].as_array().unwrap();
    assert_eq!(all.len(), 10);
    for of in all {
        let bins: Vec<u64> = serde_json::from_value(of["bins"].clone()).unwrap();
        let theirs: Vec<f64> = serde_json::from_value(of["errors"].clone()).unwrap();
        let tenths = bins.len() as u64;
        let series = series(&throughput(bins), Duration::ZERO, Throughput::BIN * tenths as u32);
        // Theirs are of means, and single precision.
        let ours = standard_errors(&series).map(|error| error / 25.0);
        for (ours, theirs) in ours.zip(&theirs) {
            assert!((ours / theirs - 1.0).abs() < 1e-3, "{ours} and not {theirs}");
        }
        assert_eq!(optimum(&series, series.len() - BATCH + 1) as u64, of["cut"].as_u64().unwrap());
    }
}

#[test]
fn a_warm_up_is_cut_and_the_rest_is_known() {
    let mut rng = StdRng::seed_from_u64(8);
    // 3 s at half the rate, then 17 s.
    let mut bins = |n, level: f64| -> Vec<u64> { (0..n).map(|_| (level + 3.0 * normal(&mut rng)) as u64).collect() };
    let load = throughput([bins(30, 100.0), bins(170, 200.0)].concat());
    let of = |warm_up, metric: &str| {
        let values = values("app", &load, &stretch(20, warm_up));
        assert!(values.iter().all(|value| crate::metric::catalogue::find(value.metric).is_some()));
        values.into_iter().find(|value| value.metric == metric).map(|value| value.value)
    };
    assert_eq!((of(None, "load.warm_up"), of(None, "load.unsteady")), (Some(3.0), Some(0.0)));
    let tps = of(None, "load.steady.tps").unwrap();
    assert!((1990.0..2000.0).contains(&tps), "{tps}");
    assert!(of(None, "load.steady.half_width").unwrap() < 0.01);
    // As the scenario says.
    assert_eq!((of(Some(10), "load.warm_up"), of(Some(10), "load.unsteady")), (Some(10.0), None));
    assert!(of(Some(0), "load.steady.tps").unwrap() < 1860.0, "nothing is cut");
    assert!(values("app", &load, &stretch(7, None)).is_empty(), "too short");
}

#[test]
fn what_rises_to_the_end_has_no_steady_state() {
    let rising = throughput((0..200).map(|i| 100 + i));
    let values = values("app", &rising, &stretch(20, None));
    let found: Vec<_> = values.iter().map(|value| (value.metric, value.value)).collect();
    assert_eq!(found, [("load.unsteady", 1.0)]);
    let mut rng = StdRng::seed_from_u64(8);
    for n in [20, 40, 120] {
        let mut ramp = |over: f64| {
            let noise = noise(&mut rng, n, 0.0).into_iter().zip(0..n);
            unsteady(&noise.map(|(x, i)| x + over * i as f64 / n as f64).collect::<Vec<_>>())
        };
        let found = share(|| ramp(10.0));
        assert!(found > 0.8, "{n}: {found}");
    }
}

#[test]
fn a_stop_behind_the_last_transaction_counts_as_nothing() {
    let stalled = throughput([100; 100]);
    assert_eq!(series(&stalled, Duration::ZERO, Duration::from_secs(12)).iter().rev().take(4).sum::<f64>(), 0.0);
    assert_eq!(series(&stalled, Duration::from_millis(250), Duration::from_secs(1)), [500.0]);
}

/// Noise is seldom called unsteady, and intervals hold the mean about as often as they say, which those that take every
/// value for an independent one do not.
#[test]
fn noise_that_remembers() {
    let mut rng = StdRng::seed_from_u64(8);
    let naive = |rest: &[f64]| {
        let (n, level) = (rest.len() as f64, mean(rest));
        student(n - 1.0).unwrap() * (rest.iter().map(|x| (x - level).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt()
    };
    for (n, memory, alarms, holds, naively) in [
        (20, 0.0, 0.02, 0.92..0.97, 0.88..0.93),
        (20, 0.5, 0.04, 0.82..0.90, 0.58..0.76),
        (120, 0.0, 0.01, 0.93..0.98, 0.92..0.97),
        (120, 0.5, 0.01, 0.91..0.96, 0.69..0.77),
        (120, 0.8, 0.02, 0.85..0.91, 0.40..0.52),
    ] {
        let called = share(|| unsteady(&noise(&mut rng, n, memory)));
        assert!(called < alarms, "{n} values, {memory}: {called} called unsteady");
        let mut held = [0, 0];
        for _ in 0..2000 {
            let series = noise(&mut rng, n, memory);
            let rest = &series[cut(&series)..];
            let off = (mean(rest) - 100.0).abs();
            held[0] += u32::from(off <= half_width(rest).unwrap());
            held[1] += u32::from(off <= naive(rest));
        }
        let [ours, theirs] = held.map(|held| f64::from(held) / 2000.0);
        assert!(holds.contains(&ours) && naively.contains(&theirs), "{n} values, {memory}: {ours}, naively {theirs}");
    }
}
