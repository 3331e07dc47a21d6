//! How long a plan takes and what disk it needs, before anything is done. The assumptions are coarse
//! and are printed with the figures.

use super::data::{self, A_SCALE, Amounts};
use super::{Plan, Variant};
use crate::base::units::{Size, Time};
use crate::fault::Fault;
use crate::scenario::{Phase, Scenario};
use crate::workload::{Load, Mix};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
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
/// pgbench's rows of scale 1: generated, copied, indexed, vacuumed. Twice of what `make bench-load` has on idle cores.
const LOADING_A_SCALE: Duration = Duration::from_millis(100);
/// Copying one node's directory, starting it and waiting until it streams; a second a gigabyte comes on top.
const UP_A_NODE: Duration = Duration::from_millis(600);
/// Counting what survived, stopping, removing.
const DOWN: Duration = Duration::from_millis(1000);
/// A fresh cluster's files.
const EMPTY: u64 = 40 << 20;
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
        let mut amounts = Amounts::default();
        let needs: Vec<Needs> = self.variants.iter().map(|variant| Needs::of(variant, &mut amounts)).collect();
        let each = |needs| -> Vec<_> { Needs::templates(needs).map(|template| (template, needs)).collect() };
        let mut templates: BTreeMap<_, &Needs> = needs.iter().flat_map(each).collect();
        let loading: Duration = templates.values().map(|needs| needs.loading).sum();
        let trials: Duration = self.trials.iter().map(|trial| needs[trial.variant].trial).sum();
        // What somebody else's servers hold lies elsewhere.
        templates.retain(|_, needs| needs.is_here);
        let kept = templates.values().map(|needs| needs.directory).fold(0, u64::saturating_add);
        let live = needs.iter().filter(|needs| needs.is_here).map(|needs| needs.live).max().unwrap_or_default();
        Estimate {
            duration: whole_seconds(loading + trials),
            loading: whole_seconds(loading),
            trial: whole_seconds(needs.iter().map(|needs| needs.trial).max().unwrap_or_default()),
            disk: Size(kept.saturating_add(live)),
            assumptions: assumptions(self),
        }
    }
}

/// What a variant needs.
struct Needs {
    /// What its trials start from, told apart by this.
    template: String,
    /// And by the servers' major versions.
    versions: BTreeSet<Option<u32>>,
    /// To make one.
    loading: Duration,
    /// Bytes of it.
    directory: u64,
    /// How long a trial lasts.
    trial: Duration,
    /// Bytes of the data directories of a trial.
    live: u64,
    /// Whether the servers are ours.
    is_here: bool,
}

impl Needs {
    fn of(variant: &Variant, amounts: &mut Amounts) -> Needs {
        let scenario = &variant.scenario;
        let (scale, before) = (scenario.filled().unwrap_or_default(), amounts.before(scenario));
        let data: Vec<String> = scenario.loaded_before().map(|(_, data)| data::key(data)).collect();
        let directory = (EMPTY + A_SCALE * u64::from(scale)).saturating_add(before.disk);
        Needs {
            template: format!("{scale} {}", data.join(" ")),
            versions: scenario.nodes().iter().map(|node| node.version.map(|version| version.0)).collect(),
            loading: INITDB + LOADING_A_SCALE * scale + before.time,
            directory,
            trial: trial_lasts(scenario, directory, amounts),
            live: live_bytes(scenario, directory, amounts.by_steps(scenario).disk),
            is_here: !scenario.is_external(),
        }
    }

    fn templates(&self) -> impl Iterator<Item = (Option<u32>, &str)> {
        self.versions.iter().map(|version| (*version, self.template.as_str()))
    }
}

fn has_disks(variant: &Variant) -> bool {
    variant.scenario.nodes().iter().any(|node| node.disk.is_some())
}

fn assumptions(plan: &Plan) -> Vec<String> {
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
    if plan.variants.iter().any(|variant| !variant.scenario.data.is_empty()) {
        all.push(data::ASSUMED.to_owned());
    }
    if plan.variants.iter().any(has_disks) {
        all.push(
            "a node with a disk of its own: no more than that, and of its file only what was written to".to_owned(),
        );
    }
    all
}

fn whole_seconds(duration: Duration) -> Time {
    Time::s(duration.as_secs_f64().ceil() as u64)
}

/// A phase that ends with a load lasts about as long as that.
fn trial_lasts(scenario: &Scenario, directory: u64, amounts: &mut Amounts) -> Duration {
    let nodes = scenario.nodes().len() as u32;
    let copied = directory.saturating_mul(u64::from(nodes));
    let mut lasts = |phase: &Phase| {
        let until = phase.until.as_ref().and_then(|name| phase.steps.get(name.as_str()));
        let load = until.and_then(|step| match &step.act {
            Fault::Load(load) => Some(step.at.0 + amounts.of(scenario.data.get(load.data.as_str())?)?.time),
            _ => None,
        });
        load.map_or(phase.lasts.0, |load| load.min(phase.lasts.0))
    };
    let phases: Duration = scenario.phase.iter().map(&mut lasts).sum();
    UP_A_NODE * nodes + Duration::from_secs_f64(copied as f64 / f64::from(1 << 30)) + phases + DOWN
}

/// `loaded`: bytes of what steps load, all of which goes through the WAL.
fn live_bytes(scenario: &Scenario, directory: u64, loaded: u64) -> u64 {
    let seconds = scenario.lasts().as_secs_f64();
    let ledger = scenario.probe.ledger.as_ref().map_or(0.0, |ledger| ledger.rate);
    let written = scenario.load.values().map(|load| wal_per_second(load) * seconds).sum::<f64>()
        + ledger * seconds * WAL_A_TRANSACTION
        + loaded as f64;
    let nodes = scenario.nodes().into_iter().map(|node| {
        let limit = node.settings.get("max_wal_size").and_then(|size| size.parse::<Size>().ok());
        let limit = limit.map_or(MAX_WAL_SIZE, |size| size.0);
        let wal = (written as u64).clamp(LEAST_WAL.min(limit), limit.max(LEAST_WAL));
        let all = directory.saturating_add(loaded).saturating_add(wal);
        // More than its own disk has it cannot take.
        node.disk.map_or(all, |disk| all.min(disk.size.0))
    });
    nodes.fold(0, u64::saturating_add)
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
