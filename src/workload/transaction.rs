//! pgbench's built-in transactions, statement for statement and draw for draw, so that figures compare line for line
//! (`src/bin/pgbench/pgbench.c`, `builtin_script`); and those on books.

use super::mix::{Range, Transaction};
use crate::pg::books::INSERT;
use crate::pg::pgbench::{ACCOUNTS, BIGINT_SCALE, BRANCHES, TELLERS};
use crate::pg::wire::{Param, Statement, Wire, WireError};
use rand::{Rng, RngExt};
use tokio_postgres::types::{ToSql, Type};

/// A variable of pgbench's scripts, or one of books.
#[derive(Clone, Copy, Debug)]
pub(super) enum Variable {
    Aid,
    Bid,
    Tid,
    Delta,
    Book,
    Number,
}

/// One statement, with the variables that are its parameters in order.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) sql: &'static str,
    pub(super) of: &'static [Variable],
}

const BEGIN: Step = Step { sql: "BEGIN", of: &[] };
const END: Step = Step { sql: "END", of: &[] };
const UPDATE_ACCOUNT: Step = Step {
    sql: "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2",
    of: &[Variable::Delta, Variable::Aid],
};
const SELECT_ACCOUNT: Step = Step { sql: "SELECT abalance FROM pgbench_accounts WHERE aid = $1", of: &[Variable::Aid] };
const UPDATE_TELLER: Step = Step {
    sql: "UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2",
    of: &[Variable::Delta, Variable::Tid],
};
const UPDATE_BRANCH: Step = Step {
    sql: "UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2",
    of: &[Variable::Delta, Variable::Bid],
};
const INSERT_HISTORY: Step = Step {
    sql: "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)",
    of: &[Variable::Tid, Variable::Bid, Variable::Aid, Variable::Delta],
};

/// The rest of a book follows from its number; see [`INSERT`].
const INSERT_BOOK: Step = Step { sql: INSERT, of: &[Variable::Number] };
const READ_BOOK: Step = Step { sql: "SELECT sku, title, topic FROM books WHERE id = $1", of: &[Variable::Book] };

impl Transaction {
    /// Its statements in order.
    pub(super) fn steps(self) -> &'static [Step] {
        match self {
            Transaction::Tpcb => {
                &[BEGIN, UPDATE_ACCOUNT, SELECT_ACCOUNT, UPDATE_TELLER, UPDATE_BRANCH, INSERT_HISTORY, END]
            }
            Transaction::SimpleUpdate => &[BEGIN, UPDATE_ACCOUNT, SELECT_ACCOUNT, INSERT_HISTORY, END],
            Transaction::SelectOnly => &[SELECT_ACCOUNT],
            Transaction::InsertBook => &[INSERT_BOOK],
            Transaction::ReadBook => &[READ_BOOK],
        }
    }
}

/// The variables of one transaction: pgbench's, drawn as pgbench draws them, or those of books; the others are 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    aid: Account,
    bid: i32,
    tid: i32,
    delta: i32,
    book: i64,
    number: i32,
}

/// An account number in the width of its column.
#[derive(Clone, Copy, Debug)]
enum Account {
    Int4(i32),
    Int8(i64),
}

impl Draw {
    /// Uniform: account 1 to 100,000 × scale, branch 1 to scale, teller 1 to 10 × scale, delta −5000 to 5000; a book
    /// among those of the start, and any number for a new one.
    #[inline]
    pub(super) fn new(rng: &mut impl Rng, range: Range) -> Draw {
        let scale = match range {
            Range::Scale(scale) => scale,
            Range::Books(books) => {
                let book = rng.random_range(1..=i64::from(books.max(1)));
                let number = rng.random_range(0..=i32::MAX);
                return Draw { aid: Account::Int4(0), bid: 0, tid: 0, delta: 0, book, number };
            }
        };
        let aid = rng.random_range(1..=ACCOUNTS * i64::from(scale));
        let aid = if scale < BIGINT_SCALE { Account::Int4(aid as i32) } else { Account::Int8(aid) };
        // Branches and tellers are `int` at every scale; pgbench's largest (21474) keeps them inside.
        let bid = rng.random_range(1..=BRANCHES * i64::from(scale)) as i32;
        let tid = rng.random_range(1..=TELLERS * i64::from(scale)) as i32;
        Draw { aid, bid, tid, delta: rng.random_range(-5000..=5000), book: 0, number: 0 }
    }

    #[inline]
    fn param(&self, variable: Variable) -> Param<'static> {
        match (variable, self.aid) {
            (Variable::Aid, Account::Int4(aid)) => Param::Int4(aid),
            (Variable::Aid, Account::Int8(aid)) => Param::Int8(aid),
            (Variable::Bid, _) => Param::Int4(self.bid),
            (Variable::Tid, _) => Param::Int4(self.tid),
            (Variable::Delta, _) => Param::Int4(self.delta),
            (Variable::Book, _) => Param::Int8(self.book),
            (Variable::Number, _) => Param::Int4(self.number),
        }
    }

    /// The same for `tokio-postgres`.
    pub(super) fn value(&self, variable: Variable) -> &(dyn ToSql + Sync) {
        match (variable, &self.aid) {
            (Variable::Aid, Account::Int4(aid)) => aid,
            (Variable::Aid, Account::Int8(aid)) => aid,
            (Variable::Bid, _) => &self.bid,
            (Variable::Tid, _) => &self.tid,
            (Variable::Delta, _) => &self.delta,
            (Variable::Book, _) => &self.book,
            (Variable::Number, _) => &self.number,
        }
    }
}

