//! From text to variants that are known to mean something.

use super::Scenario;
use super::axes::{axes, combine, overruled};
use super::check::{self, Finding, Part};
use super::error::{Located, ScenarioErrors};
use super::path::{Patch, join, place, split};
use super::shape::{Shaped, shape};
use super::source::{FLAG, Piece, Source};
use std::borrow::Cow;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A scenario without a fault: as written, and once for each variant.
#[derive(Clone, Debug)]
pub struct Document {
    /// What the file and the `--set` arguments say.
    pub scenario: Scenario,
    /// Every combination of levels that is not skipped, in the order of the axes' levels; a single one
    /// without levels when nothing is varied.
    pub combinations: Vec<Combination>,
}

/// One combination of levels.
#[derive(Clone, Debug)]
pub struct Combination {
    /// Level by axis, in the order of the axes.
    pub levels: Vec<(String, String)>,
    /// What the levels set: path and value, as it would be typed after `--set`.
    pub patches: Vec<(String, String)>,
    /// The scenario with the levels in force, and without axes.
    pub scenario: Scenario,
}

/// Reads a scenario and judges it and all its variants.
///
/// # Errors
/// Everything that is wrong with it: its syntax; else the shape of each of its parts and, of the parts
/// that have the right shape, all that cannot mean what it says.
pub fn read(source: &Source) -> Result<Document, ScenarioErrors> {
    let pieces = source.pieces();
    let mut found = Vec::new();
    let mut sets = Vec::new();
    let document = parse(&pieces, &mut sets, &mut found).and_then(|tree| vary(tree, &sets, &mut found));
    match document {
        Some(document) if found.is_empty() => Ok(document),
        _ => Err(ScenarioErrors::new(&pieces, found)),
    }
}

/// The file's tree with the arguments laid over it; `None` if the file is no TOML.
pub(super) fn parse<'t>(
    pieces: &'t [Piece],
    sets: &mut Vec<Patch<'t>>,
    found: &mut Vec<Located>,
) -> Option<DeTable<'t>> {
    let (tree, errors) = DeTable::parse_recoverable(&pieces[0].text);
    let readable = errors.iter().all(|error| error.message() == DUPLICATE);
    found.extend(errors.iter().map(|error| syntax(error, 0, None)));
    let mut tree = tree.into_inner();
    for piece in &pieces[1..] {
        let patches = argument(piece).unwrap_or_else(|problem| {
            found.push(problem);
            Vec::new()
        });
        if readable {
            found.extend(patches.iter().filter_map(|patch| patch.clone().apply(&mut tree).err()));
        }
        sets.extend(patches);
    }
    readable.then_some(tree)
}

/// The one syntax error after which the rest of a file still means what it says.
const DUPLICATE: &str = "duplicate key";

fn syntax(error: &toml::de::Error, start: usize, path: Option<String>) -> Located {
    let span = error.span().map_or(0..0, |span| start + span.start..start + span.end);
    let hint = match error.message() {
        DUPLICATE => "a key stands once in its table; names of nodes, loads, steps and levels are keys too",
        message if message.contains("must be quoted") => "write it in quotes, such as \"4s\"",
        _ => "nothing else is judged until this is valid TOML",
    };
    Located { span, path, message: error.message().to_owned(), hint: Some(hint.to_owned()) }
}

/// Takes `--set path=value` apart. What is no TOML value is a bare string.
fn argument(piece: &Piece) -> Result<Vec<Patch<'_>>, Located> {
    let text = &piece.text[FLAG.len()..];
    let start = piece.start + FLAG.len();
    let wrong = |message: String| Located {
        span: start..start + text.len(),
        path: None,
        message,
        hint: Some("write `--set path=value`, such as `--set phase.kill.lasts=20s`".to_owned()),
    };
    let mut quoted = false;
    let equals = text.find(|c| {
        quoted ^= c == '"';
        c == '=' && !quoted
    });
    let equals = equals.ok_or_else(|| wrong(format!("`{text}` has no `=`")))?;
    let path = split(&text[..equals], start).ok_or_else(|| wrong(format!("`{}` is no path", &text[..equals])))?;
    let after = &text[equals + 1..];
    let at = start + equals + 1;
    let value = match DeValue::parse(after) {
        Ok(value) => shifted(value, at),
        Err(error) if after.trim_start().starts_with(['"', '\'', '[', '{']) => {
            let path = join(path.iter().map(|segment| segment.name.as_str()));
            return Err(syntax(&error, at, Some(path)));
        }
        Err(_) => Spanned::new(at..at + after.len(), DeValue::String(Cow::Borrowed(after))),
    };
    Ok(Patch::leaves(path, value))
}

