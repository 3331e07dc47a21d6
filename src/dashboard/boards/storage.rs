//! What was written and read, by whom, and how long that took.

use super::super::Fold::{Last, Max, Rate};
use super::super::View::{Lines, Stacked};
use super::super::{Dashboard, Panel, Query, Scope};
use super::panel;
use crate::metric::sampled::{
    BGWRITER, CHECKPOINTER, DATABASE, DATABASE_SIZE, FILE_SYSTEM, IO, TABLE_SIZE, USER_TABLES, WAL,
};

const TABLE: &[&str] = &["node", "relname"];
const MS: f64 = 1000.0;

pub fn board() -> Dashboard {
    let mut panels = wal();
    panels.extend(files());
    Dashboard { name: "storage", title: "Storage", about: "WAL, checkpoints, I/O and sizes", scope: Scope::Run, panels }
}

fn wal() -> Vec<Panel> {
    let checkpoints = |field| Query::new(&CHECKPOINTER, field, Rate);
    vec![
        panel(
            ("WAL", "bytes generated a second; 19 counts those of full-page images by themselves"),
            Lines,
            "Bps",
            12,
            [Query::new(&WAL, "wal_bytes", Rate)],
        ),
        panel(
            ("WAL records and full-page images", "a second; images follow a checkpoint"),
            Lines,
            "ops",
            12,
            [Query::new(&WAL, "wal_records", Rate), Query::new(&WAL, "wal_fpi", Rate)],
        ),
        panel(
            ("Checkpoints", "begun since the statistics were reset"),
            Lines,
            "short",
            12,
            [
                Query::new(&CHECKPOINTER, "num_timed", Last).called("timed"),
                Query::new(&CHECKPOINTER, "num_requested", Last).called("requested"),
            ],
        ),
        panel(
            ("Time of checkpoints", "share of the time spent writing and syncing, counted when a checkpoint ends"),
            Lines,
            "percentunit",
            12,
            [checkpoints("write_time").per(MS).called("writing"), checkpoints("sync_time").per(MS).called("syncing")],
        ),
        panel(
            ("Buffers written", "a second, by the checkpointer, the background writer and, before 17, backends"),
            Lines,
            "ops",
            12,
            [
                checkpoints("buffers_written").called("checkpointer"),
                Query::new(&BGWRITER, "buffers_clean", Rate).called("background writer"),
                Query::new(&BGWRITER, "buffers_backend", Rate).called("backends"),
            ],
        ),
        panel(
            ("Blocks of the database", "a second, found in shared buffers and asked of the kernel"),
            Lines,
            "ops",
            12,
            [
                Query::new(&DATABASE, "blks_hit", Rate).called("hit"),
                Query::new(&DATABASE, "blks_read", Rate).called("read"),
            ],
        ),
    ]
}

fn files() -> Vec<Panel> {
    let io = |field| Query::new(&IO, field, Rate).split(&["node", "backend_type"]);
    vec![
        panel(
            ("Reads and writes by who does them", "pg_stat_io, a second (PostgreSQL 16 and later)"),
            Stacked,
            "ops",
            12,
            [io("reads"), io("writes"), io("extends")],
        ),
        panel(
            ("Temporary files", "bytes a second that sorts and hashes did not find room for"),
            Lines,
            "Bps",
            12,
            [Query::new(&DATABASE, "temp_bytes", Rate)],
        ),
        panel(
            ("Size of the database", "as pg_database_size has it"),
            Lines,
            "bytes",
            12,
            [Query::new(&DATABASE_SIZE, "size_bytes", Last)],
        ),
        panel(
            ("File systems", "what is free where data directories are"),
            Lines,
            "bytes",
            12,
            [Query::new(&FILE_SYSTEM, "available_bytes", Last).called("available")],
        ),
        panel(
            ("Tables", "size with TOAST and maps"),
            Lines,
            "bytes",
            12,
            [Query::new(&TABLE_SIZE, "table_bytes", Last).split(TABLE).called("table")],
        ),
        panel(
            ("Dead rows", "as estimated by the statistics system"),
            Lines,
            "short",
            12,
            [Query::new(&USER_TABLES, "n_dead_tup", Max).split(TABLE).called("dead")],
        ),
    ]
}
