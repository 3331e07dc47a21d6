//! Clients that share a deadpool-postgres pool, as an application does.

use super::connection::{Backoff, CONNECT, Route, To, not_primary};
use super::desk::Desk;
use super::tally::Cause;
use super::transaction::{Draw, Step, Variable, types};
use crate::pg::Host;
use crate::pg::wire::SqlState;
use deadpool_postgres::{ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use std::sync::Arc;
use std::time::Instant;
use tokio_postgres::NoTls;
use tokio_postgres::config::{LoadBalanceHosts, TargetSessionAttrs};
use tokio_postgres::types::Type;

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
    /// A pool of `size` connections to `hosts`; libpq's `target_session_attrs=read-write` finds the primary.
    pub(super) fn new(route: &Route, hosts: &[Host], size: u32) -> Result<Arc<Shared>, deadpool_postgres::BuildError> {
        let mut config = tokio_postgres::Config::new();
        for host in hosts {
            config.host(&host.host).port(host.port);
        }
        let login = &route.login;
        config
            .user(&login.user)
            .password(login.password.expose())
            .dbname(&login.dbname)
            .application_name(&login.application_name)
            .connect_timeout(CONNECT);
        match route.to {
            To::Writable(_) => config.target_session_attrs(TargetSessionAttrs::ReadWrite),
            To::Nodes(_) => config.load_balance_hosts(LoadBalanceHosts::Random),
        };
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(deadpool_postgres::Manager::from_config(config, NoTls, recycling))
            .max_size(size as usize)
            .create_timeout(Some(CONNECT))
            .runtime(Runtime::Tokio1)
            .build()?;
        let steps = route.transactions.iter().map(|what| {
            let step = |step: &Step| PooledStep { sql: step.sql, of: step.of, types: types(step, route.scale) };
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
        draw: &Draw,
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
async fn attempt(object: &Object, steps: &[PooledStep], draw: &Draw) -> Result<(), (Cause, bool)> {
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

async fn statements(object: &Object, steps: &[PooledStep], draw: &Draw) -> Result<(), tokio_postgres::Error> {
    for step in steps {
        let statement = object.prepare_typed_cached(step.sql, &step.types).await?;
        let params: Vec<_> = step.of.iter().map(|of| draw.value(*of)).collect();
        object.execute(&statement, &params).await?;
    }
    Ok(())
}
