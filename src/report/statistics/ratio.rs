//! How many times as much: the ratio of two sides with its interval.
//!
//! All of it is Student's *t* on logarithms. Times and rates vary by factors, and the logarithm of the ratio of two
//! trials of a round is distributed symmetrically wherever both sides vary alike, whatever their own shape; *t* then
//! keeps its coverage from three pairs on, which a bootstrap of five does not (both are simulated in `simulation.rs`).
//! The trial is the unit: what happens within one is correlated, and counts as one.

use super::{WANTED, mean_and_variance};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};
use statrs::function::gamma::ln_gamma;

/// B over A.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Ratio of the geometric means.
    pub estimate: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The probability that such intervals hold the true ratio.
    pub coverage: f64,
    /// Whether trials were compared within their rounds.
    pub paired: bool,
    #[serde(skip)]
    error: f64,
    #[serde(skip)]
    freedom: f64,
}

/// The ratio over pairs, each of one round. None of fewer than two pairs, or where a value is not above 0.
pub fn paired(pairs: &[(f64, f64)]) -> Option<Ratio> {
    let logs: Option<Vec<f64>> = pairs.iter().map(|(a, b)| Some(log(*b)? - log(*a)?)).collect();
    let logs = logs?;
    let (mean, variance) = mean_and_variance(&logs)?;
    let n = logs.len() as f64;
    Ratio::of(mean, (variance / n).sqrt(), n - 1.0, true)
}

/// The ratio of trials that have no partners: Welch's *t*, with the degrees of freedom of Satterthwaite. None where a
/// side has fewer than two values, or one that is not above 0.
pub fn unpaired(a: &[f64], b: &[f64]) -> Option<Ratio> {
    let side = |values: &[f64]| {
        let logs: Option<Vec<f64>> = values.iter().map(|value| log(*value)).collect();
        let logs = logs?;
        let (mean, variance) = mean_and_variance(&logs)?;
        Some((mean, variance / logs.len() as f64, logs.len() as f64 - 1.0))
    };
    let ((a, a_error, a_free), (b, b_error, b_free)) = (side(a)?, side(b)?);
    let error = a_error + b_error;
    let freedom = error * error / (a_error * a_error / a_free + b_error * b_error / b_free);
    // Without any spread there is nothing to weigh.
    let freedom = if freedom.is_finite() { freedom } else { a_free + b_free };
    Ratio::of(b - a, error.sqrt(), freedom, false)
}

impl Ratio {
    fn of(log: f64, error: f64, freedom: f64, paired: bool) -> Option<Ratio> {
        let half = student(freedom)?.inverse_cdf(f64::midpoint(1.0, WANTED)) * error;
        let [estimate, low, high] = [log, log - half, log + half].map(f64::exp);
        Some(Ratio { estimate, low, high, coverage: WANTED, paired, error, freedom })
    }

    /// Whether the interval leaves no room for "no difference".
    pub fn differs(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }

    /// The smallest factor of which trials such as these would have said in 80 % of cases that it is beyond `margin`
    /// (0.05: five per cent).
    ///
    /// The test statistic of a true effect is non-central *t*: Cohen, *Statistical Power Analysis*, section 2.
    pub fn detectable(&self, margin: f64) -> Option<f64> {
        Some((1.0 + margin) * (shift(self.freedom)? * self.error).exp())
    }

    /// The same of `n` pairs (or trials a side), if the spread stays what it is.
    pub fn detectable_with(&self, n: u64, margin: f64) -> Option<f64> {
        let error = self.deviation() / (n as f64).sqrt();
        Some((1.0 + margin) * (shift(self.sides() * (n as f64 - 1.0))? * error).exp())
    }

    /// Pairs (or trials a side) with which an effect of `factor` would be found in 80 % of cases, if the spread stays
    /// what it is; none when 10,000 would not do.
    pub fn needed(&self, factor: f64) -> Option<u64> {
        // Past 30 the shift hardly changes; the normal's is near enough to tell trials.
        let enough = |n: &u64| self.detectable_with(*n, 0.0).is_some_and(|seen| seen.ln() <= factor.ln().abs());
        (2..=30).find(enough).or_else(|| {
            let n = (NORMAL_SHIFT * self.deviation() / factor.ln()).powi(2).ceil();
            (n <= 10_000.0).then_some(n as u64)
        })
    }

    /// How many groups of trials the degrees of freedom are of.
    fn sides(&self) -> f64 {
        if self.paired { 1.0 } else { 2.0 }
    }

    /// Standard deviation of one pair's logarithm, or of a difference of one trial a side.
    fn deviation(&self) -> f64 {
        self.error * (self.freedom / self.sides() + 1.0).sqrt()
    }
}

/// Quantiles of the normal for 97.5 % and 80 %, added.
const NORMAL_SHIFT: f64 = 1.959_964 + 0.841_621;

/// The probability with which an effect that is called detectable is found.
const POWER: f64 = 0.8;

/// By how many standard errors an effect must lie beyond a limit for the interval to clear it with [`POWER`].
///
/// P(T > c) of a non-central T is the mean of Φ(shift − c·s/√ν) over s ~ χ(ν), summed here at even steps of s.
fn shift(freedom: f64) -> Option<f64> {
    const STEPS: u32 = 1000;
    let critical = student(freedom)?.inverse_cdf(f64::midpoint(1.0, WANTED));
    let width = (freedom.sqrt() + 8.0) / f64::from(STEPS);
    let density = |s: f64| {
        let half = freedom / 2.0;
        ((freedom - 1.0) * s.ln() - s * s / 2.0 - (half - 1.0) * std::f64::consts::LN_2 - ln_gamma(half)).exp()
    };
    let at = (0..STEPS).map(|i| (f64::from(i) + 0.5) * width);
    let weighed: Vec<(f64, f64)> = at.map(|s| (critical * s / freedom.sqrt(), density(s) * width)).collect();
    let normal = Normal::standard();
    let power = |shift: f64| weighed.iter().map(|(limit, weight)| weight * normal.cdf(shift - limit)).sum::<f64>();
    let (mut low, mut high) = (0.0, 10.0 * critical);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if power(middle) < POWER { low = middle } else { high = middle }
    }
    Some(high)
}

fn student(freedom: f64) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, freedom).ok()
}

fn log(value: f64) -> Option<f64> {
    (value > 0.0 && value.is_finite()).then(|| value.ln())
}