/// The same value, standing `by` further on.
fn shifted(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let moved = |span: Range<usize>| span.start + by..span.end + by;
    let span = moved(value.span());
    let inner = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, value)| (Spanned::new(moved(key.span()), key.into_inner()), shifted(value, by)))
                .collect(),
        ),
        DeValue::Array(list) => DeValue::Array(list.into_iter().map(|entry| shifted(entry, by)).collect()),
        other => other,
    };
    Spanned::new(span, inner)
}

/// Reads the scenario itself and each of its variants.
fn vary<'t>(tree: DeTable<'t>, sets: &[Patch<'t>], found: &mut Vec<Located>) -> Option<Document> {
    let axes = axes(&tree, found);
    found.extend(sets.iter().filter_map(|set| overruled(set, &axes)));
    let base = shape(tree.clone());
    found.extend(base.findings.iter().cloned());
    let scenario = base.scenario?;
    let mut judged = check::design(&scenario, &base.damaged);
    let combinations = combine(&axes, &scenario.design, &mut judged);
    found.extend(judged.into_iter().map(|finding| locate(finding, &tree)));

    let mut bare = tree;
    bare.remove("vary");
    let mut findings = Repeated::default();
    let mut read = Vec::new();
    for levels in &combinations {
        let mut tree = bare.clone();
        let patches: Vec<_> = levels.iter().flat_map(|(axis, level)| axes[*axis].levels[*level].1.iter()).collect();
        found.extend(patches.iter().filter_map(|patch| (*patch).clone().apply(&mut tree).err()));
        let Shaped { scenario: varied, findings: misshapen, damaged } = shape(tree.clone());
        found.extend(misshapen.into_iter().filter(|finding| !base.findings.contains(finding)));
        let Some(varied) = varied else { continue };
        let damaged = damaged.union(&base.damaged).cloned().collect();
        findings.add(check::variant(&varied, &damaged).into_iter().map(|finding| locate(finding, &tree)));
        read.push(Combination {
            levels: levels
                .iter()
                .map(|(axis, level)| (axes[*axis].name.clone(), axes[*axis].levels[*level].0.clone()))
                .collect(),
            patches: patches.iter().map(|patch| (patch.name(), typed(patch.value.get_ref()))).collect(),
            scenario: varied,
        });
    }
    let unmeasured = check::unmeasured(&scenario, &read, &base.damaged);
    found.extend(unmeasured.into_iter().map(|finding| locate(finding, &bare)));
    found.extend(findings.named(&read));
    Some(Document { scenario, combinations: read })
}

pub(super) fn locate(finding: Finding, tree: &DeTable<'_>) -> Located {
    let place = place(tree, &finding.path);
    Located {
        span: if finding.part == Part::Key { place.key } else { place.value },
        path: Some(join(finding.path.iter().map(String::as_str))),
        message: finding.message,
        hint: finding.hint,
    }
}

/// A value as it would be typed after `--set`.
fn typed(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(at) => at.to_string(),
        DeValue::Array(list) => {
            format!("[{}]", list.iter().map(|entry| quoted(entry.get_ref())).collect::<Vec<_>>().join(", "))
        }
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| format!("{key} = {}", quoted(value.get_ref())));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()).to_string(),
        other => typed(other),
    }
}

/// What is found in variants, with how many and which.
#[derive(Default)]
struct Repeated {
    findings: Vec<(Located, Vec<usize>)>,
    variants: usize,
}

impl Repeated {
    fn add(&mut self, findings: impl Iterator<Item = Located>) {
        for finding in findings {
            match self.findings.iter_mut().find(|(known, _)| *known == finding) {
                Some((_, seen)) => seen.push(self.variants),
                None => self.findings.push((finding, vec![self.variants])),
            }
        }
        self.variants += 1;
    }

    /// The findings; what is not wrong in every variant says in which it is.
    fn named(self, variants: &[Combination]) -> Vec<Located> {
        let all = self.variants;
        let say = |(mut finding, seen): (Located, Vec<usize>)| {
            if seen.len() < all {
                let more = if seen.len() > 1 { format!(" and {} more", seen.len() - 1) } else { String::new() };
                finding.message += &format!(", in the variant {}{more}", variants[seen[0]].name());
            }
            finding
        };
        self.findings.into_iter().map(say).collect()
    }
}

impl Combination {
    /// Such as `commit=on,standbys=2`; `only` when nothing is varied.
    pub fn name(&self) -> String {
        match self.levels.as_slice() {
            [] => "only".to_owned(),
            levels => levels.iter().map(|(axis, level)| format!("{axis}={level}")).collect::<Vec<_>>().join(","),
        }
    }
}
