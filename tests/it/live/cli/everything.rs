//! A topology with all that this version knows at once: a slot, a cascade, a pool, reads on standbys, every
//! probe, faults that are undone.

use super::Lab;

const EVERYTHING: &str = r#"
name     = "everything"
question = "Does it all work together?"
answer   = ["lag.visible.upper.p50", "load.pool_wait.p99"]

[node]
a = { role = "primary", site = "x" }
b = { role = "standby", follows = "a", slot = true, site = "y" }
c = { role = "standby", follows = "b", slot = true, site = "z", priority = 0, settings = { work_mem = "8MB" } }

[postgres.settings]
shared_buffers            = "16MB"
synchronous_standby_names = "FIRST 1 (b, c)"

[manager]
kind = "builtin"

[load.writes]
mix     = { kind = "weighted", scale = 1, of = { tpcb = 1, simple_update = 3 } }
profile = { kind = "open", rate = 60, arrivals = "poisson" }
clients = 4
pool    = 2
timeout = "2s"

[load.reads]
mix     = { kind = "select_only", scale = 1 }
profile = { kind = "closed" }
clients = 2
to      = "@standbys"

[probe.ledger]
writers = 2
rate    = 40

[probe.visibility]
every = "50ms"

[[phase]]
name  = "calm"
lasts = "1s"

[[phase]]
name  = "faults"
lasts = "4s"
do.pause  = { at = "200ms", for = "1s", act = { kind = "pause_replay", of = "c" } }
do.frozen = { at = "1500ms", for = "500ms", act = { kind = "freeze", of = "c", what = "wal_receiver" } }
do.kill   = { at = "2500ms", act = { kind = "kill", of = "@primary" }, measured = true }

[[claim]]
metric      = "ledger.acked_lost"
every_trial = { max = 0 }
"#;

#[test]
fn everything_at_once() {
    let lab = Lab::with(EVERYTHING);
    let ended = lab.start(&[]).wait();
    let events = lab.text_of("events.csv");
    assert_eq!(ended.code, Some(0), "{}\n{}\n{events}", ended.stdout, ended.stderr);
    let summary = lab.text_of("summary.csv");
    let mut csv = csv::Reader::from_reader(summary.as_bytes());
    let rows: Vec<csv::StringRecord> = csv.records().map(|row| row.expect("a row")).collect();
    let value = |metric: &str, subject: &str| -> Option<f64> {
        let row = rows.iter().find(|row| &row[7] == metric && &row[6] == subject)?;
        row[9].parse().ok()
    };
    for target in ["a>b", "a>c"] {
        let (lower, upper) = (value("lag.visible.lower.max", target), value("lag.visible.upper.max", target));
        assert!(lower.expect(target) <= upper.expect(target), "{target}: {lower:?} {upper:?}");
    }
    // Replay on c stood still for a second.
    assert!(value("lag.visible.upper.max", "a>c").expect("a lag") > 0.5, "{summary}");
    assert!(value("load.pool_wait.p99", "writes").is_some(), "{summary}");
    for subject in ["writes/tpcb", "writes/simple_update", "reads"] {
        assert!(value("load.tps", subject).is_some_and(|tps| tps > 0.0), "{subject}: {summary}");
    }
    assert!(value("failover.promote", "").is_some() && value("failover.fence", "").is_some(), "{events}");
    // c cannot be promoted, so it is b; c goes on streaming from it.
    assert!(events.contains("failover.promoted,b,"), "{events}");
    for kind in ["fault.pause_replay", "fault.freeze", "fault.kill", "fault.undo"] {
        assert!(events.contains(kind), "{kind}: {events}");
    }
    assert!(events.contains("faults.frozen: freeze the WAL receiver of c"), "{events}");
    lab.assert_nothing_left();
}
