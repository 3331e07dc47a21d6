//! The rows of one of IMDb's files.

use super::row::{Fields, Tabs, encode};
use super::schema::{FileShape, Schema};
use crate::etl::chunk::Chunk;
use crate::etl::file::{Block, LONGEST, Lines};
use crate::etl::rejects::{Reject, Wrong};
use crate::etl::source::{Digest, SourceError};
use memchr::{memchr, memchr2_iter};
use std::path::Path;

/// The rows of a file.
#[derive(Debug)]
pub struct Rows {
    lines: Lines,
    shape: &'static FileShape,
    schema: Schema,
    /// The next line's number, from 1.
    line: u64,
    rejected: Vec<Reject>,
}

impl Rows {
    /// Opens a file; its first line must be the header.
    pub fn open(path: &Path, shape: &'static FileShape, schema: Schema) -> Result<Rows, SourceError> {
        Ok(Rows { lines: Lines::open(path)?, shape, schema, line: 1, rejected: Vec::new() })
    }

    /// Appends the next block of rows to `chunk`, and whether there may be more.
    pub fn fill(&mut self, chunk: &mut Chunk) -> Result<bool, SourceError> {
        self.look(chunk, |_, _, _| {})
    }

    /// As [`fill`](Rows::fill), and shows each row that is one to `see`: its line's number, its fields, the line.
    pub fn look(
        &mut self,
        chunk: &mut Chunk,
        mut see: impl FnMut(u64, &Fields<'_>, &[u8]),
    ) -> Result<bool, SourceError> {
        let path = self.lines.path().to_owned();
        let mut block = match self.lines.block()? {
            Block::Lines(block) => block,
            Block::End if self.line == 1 => return Err(header(&path, b"", self.shape)),
            Block::End => return Ok(false),
            Block::TooLong(beginning) => {
                let reason = format!("longer than {} MB; this is its beginning", LONGEST >> 20);
                self.rejected.push(Reject { line: Some(self.line), reason, row: beginning.to_vec() });
                self.line += 1;
                return Ok(true);
            }
        };
        if self.line == 1 {
            let end = memchr(b'\n', block).unwrap_or(block.len());
            if block[..end] != *self.shape.header().as_bytes() {
                return Err(header(&path, &block[..end], self.shape));
            }
            block = &block[(end + 1).min(block.len())..];
            self.line = 2;
        }
        let is_clean = memchr(0, block).is_none() && std::str::from_utf8(block).is_ok();
        let mut row = |line: &[u8], tabs: &Tabs| {
            let fields = Fields::split(line, tabs);
            let checked = if is_clean { Ok(()) } else { Wrong::check(line) };
            match checked.and_then(|()| encode(&fields, self.shape, self.schema, chunk)) {
                Ok(()) => see(self.line, &fields, line),
                Err(wrong) => {
                    let (line, row) = (Some(self.line), line.to_vec());
                    self.rejected.push(Reject { line, reason: wrong.to_string(), row });
                }
            }
            self.line += 1;
        };
        let (mut start, mut tabs) = (0, Tabs::default());
        for at in memchr2_iter(b'\t', b'\n', block) {
            if block[at] == b'\t' {
                tabs.push(at - start);
            } else {
                row(&block[start..at], &tabs);
                start = at + 1;
                tabs.clear();
            }
        }
        if start < block.len() {
            row(&block[start..], &tabs);
        }
        Ok(true)
    }

    /// What was no row, since the last call.
    pub fn rejected(&mut self) -> Vec<Reject> {
        std::mem::take(&mut self.rejected)
    }

    /// Bytes of the file that were read.
    pub fn position(&self) -> u64 {
        self.lines.position()
    }

    /// The file, when it was read to its end.
    pub fn digest(self) -> Digest {
        self.lines.digest()
    }
}

fn header(path: &Path, found: &[u8], shape: &FileShape) -> SourceError {
    let shown: String = String::from_utf8_lossy(found).chars().take(200).collect();
    SourceError::Header {
        path: path.to_owned(),
        found: shown.replace('\t', " "),
        wanted: shape.header().replace('\t', " "),
    }
}
