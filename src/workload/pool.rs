//! Clients that share a deadpool-postgres pool, as an application does.

use super::connection::{Backoff, CONNECT, Route, To, not_primary};
use super::desk::Desk;
use super::tally::Cause;
use super::transaction::{Draw, Step, Variable, types};
use crate::pg::connect::open;
use crate::pg::wire::{Param, SqlState};
use deadpool_postgres::{Connect, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, SimpleQueryMessage};

/// The pool of one load.
#[derive(Debug)]
pub(super) struct Shared {
    pool: Pool,
    /// Each transaction's statements.
    steps: Vec<Vec<PooledStep>>,
}

#[derive(Debug)]
struct PooledStep {
    sql: &'static str,
    of: &'static [Variable],
    types: Vec<Type>,
}

impl Shared {
    /// A pool of `size` connections that go where `route` leads.
    pub(super) fn new(route: &Arc<Route>, size: u32) -> Result<Arc<Shared>, deadpool_postgres::BuildError> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let dial = Dial(Arc::new(Dialled { route: route.clone(), next: AtomicUsize::new(0) }));
        let pool = Pool::builder(deadpool_postgres::Manager::from_connect(Config::new(), dial, recycling))
            .max_size(size as usize)
            .build()?;
        let steps = route.transactions.iter().map(|what| {
            let step = |step: &Step| PooledStep { sql: step.sql, of: step.of, types: types(step, route.space.scale) };
            what.steps().iter().map(step).collect()
        });
        Ok(Arc::new(Shared { pool, steps: steps.collect() }))
    }

    /// Opens all connections of the pool.
    pub(super) async fn fill(&self) -> Result<(), PoolError> {
        let mut all = Vec::new();
        for _ in 0..self.pool.status().max_size {
            let object = self.pool.get().await?;
            for step in self.steps.iter().flatten() {
                object.prepare_typed_cached(step.sql, &step.types).await.map_err(PoolError::Backend)?;
            }
            all.push(object);
        }
        Ok(())
    }
}

/// How the pool's connections are made: to one host at a time, each within [`CONNECT`], login included. A list of
/// hosts in `tokio_postgres` would have one limit for all of them, and one that hangs would use it up.
///
/// Only connecting teaches which host hangs: after a freeze the first new connection waits for [`CONNECT`] once
/// more before it looks elsewhere, unlike that of a client with a connection of its own, which knows what it lost.
struct Dial(Arc<Dialled>);

struct Dialled {
    route: Arc<Route>,
    /// Which of several hosts is next.
    next: AtomicUsize,
}

impl Connect for Dial {
    fn connect(
        &self,
        _config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(self.0.connect())
    }
}

impl Dialled {
    /// Connects to the first host that answers; an error is that of a host that did.
    async fn connect(&self) -> Result<(Client, JoinHandle<()>), Error> {
        loop {
            let host = match &self.route.to {
                To::Writable(finder) => finder.writable().await,
                To::Nodes(hosts) => hosts[self.next.fetch_add(1, Ordering::Relaxed) % hosts.len()].clone(),
            };
            let attempt = async {
                match open(&host, &self.route.login).await {
                    Ok((client, connection)) => {
                        // Its error reaches every request that is waiting; there is nobody else to tell.
                        let driven = tokio::spawn(async move {
                            let _ = connection.await;
                        });
                        Ok(self.still_writes(&client).await?.then_some((client, driven)))
                    }
                    Err(error) => Err(error.of_driver().await),
                }
            };
            match tokio::time::timeout(host.limit(CONNECT), attempt).await {
                Ok(Ok(Some(connected))) => return Ok(connected),
                Ok(Err(error)) => {
                    self.route.lost(&host);
                    return Err(error);
                }
                Ok(Ok(None)) | Err(_) => self.route.lost(&host),
            }
        }
    }

    /// What was found to accept writes may have stopped doing so.
    async fn still_writes(&self, client: &Client) -> Result<bool, Error> {
        match self.route.to {
            To::Writable(_) => {
                let answer = client.simple_query("SHOW transaction_read_only").await?;
                Ok(answer.iter().any(|one| matches!(one, SimpleQueryMessage::Row(row) if row.get(0) == Some("off"))))
            }
            To::Nodes(_) => Ok(true),
        }
    }
}

/// A client's way to the pool, with a connection in hand while a transaction runs.
#[derive(Debug)]
pub(super) struct Pooled {
    shared: Arc<Shared>,
    held: Option<Object>,
}

impl Pooled {
    pub(super) fn new(shared: Arc<Shared>) -> Pooled {
        Pooled { shared, held: None }
    }

    /// Waits for a connection, and writes down how long.
    pub(super) async fn get(&mut self, desk: &Desk) {
        let asked = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            match self.shared.pool.get().await {
                Ok(object) => {
                    if Object::metrics(&object).recycle_count == 0 {
                        desk.reconnected();
                    }
                    self.held = Some(object);
                    break;
                }
                Err(_) => backoff.pause().await,
            }
        }
        desk.pool_wait(asked.elapsed());
    }

    /// Runs a transaction on the connection in hand, which then goes back to the pool or, if it is broken, is closed.
    pub(super) async fn run(
        &mut self,
        transaction: usize,
        draw: &Draw<'_>,
        deadline: Option<Instant>,
    ) -> Result<(), Cause> {
        let Some(object) = self.held.take() else { return Err(Cause::SqlState(SqlState(*b"08003"))) };
        let steps = &self.shared.steps[transaction];
        let work = attempt(&object, steps, draw);
        let ended = match deadline {
            None => work.await,
            Some(deadline) => {
                tokio::time::timeout_at(deadline.into(), work).await.unwrap_or(Err((Cause::Timeout, false)))
            }
        };
        ended.map_err(|(cause, usable)| {
            if !usable {
                drop(Object::take(object));
            }
            cause
        })
    }
}

/// The flag says whether the connection is usable after the failure.
async fn attempt(object: &Object, steps: &[PooledStep], draw: &Draw<'_>) -> Result<(), (Cause, bool)> {
    match statements(object, steps, draw).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let state = error.code().map_or(*b"08006", |state| state.code().as_bytes().try_into().unwrap_or(*b"XX000"));
            let cause = Cause::SqlState(SqlState(state));
            let alive = error.code().is_some() && !object.is_closed() && !not_primary(cause);
            // Outside a transaction it is a warning and nothing else.
            let usable = alive && (steps.len() == 1 || object.batch_execute("ROLLBACK").await.is_ok());
            Err((cause, usable))
        }
    }
}

async fn statements(object: &Object, steps: &[PooledStep], draw: &Draw<'_>) -> Result<(), tokio_postgres::Error> {
    for step in steps {
        let statement = object.prepare_typed_cached(step.sql, &step.types).await?;
        let values: Vec<Param<'_>> = step.of.iter().map(|of| draw.param(*of)).collect();
        let params: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        object.execute(&statement, &params).await?;
    }
    Ok(())
}
