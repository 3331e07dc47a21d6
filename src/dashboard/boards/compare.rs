//! Two runs on one axis: the time since each trial's zero. Which of them is better is for `pgbench-rs compare` to say.

use super::super::Fold::Last;
use super::super::View::Elapsed;
use super::super::{Dashboard, Query, Scope};
use super::panel;
use crate::metric::sampled::{LOAD_LATENCY, LOAD_OPS};

pub fn board() -> Dashboard {
    let ops = |field| Query::new(&LOAD_OPS, field, Last);
    let latency = |field| Query::new(&LOAD_LATENCY, field, Last);
    let panels = vec![
        panel(
            (
                "Throughput",
                "transactions completed in each interval of a second. One trial of each run is no verdict: `pgbench-rs compare` gives the ratio with its interval",
            ),
            Elapsed,
            "ops",
            24,
            [ops("done")],
        ),
        panel(("Errors", "failed transactions of each interval"), Elapsed, "short", 12, [ops("errors")]),
        panel(("Started", "transactions begun in each interval"), Elapsed, "short", 12, [ops("started")]),
        panel(("Median of response times", "of each interval"), Elapsed, "s", 12, [latency("response_p50")]),
        panel(("99th percentile of response times", "of each interval"), Elapsed, "s", 12, [latency("response_p99")]),
        panel(("Longest response time", "of each interval"), Elapsed, "s", 12, [latency("response_max")]),
        panel(
            ("99th percentile of service times", "from sending on, of each interval"),
            Elapsed,
            "s",
            12,
            [latency("service_p99")],
        ),
    ];
    Dashboard {
        name: "compare",
        title: "Compare two runs",
        about: "two runs over the time since the zero of a trial of each",
        scope: Scope::Two,
        panels,
    }
}
