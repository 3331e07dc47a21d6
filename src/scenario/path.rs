//! Addresses in a scenario: `load.app.profile.rate`, `phase.kill.do.kill.at`, `claim.0.metric`.
//! Entries of a list are addressed by their name or else by their place, from 0; a name with a dot
//! in it is quoted (`postgres.settings."pg_stat_statements.max"`).

use super::error::Located;
use super::near::did_you_mean;
use std::borrow::Cow;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// A value of the tree, with its place in the text.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// What removes that which stands at a path.
pub(super) const ABSENT: &str = "absent";

/// One name of a path, with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub name: String,
    pub span: Range<usize>,
}

/// A path and what goes there.
#[derive(Clone, Debug)]
pub(super) struct Patch<'t> {
    pub path: Vec<Segment>,
    pub value: Value<'t>,
}

/// Takes a path apart; `start` is where `text` stands. `None` if a name is empty or a quote is open.
pub(super) fn split(text: &str, start: usize) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let (name, length) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"')?;
                (&quoted[..end], end + 2)
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].trim(), end)
            }
        };
        if name.is_empty() {
            return None;
        }
        segments.push(Segment { name: name.to_owned(), span: start + at..start + at + length });
        at += length;
        match text[at..].chars().next() {
            None => return Some(segments),
            Some('.') => at += 1,
            Some(_) => return None,
        }
    }
}

/// The path as it would be typed.
pub(super) fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = names.into_iter().map(|name| if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() });
    quoted.collect::<Vec<_>>().join(".")
}

impl<'t> Patch<'t> {
    /// The single patches that a value at a path comes to: a table without a `kind` goes over what is
    /// there key by key, everything else replaces it.
    pub fn leaves(path: Vec<Segment>, value: Value<'t>) -> Vec<Patch<'t>> {
        match value.get_ref() {
            DeValue::Table(table) if !table.is_empty() && !table.contains_key("kind") => {
                let entries = table.clone().into_iter();
                let below = entries.flat_map(|(key, value)| {
                    let segment = Segment { name: key.get_ref().to_string(), span: key.span() };
                    Patch::leaves([path.clone(), vec![segment]].concat(), value)
                });
                below.collect()
            }
            _ => vec![Patch { path, value }],
        }
    }

    /// The path as it would be typed.
    pub fn name(&self) -> String {
        join(self.path.iter().map(|segment| segment.name.as_str()))
    }

    /// Whether what it puts there stands at the other's path or around it.
    pub fn covers(&self, other: &Patch<'_>) -> bool {
        let same = self.path.iter().zip(&other.path).all(|(a, b)| a.name == b.name);
        same && self.path.len() <= other.path.len() && !is_absent(&self.value)
    }

    /// Puts the value into the tree, or removes what is there.
    pub fn apply(self, root: &mut DeTable<'t>) -> Result<(), Located> {
        descend(root, &self.path, 0, self.value)
    }
}

fn descend<'t>(table: &mut DeTable<'t>, path: &[Segment], depth: usize, value: Value<'t>) -> Result<(), Located> {
    let here = &path[depth];
    if depth + 1 == path.len() {
        return put(table, path, value);
    }
    if !table.contains_key(here.name.as_str()) {
        if holds_names(path, depth) || is_absent(&value) {
            return Err(nothing_there(path, depth, table.keys().map(|key| key.get_ref().as_ref())));
        }
        let key = Spanned::new(here.span.clone(), Cow::Owned(here.name.clone()));
        table.insert(key, Spanned::new(here.span.clone(), DeValue::Table(DeTable::new())));
    }
    match table.get_mut(here.name.as_str()).map(Spanned::get_mut) {
        Some(DeValue::Table(inner)) => descend(inner, path, depth + 1, value),
        Some(DeValue::Array(list)) => descend_list(list, path, depth + 1, value),
        _ => Err(located(&path[depth + 1], path, format!("`{}` is a value and has nothing in it", here.name), None)),
    }
}

fn descend_list<'t>(list: &mut DeArray<'t>, path: &[Segment], depth: usize, value: Value<'t>) -> Result<(), Located> {
    let here = &path[depth];
    let Some(index) = entry(list, &here.name) else {
        return Err(nothing_there(path, depth, list.iter().filter_map(name)));
    };
    let last = depth + 1 == path.len();
    if last && is_absent(&value) {
        without(list, index);
        return Ok(());
    }
    let entries: &mut [Value<'t>] = list;
    if last {
        entries[index] = value;
        return Ok(());
    }
    match entries[index].get_mut() {
        DeValue::Table(inner) => descend(inner, path, depth + 1, value),
        _ => Err(located(&path[depth + 1], path, format!("`{}` is a value and has nothing in it", here.name), None)),
    }
}

