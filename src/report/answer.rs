//! The answer in a sentence: the scenario's `answer` metrics of a variant, with how sure they are.

use super::figures::{by_trial, is_harm, phase_of};
use super::humane::{number, percent, range};
use super::judge::in_phase;
use super::statistics::{median, median_interval, zero_upper_bound};
use crate::metric::catalogue;
use crate::record::Record;

/// A variant's part of the answer.
pub(super) fn sentence(record: &Record, variant: &str) -> String {
    let metrics = &record.plan.answer;
    if !metrics.is_empty() && by_trial(record, variant, &metrics[0]).is_empty() {
        return "cannot tell: no valid trial".into();
    }
    let parts: Vec<String> = metrics.iter().map(|metric| part(record, variant, metric)).collect();
    parts.join(", ")
}

fn part(record: &Record, variant: &str, metric: &str) -> String {
    let by_trial = by_trial(record, variant, metric);
    let values: Vec<f64> = by_trial.iter().copied().flatten().collect();
    let phase = in_phase(phase_of(record, variant, metric));
    let mut text = match is_harm(metric) {
        _ if values.is_empty() => format!("{metric}{phase} is not known"),
        true => harm(metric, &phase, &values),
        false => typical(metric, &phase, &values),
    };
    let unknown = by_trial.len() - values.len();
    if unknown > 0 && !values.is_empty() {
        text += &format!(" (not known in {unknown} of {})", trials(by_trial.len()));
    }
    if metric == "failover.write_outage" && unknown > 0 {
        text += &never_back(record, variant);
    }
    text
}

/// An outage without end has no length; what is known is how long it lasted at least.
fn never_back(record: &Record, variant: &str) -> String {
    let at_least = by_trial(record, variant, "failover.write_outage_at_least");
    let at_least: Vec<f64> = at_least.into_iter().flatten().collect();
    let Some(least) = at_least.iter().copied().min_by(f64::total_cmp) else { return String::new() };
    format!(", writes not back after at least {} in {}", number("s", least), trials(at_least.len()))
}

/// `phase` is ` in kill`, or nothing.
fn harm(metric: &str, phase: &str, values: &[f64]) -> String {
    let n = values.len();
    let mut harmed: Vec<f64> = values.iter().copied().filter(|value| *value > 0.0).collect();
    harmed.sort_by(f64::total_cmp);
    let what = match metric {
        "ledger.acked_lost" => "acknowledged writes",
        "ledger.weak_lost" => "weakly acknowledged writes",
        _ => "",
    };
    let (Some(low), Some(high)) = (harmed.first(), harmed.last()) else {
        let bound = zero_upper_bound(n).map_or_else(String::new, percent);
        let none = if what.is_empty() { format!("{metric} is 0{phase}") } else { format!("no {what} lost{phase}") };
        return format!("{none} in {n} of {} (at 95 %: in at most {bound} of trials)", trials(n));
    };
    let count = range("count", *low, *high);
    let some =
        if what.is_empty() { format!("{metric} is {count}{phase}") } else { format!("lost {count} {what}{phase}") };
    format!("{some} in {} of {}", harmed.len(), trials(n))
}

fn typical(metric: &str, phase: &str, values: &[f64]) -> String {
    let unit = catalogue::find(metric).map_or("", |declared| declared.unit);
    let Some(median) = median(values) else { return format!("{metric} is not known") };
    let amount = number(unit, median);
    let what = match metric {
        "failover.write_outage" => format!("writes stop for {amount}"),
        "switchover.duration" => format!("a switchover takes {amount}"),
        _ => format!("{metric} is {amount}"),
    };
    match median_interval(values) {
        Some(interval) => format!(
            "{what}{phase} (median of {}; {} holds it with {})",
            trials(values.len()),
            range(unit, interval.low, interval.high),
            percent(interval.coverage)
        ),
        None => format!("{what}{phase} (one trial)"),
    }
}

fn trials(n: usize) -> String {
    if n == 1 { "1 trial".into() } else { format!("{n} trials") }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Lab, record};
    use super::*;
    use crate::metric::Value;

    #[test]
    fn losses_are_told_by_trials() {
        let record = record();
        assert_eq!(
            sentence(&record, "commit=off"),
            "writes stop for 530 ms (median of 5 trials; 510–550 ms holds it with 93.8 %), \
             lost 12–60 acknowledged writes in 5 of 5 trials"
        );
        assert_eq!(
            sentence(&record, "commit=on"),
            "writes stop for 635 ms (median of 4 trials; 610–650 ms holds it with 87.5 %), \
             no acknowledged writes lost in 4 of 4 trials (at 95 %: in at most 52.7 % of trials)"
        );
    }

    #[test]
    fn the_phase_is_the_one_of_the_fault_and_said() {
        let mut lab = Lab::new(&["on"], 1);
        let outage = |phase: &str, value| Value::new("failover.write_outage", value).phase(phase);
        let lost = |phase: &str, value| Value::new("ledger.acked_lost", value).phase(phase);
        lab.ok("on", 1, &[outage("steady", 5.0), outage("kill", 0.5), lost("steady", 3.0), lost("kill", 0.0)]);
        assert_eq!(
            sentence(&lab.record(), "commit=on"),
            "writes stop for 500 ms in kill (one trial), no acknowledged writes lost in kill in 1 of 1 trial \
             (at 95 %: in at most 95 % of trials)"
        );
    }

    #[test]
    fn what_is_not_known_is_said() {
        assert_eq!(sentence(&Lab::new(&["on"], 2).record(), "commit=on"), "cannot tell: no valid trial");
        let mut lab = Lab::new(&["on"], 2);
        lab.ok("on", 1, &[Value::new("failover.write_outage", 0.5)]);
        lab.ok("on", 2, &[Value::new("failover.write_outage_at_least", 6.0)]);
        assert_eq!(
            sentence(&lab.record(), "commit=on"),
            "writes stop for 500 ms (one trial) (not known in 1 of 2 trials), \
             writes not back after at least 6 s in 1 trial, ledger.acked_lost is not known"
        );
    }
}
