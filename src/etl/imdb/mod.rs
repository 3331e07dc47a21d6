//! IMDb's seven files (<https://developer.imdb.com/non-commercial-datasets/>): where they are, and their rows. They are for
//! personal and non-commercial use, and nobody may hand them on: they are read where their user has them.
//!
//! ```text
//! DIR/{name.basics,title.akas,title.basics,title.crew,title.episode,title.principals,title.ratings}.tsv[.gz]
//! ```

pub mod fetch;
pub mod row;
pub mod rows;
pub mod schema;
mod text;

pub use rows::Rows;
pub use schema::Schema;

use super::chunk::{Chunk, Format};
use super::file::{Stamp, find};
use super::source::{Amount, SourceError};
use super::table::Table;
use schema::FILES;
use std::path::{Path, PathBuf};

/// The files of a folder.
#[derive(Clone, Debug)]
pub struct Files {
    paths: Vec<PathBuf>,
    schema: Schema,
    /// Size and time of change of each.
    stamps: Vec<Stamp>,
}

impl Files {
    /// The files in `dir`, for tables of this schema. All seven must be there, each once.
    pub fn open(dir: &Path, schema: Schema) -> Result<Files, SourceError> {
        let (mut paths, mut missing) = (Vec::new(), Vec::new());
        for shape in &FILES {
            let name = format!("{}.tsv", shape.file);
            match find(dir, &name)? {
                Some(path) => paths.push(path),
                None => missing.push(format!("{name}[.gz]")),
            }
        }
        if !missing.is_empty() {
            return Err(SourceError::Missing {
                dir: dir.to_owned(),
                missing,
                hint: "\nhint: `pgbench-rs load imdb --fetch` gets what is missing from IMDb",
            });
        }
        let stamps = paths.iter().map(|path| Stamp::of(path)).collect::<Result<_, _>>()?;
        Ok(Files { paths, schema, stamps })
    }

    /// Their tables.
    pub fn tables(&self) -> Vec<Table> {
        schema::tables(self.schema)
    }

    /// How rows are written: those of which all columns are text nearly as they stand.
    pub fn format(&self) -> Format {
        match self.schema {
            Schema::Text => Format::Text,
            Schema::Typed => Format::Binary,
        }
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
        Rows::open(&self.paths[table], &FILES[table], self.schema)
    }

    /// See [`Source::look`](super::source::Source::look).
    pub fn look(
        &self,
        table: usize,
        columns: &[usize],
        mut see: impl FnMut(u64, &Vec<String>, &[u8]) -> bool,
    ) -> Result<(), SourceError> {
        let mut rows = self.open_rows(table)?;
        let (mut chunk, mut key, mut wants) = (Chunk::default(), Vec::new(), true);
        let shape = &FILES[table];
        let mut is_more = true;
        while wants && is_more {
            chunk.clear();
            is_more = rows.look(&mut chunk, |line, fields, row| {
                key.clear();
                key.extend(columns.iter().map(|&n| shape.value(n, fields.get(n), self.schema)));
                wants = wants && see(line, &key, row);
            })?;
            rows.rejected();
        }
        Ok(())
    }
}
