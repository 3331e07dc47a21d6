//! Tables of numbers: verdicts, claims, and everything else that was measured.

use super::super::compare::{Comparison, Row, factor, remark};
use super::super::humane::{number, percent};
use super::super::judge::{Judged, Verdict as Claimed, in_phase, in_words};
use super::super::statistics::verdict::Verdict;
use super::super::{Summary, terminal::rows};
use super::{escape, table};

/// The verdicts of comparisons, with what must be said beside them. Of one run: a table for each metric, in which every
/// variant stands against the same one. Of two: a table for each variant that both have.
pub(super) fn verdicts(comparisons: &[Comparison]) -> String {
    let Some(first) = comparisons.first() else { return String::new() };
    let (tables, order) = if first.interleaved {
        let order = "Trials of all variants were interleaved and are compared within their rounds.";
        (by_metric(comparisons), order)
    } else {
        let order = "The runs were not interleaved: whatever changed on the machine between them is in the ratio, and \
                     not in its interval.";
        (by_variant(comparisons), order)
    };
    format!(
        "{tables}<p class=\"note\">A and B: medians, [trials]. B / A: ratio of geometric means, with the interval that \
         holds it with 95 % (Student's <i>t</i> on logarithms). <b>Same</b>: the whole interval lies within {} either \
         way; <b>better</b>, <b>worse</b>: the whole of it lies beyond. {order}</p>",
        percent(first.margin)
    )
}

const HEADS: [&str; 3] = ["B / A (95 %)", "verdict", "what that leaves open"];

fn by_metric(comparisons: &[Comparison]) -> String {
    let metrics = comparisons[0].verdicts.iter().enumerate();
    let tables = metrics.map(|(i, metric)| {
        let of_a = side("A", &metric.unit, metric.a, metric.a_trials);
        let baseline = (escape(&comparisons[0].a.variant), vec![of_a, String::new(), String::new(), String::new()]);
        let rows = comparisons.iter().map(|comparison| {
            let row = &comparison.verdicts[i];
            let mut cells = vec![side("B", &row.unit, row.b, row.b_trials)];
            cells.extend(verdict(row, comparison.margin));
            (escape(&comparison.b.variant), cells)
        });
        let rows: Vec<_> = std::iter::once(baseline).chain(rows).collect();
        let heads: Vec<String> = ["variant; A first", "median"].into_iter().chain(HEADS).map(Into::into).collect();
        format!("<h3>{}</h3>\n{}", name(metric), table("verdicts", &heads, &rows))
    });
    tables.collect()
}

fn by_variant(comparisons: &[Comparison]) -> String {
    let tables = comparisons.iter().map(|comparison| {
        let (a, b) = (&comparison.a, &comparison.b);
        let rows = comparison.verdicts.iter().map(|row| {
            let mut cells = vec![side("A", &row.unit, row.a, row.a_trials), side("B", &row.unit, row.b, row.b_trials)];
            cells.extend(verdict(row, comparison.margin));
            (name(row), cells)
        });
        let heads: Vec<String> = ["metric", "A", "B"].into_iter().chain(HEADS).map(Into::into).collect();
        let [variant, from, to] = [&b.variant, &a.run_id, &b.run_id].map(|text| escape(text));
        let title = format!("<h3>{variant}: {to} <span class=\"against\">against</span> {from}</h3>");
        format!("{title}\n{}{}", table("verdicts", &heads, &rows.collect::<Vec<_>>()), differences(comparison))
    });
    tables.collect()
}

fn differences(comparison: &Comparison) -> String {
    let items: String = comparison
        .differences
        .iter()
        .map(|d| format!("<li><b>{}</b>: {} in A, {} in B</li>", escape(&d.what), escape(&d.a), escape(&d.b)))
        .collect();
    match comparison.differences.len() {
        0 => String::new(),
        n => format!("<details><summary>{n} differences besides</summary><ul>{items}</ul></details>"),
    }
}

fn name(row: &Row) -> String {
    format!("{}{}", escape(&row.metric), escape(&in_phase(row.phase.as_deref())))
}

fn side(of: &str, unit: &str, value: Option<f64>, trials: usize) -> String {
    match value {
        Some(value) => {
            format!("<span class=\"of\">{of} </span>{} <small>[{trials}]</small>", escape(&number(unit, value)))
        }
        None => format!("<span class=\"of\">{of} </span>not known"),
    }
}

