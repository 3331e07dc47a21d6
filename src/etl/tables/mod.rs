//! Synthetic rows for tables of the user's own: `[tables.NAME]` says rows, columns, types and distributions, keys and
//! indexes. What a field holds is `hash(seed, table, column, row)` ([`random`](super::random)), and a reference is computed
//! from the other table's own rule, so nothing is looked up and any part of a table comes from any thread.
//!
//! ```toml
//! [tables.customer]
//! rows        = 10_000
//! primary_key = ["id"]
//! columns.id   = { type = "bigint", values = { kind = "sequence" } }
//! columns.name = { type = "text", values = { kind = "text", min = 5, max = 30 } }
//!
//! [tables.orders]
//! rows        = 100_000
//! primary_key = ["id"]
//! indexes.orders_customer_idx = ["customer_id"]
//! columns.id          = { type = "bigint", values = { kind = "sequence" } }
//! columns.customer_id = { type = "bigint", references = "customer.id", values = { kind = "zipf", exponent = 0.9 } }
//! columns.status      = { type = "text", values = { kind = "choice", weights = { open = 1, paid = 9 } } }
//! columns.total       = { type = "double precision", values = { kind = "gaussian", mean = 80, deviation = 30, min = 1 } }
//! columns.at          = { type = "timestamptz", nulls = 0.1, values = { kind = "uniform", min = "2024-01-01", max = "2025-01-01" } }
//! ```

pub mod check;
mod make;
pub mod shape;

use super::chunk::{Chunk, FULL};
use super::source::{Amount, Part};
use super::table::{Column, ForeignKey, Index, Table, quoted};
use make::Maker;
use sha2::{Digest, Sha256};
pub use shape::Shape;
use std::sync::Arc;

/// Version of the generator: to be raised when the same shape gives other rows.
const VERSION: u32 = 1;
/// Rows that are made at once.
const STEP: u64 = 256;

/// Tables of which rows are made.
#[derive(Clone, Debug)]
pub struct Tables {
    shape: Arc<Shape>,
    tables: Vec<Table>,
}

/// Rows of one of them.
#[derive(Debug)]
pub struct Rows {
    makers: Vec<Maker>,
    next: u64,
    end: u64,
}

impl Tables {
    /// Of a shape in which [`check`](check::check) has found nothing.
    pub fn new(shape: Shape) -> Tables {
        let tables = shape.tables.iter().map(|(name, table)| as_table(name, table)).collect();
        Tables { shape: Arc::new(shape), tables }
    }

    /// Their tables.
    pub fn tables(&self) -> Vec<Table> {
        self.tables.clone()
    }

    /// How many rows a table has.
    pub fn amount(&self, table: usize) -> Amount {
        Amount { rows: self.shape.tables.get_index(table).map(|(_, table)| table.rows), bytes: None }
    }

    /// What the rows of a table depend on: the whole shape, as tables refer to each other.
    pub fn key(&self, table: usize) -> String {
        let hash = Sha256::digest(format!("{:?}", self.shape));
        let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("tables-{VERSION}-{hash}-{}", self.tables[table].name)
    }

    /// What the tables are, for whoever finds them.
    pub fn note(&self) -> String {
        format!("synthetic, seed {}, made by pgbench-rs {}", self.shape.seed, env!("CARGO_PKG_VERSION"))
    }

    /// A part of a table's rows.
    pub fn open(&self, table: usize, part: Part) -> Rows {
        let Some((name, of)) = self.shape.tables.get_index(table) else {
            return Rows { makers: Vec::new(), next: 0, end: 0 };
        };
        let share = |number: u32| (u128::from(of.rows) * u128::from(number) / u128::from(part.of)) as u64;
        let makers = of.columns.iter().map(|(column, what)| Maker::new(&self.shape, name, column, what)).collect();
        Rows { makers, next: share(part.number), end: share(part.number + 1) }
    }
}

impl Rows {
    /// Appends rows until the chunk is full, and whether there may be more.
    pub fn fill(&mut self, chunk: &mut Chunk) -> bool {
        while self.next < self.end && chunk.bytes().len() < FULL {
            let to = (self.next + STEP).min(self.end);
            for row in self.next..to {
                chunk.begin(self.makers.len() as u16);
                self.makers.iter_mut().for_each(|maker| maker.field(row, chunk));
                chunk.end();
            }
            self.next = to;
        }
        self.next < self.end
    }
}

fn as_table(name: &str, table: &shape::Table) -> Table {
    let column = |(column, of): (&String, &shape::Column)| Column {
        name: column.clone(),
        of: of.of.0,
        not_null: table.primary_key.contains(column),
    };
    let reference = |(column, of): (&String, &shape::Column)| {
        let (to, key) = of.references.as_deref()?.split_once('.')?;
        Some(ForeignKey { column: column.clone(), table: to.to_owned(), references: key.to_owned() })
    };
    let index = |(name, columns): (&String, &Vec<String>)| Index {
        name: name.clone(),
        definition: format!("({})", columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ")),
    };
    Table {
        name: name.to_owned(),
        columns: table.columns.iter().map(column).collect(),
        primary_key: table.primary_key.clone(),
        foreign_keys: table.columns.iter().filter_map(reference).collect(),
        indexes: table.indexes.iter().map(index).collect(),
    }
}

#[cfg(test)]
mod tests;
