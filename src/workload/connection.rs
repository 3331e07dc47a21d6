//! A client's own connection: made, prepared, lost and made again.

use super::desk::Desk;
use super::mix::Transaction;
use super::queries::Answer;
use super::space::Space;
use super::tally::Cause;
use super::transaction::{Draw, Prepared};
use crate::pg::find::Finder;
use crate::pg::wire::{SqlState, TransactionStatus, Wire, WireError};
use crate::pg::{Host, Login};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest that connecting to one server may take.
pub(super) const CONNECT: Duration = Duration::from_secs(2);

/// First and longest pause between attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// Where connections go and what they are to run.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) to: To,
    pub(super) login: Login,
    pub(super) transactions: Vec<Transaction>,
    pub(super) space: Space,
}

/// Which server a client connects to.
#[derive(Debug)]
pub(super) enum To {
    /// The one that accepts writes.
    Writable(Arc<Finder>),
    /// These, clients spread over them in order.
    Nodes(Vec<Host>),
}

/// A pause that doubles up to a limit.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Backoff(PAUSES.0)
    }
}

impl Backoff {
    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSES.1);
    }
}

/// A connection that one client owns.
#[derive(Debug)]
pub(super) struct Own {
    route: Arc<Route>,
    client: usize,
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    host: Host,
    wire: Wire,
    prepared: Vec<Prepared>,
}

impl Own {
    /// The connection of client number `client`, not made yet.
    pub(super) fn new(route: Arc<Route>, client: usize) -> Own {
        Own { route, client, session: None }
    }

    /// Whether a transaction can be sent at once.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.session.is_some()
    }

    /// Connects and prepares, once.
    pub(super) async fn connect(&mut self) -> Result<(), WireError> {
        let route = &self.route;
        let host = match &route.to {
            To::Writable(finder) => finder.writable().await,
            To::Nodes(hosts) => hosts[self.client % hosts.len()].clone(),
        };
        match Session::open(route, host.clone()).await {
            Ok(session) => {
                self.session = Some(session);
                Ok(())
            }
            Err(error) => {
                route.lost(&host);
                Err(error)
            }
        }
    }

    /// Connects, however often that fails.
    pub(super) async fn reconnect(&mut self, desk: &Desk) {
        let mut backoff = Backoff::default();
        while self.connect().await.is_err() {
            backoff.pause().await;
        }
        desk.reconnected();
    }

    /// Runs a transaction on the connection, which is ready.
    #[inline]
    pub(super) async fn run(
        &mut self,
        transaction: usize,
        draw: &Draw<'_>,
        deadline: Option<Instant>,
    ) -> Result<Option<Answer>, Cause> {
        let Some(session) = &mut self.session else { return Err(Cause::SqlState(SqlState(*b"08003"))) };
        session.wire.set_deadline(deadline);
        match session.prepared[transaction].run(&mut session.wire, draw).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.failed(error).await),
        }
    }

    #[cold]
    async fn failed(&mut self, error: WireError) -> Cause {
        let cause = error.sqlstate().map_or(Cause::Timeout, Cause::SqlState);
        let keep = error.is_usable() && !not_primary(cause) && self.roll_back().await;
        if !keep && let Some(session) = self.session.take() {
            self.route.lost(&session.host);
        }
        cause
    }

    /// Ends a transaction that an error left open; false when the connection broke over it.
    async fn roll_back(&mut self) -> bool {
        match &mut self.session {
            Some(Session { wire, .. }) if wire.status() != TransactionStatus::Idle => {
                wire.simple("ROLLBACK").await.is_ok()
            }
            session => session.is_some(),
        }
    }
}

impl Session {
    async fn open(route: &Route, host: Host) -> Result<Session, WireError> {
        let mut wire = Wire::connect(&host, &route.login, CONNECT).await?;
        wire.set_deadline(Some(Instant::now() + CONNECT));
        let mut prepared = Vec::with_capacity(route.transactions.len());
        for what in &route.transactions {
            prepared.push(Prepared::on(&mut wire, *what, route.space.scale).await?);
        }
        Ok(Session { host, wire, prepared })
    }
}

impl Route {
    /// Says that a connection to `host` broke, or that it turned out not to accept writes.
    pub(super) fn lost(&self, host: &Host) {
        if let To::Writable(finder) = &self.to {
            finder.lost(host);
        }
    }
}

/// Errors that say "not a primary (any more)" on a connection that is alive: read_only_sql_transaction.
pub(super) fn not_primary(cause: Cause) -> bool {
    cause == Cause::SqlState(SqlState(*b"25006"))
}