fn put<'t>(table: &mut DeTable<'t>, path: &[Segment], value: Value<'t>) -> Result<(), Located> {
    let depth = path.len() - 1;
    let last = &path[depth];
    if !is_absent(&value) {
        table.insert(Spanned::new(last.span.clone(), Cow::Owned(last.name.clone())), value);
        return Ok(());
    }
    match table.remove(last.name.as_str()) {
        Some(_) => Ok(()),
        None => Err(nothing_there(path, depth, table.keys().map(|key| key.get_ref().as_ref()))),
    }
}

/// Whether the keys at `depth` are names that the scenario gives, so that an unknown one is a slip.
/// Elsewhere keys are the language's own; a missing table may be meant, and an unknown one is found later.
fn holds_names(path: &[Segment], depth: usize) -> bool {
    match (path[0].name.as_str(), depth) {
        ("node" | "load", 1) | ("vary", 1 | 2) => true,
        ("phase", 3) => path[2].name == "do",
        _ => false,
    }
}

fn nothing_there<'a>(path: &[Segment], depth: usize, there: impl Iterator<Item = &'a str>) -> Located {
    let within = join(path[..depth].iter().map(|segment| segment.name.as_str()));
    let message = match depth {
        0 => format!("there is no `{}` in this scenario", path[0].name),
        _ => format!("there is no `{}` in `{within}`", path[depth].name),
    };
    located(&path[depth], path, message, did_you_mean(&path[depth].name, there))
}

fn located(at: &Segment, path: &[Segment], message: String, hint: Option<String>) -> Located {
    let path = join(path.iter().map(|segment| segment.name.as_str()));
    Located { span: at.span.clone(), path: Some(path), message, hint }
}

fn is_absent(value: &Value<'_>) -> bool {
    value.get_ref().as_str() == Some(ABSENT)
}

/// The `name` of a list's entry.
fn name<'a>(entry: &'a Value<'_>) -> Option<&'a str> {
    entry.get_ref().get("name").and_then(|name| name.get_ref().as_str())
}

/// The entry of a list that is called `segment`, or stands at that place.
fn entry(list: &DeArray<'_>, segment: &str) -> Option<usize> {
    let named = list.iter().position(|entry| name(entry) == Some(segment));
    named.or_else(|| segment.parse().ok().filter(|index| *index < list.len()))
}

/// Removes an entry of a list.
pub(super) fn without(list: &mut DeArray<'_>, index: usize) {
    let entries = std::mem::replace(list, DeArray::new()).into_iter().enumerate();
    *list = entries.filter(|(i, _)| *i != index).map(|(_, entry)| entry).collect();
}

/// Where a path is in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its key; that of the nearest table around it if it was not written.
    pub key: Range<usize>,
    /// Its value; the same as `key` if it was not written.
    pub value: Range<usize>,
}

/// Where `path` is in the text, or what comes nearest when it was not written.
pub(super) fn place(root: &DeTable<'_>, path: &[String]) -> Place {
    let mut place = Place { key: 0..0, value: 0..0 };
    let Some((first, mut rest)) = path.split_first() else { return place };
    let Some((key, mut value)) = root.get_key_value(first.as_str()) else { return place };
    place = Place { key: key.span(), value: value.span() };
    while let Some((segment, after)) = rest.split_first() {
        let below = match value.get_ref() {
            DeValue::Table(table) => table.get_key_value(segment.as_str()).map(|(key, value)| (key.span(), value)),
            DeValue::Array(list) => entry(list, segment).map(|index| (list[index].span(), &list[index])),
            _ => None,
        };
        let Some((key, found)) = below else { return Place { value: place.key.clone(), key: place.key } };
        place = Place { key, value: found.span() };
        value = found;
        rest = after;
    }
    place
}

/// The deepest path whose key or value stands at `span`.
pub(super) fn path_at(root: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let mut path = Vec::new();
    find(root, span, &mut path).then(|| join(path.iter().map(String::as_str)))
}

fn find(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    table.iter().any(|(key, value)| {
        path.push(key.get_ref().to_string());
        let found = find_below(value, span, path) || key.span() == *span || value.span() == *span;
        if !found {
            path.pop();
        }
        found
    })
}

