//! The rows of one of IMDb's files.

use super::row::{Fields, Tabs, encode};
use super::schema::{FileShape, Schema};
use super::text::{escape, lines};
use crate::etl::chunk::Chunk;
use crate::etl::file::{Block, LONGEST, Lines};
use crate::etl::rejects::{Reject, Wrong};
use crate::etl::source::{Digest, SourceError};
use memchr::{memchr, memchr_iter, memchr2_iter};
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

    /// Appends the next block of rows to `chunk` in the [format](super::Files::format) of the schema, and whether there may be
    /// more.
    pub fn fill(&mut self, chunk: &mut Chunk) -> Result<bool, SourceError> {
        match self.schema {
            Schema::Typed => self.look(chunk, |_, _, _| {}),
            Schema::Text => {
                let Some(mut block) = self.block()? else { return Ok(false) };
                block.pass(chunk);
                Ok(true)
            }
        }
    }

    /// Appends the next block of rows to `chunk` in binary, and shows each that is one to `see`: its line's number, its
    /// fields, the line. Whether there may be more.
    pub fn look(
        &mut self,
        chunk: &mut Chunk,
        mut see: impl FnMut(u64, &Fields<'_>, &[u8]),
    ) -> Result<bool, SourceError> {
        let Some(mut block) = self.block()? else { return Ok(false) };
        let (mut start, mut tabs) = (0, Tabs::default());
        for at in memchr2_iter(b'\t', b'\n', block.lines) {
            if block.lines[at] == b'\t' {
                tabs.push(at - start);
            } else {
                block.encode(&block.lines[start..at], &tabs, chunk, &mut see);
                start = at + 1;
                tabs.clear();
            }
        }
        if start < block.lines.len() {
            block.encode(&block.lines[start..], &tabs, chunk, &mut see);
        }
        Ok(true)
    }

    /// The next lines, none at the file's end. Of one that is too long comes an empty block.
    fn block(&mut self) -> Result<Option<Lined<'_>>, SourceError> {
        let path = self.lines.path().to_owned();
        let Rows { shape, schema, .. } = *self;
        let mut lines = match self.lines.block()? {
            Block::Lines(lines) => lines,
            Block::End if self.line == 1 => return Err(header(&path, b"", shape)),
            Block::End => return Ok(None),
            Block::TooLong(beginning) => {
                let reason = format!("longer than {} MB; this is its beginning", LONGEST >> 20);
                self.rejected.push(Reject { line: Some(self.line), reason, row: beginning.to_vec() });
                self.line += 1;
                &[]
            }
        };
        if self.line == 1 {
            let end = memchr(b'\n', lines).unwrap_or(lines.len());
            if lines[..end] != *shape.header().as_bytes() {
                return Err(header(&path, &lines[..end], shape));
            }
            lines = &lines[(end + 1).min(lines.len())..];
            self.line = 2;
        }
        let is_clean = memchr(0, lines).is_none() && std::str::from_utf8(lines).is_ok();
        Ok(Some(Lined { lines, is_clean, shape, schema, line: &mut self.line, rejected: &mut self.rejected }))
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

/// A block of lines, and what is known of them.
struct Lined<'r> {
    lines: &'r [u8],
    /// Whether they are UTF-8 without zero bytes.
    is_clean: bool,
    shape: &'static FileShape,
    schema: Schema,
    line: &'r mut u64,
    rejected: &'r mut Vec<Reject>,
}

impl<'r> Lined<'r> {
    /// Appends a line in binary, or rejects it.
    #[inline]
    fn encode(
        &mut self,
        line: &'r [u8],
        tabs: &Tabs,
        chunk: &mut Chunk,
        see: &mut impl FnMut(u64, &Fields<'_>, &[u8]),
    ) {
        let fields = Fields::split(line, tabs);
        let checked = if self.is_clean { Ok(()) } else { Wrong::check(line) };
        match checked.and_then(|()| encode(&fields, self.shape, self.schema, chunk)) {
            Ok(()) => see(*self.line, &fields, line),
            Err(wrong) => {
                let (line, row) = (Some(*self.line), line.to_vec());
                self.rejected.push(Reject { line, reason: wrong.to_string(), row });
            }
        }
        *self.line += 1;
    }

    /// Appends the lines as text.
    fn pass(&mut self, chunk: &mut Chunk) {
        let block = self.lines;
        // What may go on as it stands is gathered from `first` on.
        let (mut first, mut after, mut plain) = (0, 0, 0);
        lines(self.shape, block, |line| {
            if self.is_clean && line.is_plain {
                plain += 1;
            } else {
                chunk.lines(&block[first..line.start], plain);
                *self.line += plain;
                self.closely(&block[line.start..line.end], chunk);
                (first, plain) = (line.end + 1, 0);
            }
            after = line.end + 1;
        });
        chunk.lines(&block[first..after], plain);
        *self.line += plain;
        if after < block.len() {
            self.closely(&block[after..], chunk);
        }
    }

    /// Appends a line as text, or rejects it for what makes it no row.
    fn closely(&mut self, line: &'r [u8], chunk: &mut Chunk) {
        let mut tabs = Tabs::default();
        memchr_iter(b'\t', line).for_each(|at| tabs.push(at));
        self.encode(line, &tabs, &mut Chunk::default(), &mut |_, _, line| escape(line, chunk));
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
