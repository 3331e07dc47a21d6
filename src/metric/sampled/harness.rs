//! What the laboratory measures itself: loads, ledger, visibility, clones, and the sampler's own account.

use super::Kind::{Counter, Gauge, Real, Text, Truth};
use super::{Measurement, f};

/// Latencies of a load, by transaction, of one interval; percentiles are never averaged, the latency log has the rest.
pub const LOAD_LATENCY: Measurement = Measurement {
    name: "load_latency",
    tags: &["load", "transaction"],
    fields: &[
        f("done", Gauge, "count"),
        f("response_p50", Real, "s"),
        f("response_p99", Real, "s"),
        f("response_max", Real, "s"),
        f("service_p50", Real, "s"),
        f("service_p99", Real, "s"),
        f("wait_p99", Real, "s"),
        f("elapsed_seconds", Real, "s"),
    ],
    about: "a load's transactions of the interval that ends at the stamp; `elapsed_seconds` since the trial's zero",
};

/// How often response times came into which bucket, four to an octave. Its upper bound is the tag, with leading zeros, as
/// names are sorted as text.
pub const LOAD_BUCKETS: Measurement = Measurement {
    name: "load_latency_buckets",
    tags: &["load", "bucket"],
    fields: &[f("done", Gauge, "count")],
    about: "a load's transactions of the interval that ends at the stamp, by response time: `bucket` is at most how long, \
            none without a transaction is written",
};

/// What became of a load's transactions in one interval.
pub const LOAD_OPS: Measurement = Measurement {
    name: "load_ops",
    tags: &["load"],
    fields: &[
        f("done", Gauge, "count"),
        f("errors", Gauge, "count"),
        f("started", Gauge, "count"),
        f("reconnects", Gauge, "count"),
        f("elapsed_seconds", Real, "s"),
    ],
    about: "transactions of the interval that ends at the stamp; `elapsed_seconds` since the trial's zero",
};

/// The ledger's counts since the trial began.
pub const LEDGER: Measurement = Measurement {
    name: "ledger",
    tags: &[],
    fields: &[
        f("acked", Counter, "count"),
        f("weak_ok", Counter, "count"),
        f("failed", Counter, "count"),
        f("unknown", Counter, "count"),
        f("skipped", Counter, "count"),
    ],
    about: "outcomes of the ledger's writes",
};

/// Commit-to-visible lag on the standby or subscriber that is the node, by the way that writes take to it, as bounds, of the writes seen since the last point.
pub const LAG_VISIBLE: Measurement = Measurement {
    name: "lag_visible",
    tags: &["source", "target"],
    fields: &[
        f("waiting", Gauge, "count"),
        f("seen", Gauge, "count"),
        f("lower_max", Real, "s"),
        f("upper_max", Real, "s"),
    ],
    about: "writes on `source` that are not yet visible, and the largest bounds of those that became so",
};

/// Lag of one stream as the servers tell it.
pub const LAG: Measurement = Measurement {
    name: "lag",
    tags: &["stream"],
    fields: &[
        f("connected", Gauge, "count"),
        f("distance_bytes", Gauge, "bytes"),
        f("retained_bytes", Gauge, "bytes"),
        f("write_lag", Real, "s"),
        f("flush_lag", Real, "s"),
        f("replay_lag", Real, "s"),
        f("heartbeat_seconds", Real, "s"),
        f("last_replayed_seconds", Real, "s"),
        f("wal_status", Text, ""),
    ],
    about: "the lag of a standby or a subscription in four ways, whether somebody sends to it (1 or 0), and the WAL \
            that its slot keeps",
};

/// One thin clone, at the instant of its request: how long each part of its life took, and what it is worth.
pub const CLONE: Measurement = Measurement {
    name: "clone",
    tags: &["subject"],
    fields: &[
        f("made", Truth, ""),
        f("ready", Real, "s"),
        f("after_checkpoint", Real, "s"),
        f("look", Real, "s"),
        f("checkpoint", Real, "s"),
        f("freeze", Real, "s"),
        f("snapshot", Real, "s"),
        f("clone", Real, "s"),
        f("thaw", Real, "s"),
        f("backup_stop", Real, "s"),
        f("fixup", Real, "s"),
        f("resetwal", Real, "s"),
        f("container_create", Real, "s"),
        f("container_start", Real, "s"),
        f("start", Real, "s"),
        f("first_row", Real, "s"),
        f("settle", Real, "s"),
        f("cold", Real, "s"),
        f("warm", Real, "s"),
        f("stop", Real, "s"),
        f("destroy", Real, "s"),
        f("stood_still", Real, "s"),
        f("age", Real, "s"),
        f("replayed", Real, "bytes"),
        f("lost_rows", Real, "count"),
        f("lost_bytes", Real, "bytes"),
        f("inconsistent", Real, "count"),
        f("space", Real, "bytes"),
    ],
    about: "thin clones that were asked for, by the campaign's name and a number",
};

/// The sampler's account of itself.
pub const SAMPLER: Measurement = Measurement {
    name: "pgbr_sampler",
    tags: &[],
    fields: &[
        f("up", Gauge, "count"),
        f("late_us", Gauge, "us"),
        f("rtt_us", Gauge, "us"),
        f("rows", Gauge, "count"),
        f("errors", Gauge, "count"),
    ],
    about: "whether the node answered a tick (`up` 1 or 0), how late the tick began, how long the answer took",
};

/// What happened, at its instant: the rows of `events.csv`, for annotations.
pub const EVENT: Measurement = Measurement {
    name: "pgbr_event",
    // Two of one kind may fall on one millisecond.
    tags: &["kind", "seq"],
    fields: &[f("text", Text, ""), f("elapsed_seconds", Real, "s")],
    about: "phases, faults, promotions, first acknowledged writes, clones; by kind, numbered within the trial",
};
