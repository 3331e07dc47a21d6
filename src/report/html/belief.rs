//! How much of it can be believed: the health of generators and samplers, trials that do not count, caveats.

use super::super::Summary;
use super::super::caveats::{MISSED, ticks};
use super::super::humane::number;
use super::{escape, table};
use crate::metric::catalogue;
use crate::record::{Record, Status, SummaryRow, TrialRow};

/// What says whether the apparatus kept up, and what each is called here.
const HEALTH: [(&str, &str); 5] = [
    ("generator.late.p99", "generator late, p99"),
    ("generator.cpu", "generator's CPU share"),
    ("sampler.missed", "sampler's ticks missed"),
    ("container.missed", "container readings missed"),
    ("load.unfinished", "transactions not finished"),
];

/// A part of what the page shows, whether it can be believed where there is a rule for that, and what was seen.
struct Part {
    name: &'static str,
    held: Option<bool>,
    seen: String,
}

/// The parts, caveats, what every trial came to, and how healthy the apparatus was in it.
pub(super) fn html(record: &Record, summary: &Summary) -> String {
    let parts = [Some(trials_that_count(record)), generators(record), timelines(record), points(record)];
    let parts: String = parts.iter().flatten().map(Part::html).collect();
    let caveats: String = summary.caveats.iter().map(|caveat| format!("<li>{}</li>\n", escape(caveat))).collect();
    let caveats =
        if caveats.is_empty() { caveats } else { format!("<h3>To be known besides</h3>\n<ul>{caveats}</ul>\n") };
    let bad: String = summary
        .not_counted
        .iter()
        .map(|trial| {
            let reason = trial.reason.as_deref().unwrap_or("no reason is recorded");
            format!(
                "<li><b>{}</b> trial {}: {}<pre>{}</pre></li>\n",
                escape(&trial.variant),
                trial.trial,
                trial.status.name(),
                escape(reason)
            )
        })
        .collect();
    let bad = if bad.is_empty() { bad } else { format!("<h3>Trials that do not count</h3>\n<ul>{bad}</ul>\n") };
    format!("<ul class=\"claims\">\n{parts}</ul>\n{bad}{caveats}{}", trials(record))
}

impl Part {
    fn html(&self) -> String {
        let (class, word) = match self.held {
            Some(true) => ("better", "✓ yes"),
            Some(false) => ("worse", "✗ doubt it"),
            None => ("unknown", "? judge yourself"),
        };
        format!("<li><span class=\"badge {class}\">{word}</span> <b>{}</b>: {}</li>\n", self.name, escape(&self.seen))
    }
}

fn trials_that_count(record: &Record) -> Part {
    let count = |status: Status| record.trials.iter().filter(|row| row.status == status).count();
    let (ok, planned) = (count(Status::Ok), record.plan.trials.len());
    let others = [Status::Invalid, Status::Failed, Status::Interrupted].into_iter().filter(|status| count(*status) > 0);
    let others: String = others.map(|status| format!(", {} {}", count(status), status.name())).collect();
    Part { name: "Trials", held: Some(ok == planned), seen: format!("{ok} of {planned} trials count{others}") }
}

/// How late transactions were sent in trials that count, against the scenario's own bound.
fn generators(record: &Record) -> Option<Part> {
    const LATE: &str = "generator.late.p99";
    let bound = |variant: &str| record.plan.variant(variant)?.scenario.valid.bounds.get(LATE)?.max;
    let counts = |row: &&SummaryRow| {
        let is = |trial: &&TrialRow| trial.variant == row.variant && trial.trial == row.trial;
        record.trials.iter().find(is).is_some_and(|trial| trial.status == Status::Ok)
    };
    let meant = |row: &&SummaryRow| {
        let phase = record.plan.variant(&row.variant).and_then(|variant| variant.scenario.meant_phase());
        row.phase.is_none() || row.phase.as_deref() == phase
    };
    let rows = || record.values.iter().filter(|row| row.metric == LATE).filter(meant).filter(counts);
    let latest = rows().map(|row| row.value).max_by(f64::total_cmp)?;
    let bounds: Option<Vec<f64>> = rows().map(|row| bound(&row.variant)).collect();
    let (held, rule) = match bounds.and_then(|bounds| bounds.into_iter().min_by(f64::total_cmp)) {
        Some(bound) => (Some(latest <= bound), format!("at most {} is allowed", number("s", bound))),
        None => (None, "the scenario has no bound for it".to_owned()),
    };
    let seen = format!("in the worst trial that counts 1 % were sent {} late or later; {rule}", number("s", latest));
    Some(Part { name: "Throughput and response times", held, seen })
}

/// Whether samplers came round when they should have.
fn timelines(record: &Record) -> Option<Part> {
    let (due, missed) = ticks(record);
    let seen = format!("{} of {} readings were missed", number("count", missed), number("count", due));
    (due > 0.0).then_some(Part { name: "Timelines", held: Some(missed <= due * MISSED), seen })
}

/// Whether the file has all that was sampled.
fn points(record: &Record) -> Option<Part> {
    let points = record.manifest.accounting;
    let (written, produced) = (points.written, points.produced);
    let held = points.dropped == 0 && points.adds_up();
    let seen = if held {
        format!("all {} are in the file", number("count", produced as f64))
    } else {
        format!("metrics incomplete: {written} of {produced} are in the file")
    };
    (produced > 0).then_some(Part { name: "Sampled points", held: Some(held), seen })
}

/// The worst value of each sign of health, by trial; in a phase that a bound is about, the bound is judged by it.
fn trials(record: &Record) -> String {
    let known: Vec<_> =
        HEALTH.iter().filter(|(metric, _)| record.values.iter().any(|row| row.metric == *metric)).collect();
    let heads: Vec<String> = ["trial", "in the run", "status"]
        .into_iter()
        .chain(known.iter().map(|(_, label)| *label))
        .map(ToOwned::to_owned)
        .collect();
    let rows = record.trials.iter().map(|trial| {
        let mut cells = vec![format!("no. {}", trial.position), trial.status.name().to_owned()];
        cells.extend(known.iter().map(|(metric, _)| worst(record, trial, metric)));
        (format!("{} · {}", escape(&trial.variant), trial.trial), cells)
    });
    let rows: Vec<_> = rows.collect();
    format!(
        "<details><summary>Every trial, and the worst of its phases</summary>\n{}</details>",
        table("figures", &heads, &rows)
    )
}

fn worst(record: &Record, trial: &TrialRow, metric: &str) -> String {
    let rows = record.values.iter().filter(|row| {
        row.variant == trial.variant
            && row.trial == trial.trial
            && row.metric == metric
            && row.subject.as_deref().is_none_or(|subject| !subject.contains('/'))
    });
    let unit = catalogue::find(metric).map_or("", |metric| metric.unit);
    rows.map(|row| row.value).max_by(f64::total_cmp).map_or_else(|| "not known".into(), |value| number(unit, value))
}
