//! The network between two sites is cut, clients and ledger writers stand at both: two primaries, or one.

use super::Lab;
use super::engine::{is_root, on_containers};

const SITES: &str = r#"
name     = "split"
question = "Do both sides say yes?"
answer   = ["ledger.acked_stale"]
trials   = 1

[node]
a = { role = "primary", site = "x" }
s = { role = "standby", follows = "a", site = "y" }

[postgres.settings]
shared_buffers = "16MB"

[manager]
kind   = "builtin"
site   = "y"
detect = { every = "100ms", misses = 3, timeout = "300ms" }

[probe.ledger]
writers = 4
rate    = 100
timeout = "1s"
sites   = ["x", "y"]

[[phase]]
name  = "steady"
lasts = "1s"

[[phase]]
name  = "cut"
lasts = "8s"
do.cut = { at = "500ms", for = "5s", act = { kind = "partition", between = ["site:x", "site:y"] } }
"#;

/// The ledger's figures of a run, by metric.
fn ledger(options: &[&str], fence: &str) -> impl Fn(&str) -> Option<f64> {
    let lab = Lab::with(SITES);
    let fence = format!("manager.fence={fence}");
    let ended = lab.start(&[options, &["--set", &fence]].concat()).wait();
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    assert_eq!(lab.trials()[0].1, "ok", "{:?}", lab.trials());
    let events = lab.text_of("events.csv");
    assert!(events.contains(",failover.promoted,s,"), "{events}");
    lab.assert_nothing_left();
    let summary = lab.text_of("summary.csv");
    let rows: Vec<&str> = summary.lines().filter(|line| line.contains(",,ledger.")).collect();
    println!("{fence}:\n{}", rows.join("\n"));
    move |metric: &str| {
        let row = summary.lines().find(|line| line.contains(&format!(",,{metric},")))?;
        row.rsplit(',').next()?.parse().ok()
    }
}

/// What one of two primaries acknowledges alone is seen as that, and lost; a fence keeps it to one.
fn both_ways(options: &[&str]) {
    let unfenced = ledger(options, "none");
    assert!(unfenced("ledger.acked_stale") > Some(0.0), "the old side acknowledged nothing");
    // The partition lasts for seconds after the promotion.
    assert!(unfenced("ledger.split_brain") > Some(0.5), "{:?}", unfenced("ledger.split_brain"));
    assert!(unfenced("ledger.acked_lost") >= unfenced("ledger.acked_stale"), "what only one side has is lost");
    let fenced = ledger(options, "driver");
    assert_eq!(fenced("ledger.acked_stale"), Some(0.0));
    assert!(fenced("ledger.split_brain").is_none_or(|seconds| seconds == 0.0));
    assert_eq!(fenced("ledger.lost_after_fence"), Some(0.0));
    // Until the fence the old side, which waits for no standby, goes on.
    assert!(fenced("ledger.acked_lost") > Some(0.0), "the old side was not reached by its clients");
}

#[test]
fn of_processes_is_seen_and_a_fence_prevents_it() {
    if is_root("live::cli::split_brain (in network namespaces)") {
        both_ways(&[]);
    }
}

#[test]
fn of_containers_is_seen_and_a_fence_prevents_it() {
    let Some(options) = on_containers("live::cli::split_brain (on containers)") else { return };
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    both_ways(&options);
}
