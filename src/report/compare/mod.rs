//! Two sides of the same question: variants of a run, whose trials were interleaved and are compared within their
//! rounds, or the same variant of two runs, which have nothing but their names in common.

pub mod differ;
mod show;

pub(super) use show::{factor, remark};
pub use show::{markdown, terminal};

use super::caveats::unsteady;
use super::figures::{by_number, is_harm, phase_of};
use super::reading::better;
use super::statistics::median;
use super::statistics::ratio::{Ratio, paired, unpaired};
use super::statistics::verdict::{Verdict, fisher, of_harm, of_ratio};
use crate::metric::{Better, catalogue};
use crate::record::Record;
use differ::Difference;
use serde::Serialize;
use std::path::PathBuf;

/// What is to be compared, and how.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What counts as no difference: 0.05 is five per cent either way.
    pub margin: f64,
    /// Metrics that get verdicts; none: those of the scenario's answer.
    pub only: Vec<String>,
}

/// Two sides, compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What is compared with.
    pub a: Side,
    /// What is compared.
    pub b: Side,
    /// What counts as no difference.
    pub margin: f64,
    /// Whether trials of both were interleaved.
    pub interleaved: bool,
    /// What differs besides.
    pub differences: Vec<Difference>,
    /// Loads that reached no steady state, on either side.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsteady: Vec<String>,
    /// The metrics with verdicts.
    pub verdicts: Vec<Row>,
    /// The others that both sides have.
    pub context: Vec<Row>,
}

/// One side.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// Its run.
    pub run_id: String,
    /// The results folder.
    pub dir: PathBuf,
    /// The variant.
    pub variant: String,
}

/// A metric on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// The phase that is meant; absent: the whole trial.
    pub phase: Option<String>,
    /// Trials of A in which it is known.
    pub a_trials: usize,
    /// Trials of B.
    pub b_trials: usize,
    /// Median of A.
    pub a: Option<f64>,
    /// Median of B.
    pub b: Option<f64>,
    /// B over A, of geometric means; absent where there is none.
    pub ratio: Option<Ratio>,
    /// Of what should not happen: trials of A and of B in which it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub happened: Option<(usize, usize)>,
    /// Of what should not happen: the probability of so uneven a split between sides that are alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// What it entitles to say; absent of mere context.
    pub verdict: Option<Verdict>,
    /// Why it cannot be told, or what "same" does not exclude.
    pub why: Option<String>,
    /// The smallest factor that such trials would tell, beyond the margin, in 80 % of cases.
    pub detectable: Option<f64>,
    /// Trials a side with which a difference of the margin would be told.
    pub needed: Option<u64>,
}

/// Compares two variants of one run.
pub fn variants(record: &Record, a: &str, b: &str, wanted: &Wanted) -> Comparison {
    compare((record, a), (record, b), true, Vec::new(), wanted)
}

/// Compares a variant of one run with that of the same name of another.
pub fn runs(a: &Record, b: &Record, variant: &str, wanted: &Wanted) -> Comparison {
    compare((a, variant), (b, variant), false, differ::differences(a, b, variant), wanted)
}

/// What a process that was asked whether it became worse exits with: 1 when something did, 3 when that cannot be told
/// of something, else 0.
pub fn exit_code(comparisons: &[Comparison]) -> u8 {
    let is = |what: Verdict| comparisons.iter().flat_map(|c| &c.verdicts).any(|row| row.verdict == Some(what));
    if is(Verdict::Worse) {
        1
    } else if is(Verdict::CannotTell) || comparisons.iter().all(|comparison| comparison.verdicts.is_empty()) {
        3
    } else {
        0
    }
}

type Of<'a> = (&'a Record, &'a str);

fn compare(a: Of<'_>, b: Of<'_>, interleaved: bool, differences: Vec<Difference>, wanted: &Wanted) -> Comparison {
    let side = |(record, variant): Of<'_>| Side {
        run_id: record.manifest.run_id.clone(),
        dir: record.dir.clone(),
        variant: variant.to_owned(),
    };
    let judged: &[String] = if wanted.only.is_empty() { &a.0.plan.answer } else { &wanted.only };
    let both = |metric: &str| [a, b].iter().all(|(record, _)| record.values.iter().any(|row| row.metric == metric));
    let names = catalogue::METRICS.iter().filter(|metric| metric.better != Better::Neither).map(|metric| metric.name);
    let others = names.filter(|name| wanted.only.is_empty() && both(name) && !judged.iter().any(|j| j == name));
    let row = |metric: &str| row(a, b, metric, interleaved, wanted.margin);
    let context = others.map(|metric| Row { verdict: None, why: None, ..row(metric) });
    Comparison {
        margin: wanted.margin,
        interleaved,
        differences,
        unsteady: either_unsteady(a, b),
        verdicts: judged.iter().map(|metric| row(metric)).collect(),
        context: context.filter(|row| row.a_trials > 0 && row.b_trials > 0).collect(),
        a: side(a),
        b: side(b),
    }
}

