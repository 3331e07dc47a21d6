//! What the streams of a load share: the order, the jobs that wait, what was done so far.

use super::error::LoadError;
use super::session::Sessions;
use super::state::{self, Before};
use super::{LoadedTable, Order};
use crate::etl::rejects::{Reject, Rejects};
use crate::etl::source::Part;
use crate::etl::table::Table;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio_postgres::Client;

/// What the streams of a load share.
#[derive(Debug)]
pub struct Work {
    /// What is loaded, where and how.
    pub order: Order,
    /// The source's tables.
    pub tables: Vec<Table>,
    /// The sessions that were opened.
    pub sessions: Sessions,
    jobs: Mutex<VecDeque<Job>>,
    /// What was done, table by table.
    done: Mutex<Vec<Done>>,
    rejected: AtomicU64,
}

/// A piece of work for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// To create and copy a table, all of it.
    Table(usize),
    /// To copy a part of a table that was created.
    Part(usize, Part),
    /// To validate the foreign keys of a table.
    References(usize),
    /// `VACUUM (ANALYZE)` or `ANALYZE`.
    Analyze(usize),
}

/// What was done for a table.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// As it will be told.
    pub table: LoadedTable,
    /// Whether it has statistics already.
    pub is_analyzed: bool,
    /// When its first part began.
    pub began: Option<Instant>,
    /// How many of its parts are there.
    pub parts: u32,
}

impl Work {
    /// Of a load of tables of which `before` is known.
    pub fn new(order: Order, tables: Vec<Table>, before: Vec<Before>) -> Work {
        let done = before.into_iter().enumerate().map(|(nth, before)| match before {
            Before::Complete { table, is_analyzed } => Done { table: *table, is_analyzed, ..Done::default() },
            Before::Nothing => {
                let (name, key) = (tables[nth].name.clone(), order.source.key(nth));
                Done { table: LoadedTable { name, key, ..LoadedTable::default() }, ..Done::default() }
            }
        });
        Work {
            done: Mutex::new(done.collect()),
            order,
            tables,
            sessions: Sessions::default(),
            jobs: Mutex::default(),
            rejected: AtomicU64::new(0),
        }
    }

    /// The tables that are to be loaded, largest first: so the last stream to end has least left to do alone.
    pub fn to_load(&self) -> Vec<usize> {
        let size = |nth: usize| {
            let amount = self.order.source.amount(nth);
            amount.bytes.or(amount.rows)
        };
        let mut tables: Vec<usize> = (0..self.tables.len()).filter(|&nth| !self.done(nth, |d| d.table.kept)).collect();
        tables.sort_by_key(|&nth| std::cmp::Reverse(size(nth)));
        tables
    }

    /// Whether a table's rows come in several transactions.
    pub fn parts(&self, nth: usize) -> u32 {
        match self.order.source.has_parts(nth) {
            true => self.order.settings.streams_per_table.max(1),
            false => 1,
        }
    }

    /// What was done for a table, to look at or to write to.
    pub fn done<T>(&self, nth: usize, see: impl FnOnce(&mut Done) -> T) -> T {
        see(&mut self.done.lock().unwrap_or_else(PoisonError::into_inner)[nth])
    }

    /// The next job.
    pub fn next(&self) -> Option<Job> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Puts jobs to the others.
    pub fn wait_for(&self, jobs: impl IntoIterator<Item = Job>) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).extend(jobs);
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Writes rejects down, as long as there may be more.
    pub fn reject(&self, table: &str, to: &mut Rejects, rejects: &[Reject]) -> Result<(), LoadError> {
        for reject in rejects {
            to.add(reject).map_err(|why| LoadError::Rejects { path: to.path().to_owned(), why })?;
        }
        let Some(last) = rejects.last() else { return Ok(()) };
        let before = self.rejected.fetch_add(rejects.len() as u64, Relaxed);
        let limit = self.order.settings.max_rejects;
        if before + rejects.len() as u64 > limit {
            return Err(LoadError::TooMany { limit, last: Some((table.to_owned(), last.reason.clone())) });
        }
        Ok(())
    }

    /// How many more rows may be rejected.
    pub fn may_reject(&self) -> u64 {
        self.order.settings.max_rejects.saturating_sub(self.rejected.load(Relaxed))
    }

    /// Rejects that were counted belong to an attempt that is made again.
    pub fn unreject(&self, count: u64) {
        self.rejected.fetch_sub(count, Relaxed);
    }

    /// The state of a table that is complete, in the transaction that completes it.
    pub async fn complete(&self, client: &Client, nth: usize, done: &LoadedTable) -> Result<(), LoadError> {
        state::complete(client, &self.order, nth, &self.tables[nth], done).await
    }
}

/// The rejects of one table in one pass stand from now on.
pub fn keep(rejects: &mut Rejects) -> Result<(), LoadError> {
    rejects.keep().map_err(|why| LoadError::Rejects { path: rejects.path().to_owned(), why })
}
