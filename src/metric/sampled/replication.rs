//! WAL on its way: senders, receivers, slots, subscriptions.

use super::Kind::{Counter, Gauge, Real, Text, Truth};
use super::{Measurement, also, f};

/// Standbys as their primary sees them. LSNs are bytes since `0/0`; `reply_time` is seconds since 1970.
pub const REPLICATION: Measurement = Measurement {
    name: "pg_stat_replication",
    tags: &["application_name"],
    fields: &[
        f("state", Text, ""),
        f("sent_lsn", Gauge, "bytes"),
        f("write_lsn", Gauge, "bytes"),
        f("flush_lsn", Gauge, "bytes"),
        f("replay_lsn", Gauge, "bytes"),
        f("write_lag", Real, "s"),
        f("flush_lag", Real, "s"),
        f("replay_lag", Real, "s"),
        f("sync_priority", Gauge, "count"),
        f("sync_state", Text, ""),
        f("reply_time", Real, "s"),
    ],
    about: "WAL senders; the newest one where several have the same application_name",
};

/// Where a server stands in the WAL, in bytes since `0/0`.
pub const POSITIONS: Measurement = Measurement {
    name: "pg_replication",
    tags: &[],
    fields: &[
        f("in_recovery", Truth, ""),
        f("current_lsn_bytes", Gauge, "bytes"),
        f("received_lsn_bytes", Gauge, "bytes"),
        f("replayed_lsn_bytes", Gauge, "bytes"),
        f("replay_paused", Truth, ""),
        f("timeline", Gauge, "count"),
        f("postmaster_start_seconds", Real, "s"),
    ],
    about: "pg_current_wal_lsn and timeline of a primary, pg_last_wal_receive_lsn and pg_last_wal_replay_lsn of a standby",
};

/// The WAL receiver.
pub const WAL_RECEIVER: Measurement = Measurement {
    name: "pg_stat_wal_receiver",
    tags: &[],
    fields: &[
        f("status", Text, ""),
        f("receive_start_lsn", Gauge, "bytes"),
        f("receive_start_tli", Gauge, "count"),
        f("written_lsn", Gauge, "bytes"),
        f("flushed_lsn", Gauge, "bytes"),
        f("received_tli", Gauge, "count"),
        f("last_msg_send_time", Real, "s"),
        f("last_msg_receipt_time", Real, "s"),
        f("latest_end_lsn", Gauge, "bytes"),
        f("latest_end_time", Real, "s"),
    ],
    about: "the WAL receiver of a standby",
};

/// Replication slots.
pub const SLOTS: Measurement = Measurement {
    name: "pg_replication_slots",
    tags: &["slot_name"],
    fields: &[
        f("slot_type", Text, ""),
        f("active", Truth, ""),
        f("restart_lsn", Gauge, "bytes"),
        f("confirmed_flush_lsn", Gauge, "bytes"),
        also(
            "retained_bytes",
            &[
                "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - restart_lsn",
            ],
            Gauge,
            "bytes",
        ),
        f("wal_status", Text, ""),
        f("safe_wal_size", Gauge, "bytes"),
        f("two_phase", Truth, ""),
        f("two_phase_at", Gauge, "bytes"),
        f("inactive_since", Real, "s"),
        f("conflicting", Truth, ""),
        f("invalidation_reason", Text, ""),
        f("failover", Truth, ""),
        f("synced", Truth, ""),
    ],
    about: "replication slots; `retained_bytes` of WAL they keep from being removed",
};

/// Logical decoding by slot (14 and later).
pub const REPLICATION_SLOTS: Measurement = Measurement {
    name: "pg_stat_replication_slots",
    tags: &["slot_name"],
    fields: &[
        f("spill_txns", Counter, "count"),
        f("spill_count", Counter, "count"),
        f("spill_bytes", Counter, "bytes"),
        f("stream_txns", Counter, "count"),
        f("stream_count", Counter, "count"),
        f("stream_bytes", Counter, "bytes"),
        f("total_txns", Counter, "count"),
        f("total_bytes", Counter, "bytes"),
        f("stats_reset", Real, "s"),
    ],
    about: "what logical decoding passed on, and what it had to write to disk meanwhile",
};

/// Subscriptions; of several workers the highest value.
pub const SUBSCRIPTION: Measurement = Measurement {
    name: "pg_stat_subscription",
    tags: &["subname"],
    fields: &[
        also("workers", &["count(pid)"], Gauge, "count"),
        f("received_lsn", Gauge, "bytes"),
        f("last_msg_send_time", Real, "s"),
        f("last_msg_receipt_time", Real, "s"),
        f("latest_end_lsn", Gauge, "bytes"),
        f("latest_end_time", Real, "s"),
    ],
    about: "subscriptions: their workers, those of tables under synchronization included, and the furthest of their positions",
};

/// Errors (15 and later) and conflicts (18 and later) of subscriptions.
pub const SUBSCRIPTION_STATS: Measurement = Measurement {
    name: "pg_stat_subscription_stats",
    tags: &["subname"],
    fields: &[
        f("apply_error_count", Counter, "count"),
        f("sync_error_count", Counter, "count"),
        f("confl_insert_exists", Counter, "count"),
        f("confl_update_origin_differs", Counter, "count"),
        f("confl_update_exists", Counter, "count"),
        f("confl_update_missing", Counter, "count"),
        f("confl_delete_origin_differs", Counter, "count"),
        f("confl_delete_missing", Counter, "count"),
        f("confl_multiple_unique_conflicts", Counter, "count"),
        f("stats_reset", Real, "s"),
    ],
    about: "errors and conflicts of subscriptions",
};