fn either_unsteady(a: Of<'_>, b: Of<'_>) -> Vec<String> {
    let of = |side: &str, (record, variant): Of<'_>| -> Vec<String> {
        unsteady(record, variant).into_iter().map(|line| format!("{side}: {line}")).collect()
    };
    [of("A", a), of("B", b)].concat()
}

fn row(a: Of<'_>, b: Of<'_>, metric: &str, interleaved: bool, margin: f64) -> Row {
    let of = |(record, variant): Of<'_>| -> Vec<(u32, f64)> {
        let values = by_number(record, variant, metric).into_iter();
        values.filter_map(|(trial, value)| Some((trial, value?))).collect()
    };
    let (of_a, of_b) = (of(a), of(b));
    let values = |of: &[(u32, f64)]| -> Vec<f64> { of.iter().map(|(_, value)| *value).collect() };
    let (a_values, b_values) = (values(&of_a), values(&of_b));
    let ratio = if interleaved { paired(&pairs(&of_a, &of_b)) } else { unpaired(&a_values, &b_values) };
    let mut row = Row {
        metric: metric.to_owned(),
        unit: catalogue::find(metric).map_or("", |metric| metric.unit).to_owned(),
        phase: phase_of(a.0, a.1, metric).map(ToOwned::to_owned),
        a_trials: of_a.len(),
        b_trials: of_b.len(),
        a: median(&a_values),
        b: median(&b_values),
        ratio,
        happened: None,
        p: None,
        verdict: Some(Verdict::CannotTell),
        why: None,
        detectable: ratio.and_then(|ratio| ratio.detectable(margin)),
        needed: ratio.and_then(|ratio| ratio.needed(1.0 + margin)),
    };
    let harmed = |values: &[f64]| values.iter().filter(|value| **value > 0.0).count();
    let happened = (harmed(&a_values), harmed(&b_values));
    // What happens in every trial of both is a matter of how much.
    if is_harm(metric) && happened != (of_a.len(), of_b.len()) {
        judge_harm(&mut row, happened);
    } else {
        judge_ratio(&mut row, margin, better(metric));
    }
    row
}

/// Values of rounds in which both sides have one.
fn pairs(a: &[(u32, f64)], b: &[(u32, f64)]) -> Vec<(f64, f64)> {
    let partner = |trial: u32| b.iter().find(|(other, _)| *other == trial).map(|(_, value)| *value);
    a.iter().filter_map(|(trial, value)| Some((*value, partner(*trial)?))).collect()
}

fn judge_harm(row: &mut Row, happened: (usize, usize)) {
    let split = |happened: usize, trials: usize| (happened as u64, (trials - happened) as u64);
    let (a, b) = (split(happened.0, row.a_trials), split(happened.1, row.b_trials));
    row.happened = Some(happened);
    (row.ratio, row.detectable, row.needed) = (None, None, None);
    if row.a_trials == 0 || row.b_trials == 0 {
        row.why = Some(unknown(row));
        return;
    }
    row.p = fisher(a, b).filter(|_| happened != (0, 0));
    row.verdict = Some(of_harm(a, b));
    if row.verdict == Some(Verdict::CannotTell) {
        let why = if happened == (0, 0) {
            "it happened in no trial, which does not say that it never does"
        } else {
            "such a split is chance often enough"
        };
        row.why = Some(why.to_owned());
    }
}

fn judge_ratio(row: &mut Row, margin: f64, better: Better) {
    let Some(ratio) = row.ratio else {
        row.why = Some(unknown(row));
        return;
    };
    let verdict = of_ratio(&ratio, margin, better);
    row.verdict = Some(verdict);
    row.why = match verdict {
        Verdict::CannotTell if ratio.differs() => Some("it differs, but perhaps by less than the margin".to_owned()),
        Verdict::CannotTell => Some("the interval reaches beyond the margin and holds \"no difference\"".to_owned()),
        _ => None,
    };
}

fn unknown(row: &Row) -> String {
    match (row.a_trials, row.b_trials) {
        (0, 0) => "not known on either side".into(),
        (0, _) => "not known in A".into(),
        (_, 0) => "not known in B".into(),
        (1, _) | (_, 1) => "one trial has no interval".into(),
        _ => "no ratio: some values are 0, or fewer than two rounds have both sides".into(),
    }
}

#[cfg(test)]
mod tests;
