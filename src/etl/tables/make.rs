//! Makes the fields of a column.

use super::shape::{self, Scalar, Shape, Values};
use crate::etl::chunk::Chunk;
use crate::etl::random::{Draws, Scatter, Stream, Weighted, Zipf};
use crate::etl::table::ColumnType;
use jiff::Timestamp;
use jiff::civil::Date;

/// PostgreSQL counts days and microseconds from here.
const EPOCH: Date = jiff::civil::date(2000, 1, 1);
const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz";
/// A day in microseconds.
const DAY: i64 = 86_400_000_000;

/// Makes the fields of a column.
#[derive(Debug)]
pub(super) struct Maker {
    of: ColumnType,
    values: Stream,
    is_null: Stream,
    nulls: f64,
    rule: Rule,
    text: String,
}

/// How a value comes about. Dates count in days, times in microseconds.
#[derive(Debug)]
enum Rule {
    Sequence(shape::Sequence),
    Whole { min: i64, span: u64 },
    Rising { min: i64, span: u64, rows: u64 },
    Real { min: f64, span: f64 },
    Zipf { zipf: Zipf, start: i64 },
    Gaussian(shape::Gaussian),
    Choice(Weighted, Vec<Field>),
    Letters { min: u32, max: u32, letters: Vec<char> },
    Words { min: u32, max: u32, words: Vec<String> },
    Reference(Pick, shape::Sequence),
}

/// Which row of another table is meant.
#[derive(Debug)]
enum Pick {
    Any(u64),
    Zipf(Zipf, Scatter),
    Sequence(shape::Sequence, u64),
}

/// A value.
#[derive(Clone, Debug)]
enum Field {
    Whole(i64),
    Real(f64),
    Text(String),
}

impl Maker {
    pub fn new(shape: &Shape, table: &str, column: &str, what: &shape::Column) -> Maker {
        let place = format!("{table}.{column}");
        let rows = shape.tables.get(table).map_or(0, |table| table.rows);
        Maker {
            of: what.of.0,
            values: Stream::named(shape.seed, &place),
            is_null: Stream::named(shape.seed, &format!("{place} null")),
            nulls: what.nulls,
            rule: reference(shape, what).unwrap_or_else(|| rule(what, rows)),
            text: String::new(),
        }
    }

    /// Appends the field of a row.
    pub fn field(&mut self, row: u64, chunk: &mut Chunk) {
        if self.nulls > 0.0 && self.is_null.at(row).chance(self.nulls) {
            return chunk.null();
        }
        let mut draws = self.values.at(row);
        match &self.rule {
            Rule::Sequence(sequence) => whole(self.of, sequence.at(row), chunk),
            Rule::Whole { min, span } => whole(self.of, above(*min, below(&mut draws, *span)), chunk),
            Rule::Rising { min, span, rows } => {
                let (row, rows, span) = (u128::from(row), u128::from(*rows), u128::from(*span) + 1);
                let (from, to) = (row * span / rows, (row + 1) * span / rows);
                let within = u128::from(draws.below((to - from).max(1).min(u128::from(u64::MAX)) as u64));
                whole(self.of, above(*min, (from + within) as u64), chunk);
            }
            Rule::Real { min, span } => real(self.of, min + span * draws.unit(), chunk),
            Rule::Zipf { zipf, start } => whole(self.of, above(*start, zipf.rank(&mut draws) - 1), chunk),
            Rule::Gaussian(normal) => {
                let value = normal.mean + normal.deviation * draws.normal();
                real(self.of, value.max(normal.min.unwrap_or(value)).min(normal.max.unwrap_or(f64::INFINITY)), chunk);
            }
            Rule::Choice(weights, fields) => match &fields[weights.pick(&mut draws)] {
                Field::Whole(value) => whole(self.of, *value, chunk),
                Field::Real(value) => real(self.of, *value, chunk),
                Field::Text(text) => chunk.text(text),
            },
            Rule::Letters { min, max, letters } => {
                self.text.clear();
                for _ in 0..length(*min, *max, &mut draws) {
                    self.text.push(letters[draws.below(letters.len() as u64) as usize]);
                }
                chunk.text(&self.text);
            }
            Rule::Words { min, max, words } => {
                self.text.clear();
                for n in 0..length(*min, *max, &mut draws) {
                    self.text.push_str(if n == 0 { "" } else { " " });
                    self.text.push_str(&words[draws.below(words.len() as u64) as usize]);
                }
                chunk.text(&self.text);
            }
            Rule::Reference(pick, to) => whole(self.of, to.at(pick.row(row, &mut draws)), chunk),
        }
    }
}

