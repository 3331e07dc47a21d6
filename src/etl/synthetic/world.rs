//! What all tables agree on: how many rows each has, which titles are series and episodes, who plays where. Every answer is
//! computed from the seed; nothing is kept but a few sums.

use super::blocks::{Slots, Spread, TITLES};
use super::{Synthetic, Which};
use crate::etl::random::{Draws, Scatter, Stream, Weighted, Zipf};
use std::ops::Range;

/// Exponent of the Zipf distribution by which people get parts. It is chosen, not measured of IMDb: the busiest person of
/// the full size then has some 50,000, and nearly everybody has one.
pub const CAST_EXPONENT: f64 = 0.6;
/// Exponent of the Zipf distribution by which series get episodes, chosen so that the longest of the full size has a few
/// ten thousand.
pub const EPISODES_EXPONENT: f64 = 0.7;
/// Series in each whole block of titles.
const SERIES: u64 = 2;

/// Columns with numbers that several tables ask for, by number beyond those of any table.
const FAME: u32 = 100;
const SLOTS: u32 = 101;
const RATED: u32 = 102;

/// Share of weight by a title's fame, sixteen classes of equal size.
const AKAS: [u32; 16] = [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 6, 9, 18, 40];
const PRINCIPALS: [u32; 16] = [1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10, 10, 12, 14, 18, 24];

/// A category of `title.principals`, and its share (in 1000), about as IMDb has them.
pub(super) const CATEGORIES: [(&str, u32); 13] = [
    ("actor", 231),
    ("actress", 178),
    ("self", 137),
    ("writer", 121),
    ("director", 83),
    ("producer", 74),
    ("editor", 55),
    ("casting_director", 41),
    ("cinematographer", 38),
    ("composer", 31),
    ("production_designer", 6),
    ("archive_footage", 4),
    ("archive_sound", 1),
];
pub(super) const WRITER: usize = 3;
pub(super) const DIRECTOR: usize = 4;

/// Everything that rows are computed from.
#[derive(Debug)]
pub(super) struct World {
    pub seed: u64,
    pub titles: u64,
    pub akas: Spread,
    pub episodes: Spread,
    pub principals: Spread,
    pub ratings: Spread,
    fame: Stream,
    slots: Stream,
    rated: Stream,
    category: Stream,
    person: Stream,
    categories: Weighted,
    cast: Zipf,
    people: Scatter,
    series: Zipf,
    all_series: Scatter,
}

impl World {
    pub fn new(of: &Synthetic) -> World {
        let titles = of.rows(Which::Titles);
        let spread = |which| Spread { titles, rows: of.rows(which) };
        let common = |column| Stream::new(of.seed, Which::Titles as u32, column);
        let principal = |column| Stream::new(of.seed, Which::Principals as u32, column);
        let (names, series) = (of.rows(Which::Names), titles / TITLES * SERIES);
        World {
            seed: of.seed,
            titles,
            akas: spread(Which::Akas),
            episodes: spread(Which::Episodes),
            principals: spread(Which::Principals),
            ratings: spread(Which::Ratings),
            fame: common(FAME),
            slots: common(SLOTS),
            rated: common(RATED),
            category: principal(3),
            person: principal(2),
            categories: Weighted::new(CATEGORIES.iter().map(|(_, share)| f64::from(*share))),
            cast: Zipf::new(names, CAST_EXPONENT),
            people: Scatter::new(names),
            series: Zipf::new(series, EPISODES_EXPONENT),
            all_series: Scatter::new(series),
        }
    }

    /// The numbers of a table's column.
    pub fn column(&self, which: Which, column: u32) -> Stream {
        Stream::new(self.seed, which as u32, column)
    }

    /// How well known a title is, from 0 to 255: well-known ones have more cast, more other titles and more votes.
    pub fn fame(&self, title: u64) -> u8 {
        self.fame.at(title).below(256) as u8
    }

    /// How many rows of `title.akas` each title of a block has.
    pub fn akas_of(&self, block: u64) -> [u32; TITLES as usize] {
        self.akas.shares(block, |title| AKAS[usize::from(self.fame(title) >> 4)])
    }

