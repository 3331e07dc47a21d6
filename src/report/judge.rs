//! Judging: validity bounds (can the apparatus be believed?) and claims (is the world as expected?). A metric
//! that is absent in a trial neither holds nor fails: it is unknown, and said to be.

use super::figures::phase_of;
use super::humane::number;
use super::reading::{Reading, readings, unnamed};
use super::statistics::median;
use crate::metric::{Value, catalogue};
use crate::record::outline::{Bound, Claim, Valid, Variant};
use crate::record::{Record, Status};
use serde::Serialize;

/// What a claim came to, for one variant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// The metric that it is about.
    pub metric: String,
    /// The claim in words.
    pub claim: String,
    /// The variant.
    pub variant: String,
    /// What it came to.
    pub verdict: Verdict,
}

/// Whether a claim held.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It did, in all valid trials.
    Held,
    /// It did not.
    Failed {
        /// The trials that violate it, with the value; of a median, none.
        trials: Vec<Violation>,
        /// The median that violates it.
        median: Option<f64>,
    },
    /// It cannot be told.
    Unknown {
        /// Why.
        why: String,
    },
}

/// A value that a claim rules out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Violation {
    /// Which repetition of the variant.
    pub trial: u32,
    /// What was observed, in the metric's unit.
    pub value: f64,
}

