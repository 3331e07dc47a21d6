//! A set of numbers kept as runs of consecutive ones, so that what a long run counts up stays small.

use std::cmp::{max, min};

/// A set of `u64` as sorted runs `first..=last` that neither overlap nor touch.
///
/// Inserting in ascending order is constant time; memory is one run for each break in the sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    runs: Vec<(u64, u64)>,
}

impl Ranges {
    /// The empty set.
    pub fn new() -> Self {
        Ranges::default()
    }

    /// `first..=last`; empty when `first > last`.
    pub fn run(first: u64, last: u64) -> Self {
        Ranges { runs: if first <= last { vec![(first, last)] } else { Vec::new() } }
    }

    /// Adds `number`; false when it was there already.
    pub fn insert(&mut self, number: u64) -> bool {
        match self.runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => {
                *last = number;
                true
            }
            Some((_, last)) if *last >= number => self.insert_within(number),
            _ => {
                self.runs.push((number, number));
                true
            }
        }
    }

    /// Inserts a number that is not beyond the last run.
    fn insert_within(&mut self, number: u64) -> bool {
        let at = self.runs.partition_point(|&(_, last)| last < number);
        if self.runs[at].0 <= number {
            return false;
        }
        let joins_previous = at > 0 && self.runs[at - 1].1 + 1 == number;
        let joins_next = number + 1 == self.runs[at].0;
        match (joins_previous, joins_next) {
            (true, true) => {
                self.runs[at - 1].1 = self.runs[at].1;
                self.runs.remove(at);
            }
            (true, false) => self.runs[at - 1].1 = number,
            (false, true) => self.runs[at].0 = number,
            (false, false) => self.runs.insert(at, (number, number)),
        }
        true
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.runs.partition_point(|&(_, last)| last < number);
        self.runs.get(at).is_some_and(|&(first, _)| first <= number)
    }

    /// How many numbers are in the set.
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The largest number.
    pub fn last(&self) -> Option<u64> {
        self.runs.last().map(|&(_, last)| last)
    }

    /// The runs, ascending, each as its first and last number.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.runs.iter().copied()
    }

    /// The numbers that are in both.
    pub fn intersection(&self, other: &Ranges) -> Ranges {
        let mut runs = Vec::new();
        let (mut a, mut b) = (self.runs.iter().peekable(), other.runs.iter().peekable());
        while let (Some(&&(a_first, a_last)), Some(&&(b_first, b_last))) = (a.peek(), b.peek()) {
            let (first, last) = (max(a_first, b_first), min(a_last, b_last));
            if first <= last {
                runs.push((first, last));
            }
            if a_last < b_last {
                a.next()
            } else {
                b.next()
            };
        }
        Ranges { runs }
    }

    /// The numbers that are in `self` and not in `other`.
    pub fn difference(&self, other: &Ranges) -> Ranges {
        let mut runs = Vec::new();
        let mut without = other.runs.iter().peekable();
        for &(first, last) in &self.runs {
            let mut rest = first;
            let mut used_up = false;
            while without.next_if(|&&(_, other_last)| other_last < rest).is_some() {}
            while let Some(&&(other_first, other_last)) = without.peek() {
                if other_first > last {
                    break;
                }
                if rest < other_first {
                    runs.push((rest, other_first - 1));
                }
                if other_last >= last {
                    // It may reach into our next run as well, so it stays.
                    used_up = true;
                    break;
                }
                rest = other_last + 1;
                without.next();
            }
            if !used_up {
                runs.push((rest, last));
            }
        }
        Ranges { runs }
    }

    /// The numbers that are in either.
    pub fn union(&self, other: &Ranges) -> Ranges {
        let mut all: Vec<(u64, u64)> = self.runs.iter().chain(&other.runs).copied().collect();
        all.sort_unstable();
        let mut runs: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match runs.last_mut() {
                Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = max(previous.1, last),
                _ => runs.push((first, last)),
            }
        }
        Ranges { runs }
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut set = Ranges::new();
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn numbers(set: &Ranges) -> BTreeSet<u64> {
        set.runs().flat_map(|(first, last)| first..=last).collect()
    }

    fn runs(set: &Ranges) -> Vec<(u64, u64)> {
        set.runs().collect()
    }

    fn runs_are_apart(set: &Ranges) -> bool {
        set.runs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0) && set.runs.iter().all(|(first, last)| first <= last)
    }

    #[test]
    fn ascending_numbers_make_one_run() {
        let set: Ranges = (1..=1_000_000).collect();
        assert_eq!(set.runs.len(), 1);
        assert_eq!((set.count(), set.last()), (1_000_000, Some(1_000_000)));
        assert_eq!(runs(&set), [(1, 1_000_000)]);
    }

    #[test]
    fn the_ends_of_u64_do_not_overflow() {
        let mut set: Ranges = [0, u64::MAX].into_iter().collect();
        assert!(!set.insert(u64::MAX) && !set.insert(0));
        assert!(set.insert(u64::MAX - 1));
        assert_eq!(runs(&set), [(0, 0), (u64::MAX - 1, u64::MAX)]);
        assert_eq!(set.difference(&Ranges::run(1, u64::MAX)), Ranges::run(0, 0));
        assert!(Ranges::run(2, 1).is_empty());
    }

    proptest! {
        #[test]
        fn behaves_as_a_set(a in prop::collection::vec(0u64..60, 0..60), b in prop::collection::vec(0u64..60, 0..60)) {
            let (mut x, mut model) = (Ranges::new(), BTreeSet::new());
            for n in &a {
                prop_assert_eq!(x.insert(*n), model.insert(*n));
                prop_assert!(runs_are_apart(&x));
            }
            let (y, other): (Ranges, BTreeSet<u64>) = (b.iter().copied().collect(), b.iter().copied().collect());
            prop_assert_eq!(x.count(), model.len() as u64);
            for n in 0..61 {
                prop_assert_eq!(x.contains(n), model.contains(&n));
            }
            let (both, without, either) = (x.intersection(&y), x.difference(&y), x.union(&y));
            prop_assert_eq!(numbers(&both), &model & &other);
            prop_assert_eq!(numbers(&without), &model - &other);
            prop_assert_eq!(numbers(&either), &model | &other);
            prop_assert!([both, without, either].iter().all(runs_are_apart));
        }
    }
}
