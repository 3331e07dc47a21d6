//! A sampler's connection to one node: opened before the load, so that a full `max_connections` cannot
//! shut it out, with limits that keep it from ever being the one who harms the server.

use super::activity::{self, Seen};
use super::view::{self, CATALOGUE_SQL, Has, View};
use super::wanted::{Group, WANTED};
use crate::metric::sampled::{ASH, LOCK_TREE, POSITIONS};
use crate::metric::{Field, Point};
use crate::pg::connect::{ConnectError, connect};
use crate::pg::{Host, Login};
use futures_util::future::join_all;
use postgres_protocol::escape::escape_literal;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_postgres::{Client, Error, Statement};

/// The most tables whose statistics are read; of more the largest.
const MOST_TABLES: u32 = 40;

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
    views: Vec<(View, Statement)>,
    activity: Option<Statement>,
    /// What of the catalogue this server has not: `view.column` or `view`, or `view (why)`.
    pub(super) absent: BTreeSet<String>,
    /// Columns of its views that the catalogue does not know.
    pub(super) unknown: BTreeSet<String>,
    /// Views that it has and that could not be prepared, with the reason.
    pub(super) unprepared: Vec<Failed>,
    /// The role may not see the sessions of others.
    pub(super) limited: bool,
}

/// A view that could not be read, and why.
pub(super) type Failed = (&'static str, String);

/// What to read.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) groups: BTreeSet<Group>,
    /// Views that are left alone for now.
    pub(super) resting: BTreeSet<&'static str>,
    /// Whether to look at how long sessions have waited for locks, and on which tables.
    pub(super) into_locks: bool,
}

/// What one round trip read.
#[derive(Default)]
pub(super) struct Reading {
    /// Its points, without due time.
    pub(super) points: Vec<(Group, Point)>,
    /// The sessions, when they were asked for and could be seen.
    pub(super) seen: Option<Vec<Seen>>,
    /// What the server said it is.
    pub(super) role: &'static str,
    pub(super) failed: Vec<(Group, Failed)>,
}

impl Session {
    /// Connects and prepares, all within `limit`. The server itself ends any statement of the session that takes
    /// four fifths of that. Of tables only those called so are read, or the largest ones where there are no names.
    pub(super) async fn open(
        host: Host,
        login: Login,
        tables: &[String],
        limit: Duration,
    ) -> Result<Session, OpenError> {
        let client = connect(&host, &login, limit).await?;
        match tokio::time::timeout(limit, Session::prepare(client, tables, limit)).await {
            Ok(session) => Ok(session?),
            Err(_) => Err(OpenError::Timeout(limit)),
        }
    }

    async fn prepare(client: Client, tables: &[String], limit: Duration) -> Result<Session, Error> {
        let sees_all = limits(&client, limit).await?;
        let mut has = Has::new();
        for row in client.query(CATALOGUE_SQL, &[]).await? {
            let known = has.entry(row.try_get(1)?).or_default();
            known.schema = row.try_get(0)?;
            known.columns.insert(row.try_get(2)?, row.try_get(3)?);
        }
        let relations = relations(tables);
        let (mut absent, mut views) = (BTreeSet::new(), Vec::new());
        for wanted in WANTED {
            if wanted.needs_monitor && !sees_all {
                absent.insert(format!("{} (needs pg_monitor)", wanted.of.name));
                continue;
            }
            let (view, lacking) = View::of(wanted, &has, &relations);
            absent.extend(lacking);
            views.extend(view);
        }
        let activity = if sees_all {
            let column =
                |view: &str, column: &str| has.get(view).is_some_and(|known| known.columns.contains_key(column));
            let sql = activity::sql(column("pg_stat_activity", "query_id"), column("pg_locks", "waitstart"));
            Some(client.prepare(&sql).await?)
        } else {
            absent.extend([ASH, LOCK_TREE].map(|view| format!("{} (needs pg_monitor)", view.name)));
            None
        };
        let prepared = join_all(views.iter().map(|view| client.prepare(&view.sql))).await;
        let (unknown, limited, unprepared) = (view::unknown(&has), !sees_all, Vec::new());
        let mut session = Session { client, views: Vec::new(), activity, absent, unknown, unprepared, limited };
        for (view, prepared) in views.into_iter().zip(prepared) {
            match prepared {
                Ok(statement) => session.views.push((view, statement)),
                Err(error) if error.as_db_error().is_some() => session.unprepared.push((view.name, reason(&error))),
                Err(error) => return Err(error),
            }
        }
        Ok(session)
    }

