//! A sampler's connection to one node: opened before the load, so that a full `max_connections` cannot
//! shut it out, with limits that keep it from ever being the one who harms the server.

use super::view::{self, CATALOGUE_SQL, Columns, Read, VIEWS, View};
use crate::metric::{Field, Point};
use crate::pg::connect::{ConnectError, connect};
use crate::pg::{Host, Login};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_postgres::{Client, Statement};

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the sampler's session could not be prepared: {0}")]
    Prepare(#[from] tokio_postgres::Error),
    #[error("the sampler's session was not ready within {0:?}")]
    Timeout(Duration),
}

/// An open session with its prepared statements.
pub(super) struct Session {
    client: Client,
    views: [Option<(View, Statement)>; 5],
    /// `view.column`s of the catalogue that this server has not.
    pub(super) absent: BTreeSet<String>,
    /// The role may not see the sessions of others.
    pub(super) limited: bool,
}

/// What one tick read.
pub(super) struct Reading {
    /// Its points, without due time.
    pub(super) points: Vec<Point>,
    /// Rows read.
    pub(super) rows: usize,
    /// Views that could not be read, with the reason.
    pub(super) failed: Vec<(&'static str, String)>,
}

impl Session {
    /// Connects and prepares, all within `limit`. The server itself ends any statement of the session that takes
    /// four fifths of that.
    pub(super) async fn open(host: Host, login: Login, limit: Duration) -> Result<Session, OpenError> {
        let client = connect(&host, &login, limit).await?;
        match tokio::time::timeout(limit, Session::prepare(client, limit)).await {
            Ok(session) => Ok(session?),
            Err(_) => Err(OpenError::Timeout(limit)),
        }
    }

    async fn prepare(client: Client, limit: Duration) -> Result<Session, tokio_postgres::Error> {
        let statement_timeout = (limit * 4 / 5).as_millis();
        client
            .batch_execute(&format!(
                "SET statement_timeout = {statement_timeout}; SET lock_timeout = 50; \
                 SET default_transaction_read_only = on; SET jit = off; SET max_parallel_workers_per_gather = 0"
            ))
            .await?;
        // Else the server shows nothing of others' sessions, and counts of them would be wrong without a word.
        let sees_all = "SELECT pg_has_role('pg_read_all_stats', 'USAGE')";
        let sees_all: bool = client.query_one(sees_all, &[]).await?.try_get(0)?;
        let mut has: BTreeMap<String, Columns> = BTreeMap::new();
        for row in client.query(CATALOGUE_SQL, &[]).await? {
            has.entry(row.try_get(0)?).or_default().insert(row.try_get(1)?, row.try_get(2)?);
        }
        let mut absent = BTreeSet::new();
        let [replication, database, wal] = VIEWS.map(|wanted| {
            let (view, lacking) = View::of(wanted, has.get(wanted.name).unwrap_or(&Columns::new()));
            absent.extend(lacking);
            view
        });
        let mut views = [None, None, None, None, None];
        let (replication, ash) = if sees_all {
            (replication, Some(View::ash()))
        } else {
            absent.extend(["pg_stat_activity", "pg_stat_replication"].map(|view| format!("{view} (needs pg_monitor)")));
            (None, None)
        };
        let wanted = [replication, database, wal, ash, Some(View::positions())];
        for (slot, view) in views.iter_mut().zip(wanted) {
            if let Some(view) = view {
                let statement = client.prepare(&view.sql).await?;
                *slot = Some((view, statement));
            }
        }
        Ok(Session { client, views, absent, limited: !sees_all })
    }

    /// Whether the connection is gone for good.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Reads all views, pipelined: one round trip, and a view that fails costs only itself.
    pub(super) async fn read(&self, node: &str) -> Reading {
        let [replication, database, wal, ash, positions] = &self.views;
        let (replication, database, wal, ash, positions) = tokio::join!(
            self.rows(replication),
            self.rows(database),
            self.rows(wal),
            self.rows(ash),
            self.rows(positions)
        );
        let mut reading = Reading { points: Vec::new(), rows: 0, failed: Vec::new() };
        let role = positions.as_ref().ok().and_then(|(_, rows)| rows.first()).map_or("", role);
        for result in [replication, database, wal, ash, positions] {
            match result {
                Ok((measurement, rows)) => {
                    reading.rows += rows.len();
                    reading.points.extend(rows.into_iter().map(|(tags, fields)| Point {
                        measurement,
                        node: node.to_owned(),
                        role,
                        tags,
                        fields,
                        elapsed: Duration::ZERO,
                    }));
                }
                Err((view, error)) => reading.failed.push((view, reason(&error))),
            }
        }
        reading
    }

    async fn rows(
        &self,
        view: &Option<(View, Statement)>,
    ) -> Result<(&'static str, Vec<Read>), (&'static str, tokio_postgres::Error)> {
        let Some((view, statement)) = view else { return Ok(("", Vec::new())) };
        let rows = self.client.query(statement, &[]).await.map_err(|error| (view.name, error))?;
        let read =
            rows.iter().map(|row| view.read(row)).collect::<Result<_, _>>().map_err(|error| (view.name, error))?;
        Ok((view.name, read))
    }
}

/// What the server itself said it is.
fn role((_, fields): &view::Read) -> &'static str {
    match fields.iter().find(|(name, _)| *name == "in_recovery") {
        Some((_, Field::Bool(true))) => "standby",
        Some((_, Field::Bool(false))) => "primary",
        _ => "",
    }
}

/// The server's own message where there is one: the driver's says only `db error`.
fn reason(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| format!("{} ({})", db.message(), db.code().code()))
}
