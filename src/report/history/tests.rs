use super::super::tests::Lab;
use super::*;
use crate::metric::Value;

/// A run of three trials whose outage is about `outage` seconds, begun on this day.
fn run(day: usize, outage: f64) -> Record {
    let mut lab = Lab::new(&["on"], 3);
    for trial in 1..=3 {
        // Noise of one per cent that is another each day.
        let noise = 1.0 + 0.01 * (((day * 7919 + trial * 104_729) % 21) as f64 / 10.0 - 1.0);
        lab.ok("on", trial as u32, &[Value::new("failover.write_outage", outage * noise)]);
    }
    let mut record = lab.record();
    record.manifest.run_id = format!("202611{day:02}T102600Z-3f2a");
    record.manifest.started_at = format!("2026-11-{day:02}T10:26:00Z");
    record.dir = format!("results/failover-{}", record.manifest.run_id).into();
    record
}

fn wanted() -> Wanted {
    Wanted { only: vec!["failover.write_outage".into()], mix: false, recent: 5 }
}

fn of(records: Vec<Record>) -> History {
    history("failover", records, Vec::new(), &wanted())
}

#[test]
fn a_step_at_the_end_is_a_regression_and_one_long_ago_is_history() {
    // Out of order: folders come as the file system has them.
    let mut records: Vec<Record> = (1..=12).map(|day| run(day, if day < 10 { 0.5 } else { 0.6 })).collect();
    records.reverse();
    let found = of(records);
    let [series] = found.series.as_slice() else { panic!("{found:?}") };
    let [trend] = series.metrics.as_slice() else { panic!("{series:?}") };
    let [change] = trend.changes.as_slice() else { panic!("{trend:?}") };
    assert_eq!(
        (change.run_id.as_str(), change.direction, change.recent),
        ("20261110T102600Z-3f2a", Direction::Worse, true)
    );
    assert_eq!(exit_code(&found), 1);
    insta::assert_snapshot!(terminal(&found));
    let long_ago = of((1..=12).map(|day| run(day, if day < 5 { 0.5 } else { 0.6 })).collect());
    assert!(!long_ago.series[0].metrics[0].changes[0].recent);
    assert_eq!(exit_code(&long_ago), 0);
    let better = of((1..=12).map(|day| run(day, if day < 10 { 0.6 } else { 0.5 })).collect());
    assert_eq!(exit_code(&better), 0);
}

#[test]
fn no_change_is_fine_and_too_few_runs_cannot_tell() {
    assert_eq!(exit_code(&of((1..=10).map(|day| run(day, 0.5)).collect())), 0);
    let few = of((1..=3).map(|day| run(day, 0.5)).collect());
    assert_eq!(exit_code(&few), 3);
    assert!(terminal(&few).contains("a change takes 8 runs to tell, and it is known in 3"));
    assert_eq!(exit_code(&of(Vec::new())), 3);
}

#[test]
fn machines_and_versions_are_not_mixed_silently() {
    let mut records: Vec<Record> = (1..=12).map(|day| run(day, if day < 10 { 0.5 } else { 0.9 })).collect();
    for record in &mut records[9..] {
        record.manifest.servers[0].version = "17.2".into();
        record.manifest.host.kernel = Some("6.1".into());
    }
    let apart = of(records.clone());
    let runs: Vec<_> = apart.series.iter().map(|series| (series.runs.len(), series.newest)).collect();
    assert_eq!(runs, [(9, false), (3, true)]);
    assert_eq!(exit_code(&apart), 3, "three runs of the new version tell nothing");
    let mixed = history("failover", records.clone(), Vec::new(), &Wanted { mix: true, ..wanted() });
    assert_eq!((mixed.series.len(), exit_code(&mixed)), (1, 1));
    let text = terminal(&mixed);
    assert!(text.contains("20261110T102600Z-3f2a differs: server: 17.2, was 15.18"), "{text}");
    // Another load is another question, mixed or not.
    *records[11].manifest.plan.pointer_mut("/variants/0/scenario/load/app/clients").unwrap() = 16.into();
    assert_eq!(history("failover", records, Vec::new(), &Wanted { mix: true, ..wanted() }).series.len(), 2);
}

#[test]
fn a_run_without_trials_that_count_is_left_out_and_said() {
    let mut bad = run(3, 0.5);
    bad.trials.iter_mut().for_each(|row| row.status = crate::record::Status::Failed);
    let found = of(vec![run(1, 0.5), bad]);
    assert_eq!(found.series[0].runs.len(), 1);
    assert_eq!(found.left_out, ["results/failover-20261103T102600Z-3f2a: no trial counts"]);
}
