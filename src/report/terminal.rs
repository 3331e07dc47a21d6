//! The summary on the terminal: the question, the answer, what it rests on, and how to doubt it.

use super::figures::Figure;
use super::humane::{list, number, percent, range};
use super::judge::{Verdict, in_phase, in_words};
use super::table::{Row, paragraph, table, width};
use super::{NotCounted, Summary, VariantSummary};
use crate::base::units::counted;
use std::collections::BTreeSet;
use std::fmt::Write;

/// The summary as plain text, at most a hundred columns wide.
pub fn terminal(summary: &Summary) -> String {
    let mut out = String::new();
    let trials: usize = summary.variants.iter().map(|variant| variant.planned).sum();
    let (trials, variants) = (counted(trials, "trial"), counted(summary.variants.len(), "variant"));
    let of = format!("{}: {trials} of {variants}, PostgreSQL {}", summary.scenario, summary.server);
    out += &paragraph("", &of);
    out += &paragraph("", &summary.machine);
    for load in &summary.loads {
        out += &paragraph("", load);
    }
    for clones in &summary.clones {
        out += &paragraph("", clones);
    }
    out.push('\n');
    out += &paragraph("", &summary.question);
    out.push('\n');
    let names = summary.variants.iter().map(|variant| width(&variant.variant)).max().unwrap_or(0);
    for variant in &summary.variants {
        out += &paragraph(&format!("  {:names$}  ", variant.variant), &variant.answer);
    }
    if let Some(stopped) = &summary.stopped {
        out += &paragraph("  ", stopped);
    }
    out.push('\n');
    let heads: Vec<&str> = summary.variants.iter().map(|variant| variant.variant.as_str()).collect();
    out += &table(&heads, &rows(summary));
    out.push('\n');
    out += "medians; in parentheses the interval that holds the median with the probability called coverage;\n";
    out += "in brackets, where it is not known in all trials that count, in how many it is\n";
    if !summary.sweep.is_empty() {
        out.push('\n');
        out += &super::sweep::terminal(&summary.sweep);
    }
    claims(&mut out, summary);
    if !summary.not_counted.is_empty() {
        out += "\nnot counted\n";
        for trial in &summary.not_counted {
            not_counted(&mut out, trial);
        }
    }
    out.push('\n');
    for caveat in &summary.caveats {
        out += &paragraph("note: ", caveat);
    }
    for line in &summary.points {
        out += &paragraph("points: ", line);
    }
    // Not folded: it is there to be copied.
    let _ = writeln!(out, "record: {}", summary.dir.display());
    out
}

/// Lines of a reason after its first that are shown.
const REASON_LINES: usize = 12;

/// The first line of the reason is prose; what follows it (the tail of a log, a hint) stands as it was.
fn not_counted(out: &mut String, trial: &NotCounted) {
    let reason = trial.reason.as_deref().unwrap_or_default();
    let mut lines = reason.lines();
    let why = lines.next().map_or_else(String::new, |line| format!(": {line}"));
    let first = format!("  {} trial {}: ", trial.variant, trial.trial);
    *out += &paragraph(&first, &format!("{}{why}", trial.status.name()));
    for line in lines.by_ref().take(REASON_LINES) {
        let _ = writeln!(out, "{}", format!("      {line}").trim_end());
    }
    if lines.next().is_some() {
        *out += "      … see trials.csv\n";
    }
}

fn claims(out: &mut String, summary: &Summary) {
    if summary.claims.is_empty() {
        return;
    }
    *out += "\nclaims\n";
    for judged in &summary.claims {
        let metric = judged.metric.as_str();
        let (verdict, why) = match &judged.verdict {
            Verdict::Held => ("held   ", String::new()),
            Verdict::Unknown { why } => ("unknown", format!(": {why}")),
            Verdict::Failed { trials, median } => {
                let median = median.map(|median| in_words(metric, median));
                let trials = trials.iter().map(|v| format!("{} in trial {}", in_words(metric, v.value), v.trial));
                ("FAILED ", format!(": {}", median.into_iter().chain(trials).collect::<Vec<_>>().join(", ")))
            }
        };
        *out += &paragraph(&format!("  {verdict}  "), &format!("{}: {}{why}", judged.variant, judged.claim));
    }
}

