//! Many runs of one scenario, in the order in which they were made: how each metric went, and where it changed.

mod show;

pub use show::terminal;

use super::compare::differ::{Difference, differences};
use super::figures::{by_trial, is_harm, phase_of};
use super::reading::better;
use super::statistics::changes::{LEAST, changes};
use super::statistics::{Interval, median, median_interval};
use crate::metric::{Better, catalogue};
use crate::record::{Record, Status};
use serde::Serialize;
use std::path::PathBuf;

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Metrics; none: those of the scenario's answer.
    pub only: Vec<String>,
    /// Whether runs of other machines and versions make one series with these; what differs is said all the same.
    pub mix: bool,
    /// How many of the newest runs a change must lie in to count as one at the end.
    pub recent: usize,
}

/// The runs of a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct History {
    /// The scenario.
    pub scenario: String,
    /// Runs that measured the same thing on machines that are alike, each with its metrics.
    pub series: Vec<Series>,
    /// Folders that are not in it, and why.
    pub left_out: Vec<String>,
}

/// Runs of one variant that can stand in one line.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// The variant.
    pub variant: String,
    /// The machine and versions of its newest run, in a line.
    pub setting: String,
    /// Whether the newest run of the scenario is in it.
    pub newest: bool,
    /// Its runs, the oldest first.
    pub runs: Vec<Run>,
    /// Its metrics.
    pub metrics: Vec<Trend>,
}

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// `<utc>-<id>`.
    pub run_id: String,
    /// When it began, UTC.
    pub started_at: String,
    /// The revision of this program, or its version.
    pub revision: String,
    /// The results folder.
    pub dir: PathBuf,
    /// What differs from the run before it, and does not part them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<Difference>,
}

/// A metric over the runs.
#[derive(Clone, Debug, Serialize)]
pub struct Trend {
    /// Its name.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// The phase that is meant; absent: the whole trial.
    pub phase: Option<String>,
    /// A value for each run; null where it is not known.
    pub points: Vec<Option<Point>>,
    /// Where its level changed.
    pub changes: Vec<Change>,
    /// Why no change can be told, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cannot_tell: Option<String>,
}

/// A metric in a run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// Trials that count and in which it is known.
    pub trials: usize,
    /// Their median.
    pub median: f64,
    /// Its interval; null of one trial.
    pub interval: Option<Interval>,
}

/// A change of level.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Index of the first run of the new level.
    pub at: usize,
    /// That run.
    pub run_id: String,
    /// Median of the runs' medians before, back to the last change.
    pub before: f64,
    /// The same behind, up to the next.
    pub after: f64,
    /// The share of shuffled series that change as much somewhere.
    pub p: f64,
    /// Which way it went.
    pub direction: Direction,
    /// Whether it lies in the newest runs.
    pub recent: bool,
}

/// Which way a level went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Better.
    Better,
    /// Worse.
    Worse,
    /// By itself neither.
    Differs,
}

/// What differs between machines and programs on which the same thing takes another time.
const PARTS: [&str; 6] = ["host.cpu", "host.cores", "host.memory", "host.file_system", "server", "driver"];

/// Sorts out the runs `records` of one scenario; `left_out` are folders that are none.
pub fn history(scenario: &str, mut records: Vec<Record>, mut left_out: Vec<String>, wanted: &Wanted) -> History {
    records.sort_by(|a, b| a.manifest.started_at.cmp(&b.manifest.started_at));
    let mut lines: Vec<Line<'_>> = Vec::new();
    for record in &records {
        let known = lines.len();
        for variant in &record.plan.variants {
            if counts(record, &variant.name) {
                join(&mut lines, record, &variant.name, wanted.mix);
            }
        }
        if lines.len() == known && !lines.iter().any(|line| line.holds(record)) {
            left_out.push(format!("{}: no trial counts", record.dir.display()));
        }
    }
    let newest = records.iter().rev().find(|record| lines.iter().any(|line| line.holds(record)));
    let series = lines.iter().map(|line| line.series(newest, wanted)).collect();
    History { scenario: scenario.to_owned(), series, left_out }
}

/// What a process that was asked whether it became worse exits with: 1 when a metric of the newest run's series did, at
/// the end; 3 when that cannot be told of one; else 0.
pub fn exit_code(history: &History) -> u8 {
    let newest = history.series.iter().filter(|series| series.newest);
    let trends: Vec<&Trend> = newest.flat_map(|series| &series.metrics).collect();
    let worse = |change: &Change| change.recent && change.direction == Direction::Worse;
    if trends.iter().any(|trend| trend.changes.iter().any(worse)) {
        1
    } else if trends.is_empty() || trends.iter().any(|trend| trend.cannot_tell.is_some()) {
        3
    } else {
        0
    }
}

/// Whether any trial of a variant counts.
fn counts(record: &Record, variant: &str) -> bool {
    record.trials.iter().any(|row| row.variant == variant && row.status == Status::Ok)
}

