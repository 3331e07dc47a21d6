//! From a tree to a [`Scenario`], with everything in it that has the wrong shape.
//!
//! serde's internally tagged enums lose positions, so `{ kind = "x", … }` is first rewritten into
//! `{ x = { … } }`, which an externally tagged enum reads with every place intact. serde also stops at
//! the first error; what it stumbles over is taken out and the rest read again until it reads.

use super::Scenario;
use super::error::Located;
use super::near::{did_you_mean, list};
use super::path::{Value, path_at, without};
use crate::etl::tables::Shape as TablesShape;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

/// What a tree reads as.
pub(super) struct Shaped<T = Scenario> {
    /// The scenario, without the parts that do not read.
    pub scenario: Option<T>,
    /// What does not read.
    pub findings: Vec<Located>,
    /// The top-level keys from which something was taken out; nothing can be said about what is in them.
    pub damaged: BTreeSet<String>,
}

/// A table that is chosen by its `kind`: its key, its kinds, an example.
struct Tagged {
    key: &'static str,
    kinds: &'static str,
    example: &'static str,
}

const DRIVER: Tagged =
    Tagged { key: "driver", kinds: "`process`, `docker`, `external`", example: "driver = { kind = \"docker\" }" };
const MANAGER: Tagged =
    Tagged { key: "manager", kinds: "`builtin`, `none`", example: "manager = { kind = \"builtin\" }" };
const MIX: Tagged = Tagged {
    key: "mix",
    kinds: "`tpcb`, `simple_update`, `select_only`, `imdb_point`, `imdb_title`, `imdb_person`, `imdb_best`, `imdb_prefix`, \
            `imdb_queries`, `weighted`, `books`",
    example: "mix = { kind = \"tpcb\", scale = 10 }",
};
/// Its key is the data set's name.
const DATA: Tagged = Tagged {
    key: "",
    kinds: "`imdb`, `synthetic_imdb`, `tables`, `pgbench`",
    example: "kind = \"synthetic_imdb\"` with `scale = 0.001",
};
const VALUES: Tagged = Tagged {
    key: "values",
    kinds: "`sequence`, `uniform`, `zipf`, `gaussian`, `choice`, `text`",
    example: "values = { kind = \"uniform\", min = 1, max = 100 }",
};
const PROFILE: Tagged = Tagged {
    key: "profile",
    kinds: "`closed`, `open`, `pulse`, `cycle`",
    example: "profile = { kind = \"open\", rate = 500 }",
};
const MODE: Tagged =
    Tagged { key: "mode", kinds: "`recovery`, `resetwal`, `precooked`", example: "mode = { kind = \"recovery\" }" };
const SINK: Tagged = Tagged {
    key: "sink",
    kinds: "`influx`, `influx1`, `victoria_metrics`",
    example: "sink.lab = { kind = \"influx1\", url = \"http://127.0.0.1:8086\", database = \"lab\" }",
};
const ACT: Tagged = Tagged {
    key: "act",
    kinds: "`kill`, `stop`, `freeze`, `pause_replay`, `switchover`, `partition`, `disconnect`, `lose_host`, `link`, `reset`, \
            `stall`, `fill_disk`, `slow_disk`, `load`, `disable_subscription`, `drop_slot`, `apply_conflict`, `hold_snapshot`, `vacuum`, `cutover`",
    example: "act = { kind = \"kill\", of = \"@primary\" }",
};

