//! When to stop adding trials.

use super::{WANTED, mean_and_variance};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Trials go on until the typical value is known well enough, but never beyond `ceiling`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Relative half-width that the 95 % interval must come under: 0.02 is two per cent.
    pub within: f64,
    /// Trials that are made in any case. A rule that looks after every trial stops too early where a few happen to
    /// agree; with fewer than five that is often.
    pub floor: usize,
    /// Trials after which it ends in any case.
    pub ceiling: usize,
}

/// Why trials end; goes into the record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The interval is narrow enough.
    Precise {
        /// Its relative half-width.
        half_width: f64,
    },
    /// The ceiling is reached, and the interval is still wider than wanted.
    Ceiling {
        /// Its relative half-width, where it has one.
        half_width: Option<f64>,
    },
}

impl Rule {
    /// Whether to stop after these trials.
    pub fn stop(&self, values: &[f64]) -> Option<Stop> {
        let half_width = half_width(values);
        match half_width {
            Some(half_width) if values.len() >= self.floor && half_width <= self.within => {
                Some(Stop::Precise { half_width })
            }
            _ => (values.len() >= self.ceiling).then_some(Stop::Ceiling { half_width }),
        }
    }
}

/// How far the 95 % interval of the geometric mean reaches above it, as a share of it: Student's *t* on logarithms.
/// None of fewer than two values, or where one is not above 0.
pub fn half_width(values: &[f64]) -> Option<f64> {
    if values.iter().any(|value| *value <= 0.0) {
        return None;
    }
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let (_, variance) = mean_and_variance(&logs)?;
    let n = logs.len() as f64;
    let student = StudentsT::new(0.0, 1.0, n - 1.0).ok()?;
    Some((student.inverse_cdf(f64::midpoint(1.0, WANTED)) * (variance / n).sqrt()).exp_m1())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stops_when_precise_and_not_before_the_floor() {
        let rule = Rule { within: 0.02, floor: 5, ceiling: 8 };
        let calm = [1.0, 1.001, 0.999, 1.0, 1.002];
        assert_eq!(rule.stop(&calm[..4]), None);
        assert!(matches!(rule.stop(&calm), Some(Stop::Precise { half_width }) if half_width < 0.002));
        let wild = [1.0, 2.0, 0.5, 1.0, 2.0, 0.5, 1.0, 2.0];
        assert_eq!(rule.stop(&wild[..7]), None);
        assert!(matches!(rule.stop(&wild), Some(Stop::Ceiling { half_width: Some(width) }) if width > 0.02));
        assert_eq!(rule.stop(&[0.0; 8]), Some(Stop::Ceiling { half_width: None }));
    }
}
