//! The server's settings (GUCs) by version: which there are, and which values they can have.
//!
//! Known are versions 13 to 18; of a newer one nothing is said, for it may have anything. Settings of extensions
//! (with a dot in their name) are never judged.

mod table;
pub mod value;

use super::version::Major;
use std::fmt;
use std::ops::RangeInclusive;
use table::ROWS;
use value::{amount, boolean, number};

/// The versions whose settings are known.
pub const KNOWN: RangeInclusive<u32> = 13..=18;

/// Settings that some builds or minor releases have and others of the same version do not.
const NOT_JUDGED: &[&str] = &[
    // Debian's and Ubuntu's own, up to 17.
    "extension_destdir",
    // Came with minor releases.
    "composite_type_mismatch",
    "output_plugin_libraries",
    // Only in servers that were built to be debugged.
    "debug_deadlocks",
    "debug_invalidate_system_caches_always",
    "debug_print_raw_parse",
    "log_btree_build_stats",
    "optimize_bounded_sort",
    "trace_lock_oidmin",
    "trace_lock_table",
    "trace_locks",
    "trace_lwlocks",
    "trace_syncscan",
    "trace_userlocks",
    "wal_debug",
];

/// What took the place of a setting that is gone.
const SUCCESSORS: &[(&str, &str)] = &[
    ("checkpoint_segments", "max_wal_size"),
    ("force_parallel_mode", "debug_parallel_query"),
    ("wal_keep_segments", "wal_keep_size"),
];

/// A setting in the versions `first` to `last`.
#[derive(Debug)]
struct Row {
    name: &'static str,
    first: u32,
    last: u32,
    kind: Kind,
}

/// What a setting takes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Truth,
    Text,
    Whole {
        unit: &'static str,
        min: f64,
        max: f64,
    },
    Real {
        unit: &'static str,
        min: f64,
        max: f64,
    },
    /// One of these, separated by `, `; after a `; ` those that the server takes and does not show.
    Word(&'static str),
    /// Nothing: it can only be read.
    Fixed,
}

/// A setting that a version does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The setting.
    pub name: String,
    /// The version without it; absent: none has it.
    pub from: Option<Major>,
    /// The versions that have it.
    pub has: Option<RangeInclusive<u32>>,
}

/// A value that a setting cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What it can be.
    pub hint: String,
}

/// Whether `name` is a setting that this version does not have. Of versions that are not known, and of settings
/// of extensions, nothing is said.
pub fn missing(name: &str, major: Major) -> Option<Missing> {
    let judged = KNOWN.contains(&major.0) && is_judged(name);
    let has = versions(name);
    let there = has.as_ref().is_some_and(|has| has.contains(&major.0));
    (judged && !there).then(|| Missing { name: name.to_owned(), from: Some(major), has })
}

/// Whether `name` is a setting of no version that is known.
pub fn unknown(name: &str) -> Option<Missing> {
    (is_judged(name) && versions(name).is_none()).then(|| Missing { name: name.to_owned(), from: None, has: None })
}

/// Why the server would not take `value`; `None` when it would, or when that is not certain. Without a version: of
/// all that have the setting, none would.
pub fn wrong(name: &str, value: &str, major: Option<Major>) -> Option<Wrong> {
    if !is_judged(name) || major.is_some_and(|major| !KNOWN.contains(&major.0)) {
        return None;
    }
    let of = |row: &&Row| major.is_none_or(|major| (row.first..=row.last).contains(&major.0));
    let verdicts: Option<Vec<Wrong>> = rows(name).filter(of).map(|row| row.refuses(value)).collect();
    verdicts?.pop()
}

/// The names of all settings of all versions that are known, in lower case.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

/// What took the place of the setting `name`, which newer versions do not have.
pub fn successor(name: &str) -> Option<&'static str> {
    SUCCESSORS.iter().find(|(gone, _)| gone.eq_ignore_ascii_case(name)).map(|(_, instead)| *instead)
}

/// The versions that have the setting `name`.
fn versions(name: &str) -> Option<RangeInclusive<u32>> {
    let first = rows(name).map(|row| row.first).min()?;
    Some(first..=rows(name).map(|row| row.last).max()?)
}

