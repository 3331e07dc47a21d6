//! Random numbers that are asked for, not drawn in turn: `hash(seed, table, column, row)`. What a row holds depends on
//! nothing but these four, so any part of a table can be made by any thread, and is the same each time, to the byte.
//!
//! The mixer is the one of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
//! 2014), with the constants of Vigna's `splitmix64.c` (<https://prng.di.unimi.it/splitmix64.c>): row `n` of a column is the
//! `n`-th number of the sequence that begins at the column's own state. Logarithms and powers are those of the crate `libm`,
//! not of the system's library, so that another machine makes the same bytes.

mod scatter;
mod weighted;
mod zipf;

pub use scatter::Scatter;
pub use weighted::Weighted;
pub use zipf::Zipf;

/// 2⁶⁴ divided by the golden ratio, odd: SplitMix64's step.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function: Stafford's variant 13 of MurmurHash3's finalizer.
#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The random numbers of a column, one for each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream(u64);

impl Stream {
    /// That of a column, both by number.
    pub fn new(seed: u64, table: u32, column: u32) -> Stream {
        let place = u64::from(table) << 32 | u64::from(column);
        Stream(mix(mix(seed.wrapping_add(STEP)) ^ mix(place.wrapping_add(STEP))))
    }

    /// That of something that has a name, such as a column that a user wrote.
    pub fn named(seed: u64, name: &str) -> Stream {
        let letters = name.bytes().fold(0, |sum: u64, byte| mix((sum ^ u64::from(byte)).wrapping_add(STEP)));
        Stream(mix(mix(seed.wrapping_add(STEP)) ^ letters))
    }

    /// The numbers of row `row`.
    #[inline]
    pub fn at(self, row: u64) -> Draws {
        Draws { state: mix(self.0.wrapping_add(STEP.wrapping_mul(row.wrapping_add(1)))) }
    }
}

/// As many random numbers as a value needs, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    state: u64,
}

impl Draws {
    /// 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A whole number below `end`, which is not 0, by multiplication (Lemire, "Fast random integer generation in an interval",
    /// 2019, without its rejection: the bias is below `end` / 2⁶⁴).
    #[inline]
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// A number in [0, 1), a multiple of 2⁻⁵³.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Whether something of this probability happens.
    #[inline]
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of these, which are not none.
    #[inline]
    pub fn one_of<'l, T: ?Sized>(&mut self, list: &[&'l T]) -> &'l T {
        list[self.below(list.len() as u64) as usize]
    }

    /// Normally distributed, mean 0 and standard deviation 1 (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        // 1 − [0, 1) is never 0, of which there is no logarithm.
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_splitmix64s() {
        // The first numbers of `splitmix64.c` from the state 1234567.
        let mut draws = Draws { state: 1_234_567 };
        assert_eq!(
            [draws.bits(), draws.bits(), draws.bits()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn seed_table_column_and_row_each_make_a_difference() {
        let bits = |seed, table, column, row| Stream::new(seed, table, column).at(row).bits();
        let all = [bits(1, 1, 1, 1), bits(2, 1, 1, 1), bits(1, 2, 1, 1), bits(1, 1, 2, 1), bits(1, 1, 1, 2)];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[..n].contains(one), "{all:?}");
        }
        assert_ne!(Stream::named(1, "a.b"), Stream::named(1, "b.a"));
    }

    /// Rows of a stream, and draws of a row, are not alike: Pearson's χ² over 16 classes, 15 degrees of freedom; 44 is
    /// exceeded once in 10,000 times.
    #[test]
    fn rows_and_draws_are_spread_evenly() {
        let stream = Stream::new(0, 0, 0);
        for draw in 0..3 {
            let mut seen = [0f64; 16];
            for row in 0..160_000 {
                let mut draws = stream.at(row);
                for _ in 0..draw {
                    draws.bits();
                }
                seen[draws.below(16) as usize] += 1.0;
            }
            let chi: f64 = seen.iter().map(|n| (n - 10_000.0) * (n - 10_000.0) / 10_000.0).sum();
            assert!(chi < 44.0, "draw {draw}: χ² = {chi}, {seen:?}");
        }
    }

    #[test]
    fn normal_numbers_have_their_mean_and_deviation() {
        let stream = Stream::new(5, 0, 0);
        let all: Vec<f64> = (0..100_000).map(|row| stream.at(row).normal()).collect();
        let mean = all.iter().sum::<f64>() / 1e5;
        let variance = all.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 1e5;
        // Standard errors: 0.0032 and 0.0045.
        assert!(mean.abs() < 0.016 && (variance - 1.0).abs() < 0.023, "{mean} {variance}");
    }
}