/// Why a trial with these values is not valid under `valid`; none when nothing speaks against it. A bound on a
/// metric that the trial does not have rules nothing out: what is unknown is not violated; the summary says so.
pub fn invalid(valid: &Valid, values: &[Value]) -> Option<String> {
    let reasons = valid.bounds.iter().flat_map(|(metric, bound)| {
        let rows = unnamed(values.iter().map(Reading::from), metric, valid.phase.as_deref());
        let outside = rows.into_iter().find(|row| !bound.holds(row.value));
        outside.map(|row| {
            let (phase, value) = (in_phase(row.phase), in_words(metric, row.value));
            format!("{metric}{phase} is {value}, not {}", limits(metric, *bound))
        })
    });
    let reasons: Vec<String> = reasons.collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// All claims of all variants that they are about.
pub(super) fn claims(record: &Record) -> Vec<Judged> {
    let judged = record.plan.variants.iter().flat_map(|variant| {
        let about = variant.scenario.claims.iter().filter(|claim| concerns(claim, variant));
        about.flat_map(|claim| judge(record, variant, claim))
    });
    judged.collect()
}

fn concerns(claim: &Claim, variant: &Variant) -> bool {
    claim.when.iter().all(|(axis, levels)| variant.levels.iter().any(|(a, level)| a == axis && levels.contains(level)))
}

/// One verdict for each bound that the claim has.
fn judge(record: &Record, variant: &Variant, claim: &Claim) -> Vec<Judged> {
    let phase = claim.phase.as_deref().or_else(|| phase_of(record, &variant.name, &claim.metric));
    let trials = observed(record, &variant.name, &claim.metric, phase);
    let of = in_phase(phase);
    let judged = |how: &str, bound: Bound, verdict| Judged {
        metric: claim.metric.clone(),
        claim: format!("{}{of} {} {how}", claim.metric, limits(&claim.metric, bound)),
        variant: variant.name.clone(),
        verdict,
    };
    let every = claim.every_trial.map(|bound| judged("in every trial", bound, every_trial(&trials, bound)));
    let median = claim.median.map(|bound| judged("in the median", bound, of_median(&trials, bound)));
    every.into_iter().chain(median).collect()
}

/// The rows that a metric means, in each valid trial of a variant.
fn observed(record: &Record, variant: &str, metric: &str, phase: Option<&str>) -> Vec<(u32, Vec<f64>)> {
    let valid = record.trials.iter().filter(|row| row.variant == variant && row.status == Status::Ok);
    let observed = valid.map(|trial| {
        let rows = record.values.iter().filter(|row| row.variant == variant && row.trial == trial.trial);
        let rows = readings(rows.map(Reading::from), metric, phase);
        (trial.trial, rows.iter().map(|row| row.value).collect())
    });
    observed.collect()
}

fn every_trial(trials: &[(u32, Vec<f64>)], bound: Bound) -> Verdict {
    let violations: Vec<Violation> = trials
        .iter()
        .filter_map(|(trial, values)| {
            let value = *values.iter().find(|value| !bound.holds(**value))?;
            Some(Violation { trial: *trial, value })
        })
        .collect();
    if violations.is_empty() {
        unknown(trials).unwrap_or(Verdict::Held)
    } else {
        Verdict::Failed { trials: violations, median: None }
    }
}

/// Of each trial, the value that is hardest on the bound counts.
fn of_median(trials: &[(u32, Vec<f64>)], bound: Bound) -> Verdict {
    if let Some(unknown) = unknown(trials) {
        return unknown;
    }
    let hardest = |pick: fn(f64, f64) -> f64| {
        let values: Vec<f64> = trials.iter().filter_map(|(_, values)| values.iter().copied().reduce(pick)).collect();
        median(&values)
    };
    let low = hardest(f64::min).filter(|_| bound.min.is_some());
    let high = hardest(f64::max).filter(|_| bound.max.is_some());
    match low.into_iter().chain(high).find(|median| !bound.holds(*median)) {
        Some(median) => Verdict::Failed { trials: Vec::new(), median: Some(median) },
        None => Verdict::Held,
    }
}

fn unknown(trials: &[(u32, Vec<f64>)]) -> Option<Verdict> {
    let absent: Vec<String> =
        trials.iter().filter(|(_, values)| values.is_empty()).map(|(trial, _)| trial.to_string()).collect();
    let why = match (trials.len(), absent.len()) {
        (0, _) => "no valid trial".to_owned(),
        (_, 0) => return None,
        (all, some) if all == some => "not measured".to_owned(),
        _ => format!("not known in trial {}", absent.join(", ")),
    };
    Some(Verdict::Unknown { why })
}

/// `at most 5 ms`.
fn limits(metric: &str, bound: Bound) -> String {
    let limit = |words: &str, limit: Option<f64>| limit.map(|limit| format!("{words} {}", in_words(metric, limit)));
    let parts: Vec<String> = limit("at least", bound.min).into_iter().chain(limit("at most", bound.max)).collect();
    parts.join(" and ")
}

/// ` in kill`; nothing of the whole trial.
pub(super) fn in_phase(phase: Option<&str>) -> String {
    phase.map_or_else(String::new, |phase| format!(" in {phase}"))
}

/// A value in the metric's unit, for people.
pub(super) fn in_words(metric: &str, value: f64) -> String {
    number(catalogue::find(metric).map_or("", |metric| metric.unit), value)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Lab, record};
    use super::*;

    fn verdicts(record: &Record) -> Vec<(String, Verdict)> {
        claims(record)
            .into_iter()
            .map(|judged| (format!("{}: {}", judged.variant, judged.claim), judged.verdict))
            .collect()
    }

    #[test]
    fn claims_hold_fail_or_stay_unknown() {
        let mut lab = Lab::new(&["off", "on"], 3);
        for trial in 1..=3 {
            lab.ok("off", trial, &[Value::new("ledger.acked_lost", 9.0), Value::new("failover.write_outage", 0.5)]);
            let outage = Value::new("failover.write_outage", f64::from(trial));
            lab.ok("on", trial, &[Value::new("ledger.acked_lost", f64::from(trial / 3)), outage]);
        }
        let (losses, outage) =
            ("ledger.acked_lost at most 0 in every trial", "failover.write_outage at most 1 s in the median");
        let violation = Violation { trial: 3, value: 1.0 };
        assert_eq!(
            verdicts(&lab.record()),
            [
                (format!("commit=off: {outage}"), Verdict::Held),
                (format!("commit=on: {losses}"), Verdict::Failed { trials: vec![violation], median: None }),
                (format!("commit=on: {outage}"), Verdict::Failed { trials: vec![], median: Some(2.0) }),
            ]
        );
    }

    #[test]
    fn absent_is_unknown_and_never_zero() {
        let mut lab = Lab::new(&["on"], 2);
        lab.ok("on", 1, &[Value::new("ledger.acked_lost", 0.0)]);
        lab.ok("on", 2, &[]);
        let verdicts = verdicts(&lab.record());
        assert_eq!(verdicts[0].1, Verdict::Unknown { why: "not known in trial 2".into() });
        assert_eq!(verdicts[1].1, Verdict::Unknown { why: "not measured".into() });
        assert_eq!(
            claims(&Lab::new(&["on"], 2).record())[0].verdict,
            Verdict::Unknown { why: "no valid trial".into() }
        );
    }

    #[test]
    fn only_valid_trials_are_judged() {
        let mut lab = Lab::new(&["on"], 2);
        lab.ok("on", 1, &[Value::new("ledger.acked_lost", 0.0)]);
        lab.ended("on", 2, Status::Invalid, Some("generator late"), &[Value::new("ledger.acked_lost", 5.0)]);
        assert_eq!(verdicts(&lab.record())[0].1, Verdict::Held);
    }

    #[test]
    fn bounds_of_validity() {
        let record = record();
        let valid = &record.plan.variants[0].scenario.valid;
        assert_eq!(invalid(valid, &[]), None, "unknown is not violated");
        assert_eq!(invalid(valid, &[Value::new("generator.late.p99", 0.005)]), None);
        let late = Value::new("generator.late.p99", 0.0072).subject("app");
        assert_eq!(invalid(valid, &[late]).as_deref(), Some("generator.late.p99 is 7.20 ms, not at most 5 ms"));
        let late = |phase: &str, value| Value::new("generator.late.p99", value).subject("app").phase(phase);
        assert_eq!(invalid(valid, &[late("steady", 0.0072), late("kill", 0.001)]), None);
        assert_eq!(
            invalid(valid, &[late("steady", 0.001), late("kill", 0.0072)]).as_deref(),
            Some("generator.late.p99 in kill is 7.20 ms, not at most 5 ms")
        );
    }

    #[test]
    fn a_claim_without_a_phase_is_about_the_one_of_the_fault() {
        let mut lab = Lab::new(&["on"], 1);
        let outage = |phase: &str, value| Value::new("failover.write_outage", value).phase(phase);
        lab.ok("on", 1, &[outage("steady", 5.0), outage("kill", 0.5)]);
        let outage = verdicts(&lab.record()).pop().unwrap();
        let claim = "commit=on: failover.write_outage in kill at most 1 s in the median";
        assert_eq!(outage, (claim.to_owned(), Verdict::Held));
    }
}
