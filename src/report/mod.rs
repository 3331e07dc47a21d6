//! What a record says, from its files alone, so that today's run and last year's take one path: statistics,
//! judged claims, the answer in a sentence; on the terminal, as JSON, as CSV.

mod answer;
mod caveats;
mod clones;
pub mod compare;
pub mod export;
mod figures;
pub mod history;
pub mod html;
mod humane;
pub mod judge;
mod reading;
mod samples;
pub mod selftest;
pub mod statistics;
mod stopped;
mod sweep;
mod table;
mod terminal;

pub use figures::Figure;
pub use reading::value_of;
pub use stopped::in_words;
pub use sweep::Swept;
pub use terminal::terminal;

use crate::base::units::counted;
use crate::record::{Manifest, Record, RunStatus, Status};
use indexmap::IndexSet;
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
    /// Why there were no more trials, where a rule said when there were enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// How the run ended.
    pub status: RunStatus,
    /// The servers' version.
    pub server: String,
    /// The machine, in a line.
    pub machine: String,
    /// The loads, a line each.
    pub loads: Vec<String>,
    /// By which ways clones came, a line each.
    pub clones: Vec<String>,
    /// The variants, in the plan's order.
    pub variants: Vec<VariantSummary>,
    /// What the axes do, a table for each metric of the answer; none of a single variant.
    pub sweep: Vec<Swept>,
    /// Claims, judged.
    pub claims: Vec<Judged>,
    /// Trials that do not count.
    pub not_counted: Vec<NotCounted>,
    /// What a reader must know before believing it.
    pub caveats: Vec<String>,
    /// What became of the sampled points, a line for the file and one a sink.
    pub points: Vec<String>,
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
    /// The phase that is meant where none is named and a metric is known by phase.
    pub phase: Option<String>,
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
        stopped: manifest.stopped.as_ref().map(in_words),
        status: manifest.status,
        server: versions(manifest),
        machine: machine(record),
        loads: loads(record),
        clones: clones::ways(record),
        sweep: sweep::swept(record),
        claims: judge::claims(record),
        not_counted: bad
            .map(|row| NotCounted {
                variant: row.variant.clone(),
                trial: row.trial,
                status: row.status,
                reason: row.reason.clone(),
            })
            .collect(),
        caveats: caveats::caveats(record),
        points: points(manifest),
        dir: record.dir.clone(),
        answered: record.plan.answer.clone(),
        phases,
        variants,
    }
}

/// The accounts of points, in words.
fn points(manifest: &Manifest) -> Vec<String> {
    let points = manifest.accounting;
    let produced = counted(points.produced as usize, "point");
    let file = format!("metrics.lp.gz: {} of {produced} written, {} dropped", points.written, points.dropped);
    let sinks = manifest.sinks.iter().map(|(name, account)| format!("sink {name}: {}", account.in_words()));
    std::iter::once(file).chain(sinks).collect()
}

/// The versions of the servers, each once.
fn versions(manifest: &Manifest) -> String {
    let versions: IndexSet<&str> = manifest.servers.iter().map(|server| server.version.as_str()).collect();
    versions.into_iter().collect::<Vec<_>>().join(", ")
}

/// What the process exits with: 4 when a variant has no valid trial or a claim cannot be judged, 1 when a claim
/// failed, else 0. That a run was interrupted is for whoever was interrupted to say.
pub fn exit_code(summary: &Summary) -> u8 {
    let verdicts = || summary.claims.iter().map(|judged| &judged.verdict);
    if summary.variants.iter().any(|variant| variant.ok == 0)
        || verdicts().any(|verdict| matches!(verdict, Verdict::Unknown { .. }))
    {
        4
    } else {
        u8::from(verdicts().any(|verdict| matches!(verdict, Verdict::Failed { .. })))
    }
}

fn variant(record: &Record, name: &str) -> VariantSummary {
    let count =
        |is: fn(Status) -> bool| record.trials.iter().filter(|row| row.variant == name && is(row.status)).count();
    let index = record.plan.variants.iter().position(|v| v.name == name);
    VariantSummary {
        variant: name.to_owned(),
        planned: stopped::planned(record).filter(|trial| Some(trial.variant) == index).count(),
        ok: count(|status| status == Status::Ok),
        invalid: count(|status| status == Status::Invalid),
        failed: count(|status| matches!(status, Status::Failed | Status::Interrupted)),
        phase: figures::meant_phase(record, name).map(ToOwned::to_owned),
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

#[cfg(test)]
mod tests;
