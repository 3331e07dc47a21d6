//! What is read of a server: for each measurement of the catalogue the view that has it, how its rows become points,
//! how often, and the columns that are left out, so that nothing that any version shows is passed over unsaid.

use crate::metric::sampled::{self, Measurement};

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// What the server shows as it is at this moment.
    Waits,
    /// What backends report about once a second.
    Counters,
    /// What is dear to read, or changes slowly.
    Tables,
}

/// How the rows of a view become points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Each is one; what follows `FROM` the view. `RELATIONS` stands for an array of the tables' oids.
    Rows(&'static str),
    /// Of several with the same tags the first in this order.
    First(&'static str),
    /// Those with the same tags are one, their fields folded by this aggregate; what follows `FROM` the view.
    Folded(&'static str, &'static str),
    /// The rows of a function that takes no texts along, the first this many by execution time, the rest as `other`.
    Top(u32),
    /// A statement of our own, whose columns are the tags and then the fields.
    Whole(&'static str),
}

/// A measurement and where it is read from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) of: &'static Measurement,
    /// The views that have it in some version, newest first; none: the one that it is called by.
    pub(super) views: &'static [&'static str],
    pub(super) group: Group,
    pub(super) shape: Shape,
    /// Expressions of the tags, where they are not columns.
    pub(super) tags: &'static [&'static str],
    /// Columns that are not read, because they name a process, a client or a transaction, are texts without end, or
    /// can be had from others.
    pub(super) left_out: &'static [&'static str],
    /// Whether a role without `pg_read_all_stats` would get something wrong.
    pub(super) needs_monitor: bool,
}

const fn rows(of: &'static Measurement, group: Group, tail: &'static str) -> Wanted {
    Wanted { of, views: &[], group, shape: Shape::Rows(tail), tags: &[], left_out: &[], needs_monitor: false }
}