/// What must be written, with an example of it.
const EXAMPLES: &[(&str, &str)] = &[
    ("name", "name = \"steady\""),
    ("question", "question = \"How long do writes stop when the primary is killed?\""),
    ("node", "[node]` with `a = { role = \"primary\" }"),
    ("phase", "[[phase]]` with `name = \"steady\"` and `lasts = \"10s\""),
    ("role", "role = \"primary\""),
    ("lasts", "lasts = \"10s\""),
    ("act", ACT.example),
    ("mix", MIX.example),
    ("profile", PROFILE.example),
    ("rate", "rate = 500"),
    ("of", "of = \"@primary\""),
    ("on", "on = \"a\""),
    ("to", "to = \"b\""),
    ("publications", "publications = [\"books\"]"),
    ("mode", "mode = \"fast\""),
    ("size", "size = \"1GB\""),
    ("from", "from = \"DIR\""),
    ("data", "data = \"NAME\""),
    (
        "tables",
        "[tables.NAME]` with `rows = 1000` and `columns.id = { type = \"bigint\", values = { kind = \"sequence\" } }",
    ),
    ("rows", "rows = 1000"),
    ("columns", "columns.id = { type = \"bigint\", values = { kind = \"sequence\" } }"),
    ("type", "type = \"bigint\""),
    ("exponent", "exponent = 1.0"),
    ("mean", "mean = 100"),
    ("deviation", "deviation = 15"),
    ("weights", "weights = { open = 1, paid = 9 }"),
    ("min", "min = 1"),
    ("max", "max = 10"),
    ("within", "within = \"2%\""),
    ("metric", "metric = \"ledger.acked_lost\""),
];

/// Where the whole of a scenario stands: errors about it as a whole point to its beginning.
const WHOLE: Range<usize> = 0..0;

/// Reads `tree` as a scenario.
pub(super) fn shape(tree: DeTable<'_>) -> Shaped {
    read_as(tree, Reader::retag_all)
}

/// Reads `tree` as a file of tables.
pub(super) fn tables(tree: DeTable<'_>) -> Shaped<TablesShape> {
    read_as(tree, |reader, root| reader.retag_columns(root.get_mut("tables"), "tables"))
}

fn read_as<T: DeserializeOwned>(mut tree: DeTable<'_>, retag: impl Fn(&mut Reader, &mut DeTable<'_>)) -> Shaped<T> {
    let written = tree.clone();
    let mut reader = Reader { findings: Vec::new(), damaged: BTreeSet::new(), taken: Vec::new() };
    retag(&mut reader, &mut tree);
    let scenario = reader.read(tree);
    for finding in &mut reader.findings {
        finding.path = path_at(&written, &finding.span);
    }
    Shaped { scenario, findings: reader.findings, damaged: reader.damaged }
}

struct Reader {
    findings: Vec<Located>,
    damaged: BTreeSet<String>,
    /// What was taken out: where its table stands, and its key; so that it is not called missing.
    taken: Vec<(Range<usize>, String)>,
}

impl Reader {
    fn retag_all(&mut self, root: &mut DeTable<'_>) {
        self.retag(root, WHOLE, "manager", &MANAGER);
        self.retag(root, WHOLE, "driver", &DRIVER);
        for (span, table) in tables_in(root.get_mut("node")) {
            self.retag(table, span, "node", &DRIVER);
        }
        for (span, table) in tables_in(root.get_mut("load")) {
            self.retag(table, span.clone(), "load", &MIX);
            self.retag(table, span, "load", &PROFILE);
        }
        for (_, data) in tables_in(root.get_mut("data")) {
            self.retag_columns(data.get_mut("tables"), "data");
        }
        if let Some((span, data)) = table_in(root, "data") {
            let names: Vec<String> = data.keys().map(|name| name.get_ref().to_string()).collect();
            for name in names {
                self.retag_at(data, span.clone(), "data", &name, &DATA);
            }
        }
        for (span, campaign) in tables_in(root.get_mut("clone")) {
            self.retag(campaign, span, "clone", &DRIVER);
            if let Some((span, load)) = table_in(campaign, "load") {
                self.retag(load, span.clone(), "clone", &MIX);
                self.retag(load, span, "clone", &PROFILE);
            }
            if let Some((span, recipe)) = table_in(campaign, "recipe") {
                self.retag(recipe, span, "clone", &MODE);
            }
        }
        if let Some((span, sinks)) = table_in(root, "sink") {
            let names: Vec<String> = sinks.iter().map(|(name, _)| name.get_ref().to_string()).collect();
            for name in names {
                self.retag_at(sinks, span.clone(), "sink", &name, &SINK);
            }
        }
        let Some(DeValue::Array(phases)) = root.get_mut("phase").map(Spanned::get_mut) else { return };
        for phase in phases.iter_mut() {
            let DeValue::Table(phase) = phase.get_mut() else { continue };
            for (span, step) in tables_in(phase.get_mut("do")) {
                self.retag(step, span, "phase", &ACT);
            }
        }
    }

