//! Which transactions a load is made of: pgbench's three built-in ones, alone or weighted.

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

/// One of pgbench's built-in transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transaction {
    /// Three updates, a select and an insert.
    Tpcb,
    /// The same without branches and tellers.
    SimpleUpdate,
    /// One select by key.
    SelectOnly,
}

impl Transaction {
    /// The name it has in scenarios and as a metric's subject.
    pub fn name(self) -> &'static str {
        match self {
            Transaction::Tpcb => "tpcb",
            Transaction::SimpleUpdate => "simple_update",
            Transaction::SelectOnly => "select_only",
        }
    }

    /// Whether it writes.
    pub fn writes(self) -> bool {
        self != Transaction::SelectOnly
    }
}

impl Mix {
    /// The scale of pgbench's tables that it needs.
    pub fn scale(&self) -> u32 {
        match self {
            Mix::Tpcb(one) | Mix::SimpleUpdate(one) | Mix::SelectOnly(one) => one.scale,
            Mix::Weighted(several) => several.scale,
        }
    }

    /// Its transactions with their weights.
    pub fn transactions(&self) -> Vec<(Transaction, u32)> {
        match self {
            Mix::Tpcb(_) => vec![(Transaction::Tpcb, 1)],
            Mix::SimpleUpdate(_) => vec![(Transaction::SimpleUpdate, 1)],
            Mix::SelectOnly(_) => vec![(Transaction::SelectOnly, 1)],
            Mix::Weighted(several) => several.of.iter().map(|(what, weight)| (*what, *weight)).collect(),
        }
    }
}
