//! `title.episode`: tconst, parentTconst, seasonNumber, episodeNumber.

use super::Which;
use super::fields::Fields;
use super::world::{World, tconst, titled};
use std::ops::Range;

/// Share of episodes of which season and number are not known, about as IMDb has it.
pub const NO_SEASON: f64 = 0.2;

pub(super) fn rows(world: &World, rows: Range<u64>, out: &mut impl Fields) {
    let [parent, season] = [1, 2].map(|column| world.column(Which::Episodes, column));
    let mut text = String::new();
    titled(
        world.episodes,
        rows,
        |block| world.episodes_of(block),
        |row, title, _| {
            out.begin();
            for title in [title, world.series_of(&mut parent.at(row))] {
                text.clear();
                tconst(title, &mut text);
                out.text(&text);
            }
            let mut draws = season.at(row);
            if draws.chance(NO_SEASON) {
                out.null();
                out.null();
            } else {
                // Early seasons are common.
                let most = 1 + draws.below(20);
                out.whole(1 + draws.below(most) as i32);
                out.whole(1 + draws.below(1 + 8 * most) as i32);
            }
            out.end();
        },
    );
}
