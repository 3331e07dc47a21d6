//! Tables of numbers: verdicts, claims, and everything else that was measured.

use super::super::compare::{Comparison, Row, factor, remark};
use super::super::humane::{number, percent};
use super::super::judge::{Judged, Verdict as Claimed, in_phase, in_words};
use super::super::statistics::verdict::Verdict;
use super::super::{Summary, terminal::rows};
use super::{escape, table};

/// The verdicts of comparisons, with what must be said beside them.
pub(super) fn verdicts(comparisons: &[Comparison]) -> String {
    let blocks = comparisons.iter().map(|comparison| {
        let (a, b) = (&comparison.a, &comparison.b);
        let title = if comparison.interleaved {
            format!("{} <span class=\"against\">against</span> {}", escape(&b.variant), escape(&a.variant))
        } else {
            format!(
                "{}: {} <span class=\"against\">against</span> {}",
                escape(&b.variant),
                escape(&b.run_id),
                escape(&a.run_id)
            )
        };
        let rows: Vec<_> = comparison.verdicts.iter().map(|row| verdict(row, comparison.margin)).collect();
        let heads = ["metric", "A", "B", "B / A (95 %)", "verdict", "what that leaves open"].map(ToOwned::to_owned);
        let differences: String = comparison
            .differences
            .iter()
            .map(|d| format!("<li><b>{}</b>: {} in A, {} in B</li>", escape(&d.what), escape(&d.a), escape(&d.b)))
            .collect();
        let differences = match comparison.differences.len() {
            0 => String::new(),
            n => format!("<details><summary>{n} differences besides</summary><ul>{differences}</ul></details>"),
        };
        format!("<h3>{title}</h3>\n{}{differences}", table("verdicts", &heads, &rows))
    });
    let blocks: String = blocks.collect();
    let margin = comparisons.first().map_or(0.0, |comparison| comparison.margin);
    let order = if comparisons.iter().all(|comparison| comparison.interleaved) {
        "Trials of all variants were interleaved and are compared within their rounds."
    } else {
        "The runs were not interleaved: whatever changed on the machine between them is in the ratio, and not in its interval."
    };
    format!(
        "{blocks}<p class=\"note\">A and B: medians, [trials]. B / A: ratio of geometric means, with the interval that \
         holds it with 95 % (Student's <i>t</i> on logarithms). <b>Same</b>: the whole interval lies within {} either \
         way; <b>better</b>, <b>worse</b>: the whole of it lies beyond. {order}</p>",
        percent(margin)
    )
}

fn verdict(row: &Row, margin: f64) -> (String, Vec<String>) {
    let side = |value: Option<f64>, trials: usize| match value {
        Some(value) => format!("{} <small>[{trials}]</small>", escape(&number(&row.unit, value))),
        None => "not known".to_owned(),
    };
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
    let open = remark(row, margin).map_or_else(String::new, |remark| escape(&remark));
    let label = format!("{}{}", escape(&row.metric), escape(&in_phase(row.phase.as_deref())));
    (label, vec![side(row.a, row.a_trials), side(row.b, row.b_trials), ratio, badge, open])
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
