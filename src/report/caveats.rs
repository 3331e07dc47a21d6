//! What a reader must know before believing a summary.

use super::figures::by_trial;
use crate::metric::line::MOST_SERIES;
use crate::record::outline::Variant;
use crate::record::{EventRow, Record, RunStatus, Status, SummaryRow};
use crate::sink::Account;
use indexmap::IndexMap;
use std::collections::BTreeSet;

/// The notes under a summary.
pub(super) fn caveats(record: &Record) -> Vec<String> {
    let manifest = &record.manifest;
    let mut caveats = Vec::new();
    if manifest.colocated {
        let killed = record.plan.variants.iter().any(|variant| variant.scenario.has_step("kill"));
        let kindest = ", and a kill -9 is the kindest death: sockets are reset at once, the page cache survives";
        let shared = "one machine (colocated): servers, load and probes share its cores and disk";
        caveats.push(format!("{shared}{}", if killed { kindest } else { "" }));
    }
    let is_fsync = |name: &str| name == "fsync" || name.ends_with(".fsync");
    let unsafe_variants = manifest.settings.iter().filter(|(_, settings)| settings.keys().any(|name| is_fsync(name)));
    let unsafe_variants: Vec<&str> = unsafe_variants.map(|(variant, _)| variant.as_str()).collect();
    if !unsafe_variants.is_empty() {
        caveats.push(format!("fsync is off in {}", unsafe_variants.join(", ")));
    }
    let unfenced = record.plan.variants.iter().filter(|variant| variant.scenario.promotes_unfenced());
    let unfenced: Vec<&str> = unfenced.map(|variant| variant.name.as_str()).collect();
    if !unfenced.is_empty() {
        caveats.push(format!("not fenced: two primaries were possible in {}", unfenced.join(", ")));
    }
    let unsafe_clones = record.plan.variants.iter().filter(|variant| variant.scenario.makes_unsafe_clones());
    let unsafe_clones: Vec<&str> = unsafe_clones.map(|variant| variant.name.as_str()).collect();
    if !unsafe_clones.is_empty() {
        let what = "clones were made by pg_resetwal (unsafe): rows may be lost or torn that no check here looks at, in";
        caveats.push(format!("{what} {}", unsafe_clones.join(", ")));
    }
    for variant in &record.plan.variants {
        caveats.extend(grave_events(record, &variant.name));
        caveats.extend(unchecked(record, variant));
        caveats.extend(unsteady(record, &variant.name));
    }
    if record.values.iter().any(|row| row.metric.starts_with("lag.last_replayed")) {
        let text = "the age of the last replayed transaction grows on an idle primary too, with nothing behind; as lag it \
                    holds only while something is written all the time";
        caveats.push(text.to_owned());
    }
    let (points, done) = (manifest.accounting, record.trials.len());
    if points.dropped > 0 || !points.adds_up() {
        let beyond = match points.beyond_series {
            0 => String::new(),
            beyond => format!("; {beyond} were of series beyond the {MOST_SERIES} that a trial may have"),
        };
        let (written, produced) = (points.written, points.produced);
        caveats.push(format!("metrics incomplete: {written} of {produced} points are in the file{beyond}"));
    }
    caveats.extend(missed(record));
    caveats.extend(manifest.sinks.iter().filter_map(|(name, account)| undelivered(name, account)));
    let reason = manifest.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let planned = super::stopped::planned(record).count();
    match manifest.status {
        RunStatus::Finished => {}
        RunStatus::Running => caveats.push(format!("the run has no end: {done} of {planned} trials are recorded")),
        RunStatus::Interrupted => caveats.push(format!("interrupted{reason} after {done} of {planned} trials")),
        RunStatus::Failed => caveats.push(format!("the run failed{reason} after {done} of {planned} trials")),
    }
    caveats
}

/// Share of due ticks that may be missed.
pub(super) const MISSED: f64 = 0.01;

/// A line when samplers passed over more of all trials' ticks than may be.
fn missed(record: &Record) -> Option<String> {
    let (due, missed) = ticks(record);
    (missed > due * MISSED).then(|| format!("metrics incomplete: {missed:.0} of {due:.0} ticks were missed"))
}

