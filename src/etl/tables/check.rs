//! What cannot mean what it says in the shape of tables. Pure; where a thing stands in the text is found from its path.

use super::make::{as_real, as_whole, fits, reads};
use super::shape::{Choice, Column, Gaussian, Scalar, Sequence, Shape, Table, Text, Uniform, Values, Zipf};
use crate::etl::table::ColumnType;

/// Something wrong at a path below `tables`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Names from the table's on, such as `orders`, `columns`, `id`.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

/// Longest text that is made: a row must fit into a page's worth of out-of-line storage, and nobody needs longer ones here.
const LONGEST: u32 = 1_000_000;

/// All that is wrong.
pub fn check(shape: &Shape) -> Vec<Wrong> {
    let mut all = Vec::new();
    for (name, table) in &shape.tables {
        let mut found = Found { at: vec![name.clone()], all: &mut all };
        one_table(shape, table, &mut found);
    }
    all
}

struct Found<'a> {
    at: Vec<String>,
    all: &'a mut Vec<Wrong>,
}

impl Found<'_> {
    fn at(&mut self, below: &[&str], message: impl Into<String>, hint: impl Into<String>) {
        let path = self.at.iter().cloned().chain(below.iter().map(|name| (*name).to_owned())).collect();
        self.all.push(Wrong { path, message: message.into(), hint: hint.into() });
    }
}

fn one_table(shape: &Shape, table: &Table, found: &mut Found<'_>) {
    if table.columns.is_empty() || table.columns.len() > 1600 {
        let message = format!("a table with {} columns", table.columns.len());
        found.at(&["columns"], message, "PostgreSQL has tables of 1 to 1600 columns");
    }
    if i64::try_from(table.rows).is_err() {
        found.at(&["rows"], "too many rows", "write fewer");
    }
    for (name, columns) in &table.indexes {
        known(table, columns, &["indexes", name], found);
        if columns.is_empty() {
            found.at(&["indexes", name], "an index on no column", "name its columns, such as `[\"customer_id\"]`");
        }
    }
    known(table, &table.primary_key, &["primary_key"], found);
    if !table.primary_key.is_empty() && !is_unique(shape, table) {
        let hint = "let one of its columns be a plain sequence, or one a sequence with `each = n` and another with `cycle = n`";
        found.at(&["primary_key"], "rows of this primary key are not all different", hint);
    }
    for (name, column) in &table.columns {
        let mut found = Found { at: [found.at.as_slice(), &["columns".into(), name.clone()]].concat(), all: found.all };
        one_column(shape, table, name, column, &mut found);
    }
}

/// Columns that are named are there.
fn known(table: &Table, columns: &[String], path: &[&str], found: &mut Found<'_>) {
    for column in columns.iter().filter(|column| !table.columns.contains_key(*column)) {
        let there: Vec<&str> = table.columns.keys().map(String::as_str).collect();
        found.at(path, format!("there is no column `{column}`"), format!("there is {}", there.join(", ")));
    }
}

/// Whether sequences of the primary key make its rows different. One that goes through another table's rows must not begin
/// again.
fn is_unique(shape: &Shape, table: &Table) -> bool {
    let goes_round = |column: &Column, sequence: &Sequence| {
        let to = column.references.as_deref().and_then(|to| shape.tables.get(to.split_once('.')?.0));
        let last = (sequence.start.max(1) as u64 - 1).saturating_add(table.rows.div_ceil(sequence.each.max(1)));
        to.is_some_and(|to| sequence.step != 1 || (sequence.cycle.is_none() && last > to.rows))
    };
    let sequences = || {
        let columns = table.primary_key.iter().filter_map(|column| table.columns.get(column));
        columns.filter_map(|column| match &column.values {
            Some(Values::Sequence(sequence)) if sequence.step != 0 && !goes_round(column, sequence) => Some(sequence),
            _ => None,
        })
    };
    let each = sequences().filter(|sequence| sequence.cycle.is_none()).map(|sequence| sequence.each).min();
    let cycle = sequences().filter(|sequence| sequence.each == 1).filter_map(|sequence| sequence.cycle).max();
    each.is_some_and(|each| each <= cycle.unwrap_or(1))
}

fn one_column(shape: &Shape, table: &Table, name: &str, column: &Column, found: &mut Found<'_>) {
    if !(0.0..=1.0).contains(&column.nulls) {
        found.at(&["nulls"], format!("{} is no share", column.nulls), "write a number from 0 to 1");
    } else if column.nulls > 0.0 && table.primary_key.iter().any(|key| key == name) {
        found.at(&["nulls"], "a column of the primary key has no nulls", "leave it out");
    }
    match (&column.references, &column.values) {
        (Some(to), values) => reference(shape, to, column, values.as_ref(), found),
        (None, None) => {
            let hint = "add `values = { kind = \"…\" }`, with sequence, uniform, zipf, gaussian, choice or text";
            found.at(&[], "nothing says what its values are", hint);
        }
        (None, Some(values)) => one_rule(column.of.0, table.rows, values, found),
    }
}

