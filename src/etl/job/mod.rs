//! The Join Order Benchmark's own data (Leis et al., VLDB 2015), where its user has them: 21 tables as CSV, of IMDb's
//! plain-text files of May 2013. The same terms are on them as on IMDb's: nobody may hand them on.
//!
//! ```text
//! DIR/{aka_name,aka_title,cast_info,…,title}.csv[.gz]
//! ```

mod csv;
mod rows;
mod schema;

pub use rows::Rows;
pub use schema::FILES;

use super::chunk::Chunk;
use super::file::{Stamp, find};
use super::source::{Amount, SourceError};
use super::table::Table;
use std::path::{Path, PathBuf};

/// The files of a folder.
#[derive(Clone, Debug)]
pub struct Files {
    paths: Vec<PathBuf>,
    stamps: Vec<Stamp>,
}

impl Files {
    /// The files in `dir`. All 21 must be there, each once.
    pub fn open(dir: &Path) -> Result<Files, SourceError> {
        let (mut paths, mut missing) = (Vec::new(), Vec::new());
        for shape in &FILES {
            let name = format!("{}.csv", shape.name);
            match find(dir, &name)? {
                Some(path) => paths.push(path),
                None => missing.push(format!("{name}[.gz]")),
            }
        }
        if !missing.is_empty() {
            let hint = "\nhint: imdb.tgz of the benchmark's authors has them; unpack it there";
            return Err(SourceError::Missing { dir: dir.to_owned(), missing, hint });
        }
        let stamps = paths.iter().map(|path| Stamp::of(path)).collect::<Result<_, _>>()?;
        Ok(Files { paths, stamps })
    }

    /// Their tables.
    pub fn tables(&self) -> Vec<Table> {
        FILES.iter().map(schema::FileShape::table).collect()
    }

    /// How much of a table there is.
    pub fn amount(&self, table: usize) -> Amount {
        Amount { rows: None, bytes: Some(self.stamps[table].bytes) }
    }

    /// What a table's rows depend on.
    pub fn key(&self, table: usize) -> String {
        self.stamps[table].key()
    }

    /// Reads a table's rows from the beginning.
    pub fn open_rows(&self, table: usize) -> Result<Rows, SourceError> {
        Rows::open(&self.paths[table], &FILES[table])
    }

    /// See [`Source::look`](super::source::Source::look).
    pub fn look(
        &self,
        table: usize,
        columns: &[usize],
        mut see: impl FnMut(u64, &Vec<String>, &[u8]) -> bool,
    ) -> Result<(), SourceError> {
        let mut rows = self.open_rows(table)?;
        let (mut chunk, mut key, mut wants, mut is_more) = (Chunk::default(), Vec::new(), true, true);
        while wants && is_more {
            chunk.clear();
            is_more = rows.look(&mut chunk, |line, record, row| {
                key.clear();
                key.extend(columns.iter().map(|&n| FILES[table].value(n, record.get(n).unwrap_or_default())));
                wants = wants && see(line, &key, row);
            })?;
            rows.rejected();
        }
        Ok(())
    }
}
