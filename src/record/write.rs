//! Writing: `run.json` is replaced as a whole, the CSV files grow by whole trials, and all of it is on disk
//! before the next trial starts.

use super::{
    EventRow, LockRow, Manifest, Outline, RecordError, RunStatus, Server, Status, Stopped, SummaryRow, Template,
    TrialRow, host,
};
use crate::base::clock::Clock;
use crate::base::mask::{mask, mask_command, mask_json};
use crate::metric::{Event, Value, catalogue};
use crate::plan::{Plan, Trial};
use crate::probe::clones::Way;
use crate::sampler::Episode;
use crate::sink::{Account, Accounting, WriteError};
use indexmap::IndexMap;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What the build said of the revision that it was made from: `PGBENCH_RS_REVISION`, or what CI sets anyway.
const REVISION: Option<&str> = match option_env!("PGBENCH_RS_REVISION") {
    None => option_env!("GITHUB_SHA"),
    told => told,
};

/// The header of `lock_edges.csv`.
pub const LOCK_EDGES: &str = "run_id,variant,trial,node,began_ms,ended_ms,ticks,lock,relation,blocker_queryid,\
                          blocker_state,waiter_queryid,pairs_max,depth_max,longest_wait_s\n";

/// What is known when a run begins.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The scenario as written.
    pub scenario_text: &'a str,
    /// The `--set`s.
    pub sets: &'a [String],
    /// The plan.
    pub plan: &'a Plan,
    /// The command line.
    pub command: &'a [String],
    /// Where data directories go.
    pub work: &'a Path,
}

/// What is known when a trial has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// The trial's clock.
    pub clock: Clock,
    /// How it ended.
    pub status: Status,
    /// Why, unless it is `ok`.
    pub reason: Option<&'a str>,
    /// Its numbers.
    pub values: &'a [Value],
    /// What happened in it.
    pub events: &'a [Event],
    /// What became of its sampled points.
    pub accounting: Accounting,
    /// Sampled columns that its servers do not have.
    pub absent: &'a BTreeSet<String>,
    /// By which ways its clones came.
    pub clones: &'a [Way],
    /// Who waited for whose locks.
    pub episodes: &'a [Episode],
}

