//! Every measurement that is ever sampled into `metrics.lp.gz`, once: its tags and its fields with
//! type and unit. A measurement is a view and a field a column of it wherever PostgreSQL has one, under
//! PostgreSQL's name; fields of our own carry their unit as a suffix.
//!
//! The list is what is *wanted*: the sampler takes of it what the server has (views lose and gain
//! columns between major versions) and the record names the rest.

/// What is sampled under one name.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// The view's name, or one of ours.
    pub name: &'static str,
    /// Tags beside `run_id, scenario, variant, trial, node, role`.
    pub tags: &'static [&'static str],
    /// Its fields.
    pub fields: &'static [SampledField],
    /// What it is, in a sentence.
    pub about: &'static str,
}

/// A field of a [`Measurement`].
#[derive(Clone, Copy, Debug)]
pub struct SampledField {
    /// The column's name.
    pub name: &'static str,
    /// Its type, the same in every point ever written.
    pub kind: Kind,
    /// `count`, `bytes`, `ms`, `s`, `us`, `ns`; empty for text and truth values.
    pub unit: &'static str,
}

/// A field's type, and whether it only ever grows between resets (rates are made at reading time).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Cumulative integer.
    Counter,
    /// Integer of this moment.
    Gauge,
    /// Cumulative real number: the times that views add up.
    Total,
    /// Real number of this moment.
    Real,
    /// Truth value.
    Truth,
    /// String.
    Text,
}

impl Measurement {
    /// Its field of that name.
    pub fn field(&self, name: &str) -> Option<&'static str> {
        self.fields.iter().map(|field| field.name).find(|field| *field == name)
    }
}

const fn f(name: &'static str, kind: Kind, unit: &'static str) -> SampledField {
    SampledField { name, kind, unit }
}

/// Standbys as their primary sees them. LSNs are bytes since `0/0`; `reply_time` is seconds since 1970.
pub const REPLICATION: Measurement = Measurement {
    name: "pg_stat_replication",
    tags: &["application_name"],
    fields: &[
        f("state", Kind::Text, ""),
        f("sent_lsn", Kind::Gauge, "bytes"),
        f("write_lsn", Kind::Gauge, "bytes"),
        f("flush_lsn", Kind::Gauge, "bytes"),
        f("replay_lsn", Kind::Gauge, "bytes"),
        f("write_lag", Kind::Real, "s"),
        f("flush_lag", Kind::Real, "s"),
        f("replay_lag", Kind::Real, "s"),
        f("sync_priority", Kind::Gauge, "count"),
        f("sync_state", Kind::Text, ""),
        f("reply_time", Kind::Real, "s"),
    ],
    about: "WAL senders; the newest one where several have the same application_name",
};

/// The lab's database. Times are milliseconds, as in the view; `stats_reset` is seconds since 1970.
pub const DATABASE: Measurement = Measurement {
    name: "pg_stat_database",
    tags: &["datname"],
    fields: &[
        f("numbackends", Kind::Gauge, "count"),
        f("xact_commit", Kind::Counter, "count"),
        f("xact_rollback", Kind::Counter, "count"),
        f("blks_read", Kind::Counter, "count"),
        f("blks_hit", Kind::Counter, "count"),
        f("tup_returned", Kind::Counter, "count"),
        f("tup_fetched", Kind::Counter, "count"),
        f("tup_inserted", Kind::Counter, "count"),
        f("tup_updated", Kind::Counter, "count"),
        f("tup_deleted", Kind::Counter, "count"),
        f("conflicts", Kind::Counter, "count"),
        f("temp_files", Kind::Counter, "count"),
        f("temp_bytes", Kind::Counter, "bytes"),
        f("deadlocks", Kind::Counter, "count"),
        f("checksum_failures", Kind::Counter, "count"),
        f("blk_read_time", Kind::Total, "ms"),
        f("blk_write_time", Kind::Total, "ms"),
        f("session_time", Kind::Total, "ms"),
        f("active_time", Kind::Total, "ms"),
        f("idle_in_transaction_time", Kind::Total, "ms"),
        f("sessions", Kind::Counter, "count"),
        f("sessions_abandoned", Kind::Counter, "count"),
        f("sessions_fatal", Kind::Counter, "count"),
        f("sessions_killed", Kind::Counter, "count"),
        f("parallel_workers_to_launch", Kind::Counter, "count"),
        f("parallel_workers_launched", Kind::Counter, "count"),
        f("stats_reset", Kind::Real, "s"),
    ],
    about: "the database that the load works on",
};

