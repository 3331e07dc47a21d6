//! Tables, indexes and statements. They are read seldom, and only those of the scenario where it names its tables.

use super::Kind::{Counter, Gauge, Real, Total};
use super::{Measurement, also, f};

/// Tables.
pub const USER_TABLES: Measurement = Measurement {
    name: "pg_stat_user_tables",
    tags: &["schemaname", "relname"],
    fields: &[
        f("seq_scan", Counter, "count"),
        f("last_seq_scan", Real, "s"),
        f("seq_tup_read", Counter, "count"),
        f("idx_scan", Counter, "count"),
        f("last_idx_scan", Real, "s"),
        f("idx_tup_fetch", Counter, "count"),
        f("n_tup_ins", Counter, "count"),
        f("n_tup_upd", Counter, "count"),
        f("n_tup_del", Counter, "count"),
        f("n_tup_hot_upd", Counter, "count"),
        f("n_tup_newpage_upd", Counter, "count"),
        f("n_live_tup", Gauge, "count"),
        f("n_dead_tup", Gauge, "count"),
        f("n_mod_since_analyze", Gauge, "count"),
        f("n_ins_since_vacuum", Gauge, "count"),
        f("last_vacuum", Real, "s"),
        f("last_autovacuum", Real, "s"),
        f("last_analyze", Real, "s"),
        f("last_autoanalyze", Real, "s"),
        f("vacuum_count", Counter, "count"),
        f("autovacuum_count", Counter, "count"),
        f("analyze_count", Counter, "count"),
        f("autoanalyze_count", Counter, "count"),
        f("total_vacuum_time", Total, "ms"),
        f("total_autovacuum_time", Total, "ms"),
        f("total_analyze_time", Total, "ms"),
        f("total_autoanalyze_time", Total, "ms"),
    ],
    about: "scans and changes of tables",
};

/// Blocks of tables.
pub const USER_TABLES_IO: Measurement = Measurement {
    name: "pg_statio_user_tables",
    tags: &["schemaname", "relname"],
    fields: &[
        f("heap_blks_read", Counter, "count"),
        f("heap_blks_hit", Counter, "count"),
        f("idx_blks_read", Counter, "count"),
        f("idx_blks_hit", Counter, "count"),
        f("toast_blks_read", Counter, "count"),
        f("toast_blks_hit", Counter, "count"),
        f("tidx_blks_read", Counter, "count"),
        f("tidx_blks_hit", Counter, "count"),
    ],
    about: "blocks of tables, of their indexes and of their TOAST tables",
};

/// Indexes.
pub const USER_INDEXES: Measurement = Measurement {
    name: "pg_stat_user_indexes",
    tags: &["schemaname", "relname", "indexrelname"],
    fields: &[
        f("idx_scan", Counter, "count"),
        f("last_idx_scan", Real, "s"),
        f("idx_tup_read", Counter, "count"),
        f("idx_tup_fetch", Counter, "count"),
    ],
    about: "scans of indexes",
};

/// Blocks of indexes.
pub const USER_INDEXES_IO: Measurement = Measurement {
    name: "pg_statio_user_indexes",
    tags: &["schemaname", "relname", "indexrelname"],
    fields: &[f("idx_blks_read", Counter, "count"), f("idx_blks_hit", Counter, "count")],
    about: "blocks of indexes",
};

/// Sizes of tables.
pub const TABLE_SIZE: Measurement = Measurement {
    name: "pg_table_size",
    tags: &["schemaname", "relname"],
    fields: &[f("table_bytes", Gauge, "bytes"), f("indexes_bytes", Gauge, "bytes")],
    about: "size of tables with TOAST and maps, and of their indexes",
};

/// Size of the database.
pub const DATABASE_SIZE: Measurement = Measurement {
    name: "pg_database_size",
    tags: &["datname"],
    fields: &[f("size_bytes", Gauge, "bytes")],
    about: "size of the database",
};

/// Statements, where the extension is installed in the database. One that comes among the 20 takes its past out of
/// `other`, which falls then as at a reset.
pub const STATEMENTS: Measurement = Measurement {
    name: "pg_stat_statements",
    tags: &["queryid"],
    fields: &[
        f("plans", Counter, "count"),
        f("total_plan_time", Total, "ms"),
        f("calls", Counter, "count"),
        f("total_exec_time", Total, "ms"),
        f("rows", Counter, "count"),
        f("shared_blks_hit", Counter, "count"),
        f("shared_blks_read", Counter, "count"),
        f("shared_blks_dirtied", Counter, "count"),
        f("shared_blks_written", Counter, "count"),
        f("local_blks_hit", Counter, "count"),
        f("local_blks_read", Counter, "count"),
        f("local_blks_dirtied", Counter, "count"),
        f("local_blks_written", Counter, "count"),
        f("temp_blks_read", Counter, "count"),
        f("temp_blks_written", Counter, "count"),
        also("shared_blk_read_time", &["blk_read_time"], Total, "ms"),
        also("shared_blk_write_time", &["blk_write_time"], Total, "ms"),
        f("local_blk_read_time", Total, "ms"),
        f("local_blk_write_time", Total, "ms"),
        f("temp_blk_read_time", Total, "ms"),
        f("temp_blk_write_time", Total, "ms"),
        f("wal_records", Counter, "count"),
        f("wal_fpi", Counter, "count"),
        f("wal_bytes", Counter, "bytes"),
        f("wal_buffers_full", Counter, "count"),
        f("jit_functions", Counter, "count"),
        f("jit_generation_time", Total, "ms"),
        f("jit_inlining_time", Total, "ms"),
        f("jit_optimization_time", Total, "ms"),
        f("jit_emission_time", Total, "ms"),
        f("jit_deform_time", Total, "ms"),
        f("parallel_workers_to_launch", Counter, "count"),
        f("parallel_workers_launched", Counter, "count"),
    ],
    about: "statements of the database by queryid: the 20 that took most time, and all others added up as `other`",
};
