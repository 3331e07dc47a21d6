//! What TPC-B keeps true, and pgbench's tables with it: all balances agree with the history.

use serde::Serialize;
use std::fmt;
use tokio_postgres::Client;

/// Rows for each branch (`pgbench.c`).
const ACCOUNTS: i64 = 100_000;
const TELLERS: i64 = 10;

/// Sums and counts of pgbench's tables. A sum over no rows is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tpcb {
    /// Sum of the accounts' balances.
    pub accounts: Option<i64>,
    /// Sum of the tellers' balances.
    pub tellers: Option<i64>,
    /// Sum of the branches' balances.
    pub branches: Option<i64>,
    /// Sum of all changes; 0 when there was none.
    pub history: i64,
    /// How many accounts, tellers and branches there are.
    pub counts: (i64, i64, i64),
}

/// Such as `accounts 12, tellers 12, branches 12, history 9; 100000 accounts, 10 tellers, 1 branches`.
impl fmt::Display for Tpcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |sum: Option<i64>| sum.map_or_else(|| "none".to_owned(), |sum| sum.to_string());
        let (accounts, tellers, branches) = self.counts;
        write!(
            f,
            "accounts {}, tellers {}, branches {}, history {}; {accounts} accounts, {tellers} tellers, {branches} branches",
            sum(self.accounts),
            sum(self.tellers),
            sum(self.branches),
            self.history
        )
    }
}

impl Tpcb {
    /// Asks for them, when the tables are there.
    pub(super) async fn ask(client: &Client) -> Result<Option<Tpcb>, tokio_postgres::Error> {
        let names = ["accounts", "tellers", "branches", "history"].map(|name| format!("to_regclass('pgbench_{name}')"));
        let there = format!("SELECT num_nulls({}) = 0", names.join(", "));
        if !client.query_one(&there, &[]).await?.get::<_, bool>(0) {
            return Ok(None);
        }
        // One statement, and so one moment.
        let row = client
            .query_one(
                "SELECT a.sum::bigint, t.sum::bigint, b.sum::bigint, h.sum::bigint, a.count, t.count, b.count FROM \
                 (SELECT sum(abalance), count(*) FROM pgbench_accounts) a, \
                 (SELECT sum(tbalance), count(*) FROM pgbench_tellers) t, \
                 (SELECT sum(bbalance), count(*) FROM pgbench_branches) b, \
                 (SELECT coalesce(sum(delta), 0) AS sum FROM pgbench_history) h",
                &[],
            )
            .await?;
        Ok(Some(Tpcb {
            accounts: row.get(0),
            tellers: row.get(1),
            branches: row.get(2),
            history: row.get(3),
            counts: (row.get(4), row.get(5), row.get(6)),
        }))
    }

    /// Whether all sums are one, and no row is missing.
    pub fn agrees(&self) -> bool {
        let (accounts, tellers, branches) = self.counts;
        let sums = [self.accounts, self.tellers, self.branches];
        let complete = branches > 0 && accounts == branches * ACCOUNTS && tellers == branches * TELLERS;
        complete && sums.iter().all(|sum| *sum == Some(self.history))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_must_agree_and_be_there() {
        let good =
            Tpcb { accounts: Some(-7), tellers: Some(-7), branches: Some(-7), history: -7, counts: (200_000, 20, 2) };
        assert!(good.agrees());
        for bad in [
            Tpcb { accounts: Some(-6), ..good.clone() },
            Tpcb { history: 0, ..good.clone() },
            Tpcb { branches: None, counts: (200_000, 20, 0), ..good.clone() },
            Tpcb { counts: (199_999, 20, 2), ..good.clone() },
            Tpcb { counts: (200_000, 19, 2), ..good.clone() },
        ] {
            assert!(!bad.agrees(), "{bad:?}");
        }
    }
}
