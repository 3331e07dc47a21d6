//! What only the harness's own undoing ends is not measured as an outage that ended.

use super::{Lab, TINY};

fn values(lab: &Lab, metric: &str) -> Vec<f64> {
    let mut csv = csv::Reader::from_path(lab.results().join("summary.csv")).expect("summary.csv");
    let rows = csv.records().map(|row| row.expect("a row"));
    // The whole trial's, not a writer's.
    let rows = rows.filter(|row| &row[7] == metric && row[6].is_empty());
    rows.map(|row| row[9].parse().expect("a number")).collect()
}

#[test]
fn writes_that_never_come_back_have_a_lower_bound_only() {
    let scenario = TINY.replace("[load.app]", "[probe.ledger]\nwriters = 2\nrate = 50\n\n[load.app]");
    let steps = "lasts = \"3s\"\ndo.kill = { at = \"1s\", act = { kind = \"kill\", of = \"a\" } }";
    let lab = Lab::with(&scenario.replace("lasts = \"1s\"", steps));
    let ended = lab.start(&[]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // Nobody promotes, so the killed primary is started again after the last phase, for its rows to be read.
    assert_eq!(values(&lab, "failover.write_outage"), Vec::<f64>::new());
    let at_least = values(&lab, "failover.write_outage_at_least");
    assert!(at_least.len() == 1 && (1.5..3.5).contains(&at_least[0]), "{at_least:?}");
    assert_eq!(values(&lab, "ledger.acked_lost"), [0.0]);
    assert!(values(&lab, "ledger.acked")[0] > 0.0);
    lab.assert_nothing_left();
}
