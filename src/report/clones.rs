//! The rows of thin clones: how many there were, how long each part of their lives took, and what they were worth.

use super::VariantSummary;
use super::table::Row;
use super::terminal::{cell, row};
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
