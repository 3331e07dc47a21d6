//! Sessions as `pg_stat_activity` shows them at one moment, and who blocks those that wait for a lock.

use crate::metric::sampled::ASH;
use crate::metric::{Field, Point};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::{Error, Row};

/// What those do that wait for nothing.
const CPU: &str = "CPU";

/// A session, or another process that waits for a lock.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) pid: i32,
    /// Of a parallel worker the session that it works for.
    pub(super) leader: Option<i32>,
    /// Whether it says something about load: neither a WAL sender nor one of ours, unless it is a load's.
    pub(super) counts: bool,
    pub(super) state: Option<String>,
    pub(super) wait_event_type: Option<String>,
    pub(super) wait_event: Option<String>,
    /// Where the server computes it.
    pub(super) query_id: Option<i64>,
    /// Of one that waits for a lock.
    pub(super) blockers: Option<Vec<i32>>,
    /// For how long, in seconds, and for a lock on which table; only when `pg_locks` was looked into.
    pub(super) waited: Option<f64>,
    pub(super) relation: Option<String>,
}

/// The statement, for a server with these columns of `pg_stat_activity` and `pg_locks`. Its parameter says whether to
/// look into `pg_locks`, which costs much when many locks are held; else the plan does not touch it.
///
/// `pg_blocking_pids` stops the lock manager for a moment, so it is asked of those that wait for a lock alone.
pub(super) fn sql(has_query_id: bool, has_waitstart: bool) -> String {
    let query_id = if has_query_id { "query_id" } else { "NULL::int8" };
    let waited =
        if has_waitstart { "extract(epoch FROM clock_timestamp() - waitstart)::float8" } else { "NULL::float8" };
    // The function and not the view, which looks up names of databases and roles for every row.
    format!(
        "SELECT pid, leader_pid, \
         state IS NOT NULL AND backend_type <> 'walsender' AND application_name NOT LIKE 'pgbench-rs %' \
         AND (application_name NOT LIKE 'pgbr-%' OR application_name LIKE 'pgbr-load%'), \
         state, wait_event_type, wait_event, {query_id}, \
         CASE WHEN wait_event_type = 'Lock' THEN pg_blocking_pids(pid) END, waited, on_relation \
         FROM pg_catalog.pg_stat_get_activity(NULL) LEFT JOIN \
         (SELECT pid AS waiter, {waited} AS waited, relation::regclass::text AS on_relation \
         FROM pg_catalog.pg_locks WHERE NOT granted AND $1::bool) AS locks ON waiter = pid \
         WHERE pid <> pg_backend_pid() AND (state IS NOT NULL OR wait_event_type = 'Lock')"
    )
}

impl Seen {
    pub(super) fn read(row: &Row) -> Result<Seen, Error> {
        Ok(Seen {
            pid: row.try_get(0)?,
            leader: row.try_get(1)?,
            counts: row.try_get::<_, Option<bool>>(2)?.unwrap_or(false),
            state: row.try_get(3)?,
            wait_event_type: row.try_get(4)?,
            wait_event: row.try_get(5)?,
            query_id: row.try_get(6)?,
            blockers: row.try_get(7)?,
            waited: row.try_get(8)?,
            relation: row.try_get(9)?,
        })
    }

    /// Whom `pg_blocking_pids` would name for it.
    pub(super) fn session(&self) -> i32 {
        self.leader.unwrap_or(self.pid)
    }
}

/// Those that count by state and what they wait for.
pub(super) fn ash(seen: &[Seen], node: &str, role: &'static str) -> Vec<Point> {
    let mut counts: BTreeMap<(&str, &str, &str), i64> = BTreeMap::new();
    for one in seen.iter().filter(|one| one.counts) {
        let state = one.state.as_deref().unwrap_or_default();
        let wait_event_type = one.wait_event_type.as_deref().unwrap_or(CPU);
        let wait_event = one.wait_event.as_deref().unwrap_or(CPU);
        *counts.entry((state, wait_event_type, wait_event)).or_default() += 1;
    }
    let point = |((state, wait_event_type, wait_event), sessions): ((&str, &str, &str), i64)| Point {
        measurement: ASH.name,
        node: node.to_owned(),
        role,
        tags: ASH.tags.iter().copied().zip([state, wait_event_type, wait_event].map(str::to_owned)).collect(),
        fields: vec![("sessions", Field::Int(sessions))],
        elapsed: Duration::ZERO,
    };
    counts.into_iter().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_by_what_they_wait_for() {
        let one = |state: &str, wait: Option<(&str, &str)>, counts| Seen {
            counts,
            state: Some(state.to_owned()),
            wait_event_type: wait.map(|(of, _)| of.to_owned()),
            wait_event: wait.map(|(_, event)| event.to_owned()),
            ..Seen::default()
        };
        let lock = Some(("Lock", "transactionid"));
        let seen = [
            one("active", lock, true),
            one("active", None, true),
            one("active", lock, true),
            one("active", lock, false),
            one("idle", Some(("Client", "ClientRead")), true),
        ];
        let counted: Vec<_> = ash(&seen, "a", "primary")
            .into_iter()
            .map(|point| (point.tags.into_iter().map(|(_, value)| value).collect::<Vec<_>>().join("/"), point.fields))
            .collect();
        let sessions = |n| vec![("sessions", Field::Int(n))];
        let expected = [("active/CPU/CPU", 1), ("active/Lock/transactionid", 2), ("idle/Client/ClientRead", 1)];
        assert_eq!(counted, expected.map(|(tags, n)| (tags.to_owned(), sessions(n))));
    }
}