fn reference(shape: &Shape, to: &str, column: &Column, values: Option<&Values>, found: &mut Found<'_>) {
    let hint = "write `table.column` of a sequence that is the other table's primary key";
    let target = to.split_once('.').and_then(|(table, key)| {
        let table = shape.tables.get(table)?;
        Some((table, key, table.columns.get(key)?))
    });
    let Some((table, key, target)) = target else {
        return found.at(&["references"], format!("there is no column `{to}`"), hint);
    };
    let is_plain = matches!(&target.values, Some(Values::Sequence(of)) if of.each == 1 && of.cycle.is_none());
    if table.primary_key != [key] || !is_plain || target.references.is_some() {
        found.at(&["references"], format!("`{to}` is not a sequence that alone is its table's primary key"), hint);
    }
    if target.of != column.of {
        let message = format!("{} refers to {}", column.of.0.sql(), target.of.0.sql());
        found.at(&["type"], message, "give both the same type");
    }
    if table.rows == 0 {
        found.at(&["references"], format!("`{to}` has no row to refer to"), "give its table rows");
    }
    match values {
        None | Some(Values::Uniform(Uniform { min: None, max: None, rising: false })) => {}
        Some(Values::Zipf(zipf)) => {
            exponent(zipf, found);
            if zipf.distinct.is_some() || zipf.start != 0 {
                found.at(&["values"], "a reference goes to the other table's rows", "leave `distinct` and `start` out");
            }
        }
        Some(Values::Sequence(sequence)) => {
            whole_sequence(sequence, found);
            if sequence.start < 1 {
                found.at(&["values", "start"], "rows of the other table count from 1", "write 1 or more");
            }
        }
        Some(_) => {
            let hint = "write `uniform` without ends, `zipf` or `sequence`, or leave it out";
            found.at(&["values"], "a reference cannot be distributed like this", hint);
        }
    }
}

const WHOLE: [ColumnType; 3] = [ColumnType::Int2, ColumnType::Int4, ColumnType::Int8];
const REAL: [ColumnType; 2] = [ColumnType::Float4, ColumnType::Float8];
const TIME: [ColumnType; 2] = [ColumnType::Date, ColumnType::Timestamptz];

fn one_rule(of: ColumnType, rows: u64, values: &Values, found: &mut Found<'_>) {
    let is_text = matches!(of, ColumnType::Text | ColumnType::Char(_));
    let (whole, real, time) = (WHOLE.contains(&of), REAL.contains(&of), TIME.contains(&of));
    let (kind, fits) = match values {
        Values::Sequence(_) => ("sequence", whole),
        Values::Zipf(_) => ("zipf", whole),
        Values::Gaussian(_) => ("gaussian", whole || real),
        Values::Uniform(_) => ("uniform", whole || real || time),
        Values::Text(_) => ("text", is_text),
        Values::Choice(_) => ("choice", true),
    };
    if !fits {
        let hint = match kind {
            "sequence" | "zipf" => "they are whole numbers: smallint, integer or bigint",
            "gaussian" => "they are numbers",
            "uniform" => "they are numbers, dates or times; text is `text` or `choice`, boolean `choice`",
            _ => "the type is text or char(n)",
        };
        return found.at(&["values"], format!("`{kind}` makes no values of type {}", of.sql()), hint);
    }
    match values {
        Values::Sequence(sequence) => numbers(of, rows, sequence, found),
        Values::Zipf(zipf) => ranks(of, zipf, found),
        Values::Gaussian(normal) => gaussian(normal, found),
        Values::Uniform(range) => uniform(of, range, found),
        Values::Text(text) => letters(of, text, found),
        Values::Choice(choice) => weights(of, choice, found),
    }
}

fn whole_sequence(sequence: &Sequence, found: &mut Found<'_>) {
    if sequence.each == 0 || sequence.cycle == Some(0) {
        found.at(&["values"], "`each` and `cycle` are at least 1", "write 1 or more, or leave it out");
    }
}

fn numbers(of: ColumnType, rows: u64, sequence: &Sequence, found: &mut Found<'_>) {
    whole_sequence(sequence, found);
    let last = rows.saturating_sub(1) / sequence.each.max(1);
    let last = i128::from(sequence.cycle.map_or(last, |cycle| last.min(cycle.saturating_sub(1))));
    let last = i128::from(sequence.start) + i128::from(sequence.step) * last;
    if !i64::try_from(last).is_ok_and(|last| fits(of, last)) || !fits(of, sequence.start) {
        let message = format!("it goes from {} to {last}, beyond {}", sequence.start, of.sql());
        found.at(&["values"], message, "write a larger type");
    }
}