/// How many ticks were due in all trials, and how many of them samplers passed over.
pub(super) fn ticks(record: &Record) -> (f64, f64) {
    let (mut due, mut missed) = (0.0, 0.0);
    for kind in ["sampler", "container"] {
        let of = |metric: &str| {
            let metric = format!("{kind}.{metric}");
            record.values.iter().filter(move |row| row.metric == metric)
        };
        for ticks in of("ticks") {
            let same =
                |row: &&SummaryRow| (&row.variant, row.trial, &row.node) == (&ticks.variant, ticks.trial, &ticks.node);
            due += ticks.value;
            missed += of("missed").find(same).map_or(0.0, |share| share.value * ticks.value);
        }
    }
    (due, missed)
}

/// A line when a sink does not have all that was produced.
fn undelivered(name: &str, account: &Account) -> Option<String> {
    if account.acknowledged == account.produced && account.adds_up() {
        return None;
    }
    let replay = if account.pending > 0 {
        format!("; `pgbench-rs replay DIR --to {name}` sends what is pending")
    } else {
        String::new()
    };
    let incomplete = if account.adds_up() { "" } else { "metrics incomplete: " };
    Some(format!("{incomplete}sink {name}: {}{replay}", account.in_words()))
}

/// Kinds of events that no reader may miss, and what they are called.
const GRAVE: [(&str, &str); 9] = [
    ("failover.blocked", "failover stood still"),
    ("split_brain", "split brain"),
    ("ledger.two_primaries", "two primaries"),
    ("container.oom", "out of memory"),
    ("container.unheard", "an engine was not heard"),
    ("clone.failed", "a clone failed"),
    ("clone.evicted", "a clone was ended for the source's room"),
    ("clone.inconsistent", "a clone was inconsistent"),
    ("disk.in_memory", "a disk was in memory"),
];

/// A line for each such kind that stands in the trials of a variant, whether they count or not, with the text of
/// the first.
fn grave_events<'a>(record: &'a Record, variant: &'a str) -> impl Iterator<Item = String> + 'a {
    let trials = record.trials.iter().filter(move |row| row.variant == variant).count();
    GRAVE.iter().filter_map(move |(kind, name)| {
        let events = record.events.iter().filter(|event| event.variant == variant && event.kind == *kind);
        let events: Vec<&EventRow> = events.collect();
        let text = &events.first()?.text;
        let count = events.iter().map(|event| event.trial).collect::<BTreeSet<_>>().len();
        Some(format!("{variant}: in {count} of {trials} trials: {name}: {text}"))
    })
}

/// A line for each load and phase that did not become steady in some trial that counts.
pub(super) fn unsteady(record: &Record, variant: &str) -> Vec<String> {
    let ok = |trial: u32| {
        let rows = record.trials.iter().filter(|row| row.variant == variant && row.status == Status::Ok);
        rows.into_iter().any(|row| row.trial == trial)
    };
    let mut found: IndexMap<(&str, &str), (usize, usize)> = IndexMap::new();
    let rows = record.values.iter().filter(|row| row.variant == variant && row.metric == "load.unsteady");
    for row in rows.filter(|row| ok(row.trial)) {
        let of = (row.subject.as_deref().unwrap_or_default(), row.phase.as_deref().unwrap_or_default());
        let (unsteady, known) = found.entry(of).or_default();
        *known += 1;
        *unsteady += usize::from(row.value > 0.0);
    }
    let found = found.into_iter().filter(|(_, (unsteady, _))| *unsteady > 0);
    let line = |((load, phase), (unsteady, known)): ((&str, &str), (usize, usize))| {
        format!("{variant}: load {load} reached no steady state in {phase}, in {unsteady} of {known} trials")
    };
    found.map(line).collect()
}

/// The bounds of validity that were not checked in some trial that counts, as it does not have the metric.
fn unchecked<'a>(record: &'a Record, variant: &'a Variant) -> impl Iterator<Item = String> + 'a {
    variant.scenario.valid.bounds.keys().filter_map(move |metric| {
        let known = by_trial(record, &variant.name, metric);
        let absent = known.iter().filter(|value| value.is_none()).count();
        let text = || {
            let (name, all) = (&variant.name, known.len());
            format!(
                "{name}: the bound of [valid] on {metric} was not checked in {absent} of {all} trials that count: \
                     it is not known there"
            )
        };
        (absent > 0).then(text)
    })
}
