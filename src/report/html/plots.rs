//! What the timeline of a trial is drawn from: series on one clock, phases, events.

use super::sampled::{Kind, Series, read};
use crate::record::{EventRow, LockRow, Record, RecordError, TrialRow};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A trial's timeline. Times are seconds since the trial's zero.
#[derive(Debug, Serialize)]
pub(super) struct TrialPlots {
    variant: String,
    trial: u32,
    status: &'static str,
    /// Where the plots begin: with the first phase, or half a second before it.
    begin: f64,
    end: f64,
    phases: Vec<(String, f64, f64)>,
    /// When, kind, node, text.
    events: Vec<(f64, String, String, String)>,
    /// Events that are in events.csv only.
    more: usize,
    locks: Vec<LockWait>,
    /// Episodes that are in lock_edges.csv only.
    more_locks: usize,
    plots: Vec<Plot>,
}

/// A stretch of time in which somebody waited for a lock of one kind, as a page has it.
#[derive(Debug, PartialEq, Serialize)]
struct LockWait {
    from: f64,
    to: f64,
    node: String,
    /// For what, and on which table.
    lock: String,
    /// What its holder was doing.
    holder: String,
    pairs: u64,
    depth: Option<u64>,
    /// Seconds.
    longest: Option<f64>,
    /// Identifiers have more digits than a script's numbers.
    waiter: Option<String>,
    blocker: Option<String>,
}

/// Series that share an axis.
#[derive(Debug, PartialEq, Serialize)]
struct Plot {
    title: &'static str,
    unit: &'static str,
    log: bool,
    /// Context, which stands behind the others until somebody asks for it.
    context: bool,
    /// Whether the trial's lock waits are drawn over it.
    locks: bool,
    /// What a point is, where it stands for several samples.
    note: Option<String>,
    x: Vec<f64>,
    series: Vec<Line>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Line {
    name: String,
    values: Vec<Option<f64>>,
}

/// Numbers that a page may hold, so that it stays small and opens at once.
const BUDGET: usize = 200_000;

/// No plot is made coarser than this.
const LEAST: usize = 120;

/// Events of a trial that a page holds, and lock waits.
const EVENTS: usize = 400;

/// The timelines of all trials of `record`, of which a page has `records`.
pub(super) fn trials(record: &Record, records: usize) -> Result<Vec<TrialPlots>, RecordError> {
    let mut series = read(record)?;
    let budget = BUDGET / records.max(1) / record.trials.len().max(1);
    let trials = record.trials.iter().map(|trial| {
        let series = series.remove(&(trial.variant.clone(), trial.trial)).unwrap_or_default();
        timeline(record, trial, &series, budget)
    });
    Ok(trials.collect())
}

fn timeline(record: &Record, trial: &TrialRow, series: &Series, budget: usize) -> TrialPlots {
    let of_trial = |event: &&EventRow| event.variant == trial.variant && event.trial == trial.trial;
    let events: Vec<&EventRow> = record.events.iter().filter(of_trial).collect();
    let newest = series.values().flatten().map(|(at, _)| *at as f64).chain(events.iter().map(|event| event.elapsed_ms));
    let end = newest.max_by(f64::total_cmp).unwrap_or_default() / 1000.0;
    let dated: Vec<&&EventRow> = events.iter().filter(|event| !event.kind.starts_with("phase.")).collect();
    let shown = most_telling(&dated).into_iter().map(|event| {
        let node = event.node.clone().unwrap_or_default();
        (thousandths(event.elapsed_ms / 1000.0), event.kind.clone(), node, event.text.clone())
    });
    let phases = phases(&events, end);
    let (locks, more_locks) = locks(record, trial);
    let begin = phases.first().map_or(0.0, |(_, from, _)| thousandths((from - 0.5).max(0.0)));
    TrialPlots {
        variant: trial.variant.clone(),
        trial: trial.trial,
        status: trial.status.name(),
        begin,
        end: thousandths(end),
        phases,
        events: shown.collect(),
        more: dated.len().saturating_sub(EVENTS),
        locks,
        more_locks,
        plots: plots(series, (begin, end), budget),
    }
}

/// As many events as a page holds, in the order of time: faults and what they led to before the making of clones.
fn most_telling<'a>(events: &[&&'a EventRow]) -> Vec<&'a EventRow> {
    let routine = |event: &EventRow| event.kind.starts_with("clone.") && event.kind != "clone.failed";
    let (first, second): (Vec<&EventRow>, Vec<&EventRow>) =
        events.iter().map(|event| **event).partition(|e| !routine(e));
    let mut shown: Vec<&EventRow> = first.into_iter().chain(second).take(EVENTS).collect();
    shown.sort_by(|a, b| a.elapsed_ms.total_cmp(&b.elapsed_ms));
    shown
}