/// Runs that belong together, with what differs from the one before.
struct Line<'a> {
    variant: &'a str,
    runs: Vec<(&'a Record, Vec<Difference>)>,
}

/// Adds a run to the line that it continues, or begins one.
fn join<'a>(lines: &mut Vec<Line<'a>>, record: &'a Record, variant: &'a str, mix: bool) {
    for line in lines.iter_mut().filter(|line| line.variant == variant) {
        let Some((last, _)) = line.runs.last() else { continue };
        let differs = differences(last, record, variant);
        let parts = |what: &Difference| what.grave || !mix && PARTS.contains(&what.what.as_str());
        if !differs.iter().any(parts) {
            line.runs.push((record, differs));
            return;
        }
    }
    lines.push(Line { variant, runs: vec![(record, Vec::new())] });
}

impl Line<'_> {
    fn holds(&self, record: &Record) -> bool {
        self.runs.iter().any(|(run, _)| std::ptr::eq(*run, record))
    }

    fn series(&self, newest: Option<&Record>, wanted: &Wanted) -> Series {
        let run = |(record, differs): &(&Record, Vec<Difference>)| Run {
            run_id: record.manifest.run_id.clone(),
            started_at: record.manifest.started_at.clone(),
            revision: record.manifest.revision.clone().unwrap_or_else(|| record.manifest.version.clone()),
            dir: record.dir.clone(),
            differs: differs.clone(),
        };
        let last = self.runs.last().map(|(record, _)| *record);
        let answer = last.map(|record| record.plan.answer.as_slice()).unwrap_or_default();
        let metrics = if wanted.only.is_empty() { answer } else { wanted.only.as_slice() };
        Series {
            variant: self.variant.to_owned(),
            setting: last.map(setting).unwrap_or_default(),
            newest: newest.is_some_and(|newest| self.holds(newest)),
            runs: self.runs.iter().map(run).collect(),
            metrics: metrics.iter().map(|metric| self.trend(metric, wanted.recent)).collect(),
        }
    }

    fn trend(&self, metric: &str, recent: usize) -> Trend {
        let points: Vec<Option<Point>> =
            self.runs.iter().map(|(record, _)| point(record, self.variant, metric)).collect();
        // Of the runs in which it is known, the index among all.
        let known: Vec<(usize, f64)> =
            points.iter().enumerate().filter_map(|(i, point)| Some((i, point.as_ref()?.median))).collect();
        let medians: Vec<f64> = known.iter().map(|(_, median)| *median).collect();
        let found = changes(&medians);
        let ends = found.iter().skip(1).map(|change| change.at).chain([medians.len()]);
        let begins = [0].into_iter().chain(found.iter().map(|change| change.at));
        let change = |((change, begin), end): ((&super::statistics::changes::Change, usize), usize)| {
            let (before, after) = (median(&medians[begin..change.at])?, median(&medians[change.at..end])?);
            let at = known.get(change.at)?.0;
            Some(Change {
                at,
                run_id: self.runs.get(at)?.0.manifest.run_id.clone(),
                before,
                after,
                p: change.p,
                direction: direction(better(metric), before, after),
                recent: self.runs.len() - at <= recent,
            })
        };
        let phase = self.runs.last().and_then(|(record, _)| phase_of(record, self.variant, metric));
        Trend {
            metric: metric.to_owned(),
            unit: catalogue::find(metric).map_or("", |metric| metric.unit).to_owned(),
            phase: phase.map(ToOwned::to_owned),
            changes: found.iter().zip(begins).zip(ends).filter_map(change).collect(),
            cannot_tell: too_few(metric, &medians),
            points,
        }
    }
}

/// Why no change of these could be told.
fn too_few(metric: &str, medians: &[f64]) -> Option<String> {
    match medians.len() {
        // A claim is the place for what should not happen at all.
        n if n >= LEAST || is_harm(metric) && n > 0 => None,
        0 => Some("it is not known in any run".into()),
        n => Some(format!("a change takes {LEAST} runs to tell, and it is known in {n}")),
    }
}

fn direction(better: Better, before: f64, after: f64) -> Direction {
    match better {
        Better::Neither => Direction::Differs,
        Better::Higher if after > before => Direction::Better,
        Better::Lower if after < before => Direction::Better,
        Better::Higher | Better::Lower => Direction::Worse,
    }
}

fn point(record: &Record, variant: &str, metric: &str) -> Option<Point> {
    let values: Vec<f64> = by_trial(record, variant, metric).into_iter().flatten().collect();
    Some(Point { trials: values.len(), median: median(&values)?, interval: median_interval(&values) })
}

/// The machine and what ran on it.
fn setting(record: &Record) -> String {
    let driver = format!("driver {}", record.manifest.driver);
    let server = format!("PostgreSQL {}", super::versions(&record.manifest));
    [server, driver, super::machine(record)].join(", ")
}

#[cfg(test)]
mod tests;
