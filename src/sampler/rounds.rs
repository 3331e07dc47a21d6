//! When each group of views is due: a grid each, all with the same zero, so that their instants coincide wherever one
//! period is a multiple of the other.

use super::Sample;
use super::grid::Grid;
use super::wanted::Group;
use std::time::Duration;

const GROUPS: [Group; 3] = [Group::Waits, Group::Counters, Group::Tables];

/// A group whose instant has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) group: Group,
    pub(super) at: Duration,
}

/// The grids of one node.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    grids: [Grid; 3],
}

impl Rounds {
    /// The first ticks of all groups are due at `zero`.
    pub(super) fn new(zero: Duration, sample: &Sample) -> Rounds {
        let periods = [sample.waits, sample.every, sample.tables];
        Rounds { grids: periods.map(|period| Grid::new(zero, period.0)) }
    }

    /// When the next tick is due.
    pub(super) fn next(&self) -> Duration {
        self.grids.iter().map(Grid::due).min().unwrap_or_default()
    }

    /// Takes what is due at `now`, and how many earlier ticks were skipped.
    pub(super) fn take(&mut self, now: Duration) -> (Vec<Due>, u64) {
        let (mut dues, mut skipped) = (Vec::new(), 0);
        for (group, grid) in GROUPS.into_iter().zip(&mut self.grids) {
            if grid.due() <= now {
                let (at, passed) = grid.take(now);
                dues.push(Due { group, at });
                skipped += u64::from(passed);
            }
        }
        (dues, skipped)
    }

    /// Waits are due every `period` from `now` on.
    pub(super) fn pace(&mut self, period: Duration, now: Duration) {
        self.grids[0].pace(period, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Time;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn instants_coincide() {
        let sample = Sample { waits: Time::ms(100), every: Time::ms(200), tables: Time::ms(400) };
        let mut rounds = Rounds::new(ms(1000), &sample);
        let mut groups = Vec::new();
        for _ in 0..5 {
            let now = rounds.next();
            let (dues, skipped) = rounds.take(now + ms(1));
            assert_eq!(skipped, 0);
            assert!(dues.iter().all(|due| due.at == now));
            groups.push(dues.len());
        }
        assert_eq!(groups, [3, 1, 2, 1, 3]);
    }

    #[test]
    fn each_grid_counts_what_it_skips() {
        let sample = Sample { waits: Time::ms(100), every: Time::ms(1000), tables: Time::s(15) };
        let mut rounds = Rounds::new(ms(0), &sample);
        rounds.take(ms(0));
        let (dues, skipped) = rounds.take(ms(1050));
        assert_eq!(dues, [Due { group: Group::Waits, at: ms(1000) }, Due { group: Group::Counters, at: ms(1000) }]);
        assert_eq!(skipped, 9);
    }
}