    /// The values of the columns of tables.
    fn retag_columns(&mut self, tables: Option<&mut Value<'_>>, top: &str) {
        for (_, table) in tables_in(tables) {
            for (span, column) in tables_in(table.get_mut("columns")) {
                self.retag(column, span, top, &VALUES);
            }
        }
    }

    /// Rewrites `{ kind = "x", … }` under `what.key` into `{ x = { … } }`; takes it out if it has no kind.
    fn retag(&mut self, table: &mut DeTable<'_>, table_span: Range<usize>, top: &str, what: &Tagged) {
        self.retag_at(table, table_span, top, what.key, what);
    }

    /// The same, of a table that a person named.
    fn retag_at(&mut self, table: &mut DeTable<'_>, table_span: Range<usize>, top: &str, key: &str, what: &Tagged) {
        let Some(value) = table.get_mut(key) else { return };
        let span = value.span();
        let wrong = match value.get_mut() {
            DeValue::Table(inner) => match inner.remove("kind") {
                None => Some((span.clone(), format!("`{key}` has no `kind`"))),
                Some(kind) => match kind.get_ref() {
                    DeValue::String(name) => {
                        let inside = Spanned::new(span, DeValue::Table(std::mem::replace(inner, DeTable::new())));
                        inner.insert(Spanned::new(kind.span(), name.clone()), inside);
                        return;
                    }
                    _ => Some((kind.span(), "`kind` is no string".to_owned())),
                },
            },
            _ => Some((span.clone(), format!("`{key}` is no table with a `kind`"))),
        };
        let Some((span, message)) = wrong else { return };
        let hint = format!("write `{}`; the kinds are {}", what.example, what.kinds);
        self.findings.push(Located { span, path: None, message, hint: Some(hint) });
        self.damaged.insert(top.to_owned());
        self.taken.push((table_span, key.to_owned()));
        table.remove(key);
    }

    /// Reads, and takes out what does not read, until all of the rest does.
    fn read<T: DeserializeOwned>(&mut self, mut tree: DeTable<'_>) -> Option<T> {
        loop {
            let whole = Spanned::new(WHOLE, DeValue::Table(tree.clone()));
            let error = match T::deserialize(ValueDeserializer::from(whole)) {
                Ok(scenario) => return Some(scenario),
                Err(error) => error,
            };
            let at = error.span().unwrap_or(WHOLE);
            let missing = quoted_after(error.message(), "missing field ").filter(|_| at == WHOLE);
            if let Some(missing) = missing {
                self.note_missing(missing, &WHOLE);
                let nowhere = usize::MAX..usize::MAX;
                let key = Spanned::new(nowhere.clone(), Cow::Owned(missing.to_owned()));
                tree.insert(key, Spanned::new(nowhere, stand_in(missing)));
                self.damaged.insert(missing.to_owned());
                continue;
            }
            self.note(error.message(), &at, &tree);
            if !self.take_out(&mut tree, &at) {
                return None;
            }
        }
    }

    fn note_missing(&mut self, missing: &str, table: &Range<usize>) {
        if self.taken.iter().any(|(span, key)| span == table && key == missing) {
            return;
        }
        let example = EXAMPLES.iter().find(|(key, _)| *key == missing).map(|(_, example)| *example);
        self.findings.push(Located {
            span: table.clone(),
            path: None,
            message: format!("`{missing}` is missing"),
            hint: example.map(|example| format!("add `{example}`")),
        });
    }

