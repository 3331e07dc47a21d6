//! What sessions do and wait for at this moment.

use super::Kind::{Gauge, Real};
use super::{Measurement, f};

/// Sessions by state and what they wait for. A combination without a point at a stamp has no session there.
pub const ASH: Measurement = Measurement {
    name: "pg_ash",
    tags: &["state", "wait_event_type", "wait_event"],
    fields: &[f("sessions", Gauge, "count")],
    about: "sessions of pg_stat_activity by state and wait event, `CPU` for those that wait for nothing; \
            the laboratory's own control, probe and sampler sessions excluded",
};

/// Locks of all databases by mode, as `pg_locks` has them; the sampler's own excluded.
pub const LOCKS: Measurement = Measurement {
    name: "pg_locks_summary",
    tags: &["mode"],
    fields: &[f("granted", Gauge, "count"), f("waiting", Gauge, "count")],
    about: "locks of pg_locks by mode, held and waited for",
};

/// The tree of sessions that wait for a lock of the heavyweight kind, from `pg_blocking_pids`. A blocker that waits
/// for nobody is a root; prepared transactions are one root together, as PostgreSQL does not say which it is.
pub const LOCK_TREE: Measurement = Measurement {
    name: "pg_lock_tree",
    tags: &[],
    fields: &[
        f("waiters", Gauge, "count"),
        f("roots", Gauge, "count"),
        f("roots_idle_in_transaction", Gauge, "count"),
        f("roots_prepared", Gauge, "count"),
        f("max_depth", Gauge, "count"),
        f("longest_wait_seconds", Real, "s"),
    ],
    about: "who waits for whose locks: waiters, roots, the longest chain and the longest wait; \
            parallel workers count as their leader",
};

/// Prepared transactions of all databases.
pub const PREPARED: Measurement = Measurement {
    name: "pg_prepared_xacts",
    tags: &[],
    fields: &[f("transactions", Gauge, "count"), f("oldest_seconds", Real, "s")],
    about: "transactions prepared for two-phase commit, and the age of the oldest",
};
