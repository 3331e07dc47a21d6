//! Transactions as statements with variables. pgbench's built-in ones are so statement for statement and draw for draw, so
//! that figures compare line for line (`src/bin/pgbench/pgbench.c`, `builtin_script`).

use super::imdb;
use super::mix::Transaction;
use super::queries::{self, Answer};
use super::space::{ImdbDraw, Space};
use crate::pg::books::{INSERT, INSERT_SEVERAL};
use crate::pg::pgbench::{ACCOUNTS, BIGINT_SCALE, BRANCHES, TELLERS};
use crate::pg::wire::{Param, Statement, Wire, WireError};
use rand::{Rng, RngExt};
use std::slice;
use tokio_postgres::types::Type;

/// A variable of a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Variable {
    /// Of pgbench's scripts.
    Aid,
    Bid,
    Tid,
    Delta,
    /// Keys of IMDb's tables.
    Title,
    Person,
    /// What a title begins with, and the least text beyond.
    From,
    Beyond,
    /// A genre, and a year in which it occurs.
    Genre,
    Year,
    /// A book that is there, and the number of which a new one is made, or the first of how many.
    Book,
    Number,
    Rows,
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
const INSERT_BOOKS: Step = Step { sql: INSERT_SEVERAL, of: &[Variable::Number, Variable::Rows] };
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
            Transaction::ImdbPoint => &[imdb::POINT],
            Transaction::ImdbTitle => &[imdb::TITLE],
            Transaction::ImdbPerson => &[imdb::PERSON],
            Transaction::ImdbBest => &[imdb::BEST],
            Transaction::ImdbPrefix => &[imdb::PREFIX],
            Transaction::ImdbQuery(n) => slice::from_ref(&queries::ALL[n].step),
            Transaction::InsertBook => &[INSERT_BOOK],
            Transaction::InsertBooks(_) => &[INSERT_BOOKS],
            Transaction::ReadBook => &[READ_BOOK],
        }
    }
}

/// The variables of one transaction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Draw<'s> {
    /// On pgbench's tables.
    Pgbench(Pgbench),
    /// On IMDb's.
    Imdb(ImdbDraw<'s>),
    /// On books.
    Book(i64),
    NewBooks(i32, u32),
    /// None.
    Nothing,
}

/// The variables of one of pgbench's transactions, drawn as it draws them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pgbench {
    aid: Account,
    bid: i32,
    tid: i32,
    delta: i32,
}

/// An account number in the width of its column.
#[derive(Clone, Copy, Debug)]
enum Account {
    Int4(i32),
    Int8(i64),
}

impl Pgbench {
    /// Uniform: account 1 to 100,000 × scale, branch 1 to scale, teller 1 to 10 × scale, delta −5000 to 5000.
    #[inline]
    pub(super) fn new(rng: &mut impl Rng, scale: u32) -> Pgbench {
        let aid = rng.random_range(1..=ACCOUNTS * i64::from(scale));
        let aid = if scale < BIGINT_SCALE { Account::Int4(aid as i32) } else { Account::Int8(aid) };
        // Branches and tellers are `int` at every scale; pgbench's largest (21474) keeps them inside.
        let bid = rng.random_range(1..=BRANCHES * i64::from(scale)) as i32;
        let tid = rng.random_range(1..=TELLERS * i64::from(scale)) as i32;
        Pgbench { aid, bid, tid, delta: rng.random_range(-5000..=5000) }
    }
}

impl<'s> Draw<'s> {
    /// Draws what `what` needs.
    #[inline]
    pub(super) fn new(rng: &mut impl Rng, what: Transaction, space: &'s Space) -> Draw<'s> {
        match (what, &space.imdb) {
            (Transaction::Tpcb | Transaction::SimpleUpdate | Transaction::SelectOnly, _) => {
                Draw::Pgbench(Pgbench::new(rng, space.scale))
            }
            (Transaction::ReadBook, _) => Draw::Book(rng.random_range(1..=i64::from(space.books.max(1)))),
            (Transaction::InsertBook, _) => Draw::NewBooks(rng.random_range(0..=i32::MAX), 1),
            (Transaction::InsertBooks(rows), _) => Draw::NewBooks(rng.random_range(0..=i32::MAX), rows),
            (Transaction::ImdbQuery(_), _) | (_, None) => Draw::Nothing,
            (_, Some(imdb)) => Draw::Imdb(imdb.draw(rng)),
        }
    }

    /// A variable's value. What a transaction has no value of is the number 0, which the server refuses as a text.
    #[inline]
    pub(super) fn param(&self, variable: Variable) -> Param<'_> {
        match (self, variable) {
            (Draw::Pgbench(draw), Variable::Aid) => match draw.aid {
                Account::Int4(aid) => Param::Int4(aid),
                Account::Int8(aid) => Param::Int8(aid),
            },
            (Draw::Pgbench(draw), Variable::Bid) => Param::Int4(draw.bid),
            (Draw::Pgbench(draw), Variable::Tid) => Param::Int4(draw.tid),
            (Draw::Pgbench(draw), Variable::Delta) => Param::Int4(draw.delta),
            (Draw::Imdb(draw), Variable::Title) => Param::Text(draw.title.as_str()),
            (Draw::Imdb(draw), Variable::Person) => Param::Text(draw.person.as_str()),
            (Draw::Imdb(draw), Variable::From) => Param::Text(&draw.beginning.0),
            (Draw::Imdb(draw), Variable::Beyond) => Param::Text(&draw.beginning.1),
            (Draw::Imdb(draw), Variable::Genre) => Param::Text(&draw.genre.0),
            (Draw::Imdb(draw), Variable::Year) => Param::Int4(draw.genre.1),
            (Draw::Book(book), Variable::Book) => Param::Int8(*book),
            (Draw::NewBooks(number, _), Variable::Number) => Param::Int4(*number),
            (Draw::NewBooks(_, rows), Variable::Rows) => Param::Int8(i64::from(*rows)),
            _ => Param::Int4(0),
        }
    }
}

