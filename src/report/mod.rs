//! What a record says, from its files alone, so that today's run and last year's take one path: statistics,
//! judged claims, the answer in a sentence; on the terminal, as JSON, as CSV.

mod answer;
pub mod export;
mod figures;
mod humane;
pub mod judge;
mod reading;
pub mod statistics;
mod table;
mod terminal;

pub use figures::Figure;
pub use terminal::terminal;

use crate::record::{Record, RunStatus, Status};
use judge::{Judged, Verdict};
use serde::Serialize;
use std::path::PathBuf;

/// A record, summed up: what the terminal shows, and as JSON what `--json` prints and `run.json` keeps.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The run.
    pub run_id: String,
    /// Its scenario.
    pub scenario: String,
    /// The question.
    pub question: String,
    /// The answer in one sentence, variant by variant.
    pub answer: String,
    /// How the run ended.
    pub status: RunStatus,
    /// The servers' version.
    pub server: String,
    /// The machine, in a line.
    pub machine: String,
    /// The loads, a line each.
    pub loads: Vec<String>,
    /// The variants, in the plan's order.
    pub variants: Vec<VariantSummary>,
    /// Claims, judged.
    pub claims: Vec<Judged>,
    /// Trials that do not count.
    pub not_counted: Vec<NotCounted>,
    /// What a reader must know before believing it.
    pub caveats: Vec<String>,
    /// The results folder.
    pub dir: PathBuf,
    #[serde(skip)]
    answered: Vec<String>,
    #[serde(skip)]
    phases: Vec<String>,
}

/// A variant, summed up.
#[derive(Clone, Debug, Serialize)]
pub struct VariantSummary {
    /// Its name.
    pub variant: String,
    /// Trials that the plan has.
    pub planned: usize,
    /// Trials that count.
    pub ok: usize,
    /// Trials in which the apparatus cannot be believed.
    pub invalid: usize,
    /// Trials that could not be carried out, or were interrupted.
    pub failed: usize,
    /// Its part of the answer.
    pub answer: String,
    /// Its numbers, over the trials that count.
    pub figures: Vec<Figure>,
}

/// A trial that does not count.
#[derive(Clone, Debug, Serialize)]
pub struct NotCounted {
    /// Its variant.
    pub variant: String,
    /// Which repetition of it.
    pub trial: u32,
    /// Invalid, failed or interrupted.
    pub status: Status,
    /// Why.
    pub reason: Option<String>,
}

/// Sums a record up.
pub fn summarize(record: &Record) -> Summary {
    let manifest = &record.manifest;
    let variants: Vec<VariantSummary> = record.plan.variants.iter().map(|v| variant(record, &v.name)).collect();
    let answers: Vec<String> = variants
        .iter()
        .map(|v| if variants.len() == 1 { v.answer.clone() } else { format!("{}: {}", v.variant, v.answer) })
        .collect();
    let bad = record.trials.iter().filter(|row| row.status != Status::Ok);
    let mut phases: Vec<String> = Vec::new();
    for phase in record.plan.variants.iter().flat_map(|v| &v.scenario.phases) {
        if !phases.contains(&phase.name) {
            phases.push(phase.name.clone());
        }
    }
    Summary {
        run_id: manifest.run_id.clone(),
        scenario: manifest.scenario.clone(),
        question: record.plan.question.clone(),
        answer: answers.join("; "),
        status: manifest.status,
        server: manifest.server.version.clone(),
        machine: machine(record),
        loads: loads(record),
        claims: judge::claims(record),
        not_counted: bad
            .map(|row| NotCounted {
                variant: row.variant.clone(),
                trial: row.trial,
                status: row.status,
                reason: row.reason.clone(),
            })
            .collect(),
        caveats: caveats(record),
        dir: record.dir.clone(),
        answered: record.plan.answer.clone(),
        phases,
        variants,
    }
}

/// What the process exits with: 4 when no trial is valid, 1 when a claim failed, else 0. That a run was
/// interrupted is for whoever was interrupted to say.
pub fn exit_code(summary: &Summary) -> u8 {
    if summary.variants.iter().all(|variant| variant.ok == 0) {
        4
    } else {
        u8::from(summary.claims.iter().any(|judged| matches!(judged.verdict, Verdict::Failed { .. })))
    }
}

fn variant(record: &Record, name: &str) -> VariantSummary {
    let count =
        |is: fn(Status) -> bool| record.trials.iter().filter(|row| row.variant == name && is(row.status)).count();
    let index = record.plan.variants.iter().position(|v| v.name == name);
    VariantSummary {
        variant: name.to_owned(),
        planned: record.plan.trials.iter().filter(|trial| Some(trial.variant) == index).count(),
        ok: count(|status| status == Status::Ok),
        invalid: count(|status| status == Status::Invalid),
        failed: count(|status| matches!(status, Status::Failed | Status::Interrupted)),
        answer: answer::sentence(record, name),
        figures: figures::figures(record, name),
    }
}

