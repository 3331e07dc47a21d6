//! Rows as `COPY` takes them (<https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9>). Rows that are made or
//! taken apart come in its binary format: a count of fields, and for each its length and its bytes as the type's `recv`
//! function reads them; all big-endian. Lines that are already as its text format has them go on as they are.

/// A format of `COPY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `binary`.
    Binary,
    /// `text`.
    Text,
}

impl Format {
    /// As the option `FORMAT` has it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Binary => "binary",
            Format::Text => "text",
        }
    }

    /// What stands before the first row: the signature, no flags, no extension.
    pub fn header(self) -> &'static [u8] {
        match self {
            Format::Binary => b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0",
            Format::Text => b"",
        }
    }

    /// What stands after the last: a count of fields of -1.
    pub fn trailer(self) -> &'static [u8] {
        match self {
            Format::Binary => b"\xff\xff",
            Format::Text => b"",
        }
    }
}

/// About how many bytes a chunk has when it is full: it and what it is made of fit into a core's own cache, and they are
/// many enough for what passing it on costs.
pub const FULL: usize = 256 << 10;

/// OID of `text`, which an array of it names.
const TEXT_OID: i32 = 25;
/// Version of `jsonb`'s binary form.
const JSONB_VERSION: u8 = 1;

/// Some rows, encoded. Its memory is kept when it is [cleared](Chunk::clear).
#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    rows: u64,
    /// Where the row under way begins.
    row: usize,
}

impl Chunk {
    /// An empty one with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Chunk {
        Chunk { bytes: Vec::with_capacity(capacity), rows: 0, row: 0 }
    }

    /// The encoded rows.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The encoded rows, which are forgotten here.
    pub fn take(&mut self) -> Vec<u8> {
        let next = Vec::with_capacity(self.bytes.capacity());
        self.rows = 0;
        self.row = 0;
        std::mem::replace(&mut self.bytes, next)
    }

    /// Whether it has [`FULL`] bytes.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// Forgets the rows.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows = 0;
        self.row = 0;
    }

    /// Rows of the text format, each with its line end.
    #[inline]
    pub fn lines(&mut self, lines: &[u8], rows: u64) {
        self.bytes.extend_from_slice(lines);
        self.rows += rows;
    }

    /// Begins a row of `fields` fields, of the binary format as all that follows.
    #[inline]
    pub fn begin(&mut self, fields: u16) {
        self.row = self.bytes.len();
        self.bytes.extend_from_slice(&fields.to_be_bytes());
    }

    /// The row is whole.
    #[inline]
    pub fn end(&mut self) {
        self.rows += 1;
    }

    /// The row under way is not to be.
    pub fn abandon(&mut self) {
        self.bytes.truncate(self.row);
    }

    /// A null.
    #[inline]
    pub fn null(&mut self) {
        self.bytes.extend_from_slice(&(-1i32).to_be_bytes());
    }

    /// A field as its type's `recv` function reads it.
    #[inline]
    pub fn raw(&mut self, field: &[u8]) {
        self.bytes.extend_from_slice(&(field.len() as i32).to_be_bytes());
        self.bytes.extend_from_slice(field);
    }

    /// `text`, `character(n)`: UTF-8, without NUL.
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.raw(text.as_bytes());
    }

    /// `smallint`.
    #[inline]
    pub fn int2(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    /// `integer`; also `date`, as days since 2000-01-01.
    #[inline]
    pub fn int4(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// `bigint`; also `timestamp with time zone`, as microseconds since 2000-01-01 00:00 UTC.
    #[inline]
    pub fn int8(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// `real`.
    #[inline]
    pub fn float4(&mut self, value: f32) {
        self.raw(&value.to_be_bytes());
    }

    /// `double precision`.
    #[inline]
    pub fn float8(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    /// `boolean`.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.raw(&[u8::from(value)]);
    }

    /// `jsonb`, from its text.
    #[inline]
    pub fn jsonb(&mut self, json: &str) {
        self.bytes.extend_from_slice(&(json.len() as i32 + 1).to_be_bytes());
        self.bytes.push(JSONB_VERSION);
        self.bytes.extend_from_slice(json.as_bytes());
    }

    /// `text[]` without nulls: one dimension that begins at 1, or none when there is no element
    /// (`array_recv` of `arrayfuncs.c`).
    pub fn text_array(&mut self, elements: impl Iterator<Item = impl AsRef<[u8]>>) {
        let length = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        let start = self.bytes.len();
        for word in [0, 0, TEXT_OID] {
            self.bytes.extend_from_slice(&i32::to_be_bytes(word));
        }
        let mut count = 0i32;
        for element in elements {
            if count == 0 {
                // The dimension: how many, which follows below, and its lower bound.
                self.bytes.extend_from_slice(&[0; 4]);
                self.bytes.extend_from_slice(&1i32.to_be_bytes());
            }
            self.raw(element.as_ref());
            count += 1;
        }
        if count > 0 {
            self.bytes[start..start + 4].copy_from_slice(&1i32.to_be_bytes());
            self.bytes[start + 12..start + 16].copy_from_slice(&count.to_be_bytes());
        }
        let bytes = (self.bytes.len() - start) as i32;
        self.bytes[length..start].copy_from_slice(&bytes.to_be_bytes());
    }
}

/// An `integer` from its decimal digits, with a minus before them or not.
pub fn int(field: &[u8]) -> Option<i32> {
    let (sign, digits) = match field {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() || digits.len() > 10 {
        return None;
    }
    let mut value = 0i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    i32::try_from(sign * value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fallible_iterator::FallibleIterator;
    use postgres_protocol::types::{ArrayDimension, array_from_sql, text_from_sql};

    #[test]
    fn arrays_are_as_the_protocols_own_crate_reads_them() {
        for elements in [vec![], vec!["Drama"], vec!["", "Sci-Fi", "Ω"]] {
            let mut chunk = Chunk::default();
            chunk.text_array(elements.iter().copied());
            let array = array_from_sql(&chunk.bytes()[4..]).expect("it reads");
            let read: Vec<&str> =
                array.values().map(|value| text_from_sql(value.expect("no nulls"))).collect().expect("it reads");
            assert_eq!(read, elements);
            let dimensions: Vec<ArrayDimension> = array.dimensions().collect().expect("it reads");
            let wanted = [ArrayDimension { len: elements.len() as i32, lower_bound: 1 }];
            assert_eq!(dimensions, wanted[..usize::from(!elements.is_empty())]);
        }
    }

    #[test]
    fn a_row_that_is_abandoned_leaves_nothing() {
        let mut chunk = Chunk::default();
        chunk.begin(1);
        chunk.int4(7);
        chunk.end();
        let whole = chunk.bytes().to_vec();
        chunk.begin(2);
        chunk.text("half a row");
        chunk.abandon();
        assert_eq!((chunk.bytes(), chunk.rows()), (whole.as_slice(), 1));
    }
}