/// Name, beginning and end of each phase that began.
fn phases(events: &[&EventRow], end: f64) -> Vec<(String, f64, f64)> {
    let name = |event: &EventRow| event.text.split(' ').next().unwrap_or_default().to_owned();
    let begun = events.iter().filter(|event| event.kind == "phase.start");
    let phases = begun.map(|start| {
        let ends = events.iter().find(|event| event.kind == "phase.end" && name(event) == name(start));
        let until = ends.map_or(end, |event| event.elapsed_ms / 1000.0);
        (name(start), thousandths(start.elapsed_ms / 1000.0), thousandths(until))
    });
    phases.collect()
}

/// The longest lock waits of a trial in the order of time, and how many there are besides.
fn locks(record: &Record, trial: &TrialRow) -> (Vec<LockWait>, usize) {
    let of_trial = |row: &&LockRow| row.variant == trial.variant && row.trial == trial.trial;
    let mut rows: Vec<&LockRow> = record.locks.iter().filter(of_trial).collect();
    let length = |row: &LockRow| row.longest_wait_s.unwrap_or(0.0).max((row.ended_ms - row.began_ms) / 1000.0);
    rows.sort_by(|a, b| length(b).total_cmp(&length(a)));
    let more = rows.len().saturating_sub(EVENTS);
    rows.truncate(EVENTS);
    rows.sort_by(|a, b| a.began_ms.total_cmp(&b.began_ms));
    let waits = rows.into_iter().map(|row| LockWait {
        from: thousandths(row.began_ms / 1000.0),
        to: thousandths(row.ended_ms / 1000.0),
        node: row.node.clone(),
        lock: row.relation.iter().fold(row.lock.clone(), |lock, relation| format!("{lock} on {relation}")),
        holder: row.blocker_state.clone(),
        pairs: row.pairs_max,
        depth: row.depth_max,
        longest: row.longest_wait_s.map(short),
        waiter: row.waiter_queryid.map(|id| id.to_string()),
        blocker: row.blocker_queryid.map(|id| id.to_string()),
    });
    (waits.collect(), more)
}

/// A plot that a page may have: its series, title, unit, whether its axis is logarithmic, and whether it is context.
type Planned = (Kind, &'static str, &'static str, bool, bool);

const PLOTS: [Planned; 14] = [
    (Kind::Throughput, "Throughput", "1/s", false, false),
    (Kind::Ledger, "Writes that the ledger had acknowledged", "1/s", false, false),
    (Kind::Response, "Response time, from the intended instant", "s", true, false),
    (Kind::Lag, "Lag by target: from commit to visible", "s", true, false),
    (Kind::Replay, "Lag by target: replay_lag of pg_stat_replication", "s", true, false),
    (Kind::Waits, "Active sessions of the primary, by what they wait for", "count", false, false),
    (Kind::Locks, "Lock waits: sessions that wait, and the roots that they wait for", "count", false, false),
    (Kind::Wal, "WAL written", "bytes/s", false, false),
    (Kind::Slots, "WAL that replication slots keep", "bytes", false, true),
    (Kind::Misses, "Blocks read from outside of shared buffers", "1/s", false, true),
    (Kind::Checkpoints, "Buffers written by checkpoints", "1/s", false, true),
    (Kind::Cpu, "Processors used", "count", false, true),
    (Kind::Disk, "Written to disks", "bytes/s", false, true),
    (Kind::Pressure, "Share of the time in which something on the machine had to wait for", "ratio", false, true),
];