/// One thin clone, at the instant of its request: how long each part of its life took, and what it is worth.
pub const CLONE: Measurement = Measurement {
    name: "clone",
    tags: &["subject"],
    fields: &[
        f("made", Kind::Truth, ""),
        f("ready", Kind::Real, "s"),
        f("after_checkpoint", Kind::Real, "s"),
        f("look", Kind::Real, "s"),
        f("checkpoint", Kind::Real, "s"),
        f("freeze", Kind::Real, "s"),
        f("snapshot", Kind::Real, "s"),
        f("clone", Kind::Real, "s"),
        f("thaw", Kind::Real, "s"),
        f("backup_stop", Kind::Real, "s"),
        f("fixup", Kind::Real, "s"),
        f("resetwal", Kind::Real, "s"),
        f("container_create", Kind::Real, "s"),
        f("container_start", Kind::Real, "s"),
        f("start", Kind::Real, "s"),
        f("first_row", Kind::Real, "s"),
        f("settle", Kind::Real, "s"),
        f("cold", Kind::Real, "s"),
        f("warm", Kind::Real, "s"),
        f("stop", Kind::Real, "s"),
        f("destroy", Kind::Real, "s"),
        f("stood_still", Kind::Real, "s"),
        f("age", Kind::Real, "s"),
        f("replayed", Kind::Real, "bytes"),
        f("lost_rows", Kind::Real, "count"),
        f("lost_bytes", Kind::Real, "bytes"),
        f("inconsistent", Kind::Real, "count"),
        f("space", Kind::Real, "bytes"),
    ],
    about: "thin clones that were asked for, by the campaign's name and a number",
};

/// WAL activity (PostgreSQL 14 and later; 18 moved writes and syncs to `pg_stat_io`).
pub const WAL: Measurement = Measurement {
    name: "pg_stat_wal",
    tags: &[],
    fields: &[
        f("wal_records", Kind::Counter, "count"),
        f("wal_fpi", Kind::Counter, "count"),
        f("wal_bytes", Kind::Counter, "bytes"),
        f("wal_fpi_bytes", Kind::Counter, "bytes"),
        f("wal_buffers_full", Kind::Counter, "count"),
        f("wal_write", Kind::Counter, "count"),
        f("wal_sync", Kind::Counter, "count"),
        f("wal_write_time", Kind::Total, "ms"),
        f("wal_sync_time", Kind::Total, "ms"),
        f("stats_reset", Kind::Real, "s"),
    ],
    about: "WAL generated, written and synced",
};

/// Sessions by state and wait class.
pub const ASH: Measurement = Measurement {
    name: "pg_ash",
    tags: &["state", "wait_event_type"],
    fields: &[f("sessions", Kind::Gauge, "count")],
    about: "sessions of pg_stat_activity by state and wait class, `CPU` for those that wait for nothing; \
            the laboratory's own control, probe and sampler sessions excluded",
};

/// Where a server stands in the WAL, in bytes since `0/0`.
pub const POSITIONS: Measurement = Measurement {
    name: "pg_replication",
    tags: &[],
    fields: &[
        f("in_recovery", Kind::Truth, ""),
        f("current_lsn_bytes", Kind::Gauge, "bytes"),
        f("received_lsn_bytes", Kind::Gauge, "bytes"),
        f("replayed_lsn_bytes", Kind::Gauge, "bytes"),
        f("replay_paused", Kind::Truth, ""),
        f("postmaster_start_seconds", Kind::Real, "s"),
    ],
    about: "pg_current_wal_lsn of a primary, pg_last_wal_receive_lsn and pg_last_wal_replay_lsn of a standby",
};

/// The sampler's account of itself.
pub const SAMPLER: Measurement = Measurement {
    name: "pgbr_sampler",
    tags: &[],
    fields: &[
        f("up", Kind::Gauge, "count"),
        f("late_us", Kind::Gauge, "us"),
        f("rtt_us", Kind::Gauge, "us"),
        f("rows", Kind::Gauge, "count"),
        f("errors", Kind::Gauge, "count"),
    ],
    about: "whether the node answered a tick (`up` 1 or 0), how late the tick began, how long the answer took",
};

/// Latencies of a load, by transaction, of one interval; percentiles are never averaged, the latency log has the rest.
pub const LOAD_LATENCY: Measurement = Measurement {
    name: "load_latency",
    tags: &["load", "transaction"],
    fields: &[
        f("done", Kind::Gauge, "count"),
        f("response_p50", Kind::Real, "s"),
        f("response_p99", Kind::Real, "s"),
        f("response_max", Kind::Real, "s"),
        f("service_p50", Kind::Real, "s"),
        f("service_p99", Kind::Real, "s"),
        f("wait_p99", Kind::Real, "s"),
    ],
    about: "a load's transactions of the interval that ends at the stamp",
};

/// What became of a load's transactions in one interval.
pub const LOAD_OPS: Measurement = Measurement {
    name: "load_ops",
    tags: &["load"],
    fields: &[
        f("done", Kind::Gauge, "count"),
        f("errors", Kind::Gauge, "count"),
        f("started", Kind::Gauge, "count"),
        f("reconnects", Kind::Gauge, "count"),
    ],
    about: "transactions of the interval that ends at the stamp",
};

/// The ledger's counts since the trial began.
pub const LEDGER: Measurement = Measurement {
    name: "ledger",
    tags: &[],
    fields: &[
        f("acked", Kind::Counter, "count"),
        f("weak_ok", Kind::Counter, "count"),
        f("failed", Kind::Counter, "count"),
        f("unknown", Kind::Counter, "count"),
        f("skipped", Kind::Counter, "count"),
    ],
    about: "outcomes of the ledger's writes",
};

