//! How long a plan takes and what disk it needs, before anything is done. The assumptions are coarse
//! and are printed with the figures.

use super::{Plan, Variant};
use crate::base::units::{Size, Time};
use crate::workload::{Load, Mix};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a plan will take.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// From the first directory to the last.
    pub duration: Time,
    /// Loading what the trials start from, once.
    pub loading: Time,
    /// The longest trial, its servers' start and end included.
    pub trial: Time,
    /// At its highest, all data directories together.
    pub disk: Size,
    /// What this rests on.
    pub assumptions: Vec<String>,
}

/// `initdb` and a first start.
const INITDB: Duration = Duration::from_secs(3);
/// pgbench's rows of scale 1: generated, copied, indexed, vacuumed.
const LOADING_A_SCALE: Duration = Duration::from_millis(400);
/// Copying one node's directory, starting it and waiting until it streams; a second a gigabyte comes on top.
const UP_A_NODE: Duration = Duration::from_millis(600);
/// Counting what survived, stopping, removing.
const DOWN: Duration = Duration::from_millis(1000);
/// A fresh cluster's files.
const EMPTY: u64 = 40 << 20;
/// pgbench's tables and indexes of scale 1.
const A_SCALE: u64 = 15 << 20;
/// WAL of one of pgbench's writing transactions, full-page images included.
const WAL_A_TRANSACTION: f64 = 8192.0;
/// WAL of one more book in the same transaction, its index entry included.
const WAL_A_BOOK: f64 = 300.0;
/// PostgreSQL's own `max_wal_size`.
const MAX_WAL_SIZE: u64 = 1 << 30;
/// What a WAL directory has at least.
const LEAST_WAL: u64 = 32 << 20;

impl Plan {
    /// Estimates time and disk.
    pub fn estimate(&self) -> Estimate {
        let scales: BTreeSet<u32> = self.variants.iter().map(scale).collect();
        let loading: Duration = scales.iter().map(|scale| INITDB + LOADING_A_SCALE * *scale).sum();
        let trials: Duration = self.trials.iter().map(|trial| trial_lasts(self.variant(trial))).sum();
        // What somebody else's servers hold lies elsewhere.
        let here = || self.variants.iter().filter(|variant| !variant.scenario.is_external());
        let copied: BTreeSet<u32> = here().map(scale).collect();
        let templates: u64 = copied.into_iter().map(directory).sum();
        let live = here().map(live_bytes).max().unwrap_or_default();
        Estimate {
            duration: whole_seconds(loading + trials),
            loading: whole_seconds(loading),
            trial: whole_seconds(self.variants.iter().map(trial_lasts).max().unwrap_or_default()),
            disk: Size(templates + live),
            assumptions: assumptions(self.variants.iter().any(has_disks)),
        }
    }
}

fn has_disks(variant: &Variant) -> bool {
    variant.scenario.nodes().iter().any(|node| node.disk.is_some())
}

fn assumptions(disks: bool) -> Vec<String> {
    let mut all = vec![
        format!(
            "loaded once for each scale: {} for initdb, {} a scale; then copied for each node of each trial",
            Time(INITDB),
            Time(LOADING_A_SCALE)
        ),
        format!(
            "each trial: {} a node and 1s a gigabyte to copy and start, its phases, {} to check and remove",
            Time(UP_A_NODE),
            Time(DOWN)
        ),
        format!(
            "each node: {} and {} a scale, with WAL of {} a transaction up to max_wal_size",
            Size(EMPTY),
            Size(A_SCALE),
            Size(WAL_A_TRANSACTION as u64)
        ),
        "one trial's directories at a time, beside what they are copied from".to_owned(),
    ];
    if disks {
        all.push(
            "a node with a disk of its own: no more than that, and of its file only what was written to".to_owned(),
        );
    }
    all
}

fn whole_seconds(duration: Duration) -> Time {
    Time::s(duration.as_secs_f64().ceil() as u64)
}

/// The scale of pgbench's tables; 0 without them.
fn scale(variant: &Variant) -> u32 {
    variant.scenario.scale().unwrap_or_default()
}

fn directory(scale: u32) -> u64 {
    EMPTY + A_SCALE * u64::from(scale)
}

fn trial_lasts(variant: &Variant) -> Duration {
    let nodes = variant.scenario.nodes().len() as u32;
    let copied = directory(scale(variant)) * u64::from(nodes);
    UP_A_NODE * nodes + Duration::from_secs_f64(copied as f64 / f64::from(1 << 30)) + variant.scenario.lasts() + DOWN
}

fn live_bytes(variant: &Variant) -> u64 {
    let scenario = &variant.scenario;
    let seconds = scenario.lasts().as_secs_f64();
    let ledger = scenario.probe.ledger.as_ref().map_or(0.0, |ledger| ledger.rate);
    let written = scenario.load.values().map(|load| wal_per_second(load) * seconds).sum::<f64>()
        + ledger * seconds * WAL_A_TRANSACTION;
    let nodes = scenario.nodes().into_iter().map(|node| {
        let limit = node.settings.get("max_wal_size").and_then(|size| size.parse::<Size>().ok());
        let limit = limit.map_or(MAX_WAL_SIZE, |size| size.0);
        let all = directory(scale(variant)) + (written as u64).clamp(LEAST_WAL.min(limit), limit.max(LEAST_WAL));
        // More than its own disk has it cannot take.
        node.disk.map_or(all, |disk| all.min(disk.size.0))
    });
    nodes.sum()
}

/// A closed loop writes as fast as it can, so its WAL is taken to reach the limit.
fn wal_per_second(load: &Load) -> f64 {
    if !load.mix.transactions().iter().any(|(what, weight)| what.writes() && *weight > 0) {
        return 0.0;
    }
    load.profile.open().map_or(MAX_WAL_SIZE as f64, |(rate, _)| rate.mean() * (WAL_A_TRANSACTION + further_books(load)))
}

/// WAL of all books but the first that a transaction inserts.
fn further_books(load: &Load) -> f64 {
    match &load.mix {
        Mix::Books(books) => f64::from(books.rows.saturating_sub(1)) * WAL_A_BOOK,
        _ => 0.0,
    }
}