/// The rows of the table; one that no variant has a number for is left out, unless it is the answer.
pub(super) fn rows(summary: &Summary) -> Vec<Row> {
    let variants = &summary.variants;
    let coverage = row("coverage", variants, |v| {
        let coverages = v.figures.iter().filter(|f| f.trials == v.ok).filter_map(|f| f.interval);
        coverages.map(|interval| percent(interval.coverage)).next()
    });
    let mut rows = vec![row("trials", variants, |v| Some(counts(v)))];
    rows.extend(Some(coverage).filter(known));
    rows.extend(summary.answered.iter().map(|metric| unnamed(metric, metric, variants)));
    rows.extend(context(summary).into_iter().filter(known));
    rows
}

/// The rows below the answer's.
fn context(summary: &Summary) -> Vec<Row> {
    let variants = &summary.variants;
    let answered = |metric: &str| summary.answered.iter().any(|answered| answered == metric);
    let outage = OUTAGE.iter().filter(|(_, metric)| !answered(metric));
    let mut rows: Vec<Row> = outage.map(|(label, metric)| unnamed(label, metric, variants)).collect();
    for (label, metrics) in LEDGER {
        rows.push(row(label, variants, |v| v.several(metrics, None, None)));
    }
    rows.extend(super::clones::rows(variants));
    let subjects = |metric: &str| -> BTreeSet<String> {
        let figures = variants.iter().flat_map(|v| &v.figures).filter(|figure| figure.metric == metric);
        figures.filter_map(|figure| figure.subject.clone()).filter(|subject| !subject.contains('/')).collect()
    };
    for target in subjects("lag.visible.upper.p50") {
        for quantile in ["p50", "p99"] {
            let bound = |which: &str| format!("lag.visible.{which}.{quantile}");
            rows.push(row(&format!("lag {target} {quantile}, bounds"), variants, |v| {
                let lower = v.figure(&bound("lower"), None, Some(&target))?;
                let upper = v.figure(&bound("upper"), None, Some(&target))?;
                Some(range(&upper.unit, lower.median, upper.median))
            }));
        }
    }
    let with_failures = variants.iter().flat_map(|v| &v.figures).any(|f| FAILURES.contains(&&*f.metric) && f.max > 0.0);
    for (load, phase) in subjects("load.tps").iter().flat_map(|load| summary.phases.iter().map(move |p| (load, p))) {
        let at = |what: &str| format!("{load} {phase}: {what}");
        let of = (Some(phase.as_str()), Some(load.as_str()));
        rows.push(row(&at("tps"), variants, |v| v.figure("load.tps", of.0, of.1).map(|f| cell(v, f))));
        rows.extend(steady(&at, variants, of));
        let quantiles = ["load.response.p50", "load.response.p99"];
        rows.push(row(&at("p50 / p99"), variants, |v| v.several(&quantiles, of.0, of.1)));
        if with_failures {
            rows.push(row(&at("errors / unfinished"), variants, |v| v.several_at_most(&FAILURES, of.0, of.1)));
        }
    }
    rows.extend(APPARATUS.iter().map(|(label, metric)| unnamed(label, metric, variants)));
    rows
}

/// What was cut as warm-up, and the throughput of the rest, where that is less than the whole.
fn steady(
    at: &dyn Fn(&str) -> String,
    variants: &[VariantSummary],
    (phase, load): (Option<&str>, Option<&str>),
) -> Vec<Row> {
    let cut = variants.iter().filter_map(|v| v.figure("load.warm_up", phase, load)).any(|figure| figure.max > 0.0);
    let of = |(label, metric): &(&str, &str)| {
        row(&at(label), variants, |v| v.figure(metric, phase, load).map(|figure| cell(v, figure)))
    };
    let rows = [("warm-up cut", "load.warm_up"), ("tps after it", "load.steady.tps")];
    rows.iter().filter(|_| cut).map(of).collect()
}

