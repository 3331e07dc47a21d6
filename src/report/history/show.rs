//! A history as text.

use super::super::humane::{number, percent, range};
use super::super::judge::in_phase;
use super::super::statistics::changes::LEVEL;
use super::super::table::{Row, paragraph, table};
use super::{Change, Direction, History, Point, Run, Series, Trend};

/// Differences that are shown of a run; the rest is counted.
const DIFFERENCES: usize = 4;

/// A history as plain text, at most a hundred columns wide where nothing is longer.
pub fn terminal(history: &History) -> String {
    let mut out = String::new();
    for series in &history.series {
        let of = if series.newest { "" } else { ", of older runs" };
        out += &paragraph("", &format!("{}: {}{of}", history.scenario, series.variant));
        out += &paragraph("", &series.setting);
        out.push('\n');
        out += &runs(series);
        for run in &series.runs {
            out += &differences(run);
        }
        for trend in &series.metrics {
            out += &remarks(trend);
        }
        out.push('\n');
    }
    for why in &history.left_out {
        out += &paragraph("left out: ", why);
    }
    out += &paragraph("", &legend());
    out
}

fn legend() -> String {
    format!(
        "Medians over a run's trials, in parentheses their interval. A change of level is where E-Divisive cuts the \
         series, if fewer than {} of shuffled series have a cut as great; {} of series that never change show one.",
        percent(LEVEL),
        percent(LEVEL)
    )
}

/// A row for each run, a column for each metric.
fn runs(series: &Series) -> String {
    let heads: Vec<String> =
        series.metrics.iter().map(|trend| format!("{}{}", trend.metric, in_phase(trend.phase.as_deref()))).collect();
    let mut all = vec!["program"];
    all.extend(heads.iter().map(String::as_str));
    let row = |(i, run): (usize, &Run)| {
        let revision: String = run.revision.chars().take(10).collect();
        let cells = series.metrics.iter().map(|trend| cell(trend, i));
        Row { label: run.run_id.clone(), cells: [revision].into_iter().chain(cells).collect() }
    };
    table(&all, &series.runs.iter().enumerate().map(row).collect::<Vec<_>>())
}

fn cell(trend: &Trend, run: usize) -> String {
    let Some(Some(Point { trials, median, interval })) = trend.points.get(run) else { return "not known".into() };
    let interval = interval.filter(|interval| interval.low < interval.high);
    let interval = interval.map(|interval| format!(" ({})", range(&trend.unit, interval.low, interval.high)));
    let change = trend.changes.iter().find(|change| change.at == run);
    let change = change.map(|change| format!("  ← {}", name(change.direction)));
    format!("{}{} [{trials}]{}", number(&trend.unit, *median), interval.unwrap_or_default(), change.unwrap_or_default())
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Better => "better",
        Direction::Worse => "WORSE",
        Direction::Differs => "differs",
    }
}

/// What is not the same as in the run before.
fn differences(run: &Run) -> String {
    let shown = run.differs.iter().take(DIFFERENCES);
    let mut lines: Vec<String> = shown.map(|what| format!("{}: {}, was {}", what.what, what.b, what.a)).collect();
    let rest = run.differs.len().saturating_sub(DIFFERENCES);
    if rest > 0 {
        lines.push(format!("{rest} more: see --json"));
    }
    lines.iter().map(|line| paragraph(&format!("  {} differs: ", run.run_id), line)).collect()
}

fn remarks(trend: &Trend) -> String {
    let metric = format!("  {}: ", trend.metric);
    let change = |change: &Change| {
        let Change { run_id, before, after, p, direction, recent, .. } = change;
        let (from, to) = (number(&trend.unit, *before), number(&trend.unit, *after));
        let ratio = if *before > 0.0 { format!(", {}", by(after / before)) } else { String::new() };
        let old = if *recent { "" } else { "; long ago, and no longer counted" };
        format!("{} from {run_id} on: {to} after {from}{ratio} (p = {p:.3}){old}", name(*direction))
    };
    let lines = trend.changes.iter().map(change).chain(trend.cannot_tell.clone());
    lines.map(|line| paragraph(&metric, &line)).collect()
}

/// `+12.5 %`, and from a doubling on `×2.3`.
fn by(factor: f64) -> String {
    match factor {
        _ if factor >= 2.0 => format!("×{factor:.1}"),
        _ if factor < 1.0 => format!("−{}", percent(1.0 - factor)),
        _ => format!("+{}", percent(factor - 1.0)),
    }
}
