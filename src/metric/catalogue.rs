//! Every measurement that is ever written into `summary.csv`, once, with its unit.

use super::{
    Better::{self, Higher, Lower, Neither},
    Metric,
};

const fn m(name: &'static str, unit: &'static str, better: Better, about: &'static str) -> Metric {
    Metric { name, unit, better, about }
}

/// The declared metrics, grouped as their rooms are.
pub const METRICS: &[Metric] = &[
    m(
        "cluster.up",
        "s",
        Neither,
        "from the start of the trial's first copy of the template until every standby streams and every setting is confirmed",
    ),
    m(
        "template.copy",
        "s",
        Lower,
        "giving a node its data from the template; events.csv says by which snapshot driver",
    ),
    m("failover.detect", "s", Lower, "from the measured fault until the manager confirmed the primary dead"),
    m("failover.elect", "s", Lower, "from confirmed dead until a candidate was elected"),
    m("failover.fence", "s", Lower, "from the election until the old primary was proven fenced"),
    m("failover.promote", "s", Lower, "from the fence until the promoted server accepted writes"),
    m(
        "failover.write_outage",
        "s",
        Lower,
        "longest gap between acknowledgements of the ledger that ends after the measured fault (it spans the fault unless writes went on for a while); per writer with the writer as subject",
    ),
    m(
        "failover.write_outage_at_least",
        "s",
        Lower,
        "lower bound of the outage when writes had not come back by the end of the trial",
    ),
    m("switchover.duration", "s", Lower, "from the request of a switchover until the new primary accepted writes"),
    m("cutover.duration", "s", Lower, "from the beginning of a cutover until the subscriber accepted writes"),
    m("cutover.caught_up", "s", Lower, "of it, how long the subscribers took to apply what was still on its way"),
    m("cutover.rolled_back", "count", Lower, "cutovers after which clients stayed where they were"),
    m("cutover.forgotten", "count", Lower, "what a cutover left behind: sequences, tables, subscribers, standbys"),
    m("ledger.attempted", "count", Neither, "writes sent"),
    m("ledger.acked", "count", Higher, "writes acknowledged with full durability"),
    m("ledger.failed", "count", Lower, "writes that the server refused for certain"),
    m("ledger.unknown", "count", Lower, "writes whose outcome the client could not know"),
    m("ledger.weak_ok", "count", Lower, "writes acknowledged with a warning, such as a cancelled synchronous wait"),
    m("ledger.skipped", "count", Lower, "due writes not sent because the writer was waiting or had no connection"),
    m("ledger.acked_lost", "count", Lower, "acknowledged writes that are not in the surviving database"),
    m(
        "ledger.last_lost_ack",
        "s",
        Lower,
        "from the measured fault to the acknowledgement of the newest write that was lost; negative: before the fault",
    ),
    m(
        "ledger.lost_after_fence",
        "count",
        Lower,
        "lost writes that were acknowledged after the old primary was proven fenced; absent without a fence",
    ),
    m(
        "ledger.acked_stale",
        "count",
        Lower,
        "writes acknowledged on an older timeline after one was on a newer: by a primary that had been replaced",
    ),
    m(
        "ledger.split_brain",
        "s",
        Lower,
        "from the first acknowledgement on a newer timeline to the last one on an older",
    ),
    m("ledger.weak_lost", "count", Lower, "weakly acknowledged writes that are not in the surviving database"),
    m("ledger.recovered", "count", Neither, "writes of unknown outcome that are in the surviving database"),
    m("ledger.unexpected", "count", Lower, "rows that no writer sent, or that were refused for certain"),
    m("ledger.duplicates", "count", Lower, "writes that are present more than once"),
    m(
        "ledger.holes",
        "count",
        Lower,
        "lost acknowledged writes that are followed by a surviving one of the same writer",
    ),
    m(
        "etl.time",
        "s",
        Lower,
        "loading a data set by a step; its name as subject, also `NAME/table` and `NAME/table/step` (create, copy, primary_key, indexes, foreign_keys, analyze)",
    ),
    m("etl.rows", "count", Neither, "rows that were loaded; `NAME` or `NAME/table` as subject"),
    m("etl.rejected", "count", Lower, "rows that were rejected, each in its file of rejects"),
    m("etl.bytes", "bytes", Neither, "bytes of the rows, as the source stores or sends them"),
    m("etl.rate", "1/s", Higher, "rows loaded per second, all that followed the copy included"),
    m("etl.wal", "bytes", Lower, "WAL that the primary wrote during the load"),
    m("etl.checkpoints", "count", Lower, "checkpoints that the primary began during the load"),
    m("etl.lag.end", "bytes", Lower, "WAL that a standby had not replayed when the load ended; by node"),
    m("etl.lag.gone", "s", Lower, "from the end of the load until a standby had replayed it"),
    m("load.tps", "1/s", Higher, "transactions completed per second"),
    m(
        "load.warm_up",
        "s",
        Neither,
        "what was cut from the beginning of a phase without steps, until throughput was steady (by MSER-5, or as its `warm_up` says); absent where it never was, and of less than 7.5 s",
    ),
    m("load.unsteady", "count", Lower, "1 of a phase in which throughput did not become steady, else 0"),
    m("load.steady.tps", "1/s", Higher, "transactions completed per second after the warm-up"),
    m(
        "load.steady.half_width",
        "ratio",
        Lower,
        "half of the 95 % interval of `load.steady.tps` within this run alone, by effective sample size",
    ),
    m("load.started", "count", Neither, "transactions that became due (open loop) or were begun (closed loop)"),
    m("load.transactions", "count", Higher, "transactions completed"),
    m(
        "load.errors",
        "count",
        Lower,
        "failed transactions; also by SQLSTATE, `load/SQLSTATE` or `load/timeout` as subject",
    ),
    m(
        "load.wrong",
        "count",
        Lower,
        "answers of analytical joins that were not what is known of the data; also among the errors",
    ),
    m("load.answer.rows", "count", Neither, "rows that an analytical join came to; `load/query` as subject"),
    m("load.answer.sum", "count", Neither, "the sum over them"),
    m(
        "load.unfinished",
        "count",
        Lower,
        "transactions that were due but not sent, or under way and not over within a second, when the load stopped",
    ),
    m("load.reconnects", "count", Neither, "times a client connected anew"),
    m("load.response.mean", "s", Lower, "response time (from the intended instant), mean"),
    m("load.response.p50", "s", Lower, "response time, median"),
    m("load.response.p90", "s", Lower, "response time, 90th percentile"),
    m("load.response.p99", "s", Lower, "response time, 99th percentile"),
    m("load.response.p999", "s", Lower, "response time, 99.9th percentile"),
    m("load.response.max", "s", Lower, "response time, longest"),
    m("load.response.saturated", "count", Lower, "response times over an hour, which the histogram holds as an hour"),
    m("load.service.p50", "s", Lower, "service time (from sending), median"),
    m("load.service.p99", "s", Lower, "service time, 99th percentile"),
    m("load.service.max", "s", Lower, "service time, longest"),
    m("load.wait.p99", "s", Lower, "time between the intended instant and sending, 99th percentile"),
    m("load.wait.max", "s", Lower, "time between the intended instant and sending, longest"),
    m("load.pool_wait.p50", "s", Lower, "time waiting for a pooled connection, median"),
    m("load.pool_wait.p99", "s", Lower, "time waiting for a pooled connection, 99th percentile"),
    m(
        "load.recovered",
        "s",
        Lower,
        "from the measured fault until throughput stayed in its band again; the load as subject",
    ),
    m("generator.late.p99", "s", Lower, "how late the generator itself woke for due transactions, 99th percentile"),
    m("generator.late.max", "s", Lower, "how late the generator itself woke for due transactions, longest"),
    m("generator.cpu", "ratio", Lower, "CPU time of the load's threads over elapsed time and threads"),
    m(
        "lag.visible.lower.p50",
        "s",
        Lower,
        "commit to visible on a standby or subscriber, lower bound (last miss), median; `a>s1`, or `a>b.books` for a subscription, as subject",
    ),
    m("lag.visible.lower.p99", "s", Lower, "commit to visible, lower bound, 99th percentile"),
    m("lag.visible.lower.max", "s", Lower, "commit to visible, lower bound, longest"),
    m("lag.visible.upper.p50", "s", Lower, "commit to visible on a standby, upper bound (first hit), median"),
    m("lag.visible.upper.p99", "s", Lower, "commit to visible, upper bound, 99th percentile"),
    m("lag.visible.upper.max", "s", Lower, "commit to visible, upper bound, longest"),
    m("lag.visible.seen", "count", Neither, "writes whose visibility was observed"),
    m("lag.visible.unseen", "count", Lower, "writes that were never seen on a target"),
    m(
        "lag.bytes.p50",
        "bytes",
        Lower,
        "WAL between what was written and what the target applied, median; `a>s1`, or `a>b.books` for a subscription, as subject",
    ),
    m("lag.bytes.p99", "bytes", Lower, "the same, 99th percentile"),
    m("lag.bytes.max", "bytes", Lower, "the same, most"),
    m(
        "lag.reported.p50",
        "s",
        Lower,
        "`replay_lag` of the sender's `pg_stat_replication`, where it is not NULL, median",
    ),
    m("lag.reported.p99", "s", Lower, "the same, 99th percentile"),
    m("lag.reported.max", "s", Lower, "the same, longest"),
    m(
        "lag.heartbeat.p50",
        "s",
        Lower,
        "age on the target of the visibility probe's newest marker, which is at least the time since its last write, median",
    ),
    m("lag.heartbeat.p99", "s", Lower, "the same, 99th percentile"),
    m("lag.heartbeat.max", "s", Lower, "the same, longest"),
    m(
        "lag.last_replayed.p50",
        "s",
        Neither,
        "age of the last transaction that the target replayed, which grows on an idle primary too, median",
    ),
    m("lag.last_replayed.p99", "s", Neither, "the same, 99th percentile"),
    m("lag.last_replayed.max", "s", Neither, "the same, longest"),
    m("lag.retained.max", "bytes", Lower, "WAL that the target's slot kept, most"),
    m("lag.written", "bytes", Lower, "WAL that the target's source wrote between the first reading and the last one"),
    m("lag.connected", "ratio", Higher, "share of the readings at which somebody was sending to the target"),
    m(
        "lag.drained",
        "s",
        Lower,
        "from the end of the load until the target had applied all that its source had written by then",
    ),
    m(
        "logical.copy",
        "s",
        Neither,
        "from `CREATE SUBSCRIPTION` until all its tables were there and changes were applied",
    ),
    m("truth.behind", "count", Lower, "1 of a target that did not catch up when the load had ended, else 0"),
    m("truth.rows", "count", Neither, "rows of the source that the target was to end up with"),
    m("truth.differing", "count", Lower, "tables of the target that differ from the source's in the end"),
    m("bloat.growth", "bytes", Lower, "how much the primary's tables or catalogs grew in the trial"),
    m("bloat.dead", "count", Lower, "dead rows of the primary in the end, as it estimates them"),
    m("standby.conflicts", "count", Lower, "queries or slots that a standby ended for what it replayed, by kind"),
    m(
        "standby.streaming",
        "s",
        Lower,
        "from the measured fault until a surviving standby streamed from the new primary",
    ),
    m("clone.made", "count", Higher, "clones that came to be; the campaign as subject"),
    m("clone.failed", "count", Lower, "clones that did not, for a reason that events.csv has"),
    m("clone.unfinished", "count", Lower, "clones that were being made when their phase ended"),
    m("clone.skipped", "count", Lower, "rounds that were due while another was under way"),
    m(
        "clone.ready",
        "s",
        Lower,
        "from the request of a clone to its first row; median of the campaign's, `NAME/3` of one",
    ),
    m("clone.ready.max", "s", Lower, "the same, of the slowest"),
    m("clone.after_checkpoint", "s", Lower, "`clone.ready` without `clone.checkpoint`"),
    m("clone.cook", "s", Lower, "making the base of precooked clones: copied, recovered, shut down in order"),
    m("clone.look", "s", Lower, "asking the source what it is, and whether the directory is its own"),
    m("clone.checkpoint", "s", Lower, "the source's checkpoint; on a standby a restartpoint, if there was one to make"),
    m("clone.freeze", "s", Lower, "until every process of the source stood still"),
    m("clone.snapshot", "s", Lower, "holding the instant: a ZFS snapshot, or a btrfs one, which is the copy already"),
    m("clone.clone", "s", Lower, "making a writable copy: a ZFS clone with its mount, or a walk over the files"),
    m("clone.thaw", "s", Lower, "until the source went on"),
    m("clone.backup_stop", "s", Lower, "ending the backup and fetching the WAL that it needs"),
    m("clone.fixup", "s", Lower, "making the copy a server's own directory"),
    m("clone.resetwal", "s", Lower, "`pg_resetwal`, which is unsafe"),
    m("clone.container_create", "s", Lower, "creating the clone's container"),
    m("clone.container_start", "s", Lower, "starting the clone's container, until its first process ran"),
    m("clone.start", "s", Lower, "from the start of the clone's server until it accepted connections"),
    m("clone.first_row", "s", Lower, "from then until a login had its first row"),
    m("clone.settle", "s", Lower, "disabling subscriptions and rolling back prepared transactions in the clone"),
    m("clone.cold", "s", Lower, "the first real query"),
    m("clone.warm", "s", Lower, "the same query again"),
    m("clone.stop", "s", Lower, "ending the clone's server"),
    m("clone.destroy", "s", Lower, "removing the clone's copy"),
    m("clone.stood_still", "s", Lower, "how long the source was frozen"),
    m("clone.replayed", "bytes", Neither, "WAL that the clone replayed before its first row"),
    m(
        "clone.age",
        "s",
        Lower,
        "from the clone's newest transaction to its request, by the source's clock; negative: it came later",
    ),
    m("clone.lost_rows", "count", Lower, "rows of the ledger that were there at the request and are not in the clone"),
    m("clone.lost_bytes", "bytes", Lower, "WAL that had been flushed at the request and is not in the clone"),
    m(
        "clone.inconsistent",
        "count",
        Lower,
        "clones whose pgbench sums disagree, in which `pg_amcheck` found something, or that cannot be read",
    ),
    m("clone.amcheck", "count", Lower, "what `pg_amcheck --heapallindexed` reported"),
    m("clone.space", "bytes", Lower, "what the clone had of its own when it was ready, where the file system tells"),
    m("clone.space.end", "bytes", Lower, "the same at its end"),
    m("clone.load.tps", "1/s", Higher, "transactions a second of the load that went to the clone"),
    m("clone.load.p99", "s", Lower, "response time of the load that went to the clone, 99th percentile"),
    m("sampler.ticks", "count", Neither, "ticks that were due"),
    m("sampler.missed", "ratio", Lower, "share of due ticks that were passed over"),
    m("sampler.down", "ratio", Neither, "share of due ticks at which the node did not answer"),
    m(
        "container.throttled",
        "ratio",
        Lower,
        "share of the periods (100 ms) in which a container used up its `cpus` and was held, from the first to the last reading in the phase",
    ),
    m(
        "container.memory.max",
        "bytes",
        Neither,
        "most memory in use by a container, without file cache that could be given up at once, of the phase's readings",
    ),
    m("container.ticks", "count", Neither, "due readings of a container"),
    m("container.missed", "ratio", Lower, "share of due readings of a container that its engine did not give in time"),
];

/// The metric called `name`.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// All of them as a Markdown table, for the documentation.
pub fn table() -> String {
    let mut table = "| metric | unit | better | what it is |\n|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let better = match metric.better {
            Lower => "lower",
            Higher => "higher",
            Neither => "",
        };
        // A bar would end the cell.
        let about = metric.about.replace('|', "\\|");
        table += &format!("| `{}` | {} | {better} | {about} |\n", metric.name, metric.unit);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_carry_no_unit() {
        for (i, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[i + 1..].iter().all(|other| other.name != metric.name), "{} twice", metric.name);
            assert!(["s", "1/s", "count", "bytes", "ratio"].contains(&metric.unit), "{}", metric.name);
            assert!(!metric.about.is_empty());
        }
    }
}