/// The types that a step's parameters have in this range.
pub(super) fn types(step: &Step, range: Range) -> Vec<Type> {
    let one = |of: &Variable| match (of, range) {
        (Variable::Aid, Range::Scale(BIGINT_SCALE..)) | (Variable::Book, _) => Type::INT8,
        _ => Type::INT4,
    };
    step.of.iter().map(one).collect()
}

/// A transaction's statements prepared on one connection.
#[derive(Debug)]
pub(super) struct Prepared {
    statements: Vec<(Statement, &'static [Variable])>,
}

impl Prepared {
    pub(super) async fn on(wire: &mut Wire, what: Transaction, range: Range) -> Result<Prepared, WireError> {
        let mut statements = Vec::new();
        for step in what.steps() {
            statements.push((wire.prepare(step.sql, &types(step, range)).await?, step.of));
        }
        Ok(Prepared { statements })
    }

    /// Runs them, one round trip each, as `pgbench -M prepared` does.
    #[inline]
    pub(super) async fn run(&self, wire: &mut Wire, draw: &Draw) -> Result<(), WireError> {
        for (statement, of) in &self.statements {
            let mut params = [Param::Int4(0); 4];
            for (param, variable) in params.iter_mut().zip(*of) {
                *param = draw.param(*variable);
            }
            wire.execute(statement, &params[..of.len()]).await?;
        }
        Ok(())
    }
}

/// Chooses transactions by their weights.
#[derive(Clone, Debug)]
pub(super) struct Chooser {
    /// Running sums of the weights.
    sums: Vec<u32>,
}

impl Chooser {
    pub(super) fn new(weights: impl IntoIterator<Item = u32>) -> Chooser {
        let sum = |sum: &mut u32, weight| {
            *sum += weight;
            Some(*sum)
        };
        Chooser { sums: weights.into_iter().scan(0, sum).collect() }
    }

    /// The index of the next one; like pgbench, it draws nothing when there is no choice.
    #[inline]
    pub(super) fn choose(&self, rng: &mut impl Rng) -> usize {
        match self.sums.as_slice() {
            [_] => 0,
            sums => {
                let point = rng.random_range(0..sums[sums.len() - 1]);
                sums.partition_point(|sum| *sum <= point)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    #[test]
    fn draws_cover_pgbenchs_ranges_and_no_more() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let (mut bids, mut tids, mut deltas, mut low, mut high) = ([0; 3], [0; 21], [0; 10_001], 0, 0);
        for _ in 0..200_000 {
            let draw = Draw::new(&mut rng, Range::Scale(2));
            let Account::Int4(aid) = draw.aid else { panic!("bigint at scale 2") };
            assert!((1..=200_000).contains(&aid));
            low += usize::from(aid <= 1000);
            high += usize::from(aid > 199_000);
            bids[draw.bid as usize] += 1;
            tids[draw.tid as usize] += 1;
            deltas[(draw.delta + 5000) as usize] += 1;
        }
        assert!(bids[0] == 0 && tids[0] == 0);
        assert!(bids[1..].iter().all(|n| (98_000..102_000).contains(n)), "{bids:?}");
        assert!(tids[1..].iter().all(|n| (9_000..11_000).contains(n)), "{tids:?}");
        assert!(deltas[0] > 0 && deltas[10_000] > 0, "both ends occur");
        assert!((800..1200).contains(&low) && (800..1200).contains(&high), "{low} {high}");
    }

    #[test]
    fn accounts_are_bigint_from_pgbenchs_threshold_on() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        assert!(matches!(Draw::new(&mut rng, Range::Scale(BIGINT_SCALE)).aid, Account::Int8(_)));
        assert_eq!(types(&UPDATE_ACCOUNT, Range::Scale(BIGINT_SCALE)), [Type::INT4, Type::INT8]);
        assert_eq!(types(&UPDATE_ACCOUNT, Range::Scale(1)), [Type::INT4, Type::INT4]);
    }

    #[test]
    fn weights_are_kept_and_zero_never_comes() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let chooser = Chooser::new([3, 0, 1]);
        let mut seen = [0; 3];
        for _ in 0..40_000 {
            seen[chooser.choose(&mut rng)] += 1;
        }
        assert_eq!(seen[1], 0);
        assert!((29_000..31_000).contains(&seen[0]), "{seen:?}");
        assert_eq!(Chooser::new([5]).choose(&mut rng), 0);
    }

    #[test]
    fn the_same_seed_gives_the_same_draws() {
        let draws = |seed| {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            (0..50).map(|_| format!("{:?}", Draw::new(&mut rng, Range::Scale(10)))).collect::<Vec<_>>()
        };
        assert_eq!(draws(3), draws(3));
        assert_ne!(draws(3), draws(4));
    }
}
