//! `name.basics`: nconst, primaryName, birthYear, deathYear, primaryProfession, knownForTitles.

use super::fields::Fields;
use super::world::{World, nconst, tconst};
use super::{Which, words};
use crate::etl::random::Draws;
use std::ops::Range;

const PROFESSIONS: &[&str] = &[
    "actor",
    "actress",
    "miscellaneous",
    "producer",
    "camera_department",
    "writer",
    "director",
    "sound_department",
    "music_department",
    "art_department",
    "editor",
    "soundtrack",
    "composer",
    "cinematographer",
    "editorial_department",
    "make_up_department",
    "costume_department",
    "visual_effects",
    "stunts",
    "archive_footage",
];
/// Shares of people whose fields are null, about as IMDb has them.
pub const NO_BIRTH_YEAR: f64 = 0.955;
pub const NO_PROFESSION: f64 = 0.19;
pub const NO_TITLES: f64 = 0.116;
/// Of those with a year of birth, how many have one of death.
const DEAD: f64 = 0.38;

pub(super) fn rows(world: &World, rows: Range<u64>, out: &mut impl Fields) {
    let [name, life, profession, known] = [1, 2, 4, 5].map(|column| world.column(Which::Names, column));
    let mut text = String::new();
    for row in rows {
        out.begin();
        text.clear();
        nconst(row, &mut text);
        out.text(&text);
        text.clear();
        words::person(&mut name.at(row), &mut text);
        out.text(&text);
        years(&mut life.at(row), out);
        some(&mut profession.at(row), NO_PROFESSION, 3, out, &mut text, |draws, text| {
            text.push_str(draws.one_of(PROFESSIONS));
        });
        some(&mut known.at(row), NO_TITLES, 4, out, &mut text, |draws, text| tconst(draws.below(world.titles), text));
        out.end();
    }
}

fn years(draws: &mut Draws, out: &mut impl Fields) {
    if draws.chance(NO_BIRTH_YEAR) {
        out.null();
        return out.null();
    }
    let born = (1950.0 + 27.0 * draws.normal()).clamp(1830.0, 2018.0) as i32;
    out.whole(born);
    let died = born + (70.0 + 15.0 * draws.normal()).clamp(5.0, 105.0) as i32;
    if died <= 2024 && draws.chance(DEAD) { out.whole(died) } else { out.null() }
}

/// A list of one to `most` different things, or null with the probability `none`.
fn some(
    draws: &mut Draws,
    none: f64,
    most: u64,
    out: &mut impl Fields,
    text: &mut String,
    one: impl Fn(&mut Draws, &mut String),
) {
    if draws.chance(none) {
        return out.null();
    }
    text.clear();
    for _ in 0..1 + draws.below(most) {
        let before = text.len();
        if before > 0 {
            text.push(',');
        }
        let start = text.len();
        one(draws, text);
        let (list, last) = text.split_at(start);
        if list.split(',').any(|other| other == last) {
            text.truncate(before);
        }
    }
    out.list(text);
}