/// Commit-to-visible lag on the standby or subscriber that is the node, by the way that writes take to it, as bounds, of the writes seen since the last point.
pub const LAG_VISIBLE: Measurement = Measurement {
    name: "lag_visible",
    tags: &["source", "target"],
    fields: &[
        f("waiting", Kind::Gauge, "count"),
        f("seen", Kind::Gauge, "count"),
        f("lower_max", Kind::Real, "s"),
        f("upper_max", Kind::Real, "s"),
    ],
    about: "writes on `source` that are not yet visible, and the largest bounds of those that became so",
};

/// Lag of one stream as the servers tell it.
pub const LAG: Measurement = Measurement {
    name: "lag",
    tags: &["stream"],
    fields: &[
        f("connected", Kind::Gauge, "count"),
        f("distance_bytes", Kind::Gauge, "bytes"),
        f("retained_bytes", Kind::Gauge, "bytes"),
        f("write_lag", Kind::Real, "s"),
        f("flush_lag", Kind::Real, "s"),
        f("replay_lag", Kind::Real, "s"),
        f("heartbeat_seconds", Kind::Real, "s"),
        f("last_replayed_seconds", Kind::Real, "s"),
        f("wal_status", Kind::Text, ""),
    ],
    about: "the lag of a standby or a subscription in four ways, whether somebody sends to it (1 or 0), and the WAL \
            that its slot keeps",
};

/// What a node's container has used since it was started, as its engine counts.
pub const CONTAINER: Measurement = Measurement {
    name: "container",
    tags: &[],
    fields: &[
        f("cpu_usage_ns", Kind::Counter, "ns"),
        f("cpu_user_ns", Kind::Counter, "ns"),
        f("cpu_system_ns", Kind::Counter, "ns"),
        f("cpu_periods", Kind::Counter, "count"),
        f("cpu_throttled_periods", Kind::Counter, "count"),
        f("cpu_throttled_ns", Kind::Counter, "ns"),
        f("memory_bytes", Kind::Gauge, "bytes"),
        f("memory_limit_bytes", Kind::Gauge, "bytes"),
        f("memory_cache_bytes", Kind::Gauge, "bytes"),
        f("blkio_read_bytes", Kind::Counter, "bytes"),
        f("blkio_write_bytes", Kind::Counter, "bytes"),
        f("blkio_reads", Kind::Counter, "count"),
        f("blkio_writes", Kind::Counter, "count"),
        f("net_rx_bytes", Kind::Counter, "bytes"),
        f("net_rx_packets", Kind::Counter, "count"),
        f("net_rx_errors", Kind::Counter, "count"),
        f("net_rx_dropped", Kind::Counter, "count"),
        f("net_tx_bytes", Kind::Counter, "bytes"),
        f("net_tx_packets", Kind::Counter, "count"),
        f("net_tx_errors", Kind::Counter, "count"),
        f("net_tx_dropped", Kind::Counter, "count"),
        f("pids", Kind::Gauge, "count"),
    ],
    about: "what a server's container has used; memory without the file cache that could be given up at once",
};

/// What happened, at its instant: the rows of `events.csv`, for annotations.
pub const EVENT: Measurement = Measurement {
    name: "pgbr_event",
    // Two of one kind may fall on one millisecond.
    tags: &["kind", "seq"],
    fields: &[f("text", Kind::Text, ""), f("elapsed_seconds", Kind::Real, "s")],
    about: "phases, faults, promotions, first acknowledged writes, clones; by kind, numbered within the trial",
};

/// All of them.
pub const MEASUREMENTS: &[Measurement] = &[
    REPLICATION,
    DATABASE,
    WAL,
    ASH,
    POSITIONS,
    SAMPLER,
    LOAD_LATENCY,
    LOAD_OPS,
    LEDGER,
    LAG_VISIBLE,
    LAG,
    CONTAINER,
    CLONE,
    EVENT,
];

/// Tags that every line carries; no measurement may have a tag or field of the same name.
pub const FIXED_TAGS: [&str; 6] = ["run_id", "scenario", "variant", "trial", "node", "role"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_snake_case_and_apart_from_tags() {
        for (i, measurement) in MEASUREMENTS.iter().enumerate() {
            assert!(MEASUREMENTS[i + 1..].iter().all(|other| other.name != measurement.name), "{}", measurement.name);
            let fields = measurement.fields.iter().map(|field| field.name);
            let mut names: Vec<&str> = fields.chain(measurement.tags.iter().copied()).chain(FIXED_TAGS).collect();
            for name in &names {
                assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
                assert!(!name.starts_with('_') && *name != "time", "{name} is reserved");
            }
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "a name is used twice in {}", measurement.name);
        }
    }

    #[test]
    fn every_number_has_a_unit() {
        for field in MEASUREMENTS.iter().flat_map(|measurement| measurement.fields) {
            let has_unit = ["count", "bytes", "ms", "s", "us", "ns"].contains(&field.unit);
            assert_eq!(has_unit, !matches!(field.kind, Kind::Truth | Kind::Text), "{}", field.name);
        }
    }
}