/// The types that a step's parameters have at pgbench's `scale`.
pub(super) fn types(step: &Step, scale: u32) -> Vec<Type> {
    let of = |variable: &Variable| match variable {
        Variable::Aid if scale >= BIGINT_SCALE => Type::INT8,
        Variable::Book | Variable::Rows => Type::INT8,
        Variable::Aid | Variable::Bid | Variable::Tid | Variable::Delta | Variable::Year | Variable::Number => {
            Type::INT4
        }
        Variable::Title | Variable::Person | Variable::From | Variable::Beyond | Variable::Genre => Type::TEXT,
    };
    step.of.iter().map(of).collect()
}

/// A transaction's statements prepared on one connection.
#[derive(Debug)]
pub(super) struct Prepared {
    statements: Vec<(Statement, &'static [Variable])>,
}

impl Prepared {
    pub(super) async fn on(wire: &mut Wire, what: Transaction, scale: u32) -> Result<Prepared, WireError> {
        let mut statements = Vec::new();
        for step in what.steps() {
            statements.push((wire.prepare(step.sql, &types(step, scale)).await?, step.of));
        }
        Ok(Prepared { statements })
    }

    /// Runs them, one round trip each, as `pgbench -M prepared` does. What the last one came to, if that was a row of two
    /// `bigint`s.
    #[inline]
    pub(super) async fn run(&self, wire: &mut Wire, draw: &Draw<'_>) -> Result<Option<Answer>, WireError> {
        let mut answer = None;
        for (statement, of) in &self.statements {
            let mut params = [Param::Int4(0); 4];
            for (param, variable) in params.iter_mut().zip(*of) {
                *param = draw.param(*variable);
            }
            answer = wire.execute(statement, &params[..of.len()]).await?.pair;
        }
        Ok(answer.map(|(rows, sum)| Answer(rows, sum)))
    }
}

/// Chooses transactions.
#[derive(Clone, Debug)]
pub(super) enum Chooser {
    /// By chance: running sums of the weights.
    Weighted(Vec<u32>),
    /// One after the other: the next, of how many.
    InTurn(usize, usize),
}

impl Chooser {
    /// By their weights.
    pub(super) fn new(weights: impl IntoIterator<Item = u32>) -> Chooser {
        let sum = |sum: &mut u32, weight| {
            *sum += weight;
            Some(*sum)
        };
        Chooser::Weighted(weights.into_iter().scan(0, sum).collect())
    }

    /// The index of the next one; like pgbench, it draws nothing when there is no choice.
    #[inline]
    pub(super) fn choose(&mut self, rng: &mut impl Rng) -> usize {
        match self {
            Chooser::Weighted(sums) => match sums.as_slice() {
                [_] => 0,
                sums => {
                    let point = rng.random_range(0..sums[sums.len() - 1]);
                    sums.partition_point(|sum| *sum <= point)
                }
            },
            Chooser::InTurn(next, of) => {
                let chosen = *next;
                *next = (chosen + 1) % *of;
                chosen
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
            let draw = Pgbench::new(&mut rng, 2);
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
        assert!(matches!(Pgbench::new(&mut rng, BIGINT_SCALE).aid, Account::Int8(_)));
        assert_eq!(types(&UPDATE_ACCOUNT, BIGINT_SCALE), [Type::INT4, Type::INT8]);
        assert_eq!(types(&UPDATE_ACCOUNT, 1), [Type::INT4, Type::INT4]);
    }

    #[test]
    fn weights_are_kept_and_zero_never_comes() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut chooser = Chooser::new([3, 0, 1]);
        let mut seen = [0; 3];
        for _ in 0..40_000 {
            seen[chooser.choose(&mut rng)] += 1;
        }
        assert_eq!(seen[1], 0);
        assert!((29_000..31_000).contains(&seen[0]), "{seen:?}");
        assert_eq!(Chooser::new([5]).choose(&mut rng), 0);
        let mut turn = Chooser::InTurn(1, 3);
        assert_eq!([0; 4].map(|_| turn.choose(&mut rng)), [1, 2, 0, 1]);
    }

    #[test]
    fn the_same_seed_gives_the_same_draws() {
        let draws = |seed| {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            (0..50).map(|_| format!("{:?}", Pgbench::new(&mut rng, 10))).collect::<Vec<_>>()
        };
        assert_eq!(draws(3), draws(3));
        assert_ne!(draws(3), draws(4));
    }
}
