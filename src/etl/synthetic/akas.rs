//! `title.akas`: titleId, ordering, title, region, language, types, attributes, isOriginalTitle.

use super::blocks::TITLES;
use super::fields::Fields;
use super::titles::primary;
use super::world::{World, tconst, titled};
use super::{Which, words};
use std::ops::Range;

/// Where titles are shown, and in which language.
const REGIONS: [(&str, &str); 20] = [
    ("US", ""),
    ("GB", ""),
    ("DE", "de"),
    ("FR", "fr"),
    ("IN", "hi"),
    ("ES", "es"),
    ("IT", "it"),
    ("PT", "pt"),
    ("JP", "ja"),
    ("BR", "pt"),
    ("RU", "ru"),
    ("GR", "el"),
    ("MX", "es"),
    ("CA", "fr"),
    ("AU", ""),
    ("XWW", "en"),
    ("CN", "cmn"),
    ("SE", ""),
    ("HU", ""),
    ("PL", ""),
];
const ATTRIBUTES: &[&str] =
    &["literal English title", "new title", "short title", "complete title", "3-D version", "reissue title"];
const TYPES: &[&str] = &["working", "alternative", "dvd", "video", "festival", "tv"];

pub(super) fn rows(world: &World, rows: Range<u64>, out: &mut impl Fields) {
    let titles = world.column(Which::Titles, 2);
    let [wording, place, of] = [2, 3, 5].map(|column| world.column(Which::Akas, column));
    let (mut id, mut text) = (String::new(), String::new());
    // Those of the block whose titles come.
    let (mut block, mut roles) = (0, world.roles(0));
    titled(
        world.akas,
        rows,
        |block| world.akas_of(block),
        |row, title, ordering| {
            out.begin();
            id.clear();
            tconst(title, &mut id);
            out.text(&id);
            out.whole(ordering as i32);
            text.clear();
            if title / TITLES != block {
                block = title / TITLES;
                roles = world.roles(block);
            }
            primary(&mut titles.at(title), roles.of(title), &mut text);
            // The first is the original.
            if ordering == 1 {
                out.text(&text);
                out.null();
                out.null();
                out.list("original");
                out.null();
                out.truth(true);
                return out.end();
            }
            let (region, language) = REGIONS[place.at(row).below(REGIONS.len() as u64) as usize];
            let mut words = wording.at(row);
            match words::abroad(language, &mut words) {
                Some(abroad) if words.below(2) == 0 => {
                    text.insert_str(0, " - ");
                    text.insert_str(0, abroad);
                    out.text(&text);
                }
                _ => out.text(&text),
            }
            out.text(region);
            if language.is_empty() {
                out.null()
            } else {
                out.text(language)
            }
            let mut draws = of.at(row);
            match draws.below(10) {
                0..3 => out.null(),
                3 => out.list(draws.one_of(TYPES)),
                _ => out.list("imdbDisplay"),
            }
            if draws.below(200) == 0 {
                out.list(draws.one_of(ATTRIBUTES))
            } else {
                out.null()
            }
            out.truth(false);
            out.end();
        },
    );
}
