//! What a server and its database have done since their statistics were reset.

use super::Kind::{Counter, Gauge, Real, Total};
use super::{Measurement, also, f};

/// The lab's database. Times are milliseconds, as in the view; `stats_reset` is seconds since 1970.
pub const DATABASE: Measurement = Measurement {
    name: "pg_stat_database",
    tags: &["datname"],
    fields: &[
        f("numbackends", Gauge, "count"),
        f("xact_commit", Counter, "count"),
        f("xact_rollback", Counter, "count"),
        f("blks_read", Counter, "count"),
        f("blks_hit", Counter, "count"),
        f("tup_returned", Counter, "count"),
        f("tup_fetched", Counter, "count"),
        f("tup_inserted", Counter, "count"),
        f("tup_updated", Counter, "count"),
        f("tup_deleted", Counter, "count"),
        f("conflicts", Counter, "count"),
        f("temp_files", Counter, "count"),
        f("temp_bytes", Counter, "bytes"),
        f("deadlocks", Counter, "count"),
        f("checksum_failures", Counter, "count"),
        f("checksum_last_failure", Real, "s"),
        f("blk_read_time", Total, "ms"),
        f("blk_write_time", Total, "ms"),
        f("session_time", Total, "ms"),
        f("active_time", Total, "ms"),
        f("idle_in_transaction_time", Total, "ms"),
        f("sessions", Counter, "count"),
        f("sessions_abandoned", Counter, "count"),
        f("sessions_fatal", Counter, "count"),
        f("sessions_killed", Counter, "count"),
        f("parallel_workers_to_launch", Counter, "count"),
        f("parallel_workers_launched", Counter, "count"),
        f("stats_reset", Real, "s"),
    ],
    about: "the database that the load works on",
};

/// WAL activity (PostgreSQL 14 and later; 18 moved writes and syncs to `pg_stat_io`).
pub const WAL: Measurement = Measurement {
    name: "pg_stat_wal",
    tags: &[],
    fields: &[
        f("wal_records", Counter, "count"),
        f("wal_fpi", Counter, "count"),
        f("wal_bytes", Counter, "bytes"),
        f("wal_fpi_bytes", Counter, "bytes"),
        f("wal_buffers_full", Counter, "count"),
        f("wal_write", Counter, "count"),
        f("wal_sync", Counter, "count"),
        f("wal_write_time", Total, "ms"),
        f("wal_sync_time", Total, "ms"),
        f("stats_reset", Real, "s"),
    ],
    about: "WAL generated, written and synced",
};

/// Queries that recovery cancelled, of the same database, on standbys only.
pub const DATABASE_CONFLICTS: Measurement = Measurement {
    name: "pg_stat_database_conflicts",
    tags: &["datname"],
    fields: &[
        f("confl_tablespace", Counter, "count"),
        f("confl_lock", Counter, "count"),
        f("confl_snapshot", Counter, "count"),
        f("confl_bufferpin", Counter, "count"),
        f("confl_deadlock", Counter, "count"),
        f("confl_active_logicalslot", Counter, "count"),
    ],
    about: "queries cancelled on a standby because recovery was in their way",
};

/// The background writer (what backends wrote themselves went to `pg_stat_io` in 17).
pub const BGWRITER: Measurement = Measurement {
    name: "pg_stat_bgwriter",
    tags: &[],
    fields: &[
        f("buffers_clean", Counter, "count"),
        f("maxwritten_clean", Counter, "count"),
        f("buffers_backend", Counter, "count"),
        f("buffers_backend_fsync", Counter, "count"),
        f("buffers_alloc", Counter, "count"),
        f("stats_reset", Real, "s"),
    ],
    about: "what the background writer wrote",
};

/// Checkpoints; before 17 from `pg_stat_bgwriter`, under the names that they have since.
pub const CHECKPOINTER: Measurement = Measurement {
    name: "pg_stat_checkpointer",
    tags: &[],
    fields: &[
        also("num_timed", &["checkpoints_timed"], Counter, "count"),
        also("num_requested", &["checkpoints_req"], Counter, "count"),
        f("num_done", Counter, "count"),
        f("restartpoints_timed", Counter, "count"),
        f("restartpoints_req", Counter, "count"),
        f("restartpoints_done", Counter, "count"),
        also("write_time", &["checkpoint_write_time"], Total, "ms"),
        also("sync_time", &["checkpoint_sync_time"], Total, "ms"),
        also("buffers_written", &["buffers_checkpoint"], Counter, "count"),
        f("slru_written", Counter, "count"),
        f("stats_reset", Real, "s"),
    ],
    about: "checkpoints and restartpoints",
};

/// I/O (16 and later). Before its first point a row has counted nothing.
pub const IO: Measurement = Measurement {
    name: "pg_stat_io",
    tags: &["backend_type", "object", "context"],
    fields: &[
        f("reads", Counter, "count"),
        also("read_bytes", &["reads * op_bytes"], Counter, "bytes"),
        f("read_time", Total, "ms"),
        f("writes", Counter, "count"),
        also("write_bytes", &["writes * op_bytes"], Counter, "bytes"),
        f("write_time", Total, "ms"),
        f("writebacks", Counter, "count"),
        f("writeback_time", Total, "ms"),
        f("extends", Counter, "count"),
        also("extend_bytes", &["extends * op_bytes"], Counter, "bytes"),
        f("extend_time", Total, "ms"),
        f("hits", Counter, "count"),
        f("evictions", Counter, "count"),
        f("reuses", Counter, "count"),
        f("fsyncs", Counter, "count"),
        f("fsync_time", Total, "ms"),
        f("stats_reset", Real, "s"),
    ],
    about: "I/O by who did it, on what and why; a row that has never counted anything is not written",
};

/// The archiver.
pub const ARCHIVER: Measurement = Measurement {
    name: "pg_stat_archiver",
    tags: &[],
    fields: &[
        f("archived_count", Counter, "count"),
        f("last_archived_time", Real, "s"),
        f("failed_count", Counter, "count"),
        f("last_failed_time", Real, "s"),
        f("stats_reset", Real, "s"),
    ],
    about: "WAL archived, and how often that failed",
};

/// Caches of transaction states.
pub const SLRU: Measurement = Measurement {
    name: "pg_stat_slru",
    tags: &["name"],
    fields: &[
        f("blks_zeroed", Counter, "count"),
        f("blks_hit", Counter, "count"),
        f("blks_read", Counter, "count"),
        f("blks_written", Counter, "count"),
        f("blks_exists", Counter, "count"),
        f("flushes", Counter, "count"),
        f("truncates", Counter, "count"),
        f("stats_reset", Real, "s"),
    ],
    about: "the small caches of transaction states, subtransactions, multixacts and notifications",
};

/// Prefetching of recovery (15 and later).
pub const RECOVERY_PREFETCH: Measurement = Measurement {
    name: "pg_stat_recovery_prefetch",
    tags: &[],
    fields: &[
        f("prefetch", Counter, "count"),
        f("hit", Counter, "count"),
        f("skip_init", Counter, "count"),
        f("skip_new", Counter, "count"),
        f("skip_fpw", Counter, "count"),
        f("skip_rep", Counter, "count"),
        f("wal_distance", Gauge, "bytes"),
        f("block_distance", Gauge, "count"),
        f("io_depth", Gauge, "count"),
        f("stats_reset", Real, "s"),
    ],
    about: "blocks that recovery asked for ahead of replaying them, on standbys only",
};