impl shape::Sequence {
    /// The number of a row; `check` holds that it is one.
    pub(super) fn at(&self, row: u64) -> i64 {
        let nth = row / self.each.max(1);
        let nth = self.cycle.map_or(nth, |cycle| nth % cycle.max(1));
        self.start.wrapping_add(self.step.wrapping_mul(nth as i64))
    }
}

impl Pick {
    fn row(&self, row: u64, draws: &mut Draws) -> u64 {
        match self {
            Pick::Any(rows) => draws.below(*rows),
            // Who is often meant does not stand at the beginning of the other table.
            Pick::Zipf(zipf, scatter) => scatter.place(zipf.rank(draws) - 1),
            Pick::Sequence(sequence, rows) => sequence.at(row).rem_euclid(*rows as i64) as u64,
        }
    }
}

fn reference(shape: &Shape, what: &shape::Column) -> Option<Rule> {
    let (table, column) = what.references.as_deref()?.split_once('.')?;
    let to = shape.tables.get(table)?;
    let Some(Values::Sequence(sequence)) = &to.columns.get(column)?.values else { return None };
    let pick = match &what.values {
        Some(Values::Zipf(zipf)) => Pick::Zipf(Zipf::new(to.rows, zipf.exponent), Scatter::new(to.rows)),
        Some(Values::Sequence(own)) => Pick::Sequence(shape::Sequence { start: own.start - 1, ..own.clone() }, to.rows),
        _ => Pick::Any(to.rows),
    };
    Some(Rule::Reference(pick, sequence.clone()))
}

fn rule(what: &shape::Column, rows: u64) -> Rule {
    let of = what.of.0;
    match &what.values {
        None => Rule::Sequence(shape::Sequence::default()),
        Some(Values::Sequence(sequence)) => Rule::Sequence(sequence.clone()),
        Some(Values::Uniform(range)) => uniform(of, range, rows),
        Some(Values::Zipf(zipf)) => {
            Rule::Zipf { zipf: Zipf::new(zipf.distinct.unwrap_or(1), zipf.exponent), start: zipf.start }
        }
        Some(Values::Gaussian(normal)) => Rule::Gaussian(normal.clone()),
        Some(Values::Choice(choice)) => {
            let fields = choice.weights.keys().filter_map(|text| field(of, text));
            Rule::Choice(Weighted::new(choice.weights.values().copied()), fields.collect())
        }
        Some(Values::Text(text)) if !text.words.is_empty() => {
            Rule::Words { min: text.min, max: text.max, words: text.words.clone() }
        }
        Some(Values::Text(text)) => {
            let letters = text.alphabet.as_deref().unwrap_or(ALPHABET).chars().collect();
            Rule::Letters { min: text.min, max: text.max, letters }
        }
    }
}

fn uniform(of: ColumnType, range: &shape::Uniform, rows: u64) -> Rule {
    if matches!(of, ColumnType::Float4 | ColumnType::Float8) {
        let [min, max] = [&range.min, &range.max].map(|scalar| scalar.as_ref().and_then(as_real).unwrap_or(0.0));
        return Rule::Real { min, span: max - min };
    }
    let [min, max] = [&range.min, &range.max].map(|scalar| scalar.as_ref().and_then(|s| as_whole(of, s)).unwrap_or(0));
    let span = max.wrapping_sub(min).cast_unsigned();
    if range.rising { Rule::Rising { min, span, rows: rows.max(1) } } else { Rule::Whole { min, span } }
}

