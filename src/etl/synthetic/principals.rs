//! `title.principals`: tconst, ordering, nconst, category, job, characters.

use super::fields::Fields;
use super::world::{CATEGORIES, World, nconst, tconst, titled};
use super::{Which, words};
use crate::etl::random::Draws;
use std::ops::Range;

pub(super) fn rows(world: &World, rows: Range<u64>, out: &mut impl Fields) {
    let [job, character] = [4, 5].map(|column| world.column(Which::Principals, column));
    let mut text = String::new();
    titled(
        world.principals,
        rows,
        |block| world.principals_of(block),
        |row, title, ordering| {
            let category = CATEGORIES[world.category(row)].0;
            out.begin();
            text.clear();
            tconst(title, &mut text);
            out.text(&text);
            out.whole(ordering as i32);
            text.clear();
            nconst(world.person(row), &mut text);
            out.text(&text);
            out.text(category);
            match job_of(category, &mut job.at(row)) {
                Some(job) => out.text(job),
                None => out.null(),
            }
            if characters(category, &mut character.at(row), &mut text) {
                out.json(&text)
            } else {
                out.null()
            }
            out.end();
        },
    );
}

/// What exactly somebody does, where it is said.
fn job_of(category: &str, draws: &mut Draws) -> Option<&'static str> {
    let known: &[&str] = match category {
        "writer" if draws.below(2) == 0 => {
            &["written by", "screenplay", "story", "creator", "based on the novel \"Ω\" by"]
        }
        "producer" => &["producer", "producer", "producer", "executive producer", "co-producer"],
        "cinematographer" if draws.below(2) == 0 => &["director of photography"],
        "director" if draws.below(20) == 0 => &["co-director", "réalisateur"],
        _ => return None,
    };
    Some(draws.one_of(known))
}

/// The JSON list of what somebody plays; false where nothing is known.
fn characters(category: &str, draws: &mut Draws, into: &mut String) -> bool {
    into.clear();
    let chance = draws.below(100);
    match category {
        "actor" | "actress" if chance < 85 => {
            into.push_str("[\"");
            words::character(draws, into);
            match chance {
                0 => into.push_str(" \\\"Ace\\\""),
                1..5 => {
                    into.push_str("\",\"");
                    words::character(draws, into);
                }
                _ => {}
            }
            into.push_str("\"]");
        }
        "self" | "archive_footage" => {
            let part = draws.one_of(&["Self", "Self", "Self", "Self - Host", "Self - Guest", "Self - Présentatrice"]);
            into.push_str("[\"");
            into.push_str(part);
            into.push_str("\"]");
        }
        _ => {}
    }
    !into.is_empty()
}
