//! The fault and what followed, on a line for each trial: t0 the fault, t10 normal again.

use super::super::humane::number;
use super::{escape, table};
use crate::record::{EventRow, Record, TrialRow};
use std::fmt::Write;

/// The instants, by the names that failover measurements have: what each is called, and the event that it is.
///
/// t9 (the old primary back as a standby) is shown where a run has it back.
const INSTANTS: [(&str, &str, &[&str]); 10] = [
    ("t0", "fault", &[]),
    ("t1", "last acknowledged write", &["ledger.last_ack"]),
    ("t2", "first write missed", &["ledger.first_miss"]),
    ("t3", "confirmed dead", &["failover.confirmed"]),
    ("t4", "elected", &["failover.elected"]),
    ("t5", "old primary fenced", &["failover.fenced", "switchover.stopped"]),
    ("t6", "promoted", &["failover.promoted", "switchover.promoted"]),
    ("t7", "first acknowledged write", &["ledger.first_ack"]),
    ("t8", "last standby streams", &["standby.streaming"]),
    ("t9", "old primary is back", &["switchover.rejoined"]),
];

/// Between which writes stop, in [`INSTANTS`].
const T1: usize = 1;
const T7: usize = 7;

/// Of a trial, milliseconds from the fault: by [`INSTANTS`], and t10 last.
type Seen = [Option<f64>; INSTANTS.len() + 1];

/// Lines and their table; none of a run in which nothing was done to a server, or nothing followed.
pub(super) fn html(record: &Record) -> Option<String> {
    let trials: Vec<(&TrialRow, Seen)> =
        record.trials.iter().filter_map(|trial| Some((trial, seen(record, trial)?))).collect();
    let all = || trials.iter().flat_map(|(_, seen)| seen.iter().flatten().copied());
    let (first, last) = (all().min_by(f64::total_cmp)?, all().max_by(f64::total_cmp)?);
    if trials.iter().all(|(_, seen)| seen.iter().flatten().count() < 3) {
        return None;
    }
    let span = (last - first).max(1.0);
    let at = |ms: f64| 2.0 + 96.0 * (ms - first) / span;
    let names = INSTANTS.iter().map(|(t, name, _)| (*t, *name)).chain([("t10", "throughput back")]);
    let names: Vec<(&str, &str)> = names.collect();
    let mut order: Vec<&(&TrialRow, Seen)> = trials.iter().collect();
    let variant = |name: &str| record.plan.variants.iter().position(|variant| variant.name == name);
    order.sort_by_key(|(trial, _)| (variant(&trial.variant), trial.trial));
    let mut lines = String::new();
    let mut shown = "";
    for (trial, seen) in &order {
        if shown != trial.variant {
            shown = &trial.variant;
            let _ = writeln!(lines, "<h4>{}</h4>", escape(shown));
        }
        lines += &line(trial, seen, &names, at);
    }
    let legend: String = names.iter().enumerate().fold(String::new(), |mut out, (i, (t, name))| {
        let _ = write!(out, "<li><i class=\"part{i}\"></i><b>{t}</b> {name}</li>");
        out
    });
    let heads: Vec<String> =
        std::iter::once("trial".to_owned()).chain(names.iter().map(|(t, name)| format!("{t} {name}"))).collect();
    let cell = |ms: &Option<f64>| ms.map_or_else(|| "–".to_owned(), |ms| number("s", ms / 1000.0));
    let rows: Vec<_> = order
        .iter()
        .map(|(trial, seen)| {
            (format!("{} · {}", escape(&trial.variant), trial.trial), seen.iter().map(cell).collect::<Vec<_>>())
        })
        .collect();
    Some(format!(
        "<ul class=\"legend\">{legend}</ul>\n<div class=\"lines\">{lines}</div>\n\
         <p class=\"note\">A line for each trial, from {} to {} after the fault; the outage of writes is shaded. An instant \
         that was not observed is not shown: “–” in the table is not 0.</p>\n<details><summary>As a table</summary>{}</details>",
        number("s", first / 1000.0),
        number("s", last / 1000.0),
        table("figures", &heads, &rows)
    ))
}

fn line(trial: &TrialRow, seen: &Seen, names: &[(&str, &str)], at: impl Fn(f64) -> f64) -> String {
    let dots = seen.iter().zip(names).enumerate().fold(String::new(), |mut out, (i, (ms, (t, name)))| {
        if let Some(ms) = ms {
            let when = number("s", ms / 1000.0);
            let _ =
                write!(out, "<i class=\"part{i}\" style=\"left:{:.2}%\" title=\"{t} {name}: {when}\"></i>", at(*ms));
        }
        out
    });
    let outage = seen[T1].zip(seen[T7]).map_or_else(String::new, |(from, to)| {
        format!("<span class=\"outage\" style=\"left:{:.2}%;width:{:.2}%\"></span>", at(from), at(to) - at(from))
    });
    let length = seen[T1].zip(seen[T7]).map_or_else(|| "–".into(), |(from, to)| number("s", (to - from) / 1000.0));
    format!(
        "<div class=\"line\"><span class=\"name\">{}</span><div class=\"track\">{outage}{dots}</div><span class=\"total\">{length}</span></div>\n",
        trial.trial
    )
}

/// When everything was, from the measured fault; none of a trial without one.
fn seen(record: &Record, trial: &TrialRow) -> Option<Seen> {
    let of_trial = |event: &&EventRow| event.variant == trial.variant && event.trial == trial.trial;
    let events: Vec<&EventRow> = record.events.iter().filter(of_trial).collect();
    let is_fault = |event: &&&EventRow| {
        event.kind.starts_with("fault.")
            && !["fault.done", "fault.undo", "fault.not_undone"].contains(&event.kind.as_str())
    };
    let meant = record.plan.variant(&trial.variant).and_then(|variant| variant.scenario.meant_phase());
    let begins = |event: &&&EventRow| {
        event.kind == "phase.start" && meant.is_some_and(|phase| event.text.split(' ').next() == Some(phase))
    };
    let phase = events.iter().find(begins).map_or(0.0, |event| event.elapsed_ms);
    let zero = events.iter().filter(|event| event.elapsed_ms >= phase).find(is_fault)?.elapsed_ms;
    let mut seen: Seen = Default::default();
    for (slot, (t, _, kinds)) in seen.iter_mut().zip(INSTANTS) {
        let mut found = events.iter().filter(|event| kinds.contains(&event.kind.as_str()));
        let event = if t == "t8" { found.next_back() } else { found.next() };
        *slot = event.map(|event| event.elapsed_ms - zero);
    }
    seen[0] = Some(0.0);
    let recovered = record
        .values
        .iter()
        .filter(|row| row.variant == trial.variant && row.trial == trial.trial && row.metric == "load.recovered");
    seen[INSTANTS.len()] = recovered.map(|row| row.value * 1000.0).max_by(f64::total_cmp);
    Some(seen)
}
