//! One line of IMDb's files as a row.
//!
//! The files know no quoting and no escapes: what stands between two tabs is the field, and `\N` alone is null. (`COPY`'s
//! text format takes backslashes out, and its CSV takes a lone quote for the beginning of something.)

use super::schema::{Field, FileShape, Schema};
use crate::etl::chunk::{Chunk, int};
use crate::etl::rejects::Wrong;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use std::fmt;

/// What stands for null.
const NULL: &[u8] = b"\\N";
/// Most columns of a file.
const MOST: usize = 9;

/// The fields of a line.
#[derive(Debug)]
pub struct Fields<'l> {
    fields: [&'l [u8]; MOST],
    count: usize,
}

impl<'l> Fields<'l> {
    /// Of a line, whose tabs stand at `tabs`; the first [`MOST`] of them are enough.
    #[inline]
    pub fn split(line: &'l [u8], tabs: &Tabs) -> Fields<'l> {
        let mut fields = [&line[..0]; MOST];
        let mut start = 0;
        let count = tabs.count + 1;
        for (field, tab) in fields.iter_mut().zip(&tabs.at[..tabs.count.min(MOST)]) {
            *field = &line[start..*tab];
            start = *tab + 1;
        }
        if let Some(last) = fields.get_mut(tabs.count) {
            *last = &line[start..];
        }
        Fields { fields, count }
    }

    /// The `n`th.
    pub fn get(&self, n: usize) -> &'l [u8] {
        self.fields[n]
    }
}

/// Where a line's tabs stand.
#[derive(Debug, Default)]
pub struct Tabs {
    at: [usize; MOST],
    count: usize,
}

impl Tabs {
    /// One more.
    #[inline]
    pub fn push(&mut self, at: usize) {
        if let Some(place) = self.at.get_mut(self.count) {
            *place = at;
        }
        self.count += 1;
    }

    /// The next line has others.
    #[inline]
    pub fn clear(&mut self) {
        self.count = 0;
    }
}

/// Appends the row to `chunk`, whose text is known to be UTF-8 without zero bytes; nothing when it is none.
#[inline]
pub fn encode(fields: &Fields<'_>, shape: &FileShape, schema: Schema, chunk: &mut Chunk) -> Result<(), Wrong> {
    let wanted = shape.columns.len();
    if fields.count != wanted {
        return Err(Wrong::Columns { found: fields.count, wanted });
    }
    chunk.begin(wanted as u16);
    for (n, (&(column, _, kind), &field)) in shape.columns.iter().zip(&fields.fields).enumerate() {
        let done = match field {
            NULL if shape.is_key(n) => Err(Wrong::NullKey(column)),
            NULL => {
                chunk.null();
                Ok(())
            }
            _ if schema == Schema::Text || kind == Field::Text => {
                chunk.raw(field);
                Ok(())
            }
            _ => typed(column, kind, field, chunk),
        };
        if let Err(wrong) = done {
            chunk.abandon();
            return Err(wrong);
        }
    }
    chunk.end();
    Ok(())
}

fn typed(column: &'static str, kind: Field, field: &[u8], chunk: &mut Chunk) -> Result<(), Wrong> {
    let wrong = |wanted: &'static str| Wrong::field(column, wanted, field);
    match kind {
        Field::Text => chunk.raw(field),
        Field::Int => chunk.int4(int(field).ok_or_else(|| wrong("integer"))?),
        Field::Real => chunk.float4(real(field).ok_or_else(|| wrong("number"))?),
        Field::Flag => chunk.bool(match field {
            b"0" => false,
            b"1" => true,
            _ => return Err(wrong("0 or 1")),
        }),
        Field::List if field.is_empty() => chunk.text_array([].into_iter().map(|e: &[u8]| e)),
        Field::List => chunk.text_array(field.split(|&byte| byte == b',')),
        Field::Akas if field.is_empty() => chunk.text_array([].into_iter().map(|e: &[u8]| e)),
        Field::Akas => chunk.text_array(field.split(|&byte| matches!(byte, b',' | 2))),
        Field::Strings => {
            // It is UTF-8, as the caller knows.
            let text = std::str::from_utf8(field).map_err(|error| Wrong::Utf8(error.valid_up_to()))?;
            serde_json::from_str::<Strings>(text).map_err(|_| wrong("JSON array of strings"))?;
            chunk.jsonb(text);
        }
    }
    Ok(())
}

/// Decimal digits and a point: neither exponents nor words such as `inf`.
fn real(field: &[u8]) -> Option<f32> {
    let is_plain = field.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    std::str::from_utf8(field).ok().filter(|_| is_plain)?.parse().ok().filter(|value: &f32| value.is_finite())
}

/// A JSON array of strings that `jsonb` takes: without U+0000, and with whole surrogates only.
struct Strings;

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Strings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strings, A::Error> {
                while seq.next_element::<Text>()?.is_some() {}
                Ok(Strings)
            }
        }
        from.deserialize_seq(Visit)
    }
}

struct Text;

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                if text.contains('\0') { Err(E::custom("U+0000")) } else { Ok(Text) }
            }
        }
        from.deserialize_str(Visit)
    }
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
