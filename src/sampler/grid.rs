//! The instants at which ticks are due: zero + k × period, computed and never read from the clock after
//! waking up. A tick that could not begin before the next one was due is skipped and counted, not made up for.

use std::time::Duration;

/// A fixed grid. Changing the period keeps the zero, so that a finer grid holds every instant of a coarser
/// one that is a multiple of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    zero: Duration,
    period: Duration,
    k: u32,
}

impl Grid {
    /// A grid whose first tick is due at `zero`.
    pub(super) fn new(zero: Duration, period: Duration) -> Grid {
        Grid { zero, period: period.max(Duration::from_millis(1)), k: 0 }
    }

    /// When the next tick is due.
    pub(super) fn due(&self) -> Duration {
        self.zero + self.period * self.k
    }

    /// Takes the latest tick that is due at `now`: when it was due, and how many before it were skipped.
    pub(super) fn take(&mut self, now: Duration) -> (Duration, u32) {
        let latest = self.at_or_before(now).max(self.k);
        let skipped = latest - self.k;
        let due = self.zero + self.period * latest;
        self.k = latest + 1;
        (due, skipped)
    }

    /// Continues with another period from `now` on.
    pub(super) fn pace(&mut self, period: Duration, now: Duration) {
        let taken_until = if self.k == 0 { None } else { Some(self.zero + self.period * (self.k - 1)) };
        self.period = period.max(Duration::from_millis(1));
        self.k = match taken_until.max(now.checked_sub(Duration::from_nanos(1)).filter(|_| now > self.zero)) {
            Some(after) => self.at_or_before(after) + 1,
            None => 0,
        };
    }

    fn at_or_before(&self, now: Duration) -> u32 {
        let k = now.saturating_sub(self.zero).as_nanos() / self.period.as_nanos();
        u32::try_from(k).unwrap_or(u32::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn due_times_are_arithmetic() {
        let mut grid = Grid::new(ms(300), ms(1000));
        assert_eq!(grid.due(), ms(300));
        assert_eq!(grid.take(ms(307)), (ms(300), 0));
        assert_eq!(grid.take(ms(1300)), (ms(1300), 0));
        assert_eq!(grid.due(), ms(2300));
    }

    #[test]
    fn late_ticks_are_skipped_and_counted() {
        let mut grid = Grid::new(ms(0), ms(100));
        assert_eq!(grid.take(ms(5)), (ms(0), 0));
        assert_eq!(grid.take(ms(450)), (ms(400), 3));
        assert_eq!(grid.take(ms(500)), (ms(500), 0));
    }

    #[test]
    fn a_finer_pace_keeps_the_grid() {
        let mut grid = Grid::new(ms(300), ms(1000));
        grid.take(ms(300));
        grid.pace(ms(100), ms(1234));
        assert_eq!(grid.due(), ms(1300));
        grid.take(ms(1300));
        grid.pace(ms(1000), ms(1305));
        assert_eq!(grid.due(), ms(2300), "1300 has been taken");
    }

    #[test]
    fn pacing_before_the_first_tick_moves_nothing() {
        let mut grid = Grid::new(ms(300), ms(1000));
        grid.pace(ms(100), ms(100));
        assert_eq!(grid.due(), ms(300));
        grid.pace(ms(100), ms(300));
        assert_eq!(grid.due(), ms(300));
    }
}
