//! The scale rule of pgbench's tables (`src/bin/pgbench/pgbench.c`), which filling them and running on them share.

/// Branches for each unit of scale.
pub const BRANCHES: i64 = 1;
/// Tellers for each unit of scale.
pub const TELLERS: i64 = 10;
/// Accounts for each unit of scale.
pub const ACCOUNTS: i64 = 100_000;

/// From this scale on, account numbers are `bigint` (pgbench's `SCALE_32BIT_THRESHOLD`).
pub const BIGINT_SCALE: u32 = 20_000;
