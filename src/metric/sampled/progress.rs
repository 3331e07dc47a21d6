//! Long-running commands on their way, those of the database; values of several processes at the same are added up.

use super::Kind::{Gauge, Real};
use super::{Measurement, also, f};

/// Progress of VACUUM, also of autovacuum.
pub const PROGRESS_VACUUM: Measurement = Measurement {
    name: "pg_stat_progress_vacuum",
    tags: &["relname", "phase"],
    fields: &[
        also("processes", &["count(pid)"], Gauge, "count"),
        f("heap_blks_total", Gauge, "count"),
        f("heap_blks_scanned", Gauge, "count"),
        f("heap_blks_vacuumed", Gauge, "count"),
        f("index_vacuum_count", Gauge, "count"),
        f("max_dead_tuples", Gauge, "count"),
        f("num_dead_tuples", Gauge, "count"),
        f("max_dead_tuple_bytes", Gauge, "bytes"),
        f("dead_tuple_bytes", Gauge, "bytes"),
        f("num_dead_item_ids", Gauge, "count"),
        f("indexes_total", Gauge, "count"),
        f("indexes_processed", Gauge, "count"),
        f("delay_time", Real, "ms"),
    ],
    about: "progress of VACUUM, also of autovacuum",
};

/// Progress of ANALYZE, also of autovacuum.
pub const PROGRESS_ANALYZE: Measurement = Measurement {
    name: "pg_stat_progress_analyze",
    tags: &["relname", "phase"],
    fields: &[
        also("processes", &["count(pid)"], Gauge, "count"),
        f("sample_blks_total", Gauge, "count"),
        f("sample_blks_scanned", Gauge, "count"),
        f("ext_stats_total", Gauge, "count"),
        f("ext_stats_computed", Gauge, "count"),
        f("child_tables_total", Gauge, "count"),
        f("child_tables_done", Gauge, "count"),
        f("delay_time", Real, "ms"),
    ],
    about: "progress of ANALYZE, also of autovacuum",
};

/// Progress of CREATE INDEX and REINDEX.
pub const PROGRESS_CREATE_INDEX: Measurement = Measurement {
    name: "pg_stat_progress_create_index",
    tags: &["relname", "phase"],
    fields: &[
        also("processes", &["count(pid)"], Gauge, "count"),
        f("lockers_total", Gauge, "count"),
        f("lockers_done", Gauge, "count"),
        f("blocks_total", Gauge, "count"),
        f("blocks_done", Gauge, "count"),
        f("tuples_total", Gauge, "count"),
        f("tuples_done", Gauge, "count"),
        f("partitions_total", Gauge, "count"),
        f("partitions_done", Gauge, "count"),
    ],
    about: "progress of CREATE INDEX and REINDEX",
};

/// Progress of CLUSTER and VACUUM FULL.
pub const PROGRESS_CLUSTER: Measurement = Measurement {
    name: "pg_stat_progress_cluster",
    tags: &["relname", "phase"],
    fields: &[
        also("processes", &["count(pid)"], Gauge, "count"),
        f("heap_tuples_scanned", Gauge, "count"),
        f("heap_tuples_written", Gauge, "count"),
        f("heap_blks_total", Gauge, "count"),
        f("heap_blks_scanned", Gauge, "count"),
        f("index_rebuild_count", Gauge, "count"),
    ],
    about: "progress of CLUSTER and VACUUM FULL",
};

/// Progress of base backups.
pub const PROGRESS_BASEBACKUP: Measurement = Measurement {
    name: "pg_stat_progress_basebackup",
    tags: &["phase"],
    fields: &[
        also("processes", &["count(pid)"], Gauge, "count"),
        f("backup_total", Gauge, "bytes"),
        f("backup_streamed", Gauge, "bytes"),
        f("tablespaces_total", Gauge, "count"),
        f("tablespaces_streamed", Gauge, "count"),
    ],
    about: "progress of base backups",
};

/// Progress of COPY.
pub const PROGRESS_COPY: Measurement = Measurement {
    name: "pg_stat_progress_copy",
    tags: &["relname", "command"],
    fields: &[
        also("processes", &["count(pid)"], Gauge, "count"),
        f("bytes_processed", Gauge, "bytes"),
        f("bytes_total", Gauge, "bytes"),
        f("tuples_processed", Gauge, "count"),
        f("tuples_excluded", Gauge, "count"),
        f("tuples_skipped", Gauge, "count"),
    ],
    about: "progress of COPY",
};
