//! What each axis of a sweep does: a table for each metric of the answer, in which every variant has its median and, for
//! each axis, how many times as much it comes to as the variant that differs from it in that axis alone, which is at the
//! axis's first level. Nothing else differs between the two, and their trials were interleaved.

use super::compare::{Wanted, factor, variants};
use super::figures::{by_number, phase_of};
use super::humane::{number, range};
use super::judge::in_phase;
use super::statistics::verdict::Verdict;
use super::statistics::{Interval, Ratio, median, median_interval};
use super::table::{Row as Line, paragraph, table};
use crate::metric::catalogue;
use crate::record::Record;
use crate::record::outline::Variant;
use serde::Serialize;

/// What counts as no difference: five per cent either way.
const MARGIN: f64 = 0.05;

/// A metric over all variants.
#[derive(Clone, Debug, Serialize)]
pub struct Swept {
    /// Its name.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// The phase that is meant; absent: the whole trial.
    pub phase: Option<String>,
    /// The axes.
    pub axes: Vec<String>,
    /// The variants, in the plan's order.
    pub variants: Vec<Row>,
}

/// A variant.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub variant: String,
    /// Trials in which the metric is known.
    pub trials: usize,
    /// The median of these.
    pub median: Option<f64>,
    /// The interval of the median; absent of fewer than two trials.
    pub interval: Option<Interval>,
    /// What it is beside its baseline, by axis.
    pub axes: Vec<Beside>,
}

/// A variant beside its baseline on one axis.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Beside {
    /// It is at the axis's first level itself.
    Baseline,
    /// No trial has the axis's first level and all else alike.
    Alone,
    /// There is one.
    Compared {
        /// Its name.
        baseline: String,
        /// This one over the baseline, of geometric means; absent where there is none.
        ratio: Option<Ratio>,
        /// What that entitles to say.
        verdict: Verdict,
        /// Why it cannot be told.
        why: Option<String>,
    },
}

/// The tables of a record; none of one variant.
pub(super) fn swept(record: &Record) -> Vec<Swept> {
    let plan = &record.plan;
    let Some(first) = plan.variants.first().filter(|_| plan.variants.len() > 1) else { return Vec::new() };
    let axes = || first.levels.iter().map(|(axis, _)| axis.clone()).collect();
    let of = |metric: &String| Swept {
        metric: metric.clone(),
        unit: catalogue::find(metric).map_or("", |metric| metric.unit).to_owned(),
        phase: phase_of(record, &first.name, metric).map(ToOwned::to_owned),
        axes: axes(),
        variants: plan.variants.iter().map(|variant| row(record, variant, metric)).collect(),
    };
    plan.answer.iter().map(of).collect()
}

fn row(record: &Record, variant: &Variant, metric: &str) -> Row {
    let values: Vec<f64> =
        by_number(record, &variant.name, metric).into_iter().filter_map(|(_, value)| value).collect();
    Row {
        variant: variant.name.clone(),
        trials: values.len(),
        median: median(&values),
        interval: median_interval(&values),
        axes: (0..variant.levels.len()).map(|axis| beside(record, variant, axis, metric)).collect(),
    }
}

fn beside(record: &Record, variant: &Variant, axis: usize, metric: &str) -> Beside {
    let all = &record.plan.variants;
    let first = all.first().and_then(|first| first.levels.get(axis));
    if variant.levels.get(axis) == first {
        return Beside::Baseline;
    }
    let alike = |other: &&Variant| {
        let mut levels = other.levels.iter().zip(&variant.levels).enumerate();
        levels.all(|(i, (theirs, ours))| if i == axis { Some(theirs) == first } else { theirs == ours })
    };
    let Some(baseline) = all.iter().find(alike) else { return Beside::Alone };
    let wanted = Wanted { margin: MARGIN, only: vec![metric.to_owned()] };
    let compared = variants(record, &baseline.name, &variant.name, &wanted).verdicts.into_iter().next();
    let Some(compared) = compared else { return Beside::Alone };
    Beside::Compared {
        baseline: baseline.name.clone(),
        ratio: compared.ratio,
        verdict: compared.verdict.unwrap_or(Verdict::CannotTell),
        why: compared.why,
    }
}

