//! What one server says at one instant: of those that it sends to, of its slots, and of what came to it. LSNs are bytes
//! since `0/0`, times are seconds; what is NULL is absent.

use crate::base::Name;
use crate::probe::visibility;
use std::collections::BTreeMap;
use tokio_postgres::{Client, Error, Row};

/// A server's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// How far it has written, or as a standby replayed.
    pub(super) position: Option<i64>,
    /// How far it has replayed; absent of one that is no standby.
    pub(super) replayed: Option<i64>,
    /// Age of the last transaction that it replayed or applied, by its own clock.
    pub(super) last_replayed: Option<f64>,
    /// Age of the probe's rows by name, by its own clock.
    pub(super) beats: BTreeMap<Name, f64>,
    pub(super) senders: Vec<Sender>,
    pub(super) slots: Vec<Slot>,
}

/// A row of `pg_stat_replication`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sender {
    pub(super) pid: i32,
    pub(super) application_name: String,
    pub(super) replay: Option<i64>,
    pub(super) write_lag: Option<f64>,
    pub(super) flush_lag: Option<f64>,
    pub(super) replay_lag: Option<f64>,
}

/// A row of `pg_replication_slots`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) active_pid: Option<i32>,
    pub(super) restart: Option<i64>,
    pub(super) confirmed: Option<i64>,
    pub(super) wal_status: Option<String>,
}

/// Of a subscriber the last transaction in commit order counts when it came from a publisher (`roident`, version 14 and
/// later), for its stamp is then the publisher's; `track_commit_timestamp` keeps it.
const SELF: &str = "\
    SELECT (CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn)::int8, \
    CASE WHEN r THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::int8 END, \
    CASE WHEN r THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 \
    WHEN current_setting('track_commit_timestamp')::bool THEN \
    (SELECT extract(epoch FROM clock_timestamp() - x.timestamp)::float8 FROM pg_last_committed_xact() AS x \
    WHERE (to_jsonb(x)->>'roident')::int8 <> 0) END \
    FROM pg_is_in_recovery() AS r";

const SENDERS: &str = "\
    SELECT pid, application_name::text, (replay_lsn - '0/0'::pg_lsn)::int8, extract(epoch FROM write_lag)::float8, \
    extract(epoch FROM flush_lag)::float8, extract(epoch FROM replay_lag)::float8 \
    FROM pg_stat_replication WHERE state <> 'backup' ORDER BY backend_start";

const SLOTS: &str = "\
    SELECT slot_name::text, active_pid, (restart_lsn - '0/0'::pg_lsn)::int8, \
    (confirmed_flush_lsn - '0/0'::pg_lsn)::int8, wal_status FROM pg_replication_slots";

/// Asks a server, all at once. `beats`: whether the visibility probe's table is there.
pub(super) async fn read(client: &Client, beats: bool) -> Result<Reading, Error> {
    let ages =
        format!("SELECT name, extract(epoch FROM clock_timestamp() - written_at)::float8 FROM {}", visibility::TABLE);
    let of_beats = async { if beats { client.query(&ages, &[]).await } else { Ok(Vec::new()) } };
    let (own, senders, slots, beats) =
        tokio::try_join!(client.query_one(SELF, &[]), client.query(SENDERS, &[]), client.query(SLOTS, &[]), of_beats)?;
    Ok(Reading {
        position: own.try_get(0)?,
        replayed: own.try_get(1)?,
        last_replayed: own.try_get(2)?,
        beats: beats.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, Error>>()?,
        senders: senders.iter().map(sender).collect::<Result<_, Error>>()?,
        slots: slots.iter().map(slot).collect::<Result<_, Error>>()?,
    })
}

fn sender(row: &Row) -> Result<Sender, Error> {
    Ok(Sender {
        pid: row.try_get(0)?,
        application_name: row.try_get::<_, Option<String>>(1)?.unwrap_or_default(),
        replay: row.try_get(2)?,
        write_lag: row.try_get(3)?,
        flush_lag: row.try_get(4)?,
        replay_lag: row.try_get(5)?,
    })
}

fn slot(row: &Row) -> Result<Slot, Error> {
    Ok(Slot {
        name: row.try_get(0)?,
        active_pid: row.try_get(1)?,
        restart: row.try_get(2)?,
        confirmed: row.try_get(3)?,
        wal_status: row.try_get(4)?,
    })
}
