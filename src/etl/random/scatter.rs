//! An order in which neighbours lie far apart.

/// The numbers below `n` in another order, which is computed and not kept: `k ↦ k · step mod n`, where `step` and `n` have no
/// common divisor. The step is near `n` divided by the golden ratio, so that numbers that follow each other are spread
/// evenly (Knuth, TAOCP 3, 6.4).
#[derive(Clone, Copy, Debug)]
pub struct Scatter {
    n: u64,
    step: u64,
}

impl Scatter {
    /// Of the numbers below `n`.
    pub fn new(n: u64) -> Scatter {
        let n = n.max(1);
        let near = ((n as f64 * 0.618_033_988_749_894_9) as u64).max(1);
        // 1 has no common divisor with anything.
        let step = (1..=near).rev().find(|step| divisor(*step, n) == 1).unwrap_or(1);
        Scatter { n, step }
    }

    /// Where `k`, which is below `n`, goes.
    #[inline]
    pub fn place(&self, k: u64) -> u64 {
        match k.checked_mul(self.step) {
            Some(product) => product % self.n,
            None => (u128::from(k) * u128::from(self.step) % u128::from(self.n)) as u64,
        }
    }
}

/// The greatest common divisor (Euclid).
fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once() {
        for n in [1, 2, 3, 4, 6, 64, 100, 1009, 30_030] {
            let scatter = Scatter::new(n);
            let mut there: Vec<u64> = (0..n).map(|k| scatter.place(k)).collect();
            there.sort_unstable();
            assert!(there.iter().copied().eq(0..n), "{n}");
        }
        assert!(Scatter::new(u64::MAX).place(u64::MAX - 1) < u64::MAX);
    }
}
