//! Zipf's distribution: rank `k` of `n` has a probability in proportion to `k^-s`.

use super::Draws;

/// Ranks 1 to `n` with the exponent `s`, both any above 0.
///
/// By rejection-inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone discrete
/// distributions", ACM TOMACS 6(3), 1996), which is exact, needs no table and takes fewer than 1.1 tries for a rank; names
/// follow the paper.
#[derive(Clone, Copy, Debug)]
pub struct Zipf {
    n: f64,
    s: f64,
    /// H(3/2) − h(1), from which the first rank has all of its weight.
    h_x1: f64,
    /// H(n + 1/2).
    h_n: f64,
    /// How far above its place a rank may lie to be taken unseen.
    squeeze: f64,
}

impl Zipf {
    /// Of `n` ranks; of at least one.
    pub fn new(n: u64, s: f64) -> Zipf {
        let mut zipf = Zipf { n: n.max(1) as f64, s, h_x1: 0.0, h_n: 0.0, squeeze: 0.0 };
        zipf.h_x1 = zipf.integral(1.5) - 1.0;
        zipf.h_n = zipf.integral(zipf.n + 0.5);
        zipf.squeeze = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    /// A rank, from 1.
    #[inline]
    pub fn rank(&self, draws: &mut Draws) -> u64 {
        loop {
            let u = self.h_n + draws.unit() * (self.h_x1 - self.h_n);
            let x = self.inverse(u);
            let k = libm::floor(x + 0.5).clamp(1.0, self.n);
            if k - x <= self.squeeze || u >= self.integral(k + 0.5) - self.density(k) {
                return k as u64;
            }
        }
    }

    /// h: the density, not normed.
    fn density(&self, x: f64) -> f64 {
        libm::exp(-self.s * libm::log(x))
    }

    /// H: an integral of the density, (x^(1−s) − 1) / (1 − s), or log x where s is 1.
    fn integral(&self, x: f64) -> f64 {
        let log = libm::log(x);
        exp_minus_1_by((1.0 - self.s) * log) * log
    }

    /// The inverse of H.
    fn inverse(&self, u: f64) -> f64 {
        // Below −1 only by what rounding adds.
        let t = (u * (1.0 - self.s)).max(-1.0);
        libm::exp(log_1_plus_by(t) * u)
    }
}

/// (eˣ − 1) / x, also where x is nearly 0.
fn exp_minus_1_by(x: f64) -> f64 {
    if x.abs() > 1e-8 { libm::expm1(x) / x } else { 1.0 + x / 2.0 }
}

/// log(1 + x) / x, also where x is nearly 0.
fn log_1_plus_by(x: f64) -> f64 {
    if x.abs() > 1e-8 { libm::log1p(x) / x } else { 1.0 - x / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etl::random::Stream;

    /// Every rank's share is what the definition says, by Pearson's χ²; its limit is five standard deviations above its
    /// mean.
    #[test]
    fn shares_are_the_definitions() {
        const DRAWS: u64 = 200_000;
        for s in [0.2, 0.6, 0.99, 1.0, 1.01, 1.7, 3.0] {
            for n in [1, 2, 10, 50] {
                let (zipf, stream) = (Zipf::new(n, s), Stream::new(9, n as u32, (s * 100.0) as u32));
                let mut seen = vec![0f64; n as usize];
                for row in 0..DRAWS {
                    seen[zipf.rank(&mut stream.at(row)) as usize - 1] += 1.0;
                }
                let norm: f64 = (1..=n).map(|k| (k as f64).powf(-s)).sum();
                let expected = |k: usize| DRAWS as f64 * ((k + 1) as f64).powf(-s) / norm;
                let chi: f64 = seen.iter().enumerate().map(|(k, n)| (n - expected(k)).powi(2) / expected(k)).sum();
                let free = (n - 1) as f64;
                assert!(chi <= free + 5.0 * (2.0 * free).sqrt(), "s {s}, n {n}: χ² = {chi}");
            }
        }
    }

    #[test]
    fn ranks_of_many_stay_within() {
        for s in [0.1, 1.0, 5.0] {
            let (zipf, stream) = (Zipf::new(15_122_182, s), Stream::new(1, 0, 0));
            assert!((0..100_000).all(|row| (1..=15_122_182).contains(&zipf.rank(&mut stream.at(row)))));
        }
    }
}
