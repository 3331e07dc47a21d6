//! The synthetic tables as a source of the loader: any part of any table, in either schema.

use super::{Generator, Synthetic, Which};
use crate::etl::chunk::{Chunk, FULL};
use crate::etl::imdb::schema::{FILES, FileShape, Schema};
use crate::etl::source::{Amount, Part};
use crate::etl::table::{ColumnType, Table};

/// Version of the generator: to be raised when the same scale and seed give other rows.
const VERSION: u32 = 1;
/// Rows that are made at once: enough that what is computed for each block of titles is not computed again and again.
const STEP: u64 = 2048;

/// The tables of a synthetic data set.
#[derive(Clone, Debug)]
pub struct Tables {
    generator: Generator,
    schema: Schema,
}

/// Rows of one of them.
#[derive(Clone, Debug)]
pub struct Rows {
    generator: Generator,
    which: Which,
    types: Vec<ColumnType>,
    next: u64,
    end: u64,
}

impl Tables {
    /// Of a data set; its scale lies within [`SCALES`](super::SCALES).
    pub fn new(of: Synthetic, schema: Schema) -> Tables {
        Tables { generator: Generator::new(of), schema }
    }

    /// The seven tables, as those of IMDb's files.
    pub fn tables(&self) -> Vec<Table> {
        FILES.iter().map(|file| file.table(self.schema)).collect()
    }

    /// What they are.
    pub fn note(&self) -> String {
        self.generator.of().note()
    }

    /// How many rows a table has.
    pub fn amount(&self, table: usize) -> Amount {
        Amount { rows: Some(self.generator.of().rows(which(table))), bytes: None }
    }

    /// What the rows of a table depend on.
    pub fn key(&self, table: usize) -> String {
        let Synthetic { scale, seed } = self.generator.of();
        format!("synthetic-{VERSION}-{scale}-{seed}-{}", which(table).name())
    }

    /// A part of a table's rows.
    pub fn open(&self, table: usize, part: Part) -> Rows {
        let all = self.generator.of().rows(which(table));
        let share = |number: u32| all * u64::from(number) / u64::from(part.of);
        let types = FILES[table].table(self.schema).columns.iter().map(|column| column.of).collect();
        let (next, end) = (share(part.number), share(part.number + 1));
        Rows { generator: self.generator.clone(), which: which(table), types, next, end }
    }
}

impl Rows {
    /// Appends rows until the chunk is full, and whether there may be more.
    pub fn fill(&mut self, chunk: &mut Chunk) -> bool {
        while self.next < self.end && chunk.bytes().len() < FULL {
            let to = (self.next + STEP).min(self.end);
            self.generator.encode(self.which, self.next..to, &self.types, chunk);
            self.next = to;
        }
        self.next < self.end
    }
}

/// The table of this place among IMDb's files.
fn which(table: usize) -> Which {
    let named = |which: &Which| which.name() == FILES[table].file;
    // Both lists have the same seven names, which a test holds.
    Which::ALL.into_iter().find(named).unwrap_or(Which::Names)
}

/// The shape of its file.
pub(super) fn shape(which: Which) -> &'static FileShape {
    FILES.iter().find(|file| file.file == which.name()).unwrap_or(&FILES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_found_by_its_place() {
        for (table, file) in FILES.iter().enumerate() {
            assert_eq!(which(table).name(), file.file);
        }
    }

    #[test]
    fn parts_are_the_whole() {
        let tables = Tables::new(Synthetic { scale: 0.0001, seed: 3 }, Schema::Typed);
        for table in 0..FILES.len() {
            let read = |part| {
                let (mut rows, mut bytes, mut count) = (tables.open(table, part), Vec::new(), 0);
                let mut chunk = Chunk::default();
                loop {
                    let is_more = rows.fill(&mut chunk);
                    bytes.extend_from_slice(chunk.bytes());
                    count += chunk.rows();
                    chunk.clear();
                    if !is_more {
                        return (bytes, count);
                    }
                }
            };
            let (whole, count) = read(Part::WHOLE);
            let parts: Vec<u8> = (0..3).flat_map(|number| read(Part { number, of: 3 }).0).collect();
            assert!(whole == parts, "table {table}");
            assert_eq!(Some(count), tables.amount(table).rows);
        }
    }
}