const OUTAGE: [(&str, &str); 6] = [
    ("failover.detect", "failover.detect"),
    ("failover.elect", "failover.elect"),
    ("failover.fence", "failover.fence"),
    ("failover.promote", "failover.promote"),
    ("last standby streaming", "standby.streaming"),
    ("throughput back", "load.recovered"),
];

/// What good latencies must not be shown without: transactions that have none.
const FAILURES: [&str; 2] = ["load.errors", "load.unfinished"];

const APPARATUS: [(&str, &str); 3] = [
    ("generator late p99", "generator.late.p99"),
    ("generator CPU", "generator.cpu"),
    ("sampler missed, worst node", "sampler.missed"),
];

const LEDGER: [(&str, &[&str]); 5] = [
    ("ledger: sent / acked", &["ledger.attempted", "ledger.acked"]),
    ("  failed / unknown / weak", &["ledger.failed", "ledger.unknown", "ledger.weak_ok"]),
    ("  lost / recovered", &["ledger.acked_lost", "ledger.recovered"]),
    ("  lost after the fence", &["ledger.lost_after_fence"]),
    ("  unexpected / twice / holes", &["ledger.unexpected", "ledger.duplicates", "ledger.holes"]),
];

/// What stands where a number is not known.
const UNKNOWN: &str = "not known";

pub(super) fn row(label: &str, variants: &[VariantSummary], cell: impl Fn(&VariantSummary) -> Option<String>) -> Row {
    let cells = variants.iter().map(|variant| cell(variant).unwrap_or_else(|| UNKNOWN.into())).collect();
    Row { label: label.into(), cells }
}

fn known(row: &Row) -> bool {
    row.cells.iter().any(|cell| cell != UNKNOWN)
}

/// The row of a metric for which no phase is named; which one it is stands in the label, or in the cells where
/// variants differ in it.
fn unnamed(label: &str, metric: &str, variants: &[VariantSummary]) -> Row {
    let phases: BTreeSet<_> = variants.iter().filter_map(|v| v.unnamed(metric)).map(|f| f.phase.as_deref()).collect();
    let common = (phases.len() == 1).then(|| phases.iter().copied().flatten().next()).flatten();
    row(&format!("{label}{}", in_phase(common)), variants, |v| {
        let figure = v.unnamed(metric)?;
        let phase = figure.phase.as_deref().filter(|_| common.is_none());
        Some(cell(v, figure) + &in_phase(phase))
    })
}