const fn progress(of: &'static Measurement, left_out: &'static [&'static str]) -> Wanted {
    Wanted {
        shape: Shape::Folded("sum", "WHERE datname = current_database()"),
        tags: &["relid::regclass", "phase"],
        left_out,
        needs_monitor: true,
        ..rows(of, Group::Counters, "")
    }
}

const OF_RELATIONS: &str = "WHERE relid = ANY (RELATIONS)";
const OF_DATABASE: &str = "WHERE datname = current_database()";
/// Rows of `pg_stat_io` that have counted something.
const COUNTED: &str = "WHERE coalesce(reads, 0) + coalesce(writes, 0) + coalesce(extends, 0) + coalesce(hits, 0) \
                       + coalesce(fsyncs, 0) > 0";

const POSITIONS_SQL: &str = "\
    SELECT r AS in_recovery, \
    CASE WHEN NOT r THEN (pg_current_wal_lsn() - '0/0'::pg_lsn)::int8 END AS current_lsn_bytes, \
    CASE WHEN r THEN (pg_last_wal_receive_lsn() - '0/0'::pg_lsn)::int8 END AS received_lsn_bytes, \
    CASE WHEN r THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::int8 END AS replayed_lsn_bytes, \
    CASE WHEN r THEN pg_is_wal_replay_paused() END AS replay_paused, \
    CASE WHEN NOT r THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int8 END AS timeline, \
    extract(epoch FROM pg_postmaster_start_time())::float8 AS postmaster_start_seconds \
    FROM pg_is_in_recovery() AS r";

const LOCKS_SQL: &str = "\
    SELECT mode, (count(*) FILTER (WHERE granted))::int8 AS granted, \
    (count(*) FILTER (WHERE NOT granted))::int8 AS waiting \
    FROM pg_catalog.pg_locks WHERE pid IS DISTINCT FROM pg_backend_pid() GROUP BY mode";

const PREPARED_SQL: &str = "\
    SELECT count(*)::int8 AS transactions, \
    extract(epoch FROM clock_timestamp() - min(prepared))::float8 AS oldest_seconds \
    FROM pg_catalog.pg_prepared_xacts";

/// Who asks for the size of a table waits for whoever has it to himself, and with it all sizes would; so such a table
/// is left out.
const TABLE_SIZE_SQL: &str = "\
    SELECT n.nspname::text, c.relname::text, pg_table_size(c.oid)::int8 AS table_bytes, \
    pg_indexes_size(c.oid)::int8 AS indexes_bytes \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.oid = ANY (RELATIONS) AND c.oid <> ALL (ARRAY (SELECT relation FROM pg_catalog.pg_locks \
    WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL))";

const DATABASE_SIZE_SQL: &str =
    "SELECT current_database()::text, pg_database_size(current_database())::int8 AS size_bytes";

const fn whole(of: &'static Measurement, group: Group, sql: &'static str) -> Wanted {
    Wanted { shape: Shape::Whole(sql), ..rows(of, group, "") }
}

/// All that is read by one statement each; `pg_stat_activity` and the lock tree are another matter.
pub(super) const WANTED: &[Wanted] = &[
    whole(&sampled::POSITIONS, Group::Waits, POSITIONS_SQL),
    // A sender that has not yet noticed its standby's death may linger beside the new one.
    Wanted {
        shape: Shape::First("backend_start DESC, pid DESC"),
        left_out: &[
            "pid",
            "usesysid",
            "usename",
            "client_addr",
            "client_hostname",
            "client_port",
            "backend_start",
            "backend_xmin",
        ],
        needs_monitor: true,
        ..rows(&sampled::REPLICATION, Group::Waits, "")
    },
    Wanted {
        left_out: &["pid", "slot_name", "sender_host", "sender_port", "conninfo"],
        needs_monitor: true,
        ..rows(&sampled::WAL_RECEIVER, Group::Counters, "")
    },
    Wanted { left_out: &["datid"], ..rows(&sampled::DATABASE, Group::Counters, OF_DATABASE) },
    Wanted {
        left_out: &["datid"],
        ..rows(
            &sampled::DATABASE_CONFLICTS,
            Group::Counters,
            "WHERE datname = current_database() AND pg_is_in_recovery()",
        )
    },
    rows(&sampled::WAL, Group::Counters, ""),
    Wanted {
        // They are read as `pg_stat_checkpointer`, which has them since 17.
        left_out: &[
            "checkpoints_timed",
            "checkpoints_req",
            "checkpoint_write_time",
            "checkpoint_sync_time",
            "buffers_checkpoint",
        ],
        ..rows(&sampled::BGWRITER, Group::Counters, "")
    },
    Wanted {
        views: &["pg_stat_checkpointer", "pg_stat_bgwriter"],
        ..rows(&sampled::CHECKPOINTER, Group::Counters, "")
    },
    rows(&sampled::IO, Group::Counters, COUNTED),
    Wanted { left_out: &["last_archived_wal", "last_failed_wal"], ..rows(&sampled::ARCHIVER, Group::Counters, "") },
    Wanted {
        left_out: &["plugin", "datoid", "database", "temporary", "active_pid", "xmin", "catalog_xmin"],
        ..rows(&sampled::SLOTS, Group::Counters, "")
    },
    rows(&sampled::REPLICATION_SLOTS, Group::Counters, ""),
    Wanted {
        shape: Shape::Folded("max", ""),
        left_out: &["subid", "pid", "leader_pid", "relid", "worker_type"],
        ..rows(&sampled::SUBSCRIPTION, Group::Counters, "")
    },
    Wanted { left_out: &["subid"], ..rows(&sampled::SUBSCRIPTION_STATS, Group::Counters, "") },
    whole(&sampled::LOCKS, Group::Counters, LOCKS_SQL),
    whole(&sampled::PREPARED, Group::Counters, PREPARED_SQL),
    progress(&sampled::PROGRESS_VACUUM, &["pid", "datid", "datname", "relid"]),
    progress(&sampled::PROGRESS_ANALYZE, &["pid", "datid", "datname", "relid", "current_child_table_relid"]),
    progress(
        &sampled::PROGRESS_CREATE_INDEX,
        &["pid", "datid", "datname", "relid", "index_relid", "command", "current_locker_pid"],
    ),
    progress(&sampled::PROGRESS_CLUSTER, &["pid", "datid", "datname", "relid", "command", "cluster_index_relid"]),
    Wanted { shape: Shape::Folded("sum", ""), tags: &[], ..progress(&sampled::PROGRESS_BASEBACKUP, &["pid"]) },
    Wanted {
        tags: &["relid::regclass", "command"],
        ..progress(&sampled::PROGRESS_COPY, &["pid", "datid", "datname", "relid", "type"])
    },
    Wanted { left_out: &["relid"], ..rows(&sampled::USER_TABLES, Group::Tables, OF_RELATIONS) },
    Wanted { left_out: &["relid"], ..rows(&sampled::USER_TABLES_IO, Group::Tables, OF_RELATIONS) },
    Wanted { left_out: &["relid", "indexrelid"], ..rows(&sampled::USER_INDEXES, Group::Tables, OF_RELATIONS) },
    Wanted { left_out: &["relid", "indexrelid"], ..rows(&sampled::USER_INDEXES_IO, Group::Tables, OF_RELATIONS) },
    whole(&sampled::TABLE_SIZE, Group::Tables, TABLE_SIZE_SQL),
    whole(&sampled::DATABASE_SIZE, Group::Tables, DATABASE_SIZE_SQL),
    rows(&sampled::SLRU, Group::Tables, ""),
    rows(&sampled::RECOVERY_PREFETCH, Group::Tables, "WHERE pg_is_in_recovery()"),
    Wanted {
        shape: Shape::Top(20),
        tags: &["top"],
        left_out: &[
            "userid",
            "dbid",
            "toplevel",
            "query",
            "min_plan_time",
            "max_plan_time",
            "mean_plan_time",
            "stddev_plan_time",
            "min_exec_time",
            "max_exec_time",
            "mean_exec_time",
            "stddev_exec_time",
            "jit_inlining_count",
            "jit_optimization_count",
            "jit_emission_count",
            "jit_deform_count",
            "stats_since",
            "minmax_stats_since",
        ],
        needs_monitor: true,
        ..rows(&sampled::STATEMENTS, Group::Tables, "")
    },
];

impl Wanted {
    /// The views that may have it, best first; by default the one that it is called by.
    pub(super) fn views(&self) -> &'static [&'static str] {
        if self.views.is_empty() { std::slice::from_ref(&self.of.name) } else { self.views }
    }
}
