use super::*;
use crate::metric::{Value, catalogue};
use crate::record::outline::tests::{SCENARIO, plan};
use crate::record::{EventRow, Manifest, Outline, Server, SummaryRow, TrialRow};

/// Makes records without a run.
pub(super) struct Lab(Record);

impl Lab {
    /// A record of the failover scenario with these levels of `commit`.
    pub(super) fn new(levels: &[&str], trials: u32) -> Lab {
        let plan = plan(SCENARIO, levels, trials);
        let manifest = Manifest {
            run_id: "20261122T102600Z-3f2a".into(),
            scenario: plan.scenario.clone(),
            status: RunStatus::Finished,
            reason: None,
            started_at: "2026-11-22T10:26:00Z".into(),
            ended_at: None,
            version: "0.1.0".into(),
            revision: None,
            command: Vec::new(),
            sets: Vec::new(),
            scenario_text: SCENARIO.into(),
            host: crate::record::host::Facts { cores: Some(2), memory: Some(8 << 30), ..Default::default() },
            colocated: true,
            driver: "process".into(),
            servers: vec![Server {
                version: "15.18".into(),
                bindir: Some("/usr/bin".into()),
                image: None,
                engine: None,
                conninfo: None,
            }],
            settings: Default::default(),
            clones: Default::default(),
            absent: Default::default(),
            templates: Vec::new(),
            accounting: Default::default(),
            sinks: Default::default(),
            stopped: None,
            plan: serde_json::to_value(&plan).unwrap(),
            result: None,
        };
        let plan = Outline::of(&plan).unwrap();
        let dir = "results/failover-20261122T102600Z-3f2a".into();
        Lab(Record { dir, manifest, plan, trials: vec![], values: vec![], events: vec![], locks: vec![] })
    }

    pub(super) fn ok(&mut self, level: &str, trial: u32, values: &[Value]) {
        self.ended(level, trial, Status::Ok, None, values);
    }

    pub(super) fn ended(&mut self, level: &str, trial: u32, status: Status, why: Option<&str>, values: &[Value]) {
        let (run_id, variant) = (self.0.manifest.run_id.clone(), format!("commit={level}"));
        self.0.values.extend(values.iter().map(|value| SummaryRow {
            run_id: run_id.clone(),
            scenario: "failover".into(),
            variant: variant.clone(),
            trial,
            phase: value.phase.clone(),
            node: value.node.clone(),
            subject: value.subject.clone(),
            metric: value.metric.into(),
            unit: catalogue::find(value.metric).unwrap().unit.into(),
            value: value.value,
        }));
        let position = self.0.trials.len() as u32 + 1;
        let started_at = "2026-11-22T10:26:00Z".into();
        let reason = why.map(Into::into);
        self.0.trials.push(TrialRow { run_id, variant, trial, position, started_at, status, reason });
    }

    pub(super) fn record(self) -> Record {
        self.0
    }
}

/// A record with two variants, five trials each, one of them invalid.
pub(super) fn record() -> Record {
    let mut lab = Lab::new(&["off", "on"], 5);
    for trial in 1..=5 {
        let i = f64::from(trial);
        for (level, outage, lost) in [("off", 0.5, 12.0 * i), ("on", 0.6, 0.0)] {
            let values = values(outage + i / 100.0, lost, i);
            if level == "on" && trial == 2 {
                let why = Some("generator.late.p99 is 7.20 ms, not at most 5 ms");
                lab.ended(level, trial, Status::Invalid, why, &values);
            } else {
                lab.ok(level, trial, &values);
            }
        }
    }
    lab.record()
}

