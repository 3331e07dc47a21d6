//! When throughput is back in its band after a fault: pure arithmetic on counted transactions.
//!
//! Completed transactions are counted in bins of 100 ms. The bins that lie wholly in the steady
//! stretch before the fault give the *steady mean*, the smallest and the largest steady bin. Throughput
//! has recovered at the start of the first bin, not before the one that the fault fell into,
//!
//! - that is itself no smaller than the smallest steady bin, and
//! - from which on the moving mean over 1 s stays at 90 % of the steady mean or more for 1 s, so the
//!   following 2 s are looked at.
//!
//! There is no upper edge: an open loop catches up after an outage and overshoots, which is no
//! disturbance. But nor may the overshoot make up for a bin in which nothing happened, so in the moving
//! mean a bin counts for no more than the largest steady bin. A dip shorter than one bin is below what this
//! can see.

use crate::metric::Value;
use crate::workload::Throughput;
use std::time::Duration;

/// Width of a bin.
const BIN: Duration = Throughput::BIN;

/// Bins in a second: the moving mean's width, how long it must hold, and the least steady stretch.
const SECOND: usize = 10;

/// The share of the steady mean that counts as being back.
const BACK: f64 = 0.9;

/// `load.recovered` of `load`, whose steady stretch began at `steady_from`; none when throughput did not come
/// back, or when the steady stretch is shorter than 1 s or saw no transaction.
pub fn value(load: &str, throughput: &Throughput, steady_from: Duration, fault: Duration) -> Option<Value> {
    let after = recovered(throughput.bins(), steady_from, fault)?;
    Some(Value::new("load.recovered", after.as_secs_f64()).subject(load))
}

/// Time from `fault` until throughput is back (see above); zero when it never left its band.
///
/// `bins` are successive ones of 100 ms, each with its begin on the clock of `steady_from` and `fault`; the last one,
/// in which counting ended, is left out.
fn recovered(bins: impl Iterator<Item = (Duration, u64)>, steady_from: Duration, fault: Duration) -> Option<Duration> {
    let mut bins: Vec<(Duration, u64)> = bins.collect();
    bins.pop();
    let steady_begins = bins.partition_point(|&(begin, _)| begin < steady_from);
    let hit = bins.partition_point(|&(begin, _)| begin + BIN <= fault);
    let counts: Vec<u64> = bins.iter().map(|&(_, count)| count).collect();
    let steady = counts.get(steady_begins..hit)?;
    let (smallest, largest) = (*steady.iter().min()?, *steady.iter().max()?);
    if steady.len() < SECOND || largest == 0 || hit == counts.len() {
        return None;
    }
    let enough = BACK * steady.iter().sum::<u64>() as f64 / steady.len() as f64 * SECOND as f64;
    let holds = |from: usize| {
        let window = counts.get(from..from + SECOND);
        window.is_some_and(|window| window.iter().map(|&count| count.min(largest)).sum::<u64>() as f64 >= enough)
    };
    let mut back = (hit..counts.len()).filter(|&i| counts[i] >= smallest && (i..=i + SECOND).all(holds));
    back.next().map(|i| bins[i].0.saturating_sub(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: Duration = Duration::from_millis(5030);

    /// 5 s of steady bins (±2 around `steady`), then `after`.
    fn bins(steady: u64, after: &[u64]) -> Vec<u64> {
        (0..50).map(|i| steady - 2 + i % 5).chain(after.iter().copied()).collect()
    }

    fn after(parts: &[(u64, usize)]) -> Vec<u64> {
        parts.iter().flat_map(|&(n, times)| std::iter::repeat_n(n, times)).collect()
    }

    /// The bins with their begins, and the unfinished one that is left out.
    fn dated(counts: &[u64]) -> impl Iterator<Item = (Duration, u64)> {
        counts.iter().chain(&[1000]).enumerate().map(|(i, &count)| (BIN * i as u32, count))
    }

    fn recovered_after(parts: &[(u64, usize)]) -> Option<Duration> {
        recovered(dated(&bins(50, &after(parts))), Duration::ZERO, FAULT)
    }

    #[test]
    fn counts_from_the_fault_to_the_first_bin_back() {
        assert_eq!(recovered_after(&[(15, 1), (0, 9), (50, 30)]), Some(Duration::from_millis(970)));
    }

    #[test]
    fn what_never_left_its_band_took_no_time() {
        assert_eq!(recovered_after(&[(50, 30)]), Some(Duration::ZERO));
    }

    #[test]
    fn never_back_is_absent() {
        assert_eq!(recovered_after(&[(0, 100)]), None);
        assert_eq!(recovered_after(&[(0, 10), (40, 100)]), None, "80 % is not back");
    }

    #[test]
    fn too_short_a_look_is_absent() {
        assert_eq!(recovered_after(&[(0, 10), (50, 19)]), None);
        assert_eq!(recovered_after(&[(0, 10), (50, 20)]), Some(Duration::from_millis(970)));
    }

    #[test]
    fn catching_up_is_not_a_disturbance() {
        assert_eq!(recovered_after(&[(0, 10), (200, 5), (50, 30)]), Some(Duration::from_millis(970)));
    }

    #[test]
    fn catching_up_does_not_make_up_for_an_outage() {
        // Without the cap the first second after the fault would already have its mean.
        assert_eq!(recovered_after(&[(50, 2), (0, 7), (500, 1), (50, 30)]), Some(Duration::from_millis(870)));
    }

    #[test]
    fn a_second_dip_within_the_second_postpones() {
        assert_eq!(recovered_after(&[(0, 10), (50, 5), (0, 5), (50, 30)]), Some(Duration::from_millis(1970)));
    }

    #[test]
    fn a_late_dip_does_not_undo_the_recovery() {
        assert_eq!(recovered_after(&[(0, 5), (50, 25), (0, 20), (50, 30)]), Some(Duration::from_millis(470)));
    }

    #[test]
    fn without_a_steady_second_there_is_no_band() {
        let all = bins(50, &after(&[(0, 10), (50, 40)]));
        assert_eq!(recovered(dated(&all), Duration::from_millis(4050), FAULT), None);
        assert!(recovered(dated(&all), Duration::from_millis(4000), FAULT).is_some());
        assert_eq!(recovered(dated(&[0; 90]), Duration::ZERO, FAULT), None, "no load, no band");
        assert_eq!(recovered(dated(&all[..20]), Duration::ZERO, FAULT), None, "a fault beyond the bins");
        assert_eq!(recovered(dated(&all), FAULT + FAULT, FAULT), None);
    }
}
