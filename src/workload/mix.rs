//! Which transactions a load is made of: pgbench's three built-in ones, reads of IMDb's tables, alone or weighted, and those on
//! books.

use super::queries;
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
    /// A title by its key.
    ImdbPoint(OnImdb),
    /// A title with its cast.
    ImdbTitle(OnImdb),
    /// A person's titles.
    ImdbPerson(OnImdb),
    /// The best rated titles of a genre and a year.
    ImdbBest(OnImdb),
    /// Titles that begin with something.
    ImdbPrefix(OnImdb),
    /// Analytical joins of growing width, one after the other.
    ImdbQueries(OnImdb),
    /// Several transactions, each with a weight.
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
    /// Books that an insert brings, all in one transaction.
    #[serde(default = "one")]
    pub rows: u32,
}

/// A single transaction on pgbench's tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// pgbench's scale: branches; a branch has 10 tellers and 100,000 accounts.
    #[serde(default = "one")]
    pub scale: u32,
}

/// Reads of IMDb's seven tables, real or synthetic, which a `[data.NAME]` brings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnImdb {}

/// Weighted transactions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// pgbench's scale, for those of its transactions that are among them.
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

/// A transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transaction {
    /// Three updates, a select and an insert.
    Tpcb,
    /// The same without branches and tellers.
    SimpleUpdate,
    /// One select by key.
    SelectOnly,
    /// A title by its key.
    ImdbPoint,
    /// A title with its cast.
    ImdbTitle,
    /// A person's titles.
    ImdbPerson,
    /// The best rated titles of a genre and a year.
    ImdbBest,
    /// Titles that begin with something.
    ImdbPrefix,
    /// One of the analytical joins, by its place among them.
    #[serde(skip)]
    ImdbQuery(usize),
    /// A new book.
    #[serde(skip)]
    InsertBook,
    /// So many new books at once.
    #[serde(skip)]
    InsertBooks(u32),
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
            Transaction::ImdbPoint => "imdb_point",
            Transaction::ImdbTitle => "imdb_title",
            Transaction::ImdbPerson => "imdb_person",
            Transaction::ImdbBest => "imdb_best",
            Transaction::ImdbPrefix => "imdb_prefix",
            Transaction::ImdbQuery(n) => queries::ALL[n].name,
            Transaction::InsertBook => "insert_book",
            Transaction::InsertBooks(_) => "insert_books",
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
            Transaction::InsertBook | Transaction::InsertBooks(_) => &["books"],
            _ => &[],
        }
    }

    /// Whether it is on pgbench's tables.
    pub fn is_pgbenchs(self) -> bool {
        matches!(self, Transaction::Tpcb | Transaction::SimpleUpdate | Transaction::SelectOnly)
    }

    /// Whether it is on books.
    pub fn is_of_books(self) -> bool {
        matches!(self, Transaction::InsertBook | Transaction::InsertBooks(_) | Transaction::ReadBook)
    }
}

impl Mix {
    /// The scale of pgbench's tables that it needs, if it needs any.
    pub fn scale(&self) -> Option<u32> {
        match self {
            Mix::Tpcb(one) | Mix::SimpleUpdate(one) | Mix::SelectOnly(one) => Some(one.scale),
            Mix::Weighted(several) => several.of.keys().any(|what| what.is_pgbenchs()).then_some(several.scale),
            _ => None,
        }
    }

    /// Whether it needs IMDb's tables.
    pub fn needs_imdb(&self) -> bool {
        self.transactions().iter().any(|(what, _)| !what.is_pgbenchs() && !what.is_of_books())
    }

    /// How many books it needs, if it is about books.
    pub fn books(&self) -> Option<u32> {
        match self {
            Mix::Books(books) => Some(books.books),
            _ => None,
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

    /// Whether its transactions come in turn, and not by chance.
    pub fn in_turn(&self) -> bool {
        matches!(self, Mix::ImdbQueries(_))
    }

    /// Its transactions with their weights.
    pub fn transactions(&self) -> Vec<(Transaction, u32)> {
        let one = |what| vec![(what, 1)];
        match self {
            Mix::Tpcb(_) => one(Transaction::Tpcb),
            Mix::SimpleUpdate(_) => one(Transaction::SimpleUpdate),
            Mix::SelectOnly(_) => one(Transaction::SelectOnly),
            Mix::ImdbPoint(_) => one(Transaction::ImdbPoint),
            Mix::ImdbTitle(_) => one(Transaction::ImdbTitle),
            Mix::ImdbPerson(_) => one(Transaction::ImdbPerson),
            Mix::ImdbBest(_) => one(Transaction::ImdbBest),
            Mix::ImdbPrefix(_) => one(Transaction::ImdbPrefix),
            Mix::ImdbQueries(_) => (0..queries::ALL.len()).map(|n| (Transaction::ImdbQuery(n), 1)).collect(),
            Mix::Weighted(several) => several.of.iter().map(|(what, weight)| (*what, *weight)).collect(),
            Mix::Books(books) => {
                let insert = match books.rows {
                    1 => Transaction::InsertBook,
                    rows => Transaction::InsertBooks(rows),
                };
                let both = [(insert, books.inserts), (Transaction::ReadBook, books.reads)];
                both.into_iter().filter(|(_, weight)| *weight > 0).collect()
            }
        }
    }
}
