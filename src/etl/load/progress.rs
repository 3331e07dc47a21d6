//! How far a load is, for whoever looks.

use crate::etl::source::{Amount, Source};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How far a load is. The load writes it, and others read it when they like.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    all: Amount,
    rows: AtomicU64,
    bytes: AtomicU64,
    rejected: AtomicU64,
    /// What each stream does.
    doing: Mutex<Vec<String>>,
}

/// A look at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Now {
    /// Rows so far.
    pub rows: u64,
    /// Bytes so far, as the source stores them, or as they were sent where it stores none.
    pub bytes: u64,
    /// Rejected rows so far.
    pub rejected: u64,
    /// How long it has been going on.
    pub elapsed: Duration,
    /// How much of all rows was copied, between 0 and 1; absent: unknown.
    pub share: Option<f64>,
    /// What the streams do.
    pub doing: Vec<String>,
}

impl Now {
    /// How long copying the rest will take if it goes on like this. Keys and indexes that stand between tables are in it,
    /// those after the last are not.
    pub fn remaining(&self) -> Option<Duration> {
        let share = self.share.filter(|share| *share > 0.01)?;
        Duration::try_from_secs_f64(self.elapsed.as_secs_f64() * (1.0 - share) / share).ok()
    }
}

impl Progress {
    /// Of a load of `source`, from now on.
    pub fn new(source: &Source) -> Progress {
        let amounts: Vec<Amount> = (0..source.tables().len()).map(|table| source.amount(table)).collect();
        Progress {
            started: Instant::now(),
            all: Amount {
                rows: amounts.iter().map(|amount| amount.rows).sum(),
                bytes: amounts.iter().map(|amount| amount.bytes).sum(),
            },
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            doing: Mutex::default(),
        }
    }

    /// How far it is.
    pub fn now(&self) -> Now {
        let (rows, bytes) = (self.rows.load(Relaxed), self.bytes.load(Relaxed));
        let share = |done: u64, all: Option<u64>| all.map(|all| (done as f64 / all.max(1) as f64).min(1.0));
        Now {
            rows,
            bytes,
            rejected: self.rejected.load(Relaxed),
            elapsed: self.started.elapsed(),
            share: share(bytes, self.all.bytes).or(share(rows, self.all.rows)),
            doing: self.doing.lock().map(|doing| doing.clone()).unwrap_or_default(),
        }
    }

    /// A stream has begun with `what`; empty: with nothing more.
    pub(super) fn doing(&self, stream: usize, what: String) {
        let Ok(mut doing) = self.doing.lock() else { return };
        if doing.len() <= stream {
            doing.resize(stream + 1, String::new());
        }
        doing[stream] = what;
    }

    /// This much more was copied.
    pub(super) fn copied(&self, rows: u64, bytes: u64, rejected: u64) {
        self.rows.fetch_add(rows, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.rejected.fetch_add(rejected, Relaxed);
    }
}
