//! How rows come to titles without being counted up: titles stand in blocks of 64, and how many rows a block has follows
//! from its place alone. Within it rows are shared out by weight, so a title has few or many, and any row's title is found
//! by looking at one block.

use crate::etl::random::Stream;

/// Titles in a block.
pub(super) const TITLES: u64 = 64;

/// Rows of a table, spread evenly over blocks of titles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub titles: u64,
    pub rows: u64,
}

impl Spread {
    /// The first row of a block; of the block after the last: how many rows there are.
    pub fn start(&self, block: u64) -> u64 {
        let first = (block * TITLES).min(self.titles);
        part(first, self.rows, self.titles)
    }

    /// The block that has a row.
    pub fn block_of(&self, row: u64) -> u64 {
        let mut block = part(row, self.titles, self.rows.max(1)) / TITLES;
        // Rounding is off by one at most.
        while block > 0 && self.start(block) > row {
            block -= 1;
        }
        while self.start(block + 1) <= row && (block + 1) * TITLES < self.titles {
            block += 1;
        }
        block
    }

    /// How many rows a block has.
    pub fn within(&self, block: u64) -> u64 {
        self.start(block + 1) - self.start(block)
    }

    /// The titles of a block.
    pub fn titles_of(&self, block: u64) -> std::ops::Range<u64> {
        block * TITLES..((block + 1) * TITLES).min(self.titles)
    }

    /// How many rows each title of a block has, in proportion to its weight; the first row of each is the sum of those before.
    pub fn shares(&self, block: u64, weight: impl Fn(u64) -> u32) -> [u32; TITLES as usize] {
        let mut shares = [0; TITLES as usize];
        let titles = self.titles_of(block);
        for (share, title) in shares.iter_mut().zip(titles) {
            *share = weight(title);
        }
        let all: u64 = shares.iter().map(|weight| u64::from(*weight)).sum();
        let (mut weights, mut given, rows) = (0, 0, self.within(block));
        for share in &mut shares {
            weights += u64::from(*share);
            let until = rows * weights / all.max(1);
            *share = (until - given) as u32;
            given = until;
        }
        shares
    }
}

/// `a · b / of`, rounded down, which fits.
fn part(a: u64, b: u64, of: u64) -> u64 {
    match a.checked_mul(b) {
        Some(product) => product / of,
        None => (u128::from(a) * u128::from(b) / u128::from(of)) as u64,
    }
}

/// An order of the titles of a block, in which a role goes to the first or the last so many of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    first: u64,
    len: u64,
    factor: u64,
    shift: u64,
}

impl Slots {
    /// The order of a block's titles that `stream` gives.
    pub fn new(titles: std::ops::Range<u64>, stream: Stream) -> Slots {
        let len = titles.end - titles.start;
        let bits = stream.at(titles.start / TITLES).bits();
        // An odd factor has an inverse modulo 64; the last block, which is shorter, is only turned.
        let factor = if len == TITLES { (bits % TITLES) | 1 } else { 1 };
        Slots { first: titles.start, len, factor, shift: (bits >> 32) % len.max(1) }
    }

    /// A title's slot, below the number of titles.
    pub fn of(&self, title: u64) -> u64 {
        ((title - self.first) * self.factor + self.shift) % self.len
    }

    /// The title in a slot.
    pub fn title(&self, slot: u64) -> u64 {
        // Newton: an odd number is its own inverse modulo 8, and each step doubles the bits that are right.
        let inverse = self.factor.wrapping_mul(2u64.wrapping_sub(self.factor.wrapping_mul(self.factor)));
        self.first + (slot + self.len - self.shift) * (inverse % TITLES) % self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_has_one_title(titles in 1u64..2000, rows in 0u64..20_000, seed: u64) {
            let spread = Spread { titles, rows };
            let stream = Stream::new(seed, 0, 0);
            let mut next = 0;
            for block in 0..titles.div_ceil(TITLES) {
                prop_assert_eq!(spread.start(block), next);
                let shares = spread.shares(block, |title| 1 + stream.at(title).below(40) as u32);
                prop_assert_eq!(shares.iter().map(|n| u64::from(*n)).sum::<u64>(), spread.within(block));
                for row in next..next + spread.within(block) {
                    prop_assert_eq!(spread.block_of(row), block);
                }
                next += spread.within(block);
            }
            prop_assert_eq!(next, rows);
        }

        #[test]
        fn slots_are_an_order(titles in 1u64..300, seed: u64) {
            let spread = Spread { titles, rows: 0 };
            for block in 0..titles.div_ceil(TITLES) {
                let slots = Slots::new(spread.titles_of(block), Stream::new(seed, 0, 0));
                let mut seen: Vec<u64> = spread.titles_of(block).map(|title| slots.of(title)).collect();
                prop_assert!(spread.titles_of(block).all(|title| slots.title(slots.of(title)) == title));
                seen.sort_unstable();
                prop_assert!(seen.into_iter().eq(0..spread.titles_of(block).count() as u64));
            }
        }
    }
}