    fn note(&mut self, message: &str, at: &Range<usize>, tree: &DeTable<'_>) {
        if let Some(missing) = quoted_after(message, "missing field ") {
            return self.note_missing(missing, at);
        }
        let (message, hint) = reword(message, is_tag(tree, at));
        self.findings.push(Located { span: at.clone(), path: None, message, hint });
    }

    /// Takes out what stands at `at`; whether something did.
    fn take_out(&mut self, tree: &mut DeTable<'_>, at: &Range<usize>) -> bool {
        let Some(removed) = remove(tree, WHOLE, at, &mut self.taken) else { return false };
        self.damaged.insert(removed.key);
        true
    }
}

/// The tables in a table, with their places.
fn tables_in<'a, 't>(value: Option<&'a mut Value<'t>>) -> impl Iterator<Item = (Range<usize>, &'a mut DeTable<'t>)> {
    let table = match value.map(Spanned::get_mut) {
        Some(DeValue::Table(table)) => Some(table),
        _ => None,
    };
    table.into_iter().flat_map(|table| table.iter_mut()).filter_map(|(_, value)| {
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(inner) => Some((span, inner)),
            _ => None,
        }
    })
}

/// The table at `key` in a table, with its place.
fn table_in<'a, 't>(table: &'a mut DeTable<'t>, key: &str) -> Option<(Range<usize>, &'a mut DeTable<'t>)> {
    let value = table.get_mut(key)?;
    let span = value.span();
    match value.get_mut() {
        DeValue::Table(inner) => Some((span, inner)),
        _ => None,
    }
}

/// What [`remove`] took out.
struct Removed {
    /// The key of the table it was given, under which it was found.
    key: String,
    /// Where the value stands that was taken out last.
    span: Range<usize>,
}

/// Removes what stands at `at`. A rewritten table goes with its content, which stands at the same place.
fn remove(
    table: &mut DeTable<'_>,
    span: Range<usize>,
    at: &Range<usize>,
    taken: &mut Vec<(Range<usize>, String)>,
) -> Option<Removed> {
    let found = table.iter_mut().find_map(|(key, value)| {
        // A list of tables stands where its first table does, so what is deepest is looked for first.
        let below = remove_below(value, at, taken);
        let whole = match &below {
            Some(gone) => is_empty(value) && *gone == value.span(),
            None if key.span() == *at || value.span() == *at => true,
            None => return None,
        };
        let span = if whole { value.span() } else { below? };
        Some((Removed { key: key.get_ref().to_string(), span }, whole))
    });
    let (removed, whole) = found?;
    if whole {
        table.remove(removed.key.as_str());
        taken.push((span, removed.key.clone()));
    }
    Some(removed)
}

/// Removes what stands at `at` below `value`; gives where that which was taken out stands.
fn remove_below(
    value: &mut Value<'_>,
    at: &Range<usize>,
    taken: &mut Vec<(Range<usize>, String)>,
) -> Option<Range<usize>> {
    let span = value.span();
    match value.get_mut() {
        DeValue::Table(table) => remove(table, span, at, taken).map(|removed| removed.span),
        DeValue::Array(entries) => {
            if let Some(gone) = entries.iter_mut().find_map(|entry| remove_below(entry, at, taken)) {
                return Some(gone);
            }
            let index = entries.iter().position(|entry| entry.span() == *at)?;
            without(entries, index);
            Some(at.clone())
        }
        _ => None,
    }
}

fn is_empty(value: &Value<'_>) -> bool {
    matches!(value.get_ref(), DeValue::Table(table) if table.is_empty())
}