fn find_below(value: &Value<'_>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    match value.get_ref() {
        DeValue::Table(table) => find(table, span, path),
        DeValue::Array(list) => list.iter().enumerate().any(|(i, entry)| {
            path.push(name(entry).map_or_else(|| i.to_string(), str::to_owned));
            let found = find_below(entry, span, path) || entry.span() == *span;
            if !found {
                path.pop();
            }
            found
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "trials = 5\nload.app = { profile = { kind = 'open', rate = 5 }, clients = 2 }\n\
        [[phase]]\nname = 'steady'\n[[phase]]\nname = 'kill'\nlasts = '8s'\ndo.kill = { at = '1s' }\n";

    fn names(text: &str) -> Option<Vec<String>> {
        split(text, 0).map(|segments| segments.into_iter().map(|segment| segment.name).collect())
    }

    fn set(path: &str, value: &'static str) -> Result<String, Located> {
        let mut root = DeTable::parse(TEXT).unwrap().into_inner();
        let value = DeValue::parse(value).unwrap();
        for patch in Patch::leaves(split(path, 1000).unwrap(), value) {
            patch.apply(&mut root)?;
        }
        let value: toml::Value = serde::Deserialize::deserialize(toml::de::ValueDeserializer::from(Spanned::new(
            0..0,
            DeValue::Table(root),
        )))
        .unwrap();
        Ok(value.to_string())
    }

    #[test]
    fn paths_come_apart_at_dots_outside_quotes() {
        assert_eq!(names("a.b-2.c").unwrap(), ["a", "b-2", "c"]);
        assert_eq!(names("valid.\"load.tps\".max").unwrap(), ["valid", "load.tps", "max"]);
        assert_eq!(split("ab.cd", 10).unwrap()[1].span, 13..15);
        for wrong in ["", "a.", ".a", "a..b", "\"a", "\"a\"b"] {
            assert_eq!(names(wrong), None, "{wrong}");
        }
        assert_eq!(join(["valid", "load.tps"]), "valid.\"load.tps\"");
    }

    #[test]
    fn values_go_into_tables_and_named_entries() {
        assert!(set("trials", "2").unwrap().contains("trials = 2"));
        assert!(set("load.app.profile.rate", "99").unwrap().contains("rate = 99"));
        assert!(set("phase.kill.do.kill.at", "'3s'").unwrap().contains("at = \"3s\""));
        assert!(set("phase.kill.lasts", "'9s'").unwrap().contains("lasts = \"9s\""));
        assert!(
            set("postgres.settings.work_mem", "'1MB'").unwrap().contains("work_mem"),
            "tables of the language appear"
        );
    }

    #[test]
    fn a_table_goes_over_key_by_key_unless_it_has_a_kind() {
        let over = set("load.app", "{ profile = { rate = 7 } }").unwrap();
        assert!(over.contains("rate = 7") && over.contains("clients = 2") && over.contains("kind"), "{over}");
        let replaced = set("load.app.profile", "{ kind = 'closed' }").unwrap();
        assert!(!replaced.contains("rate"), "{replaced}");
    }

    #[test]
    fn absent_removes() {
        assert!(!set("load.app.clients", "'absent'").unwrap().contains("clients"));
        assert!(!set("phase.kill", "'absent'").unwrap().contains("8s"));
        assert_eq!(set("load.app.client", "'absent'").unwrap_err().hint.unwrap(), "did you mean `clients`?");
    }

    #[test]
    fn a_path_to_nowhere_names_what_is_near() {
        let error = set("load.ap.profile.rate", "1").unwrap_err();
        assert_eq!((error.message.as_str(), error.span), ("there is no `ap` in `load`", 1005..1007));
        assert_eq!(error.hint.unwrap(), "did you mean `app`?");
        assert_eq!(set("phase.kil.lasts", "1").unwrap_err().hint.unwrap(), "did you mean `kill`?");
        assert_eq!(set("phase.kill.do.klil.at", "1").unwrap_err().hint.unwrap(), "did you mean `kill`?");
        assert!(set("trials.x", "1").unwrap_err().message.contains("is a value"));
    }

    #[test]
    fn places_fall_back_to_what_is_around() {
        let root = DeTable::parse(TEXT).unwrap().into_inner();
        let path = |text: &str| names(text).unwrap();
        let clients = place(&root, &path("load.app.clients"));
        assert_eq!((&TEXT[clients.key], &TEXT[clients.value]), ("clients", "2"));
        let missing = place(&root, &path("load.app.threads"));
        assert_eq!(&TEXT[missing.value], "app");
        let kill = place(&root, &path("phase.kill.name"));
        assert_eq!(&TEXT[kill.value.clone()], "'kill'");
        assert_eq!(path_at(&root, &kill.value).unwrap(), "phase.kill.name");
    }
}
