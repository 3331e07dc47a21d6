//! Our own client for hot paths (load, ledger): the extended protocol, one task a connection, no
//! allocation for a query, and errors that say whether a statement can have taken effect.
//!
//! `tokio-postgres` costs two tasks and a channel for every request and does not tell "lost before it was sent"
//! from "lost after"; it stays the client for control, probes and sampling.
//!
//! An operation that is dropped before its end leaves half an answer on the connection, which then refuses everything.

mod answer;
mod error;
mod incoming;
mod login;
mod statement;
mod stream;

pub use answer::{Answer, Done, Notices, SqlState, Tag, TransactionStatus};
pub use error::{Lost, ServerError, WireError};
pub use incoming::{Frame, Incoming};
pub use statement::{Param, Statement};

use super::dial::{Failure, Way, dial};
use super::{Host, Login, Who};
use postgres_protocol::message::frontend;
use std::io;
use std::time::{Duration, Instant};
use stream::Stream;
use tokio_postgres::types::Type;

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    status: TransactionStatus,
    /// A request was sent and its answer not read to the end.
    underway: bool,
    prepared: u32,
}

impl Wire {
    /// Connects and logs in within `limit`: trust, cleartext, md5 or SCRAM-SHA-256.
    pub async fn connect(host: &Host, login: &Login, limit: Duration) -> Result<Wire, WireError> {
        let (who, limit) = (host.who(login), host.limit(limit));
        let attempts = async {
            let mut way = Way::first(host);
            loop {
                let (failed, failure) = match Wire::attempt(host, who, way).await {
                    Ok(wire) => return Ok(wire),
                    Err(failed) => failed,
                };
                way = failure.and_then(|failure| way.after(host, failure)).ok_or(failed)?;
            }
        };
        match tokio::time::timeout(limit, attempts).await {
            Ok(wire) => wire.map_err(|failed: login::Failed| failed.at(host)),
            Err(_) => Err(WireError::NoAnswer { host: host.host.clone(), port: host.port, limit }),
        }
    }

    /// One attempt; when it failed, also how, if another one may do better.
    async fn attempt(host: &Host, who: Who<'_>, way: Way) -> Result<Wire, (login::Failed, Option<Failure>)> {
        let socket = dial(host, way).await.map_err(|error| {
            let failure = Failure::from(&error);
            (error.into(), Some(failure))
        })?;
        let encrypted = socket.is_encrypted();
        let mut stream = Stream::new(socket);
        match login::log_in(&mut stream, who).await {
            Ok(()) => Ok(Wire { stream, status: TransactionStatus::Idle, underway: false, prepared: 0 }),
            Err(failed) => {
                let refused = matches!(failed, login::Failed::Refused(_)).then(|| Failure::refused(encrypted));
                Err((failed, refused))
            }
        }
    }

    /// Operations that wait beyond `deadline` fail with [`Lost::TimedOut`], and the connection with them.
    #[inline]
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.stream.set_deadline(deadline);
    }

    /// Where the session stood after the last answer.
    pub fn status(&self) -> TransactionStatus {
        self.status
    }

    /// Prepares `sql` as a named statement. Types that are not given are inferred by the server.
    pub async fn prepare(&mut self, sql: &str, types: &[Type]) -> Result<Statement, WireError> {
        self.begin().await?;
        self.prepared += 1;
        let name = format!("s{}", self.prepared);
        let out = &mut self.stream.outgoing;
        frontend::parse(&name, sql, types.iter().map(Type::oid), out).map_err(cannot_encode)?;
        frontend::sync(out);
        self.exchange().await?;
        Ok(Statement::new(&name))
    }

    /// Executes a statement that was prepared on this connection: one round trip.
    #[inline]
    pub async fn execute(&mut self, statement: &Statement, params: &[Param<'_>]) -> Result<Done, WireError> {
        self.begin().await?;
        statement.encode(params, &mut self.stream.outgoing);
        self.exchange().await
    }

    /// Runs SQL text under the simple protocol.
    pub async fn simple(&mut self, sql: &str) -> Result<Done, WireError> {
        self.begin().await?;
        frontend::query(sql, &mut self.stream.outgoing).map_err(cannot_encode)?;
        self.exchange().await
    }

    /// Refuses a connection that is half-way through an answer, and takes in what came since the last one: a FATAL
    /// that was waiting there means that the next statement was never run.
    #[inline]
    async fn begin(&mut self) -> Result<(), WireError> {
        if self.underway {
            return Err(WireError::NotSent(Lost::Abandoned));
        }
        self.stream.outgoing.clear();
        match self.stream.peek().await {
            Ok(false) => Ok(()),
            Ok(true) => self.unasked(),
            Err(lost) => {
                self.underway = true;
                Err(WireError::NotSent(lost))
            }
        }
    }

    #[cold]
    fn unasked(&mut self) -> Result<(), WireError> {
        let mut answer = Answer::default();
        let lost = loop {
            match self.stream.frame().and_then(|frame| match frame {
                Some(frame) => answer.take(frame).map(Some).map_err(Lost::Garbled),
                None => Ok(None),
            }) {
                Ok(None) => return Ok(()),
                Ok(Some(false)) => {}
                Ok(Some(true)) => {
                    break answer.error.map_or_else(|| Lost::Garbled("an answer came unasked".into()), Lost::Fatal);
                }
                Err(lost) => break lost,
            }
        };
        self.underway = true;
        Err(WireError::NotSent(lost))
    }

    #[inline]
    async fn exchange(&mut self) -> Result<Done, WireError> {
        self.underway = true;
        if let Err((lost, left)) = self.stream.flush().await {
            return Err(if left { WireError::Unknown(lost) } else { WireError::NotSent(lost) });
        }
        let mut answer = Answer::default();
        loop {
            while let Some(frame) = self.stream.frame().map_err(WireError::Unknown)? {
                if answer.take(frame).map_err(|garbled| WireError::Unknown(Lost::Garbled(garbled)))? {
                    return self.settle(answer);
                }
            }
            self.stream.fill().await.map_err(WireError::Unknown)?;
        }
    }

    #[inline]
    fn settle(&mut self, answer: Answer) -> Result<Done, WireError> {
        match answer.error {
            Some(fatal) if fatal.is_fatal() => Err(WireError::Unknown(Lost::Fatal(fatal))),
            error => {
                self.underway = false;
                self.status = answer.done.status;
                error.map_or(Ok(answer.done), |error| Err(WireError::Server(error)))
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if !self.underway {
            self.stream.terminate();
        }
    }
}

/// SQL text with a zero byte in it; the server's own code for that is 22021 (character not in repertoire).
fn cannot_encode(error: io::Error) -> WireError {
    WireError::Server(Box::new(ServerError {
        severity: "ERROR".into(),
        sqlstate: SqlState(*b"22021"),
        message: error.to_string(),
        hint: None,
    }))
}
