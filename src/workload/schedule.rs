//! The planned instants of an open loop: arithmetic alone, never a clock.

use super::profile::Arrivals;
use super::rate::Rate;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::f64::consts::FRAC_PI_2;
use std::time::Duration;

/// The share of a load's schedule that one of its threads serves, as durations since the start of the load.
///
/// Arrivals are numbers on the real line, and [`Rate::due`] says when each is due. Of constant arrivals, thread `t` of
/// `n` has the numbers `t + k × n`, so that all threads together have `k`. Of random ones each thread has gaps of its
/// own with the mean `n`: of Poisson arrivals the sum is a Poisson process of the whole rate; of Rayleigh ones it is
/// less even than the threads' own are.
#[derive(Clone, Debug)]
pub struct Schedule {
    rate: Rate,
    spacing: Spacing,
    /// The next due instant, and in seconds.
    next: Duration,
    seconds: f64,
}

#[derive(Clone, Debug)]
enum Spacing {
    /// `k`, the load's arrival that is next here, every `stride`th of which is this thread's.
    Constant { k: u64, stride: u64 },
    /// The mean gap; the sum of the gaps so far.
    Random { of: Gaps, mean: f64, sum: f64, rng: Box<Xoshiro256PlusPlus> },
}

#[derive(Clone, Copy, Debug)]
enum Gaps {
    Exponential,
    Rayleigh,
}

impl Schedule {
    /// The schedule of thread `thread` of `threads`.
    pub fn new((rate, arrivals): (Rate, Arrivals), thread: u32, threads: u32, seed: u64) -> Schedule {
        let random = |of| Spacing::Random {
            of,
            mean: f64::from(threads),
            sum: 0.0,
            rng: Box::new(Xoshiro256PlusPlus::seed_from_u64(seed)),
        };
        let spacing = match arrivals {
            Arrivals::Constant => Spacing::Constant { k: u64::from(thread), stride: threads.into() },
            Arrivals::Poisson => random(Gaps::Exponential),
            Arrivals::Rayleigh => random(Gaps::Rayleigh),
        };
        let mut schedule = Schedule { rate, spacing, next: Duration::ZERO, seconds: 0.0 };
        schedule.advance();
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
        let taken = self.next;
        self.advance();
        taken
    }

    #[inline]
    fn advance(&mut self) {
        self.seconds = self.rate.due(self.spacing.next(), self.seconds);
        // Beyond what a Duration holds there is nothing due any more.
        self.next = Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX);
    }
}

impl Spacing {
    /// The number of the next arrival.
    #[inline]
    fn next(&mut self) -> f64 {
        match self {
            Spacing::Constant { k, stride } => {
                let this = *k;
                *k += *stride;
                this as f64
            }
            Spacing::Random { of, mean, sum, rng } => {
                // One minus a draw from [0, 1): never the logarithm of zero. Both have a mean of one.
                let exponential = -(1.0 - rng.random::<f64>()).ln();
                *sum += *mean
                    * match of {
                        Gaps::Exponential => exponential,
                        // A Rayleigh variable is the root of twice an exponential one; its mean is the root of π/2.
                        Gaps::Rayleigh => (2.0 * exponential).sqrt() / FRAC_PI_2.sqrt(),
                    };
                *sum
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(rate: f64, arrivals: Arrivals) -> (Rate, Arrivals) {
        (Rate::Steady(rate), arrivals)
    }

    #[test]
    fn constant_arrivals_do_not_drift() {
        let mut schedule = Schedule::new(open(3.0, Arrivals::Constant), 0, 1, 0);
        let all: Vec<Duration> = (0..3_000_001).map(|_| schedule.take()).collect();
        assert_eq!(all[0], Duration::ZERO);
        assert_eq!(all[3], Duration::from_secs(1));
        assert_eq!(all[3_000_000], Duration::from_secs(1_000_000));
    }

    #[test]
    fn threads_share_one_constant_schedule() {
        let mut due: Vec<Duration> = (0..3)
            .flat_map(|thread| {
                let mut schedule = Schedule::new(open(1000.0, Arrivals::Constant), thread, 3, 0);
                (0..100).map(|_| schedule.take()).collect::<Vec<_>>()
            })
            .collect();
        due.sort();
        assert_eq!(due, (0..300).map(Duration::from_millis).collect::<Vec<_>>());
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_exponential_gaps() {
        let mut schedule = Schedule::new(open(1000.0, Arrivals::Poisson), 1, 2, 5);
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
    fn rayleigh_gaps_have_the_mean_and_their_own_spread() {
        let mut schedule = Schedule::new(open(1000.0, Arrivals::Rayleigh), 0, 1, 5);
        let due: Vec<f64> = (0..100_000).map(|_| schedule.take().as_secs_f64()).collect();
        let gaps: Vec<f64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        // Of a Rayleigh distribution the deviation is the mean times the root of 4/π − 1.
        assert!((mean / 0.001 - 1.0).abs() < 0.02, "{mean}");
        assert!((deviation / mean - (4.0 / std::f64::consts::PI - 1.0).sqrt()).abs() < 0.01, "{deviation}");
    }

    #[test]
    fn seeds_make_poisson_schedules_alike() {
        let due = |seed| {
            let mut schedule = Schedule::new(open(10.0, Arrivals::Poisson), 0, 1, seed);
            (0..10).map(|_| schedule.take()).collect::<Vec<_>>()
        };
        assert_eq!(due(1), due(1));
        assert_ne!(due(1), due(2));
    }
}