fn plots(series: &Series, shown: (f64, f64), budget: usize) -> Vec<Plot> {
    let each = budget / PLOTS.len();
    let plots = PLOTS.into_iter().filter_map(|planned| {
        let of: BTreeMap<&str, &Vec<(i64, f64)>> = series
            .iter()
            .filter(|((of, _), _)| *of == planned.0)
            .map(|((_, name), values)| (name.as_str(), values))
            .collect();
        (!of.is_empty()).then(|| plot(&of, planned, shown, (each / of.len()).max(LEAST)))
    });
    plots.collect()
}

/// Puts series on common instants, and where these are more than `most`, several of them into one: of latencies and lags
/// the worst counts, for percentiles cannot be averaged; of the rest the mean.
fn plot(
    of: &BTreeMap<&str, &Vec<(i64, f64)>>,
    (kind, title, unit, log, context): Planned,
    (begin, end): (f64, f64),
    most: usize,
) -> Plot {
    let from = (begin * 1000.0) as i64;
    let instants = of.values().flat_map(|values| values.iter().map(|(at, _)| *at)).filter(|at| *at >= from);
    let instants: Vec<i64> = instants.collect::<BTreeSet<_>>().into_iter().collect();
    let width = instants.len().div_ceil(most).max(1);
    let chunks: Vec<&[i64]> = instants.chunks(width).collect();
    let mut x: Vec<f64> = chunks.iter().map(|chunk| chunk[0] as f64 / 1000.0).collect();
    let mut series: Vec<Line> = of
        .iter()
        .map(|(name, values)| {
            let mut values = values.iter().skip_while(|(at, _)| *at < from).peekable();
            let points = chunks.iter().map(|chunk| {
                let last = chunk[chunk.len() - 1];
                let mut within = Vec::new();
                while let Some((_, value)) = values.next_if(|(at, _)| *at <= last) {
                    within.push(*value);
                }
                let mean = || within.iter().sum::<f64>() / within.len() as f64;
                let one =
                    if log { within.iter().copied().max_by(f64::total_cmp) } else { (!within.is_empty()).then(mean) };
                one.map(short)
            });
            Line { name: (*name).to_owned(), values: points.collect() }
        })
        .collect();
    // All plots of a trial show the same stretch of time.
    if x.first().is_some_and(|first| *first > begin) {
        x.insert(0, begin);
        series.iter_mut().for_each(|line| line.values.insert(0, None));
    }
    if x.last().is_some_and(|last| *last < end) {
        x.push(thousandths(end));
        series.iter_mut().for_each(|line| line.values.push(None));
    }
    let what = if log { "worst" } else { "mean" };
    let note = (width > 1).then(|| format!("each point is the {what} of {width} samples"));
    Plot { title, unit, log, context, locks: kind == Kind::Locks, note, x, series }
}

/// Four significant digits, which is more than a plot shows.
fn short(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

fn thousandths(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_samples_become_one_point_and_that_is_said() {
        let values: Vec<(i64, f64)> = (1..=1000).map(|i| (i * 1000, if i == 500 { 9.0 } else { 1.0 })).collect();
        let of = BTreeMap::from([("p99", &values)]);
        let planned = |kind| *PLOTS.iter().find(|planned| planned.0 == kind).unwrap();
        let worst = plot(&of, planned(Kind::Response), (0.0, 1001.0), 100);
        assert_eq!(worst.note.as_deref(), Some("each point is the worst of 10 samples"));
        assert_eq!((worst.x.len(), worst.x[0], worst.x[101]), (102, 0.0, 1001.0));
        assert_eq!(worst.series[0].values.iter().flatten().copied().fold(0.0, f64::max), 9.0);
        let mean = plot(&of, planned(Kind::Wal), (0.0, 1000.0), 100);
        assert_eq!(mean.series[0].values.iter().flatten().copied().fold(0.0, f64::max), 1.8);
    }

    #[test]
    fn series_share_instants_and_gaps_stay() {
        let (a, b) = (vec![(0, 1.0), (1000, 2.0)], vec![(1000, 3.0), (2000, 4.0)]);
        let plot = plot(&BTreeMap::from([("a", &a), ("b", &b)]), PLOTS[0], (0.0, 2.0), 100);
        assert_eq!(plot.x, [0.0, 1.0, 2.0]);
        assert_eq!(plot.series[0].values, [Some(1.0), Some(2.0), None]);
        assert_eq!(plot.series[1].values, [None, Some(3.0), Some(4.0)]);
        assert_eq!(plot.note, None);
    }
}