fn values(outage: f64, lost: f64, i: f64) -> Vec<Value> {
    let mut values = vec![
        Value::new("failover.detect", 0.31 + i / 1000.0),
        Value::new("failover.elect", 0.0002),
        Value::new("failover.fence", 0.012),
        Value::new("failover.promote", 0.12 + i / 100.0),
        Value::new("failover.write_outage", outage),
        Value::new("failover.write_outage", outage + 0.1).subject("w1"),
        Value::new("standby.streaming", 1.2 + i / 10.0).node("s2"),
        Value::new("load.recovered", 1.5).subject("app"),
        Value::new("ledger.attempted", 1200.0 + i),
        Value::new("ledger.acked", 1150.0 + i),
        Value::new("ledger.failed", 30.0),
        Value::new("ledger.unknown", 4.0),
        Value::new("ledger.weak_ok", 0.0),
        Value::new("ledger.acked_lost", lost),
        Value::new("ledger.recovered", 2.0),
        Value::new("ledger.unexpected", 0.0),
        Value::new("ledger.duplicates", 0.0),
        Value::new("ledger.holes", 0.0),
        Value::new("lag.visible.lower.p50", 0.0004).subject("a>s1"),
        Value::new("lag.visible.upper.p50", 0.0024).subject("a>s1"),
        Value::new("lag.visible.lower.p99", 0.008).subject("a>s1"),
        Value::new("lag.visible.upper.p99", 0.0121).subject("a>s1"),
        Value::new("generator.late.p99", 0.0012).subject("app"),
        Value::new("generator.cpu", 0.07).subject("app"),
        Value::new("sampler.missed", 0.0).node("a"),
        Value::new("sampler.missed", 0.02).node("s1"),
    ];
    for (phase, tps, p99) in [("steady", 500.0, 0.0053), ("kill", 430.0 + i, 0.61)] {
        let of = |metric, value| Value::new(metric, value).phase(phase).subject("app");
        values.extend([
            of("load.tps", tps),
            of("load.response.p50", 0.00102),
            of("load.response.p99", p99),
            of("load.errors", 24.0),
            of("load.unfinished", 0.0),
        ]);
    }
    values
}

#[test]
fn exit_codes() {
    assert_eq!(exit_code(&summarize(&record())), 0);
    assert_eq!(exit_code(&summarize(&Lab::new(&["on"], 1).record())), 4);
    let mut lab = Lab::new(&["on"], 1);
    lab.ok("on", 1, &[Value::new("ledger.acked_lost", 1.0), Value::new("failover.write_outage", 0.5)]);
    assert_eq!(exit_code(&summarize(&lab.record())), 1);
    let mut lab = Lab::new(&["on"], 1);
    lab.ok("on", 1, &[Value::new("ledger.acked_lost", 1.0)]);
    assert_eq!(exit_code(&summarize(&lab.record())), 4, "a claim cannot be judged");
    let mut lab = Lab::new(&["off", "on"], 1);
    lab.ok("on", 1, &[Value::new("ledger.acked_lost", 0.0), Value::new("failover.write_outage", 0.5)]);
    assert_eq!(exit_code(&summarize(&lab.record())), 4, "a variant has no valid trial");
}

#[test]
fn what_must_be_known_before_believing_is_said() {
    let mut record = record();
    record.manifest.settings.insert("commit=on".into(), [("fsync".to_owned(), "off".to_owned())].into());
    record.manifest.accounting =
        crate::sink::Accounting { produced: 10, written: 9, dropped: 1, beyond_series: 0, not_finite: 0 };
    record.manifest.status = RunStatus::Interrupted;
    let caveats = summarize(&record).caveats;
    assert!(caveats[0].contains("colocated"));
    assert_eq!(caveats[1], "fsync is off in commit=on");
    assert_eq!(caveats[2], "metrics incomplete: 9 of 10 points are in the file");
    assert_eq!(caveats[3], "interrupted after 10 of 10 trials");
}

#[test]
fn metrics_that_are_not_whole_are_said() {
    use crate::sink::Account;
    let mut lab = Lab::new(&["on"], 1);
    let ticks = |node: &str, due, missed| {
        [Value::new("sampler.ticks", due).node(node), Value::new("sampler.missed", missed).node(node)]
    };
    lab.ok("on", 1, &[ticks("a", 100.0, 0.03), ticks("s1", 200.0, 0.0)].concat());
    let whole = summarize(&lab.record()).caveats;
    assert!(!whole.iter().any(|caveat| caveat.contains("incomplete")), "3 of 300 are not more than 1 %: {whole:?}");
    let mut lab = Lab::new(&["on"], 1);
    lab.ok("on", 1, &[ticks("a", 100.0, 0.03), ticks("s1", 199.0, 0.0)].concat());
    let mut record = lab.record();
    let account = Account { produced: 10, acknowledged: 10, ..Account::default() };
    let mut sink = |name: &str, account| record.manifest.sinks.insert(name.to_owned(), account);
    sink("fine", account.clone());
    sink("away", Account { acknowledged: 3, pending: 7, problem: Some("no answer".into()), ..account.clone() });
    sink("wrong", Account { rejected: 1, ..account });
    let summary = summarize(&record);
    let from = summary.caveats.len() - 3;
    assert_eq!(
        summary.caveats[from..],
        [
            "metrics incomplete: 3 of 299 ticks were missed",
            "sink away: 3 of 10 points acknowledged, 7 pending (no answer); `pgbench-rs replay DIR --to away` sends what is \
             pending",
            "metrics incomplete: sink wrong: 10 of 10 points acknowledged, 1 rejected, and the sum does not close",
        ]
    );
    assert_eq!(summary.points[1], "sink fine: 10 of 10 points acknowledged");
}