/// As a number.
pub(super) fn as_real(scalar: &Scalar) -> Option<f64> {
    match scalar {
        Scalar::Whole(value) => Some(*value as f64),
        Scalar::Real(value) => Some(*value),
        Scalar::Text(_) => None,
    }
}

/// As a whole number, days or microseconds, if the type's values are such.
pub(super) fn as_whole(of: ColumnType, scalar: &Scalar) -> Option<i64> {
    match (of, scalar) {
        (ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8, Scalar::Whole(value)) => Some(*value),
        (ColumnType::Date | ColumnType::Timestamptz, Scalar::Text(text)) => match field(of, text)? {
            Field::Whole(value) => Some(value),
            _ => None,
        },
        _ => None,
    }
}

/// The value that a text is, in this type.
fn field(of: ColumnType, text: &str) -> Option<Field> {
    let days = |date: Date| i64::from(EPOCH.until(date).ok()?.get_days()).into();
    match of {
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => text.parse().ok().map(Field::Whole),
        ColumnType::Float4 | ColumnType::Float8 => text.parse().ok().map(Field::Real),
        ColumnType::Bool => match text {
            "true" => Some(Field::Whole(1)),
            "false" => Some(Field::Whole(0)),
            _ => None,
        },
        ColumnType::Date => text.parse().ok().and_then(days).map(Field::Whole),
        ColumnType::Timestamptz => {
            let midnight = text.parse::<Date>().ok().and_then(days).map(|days: i64| days * DAY);
            let instant = || Some(text.parse::<Timestamp>().ok()?.as_microsecond() - 10_957 * DAY);
            midnight.or_else(instant).map(Field::Whole)
        }
        _ => Some(Field::Text(text.to_owned())),
    }
}

/// Whether a text is a value of this type.
pub(super) fn reads(of: ColumnType, text: &str) -> bool {
    match field(of, text) {
        Some(Field::Whole(value)) => fits(of, value),
        Some(Field::Real(value)) => value.is_finite(),
        Some(Field::Text(text)) => {
            !text.contains('\0') && !matches!(of, ColumnType::Char(n) if text.chars().count() > n as usize)
        }
        None => false,
    }
}

/// Whether a whole number is a value of this type.
pub(super) fn fits(of: ColumnType, value: i64) -> bool {
    match of {
        ColumnType::Int2 => i16::try_from(value).is_ok(),
        ColumnType::Int4 | ColumnType::Date => i32::try_from(value).is_ok(),
        _ => true,
    }
}

fn below(draws: &mut Draws, span: u64) -> u64 {
    match span.checked_add(1) {
        Some(end) => draws.below(end),
        None => draws.bits(),
    }
}

fn above(min: i64, by: u64) -> i64 {
    min.wrapping_add(by as i64)
}

fn length(min: u32, max: u32, draws: &mut Draws) -> u64 {
    u64::from(min) + draws.below(u64::from(max - min) + 1)
}

/// A whole number, as the type has it.
fn whole(of: ColumnType, value: i64, chunk: &mut Chunk) {
    match of {
        ColumnType::Int2 => chunk.int2(value as i16),
        ColumnType::Int4 | ColumnType::Date => chunk.int4(value as i32),
        ColumnType::Int8 | ColumnType::Timestamptz => chunk.int8(value),
        ColumnType::Float4 => chunk.float4(value as f32),
        ColumnType::Float8 => chunk.float8(value as f64),
        ColumnType::Bool => chunk.bool(value != 0),
        _ => chunk.text(&value.to_string()),
    }
}

/// A number, rounded where the type has whole ones; what is beyond its ends becomes the end.
fn real(of: ColumnType, value: f64, chunk: &mut Chunk) {
    match of {
        ColumnType::Float4 => chunk.float4(value as f32),
        ColumnType::Float8 => chunk.float8(value),
        ColumnType::Int2 => chunk.int2(value.round() as i16),
        ColumnType::Int4 => chunk.int4(value.round() as i32),
        _ => whole(of, value.round() as i64, chunk),
    }
}
