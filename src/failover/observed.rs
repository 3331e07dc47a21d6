//! What is known of the servers: only what another host would get over TCP and SQL, with its age and,
//! when a check failed, the way in which it failed.

use super::{Action, Address, Timeline};
use crate::base::Name;
use crate::pg::Lsn;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// All that a step can see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The newest check of each server.
    pub nodes: BTreeMap<Name, Seen>,
    /// Actions that ended since the last step.
    pub completions: Vec<Completion>,
    /// The newest wish for a switchover; it stays until the status answers it.
    pub request: Option<Request>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When it began: what it says may have been true from here on.
    pub asked: Duration,
    /// When its answer or its failure was known.
    pub answered: Duration,
    /// What it gave.
    pub result: Result<Facts, Failure>,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `pg_control_system()`: servers of one cluster share it.
    pub system: u64,
    /// `pg_is_in_recovery()`
    pub in_recovery: bool,
    /// `transaction_read_only` of a new transaction; always on in recovery.
    pub read_only: bool,
    /// On a primary the timeline it writes; on a standby the newest one it received.
    pub timeline: Timeline,
    /// `pg_current_wal_lsn()` of a primary.
    pub current: Option<Lsn>,
    /// `pg_last_wal_receive_lsn()`: received and flushed.
    pub received: Option<Lsn>,
    /// `pg_last_wal_replay_lsn()`
    pub replayed: Option<Lsn>,
    /// Where `primary_conninfo` points.
    pub upstream: Option<Address>,
    /// Where its WAL receiver streams from at this moment.
    pub streams_from: Option<Address>,
    /// `application_name`s of `pg_stat_replication` in state `streaming`.
    pub senders: BTreeSet<String>,
}

impl Facts {
    /// Whether a client could write.
    pub fn writable(&self) -> bool {
        !self.in_recovery && !self.read_only
    }

    /// The end of the WAL that it would have after a promotion. `received` alone is not enough: it is unset
    /// until a WAL receiver ran, and restarts at a segment's beginning.
    pub fn position(&self) -> Lsn {
        self.current.max(self.received).max(self.replayed).unwrap_or_default()
    }
}

/// How a check failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// Nothing listens, or the connection broke.
    Unreachable,
    /// Neither answer nor refusal within the deadline.
    Timeout,
    /// It is there, but takes no connection now: starting up, recovering, shutting down (57P03).
    Starting,
    /// It is there and refuses the login.
    Authentication,
    /// It is there and refuses the connection or the query.
    QueryFailed {
        /// What it said.
        sqlstate: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable => f.write_str("cannot be reached"),
            Failure::Timeout => f.write_str("did not answer in time"),
            Failure::Starting => f.write_str("takes no connection now (SQLSTATE 57P03)"),
            Failure::Authentication => f.write_str("refuses the login"),
            Failure::QueryFailed { sqlstate } => write!(f, "refuses the query (SQLSTATE {sqlstate})"),
        }
    }
}

/// An action ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Which.
    pub action: Action,
    /// When.
    pub at: Duration,
    /// With what: an error is a sentence for people.
    pub result: Result<Done, String>,
}

/// What a completed action brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// It was done; there is no more to say.
    Done,
    /// Proof of a fence, as a sentence.
    Fenced(String),
    /// End of the WAL after a `CHECKPOINT`, or start of the shutdown checkpoint's record after a stop.
    At(Lsn),
}

/// A wish for a switchover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Counts requests from 1.
    pub id: u64,
    /// Who shall become primary; absent: whoever would be elected.
    pub to: Option<Name>,
    /// When it was asked for.
    pub at: Duration,
    /// How long the standby may take to catch up.
    pub timeout: Duration,
}
