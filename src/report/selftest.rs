//! What a machine makes of two variants that are alike: how often it calls them different, and what it would not see.

use super::figures::by_number;
use super::humane::{number, percent};
use super::statistics::median;
use super::statistics::ratio::{Ratio, paired};
use super::statistics::same::{exact, false_positives};
use super::table::{Row, paragraph, table};
use crate::metric::catalogue;
use crate::record::Record;
use serde::Serialize;

/// Campaigns that are made of the same trials by drawing rounds and labels anew.
const RE_PAIRINGS: u32 = 1000;

/// Rounds of such a campaign.
const ROUNDS: usize = 5;

/// Numbers of rounds for which the smallest visible difference is told.
const SIZES: [u64; 4] = [3, 5, 10, 30];

/// What a metric came to.
#[derive(Clone, Debug, Serialize)]
pub struct SelfTest {
    /// Its name.
    pub metric: String,
    /// Rounds in which both sides have it.
    pub rounds: usize,
    /// Median over all trials.
    pub median: f64,
    /// Its unit.
    pub unit: String,
    /// Both sides compared over all rounds: holds 1 where nothing is wrong, but for one time in twenty.
    pub ratio: Ratio,
    /// Of 1,000 campaigns of five rounds each, the share whose 95 % interval leaves out 1; should be 0.05. Absent with
    /// fewer than ten rounds.
    pub false_positives: Option<f64>,
    /// Where that share lies, as far as the number of campaigns tells (95 %, Clopper and Pearson). The trials are the
    /// same ones again and again: other trials of this machine may give another share.
    pub false_positives_within: Option<(f64, f64)>,
    /// Rounds, and the smallest difference (a factor) that such a campaign finds in 80 % of cases.
    pub detectable: Vec<(u64, f64)>,
}

/// The metrics of the answer, of the first two variants of `record`; those that have a ratio.
pub fn selftest(record: &Record) -> Vec<SelfTest> {
    let [one, other, ..] = record.plan.variants.as_slice() else { return Vec::new() };
    record.plan.answer.iter().filter_map(|metric| of_metric(record, (&one.name, &other.name), metric)).collect()
}

fn of_metric(record: &Record, (one, other): (&str, &str), metric: &str) -> Option<SelfTest> {
    let other = by_number(record, other, metric);
    let partner = |trial: u32| other.iter().find(|(number, _)| *number == trial).and_then(|(_, value)| *value);
    let pairs: Vec<(f64, f64)> = by_number(record, one, metric)
        .into_iter()
        .filter_map(|(trial, value)| Some((value?, partner(trial)?)))
        .collect();
    let ratio = paired(&pairs)?;
    let trials: Vec<f64> = pairs.iter().flat_map(|(a, b)| [*a, *b]).collect();
    let rate = (pairs.len() >= 2 * ROUNDS).then(|| false_positives(&trials, ROUNDS, RE_PAIRINGS, 1)).flatten();
    let within = |rate: f64| exact((rate * f64::from(RE_PAIRINGS)).round() as u64, u64::from(RE_PAIRINGS));
    Some(SelfTest {
        metric: metric.to_owned(),
        rounds: pairs.len(),
        median: median(&trials)?,
        unit: catalogue::find(metric).map_or("", |metric| metric.unit).to_owned(),
        ratio,
        false_positives: rate,
        false_positives_within: rate.and_then(within),
        detectable: SIZES.iter().filter_map(|n| Some((*n, ratio.detectable_with(*n, 0.0)?))).collect(),
    })
}

/// As plain text.
pub fn terminal(tests: &[SelfTest]) -> String {
    let heads: Vec<&str> = tests.iter().map(|test| test.metric.as_str()).collect();
    let row = |label: &str, cell: &dyn Fn(&SelfTest) -> String| Row {
        label: label.to_owned(),
        cells: tests.iter().map(cell).collect(),
    };
    let mut rows = vec![
        row("median", &|test| number(&test.unit, test.median)),
        row("rounds", &|test| test.rounds.to_string()),
        row("one side over the other (95 %)", &|test| {
            let ratio = test.ratio;
            let finding = if ratio.differs() { "; called different" } else { "" };
            format!("{:.3} ({:.3}–{:.3}){finding}", ratio.estimate, ratio.low, ratio.high)
        }),
        row("called different, 5 rounds", &|test| match (test.false_positives, test.false_positives_within) {
            (Some(rate), Some((low, high))) => format!("{} ({}–{})", percent(rate), percent(low), percent(high)),
            _ => "needs 10 rounds".into(),
        }),
    ];
    for (i, size) in SIZES.iter().enumerate() {
        rows.push(row(&format!("smallest difference seen, {size} rounds"), &|test| {
            test.detectable.get(i).map_or_else(|| "not known".into(), |(_, factor)| percent(factor - 1.0))
        }));
    }
    table(&heads, &rows) + "\n" + &paragraph("", LEGEND)
}

const LEGEND: &str = "Both sides were alike. Of 1,000 campaigns made of these trials, 5 % should call them different. The \
                      smallest difference is the one that a campaign of so many interleaved rounds finds in 80 % of \
                      cases, at this machine's spread and for this load.";

#[cfg(test)]
mod tests {
    use super::super::tests::Lab;
    use super::*;
    use crate::metric::Value;

    #[test]
    fn alike_is_called_alike() {
        let mut lab = Lab::new(&["one", "other"], 20);
        for trial in 1..=20 {
            let noise = |of: u32| 1.0 + 0.01 * f64::from((trial * of * 7919) % 11);
            lab.ok("one", trial, &[Value::new("failover.write_outage", noise(3))]);
            lab.ok("other", trial, &[Value::new("failover.write_outage", noise(5))]);
        }
        let tests = selftest(&lab.record());
        let [test] = tests.as_slice() else { panic!("{tests:?}") };
        assert!(!test.ratio.differs(), "{test:?}");
        let (low, high) = test.false_positives_within.unwrap();
        assert!(low < 0.08 && high > 0.02, "{test:?}");
        assert!(test.detectable.windows(2).all(|two| two[0].1 > two[1].1), "more rounds see more: {test:?}");
        let text = terminal(&tests);
        assert!(text.contains("smallest difference seen, 30 rounds"), "{text}");
    }
}
