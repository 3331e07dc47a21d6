//! How many transactions are due by when: the rate of an open loop over time, summed up. An arrival is due when the sum
//! reaches its number, so that whatever spaces numbers (evenly, or at random) spaces instants of any rate.

use super::profile::{Cycle, Pulse};
use std::f64::consts::TAU;

/// Steps of a bisection, after which an instant is as near as a floating-point number can say.
const STEPS: u32 = 60;

/// The rate of an open loop over time.
#[derive(Clone, Debug, PartialEq)]
pub enum Rate {
    /// This many a second.
    Steady(f64),
    /// Hum and bursts.
    Pulse(Pulse),
    /// Swings about a mean.
    Cycle(Cycle),
}

impl Rate {
    /// The mean over long times, in transactions a second.
    pub fn mean(&self) -> f64 {
        match self {
            Rate::Steady(rate) => *rate,
            Rate::Pulse(pulse) => period(pulse).2 / pulse.every.as_secs_f64(),
            Rate::Cycle(cycle) => cycle.rate,
        }
    }

    /// When the `number`th (of the real numbers from 0) transaction is due, in seconds from the start. `after` is an
    /// instant that is known to be no later.
    pub(super) fn due(&self, number: f64, after: f64) -> f64 {
        match self {
            Rate::Steady(rate) => number / rate,
            Rate::Pulse(pulse) => {
                let (calm, hummed, all) = period(pulse);
                let whole = (number / all).floor();
                let rest = number - whole * all;
                let within = if rest < hummed { rest / pulse.hum } else { calm + (rest - hummed) / pulse.peak };
                whole * pulse.every.as_secs_f64() + within
            }
            Rate::Cycle(cycle) => {
                let (mut low, mut wide) = (after, 1.0 / cycle.rate);
                while by(cycle, low + wide) < number {
                    low += wide;
                    wide *= 2.0;
                }
                let mut high = low + wide;
                for _ in 0..STEPS {
                    let middle = f64::midpoint(low, high);
                    *(if by(cycle, middle) < number { &mut low } else { &mut high }) = middle;
                }
                high
            }
        }
    }
}

/// Of a period: how long it is calm, in seconds; transactions in that time; transactions in all.
fn period(pulse: &Pulse) -> (f64, f64, f64) {
    let calm = pulse.every.saturating_sub(*pulse.lasts).as_secs_f64();
    let hummed = pulse.hum * calm;
    (calm, hummed, hummed + pulse.peak * pulse.lasts.as_secs_f64())
}

/// Transactions that are due by an instant: the integral of mean plus sines.
fn by(cycle: &Cycle, at: f64) -> f64 {
    let swing = |every: f64, by: f64| by * every / TAU * (1.0 - (TAU * at / every).cos());
    cycle.rate * at + cycle.swings.iter().map(|one| swing(one.every.as_secs_f64(), one.by)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::super::profile::{Arrivals, Swing};
    use super::*;
    use crate::base::units::Time;

    #[test]
    fn a_pulse_hums_and_bursts() {
        let pulse =
            Pulse { hum: 10.0, peak: 100.0, every: Time::s(10), lasts: Time::s(2), arrivals: Arrivals::Constant };
        let rate = Rate::Pulse(pulse);
        assert_eq!(rate.mean(), 28.0);
        for (number, due) in [(0.0, 0.0), (40.0, 4.0), (80.0, 8.0), (180.0, 9.0), (280.0, 10.0), (290.0, 11.0)] {
            assert!((rate.due(number, 0.0) - due).abs() < 1e-9, "{number}: {}", rate.due(number, 0.0));
        }
        let silent = Pulse { hum: 0.0, peak: 5.0, every: Time::s(4), lasts: Time::s(1), arrivals: Arrivals::Constant };
        assert_eq!(Rate::Pulse(silent).due(0.0, 0.0), 3.0, "nothing is due before the first burst");
    }

    #[test]
    fn overlapping_swings_keep_the_mean_and_never_go_back() {
        let swings = vec![Swing { by: 60.0, every: Time::s(7) }, Swing { by: 40.0, every: Time::s(3) }];
        let cycle = Cycle { rate: 100.0, swings, arrivals: Arrivals::Constant };
        let rate = Rate::Cycle(cycle);
        let (mut last, mut counts) = (0.0, [0; 21]);
        for number in 0..2100 {
            let due = rate.due(f64::from(number), last);
            assert!(due >= last, "{due} after {last}");
            counts[(due as usize).min(20)] += 1;
            last = due;
        }
        // 21 s are three and seven periods.
        assert!((last - 21.0).abs() < 0.1, "{last}");
        assert!(counts[0] > 130, "both rise at first: {counts:?}");
        assert!(counts.iter().any(|count| *count < 60), "{counts:?}");
    }
}