#[test]
fn grave_events_and_unchecked_bounds_are_said() {
    let mut lab = Lab::new(&["on"], 3);
    lab.ok("on", 1, &[Value::new("generator.late.p99", 0.001)]);
    lab.ok("on", 2, &[]);
    lab.ended("on", 3, Status::Failed, Some("it broke"), &[]);
    let mut record = lab.record();
    for trial in [2, 2, 3] {
        record.events.push(EventRow {
            run_id: record.manifest.run_id.clone(),
            variant: "commit=on".into(),
            trial,
            elapsed_ms: 1.0,
            at: "2026-11-22T10:26:01Z".into(),
            kind: "split_brain".into(),
            node: None,
            text: "both a and s1 accept writes".into(),
        });
    }
    record.plan.variants[0].scenario.manager = serde_json::json!({ "builtin": { "fence": "none" } });
    record.plan.variants[0].scenario.phases[1].steps.clear();
    let caveats = summarize(&record).caveats;
    assert!(!caveats[0].contains("kill -9"), "{caveats:?}");
    assert_eq!(
        caveats[1..],
        [
            "not fenced: two primaries were possible in commit=on",
            "commit=on: in 2 of 3 trials: split brain: both a and s1 accept writes",
            "commit=on: the bound of [valid] on generator.late.p99 was not checked in 1 of 2 trials that count: it is \
             not known there",
        ]
    );
}

#[test]
fn what_never_happened_has_a_bound_in_json() {
    let mut lab = Lab::new(&["off", "on"], 1);
    lab.ok("on", 1, &[Value::new("ledger.acked_lost", 0.0), Value::new("ledger.attempted", 0.0)]);
    lab.ok("off", 1, &[Value::new("ledger.acked_lost", 2.0)]);
    let json = serde_json::to_value(summarize(&lab.record())).unwrap();
    let figures = |variant: usize| json["variants"][variant]["figures"].as_array().unwrap().clone();
    assert_eq!(figures(0)[0].get("upper_95"), None);
    let on = figures(1);
    assert!((on[0]["upper_95"].as_f64().unwrap() - 0.95).abs() < 1e-9, "{on:?}");
    assert_eq!(on[1].get("upper_95"), None, "no harm");
}

#[test]
fn no_steady_state_is_an_answer_that_summaries_and_comparisons_give() {
    let mut lab = Lab::new(&["off", "on"], 3);
    for trial in 1..=3 {
        let of = |metric, value| Value::new(metric, value).subject("app").phase("steady");
        lab.ok("off", trial, &[of("load.unsteady", f64::from(trial / 2 % 2)), of("load.tps", 500.0)]);
        lab.ok("on", trial, &[of("load.unsteady", 0.0), of("load.warm_up", 1.5), of("load.steady.tps", 500.0)]);
    }
    let record = lab.record();
    let line = "commit=off: load app reached no steady state in steady, in 2 of 3 trials";
    assert!(summarize(&record).caveats.iter().any(|caveat| caveat == line), "{:?}", summarize(&record).caveats);
    let wanted = compare::Wanted { margin: 0.05, only: Vec::new() };
    let comparison = compare::variants(&record, "commit=on", "commit=off", &wanted);
    assert_eq!(comparison.unsteady, [format!("B: {line}")]);
    assert!(compare::markdown(&[comparison]).contains("no steady state"));
}
