//! `title.ratings`: tconst, averageRating, numVotes.

use super::Which;
use super::fields::Fields;
use super::world::{World, tconst, titled};
use std::ops::Range;

/// By how much votes fall with a title's rank: the exponent that takes the full size's first title to some 3 million votes
/// and its last one to [`LEAST_VOTES`].
pub const VOTES_EXPONENT: f64 = 0.93;
/// A title with fewer votes has no rating.
pub const LEAST_VOTES: f64 = 5.0;

pub(super) fn rows(world: &World, rows: Range<u64>, out: &mut impl Fields) {
    let [rating, votes] = [1, 2].map(|column| world.column(Which::Ratings, column));
    let mut text = String::new();
    titled(
        world.ratings,
        rows,
        |block| world.ratings_of(block),
        |row, title, _| {
            out.begin();
            text.clear();
            tconst(title, &mut text);
            out.text(&text);
            out.tenths((69.6 + 13.8 * rating.at(row).normal()).clamp(10.0, 100.0) as u16);
            // Its rank among all, as a share: the most famous ones are first.
            let rank = (f64::from(255 - world.fame(title)) + 1.0 - votes.at(row).unit()) / 256.0;
            let votes = LEAST_VOTES * libm::exp(-VOTES_EXPONENT * libm::log(rank));
            out.whole(votes.min(4e6) as i32);
            out.end();
        },
    );
}
