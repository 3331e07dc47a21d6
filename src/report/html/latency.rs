//! Latency distributions from the interval logs: of all trials that count, in the phase that is meant.

use super::super::export::merge;
use super::super::humane::number;
use super::{escape, table};
use crate::record::{EventRow, Record, RecordError, Status, TrialRow};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// The quantiles of one thing that was timed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Curve {
    variant: String,
    /// Load and transaction.
    name: String,
    /// From the intended instant, rather than from sending.
    response: bool,
    count: u64,
    phase: Option<String>,
    /// Seconds, at [`quantiles`]; absent where fewer times were recorded than it takes to tell.
    values: Vec<Option<f64>>,
    #[serde(skip)]
    columns: Vec<Option<f64>>,
}

/// Where curves have points, as nines: 0 is the minimum, 1 the 90th percentile, 2 the 99th, 4 the 99.99th.
pub(super) fn quantiles() -> Vec<f64> {
    (0..=80).map(|i| f64::from(i) / 20.0).collect()
}

/// The columns of the table.
const COLUMNS: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// Response and service times of every variant and transaction.
pub(super) fn curves(record: &Record) -> Result<Vec<Curve>, RecordError> {
    let mut curves = Vec::new();
    for variant in &record.plan.variants {
        let phase = variant.scenario.meant_phase();
        let mut merged: BTreeMap<(String, bool), Histogram<u64>> = BTreeMap::new();
        let ok = record.trials.iter().filter(|row| row.variant == variant.name && row.status == Status::Ok);
        for trial in ok {
            let (from, to) = stretch(record, trial, phase);
            for (load, path) in logs(record, trial)? {
                for (tag, histogram) in merge(&path, |start| from <= start && start < to)? {
                    let Some((transaction, kind)) = tag.rsplit_once('.') else { continue };
                    if kind != "response" && kind != "service" || transaction == "generator" {
                        continue;
                    }
                    let key = (format!("{load} {transaction}"), kind == "response");
                    match merged.get_mut(&key) {
                        Some(all) => all
                            .add(&histogram)
                            .map_err(|error| RecordError::Damaged { path: path.clone(), what: error.to_string() })?,
                        None => drop(merged.insert(key, histogram)),
                    }
                }
            }
        }
        curves.extend(
            merged.iter().map(|((name, response), histogram)| curve(&variant.name, name, *response, phase, histogram)),
        );
    }
    Ok(curves)
}

fn curve(variant: &str, name: &str, response: bool, phase: Option<&str>, histogram: &Histogram<u64>) -> Curve {
    // The loads record microseconds. Past the last of n there is nothing to tell.
    let count = histogram.len();
    let at = |quantile: f64| {
        let told = quantile >= 1.0 || (1.0 - quantile) * count as f64 >= 0.999;
        (count > 0 && told).then(|| histogram.value_at_quantile(quantile) as f64 / 1e6)
    };
    Curve {
        variant: variant.to_owned(),
        name: name.to_owned(),
        response,
        count,
        phase: phase.map(ToOwned::to_owned),
        values: quantiles().into_iter().map(|nines| at(1.0 - 10f64.powf(-nines))).collect(),
        columns: COLUMNS.iter().map(|(_, quantile)| at(*quantile)).collect(),
    }
}

/// From when to when `phase` lasted in a trial, seconds since its zero; all of it where that is not known.
fn stretch(record: &Record, trial: &TrialRow, phase: Option<&str>) -> (f64, f64) {
    let at = |kind: &str| {
        let is = |event: &&EventRow| {
            event.variant == trial.variant
                && event.trial == trial.trial
                && event.kind == kind
                && event.text.split(' ').next() == phase
        };
        record.events.iter().find(is).map(|event| event.elapsed_ms / 1000.0)
    };
    // An interval that began just before the phase is mostly of it.
    (at("phase.start").map_or(0.0, |start| start - 0.5), at("phase.end").map_or(f64::INFINITY, |end| end - 0.5))
}

/// The logs of a trial, by load.
fn logs(record: &Record, trial: &TrialRow) -> Result<Vec<(String, std::path::PathBuf)>, RecordError> {
    let folder = record.dir.join("latency").join(trial.position.to_string());
    let found = super::super::export::logs(&folder)?.into_iter();
    Ok(found.map(|path| (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path)).collect())
}

/// The table under the plot, which the page's script draws into `latency-plot-<index>`.
pub(super) fn html(curves: &[Curve], index: usize) -> String {
    let heads = ["what", "phase", "count"].into_iter().chain(COLUMNS.iter().map(|(name, _)| *name));
    let heads: Vec<String> = heads.map(ToOwned::to_owned).collect();
    let rows: Vec<_> = curves
        .iter()
        .map(|curve| {
            let kind = if curve.response { "response" } else { "service" };
            let label = format!("{} · {} · {kind}", escape(&curve.variant), escape(&curve.name));
            let known = |value: &Option<f64>| value.map_or_else(|| "too few".to_owned(), |value| number("s", value));
            let first =
                [curve.phase.as_deref().map_or_else(|| "all".into(), escape), number("count", curve.count as f64)];
            (label, first.into_iter().chain(curve.columns.iter().map(known)).collect())
        })
        .collect();
    format!(
        "<div class=\"plot\" id=\"latency-plot-{index}\"></div>\n<p class=\"note\">Response time counts from the instant at \
         which a transaction was intended to begin (solid), service time from when it was sent (dashed): the space \
         between them is waiting that a closed loop would hide. All trials that count together. A quantile that needs \
         more transactions than there were is not shown.</p>\n<details><summary>As a table</summary>{}</details>",
        table("figures", &heads, &rows)
    )
}