/// How the servers of a plan exist.
fn drivers(plan: &Plan) -> String {
    let nodes = plan.variants.iter().flat_map(|variant| variant.scenario.nodes());
    let names: BTreeSet<&str> = nodes.map(|node| node.driver.name()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// Whether servers share the machine with load and probes; of servers that somebody else runs this is not known here.
fn colocated(plan: &Plan) -> bool {
    let nodes = plan.variants.iter().flat_map(|variant| variant.scenario.nodes());
    nodes.into_iter().all(|node| node.driver.external().is_none())
}

/// Why a driver was not taken may be told in words of others.
fn masked(way: &Way) -> Way {
    Way { why: way.why.as_deref().map(mask), ..way.clone() }
}

/// A results folder that is being written.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    manifest: Manifest,
    plan: Outline,
}

impl Writer {
    /// Makes the folder under `out`, with `run.json` and the CSV files' headers in it.
    pub fn create(out: &Path, opening: Opening<'_>) -> Result<Writer, RecordError> {
        fs::create_dir_all(out).map_err(WriteError::at(out))?;
        let now = jiff::Timestamp::now();
        let (run_id, dir) = make_folder(out, &opening.plan.scenario, now)?;
        let mut plan = serde_json::to_value(opening.plan).map_err(RecordError::Plan)?;
        mask_json(&mut plan);
        let manifest = Manifest {
            run_id,
            scenario: opening.plan.scenario.clone(),
            status: RunStatus::Running,
            reason: None,
            started_at: now.to_string(),
            ended_at: None,
            version: env!("CARGO_PKG_VERSION").into(),
            revision: REVISION.map(Into::into),
            command: mask_command(opening.command),
            sets: opening.sets.iter().map(|set| mask(set)).collect(),
            scenario_text: mask(opening.scenario_text),
            host: host::facts(opening.work),
            colocated: colocated(opening.plan),
            driver: drivers(opening.plan),
            servers: Vec::new(),
            templates: Vec::new(),
            settings: Default::default(),
            clones: Default::default(),
            absent: BTreeSet::new(),
            accounting: Accounting::default(),
            sinks: IndexMap::new(),
            stopped: None,
            plan,
            result: None,
        };
        let writer = Writer { dir, manifest, plan: Outline::of(opening.plan).map_err(RecordError::Plan)? };
        for folder in [writer.latency(), writer.dir.join("nodes")] {
            fs::create_dir(&folder).map_err(WriteError::at(&folder))?;
        }
        for (file, header) in [
            ("trials.csv", "run_id,variant,trial,position,started_at,status,reason\n"),
            ("summary.csv", "run_id,scenario,variant,trial,phase,node,subject,metric,unit,value\n"),
            ("events.csv", "run_id,variant,trial,elapsed_ms,at,kind,node,text\n"),
            ("lock_edges.csv", LOCK_EDGES),
        ] {
            writer.append(file, header.as_bytes())?;
        }
        writer.write_manifest()?;
        Ok(writer)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `<utc>-<id>`.
    pub fn run_id(&self) -> &str {
        &self.manifest.run_id
    }

    /// What reports will know of the plan.
    pub fn plan(&self) -> &Outline {
        &self.plan
    }

    /// Where the inventory goes.
    pub fn inventory(&self) -> PathBuf {
        self.dir.join("inventory.jsonl")
    }

    /// Where loads keep their latency logs; each trial has a folder of its own in it.
    pub fn latency(&self) -> PathBuf {
        self.dir.join("latency")
    }

    /// Notes that servers are on another machine than load and probes.
    pub fn elsewhere(&mut self) {
        self.manifest.colocated = false;
    }

    /// Notes what the servers are made with.
    pub fn servers(&mut self, servers: Vec<Server>) {
        self.manifest.servers = servers;
    }

    /// Notes what trials start from.
    pub fn templates(&mut self, templates: Vec<Template>) {
        self.manifest.templates = templates;
    }

    /// Notes the settings of a variant that differ from the server's defaults.
    pub fn settings(&mut self, variant: usize, settings: BTreeMap<String, String>) {
        let settings = settings.into_iter().map(|(name, value)| (name, mask(&value))).collect();
        self.manifest.settings.insert(self.variant_name(variant), settings);
    }

    /// Appends a trial. Its row in `trials.csv` comes last: what a killed harness wrote in part has none.
    pub fn trial(&mut self, trial: &Trial, ended: &Ended<'_>) -> Result<(), RecordError> {
        let (run_id, variant) = (self.manifest.run_id.clone(), self.variant_name(trial.variant));
        let finite = ended.values.iter().filter(|value| value.value.is_finite());
        let values = finite.map(|value| SummaryRow {
            run_id: run_id.clone(),
            scenario: self.manifest.scenario.clone(),
            variant: variant.clone(),
            trial: trial.trial,
            phase: value.phase.clone(),
            node: value.node.clone(),
            subject: value.subject.clone(),
            metric: value.metric.to_owned(),
            unit: catalogue::find(value.metric).map_or("", |metric| metric.unit).to_owned(),
            value: value.value,
        });
        self.append("summary.csv", &rows(values))?;
        let events = ended.events.iter().map(|event| EventRow {
            run_id: run_id.clone(),
            variant: variant.clone(),
            trial: trial.trial,
            elapsed_ms: event.elapsed.as_micros() as f64 / 1000.0,
            at: ended.clock.at(event.elapsed).to_string(),
            kind: event.kind.to_owned(),
            node: event.node.clone(),
            text: mask(&event.text),
        });
        self.append("events.csv", &rows(events))?;
        self.append("lock_edges.csv", &lock_edges(&run_id, &variant, trial.trial, ended.episodes))?;
        let row = TrialRow {
            variant,
            trial: trial.trial,
            position: trial.position,
            started_at: ended.clock.at(std::time::Duration::ZERO).to_string(),
            status: ended.status,
            reason: ended.reason.map(mask),
            run_id,
        };
        self.append("trials.csv", &rows([row]))?;
        if !ended.clones.is_empty() {
            let known = self.manifest.clones.entry(self.variant_name(trial.variant)).or_default();
            for way in ended.clones.iter().map(masked) {
                if !known.contains(&way) {
                    known.push(way);
                }
            }
        }
        self.manifest.accounting += ended.accounting;
        self.manifest.absent.extend(ended.absent.iter().cloned());
        self.write_manifest()
    }

    /// Notes why there are no more trials.
    pub fn stopped(&mut self, stopped: Stopped) {
        self.manifest.stopped = Some(stopped);
    }

    /// What became of the points of the trials so far.
    pub fn accounting(&self) -> Accounting {
        self.manifest.accounting
    }

    /// Notes what became of them on their way to servers.
    pub fn sinks(&mut self, sinks: IndexMap<String, Account>) {
        self.manifest.sinks = sinks;
    }

    /// Says how the run ended. The record is whole then; [`Writer::result`] adds what the report makes of it.
    pub fn finish(&mut self, status: RunStatus, reason: Option<&str>) -> Result<(), RecordError> {
        self.manifest.status = status;
        self.manifest.reason = reason.map(mask);
        self.manifest.ended_at = Some(jiff::Timestamp::now().to_string());
        self.write_manifest()
    }

    /// Adds the report's findings to `run.json`.
    pub fn result(mut self, result: &impl Serialize) -> Result<(), RecordError> {
        self.manifest.result = Some(serde_json::to_value(result).map_err(RecordError::Plan)?);
        self.write_manifest()
    }

    fn variant_name(&self, index: usize) -> String {
        self.plan.variants.get(index).map_or_else(|| format!("#{index}"), |variant| variant.name.clone())
    }

    fn append(&self, file: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let path = self.dir.join(file);
        let append = || {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(bytes)?;
            file.sync_data()
        };
        append().map_err(WriteError::at(&path))
    }

    fn write_manifest(&self) -> Result<(), RecordError> {
        write_manifest(&self.dir, &self.manifest)
    }
}

/// Replaces `run.json` of the folder `dir`: whoever reads it finds the old one or the new one, never half of one.
pub fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<(), RecordError> {
    let (path, next) = (dir.join("run.json"), dir.join("run.json.next"));
    let mut json = serde_json::to_vec_pretty(manifest).map_err(RecordError::Plan)?;
    json.push(b'\n');
    let replace = || {
        let mut file = fs::File::create(&next)?;
        file.write_all(&json)?;
        file.sync_data()?;
        fs::rename(&next, &path)
    };
    replace().map_err(WriteError::at(&path))?;
    Ok(())
}

/// The rows of `lock_edges.csv`, without header.
pub fn lock_edges(run_id: &str, variant: &str, trial: u32, episodes: &[Episode]) -> Vec<u8> {
    rows(episodes.iter().map(|episode| lock_row(run_id, variant, trial, episode)))
}

fn lock_row(run_id: &str, variant: &str, trial: u32, episode: &Episode) -> LockRow {
    let pair = &episode.pair;
    LockRow {
        run_id: run_id.to_owned(),
        variant: variant.to_owned(),
        trial,
        node: episode.node.clone(),
        began_ms: episode.began.as_micros() as f64 / 1000.0,
        ended_ms: episode.ended.as_micros() as f64 / 1000.0,
        ticks: episode.ticks,
        lock: pair.lock.clone(),
        relation: pair.relation.clone(),
        blocker_queryid: pair.blocker,
        blocker_state: pair.blocker_state.clone(),
        waiter_queryid: pair.waiter,
        pairs_max: episode.pairs_max,
        depth_max: episode.depth_max,
        longest_wait_s: episode.longest_wait,
    }
}

/// A new folder `<scenario>-<utc>-<id>` and its run's name.
fn make_folder(out: &Path, scenario: &str, now: jiff::Timestamp) -> Result<(String, PathBuf), RecordError> {
    loop {
        let run_id = format!("{}-{:04x}", now.strftime("%Y%m%dT%H%M%SZ"), rand::random::<u16>());
        let dir = out.join(format!("{scenario}-{run_id}"));
        match fs::create_dir(&dir) {
            Ok(()) => return Ok((run_id, dir)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(WriteError { path: dir, source }.into()),
        }
    }
}

/// Rows as CSV, without header.
fn rows(rows: impl IntoIterator<Item = impl Serialize>) -> Vec<u8> {
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    for row in rows {
        // Rows are flat structs and the writer is memory: neither can fail.
        let _ = csv.serialize(row);
    }
    csv.into_inner().unwrap_or_default()
}

#[cfg(test)]
mod tests;