fn rows(name: &str) -> impl Iterator<Item = &'static Row> {
    let lower = name.to_lowercase();
    let start = ROWS.partition_point(|row| *row.name < *lower);
    ROWS[start..].iter().take_while(move |row| row.name == lower)
}

/// Whether anything is ever said of the setting `name`.
pub fn is_judged(name: &str) -> bool {
    !name.contains('.') && !NOT_JUDGED.iter().any(|other| other.eq_ignore_ascii_case(name))
}

impl Row {
    fn refuses(&self, value: &str) -> Option<Wrong> {
        let name = self.name;
        let no_value = |hint: String| Some(Wrong { message: format!("`{value}` is no value of `{name}`"), hint });
        match self.kind {
            Kind::Text => None,
            Kind::Fixed => {
                let message = format!("`{name}` cannot be set: it can only be read");
                Some(Wrong { message, hint: "leave it out".to_owned() })
            }
            Kind::Truth if boolean(value).is_some() => None,
            Kind::Truth => no_value("it can be `on` or `off`".to_owned()),
            Kind::Word(words) => {
                let shown = words.split(';').next().unwrap_or_default().split(", ");
                let taken = words.split("; ").flat_map(|words| words.split(", "));
                // What can be `on` can be any other truth, too.
                let truth = boolean(value).is_some() && shown.clone().any(|word| word == "on");
                if truth || taken.into_iter().any(|word| word.eq_ignore_ascii_case(value.trim())) {
                    return None;
                }
                no_value(format!("it can be {}", shown.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")))
            }
            Kind::Whole { unit, min, max } => match number(value, Some(unit)) {
                _ if is_octal(value) => None,
                None => no_value(format!("it takes {}", takes(unit, "a whole number"))),
                Some(number) => outside(name, value, unit, number.round(), (min, max)),
            },
            Kind::Real { unit, min, max } => match number(value, Some(unit)) {
                None => no_value(format!("it takes {}", takes(unit, "a number"))),
                Some(number) => outside(name, value, unit, number, (min, max)),
            },
        }
    }
}

/// `010` is 8 to the server.
fn is_octal(value: &str) -> bool {
    let digits = value.trim().trim_start_matches(['-', '+']);
    digits.len() > 1 && digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit())
}

fn takes(unit: &str, number: &str) -> String {
    match amount(unit) {
        None => number.to_owned(),
        Some((value::Of::Bytes, _)) => "a size, such as `64MB`; units are `B`, `kB`, `MB`, `GB` and `TB`".to_owned(),
        Some((value::Of::Seconds, _)) => {
            "a time, such as `500ms`; units are `us`, `ms`, `s`, `min`, `h` and `d`".to_owned()
        }
    }
}

fn outside(name: &str, value: &str, unit: &str, number: f64, (min, max): (f64, f64)) -> Option<Wrong> {
    if (min..=max).contains(&number) {
        return None;
    }
    let unit = if unit.is_empty() { String::new() } else { format!(", in units of {unit}") };
    let hint = if max > 1e300 {
        format!("it can be {min} or more{unit}")
    } else {
        format!("it can be from {min} to {max}{unit}")
    };
    Some(Wrong { message: format!("`{name}` cannot be `{value}`"), hint })
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { name, from, has } = self;
        let (oldest, newest) = (KNOWN.start(), KNOWN.end());
        match (from, has) {
            (Some(from), Some(has)) => {
                write!(f, "`{name}` does not exist in PostgreSQL {from}; ")?;
                match (has.start(), has.end()) {
                    (first, last) if last == newest => write!(f, "{first} and later have it"),
                    (first, last) if first == oldest => write!(f, "{last} and earlier have it"),
                    (first, last) if first == last => write!(f, "only {first} has it"),
                    (first, last) => write!(f, "{first} to {last} have it"),
                }
            }
            _ => write!(f, "no version of PostgreSQL from {oldest} to {newest} has a setting `{name}`"),
        }
    }
}

impl Missing {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let instead = successor(&self.name).map(|instead| format!("; `{instead}` took its place"));
        let instead = instead.unwrap_or_default();
        match &self.has {
            Some(has) => {
                let near = if self.from.is_some_and(|from| from.0 > *has.end()) { has.end() } else { has.start() };
                format!("leave it out, or run it on `version = \"{near}\"`{instead}")
            }
            None => format!("leave it out{instead}"),
        }
    }
}

#[cfg(test)]
mod tests;
