//! The rows of one of the benchmark's files.

use super::csv::Record;
use super::schema::{FileShape, is_int};
use crate::etl::chunk::{Chunk, int};
use crate::etl::file::{Block, LONGEST, Lines};
use crate::etl::rejects::{Reject, Wrong};
use crate::etl::source::{Digest, SourceError};
use std::io;
use std::path::Path;

/// The rows of a file.
#[derive(Debug)]
pub struct Rows {
    lines: Lines,
    shape: &'static FileShape,
    /// The next record's first line, from 1.
    line: u64,
    /// What was read of a record that does not end there.
    held: Vec<u8>,
    record: Record,
    rejected: Vec<Reject>,
}

impl Rows {
    /// Opens a file; it has no header.
    pub fn open(path: &Path, shape: &'static FileShape) -> Result<Rows, SourceError> {
        let (lines, record) = (Lines::open(path)?, Record::default());
        Ok(Rows { lines, shape, line: 1, held: Vec::new(), record, rejected: Vec::new() })
    }

    /// Appends the next rows to `chunk`, and whether there may be more.
    pub fn fill(&mut self, chunk: &mut Chunk) -> Result<bool, SourceError> {
        self.look(chunk, |_, _, _| {})
    }

    /// As [`fill`](Rows::fill), and shows each row that is one to `see`: its first line, its fields, the row.
    pub fn look(&mut self, chunk: &mut Chunk, mut see: impl FnMut(u64, &Record, &[u8])) -> Result<bool, SourceError> {
        let path = self.lines.path().to_owned();
        let endless = |line: u64| {
            let why = format!("the quotes of the row that begins on line {line} do not end");
            SourceError::Read { path: path.clone(), why: io::Error::new(io::ErrorKind::InvalidData, why) }
        };
        let is_last = match self.lines.block()? {
            Block::Lines(block) => {
                self.held.extend_from_slice(block);
                false
            }
            Block::TooLong(_) => return Err(endless(self.line)),
            Block::End => true,
        };
        let mut at = 0;
        while at < self.held.len() {
            let Some(length) = self.record.read(&self.held[at..], is_last) else { break };
            let raw = &self.held[at..at + length];
            let row = raw.strip_suffix(b"\n").unwrap_or(raw);
            match Wrong::check(row).and_then(|()| encode(&self.record, self.shape, chunk)) {
                Ok(()) => see(self.line, &self.record, row),
                Err(wrong) => {
                    let line = Some(self.line);
                    self.rejected.push(Reject { line, reason: wrong.to_string(), row: row.to_vec() });
                }
            }
            self.line += memchr::memchr_iter(b'\n', raw).count() as u64;
            at += length;
        }
        self.held.drain(..at);
        if self.held.len() > LONGEST || (is_last && !self.held.is_empty()) {
            return Err(endless(self.line));
        }
        Ok(!is_last)
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

fn encode(record: &Record, shape: &FileShape, chunk: &mut Chunk) -> Result<(), Wrong> {
    let wanted = shape.columns.len();
    if record.len() != wanted {
        return Err(Wrong::Columns { found: record.len(), wanted });
    }
    chunk.begin(wanted as u16);
    for (n, column) in shape.columns.iter().enumerate() {
        let done = match record.get(n) {
            None if n == 0 => Err(Wrong::NullKey(column)),
            None => {
                chunk.null();
                Ok(())
            }
            Some(field) if is_int(column) => match int(field) {
                Some(value) => {
                    chunk.int4(value);
                    Ok(())
                }
                None => Err(Wrong::field(column, "integer", field)),
            },
            Some(field) => {
                chunk.raw(field);
                Ok(())
            }
        };
        if let Err(wrong) = done {
            chunk.abandon();
            return Err(wrong);
        }
    }
    chunk.end();
    Ok(())
}