/// The tables for the terminal.
pub(super) fn terminal(tables: &[Swept]) -> String {
    let mut out = String::new();
    for swept in tables {
        out += &paragraph("", &format!("{}{}", swept.metric, in_phase(swept.phase.as_deref())));
        let mut heads = vec!["median".to_owned()];
        heads.extend(swept.axes.iter().map(|axis| format!("by {axis}")));
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        out += &table(&heads, &swept.variants.iter().map(|row| line(row, &swept.unit)).collect::<Vec<_>>());
        out.push('\n');
    }
    if !tables.is_empty() {
        out += &paragraph("", LEGEND);
    }
    out
}

const LEGEND: &str = "by an axis: how many times the median of the variant that is alike but for the axis's first level \
                      (ratio of geometric means within rounds, in parentheses what holds it with 95 %, by Student's t \
                      on logarithms), and what that entitles to say beyond 5 % either way";

fn line(row: &Row, unit: &str) -> Line {
    let interval = row.interval.filter(|interval| interval.low < interval.high);
    let interval = interval.map(|interval| format!(" ({})", range(unit, interval.low, interval.high)));
    let median = row.median.map_or_else(|| "not known".into(), |median| number(unit, median));
    let cells = [median + &interval.unwrap_or_default()];
    Line { label: row.variant.clone(), cells: cells.into_iter().chain(row.axes.iter().map(Beside::words)).collect() }
}

impl Beside {
    fn words(&self) -> String {
        match self {
            Beside::Baseline => "baseline".into(),
            Beside::Alone => "no baseline".into(),
            Beside::Compared { ratio: None, verdict, .. } => verdict.name().into(),
            Beside::Compared { ratio: Some(ratio), verdict, .. } => {
                let [times, low, high] = [ratio.estimate, ratio.low, ratio.high].map(factor);
                format!("×{times} ({low}–{high}) {}", verdict.name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Lab;
    use super::*;
    use crate::metric::Value;

    /// Detection in three rounds: 100 ms, a tenth more or less, and with `on` so many times as much.
    fn record(times: f64, trials: u32) -> Record {
        let mut lab = Lab::new(&["off", "on"], trials);
        for trial in 1..=trials {
            let round = 0.1 * (1.0 + f64::from(trial) / 10.0);
            let jitter = 1.0 + f64::from(trial % 2) / 100.0;
            lab.ok("off", trial, &[Value::new("failover.write_outage", round), Value::new("ledger.acked_lost", 0.0)]);
            let on = round * times * jitter;
            lab.ok("on", trial, &[Value::new("failover.write_outage", on), Value::new("ledger.acked_lost", 0.0)]);
        }
        lab.record()
    }

    fn outage(record: &Record) -> Swept {
        swept(record).into_iter().find(|swept| swept.metric == "failover.write_outage").expect("it is in the answer")
    }

    #[test]
    fn a_variant_stands_beside_the_first_level() {
        let swept = outage(&record(2.0, 5));
        assert_eq!(swept.axes, ["commit"]);
        assert!(matches!(swept.variants[0].axes[..], [Beside::Baseline]), "{swept:?}");
        let [Beside::Compared { baseline, ratio: Some(ratio), verdict: Verdict::Worse, .. }] =
            &swept.variants[1].axes[..]
        else {
            panic!("{swept:?}")
        };
        assert_eq!(baseline, "commit=off");
        assert!(ratio.low < 2.02 && 2.0 < ratio.high && ratio.low > 1.9, "{ratio:?}");
        let text = terminal(&[swept]);
        assert!(text.contains("commit=off  130 ms (110–150 ms)  baseline\n"), "{text}");
        assert!(text.contains(") WORSE\n"), "{text}");
    }

    #[test]
    fn what_cannot_be_told_is_said_so() {
        let text = terminal(&swept(&record(2.0, 1)));
        assert!(text.contains("commit=on   222 ms  cannot tell\n"), "{text}");
        let near = outage(&record(1.045, 5));
        assert!(terminal(&[near]).contains("cannot tell"), "within the noise of the margin");
        let same = outage(&record(1.001, 5));
        assert!(terminal(&[same]).contains(") same\n"));
    }

    #[test]
    fn one_variant_has_nothing_beside_it() {
        assert!(swept(&Lab::new(&["on"], 3).record()).is_empty());
    }
}
