//! How much of it can be believed: the health of generators and samplers, trials that do not count, caveats.

use super::super::Summary;
use super::super::humane::number;
use super::{escape, table};
use crate::metric::catalogue;
use crate::record::{Record, Status, TrialRow};

/// What says whether the apparatus kept up, and what each is called here.
const HEALTH: [(&str, &str); 5] = [
    ("generator.late.p99", "generator late, p99"),
    ("generator.cpu", "generator's CPU share"),
    ("sampler.missed", "sampler's ticks missed"),
    ("container.missed", "container readings missed"),
    ("load.unfinished", "transactions not finished"),
];

/// Caveats, what every trial came to, and how healthy the apparatus was in it.
pub(super) fn html(record: &Record, summary: &Summary) -> String {
    let count = |status: Status| record.trials.iter().filter(|row| row.status == status).count();
    let (ok, planned) = (count(Status::Ok), record.plan.trials.len());
    let mut parts = vec![format!("<b>{ok}</b> of {planned} trials count")];
    for status in [Status::Invalid, Status::Failed, Status::Interrupted] {
        if count(status) > 0 {
            parts.push(format!("<b class=\"bad\">{} {}</b>", count(status), status.name()));
        }
    }
    let points = record.manifest.accounting;
    if points.produced > 0 {
        parts.push(format!("{} of {} sampled points were kept", points.written, points.produced));
    }
    let caveats: String = summary.caveats.iter().map(|caveat| format!("<li>{}</li>\n", escape(caveat))).collect();
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
    format!("<p>{}.</p>\n<ul>{caveats}</ul>\n{bad}{}", parts.join(", "), trials(record))
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