fn machine(record: &Record) -> String {
    let host = &record.manifest.host;
    let facts = [
        host.cores.map(|cores| format!("{cores} cores")),
        host.memory.map(|memory| humane::number("bytes", memory as f64)),
        host.cpu.clone(),
        host.kernel.as_ref().map(|kernel| format!("kernel {kernel}")),
        host.work_file_system.clone(),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Loads in words; a load that differs between variants has a line for each form.
fn loads(record: &Record) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (name, load) in record.plan.variants.iter().flat_map(|variant| &variant.scenario.loads) {
        let kind = load.profile.iter().next();
        let profile = kind.map_or_else(String::new, |(kind, settings)| {
            let rate = settings.get("rate").and_then(serde_json::Value::as_f64);
            let rate = rate.map_or_else(String::new, |rate| format!(" at {}", humane::number("1/s", rate)));
            format!(", {kind} loop{rate}")
        });
        let line = format!("load {name}: {} clients{profile}", load.clients);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

fn caveats(record: &Record) -> Vec<String> {
    let manifest = &record.manifest;
    let mut caveats = Vec::new();
    if manifest.colocated {
        caveats.push(
            "one machine (colocated): servers, load and probes share its cores and disk, and a kill -9 is the kindest \
             death: sockets are reset at once, the page cache survives"
                .to_owned(),
        );
    }
    let is_fsync = |name: &str| name == "fsync" || name.ends_with(".fsync");
    let unsafe_variants = manifest.settings.iter().filter(|(_, settings)| settings.keys().any(|name| is_fsync(name)));
    let unsafe_variants: Vec<&str> = unsafe_variants.map(|(variant, _)| variant.as_str()).collect();
    if !unsafe_variants.is_empty() {
        caveats.push(format!("fsync is off in {}", unsafe_variants.join(", ")));
    }
    let (points, done) = (manifest.accounting, record.trials.len());
    if points.dropped > 0 || !points.adds_up() {
        caveats.push(format!("metrics incomplete: {} of {} points are in the file", points.written, points.produced));
    }
    let reason = manifest.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let planned = record.plan.trials.len();
    match manifest.status {
        RunStatus::Finished => {}
        RunStatus::Running => caveats.push(format!("the run has no end: {done} of {planned} trials are recorded")),
        RunStatus::Interrupted => caveats.push(format!("interrupted{reason} after {done} of {planned} trials")),
        RunStatus::Failed => caveats.push(format!("the run failed{reason} after {done} of {planned} trials")),
    }
    caveats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Value, catalogue};
    use crate::record::outline::tests::{SCENARIO, plan};
    use crate::record::{Manifest, Outline, Server, SummaryRow, TrialRow};

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
                server: Server { version: "15.18".into(), bindir: "/usr/bin".into() },
                settings: Default::default(),
                absent: Default::default(),
                accounting: Default::default(),
                plan: serde_json::to_value(&plan).unwrap(),
                result: None,
            };
            let plan = Outline::of(&plan).unwrap();
            let dir = "results/failover-20261122T102600Z-3f2a".into();
            Lab(Record { dir, manifest, plan, trials: vec![], values: vec![], events: vec![] })
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
            ]);
        }
        values
    }

    #[test]
    fn exit_codes() {
        assert_eq!(exit_code(&summarize(&record())), 0);
        assert_eq!(exit_code(&summarize(&Lab::new(&["on"], 1).record())), 4);
        let mut lab = Lab::new(&["on"], 1);
        lab.ok("on", 1, &[Value::new("ledger.acked_lost", 1.0)]);
        assert_eq!(exit_code(&summarize(&lab.record())), 1);
    }

    #[test]
    fn what_must_be_known_before_believing_is_said() {
        let mut record = record();
        record.manifest.settings.insert("commit=on".into(), [("fsync".to_owned(), "off".to_owned())].into());
        record.manifest.accounting = crate::sink::Accounting { produced: 10, written: 9, dropped: 1, not_finite: 0 };
        record.manifest.status = RunStatus::Interrupted;
        let caveats = summarize(&record).caveats;
        assert!(caveats[0].contains("colocated"));
        assert_eq!(caveats[1], "fsync is off in commit=on");
        assert_eq!(caveats[2], "metrics incomplete: 9 of 10 points are in the file");
        assert_eq!(caveats[3], "interrupted after 10 of 10 trials");
    }
}