fn exponent(zipf: &Zipf, found: &mut Found<'_>) {
    if !(zipf.exponent.is_finite() && zipf.exponent > 0.0) {
        let message = format!("{} is no exponent", zipf.exponent);
        found.at(&["values", "exponent"], message, "write a number above 0; 1 is Zipf's own");
    }
}

fn ranks(of: ColumnType, zipf: &Zipf, found: &mut Found<'_>) {
    exponent(zipf, found);
    let Some(distinct) = zipf.distinct.filter(|distinct| *distinct > 0) else {
        let hint = "add `distinct = 1000`";
        return found.at(&["values"], "nothing says how many different values there are", hint);
    };
    let last = i128::from(zipf.start) + i128::from(distinct) - 1;
    if !i64::try_from(last).is_ok_and(|last| fits(of, last)) || !fits(of, zipf.start) {
        let message = format!("it goes from {} to {last}, beyond {}", zipf.start, of.sql());
        found.at(&["values"], message, "write a larger type");
    }
}

fn gaussian(normal: &Gaussian, found: &mut Found<'_>) {
    if !(normal.mean.is_finite() && normal.deviation.is_finite() && normal.deviation >= 0.0) {
        found.at(&["values"], "mean and deviation are numbers, the deviation not below 0", "write such numbers");
    }
    if let (Some(min), Some(max)) = (normal.min, normal.max)
        && min > max
    {
        found.at(&["values"], format!("nothing lies from {min} to {max}"), "let `min` be the lesser one");
    }
}

fn uniform(of: ColumnType, range: &Uniform, found: &mut Found<'_>) {
    let (Some(min), Some(max)) = (&range.min, &range.max) else {
        return found.at(&["values"], "a range has two ends", "add `min` and `max`");
    };
    let is_real = REAL.contains(&of);
    if is_real && range.rising {
        found.at(&["values", "rising"], "only whole numbers, dates and times rise", "leave it out");
    }
    let mut ends = [0.0; 2];
    for ((scalar, key), end) in [(min, "min"), (max, "max")].into_iter().zip(&mut ends) {
        let value =
            if is_real { as_real(scalar) } else { as_whole(of, scalar).filter(|v| fits(of, *v)).map(|v| v as f64) };
        match value.filter(|value| value.is_finite()) {
            Some(value) => *end = value,
            None => {
                let hint =
                    if TIME.contains(&of) { "write it as \"2024-01-31\"" } else { "write a number of that type" };
                found.at(&["values", key], format!("{} is no {}", shown(scalar), of.sql()), hint);
                return;
            }
        }
    }
    if ends[0] > ends[1] {
        let message = format!("nothing lies from {} to {}", shown(min), shown(max));
        found.at(&["values"], message, "let `min` be the lesser one");
    }
}

fn shown(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Whole(value) => value.to_string(),
        Scalar::Real(value) => value.to_string(),
        Scalar::Text(text) => format!("`{text}`"),
    }
}

fn letters(of: ColumnType, text: &Text, found: &mut Found<'_>) {
    if text.min > text.max || text.max > LONGEST {
        let message = format!("no text has from {} to {}", text.min, text.max);
        found.at(&["values"], message, format!("let `min` be the lesser one, and `max` at most {LONGEST}"));
    }
    let alphabet = text.alphabet.as_deref();
    if alphabet.is_some_and(|letters| letters.is_empty() || letters.contains('\0')) {
        found.at(&["values", "alphabet"], "there are no letters in it, or one that text cannot have", "write letters");
    }
    if text.words.iter().any(|word| word.contains('\0')) {
        found.at(&["values", "words"], "text has no character 0", "leave it out");
    }
    if alphabet.is_some() && !text.words.is_empty() {
        found.at(&["values"], "it is of letters or of words", "leave `alphabet` or `words` out");
    }
    let word = text.words.iter().map(|word| word.chars().count() as u64 + 1).max().unwrap_or(1);
    let longest = u64::from(text.max) * word;
    if let ColumnType::Char(n) = of
        && longest > u64::from(n) + u64::from(word > 1)
    {
        found.at(&["values", "max"], format!("it does not fit into {}", of.sql()), "write less, or `text`");
    }
}

fn weights(of: ColumnType, choice: &Choice, found: &mut Found<'_>) {
    if choice.weights.values().any(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        found.at(&["values", "weights"], "weights are numbers, 0 or more", "write such numbers");
    } else if choice.weights.values().sum::<f64>() <= 0.0 {
        found.at(&["values", "weights"], "no value has a weight", "give at least one value a weight above 0");
    }
    for value in choice.weights.keys().filter(|value| !reads(of, value)) {
        found.at(&["values", "weights", value], format!("`{value}` is no {}", of.sql()), "write it as SQL reads it");
    }
}
