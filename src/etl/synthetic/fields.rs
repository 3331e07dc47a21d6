//! Where the fields of a row go: a line of a TSV file as IMDb's, or a row of a binary COPY.

use crate::etl::chunk::Chunk;
use crate::etl::table::ColumnType;

/// Takes rows, field by field in the order of the table's columns.
pub(super) trait Fields {
    /// A row begins.
    fn begin(&mut self);
    /// It is whole.
    fn end(&mut self);
    /// Nothing is known.
    fn null(&mut self);
    /// Text without tab, line end and backslash.
    fn text(&mut self, text: &str);
    /// A whole number.
    fn whole(&mut self, value: i32);
    /// True or false.
    fn truth(&mut self, value: bool);
    /// A number of tenths, such as 69 for 6.9.
    fn tenths(&mut self, value: u16);
    /// A list, joined with commas, of things without commas; not empty.
    fn list(&mut self, joined: &str);
    /// JSON.
    fn json(&mut self, json: &str);
}

/// Lines of a file: fields between tabs, `\N` for null, 0 and 1 for false and true.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub bytes: Vec<u8>,
}

impl Lines {
    fn field(&mut self, field: &[u8]) {
        self.bytes.extend_from_slice(field);
        self.bytes.push(b'\t');
    }
}

impl Fields for Lines {
    fn begin(&mut self) {}

    fn end(&mut self) {
        // Over the last field's tab.
        if let Some(last) = self.bytes.last_mut() {
            *last = b'\n';
        }
    }

    fn null(&mut self) {
        self.field(b"\\N");
    }

    fn text(&mut self, text: &str) {
        self.field(text.as_bytes());
    }

    fn whole(&mut self, value: i32) {
        number(&mut self.bytes, value);
        self.bytes.push(b'\t');
    }

    fn truth(&mut self, value: bool) {
        self.field(if value { b"1" } else { b"0" });
    }

    fn tenths(&mut self, value: u16) {
        number(&mut self.bytes, i32::from(value / 10));
        self.field(&[b'.', b'0' + (value % 10) as u8]);
    }

    fn list(&mut self, joined: &str) {
        self.text(joined);
    }

    fn json(&mut self, json: &str) {
        self.text(json);
    }
}

/// In decimal digits.
fn number(into: &mut Vec<u8>, value: i32) {
    into.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Rows of a COPY, each field as its column's type wants it. In a column of type `text` it is as in the [file](Lines).
#[derive(Debug)]
pub(super) struct Encoder<'c> {
    chunk: &'c mut Chunk,
    types: &'c [ColumnType],
    at: usize,
    scratch: Lines,
}

impl<'c> Encoder<'c> {
    pub fn new(chunk: &'c mut Chunk, types: &'c [ColumnType]) -> Self {
        Encoder { chunk, types, at: 0, scratch: Lines::default() }
    }

    /// The type of the column whose field comes.
    fn next(&mut self) -> ColumnType {
        self.at += 1;
        self.types[self.at - 1]
    }

    /// A field as in the file.
    fn as_written(&mut self, write: impl FnOnce(&mut Lines)) {
        self.scratch.bytes.clear();
        write(&mut self.scratch);
        let field = self.scratch.bytes.strip_suffix(b"\t").unwrap_or(&self.scratch.bytes);
        self.chunk.raw(field);
    }
}

impl Fields for Encoder<'_> {
    fn begin(&mut self) {
        self.at = 0;
        self.chunk.begin(self.types.len() as u16);
    }

    fn end(&mut self) {
        debug_assert_eq!(self.at, self.types.len(), "a field for each column");
        self.chunk.end();
    }

    fn null(&mut self) {
        self.next();
        self.chunk.null();
    }

    fn text(&mut self, text: &str) {
        self.next();
        self.chunk.text(text);
    }

    fn whole(&mut self, value: i32) {
        match self.next() {
            ColumnType::Int2 => self.chunk.int2(value as i16),
            ColumnType::Int4 => self.chunk.int4(value),
            ColumnType::Int8 => self.chunk.int8(i64::from(value)),
            _ => self.as_written(|lines| lines.whole(value)),
        }
    }

    fn truth(&mut self, value: bool) {
        match self.next() {
            ColumnType::Bool => self.chunk.bool(value),
            _ => self.as_written(|lines| lines.truth(value)),
        }
    }

    fn tenths(&mut self, value: u16) {
        match self.next() {
            // The quotient nearest to it, which is also what its digits read as.
            ColumnType::Float4 => self.chunk.float4(f32::from(value) / 10.0),
            ColumnType::Float8 => self.chunk.float8(f64::from(value) / 10.0),
            _ => self.as_written(|lines| lines.tenths(value)),
        }
    }

    fn list(&mut self, joined: &str) {
        match self.next() {
            ColumnType::TextArray => self.chunk.text_array(joined.split(',')),
            _ => self.chunk.text(joined),
        }
    }

    fn json(&mut self, json: &str) {
        match self.next() {
            ColumnType::Jsonb => self.chunk.jsonb(json),
            _ => self.chunk.text(json),
        }
    }
}