    /// Whether the connection is gone for good.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Reads what is asked for, pipelined: one round trip, and a view that fails costs only itself. Where the server
    /// stands in the WAL, and with it whether it is a primary, is always asked.
    pub(super) async fn read(&self, node: &str, ask: &Ask) -> Reading {
        let wanted = |view: &View| ask.groups.contains(&view.group) && !ask.resting.contains(view.name);
        let asked = self.views.iter().filter(|(view, _)| wanted(view) || view.name == POSITIONS.name);
        let (seen, read) = tokio::join!(self.activity(ask), join_all(asked.map(|view| self.rows(view))));
        let mut reading = Reading::default();
        for (view, result) in read {
            match result {
                Ok(rows) => {
                    if view.name == POSITIONS.name {
                        reading.role = rows.first().map_or("", role);
                    }
                    let point = |(tags, fields)| {
                        let (measurement, node, elapsed) = (view.name, node.to_owned(), Duration::ZERO);
                        (view.group, Point { measurement, node, role: "", tags, fields, elapsed })
                    };
                    reading.points.extend(rows.into_iter().map(point));
                }
                Err(error) => reading.failed.push((view.group, (view.name, reason(&error)))),
            }
        }
        match seen {
            Ok(seen) => reading.seen = seen,
            Err(error) => reading.failed.push((Group::Waits, (ASH.name, reason(&error)))),
        }
        reading.points.retain(|(group, _)| ask.groups.contains(group));
        reading.points.iter_mut().for_each(|(_, point)| point.role = reading.role);
        reading
    }

    async fn activity(&self, ask: &Ask) -> Result<Option<Vec<Seen>>, Error> {
        let asked = ask.groups.contains(&Group::Waits) && !ask.resting.contains(ASH.name);
        let Some(statement) = self.activity.as_ref().filter(|_| asked) else { return Ok(None) };
        let rows = self.client.query(statement, &[&ask.into_locks]).await?;
        rows.iter().map(Seen::read).collect::<Result<_, _>>().map(Some)
    }

    async fn rows<'a>(&self, (view, statement): &'a (View, Statement)) -> (&'a View, Result<Vec<view::Read>, Error>) {
        let read = async {
            let rows = self.client.query(statement, &[]).await?;
            rows.iter().map(|row| view.read(row)).collect()
        };
        (view, read.await)
    }
}

/// Sets the session's limits. Gives whether its role sees the sessions of others: else the server shows nothing of
/// them, and counts would be wrong without a word.
async fn limits(client: &Client, limit: Duration) -> Result<bool, Error> {
    let statement_timeout = (limit * 4 / 5).as_millis();
    client
        .batch_execute(&format!(
            "SET statement_timeout = {statement_timeout}; SET lock_timeout = 50; \
             SET default_transaction_read_only = on; SET jit = off; SET max_parallel_workers_per_gather = 0"
        ))
        .await?;
    let who = "SELECT pg_has_role('pg_read_all_stats', 'USAGE'), rolsuper FROM pg_roles WHERE rolname = current_user";
    let row = client.query_one(who, &[]).await?;
    if row.try_get(1)? {
        // What it asks is nobody's load, nor anything that belongs into the server's log.
        let silent = "SET pg_stat_statements.track = none; SET log_min_duration_statement = -1; SET log_statement = none; \
                      SET log_duration = off";
        client.batch_execute(silent).await?;
    }
    row.try_get(0)
}

/// An expression for the oids of the tables called `names`, or of the largest ones where there are no names.
fn relations(names: &[String]) -> String {
    let which = if names.is_empty() {
        "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'".to_owned()
    } else {
        let names = names.iter().map(|name| escape_literal(name)).collect::<Vec<_>>().join(", ");
        format!("pg_table_is_visible(c.oid) AND c.relname IN ({names})")
    };
    format!(
        "ARRAY (SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'm') AND {which} ORDER BY c.relpages DESC, c.oid LIMIT {MOST_TABLES})"
    )
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
fn reason(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| format!("{} ({})", db.message(), db.code().code()))
}
