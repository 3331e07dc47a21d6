//! Where rows come from. A [`Source`] says which tables it has and opens the rows of each; a new kind of source is a file
//! of its own and a line in each match below.

use super::chunk::{Chunk, Format};
use super::imdb;
use super::job;
use super::pgbench;
use super::rejects::Reject;
use super::synthetic;
use super::table::Table;
use super::tables;
use serde::Serialize;
use std::io;
use std::path::PathBuf;

/// Rows for some tables, made or read anew each time that they are [opened](Source::open).
#[derive(Clone, Debug)]
pub enum Source {
    /// IMDb's seven files.
    Imdb(imdb::Files),
    /// The same tables, synthetic.
    SyntheticImdb(synthetic::source::Tables),
    /// Tables of the user's own, synthetic.
    Tables(tables::Tables),
    /// pgbench's own.
    Pgbench(pgbench::source::Tables),
    /// The 21 files of the Join Order Benchmark.
    Job(job::Files),
}

/// How much there is of a table, as far as that is known before its rows are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Rows.
    pub rows: Option<u64>,
    /// Bytes as they are stored: of a compressed file the compressed ones.
    pub bytes: Option<u64>,
}

/// One of several equal parts of a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0.
    pub number: u32,
    /// Of how many.
    pub of: u32,
}

impl Part {
    /// All of them.
    pub const WHOLE: Part = Part { number: 0, of: 1 };
}

/// Why rows cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Files that should be there are not.
    #[error("{} has no {}{hint}", .dir.display(), .missing.join(", "))]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// What is missing.
        missing: Vec<String>,
        /// What to do; begins on a line of its own.
        hint: &'static str,
    },
    /// The same file twice.
    #[error("{} and {} are both there\nhint: move one of them away", .0.display(), .1.display())]
    Twice(PathBuf, PathBuf),
    /// A file that cannot be read, or whose compressed bytes are cut short or damaged.
    #[error("{}: {why}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: io::Error,
    },
    /// The first line is not what the file's should be.
    #[error("{}: its first line is `{found}`, and should be `{wanted}`", .path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// As found, tabs shown as spaces.
        found: String,
        /// As it should be.
        wanted: String,
    },
}

impl Source {
    /// What it is called in results.
    pub fn name(&self) -> &'static str {
        match self {
            Source::Imdb(_) => "imdb",
            Source::SyntheticImdb(_) => "synthetic_imdb",
            Source::Tables(_) => "tables",
            Source::Pgbench(_) => "pgbench",
            Source::Job(_) => "job",
        }
    }

    /// How its rows are written into [chunks](Chunk).
    pub fn format(&self) -> Format {
        match self {
            Source::Imdb(files) => files.format(),
            Source::SyntheticImdb(_) | Source::Tables(_) | Source::Pgbench(_) | Source::Job(_) => Format::Binary,
        }
    }

    /// Its tables. All else here names a table by its place in this list.
    pub fn tables(&self) -> Vec<Table> {
        match self {
            Source::Imdb(files) => files.tables(),
            Source::SyntheticImdb(tables) => tables.tables(),
            Source::Tables(tables) => tables.tables(),
            Source::Pgbench(tables) => tables.tables(),
            Source::Job(files) => files.tables(),
        }
    }

    /// What is to be said of its tables to whoever finds them, and becomes their comment: that rows are synthetic.
    pub fn note(&self) -> Option<String> {
        match self {
            Source::Imdb(_) | Source::Pgbench(_) | Source::Job(_) => None,
            Source::SyntheticImdb(tables) => Some(tables.note()),
            Source::Tables(tables) => Some(tables.note()),
        }
    }

    /// How much there is of a table.
    pub fn amount(&self, table: usize) -> Amount {
        match self {
            Source::Imdb(files) => files.amount(table),
            Source::SyntheticImdb(tables) => tables.amount(table),
            Source::Tables(tables) => tables.amount(table),
            Source::Pgbench(tables) => tables.amount(table),
            Source::Job(files) => files.amount(table),
        }
    }

    /// What the rows of a table depend on, in a short text that is equal only for equal rows: of generated rows the seed,
    /// the scale and the generator's version; of a file its size and the time of its last change, as its contents are
    /// known only when it has been read (its hash comes [with the load](Rows::digest)).
    pub fn key(&self, table: usize) -> String {
        match self {
            Source::Imdb(files) => files.key(table),
            Source::SyntheticImdb(tables) => tables.key(table),
            Source::Tables(tables) => tables.key(table),
            Source::Pgbench(tables) => tables.key(table),
            Source::Job(files) => files.key(table),
        }
    }

    /// Whether a table's rows can be had in several [parts](Part) at the same time.
    pub fn has_parts(&self, _table: usize) -> bool {
        match self {
            // A compressed file can be read from its beginning only.
            Source::SyntheticImdb(_) | Source::Tables(_) | Source::Pgbench(_) => true,
            Source::Imdb(_) | Source::Job(_) => false,
        }
    }

    /// Opens the rows of a table, or a part of them. Blocks on files.
    pub fn open(&self, table: usize, part: Part) -> Result<Rows, SourceError> {
        Ok(match self {
            Source::Imdb(files) => Rows::Imdb(Box::new(files.open_rows(table)?)),
            Source::SyntheticImdb(tables) => Rows::SyntheticImdb(Box::new(tables.open(table, part))),
            Source::Tables(tables) => Rows::Tables(Box::new(tables.open(table, part))),
            Source::Pgbench(tables) => Rows::Pgbench(tables.open(table, part)),
            Source::Job(files) => Rows::Job(Box::new(files.open_rows(table)?)),
        })
    }

    /// Shows each row of a table that is one to `see`, until it says that it has seen enough: the number of its line, its
    /// values in these columns as the server writes them, and the line. Of rows that have no lines it shows none. Blocks.
    pub fn look(
        &self,
        table: usize,
        columns: &[usize],
        see: impl FnMut(u64, &Vec<String>, &[u8]) -> bool,
    ) -> Result<(), SourceError> {
        match self {
            Source::Imdb(files) => files.look(table, columns, see),
            Source::SyntheticImdb(_) | Source::Tables(_) | Source::Pgbench(_) => Ok(()),
            Source::Job(files) => files.look(table, columns, see),
        }
    }
}

