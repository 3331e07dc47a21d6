//! One server's checks: a connection that is kept, a query, a deadline.

use crate::base::clock::Clock;
use crate::cluster::Cluster;
use crate::failover::{Address, Facts, Failure, Seen, Timeline};
use crate::pg::connect::{ConnectError, connect};
use crate::pg::{Host, Login, Lsn};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Client, Row, Statement};

/// The whole observation, in one round trip. A standby's timeline is the newest of what its WAL receiver,
/// its last restartpoint and its minimum recovery point say: the first is gone when the upstream is, and
/// the others move only now and then.
const FACTS: &str = r"
SELECT s.system_identifier,
       recovering,
       current_setting('transaction_read_only') = 'on',
       CASE WHEN recovering THEN greatest(w.received_tli, c.timeline_id, e.min_recovery_end_timeline)
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4 END,
       CASE WHEN NOT recovering THEN pg_current_wal_lsn()::text END,
       pg_last_wal_receive_lsn()::text,
       pg_last_wal_replay_lsn()::text,
       (regexp_match(points_to, '(?:^|\s)host\s*=\s*''?([^''\s]+)'))[1],
       (regexp_match(points_to, '(?:^|\s)port\s*=\s*''?(\d+)'))[1]::int4,
       CASE WHEN w.status = 'streaming' THEN w.sender_host END,
       CASE WHEN w.status = 'streaming' THEN w.sender_port END,
       ARRAY(SELECT application_name FROM pg_stat_replication WHERE state = 'streaming')
  FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_recovery() e,
       current_setting('primary_conninfo') points_to,
       pg_is_in_recovery() recovering LEFT JOIN pg_stat_wal_receiver w ON true";

/// Checks one server.
pub(super) struct Checker {
    cluster: Arc<Cluster>,
    host: Host,
    login: Login,
    limit: Duration,
    kept: Option<(Client, Statement)>,
}

impl Checker {
    /// Checks `host` as `login`; a check that takes longer than `limit` has failed.
    pub(super) fn new(cluster: Arc<Cluster>, host: Host, login: Login, limit: Duration) -> Checker {
        Checker { cluster, host, login, limit, kept: None }
    }

    /// One check. A kept connection that turns out to be broken is replaced within the same deadline, so a
    /// session that was ended is no missed check while the server takes new ones.
    pub(super) async fn check(&mut self, clock: Clock) -> Seen {
        let asked = clock.elapsed();
        let result = match tokio::time::timeout(self.limit, self.ask()).await {
            Ok(result) => result,
            Err(_) => {
                self.kept = None;
                Err(Failure::Timeout)
            }
        };
        Seen { asked, answered: clock.elapsed(), result }
    }

    async fn ask(&mut self) -> Result<Facts, Failure> {
        if let Some((client, statement)) = &self.kept {
            match client.query_one(statement, &[]).await {
                Ok(row) => return self.facts(&row),
                Err(error) if ends_session(&error) => self.kept = None,
                Err(error) => return Err(failure(&error)),
            }
        }
        let client = connect(&self.host, &self.login, self.limit).await.map_err(|error| match &error {
            ConnectError::Timeout { .. } => Failure::Timeout,
            ConnectError::Authentication { .. } => Failure::Authentication,
            ConnectError::Unreachable { .. } => Failure::Unreachable,
            ConnectError::Refused { .. } => refusal(error.sqlstate().unwrap_or_default()),
        })?;
        let statement = client.prepare(FACTS).await.map_err(|error| failure(&error))?;
        let row = client.query_one(&statement, &[]).await.map_err(|error| failure(&error))?;
        self.kept = Some((client, statement));
        self.facts(&row)
    }

    /// What a row says. A standby may reach its upstream through a proxy; what stands behind it is meant.
    fn facts(&self, row: &Row) -> Result<Facts, Failure> {
        let mut facts = facts(row)?;
        for address in [&mut facts.upstream, &mut facts.streams_from].into_iter().flatten() {
            if let Some(host) = self.cluster.ways().node_at(&address.host, address.port) {
                *address = Address { host: host.host.clone(), port: host.port };
            }
        }
        Ok(facts)
    }
}

/// Whether the connection is broken or about to be: a crash, a shutdown, a terminated session.
fn ends_session(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.code().is_none_or(|code| code.code().starts_with("57P"))
}

fn failure(error: &tokio_postgres::Error) -> Failure {
    match error.code() {
        Some(code) => refusal(code.code()),
        None => Failure::Unreachable,
    }
}

/// What a SQLSTATE says of the server: the class "operator intervention" is for starting and stopping.
fn refusal(sqlstate: &str) -> Failure {
    if sqlstate.starts_with("57P") { Failure::Starting } else { Failure::QueryFailed { sqlstate: sqlstate.to_owned() } }
}

fn facts(row: &Row) -> Result<Facts, Failure> {
    // A type that is not as the query makes it: 42804, datatype_mismatch.
    read(row).map_err(|_| Failure::QueryFailed { sqlstate: "42804".to_owned() })
}

fn read(row: &Row) -> Result<Facts, Box<dyn std::error::Error + Send + Sync>> {
    let lsn = |i: usize| -> Result<Option<Lsn>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(row.try_get::<_, Option<&str>>(i)?.map(str::parse).transpose()?)
    };
    let address = |i: usize| -> Result<Option<Address>, Box<dyn std::error::Error + Send + Sync>> {
        let host = row.try_get::<_, Option<String>>(i)?;
        let port = row.try_get::<_, Option<i32>>(i + 1)?.map(u16::try_from).transpose()?;
        Ok(host.zip(port).map(|(host, port)| Address { host, port }))
    };
    Ok(Facts {
        system: row.try_get::<_, i64>(0)?.cast_unsigned(),
        in_recovery: row.try_get(1)?,
        read_only: row.try_get(2)?,
        timeline: Timeline(u32::try_from(row.try_get::<_, i32>(3)?)?),
        current: lsn(4)?,
        received: lsn(5)?,
        replayed: lsn(6)?,
        upstream: address(7)?,
        streams_from: address(9)?,
        senders: row.try_get::<_, Vec<String>>(11)?.into_iter().collect(),
    })
}