fn counts(variant: &VariantSummary) -> String {
    let mut text = format!("{} ok", variant.ok);
    let missing = variant.planned.saturating_sub(variant.ok + variant.invalid + variant.failed);
    for (count, what) in [(variant.invalid, "invalid"), (variant.failed, "failed"), (missing, "not run")] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

pub(super) fn cell(variant: &VariantSummary, figure: &Figure) -> String {
    let median = number(&figure.unit, figure.median);
    let interval = figure.interval.filter(|interval| interval.low < interval.high);
    let interval = interval.map(|interval| format!(" ({})", range(&figure.unit, interval.low, interval.high)));
    median + &interval.unwrap_or_default() + &known_in(variant, figure.trials)
}

/// Says so when a number is not of all trials that count.
fn known_in(variant: &VariantSummary, trials: usize) -> String {
    if trials < variant.ok { format!(" [{trials} of {}]", variant.ok) } else { String::new() }
}

impl VariantSummary {
    pub(super) fn figure(&self, metric: &str, phase: Option<&str>, subject: Option<&str>) -> Option<&Figure> {
        self.figures.iter().find(|figure| {
            figure.metric == metric && figure.phase.as_deref() == phase && figure.subject.as_deref() == subject
        })
    }

    /// The figure that `metric` means where no phase is named.
    fn unnamed(&self, metric: &str) -> Option<&Figure> {
        if self.figures.iter().any(|figure| figure.metric == metric && figure.phase.is_some()) {
            return self.figure(metric, self.phase.as_deref(), None);
        }
        self.figure(metric, None, None)
    }

    /// As [`Self::several`], and the greatest values where they are above the medians.
    fn several_at_most(&self, metrics: &[&str], phase: Option<&str>, subject: Option<&str>) -> Option<String> {
        let medians = self.several(metrics, phase, subject)?;
        let figures: Vec<_> = metrics.iter().map(|metric| self.figure(metric, phase, subject)).collect();
        let known = || figures.iter().copied().flatten();
        if known().all(|figure| figure.max <= figure.median) {
            return Some(medians);
        }
        let most: Vec<_> = figures.iter().map(|figure| figure.map(|figure| figure.max)).collect();
        Some(format!("{medians} (at most {})", list(&known().next()?.unit, &most)))
    }

    /// Medians of several metrics of one unit; nothing when none of them is known.
    pub(super) fn several(&self, metrics: &[&str], phase: Option<&str>, subject: Option<&str>) -> Option<String> {
        let figures: Vec<_> = metrics.iter().map(|metric| self.figure(metric, phase, subject)).collect();
        let known = || figures.iter().copied().flatten();
        let (unit, trials) = (&known().next()?.unit, known().map(|figure| figure.trials).min()?);
        let medians: Vec<_> = figures.iter().map(|figure| figure.map(|figure| figure.median)).collect();
        Some(list(unit, &medians) + &known_in(self, trials))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Lab, record};
    use super::super::{summarize, table::WIDTH};
    use super::*;

    #[test]
    fn a_summary() {
        let text = terminal(&summarize(&record()));
        assert!(text.lines().all(|line| width(line) <= WIDTH), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn numbers_of_some_trials_say_so() {
        use crate::metric::Value;
        let mut lab = Lab::new(&["on"], 2);
        lab.ok("on", 1, &[Value::new("failover.write_outage", 0.5), Value::new("ledger.acked", 7.0)]);
        lab.ok("on", 2, &[]);
        let text = terminal(&summarize(&lab.record()));
        for line in [
            "ledger.acked_lost      not known",
            "failover.write_outage  500 ms [1 of 2]",
            "ledger: sent / acked   ? / 7 [1 of 2]",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("lost / recovered"), "{text}");
    }

    #[test]
    fn failures_of_a_single_trial_are_shown() {
        use crate::metric::Value;
        let mut lab = Lab::new(&["on"], 3);
        let of = |metric, value| Value::new(metric, value).phase("kill").subject("app");
        for trial in 1..=3 {
            let errors = of("load.errors", if trial == 2 { 5.0 } else { 0.0 });
            lab.ok("on", trial, &[of("load.tps", 500.0), errors, of("load.unfinished", 0.0)]);
        }
        let text = terminal(&summarize(&lab.record()));
        assert!(text.contains("app kill: errors / unfinished  0 / 0 (at most 5 / 0)\n"), "{text}");
    }

    #[test]
    fn the_phase_that_is_meant_is_said() {
        use crate::metric::Value;
        let mut lab = Lab::new(&["on"], 1);
        let outage = |phase: &str, value| Value::new("failover.write_outage", value).phase(phase);
        lab.ok("on", 1, &[outage("steady", 5.0), outage("kill", 0.5)]);
        let text = terminal(&summarize(&lab.record()));
        assert!(text.contains("failover.write_outage in kill  500 ms\n"), "{text}");
    }

    #[test]
    fn the_tail_of_a_log_stands_as_it_was() {
        let mut lab = Lab::new(&["on"], 1);
        let log: String = (1..=20).map(|i| format!("LOG:   line {i}\n")).collect();
        lab.ended("on", 1, crate::record::Status::Failed, Some(&format!("the server died\n{log}")), &[]);
        let text = terminal(&summarize(&lab.record()));
        assert!(text.contains("  commit=on trial 1: failed: the server died\n      LOG:   line 1\n"), "{text}");
        assert!(text.contains("      LOG:   line 12\n      … see trials.csv\n"), "{text}");
    }

    #[test]
    fn a_summary_of_nothing() {
        insta::assert_snapshot!(terminal(&summarize(&Lab::new(&["on"], 2).record())));
    }
}
