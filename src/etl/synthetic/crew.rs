//! `title.crew`: tconst, directors, writers. One row a title; the people are those that `title.principals` has in these
//! categories.

use super::blocks::TITLES;
use super::fields::Fields;
use super::world::{DIRECTOR, WRITER, World, nconst, tconst};
use std::ops::Range;

pub(super) fn rows(world: &World, rows: Range<u64>, out: &mut impl Fields) {
    let (mut id, mut directors, mut writers) = (String::new(), String::new(), String::new());
    for block in rows.start / TITLES..rows.end.div_ceil(TITLES) {
        let mut principal = world.principals.start(block);
        for (title, share) in world.principals.titles_of(block).zip(world.principals_of(block)) {
            let principals = principal..principal + u64::from(share);
            principal = principals.end;
            if !rows.contains(&title) {
                continue;
            }
            directors.clear();
            writers.clear();
            for row in principals {
                match world.category(row) {
                    DIRECTOR => add(world.person(row), &mut directors),
                    WRITER => add(world.person(row), &mut writers),
                    _ => {}
                }
            }
            out.begin();
            id.clear();
            tconst(title, &mut id);
            out.text(&id);
            for list in [&directors, &writers] {
                if list.is_empty() { out.null() } else { out.list(list) }
            }
            out.end();
        }
    }
}

/// A person, once.
fn add(person: u64, list: &mut String) {
    let before = list.len();
    if before > 0 {
        list.push(',');
    }
    let start = list.len();
    nconst(person, list);
    let (others, last) = list.split_at(start);
    if others.split(',').any(|other| other == last) {
        list.truncate(before);
    }
}
