//! A comparison as text: for the terminal, and as Markdown for a pull request.

use super::super::humane::{number, percent};
use super::super::judge::in_phase;
use super::super::statistics::verdict::Verdict;
use super::super::table::{Row as Line, paragraph, table};
use super::{Comparison, Row, Side};
use std::fmt::Write;

/// Differences that are shown; the rest is counted.
const DIFFERENCES: usize = 12;

/// Comparisons as plain text, at most a hundred columns wide.
pub fn terminal(comparisons: &[Comparison]) -> String {
    let blocks = comparisons.iter().map(|comparison| {
        let [a, b] = names(comparison);
        let mut out = paragraph("A: ", &a) + &paragraph("B: ", &b);
        for note in notes(comparison) {
            out += &paragraph("note: ", &note);
        }
        out.push('\n');
        let heads = ["A", "B", "B / A (95 %)", "verdict"];
        out += &table(&heads, &comparison.verdicts.iter().map(line).collect::<Vec<_>>());
        for row in &comparison.verdicts {
            if let Some(remark) = remark(row, comparison.margin) {
                out += &paragraph(&format!("  {}: ", row.metric), &remark);
            }
        }
        if !comparison.context.is_empty() {
            out += "\ncontext, on which nothing is judged\n";
            out += &table(&heads[..3], &comparison.context.iter().map(line).collect::<Vec<_>>());
        }
        out
    });
    blocks.collect::<Vec<_>>().join("\n") + "\n" + &paragraph("", LEGEND)
}

/// The same as Markdown.
pub fn markdown(comparisons: &[Comparison]) -> String {
    let mut out = String::new();
    for comparison in comparisons {
        let [a, b] = names(comparison);
        let _ = writeln!(out, "**{}** against **{}**\n", escape(&b), escape(&a));
        let _ = writeln!(out, "| metric | A | B | B / A (95 %) | verdict |\n|---|--:|--:|--:|---|");
        for row in &comparison.verdicts {
            let line = line(row);
            let cells: Vec<String> = line.cells.iter().map(|cell| escape(cell)).collect();
            let _ = writeln!(out, "| `{}` | {} |", line.label, cells.join(" | "));
        }
        out.push('\n');
        let remarks = comparison.verdicts.iter();
        let remarks = remarks.filter_map(|row| Some(format!("`{}`: {}", row.metric, remark(row, comparison.margin)?)));
        for note in remarks.chain(notes(comparison)) {
            let _ = writeln!(out, "- {}", escape(&note));
        }
        out.push('\n');
    }
    let _ = writeln!(out, "<sub>{LEGEND}</sub>");
    out
}

const LEGEND: &str = "A and B are medians; B / A is the ratio of geometric means with the interval that holds it with \
                      95 %, by Student's t on logarithms. \"same\": the whole interval lies within the margin; a \
                      difference: all of it lies beyond; else it cannot be told.";

/// What each side is called: by variant within a run, else by run too.
fn names(comparison: &Comparison) -> [String; 2] {
    let name = |side: &Side| {
        if comparison.interleaved {
            side.variant.clone()
        } else {
            format!("{} of {}", side.variant, side.dir.display())
        }
    };
    [name(&comparison.a), name(&comparison.b)]
}

fn notes(comparison: &Comparison) -> Vec<String> {
    let mut notes = Vec::new();
    if !comparison.interleaved {
        notes.push("not interleaved: whatever changed on the machine between the runs is in the ratio, and not in its interval".to_owned());
    }
    notes.extend(comparison.unsteady.iter().cloned());
    let shown = comparison.differences.iter().take(DIFFERENCES);
    notes.extend(shown.map(|differs| format!("{} differs: {} in A, {} in B", differs.what, differs.a, differs.b)));
    let rest = comparison.differences.len().saturating_sub(DIFFERENCES);
    if rest > 0 {
        notes.push(format!("{rest} more differences: see --json"));
    }
    notes
}

fn line(row: &Row) -> Line {
    let side = |value: Option<f64>, trials: usize| match value {
        Some(value) => format!("{} [{trials}]", number(&row.unit, value)),
        None => "not known".into(),
    };
    let ratio = match (row.ratio, row.happened) {
        (Some(ratio), _) => format!("{} ({}–{})", factor(ratio.estimate), factor(ratio.low), factor(ratio.high)),
        (None, Some((a, b))) => format!("in {a} of {} / {b} of {}", row.a_trials, row.b_trials),
        (None, None) => "none".into(),
    };
    let mut cells = vec![side(row.a, row.a_trials), side(row.b, row.b_trials), ratio];
    cells.extend(row.verdict.map(|verdict| verdict.name().to_owned()));
    Line { label: format!("{}{}", row.metric, in_phase(row.phase.as_deref())), cells }
}

/// What must be said beside a verdict: why there is none, and what would have been seen.
pub(in crate::report) fn remark(row: &Row, margin: f64) -> Option<String> {
    let mut parts: Vec<String> = row.why.iter().cloned().collect();
    if matches!(row.verdict, Some(Verdict::CannotTell | Verdict::Same)) {
        let seen = |detectable: f64| {
            format!("a true difference under {} would be missed in 20 % of cases or more", change(detectable))
        };
        parts.extend(row.detectable.map(seen));
    }
    if row.verdict == Some(Verdict::CannotTell) {
        let needed = |needed: u64| format!("about {needed} trials a side would tell {} apart", percent(margin));
        parts.extend(row.needed.filter(|needed| *needed > row.a_trials.min(row.b_trials) as u64).map(needed));
    }
    parts.extend(row.p.map(|p| format!("p = {}", if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") })));
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// `×1.25` in as many digits as are needed to tell it from 1.
pub(in crate::report) fn factor(value: f64) -> String {
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else if value >= 0.1 {
        3
    } else {
        4
    };
    format!("{value:.decimals$}")
}

/// A factor as a change: `12.5 %`, and from a doubling on `×2.3`.
fn change(factor: f64) -> String {
    if factor < 2.0 { percent(factor - 1.0) } else { format!("×{factor:.1}") }
}

/// What would end a cell or be taken for markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|")
}
