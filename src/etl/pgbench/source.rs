//! pgbench's tables as a source of the loader: any part of any of them, with keys and foreign keys as its settings say.

use super::{ACCOUNTS, BIGINT_SCALE, BRANCHES, NAMES, TELLERS, write};
use crate::etl::chunk::Chunk;
use crate::etl::source::{Amount, Part};
use crate::etl::table::{Column, ColumnType, ForeignKey, Table};

/// Version of the generator: to be raised when the same scale gives other rows.
const VERSION: u32 = 1;
/// The scales that there are: more accounts than these cannot be told apart by pgbench.
pub const SCALES: std::ops::RangeInclusive<u32> = 1..=21_474;

/// The four tables at a scale.
#[derive(Clone, Debug)]
pub struct Tables {
    scale: u32,
}

/// Rows of one of them.
#[derive(Debug)]
pub struct Rows {
    table: usize,
    account: ColumnType,
    next: i64,
    end: i64,
}

impl Tables {
    /// Of a scale within [`SCALES`].
    pub fn new(scale: u32) -> Tables {
        Tables { scale }
    }

    /// The tables, in the order of [`NAMES`].
    pub fn tables(&self) -> Vec<Table> {
        use ColumnType::{Char, Int4, Timestamp};
        let aid = self.account();
        let branch = ("bid", Int4, Some("pgbench_branches"));
        vec![
            table(NAMES[0], "bid", &[("bid", Int4, None), ("bbalance", Int4, None), ("filler", Char(88), None)]),
            table(
                NAMES[1],
                "tid",
                &[("tid", Int4, None), branch, ("tbalance", Int4, None), ("filler", Char(84), None)],
            ),
            table(NAMES[2], "aid", &[("aid", aid, None), branch, ("abalance", Int4, None), ("filler", Char(84), None)]),
            table(
                NAMES[3],
                "",
                &[
                    ("tid", Int4, Some("pgbench_tellers")),
                    branch,
                    ("aid", aid, Some("pgbench_accounts")),
                    ("delta", Int4, None),
                    ("mtime", Timestamp, None),
                    ("filler", Char(22), None),
                ],
            ),
        ]
    }

    /// How many rows a table has.
    pub fn amount(&self, table: usize) -> Amount {
        Amount { rows: Some(self.rows(table) as u64), bytes: None }
    }

    /// What the rows of a table depend on.
    pub fn key(&self, table: usize) -> String {
        format!("pgbench-{VERSION}-{}-{}", self.scale, NAMES[table])
    }

    /// A part of a table's rows.
    pub fn open(&self, table: usize, part: Part) -> Rows {
        let share = |number: u32| self.rows(table) * i64::from(number) / i64::from(part.of);
        Rows { table, account: self.account(), next: share(part.number), end: share(part.number + 1) }
    }

    fn rows(&self, table: usize) -> i64 {
        // The history is what transactions write.
        [BRANCHES, TELLERS, ACCOUNTS, 0][table] * i64::from(self.scale)
    }

    fn account(&self) -> ColumnType {
        if self.scale < BIGINT_SCALE { ColumnType::Int4 } else { ColumnType::Int8 }
    }
}

/// A table whose key is `key`, if there is one; the third of a column is whose key it refers to.
fn table(name: &str, key: &str, columns: &[(&str, ColumnType, Option<&str>)]) -> Table {
    let column = |&(name, of, _): &(&str, ColumnType, _)| Column { name: name.into(), of, not_null: name == key };
    let reference = |&(name, _, to): &(&str, ColumnType, Option<&str>)| {
        Some(ForeignKey { column: name.into(), table: to?.into(), references: name.into() })
    };
    Table {
        name: name.to_owned(),
        columns: columns.iter().map(column).collect(),
        primary_key: if key.is_empty() { Vec::new() } else { vec![key.to_owned()] },
        foreign_keys: columns.iter().filter_map(reference).collect(),
        indexes: Vec::new(),
    }
}

impl Rows {
    /// Appends rows until the chunk is full, and whether there may be more.
    pub fn fill(&mut self, chunk: &mut Chunk) -> bool {
        while self.next < self.end && !chunk.is_full() {
            self.next += 1;
            match self.table {
                2 => write(chunk, self.next, self.account),
                _ => self.short(chunk),
            }
        }
        self.next < self.end
    }

    /// A branch or a teller, without a filler, as pgbench makes them.
    fn short(&self, chunk: &mut Chunk) {
        let is_teller = self.table == 1;
        chunk.begin(3 + u16::from(is_teller));
        chunk.int4(self.next as i32);
        if is_teller {
            chunk.int4(((self.next - 1) / TELLERS + 1) as i32);
        }
        chunk.int4(0);
        chunk.null();
        chunk.end();
    }
}
