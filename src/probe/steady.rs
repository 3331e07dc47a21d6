//! From when on throughput is steady in a phase, and how well one run then knows it: pure arithmetic on counted
//! transactions.
//!
//! *Warm-up.* Completed transactions are counted in bins of 100 ms; the means of five bins each are the series, which is
//! MSER-5: cut where the squared standard error of what is left, Σ(x − mean)² / (n − d)², is smallest (White, "An effective
//! truncation heuristic for bias reduction in simulation output", *Simulation* 69 (1997); the last five are never alone).
//! The cut is looked for in the first half.
//!
//! *No steady state.* Where the optimum lies in the second half, White calls the run too short. In short phases noise does
//! that too (one in eight of 10 s), so the whole series must have a slope besides, at 95 %.
//!
//! *Autocorrelation.* What follows within a run is correlated, so n values tell no more than n (1 − ρ) / (1 + ρ) independent
//! ones, with ρ the correlation of neighbours, made free of bias (Marriott and Pope, *Biometrika* 41 (1954)). Slope and
//! interval are Student's *t* with so many. Where ρ is 0.8 and the phase short, the interval still holds the mean in fewer
//! cases than 95 % (`tests` below); it is of this run alone, and no verdict rests on it.

use crate::metric::Value;
use crate::workload::Throughput;
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::time::Duration;

/// Bins of 100 ms in one value of the series: the 5 of MSER-5.
const BATCH: usize = 5;

/// Values that are left after every cut, so that an interval means something.
const LEFT: usize = 10;

/// The shortest series of which anything is said: 7.5 s.
const SHORTEST: usize = 15;

/// A phase of which is asked whether its throughput was steady.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// Its name.
    pub phase: String,
    /// When it began, on the trial's clock.
    pub from: Duration,
    /// When it ended.
    pub to: Duration,
    /// What to cut, if that is not to be found out.
    pub warm_up: Option<Duration>,
}

/// `load.warm_up`, `load.unsteady`, `load.steady.tps` and `load.steady.half_width` of `load` in a phase; nothing of one
/// that is too short.
pub fn values(load: &str, throughput: &Throughput, stretch: &Stretch) -> Vec<Value> {
    let value = |metric, value| Value::new(metric, value).subject(load).phase(&stretch.phase);
    let begins = stretch.from + stretch.warm_up.unwrap_or_default();
    let series = series(throughput, begins, stretch.to);
    let seconds = (Throughput::BIN * BATCH as u32).as_secs_f64();
    let cut = match stretch.warm_up {
        Some(_) => 0,
        None if series.len() < SHORTEST => return Vec::new(),
        None if unsteady(&series) => return vec![value("load.unsteady", 1.0)],
        None => cut(&series),
    };
    let rest = &series[cut..];
    if rest.is_empty() {
        return Vec::new();
    }
    let mut values = match stretch.warm_up {
        Some(warm_up) => vec![value("load.warm_up", warm_up.as_secs_f64())],
        None => vec![value("load.warm_up", cut as f64 * seconds), value("load.unsteady", 0.0)],
    };
    let mean = mean(rest);
    values.push(value("load.steady.tps", mean / seconds));
    let known = half_width(rest).filter(|_| mean > 0.0 && rest.len() >= LEFT);
    values.extend(known.map(|half| value("load.steady.half_width", half / mean)));
    values
}

/// Transactions in each half second that lies wholly within; what is left over at the end is left out.
fn series(throughput: &Throughput, from: Duration, to: Duration) -> Vec<f64> {
    let bins: Vec<(Duration, u64)> = throughput.bins().collect();
    let bin = Throughput::BIN.as_nanos();
    let first = bins.first().map_or(0, |(begin, _)| begin.as_nanos() / bin);
    // Behind the last transaction there are no bins, as they would be empty.
    let count = |index: u128| bins.get((index - first) as usize).map_or(0.0, |(_, count)| *count as f64);
    let counts: Vec<f64> = (from.as_nanos().div_ceil(bin).max(first)..to.as_nanos() / bin).map(count).collect();
    counts.chunks_exact(BATCH).map(|batch| batch.iter().sum()).collect()
}

/// The squared standard error of what is left after each cut.
fn standard_errors(series: &[f64]) -> impl Iterator<Item = f64> + '_ {
    (0..series.len()).map(|cut| {
        let rest = &series[cut..];
        let mean = mean(rest);
        rest.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (rest.len() as f64).powi(2)
    })
}

/// Where the least of the first `of` standard errors is; of several the first.
fn optimum(series: &[f64], of: usize) -> usize {
    let errors = standard_errors(series).take(of).enumerate();
    errors.min_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(cut, _)| cut)
}

/// How many values are warm-up.
fn cut(series: &[f64]) -> usize {
    let most = (series.len() / 2).min(series.len().saturating_sub(LEFT));
    optimum(series, most + 1)
}

/// Whether there is no steady state.
fn unsteady(series: &[f64]) -> bool {
    let late = optimum(series, (series.len() + 1).saturating_sub(BATCH)) > series.len() / 2;
    late && slopes(series)
}

/// Whether a straight line through the series rises or falls, at 95 %.
fn slopes(series: &[f64]) -> bool {
    let n = series.len() as f64;
    let level = mean(series);
    let times: Vec<f64> = (0..series.len()).map(|i| i as f64 - (n - 1.0) / 2.0).collect();
    let squares: f64 = times.iter().map(|t| t * t).sum();
    let slope = times.iter().zip(series).map(|(t, x)| t * x).sum::<f64>() / squares;
    let residuals: Vec<f64> = times.iter().zip(series).map(|(t, x)| x - level - slope * t).collect();
    let independent = independent(&residuals).max(3.0);
    let variance = residuals.iter().map(|e| e * e).sum::<f64>() / (n - 2.0);
    let error = (variance / squares * n / independent).sqrt();
    student(independent - 2.0).is_some_and(|t| slope.abs() > t * error)
}

/// Half of the 95 % interval of the mean.
fn half_width(series: &[f64]) -> Option<f64> {
    let n = series.len() as f64;
    let level = mean(series);
    let residuals: Vec<f64> = series.iter().map(|x| x - level).collect();
    let independent = independent(&residuals).max(2.0);
    let variance = residuals.iter().map(|e| e * e).sum::<f64>() / (n - 1.0);
    Some(student(independent - 1.0)? * (variance / independent).sqrt())
}

/// How many independent values tell as much as these, whose mean is 0.
fn independent(residuals: &[f64]) -> f64 {
    let n = residuals.len() as f64;
    let squares: f64 = residuals.iter().map(|e| e * e).sum();
    if squares == 0.0 {
        return n;
    }
    let raw = residuals.windows(2).map(|two| two[0] * two[1]).sum::<f64>() / squares;
    // Never so near 1 that nothing would be left, and what alternates counts as independent.
    let correlation = ((raw + 1.0 / n) / (1.0 - 3.0 / n)).clamp(0.0, 0.95);
    n * (1.0 - correlation) / (1.0 + correlation)
}

/// The 97.5 % quantile.
fn student(freedom: f64) -> Option<f64> {
    Some(StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(0.975))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests;
