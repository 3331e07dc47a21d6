//! The numbers of a variant: each metric over the trials that count.

use super::reading::{Reading, better, readings, unnamed, worst};
use super::statistics::{Interval, median, median_interval, zero_upper_bound};
use crate::metric::{Better, catalogue};
use crate::record::{Record, Status, SummaryRow};
use serde::Serialize;
use std::collections::BTreeSet;

/// A metric over the trials of a variant that count and in which it is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Its name.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// The phase; absent: the whole trial.
    pub phase: Option<String>,
    /// The subject; absent: all of them together, or the worst where only single ones are known.
    pub subject: Option<String>,
    /// In how many trials it is known.
    pub trials: usize,
    /// The median of these.
    pub median: f64,
    /// The smallest of these.
    pub min: f64,
    /// The greatest of these.
    pub max: f64,
    /// The interval of the median; absent when one trial is all there is.
    pub interval: Option<Interval>,
    /// Of a count of what should not be, when it is 0 in all of these: the greatest share of trials (0 to 1), at 95 %,
    /// in which it may happen all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upper_95: Option<f64>,
}

/// All figures of a variant, phases apart. Of several nodes, the worst counts in each trial.
pub(super) fn figures(record: &Record, variant: &str) -> Vec<Figure> {
    let trials = counted(record, variant);
    let rows = || trials.iter().flatten();
    let of_subjects: BTreeSet<Key<'_>> =
        rows().map(|row| (row.metric.as_str(), row.phase.as_deref(), row.subject.as_deref())).collect();
    let of_phases = of_subjects.iter().map(|(metric, phase, _)| (*metric, *phase, None));
    let keys: BTreeSet<Key<'_>> = of_phases.chain(of_subjects.iter().copied()).collect();
    keys.into_iter().filter_map(|key| figure(&trials, key)).collect()
}

type Key<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

fn figure(trials: &[Vec<&SummaryRow>], (metric, phase, subject): Key<'_>) -> Option<Figure> {
    let of_trial = |rows: &Vec<&SummaryRow>| {
        let rows = rows.iter().copied();
        if subject.is_none() {
            return worst(metric, &readings(rows.map(Reading::from), metric, phase));
        }
        let is_it = |row: &&SummaryRow| {
            row.metric == metric && row.phase.as_deref() == phase && row.subject.as_deref() == subject
        };
        let values = rows.filter(is_it).map(|row| row.value);
        if better(metric) == Better::Higher { values.min_by(f64::total_cmp) } else { values.max_by(f64::total_cmp) }
    };
    let values: Vec<f64> = trials.iter().filter_map(of_trial).collect();
    let unit = &trials.iter().flatten().find(|row| row.metric == metric)?.unit;
    Some(Figure {
        metric: metric.to_owned(),
        unit: unit.clone(),
        phase: phase.map(ToOwned::to_owned),
        subject: subject.map(ToOwned::to_owned),
        trials: values.len(),
        median: median(&values)?,
        min: values.iter().copied().min_by(f64::total_cmp)?,
        max: values.iter().copied().max_by(f64::total_cmp)?,
        interval: median_interval(&values),
        upper_95: zero_upper_bound(values.len())
            .filter(|_| is_harm(metric) && values.iter().all(|value| *value == 0.0)),
    })
}

/// Whether `metric` counts what should not be: what matters is whether it happened at all.
pub(super) fn is_harm(metric: &str) -> bool {
    catalogue::find(metric).is_some_and(|metric| metric.unit == "count" && metric.better == Better::Lower)
}

/// The rows of each trial that counts.
fn counted<'a>(record: &'a Record, variant: &str) -> Vec<Vec<&'a SummaryRow>> {
    let ok = record.trials.iter().filter(|row| row.variant == variant && row.status == Status::Ok);
    ok.map(|trial| record.values.iter().filter(|row| row.variant == variant && row.trial == trial.trial).collect())
        .collect()
}

/// The value that `metric` means in each trial of `variant` that counts; none where it is not known.
pub(super) fn by_trial(record: &Record, variant: &str, metric: &str) -> Vec<Option<f64>> {
    by_number(record, variant, metric).into_iter().map(|(_, value)| value).collect()
}

/// The same with the trials' numbers, which are those of their rounds.
pub(super) fn by_number(record: &Record, variant: &str, metric: &str) -> Vec<(u32, Option<f64>)> {
    let meant = meant_phase(record, variant);
    let ok = record.trials.iter().filter(|row| row.variant == variant && row.status == Status::Ok);
    let of_trial = |trial: u32| {
        let rows = record.values.iter().filter(|row| row.variant == variant && row.trial == trial);
        worst(metric, &unnamed(rows.map(Reading::from), metric, meant))
    };
    ok.map(|row| (row.trial, of_trial(row.trial))).collect()
}

/// The phase that a metric means in `variant` where none is named.
pub(super) fn meant_phase<'a>(record: &'a Record, variant: &str) -> Option<&'a str> {
    record.plan.variant(variant).and_then(|variant| variant.scenario.meant_phase())
}

/// The phase that `metric` means in `variant` where none is named; none if it is known of the whole trial only.
pub(super) fn phase_of<'a>(record: &'a Record, variant: &str, metric: &str) -> Option<&'a str> {
    let mut rows = record.values.iter().filter(|row| row.variant == variant && row.metric == metric);
    rows.any(|row| row.phase.is_some()).then(|| meant_phase(record, variant)).flatten()
}

#[cfg(test)]
mod tests {
    use super::super::tests::Lab;
    use super::*;
    use crate::metric::Value;

    #[test]
    fn figures_are_over_the_trials_in_which_they_are_known() {
        let mut lab = Lab::new(&["on"], 3);
        lab.ok("on", 1, &[Value::new("failover.detect", 0.3)]);
        lab.ok("on", 2, &[Value::new("failover.detect", 0.5), Value::new("load.tps", 9.0).subject("app")]);
        lab.ended("on", 3, Status::Failed, None, &[Value::new("failover.detect", 9.0)]);
        let figures = figures(&lab.record(), "commit=on");
        let keys: Vec<_> = figures.iter().map(|f| (f.metric.as_str(), f.subject.as_deref(), f.trials)).collect();
        assert_eq!(keys, [("failover.detect", None, 2), ("load.tps", None, 1), ("load.tps", Some("app"), 1)]);
        let detect = &figures[0];
        assert_eq!((detect.median, detect.min, detect.max), (0.4, 0.3, 0.5));
        assert_eq!(detect.interval.map(|interval| interval.coverage), Some(0.5));
        assert_eq!(figures[1].interval, None);
    }
}
