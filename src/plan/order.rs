//! The order of trials: rounds in which every variant runs once, so that whatever drifts on the machine
//! (heat, caches, a neighbour) meets all of them alike.

use super::Trial;
use crate::scenario::Order;

/// `rounds` trials of each of `variants` variants.
pub(super) fn trials(order: Order, variants: usize, rounds: u32, seed: u64) -> Vec<Trial> {
    let mut trials = Vec::new();
    for round in 1..=rounds {
        let draws = splitmix(seed.wrapping_add(u64::from(round)));
        for variant in in_round(order, variants, round, draws) {
            trials.push(Trial { trial: round, variant, position: trials.len() as u32 + 1, seed: draws });
        }
    }
    trials
}

fn in_round(order: Order, variants: usize, round: u32, seed: u64) -> Vec<usize> {
    let mut row: Vec<usize> = (0..variants).collect();
    match order {
        Order::Abba if round.is_multiple_of(2) => row.reverse(),
        Order::Abba => {}
        Order::Shuffle => shuffle(&mut row, seed),
    }
    row
}

/// Fisher–Yates. By hand, because a plan must be the same with every version of a random number crate.
fn shuffle(row: &mut [usize], mut seed: u64) {
    for last in (1..row.len()).rev() {
        seed = splitmix(seed);
        row.swap(last, (seed % (last as u64 + 1)) as usize);
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn splitmix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variants(trials: &[Trial]) -> Vec<usize> {
        trials.iter().map(|trial| trial.variant).collect()
    }

    #[test]
    fn abba_turns_back_every_other_round() {
        assert_eq!(variants(&trials(Order::Abba, 3, 3, 0)), [0, 1, 2, 2, 1, 0, 0, 1, 2]);
    }

    #[test]
    fn a_round_shares_its_seed_and_rounds_differ() {
        let all = trials(Order::Abba, 2, 2, 7);
        assert_eq!(all[0].seed, all[1].seed);
        assert_ne!(all[1].seed, all[2].seed);
        assert_eq!(all.iter().map(|trial| trial.position).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_ne!(all[0].seed, trials(Order::Abba, 2, 2, 8)[0].seed);
    }

    #[test]
    fn a_shuffle_repeats_with_its_seed_only() {
        let once = variants(&trials(Order::Shuffle, 6, 4, 1));
        assert_eq!(once, variants(&trials(Order::Shuffle, 6, 4, 1)));
        assert_ne!(once, variants(&trials(Order::Shuffle, 6, 4, 2)));
        assert_ne!(once[..6], once[6..12]);
    }

    proptest::proptest! {
        #[test]
        fn every_round_has_every_variant_once(
            variants in 1usize..12, rounds in 1u32..8, seed: u64, shuffled: bool,
        ) {
            let order = if shuffled { Order::Shuffle } else { Order::Abba };
            let all = trials(order, variants, rounds, seed);
            proptest::prop_assert_eq!(all.len(), variants * rounds as usize);
            for (i, round) in all.chunks(variants).enumerate() {
                let mut seen: Vec<usize> = round.iter().map(|trial| trial.variant).collect();
                seen.sort_unstable();
                proptest::prop_assert_eq!(seen, (0..variants).collect::<Vec<_>>());
                proptest::prop_assert!(round.iter().all(|trial| trial.trial == i as u32 + 1));
            }
        }
    }
}
