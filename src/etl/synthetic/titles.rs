//! `title.basics`: tconst, titleType, primaryTitle, originalTitle, isAdult, startYear, endYear, runtimeMinutes, genres.

use super::blocks::TITLES;
use super::fields::Fields;
use super::world::{Role, World, tconst};
use super::{Which, words};
use crate::etl::random::{Draws, Weighted};
use std::fmt::Write;
use std::ops::Range;

/// Types of titles that are neither series nor episodes, with their weights, about as IMDb has them.
const TYPES: [(&str, f64); 7] = [
    ("short", 8.6),
    ("movie", 5.8),
    ("video", 2.5),
    ("tvMovie", 1.2),
    ("tvSpecial", 0.4),
    ("videoGame", 0.35),
    ("tvShort", 0.09),
];
/// Genres in the order of the alphabet, in which titles name them, with their weights, about as IMDb has them.
const GENRES: [(&str, f64); 27] = [
    ("Action", 47.0),
    ("Adult", 35.0),
    ("Adventure", 44.0),
    ("Animation", 56.0),
    ("Biography", 11.0),
    ("Comedy", 220.0),
    ("Crime", 47.0),
    ("Documentary", 108.0),
    ("Drama", 320.0),
    ("Family", 83.0),
    ("Fantasy", 22.0),
    ("Film-Noir", 0.1),
    ("Game-Show", 40.0),
    ("History", 15.0),
    ("Horror", 20.0),
    ("Music", 43.0),
    ("Musical", 9.0),
    ("Mystery", 24.0),
    ("News", 100.0),
    ("Reality-TV", 62.0),
    ("Romance", 106.0),
    ("Sci-Fi", 12.0),
    ("Short", 124.0),
    ("Sport", 27.0),
    ("Talk-Show", 142.0),
    ("Thriller", 22.0),
    ("War", 4.0),
];
/// Shares of titles whose fields are null, about as IMDb has them.
pub const NO_START_YEAR: f64 = 0.117;
pub const NO_RUNTIME: f64 = 0.65;
pub const NO_GENRES: f64 = 0.042;
/// Of adult titles.
const ADULT: f64 = 0.032;
/// Years before 2025 that a title lies back in the mean.
const YEARS_BACK: f64 = 17.0;

pub(super) fn rows(world: &World, rows: Range<u64>, out: &mut impl Fields) {
    let [of, title, adult, year, runtime, genre] = [1, 2, 4, 5, 7, 8].map(|column| world.column(Which::Titles, column));
    let types = Weighted::new(TYPES.iter().map(|(_, weight)| *weight));
    let genres = Weighted::new(GENRES.iter().map(|(_, weight)| *weight));
    let mut text = String::new();
    let mut roles = world.roles(rows.start / TITLES);
    for row in rows {
        if row % TITLES == 0 {
            roles = world.roles(row / TITLES);
        }
        let role = roles.of(row);
        let of = match role {
            Role::Series => "tvSeries",
            Role::SecondSeries if of.at(row).below(3) == 0 => "tvMiniSeries",
            Role::SecondSeries => "tvSeries",
            Role::Episode => "tvEpisode",
            Role::Other => TYPES[types.pick(&mut of.at(row))].0,
        };
        out.begin();
        text.clear();
        tconst(row, &mut text);
        out.text(&text);
        out.text(of);
        two_titles(&mut title.at(row), role, &mut text, out);
        out.truth(adult.at(row).chance(ADULT));
        years(&mut year.at(row), role, out);
        minutes(&mut runtime.at(row), of, out);
        some_genres(&mut genre.at(row), &genres, &mut text, out);
        out.end();
    }
}

/// A title as `title.akas` names it, too.
pub(super) fn primary(draws: &mut Draws, role: Role, into: &mut String) {
    match draws.below(20) {
        // Writing to a String cannot fail.
        0..8 if role == Role::Episode => {
            let _ = write!(into, "Episode #{}.{}", 1 + draws.below(12), 1 + draws.below(200));
        }
        8 | 9 if role == Role::Episode => {
            let (day, year) = (1 + draws.below(28), 1995 + draws.below(30));
            let _ = write!(into, "{day} {} {year}", draws.one_of(&["January", "May", "August", "December"]));
        }
        _ => words::title(draws, into),
    }
}

/// The original title is another one where it is in another language.
fn two_titles(draws: &mut Draws, role: Role, text: &mut String, out: &mut impl Fields) {
    text.clear();
    primary(draws, role, text);
    out.text(text);
    if role != Role::Episode && draws.below(12) == 0 {
        let language = draws.one_of(&["es", "pt", "fr", "de", "it"]);
        if let Some(other) = words::abroad(language, draws) {
            return out.text(other);
        }
    }
    out.text(text);
}

fn years(draws: &mut Draws, role: Role, out: &mut impl Fields) {
    if draws.chance(NO_START_YEAR) {
        out.null();
        return out.null();
    }
    let back = -libm::log(1.0 - draws.unit()) * YEARS_BACK;
    let start = (2025.0 - back).max(1888.0) as i32;
    out.whole(start);
    match role {
        Role::Series | Role::SecondSeries if draws.chance(0.4) => out.whole((start + draws.below(9) as i32).min(2025)),
        _ => out.null(),
    }
}

fn minutes(draws: &mut Draws, of: &str, out: &mut impl Fields) {
    if draws.chance(NO_RUNTIME) {
        return out.null();
    }
    let (mean, deviation) = match of {
        "short" | "tvShort" => (12.0, 8.0),
        "tvEpisode" | "tvSeries" | "tvMiniSeries" => (38.0, 18.0),
        _ => (90.0, 25.0),
    };
    out.whole((mean + deviation * draws.normal()).max(1.0) as i32);
}

/// One to three.
fn some_genres(draws: &mut Draws, genres: &Weighted, text: &mut String, out: &mut impl Fields) {
    if draws.chance(NO_GENRES) {
        return out.null();
    }
    let mut chosen = 0u32;
    for _ in 0..[1, 1, 2, 2, 3][draws.below(5) as usize] {
        chosen |= 1 << genres.pick(draws);
    }
    text.clear();
    for (n, (genre, _)) in GENRES.iter().enumerate() {
        if chosen >> n & 1 == 1 {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(genre);
        }
    }
    out.list(text);
}
