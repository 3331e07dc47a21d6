//! A writer's connection, and what an answer on it means for the write.

use super::TABLE;
use super::book::Outcome;
use crate::pg::wire::{Notices, Param, Statement, Wire, WireError};
use crate::pg::{Host, Login};
use std::time::{Duration, Instant};

/// SQLSTATEs of the warnings that a commit sends when its wait for a synchronous standby is cancelled:
/// `warning`, and `admin_shutdown` when the session is being terminated. A FATAL of the same class that comes
/// with a complete acknowledgement is not among a command's notices, and takes nothing back.
const WEAK: [&str; 2] = ["01000", "57P01"];

/// What a server says that takes no writes (`read_only_sql_transaction`).
const READ_ONLY: &str = "25006";

/// A connection with the ledger's INSERT prepared on it.
#[derive(Debug)]
pub(super) struct Session {
    wire: Wire,
    insert: Statement,
    host: Host,
    /// The server's timeline: a session that writes outlives no promotion of another, and none of its own.
    timeline: u32,
    timeout: Duration,
}

/// As many rows as the number of the server's timeline, since rows are all that is counted of an answer. A standby
/// has none of its own; it takes no writes, and a promotion will be a session later.
const TIMELINE: &str = "SELECT generate_series(1, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int) \
                        WHERE NOT pg_is_in_recovery()";

/// What came of the attempt to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// None: nothing was sent.
    pub(super) outcome: Option<Outcome>,
    /// The connection can be used on.
    pub(super) usable: bool,
}

impl Session {
    /// Connects to `host`; each step, and each write later on, may take `timeout`.
    pub(super) async fn open(host: &Host, login: &Login, timeout: Duration) -> Result<Session, WireError> {
        let mut wire = Wire::connect(host, login, timeout).await?;
        wire.set_deadline(Some(Instant::now() + timeout));
        // The server infers int4 and int8 from the table.
        let insert = wire.prepare(&format!("INSERT INTO {TABLE} (writer, seq) VALUES ($1, $2)"), &[]).await?;
        let timeline = wire.simple(TIMELINE).await?.rows;
        let timeline = u32::try_from(timeline).unwrap_or(u32::MAX);
        Ok(Session { wire, insert, host: host.clone(), timeline, timeout })
    }

    /// The server.
    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// The server's timeline.
    pub(super) fn timeline(&self) -> u32 {
        self.timeline
    }

    /// Whether the server was started more than `ago` ago. It answers with its own clock alone, so no two clocks
    /// are compared.
    pub(super) async fn up_since(&mut self, ago: Duration) -> Result<bool, WireError> {
        self.wire.set_deadline(Some(Instant::now() + self.timeout));
        let us = ago.as_micros();
        let sql =
            format!("SELECT 1 WHERE clock_timestamp() - pg_postmaster_start_time() > interval '{us} microseconds'");
        Ok(self.wire.simple(&sql).await?.rows == 1)
    }

    /// Sends one write and waits for its answer. An INSERT outside a transaction block is acknowledged when the
    /// server is ready for the next command, not when it gives the command's tag: that comes before the commit.
    pub(super) async fn write(&mut self, writer: i32, seq: i64) -> Sent {
        self.wire.set_deadline(Some(Instant::now() + self.timeout));
        match self.wire.execute(&self.insert, &[Param::Int4(writer), Param::Int8(seq)]).await {
            Ok(done) => Sent { outcome: Some(acknowledged(&done.notices)), usable: true },
            Err(error) => refused(&error),
        }
    }
}

fn acknowledged(notices: &Notices) -> Outcome {
    if notices.iter().any(|state| WEAK.contains(&state.as_str())) { Outcome::Weak } else { Outcome::Ok }
}

fn refused(error: &WireError) -> Sent {
    match error {
        WireError::Server(error) => {
            Sent { outcome: Some(Outcome::Failed), usable: error.sqlstate.as_str() != READ_ONLY }
        }
        WireError::Unknown(_) => Sent { outcome: Some(Outcome::Unknown), usable: false },
        WireError::NotSent(_)
        | WireError::Unreachable { .. }
        | WireError::NoAnswer { .. }
        | WireError::Refused { .. }
        | WireError::Authentication { .. } => Sent { outcome: None, usable: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::wire::{Lost, ServerError, SqlState};

    fn server(severity: &str, sqlstate: &[u8; 5]) -> Box<ServerError> {
        let message = String::new();
        Box::new(ServerError { severity: severity.into(), sqlstate: SqlState(*sqlstate), message, hint: None })
    }

    #[test]
    fn only_an_error_with_a_usable_session_is_a_certain_failure() {
        let sent = |outcome, usable| Sent { outcome, usable };
        let failed = refused(&WireError::Server(server("ERROR", b"53100")));
        assert_eq!(failed, sent(Some(Outcome::Failed), true));
        let read_only = refused(&WireError::Server(server("ERROR", b"25006")));
        assert_eq!(read_only, sent(Some(Outcome::Failed), false), "another server takes the writes now");
        for lost in [Lost::Closed, Lost::TimedOut, Lost::Fatal(server("FATAL", b"57P01"))] {
            assert_eq!(refused(&WireError::Unknown(lost)), sent(Some(Outcome::Unknown), false));
        }
        let before = refused(&WireError::NotSent(Lost::Fatal(server("FATAL", b"57P01"))));
        assert_eq!(before, sent(None, false));
    }
}