    /// How many rows of `title.principals` each title of a block has.
    pub fn principals_of(&self, block: u64) -> [u32; TITLES as usize] {
        self.principals.shares(block, |title| PRINCIPALS[usize::from(self.fame(title) >> 4)])
    }

    /// The roles of a block's titles: series first, episodes last.
    pub fn roles(&self, block: u64) -> Roles {
        let titles = self.episodes.titles_of(block);
        let len = titles.end - titles.start;
        Roles {
            slots: Slots::new(titles, self.slots),
            series: if len == TITLES { SERIES } else { 0 },
            episodes: len - self.episodes.within(block)..len,
        }
    }

    /// 1 for each title of a block that is an episode.
    pub fn episodes_of(&self, block: u64) -> [u32; TITLES as usize] {
        let roles = self.roles(block);
        self.marked(block, |title| roles.episodes.contains(&roles.slots.of(title)))
    }

    /// 1 for each title of a block that is rated.
    pub fn ratings_of(&self, block: u64) -> [u32; TITLES as usize] {
        let (slots, rated) = (Slots::new(self.ratings.titles_of(block), self.rated), self.ratings.within(block));
        self.marked(block, |title| slots.of(title) < rated)
    }

    fn marked(&self, block: u64, is: impl Fn(u64) -> bool) -> [u32; TITLES as usize] {
        let mut marks = [0; TITLES as usize];
        for (mark, title) in marks.iter_mut().zip(self.episodes.titles_of(block)) {
            *mark = u32::from(is(title));
        }
        marks
    }

    /// The series that an episode is of.
    pub fn series_of(&self, draws: &mut Draws) -> u64 {
        let series = self.all_series.place(self.series.rank(draws) - 1);
        self.roles(series / SERIES).slots.title(series % SERIES)
    }

    /// What somebody does in a row of `title.principals`, as a place in [`CATEGORIES`].
    pub fn category(&self, row: u64) -> usize {
        self.categories.pick(&mut self.category.at(row))
    }

    /// Who that is.
    pub fn person(&self, row: u64) -> u64 {
        self.people.place(self.cast.rank(&mut self.person.at(row)) - 1)
    }
}

/// Which titles of a block are series, and which episodes.
#[derive(Debug)]
pub(super) struct Roles {
    slots: Slots,
    series: u64,
    episodes: Range<u64>,
}

/// What a title is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The first series of its block.
    Series,
    /// The second, which may be short.
    SecondSeries,
    Episode,
    Other,
}

impl Roles {
    pub fn of(&self, title: u64) -> Role {
        match self.slots.of(title) {
            0 if self.series > 0 => Role::Series,
            1 if self.series > 1 => Role::SecondSeries,
            slot if self.episodes.contains(&slot) => Role::Episode,
            _ => Role::Other,
        }
    }
}

/// Calls `each` with every row of `rows`, its title, and which of the title's rows it is, from 1. `shares` says how many
/// rows each title of a block has.
pub(super) fn titled(
    spread: Spread,
    rows: Range<u64>,
    shares: impl Fn(u64) -> [u32; TITLES as usize],
    mut each: impl FnMut(u64, u64, u32),
) {
    let mut block = spread.block_of(rows.start);
    let mut row = spread.start(block);
    while row < rows.end {
        for (title, share) in spread.titles_of(block).zip(shares(block)) {
            for ordering in 1..=share {
                if rows.contains(&row) {
                    each(row, title, ordering);
                }
                row += 1;
            }
        }
        block += 1;
    }
}

/// `tt0000001` for the first title, as IMDb numbers them: seven digits or more.
pub(super) fn tconst(title: u64, into: &mut String) {
    number("tt", title + 1, into);
}

/// `nm0000001` for the first person.
pub(super) fn nconst(person: u64, into: &mut String) {
    number("nm", person + 1, into);
}

fn number(kind: &str, number: u64, into: &mut String) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number);
    into.push_str(kind);
    into.push_str(&"0000000"[digits.len().min(7)..]);
    into.push_str(digits);
}
