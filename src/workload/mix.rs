//! Which transactions a load is made of: pgbench's three built-in ones, alone or weighted, or those on books.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// `mix = { kind = … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mix {
    /// pgbench's `tpcb-like`.
    Tpcb(Scale),
    /// pgbench's `simple-update`.
    SimpleUpdate(Scale),
    /// pgbench's `select-only`.
    SelectOnly(Scale),
    /// Several of them, each with a weight.
    Weighted(Weighted),
    /// Inserts of books, and reads by key.
    Books(Books),
}

/// Books of several topics, which row filters tell apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Books {
    /// Books that are there at the start, which are the ones that are read.
    #[serde(default = "thousand")]
    pub books: u32,
    /// Weight of inserting one.
    #[serde(default = "one")]
    pub inserts: u32,
    /// Weight of reading one by its key.
    #[serde(default)]
    pub reads: u32,
}

/// What a load's draws range over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// pgbench's scale.
    Scale(u32),
    /// Books that are there at the start.
    Books(u32),
}

/// A single transaction on pgbench's tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// pgbench's scale: branches; a branch has 10 tellers and 100,000 accounts.
    #[serde(default = "one")]
    pub scale: u32,
}

/// Weighted transactions on pgbench's tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// pgbench's scale.
    #[serde(default = "one")]
    pub scale: u32,
    /// Weight of each transaction, as in `pgbench -b tpcb-like@3`.
    pub of: IndexMap<Transaction, u32>,
}

fn one() -> u32 {
    1
}

fn thousand() -> u32 {
    1000
}

/// One of pgbench's built-in transactions, or one on books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transaction {
    /// Three updates, a select and an insert.
    Tpcb,
    /// The same without branches and tellers.
    SimpleUpdate,
    /// One select by key.
    SelectOnly,
    /// A new book.
    #[serde(skip)]
    InsertBook,
    /// A book by its key.
    #[serde(skip)]
    ReadBook,
}

impl Transaction {
    /// The name it has in scenarios and as a metric's subject.
    pub fn name(self) -> &'static str {
        match self {
            Transaction::Tpcb => "tpcb",
            Transaction::SimpleUpdate => "simple_update",
            Transaction::SelectOnly => "select_only",
            Transaction::InsertBook => "insert_book",
            Transaction::ReadBook => "read_book",
        }
    }

    /// Whether it writes.
    pub fn writes(self) -> bool {
        !self.tables().is_empty()
    }

    /// The tables that it writes.
    pub fn tables(self) -> &'static [&'static str] {
        match self {
            Transaction::Tpcb => &["pgbench_accounts", "pgbench_tellers", "pgbench_branches", "pgbench_history"],
            Transaction::SimpleUpdate => &["pgbench_accounts", "pgbench_history"],
            Transaction::InsertBook => &["books"],
            Transaction::SelectOnly | Transaction::ReadBook => &[],
        }
    }
}

impl Mix {
    /// The scale of pgbench's tables that it needs, if it needs them.
    pub fn scale(&self) -> Option<u32> {
        match self.range() {
            Range::Scale(scale) => Some(scale),
            Range::Books(_) => None,
        }
    }

    /// How many books it needs, if it is about books.
    pub fn books(&self) -> Option<u32> {
        match self.range() {
            Range::Scale(_) => None,
            Range::Books(books) => Some(books),
        }
    }

    /// What its draws range over.
    pub fn range(&self) -> Range {
        match self {
            Mix::Tpcb(one) | Mix::SimpleUpdate(one) | Mix::SelectOnly(one) => Range::Scale(one.scale),
            Mix::Weighted(several) => Range::Scale(several.scale),
            Mix::Books(books) => Range::Books(books.books),
        }
    }

    /// The tables that it writes.
    pub fn writes(&self) -> Vec<&'static str> {
        let of_weight = self.transactions().into_iter().filter(|(_, weight)| *weight > 0);
        let mut tables: Vec<&'static str> = of_weight.flat_map(|(what, _)| what.tables()).copied().collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// Its transactions with their weights.
    pub fn transactions(&self) -> Vec<(Transaction, u32)> {
        match self {
            Mix::Tpcb(_) => vec![(Transaction::Tpcb, 1)],
            Mix::SimpleUpdate(_) => vec![(Transaction::SimpleUpdate, 1)],
            Mix::SelectOnly(_) => vec![(Transaction::SelectOnly, 1)],
            Mix::Weighted(several) => several.of.iter().map(|(what, weight)| (*what, *weight)).collect(),
            Mix::Books(books) => {
                let both = [(Transaction::InsertBook, books.inserts), (Transaction::ReadBook, books.reads)];
                both.into_iter().filter(|(_, weight)| *weight > 0).collect()
            }
        }
    }
}
