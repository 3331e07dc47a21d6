//! How many standbys must report before an election can lose no acknowledged write.
//!
//! An acknowledgement says that W of the N listed standbys hold the write. If R of them report and
//! R + W > N, at least one of the W is among them, so the most advanced reporter holds the write. For
//! `FIRST` the W are the first ones that were connected, which nobody knows afterwards; so it needs the
//! same R as `ANY`.

use crate::pg::standby_names::StandbyNames;

/// How many of `n` standbys that count must report: the least R with R + W > N. Where there is none,
/// nothing was acknowledged.
pub(super) fn reporters(names: &StandbyNames, n: usize) -> usize {
    if n == 0 { 0 } else { (n + 1).saturating_sub(names.count as usize).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reporters_and_acknowledgers_overlap() {
        for n in 1..6 {
            for count in 1..=n {
                let r = reporters(&StandbyNames { count, names: vec!["*".into()] }, n as usize) as u32;
                assert!(r + count > n && (r == 1 || r - 1 + count <= n), "n={n} count={count} r={r}");
            }
        }
    }
}