/// Ratio, verdict, and what must be said besides.
fn verdict(row: &Row, margin: f64) -> [String; 3] {
    let ratio = match (row.ratio, row.happened) {
        (Some(ratio), _) => format!(
            "{} <small>({}–{})</small>{}",
            factor(ratio.estimate),
            factor(ratio.low),
            factor(ratio.high),
            whisker(ratio.low, ratio.estimate, ratio.high, margin)
        ),
        (None, Some((a, b))) => format!("in {a} of {} / {b} of {} trials", row.a_trials, row.b_trials),
        (None, None) => "none".to_owned(),
    };
    let (class, name) = match row.verdict {
        Some(Verdict::Better) => ("better", "▲ better"),
        Some(Verdict::Worse) => ("worse", "▼ worse"),
        Some(Verdict::Same) => ("same", "= same"),
        Some(Verdict::Differs) => ("unknown", "≠ differs"),
        Some(Verdict::CannotTell) | None => ("unknown", "? cannot tell"),
    };
    let badge = format!("<span class=\"badge {class}\">{name}</span>");
    [ratio, badge, remark(row, margin).map_or_else(String::new, |remark| escape(&remark))]
}

/// The interval drawn: a line from half to double, the margin shaded, out of which an arrow says that it goes on.
fn whisker(low: f64, estimate: f64, high: f64, margin: f64) -> String {
    let at = |factor: f64| (50.0 + 50.0 * factor.log2()).clamp(0.0, 100.0);
    let (left, right) = (at(low), at(high));
    let zone = at(1.0 + margin) - 50.0;
    format!(
        "<span class=\"whisker\" aria-hidden=\"true\" title=\"from ×½ to ×2\"><i class=\"zone\" style=\"left:{:.1}%;width:{:.1}%\"></i>\
         <i class=\"line\" style=\"left:{left:.1}%;width:{:.1}%\"></i><i class=\"dot\" style=\"left:{:.1}%\"></i></span>",
        50.0 - zone,
        2.0 * zone,
        (right - left).max(0.8),
        at(estimate)
    )
}

/// Claims and whether they held.
pub(super) fn claims(claims: &[Judged]) -> String {
    if claims.is_empty() {
        return String::new();
    }
    let items = claims.iter().map(|judged| {
        let (class, word, why) = match &judged.verdict {
            Claimed::Held => ("better", "✓ held", String::new()),
            Claimed::Unknown { why } => ("unknown", "? unknown", format!(": {why}")),
            Claimed::Failed { trials, median } => {
                let median = median.map(|median| in_words(&judged.metric, median));
                let trials =
                    trials.iter().map(|v| format!("{} in trial {}", in_words(&judged.metric, v.value), v.trial));
                let why: Vec<String> = median.into_iter().chain(trials).collect();
                ("worse", "✗ failed", format!(": {}", why.join(", ")))
            }
        };
        let (variant, claim) = (escape(&judged.variant), escape(&judged.claim));
        format!("<li><span class=\"badge {class}\">{word}</span> <b>{variant}</b>: {claim}{}</li>\n", escape(&why))
    });
    format!("<h3>Claims</h3>\n<ul class=\"claims\">\n{}</ul>\n", items.collect::<String>())
}

/// What the terminal shows of every variant.
fn table_of(summary: &Summary) -> Vec<(String, Vec<String>)> {
    let lines = rows(summary).into_iter().map(|row| {
        let indented = row.label.starts_with(' ');
        let label = escape(row.label.trim());
        let label = if indented { format!("<span class=\"below\">{label}</span>") } else { label };
        (label, row.cells.iter().map(|cell| escape(cell)).collect())
    });
    lines.collect()
}

/// The same as a table.
pub(super) fn all(summary: &Summary) -> String {
    let names = summary.variants.iter().map(|variant| escape(&variant.variant));
    let heads: Vec<String> = std::iter::once("figure".to_owned()).chain(names).collect();
    table("figures", &heads, &table_of(summary))
        + "<p class=\"note\">Medians over the trials that count; in parentheses the interval that holds the median with \
           the probability called coverage; in brackets, where it is not known in all of these trials, in how many it \
           is.</p>"
}
