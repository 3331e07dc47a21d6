//! What a user writes of tables, as the file has it. Where a `kind` chooses, serde sees an externally tagged enum: whoever
//! reads the file rewrites `{ kind = "x", … }`, so that errors keep their places.

use crate::etl::table::ColumnType;
use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Tables, and the seed of everything in them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// The tables by name.
    pub tables: IndexMap<String, Table>,
}

/// `[tables.NAME]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// How many rows it has.
    pub rows: u64,
    /// Columns of its primary key; none: there is none.
    #[serde(default)]
    pub primary_key: Vec<String>,
    /// Its columns, in their order.
    pub columns: IndexMap<String, Column>,
    /// Further indexes: the columns of each.
    #[serde(default)]
    pub indexes: IndexMap<String, Vec<String>>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its type.
    #[serde(rename = "type")]
    pub of: TypeName,
    /// What its values are; of a reference, which row of the other table is meant.
    #[serde(default)]
    pub values: Option<Values>,
    /// `table.column` of another table, a sequence that is its primary key.
    #[serde(default)]
    pub references: Option<String>,
    /// Share of nulls, from 0 to 1.
    #[serde(default)]
    pub nulls: f64,
}

/// `values = { kind = … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// One number after the other.
    Sequence(Sequence),
    /// Any value of a range, all alike.
    Uniform(Uniform),
    /// Few values often, many seldom.
    Zipf(Zipf),
    /// Around a mean.
    Gaussian(Gaussian),
    /// One of a list, by weight.
    Choice(Choice),
    /// Letters or words.
    Text(Text),
}

/// `start + step · (row / each mod cycle)`, rows counted from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sequence {
    /// The first number.
    pub start: i64,
    /// From one to the next.
    pub step: i64,
    /// How many rows each number has.
    pub each: u64,
    /// After how many numbers it begins again; absent: never.
    pub cycle: Option<u64>,
}

impl Default for Sequence {
    fn default() -> Self {
        Sequence { start: 1, step: 1, each: 1, cycle: None }
    }
}

/// A range, both ends included. A reference has none: it means all rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Uniform {
    /// The least: a number, or a date or time such as `"2024-01-31"` and `"2024-01-31T12:00:00Z"`.
    pub min: Option<Scalar>,
    /// The greatest.
    pub max: Option<Scalar>,
    /// Whether values rise from row to row, as the times of a log do.
    pub rising: bool,
}

/// Rank `k` has a probability in proportion to `k^-exponent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zipf {
    /// Any above 0; the greater, the more uneven.
    pub exponent: f64,
    /// How many different values; of a reference absent: the other table's rows.
    #[serde(default)]
    pub distinct: Option<u64>,
    /// The most frequent value; the others follow it.
    #[serde(default)]
    pub start: i64,
}

/// The normal distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gaussian {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
    /// What is less becomes this.
    #[serde(default)]
    pub min: Option<f64>,
    /// What is greater becomes this.
    #[serde(default)]
    pub max: Option<f64>,
}

/// Values with weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Weight by value; the value is written as SQL reads it.
    pub weights: IndexMap<String, f64>,
}

/// Text of `min` to `max` letters, or as many words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// The shortest.
    pub min: u32,
    /// The longest.
    pub max: u32,
    /// Its letters; absent: a to z.
    #[serde(default)]
    pub alphabet: Option<String>,
    /// Words instead of letters, with a space between them.
    #[serde(default)]
    pub words: Vec<String>,
}

/// A number, or text that the column's type reads.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// A whole number.
    Whole(i64),
    /// Another number.
    Real(f64),
    /// A date or a time.
    Text(String),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl de::Visitor<'_> for Visit {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a date or time such as \"2024-01-31\"")
            }
            fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar::Whole(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                i64::try_from(value).map(Scalar::Whole).map_err(E::custom)
            }
            fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar::Real(value))
            }
            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }
        }
        from.deserialize_any(Visit)
    }
}

/// A column's type, as SQL names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeName(pub ColumnType);

/// The types that can be made, with their other names.
const TYPES: [(&str, &str, ColumnType); 8] = [
    ("smallint", "int2", ColumnType::Int2),
    ("integer", "int", ColumnType::Int4),
    ("bigint", "int8", ColumnType::Int8),
    ("real", "float4", ColumnType::Float4),
    ("double precision", "float8", ColumnType::Float8),
    ("boolean", "bool", ColumnType::Bool),
    ("date", "date", ColumnType::Date),
    ("timestamp with time zone", "timestamptz", ColumnType::Timestamptz),
];

impl<'de> Deserialize<'de> for TypeName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let plain = text.trim().to_lowercase();
        let char =
            |rest: &str| rest.trim().strip_prefix('(')?.strip_suffix(')')?.trim().parse().ok().filter(|n| *n > 0);
        let length = plain.strip_prefix("character").or_else(|| plain.strip_prefix("char")).and_then(char);
        let named = TYPES.iter().find(|(name, other, _)| plain == *name || plain == *other).map(|(.., of)| *of);
        let found = named.or(length.map(ColumnType::Char)).or((plain == "text").then_some(ColumnType::Text));
        found.map(TypeName).ok_or_else(|| {
            let known: Vec<&str> = TYPES.iter().map(|(name, ..)| *name).collect();
            de::Error::custom(format!(
                "`{text}` is no type that can be made; there is {}, text, char(n)",
                known.join(", ")
            ))
        })
    }
}

impl Serialize for TypeName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0.sql())
    }
}
