//! The rows of thin clones: how many there were, how long each part of their lives took, and what they were worth.

use super::VariantSummary;
use super::table::Row;
use super::terminal::{cell, row};
use crate::record::Record;
use std::collections::BTreeSet;

/// Parts of a clone's life, in the order in which they come.
pub(super) const PARTS: [(&str, &str); 18] = [
    ("base cooked", "clone.cook"),
    ("look", "clone.look"),
    ("checkpoint", "clone.checkpoint"),
    ("freeze", "clone.freeze"),
    ("snapshot", "clone.snapshot"),
    ("clone", "clone.clone"),
    ("thaw", "clone.thaw"),
    ("backup stop", "clone.backup_stop"),
    ("fix-up", "clone.fixup"),
    ("resetwal", "clone.resetwal"),
    ("container create", "clone.container_create"),
    ("container start", "clone.container_start"),
    ("start", "clone.start"),
    ("first row", "clone.first_row"),
    ("query, cold", "clone.cold"),
    ("query, warm", "clone.warm"),
    ("stop", "clone.stop"),
    ("destroy", "clone.destroy"),
];

/// What a clone was worth, and what it had.
const WORTH: [(&str, &str); 10] = [
    ("age", "clone.age"),
    ("rows lost", "clone.lost_rows"),
    ("WAL lost", "clone.lost_bytes"),
    ("inconsistent", "clone.inconsistent"),
    ("pg_amcheck findings", "clone.amcheck"),
    ("WAL replayed", "clone.replayed"),
    ("own space, ready", "clone.space"),
    ("own space, end", "clone.space.end"),
    ("its load: tps", "clone.load.tps"),
    ("its load: p99", "clone.load.p99"),
];

/// By which ways clones came, in words; where variants differ, a line for each form.
pub(super) fn ways(record: &Record) -> Vec<String> {
    let all = &record.manifest.clones;
    let mut lines: Vec<(String, String, Vec<&str>)> = Vec::new();
    for (variant, way) in all.iter().flat_map(|(variant, ways)| ways.iter().map(move |way| (variant, way))) {
        let (name, words) = (&way.campaign, way.to_string());
        match lines.iter_mut().find(|(known, said, _)| known == name && *said == words) {
            Some((_, _, of)) => of.push(variant),
            None => lines.push((name.clone(), words, vec![variant])),
        }
    }
    let in_words = |(name, words, of): (String, String, Vec<&str>)| {
        let of = if of.len() < all.len() { format!(" in {}", of.join(", ")) } else { String::new() };
        format!("clones {name}{of}: {words}")
    };
    lines.into_iter().map(in_words).collect()
}

/// The rows of every campaign that some variant has.
pub(super) fn rows(variants: &[VariantSummary]) -> Vec<Row> {
    let figures =
        || variants.iter().flat_map(|variant| &variant.figures).filter(|figure| figure.metric == "clone.made");
    let of: BTreeSet<(&str, &str)> = figures()
        .filter_map(|figure| Some((figure.subject.as_deref()?, figure.phase.as_deref()?)))
        .filter(|(subject, _)| !subject.contains('/'))
        .collect();
    let mut rows = Vec::new();
    for (name, phase) in of {
        let of = (Some(phase), Some(name));
        let counts = ["clone.made", "clone.failed", "clone.unfinished"];
        rows.push(row(&format!("{name}: made / failed / unfinished"), variants, |v| v.several(&counts, of.0, of.1)));
        let mut one = |label: &str, metric: &str| {
            rows.push(row(label, variants, |v| v.figure(metric, of.0, of.1).map(|figure| cell(v, figure))));
        };
        one(&format!("{name}: ready"), "clone.ready");
        one("  the slowest", "clone.ready.max");
        one("  without its checkpoint", "clone.after_checkpoint");
        for (label, metric) in PARTS.iter().chain(&WORTH) {
            one(&format!("  {label}"), metric);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::{summarize, terminal, tests::Lab};
    use super::*;
    use crate::probe::clones::Way;

    #[test]
    fn the_summary_says_by_which_ways_clones_came() {
        let way = |method: &str| Way {
            campaign: "c".to_owned(),
            base: false,
            of: "a".to_owned(),
            asked: "auto".to_owned(),
            method: Some(method.to_owned()),
            file_system: Some("xfs".to_owned()),
            why: Some("it is the best".to_owned()),
            protocol: Some("freeze".to_owned()),
            mode: "recovery".to_owned(),
            is_unsafe: false,
        };
        let mut record = Lab::new(&["off", "on"], 1).record();
        assert!(ways(&record).is_empty());
        for variant in ["commit=off", "commit=on"] {
            record.manifest.clones.insert(variant.to_owned(), vec![way("reflink")]);
        }
        let all = "clones c: of a by reflink (auto: it is the best), while it stood still, recovery";
        assert_eq!(ways(&record), [all]);
        assert!(terminal(&summarize(&record)).contains(all));
        record.manifest.clones["commit=on"].push(way("copy"));
        let copied = "clones c in commit=on: of a by copy (auto: it is the best), while it stood still, recovery";
        assert_eq!(ways(&record), [all, copied]);
    }
}
