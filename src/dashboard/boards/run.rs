//! What clients got, and what sessions waited for.

use super::super::Fold::{Last, Max, Mean, PerSecond, Sum};
use super::super::View::{Bars, Heat, Lines, Number, Shares, Stacked};
use super::super::{Dashboard, Panel, Query, Scope};
use super::panel;
use crate::metric::sampled::{ASH, LEDGER, LOAD_BUCKETS, LOAD_LATENCY, LOAD_OPS, LOCK_TREE, LOCKS, SAMPLER};

const LOAD: &[&str] = &["load"];
const TRANSACTION: &[&str] = &["load", "transaction"];
const ACTIVE: &[(&str, &str)] = &[("state", "active")];

pub fn board() -> Dashboard {
    let mut panels = numbers();
    panels.extend(clients());
    panels.extend(sessions());
    Dashboard {
        name: "run",
        title: "Run",
        about: "throughput, response times, waits and locks of a run",
        scope: Scope::Run,
        panels,
    }
}

fn numbers() -> Vec<Panel> {
    let ops = |field| Query::new(&LOAD_OPS, field, Sum);
    vec![
        panel(
            ("Transactions", "completed in the stretch of time shown"),
            Number,
            "short",
            6,
            [ops("done").called("done")],
        ),
        panel(("Errors", "failed transactions"), Number, "short", 6, [ops("errors")]),
        panel(
            ("Longest response", "from the intended instant on, of all intervals"),
            Number,
            "s",
            6,
            [Query::new(&LOAD_LATENCY, "response_max", Max)],
        ),
        panel(
            (
                "Latest tick",
                "how late the sampler began a reading at most: it may not have seen what happened meanwhile",
            ),
            Number,
            "µs",
            6,
            [Query::new(&SAMPLER, "late_us", Max)],
        ),
    ]
}

fn clients() -> Vec<Panel> {
    let latency = |field, name| Query::new(&LOAD_LATENCY, field, Max).split(TRANSACTION).called(name);
    let ops = |field| Query::new(&LOAD_OPS, field, PerSecond).split(LOAD);
    let ledger = |field| Query::new(&LEDGER, field, super::super::Fold::Rate).split(&[]);
    vec![
        panel(
            ("Throughput", "transactions completed a second, by load; an interval that is not whole shows less"),
            Lines,
            "ops",
            12,
            [ops("done")],
        ),
        panel(
            ("Failed and started", "a second; started and not done is waiting or failed"),
            Lines,
            "ops",
            12,
            [ops("errors"), ops("started"), ops("reconnects")],
        ),
        panel(
            (
                "Response times",
                "how many transactions took how long, four buckets to an octave, from the intended instant on; names are upper bounds",
            ),
            Heat,
            "short",
            12,
            [Query::new(&LOAD_BUCKETS, "done", Sum).split(&["bucket"])],
        ),
        panel(
            (
                "Percentiles of response times",
                "of one-second intervals; where a pixel holds several, the worst of them, as percentiles cannot be averaged",
            ),
            Lines,
            "s",
            12,
            [latency("response_p50", "p50"), latency("response_p99", "p99"), latency("response_max", "max")],
        ),
        panel(
            ("Ledger", "writes a second whose acknowledgement is kept, by what became of them"),
            Lines,
            "ops",
            24,
            [ledger("acked"), ledger("failed"), ledger("unknown"), ledger("skipped")],
        ),
    ]
}

fn sessions() -> Vec<Panel> {
    let ash = |split| Query::new(&ASH, "sessions", Sum).only(ACTIVE).split(split).called("");
    let tree = |field| Query::new(&LOCK_TREE, field, Max);
    vec![
        panel(
            (
                "Wait classes, share of DB time",
                "of all time that sessions were active, which share each class of wait events had; CPU is waiting for nothing",
            ),
            Shares,
            "short",
            12,
            [ash(&["wait_event_type"])],
        ),
        panel(
            ("Top wait events", "active sessions seen waiting for each, added up over all ticks shown"),
            Bars,
            "short",
            12,
            [ash(&["wait_event_type", "wait_event"])],
        ),
        panel(
            (
                "Lock tree",
                "sessions that wait for a lock, those at the root that wait for nobody, and the longest chain",
            ),
            Lines,
            "short",
            12,
            [tree("waiters"), tree("roots"), tree("roots_idle_in_transaction"), tree("max_depth").called("depth")],
        ),
        panel(
            ("Longest wait for a lock", "at each tick; none is shown while nobody waits"),
            Lines,
            "s",
            12,
            [tree("longest_wait_seconds").called("longest wait")],
        ),
        panel(
            ("Locks held and waited for", "by mode, the most of a tick"),
            Stacked,
            "short",
            12,
            [
                Query::new(&LOCKS, "granted", Max).split(&["node", "mode"]),
                Query::new(&LOCKS, "waiting", Max).split(&["node", "mode"]),
            ],
        ),
        panel(
            ("Sampler", "whether the node answered: 1, 0, or the share of ticks at which it did"),
            Lines,
            "percentunit",
            12,
            [Query::new(&SAMPLER, "up", Mean), Query::new(&SAMPLER, "errors", Last)],
        ),
    ]
}
