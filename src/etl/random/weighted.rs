//! A choice among things of different weight.

use super::Draws;

/// Weights, summed up.
#[derive(Clone, Debug)]
pub struct Weighted {
    /// For each thing the weights up to it, itself included.
    sums: Vec<f64>,
}

impl Weighted {
    /// Of these weights: not negative, and not all 0.
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Weighted {
        let summed = |sum: &mut f64, weight: f64| {
            *sum += weight;
            Some(*sum)
        };
        Weighted { sums: weights.into_iter().scan(0.0, summed).collect() }
    }

    /// The number of a thing, from 0.
    #[inline]
    pub fn pick(&self, draws: &mut Draws) -> usize {
        let at = draws.unit() * self.sums.last().copied().unwrap_or(0.0);
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etl::random::Stream;

    #[test]
    fn shares_are_the_weights() {
        let (weighted, stream) = (Weighted::new([1.0, 0.0, 3.0, 6.0]), Stream::new(3, 0, 0));
        let mut seen = [0u32; 4];
        (0..100_000).for_each(|row| seen[weighted.pick(&mut stream.at(row))] += 1);
        assert_eq!(seen[1], 0);
        // Five standard deviations.
        for (seen, share) in [(seen[0], 0.1), (seen[2], 0.3), (seen[3], 0.6)] {
            assert!((f64::from(seen) - 1e5 * share).abs() < 5.0 * (1e5 * share * (1.0 - share)).sqrt(), "{seen}");
        }
    }
}
