//! The planned instants of an open loop: arithmetic alone, never a clock.

use super::profile::{Arrivals, Open};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// The share of a load's schedule that one of its threads serves, as durations since the start of the load.
///
/// Of constant arrivals, thread `t` of `n` has the instants `(t + k × n) / rate`, so that all threads together have
/// `k / rate`. Of Poisson arrivals each thread has a Poisson process of its own with the rate `rate / n`; their sum is
/// one of the whole rate.
#[derive(Clone, Debug)]
pub struct Schedule {
    spacing: Spacing,
    /// The next due instant.
    next: Duration,
}

#[derive(Clone, Debug)]
enum Spacing {
    /// `k`, the load's arrival that is next here, every `stride`th of which is this thread's.
    Constant { rate: f64, k: u64, stride: u64 },
    /// The mean gap in seconds; the sum of the gaps so far.
    Poisson { mean: f64, sum: f64, rng: Box<Xoshiro256PlusPlus> },
}

impl Schedule {
    /// The schedule of thread `thread` of `threads`.
    pub fn new(open: &Open, thread: u32, threads: u32, seed: u64) -> Schedule {
        let spacing = match open.arrivals {
            Arrivals::Constant => Spacing::Constant { rate: open.rate, k: u64::from(thread), stride: threads.into() },
            Arrivals::Poisson => Spacing::Poisson {
                mean: f64::from(threads) / open.rate,
                sum: 0.0,
                rng: Box::new(Xoshiro256PlusPlus::seed_from_u64(seed)),
            },
        };
        let mut schedule = Schedule { spacing, next: Duration::ZERO };
        schedule.next = schedule.spacing.next();
        schedule
    }

    /// The next due instant, which stays the next one.
    #[inline]
    pub fn peek(&self) -> Duration {
        self.next
    }

    /// Takes the next due instant.
    #[inline]
    pub fn take(&mut self) -> Duration {
        std::mem::replace(&mut self.next, self.spacing.next())
    }
}

impl Spacing {
    #[inline]
    fn next(&mut self) -> Duration {
        let seconds = match self {
            Spacing::Constant { rate, k, stride } => {
                // Multiplied out each time: adding gaps would add their rounding up.
                let seconds = *k as f64 / *rate;
                *k += *stride;
                seconds
            }
            Spacing::Poisson { mean, sum, rng } => {
                // Inverse of the exponential distribution; `random` is in [0, 1), so the logarithm is finite.
                *sum -= *mean * (1.0 - rng.random::<f64>()).ln();
                *sum
            }
        };
        // Beyond what a Duration holds there is nothing due any more.
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(rate: f64, arrivals: Arrivals) -> Open {
        Open { rate, arrivals }
    }

    #[test]
    fn constant_arrivals_do_not_drift() {
        let mut schedule = Schedule::new(&open(3.0, Arrivals::Constant), 0, 1, 0);
        let all: Vec<Duration> = (0..3_000_001).map(|_| schedule.take()).collect();
        assert_eq!(all[0], Duration::ZERO);
        assert_eq!(all[3], Duration::from_secs(1));
        assert_eq!(all[3_000_000], Duration::from_secs(1_000_000));
    }

    #[test]
    fn threads_share_one_constant_schedule() {
        let mut due: Vec<Duration> = (0..3)
            .flat_map(|thread| {
                let mut schedule = Schedule::new(&open(1000.0, Arrivals::Constant), thread, 3, 0);
                (0..100).map(|_| schedule.take()).collect::<Vec<_>>()
            })
            .collect();
        due.sort();
        assert_eq!(due, (0..300).map(Duration::from_millis).collect::<Vec<_>>());
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_exponential_gaps() {
        let mut schedule = Schedule::new(&open(1000.0, Arrivals::Poisson), 1, 2, 5);
        let due: Vec<f64> = (0..100_000).map(|_| schedule.take().as_secs_f64()).collect();
        let gaps: Vec<f64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        // One of two threads at 1000/s: gaps of 2 ms, and of an exponential the deviation is the mean.
        assert!((mean / 0.002 - 1.0).abs() < 0.02, "{mean}");
        assert!((deviation / mean - 1.0).abs() < 0.02, "{deviation}");
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
    }

    #[test]
    fn seeds_make_poisson_schedules_alike() {
        let due = |seed| {
            let mut schedule = Schedule::new(&open(10.0, Arrivals::Poisson), 0, 1, seed);
            (0..10).map(|_| schedule.take()).collect::<Vec<_>>()
        };
        assert_eq!(due(1), due(1));
        assert_ne!(due(1), due(2));
    }
}