/// Rows of one table as they come.
#[derive(Debug)]
pub enum Rows {
    /// Of a file of IMDb's.
    Imdb(Box<imdb::Rows>),
    /// Of a synthetic table.
    SyntheticImdb(Box<synthetic::source::Rows>),
    /// Of a user's own synthetic table.
    Tables(Box<tables::Rows>),
    /// Of one of pgbench's tables.
    Pgbench(pgbench::source::Rows),
    /// Of a file of the Join Order Benchmark's.
    Job(Box<job::Rows>),
}

impl Rows {
    /// Appends rows to `chunk` until it has [some](super::chunk::FULL) bytes, and whether there may be more. Blocks, and
    /// belongs on a thread where that is allowed.
    pub fn fill(&mut self, chunk: &mut Chunk) -> Result<bool, SourceError> {
        match self {
            Rows::Imdb(rows) => rows.fill(chunk),
            Rows::SyntheticImdb(rows) => Ok(rows.fill(chunk)),
            Rows::Tables(rows) => Ok(rows.fill(chunk)),
            Rows::Pgbench(rows) => Ok(rows.fill(chunk)),
            Rows::Job(rows) => rows.fill(chunk),
        }
    }

    /// What was no row of the table, since the last call.
    pub fn rejected(&mut self) -> Vec<Reject> {
        match self {
            Rows::Imdb(rows) => rows.rejected(),
            Rows::SyntheticImdb(_) | Rows::Tables(_) | Rows::Pgbench(_) => Vec::new(),
            Rows::Job(rows) => rows.rejected(),
        }
    }

    /// Bytes read so far, of [`Amount::bytes`].
    pub fn position(&self) -> u64 {
        match self {
            Rows::Imdb(rows) => rows.position(),
            Rows::SyntheticImdb(_) | Rows::Tables(_) | Rows::Pgbench(_) => 0,
            Rows::Job(rows) => rows.position(),
        }
    }

    /// The file that was read to its end, if it was one.
    pub fn digest(self) -> Option<Digest> {
        match self {
            Rows::Imdb(rows) => Some(rows.digest()),
            Rows::SyntheticImdb(_) | Rows::Tables(_) | Rows::Pgbench(_) => None,
            Rows::Job(rows) => Some(rows.digest()),
        }
    }
}

/// What a file was, known when it was read to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Digest {
    /// The file.
    pub path: PathBuf,
    /// Its bytes as they are stored.
    pub bytes: u64,
    /// Their BLAKE3 hash in hexadecimal digits, as `b3sum` prints it.
    pub blake3: String,
}