/// Whether `at` is a `kind`'s place: the only key of its table, and not where its value begins.
fn is_tag(table: &DeTable<'_>, at: &Range<usize>) -> bool {
    table.iter().any(|(_, value)| match value.get_ref() {
        DeValue::Table(inner) => tag_of(value, inner).is_some_and(|tag| tag == *at) || is_tag(inner, at),
        DeValue::Array(entries) => {
            entries.iter().any(|entry| entry.get_ref().as_table().is_some_and(|table| is_tag(table, at)))
        }
        _ => false,
    })
}

/// The place of a rewritten table's kind: its one key, whose value stands where the table itself does.
fn tag_of(value: &Value<'_>, inner: &DeTable<'_>) -> Option<Range<usize>> {
    let (key, content) = inner.iter().next()?;
    (inner.len() == 1 && content.span() == value.span()).then(|| key.span())
}

/// What stands in for a top-level key that is missing, so that the rest can be read.
fn stand_in(key: &str) -> DeValue<'static> {
    match key {
        "node" | "tables" => DeValue::Table(DeTable::new()),
        "phase" => DeValue::Array(DeArray::new()),
        _ => DeValue::String(Cow::Borrowed("")),
    }
}

/// serde's words in ours, and what would be right.
fn reword(message: &str, is_kind: bool) -> (String, Option<String>) {
    if let Some(field) = quoted_after(message, "unknown field ") {
        let known = expected(message);
        let hint = match did_you_mean(field, known.iter().copied()) {
            Some(hint) if hint.starts_with("did") => Some(hint),
            _ if known.is_empty() => Some("nothing can be set here".to_owned()),
            _ => Some(format!("known here: {}", list(known))),
        };
        return (format!("unknown key `{field}`"), hint);
    }
    if let Some(variant) = quoted_after(message, "unknown variant ") {
        let known = expected(message);
        let what = if is_kind { "kind" } else { "value" };
        let hint = match did_you_mean(variant, known.iter().copied()) {
            Some(hint) if hint.starts_with("did") => format!("{hint} it can be {}", list(known)),
            _ => format!("it can be {}", list(known)),
        };
        return (format!("unknown {what} `{variant}`"), Some(hint));
    }
    for (start, what) in [("invalid type: ", "wrong type"), ("invalid value: ", "wrong value")] {
        if let Some((found, wanted)) = message.strip_prefix(start).and_then(|rest| rest.rsplit_once(", expected ")) {
            return (format!("{what}: {}", plain_found(found)), Some(format!("this must be {}", plain_wanted(wanted))));
        }
    }
    if let Some((found, wanted)) =
        message.strip_prefix("invalid length ").and_then(|rest| rest.split_once(", expected "))
    {
        let wanted = wanted.rsplit(' ').next().unwrap_or(wanted);
        return (format!("a list of {found}"), Some(format!("this must be a list of {wanted}")));
    }
    match message.split_once("; ") {
        Some((what, hint)) => (what.to_owned(), Some(hint.to_owned())),
        None => (message.to_owned(), None),
    }
}

fn plain_found(found: &str) -> String {
    match found {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        _ => found
            .replace("string ", "the string ")
            .replace("integer ", "the integer ")
            .replace("floating point ", "the number "),
    }
}

fn plain_wanted(wanted: &str) -> &str {
    match wanted {
        "u32" | "u64" => "a whole number, 0 or more",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a map" => "a table",
        "a sequence" => "a list",
        _ if wanted.starts_with("struct ") || wanted.starts_with("enum ") => "a table",
        _ => wanted,
    }
}

/// The first word in backticks after `start`.
fn quoted_after<'m>(message: &'m str, start: &str) -> Option<&'m str> {
    message.strip_prefix(start)?.strip_prefix('`')?.split('`').next()
}

/// The words in backticks after `expected`.
fn expected(message: &str) -> Vec<&str> {
    let wanted = message.rsplit_once(", expected ").map_or("", |(_, wanted)| wanted);
    wanted.split('`').skip(1).step_by(2).collect()
}
