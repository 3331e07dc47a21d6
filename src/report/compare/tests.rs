use super::super::tests::Lab;
use super::*;
use crate::metric::Value;

fn wanted(margin: f64) -> Wanted {
    Wanted { margin, only: Vec::new() }
}

/// Five rounds; `factor` is B's outage over A's.
fn lab(factor: f64, lost: f64) -> Record {
    let mut lab = Lab::new(&["on", "off"], 5);
    for trial in 1..=5 {
        // The machine drifts threefold, which pairs do not see.
        let drift = 0.4 + 0.2 * f64::from(trial);
        let noise = 1.0 + 0.01 * f64::from(trial % 3);
        let values = |outage, lost| {
            let tps = Value::new("load.tps", 500.0).phase("kill").subject("app");
            [Value::new("failover.write_outage", outage), Value::new("ledger.acked_lost", lost), tps]
        };
        lab.ok("on", trial, &values(drift, 0.0));
        lab.ok("off", trial, &values(drift * factor * noise, lost));
    }
    lab.record()
}

#[test]
fn rounds_cancel_what_drifts() {
    let record = lab(1.3, 3.0);
    let comparison = variants(&record, "commit=on", "commit=off", &wanted(0.05));
    let [outage, lost] = comparison.verdicts.as_slice() else { panic!("{comparison:?}") };
    assert_eq!((outage.verdict, lost.verdict), (Some(Verdict::Worse), Some(Verdict::Worse)));
    assert!(outage.ratio.unwrap().low > 1.29, "{outage:?}");
    assert_eq!(lost.happened, Some((0, 5)));
    assert_eq!(comparison.context[0].metric, "load.tps");
    assert_eq!(comparison.context[0].verdict, None);
    assert_eq!(exit_code(&[comparison]), 1);
    // The other way round it is an improvement, and of two runs the drift hides it.
    let back = variants(&record, "commit=off", "commit=on", &wanted(0.05));
    assert_eq!(back.verdicts[0].verdict, Some(Verdict::Better));
    let mut later = record.clone();
    later.manifest.run_id = "later".into();
    let apart = compare((&record, "commit=on"), (&later, "commit=off"), false, Vec::new(), &wanted(0.05));
    assert_eq!(apart.verdicts[0].verdict, Some(Verdict::CannotTell));
}

#[test]
fn exit_codes_tell_same_from_unknown() {
    let only = |metric: &str| Wanted { margin: 0.05, only: vec![metric.into()] };
    let of = |factor, metric| exit_code(&[variants(&lab(factor, 0.0), "commit=on", "commit=off", &only(metric))]);
    assert_eq!(of(1.0, "failover.write_outage"), 0);
    assert_eq!(of(1.04, "failover.write_outage"), 3);
    assert_eq!(of(1.3, "failover.write_outage"), 1);
    assert_eq!(of(1.0, "ledger.acked_lost"), 3, "never seen is not never");
    assert_eq!(of(1.0, "clone.ready"), 3, "not known");
    assert_eq!(of(0.7, "failover.write_outage"), 0, "better");
    assert_eq!(exit_code(&[]), 3);
}

#[test]
fn a_comparison_as_text() {
    let record = lab(1.04, 0.0);
    let comparison = variants(&record, "commit=on", "commit=off", &wanted(0.05));
    insta::assert_snapshot!("terminal", terminal(std::slice::from_ref(&comparison)));
    insta::assert_snapshot!("markdown", markdown(&[comparison]));
}

#[test]
fn what_differs_is_named() {
    let (a, mut b) = (lab(1.0, 0.0), lab(1.0, 0.0));
    assert_eq!(differ::differences(&a, &b, "commit=on"), []);
    b.manifest.host.kernel = Some("6.1".into());
    b.manifest.servers[0].version = "17.2".into();
    b.manifest.settings.insert("commit=on".into(), [("a.fsync".to_owned(), "off".to_owned())].into());
    *b.manifest.plan.pointer_mut("/variants/1/scenario/load/app/clients").unwrap() = 16.into();
    *b.manifest.plan.pointer_mut("/variants/0/scenario/load/app/clients").unwrap() = 16.into();
    let found = differ::differences(&a, &b, "commit=on");
    let found: Vec<String> = found.iter().map(|d| format!("{}: {} {} {}", d.what, d.a, d.b, d.grave)).collect();
    assert_eq!(
        found,
        [
            "host.kernel: not known 6.1 false",
            "server: 15.18 17.2 false",
            "setting.a.fsync: the default off false",
            "scenario.load.app.clients: 8 16 true",
        ]
    );
}
