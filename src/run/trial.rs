//! One trial: up, phases, verdict, down. Whatever happens in between, down is reached.

use super::events::Gathering;
use super::measuring::{Measuring, Phases};
use super::parts;
use super::signals::Stop;
use super::{Lab, logical};
use crate::base::clock::Clock;
use crate::cluster::Cluster;
use crate::driver::start::whole;
use crate::metric::line::Labels;
use crate::metric::{Event, Value};
use crate::plan;
use crate::probe::clones::{self, Campaign};
use crate::probe::ledger;
use crate::record::{self, Status};
use crate::report::judge;
use crate::sampler;
use crate::sink::{self, Accounting, Sink};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a trial came to.
pub struct Ended {
    clock: Clock,
    status: Status,
    reason: Option<String>,
    values: Vec<Value>,
    events: Vec<Event>,
    accounting: Accounting,
    absent: BTreeSet<String>,
    clones: Vec<clones::Way>,
    episodes: Vec<sampler::Episode>,
    /// Settings that differ from the server's defaults, where they could be read.
    pub settings: Option<BTreeMap<String, String>>,
    /// How to connect to servers that were left up.
    pub kept: Vec<String>,
}

impl Ended {
    fn new(clock: Clock) -> Ended {
        Ended {
            clock,
            status: Status::Ok,
            reason: None,
            values: Vec::new(),
            events: Vec::new(),
            accounting: Accounting::default(),
            absent: BTreeSet::new(),
            clones: Vec::new(),
            episodes: Vec::new(),
            settings: None,
            kept: Vec::new(),
        }
    }

    /// It was not even begun.
    pub fn not_run(reason: String) -> Ended {
        Ended { status: Status::Failed, reason: Some(reason), ..Ended::new(Clock::start()) }
    }

    /// Whether it could not be carried out.
    pub fn failed(&self) -> bool {
        self.status == Status::Failed
    }

    /// Its numbers, if it counts.
    pub fn counted(&self) -> Option<&[Value]> {
        (self.status == Status::Ok).then_some(self.values.as_slice())
    }

    /// It ended otherwise than well. What was said first stands first, and a failure stays one.
    pub(super) fn otherwise(&mut self, status: Status, reason: String) {
        if self.status != Status::Failed {
            self.status = status;
        }
        match &mut self.reason {
            None => self.reason = Some(reason),
            Some(before) => *before = format!("{before}; {reason}"),
        }
    }

    /// What the parts ended with.
    fn take_in(&mut self, parts: parts::Ended) {
        self.values.extend(parts.values);
        self.clones = parts.clones;
        (self.absent, self.episodes) = (parts.absent, parts.episodes);
        for failure in parts.failures {
            self.otherwise(Status::Failed, failure);
        }
        for problem in parts.problems {
            self.otherwise(Status::Invalid, problem);
        }
    }

    /// For the record.
    pub fn as_record(&self) -> record::Ended<'_> {
        record::Ended {
            clock: self.clock,
            status: self.status,
            reason: self.reason.as_deref(),
            values: &self.values,
            events: &self.events,
            accounting: self.accounting,
            absent: &self.absent,
            clones: &self.clones,
            episodes: &self.episodes,
        }
    }

    /// In a line, for people.
    pub fn outcome(&self) -> String {
        match &self.reason {
            None => self.status.name().to_owned(),
            Some(reason) => format!("{}: {}", self.status.name(), reason.lines().next().unwrap_or_default()),
        }
    }
}

/// Runs one trial of a variant.
pub async fn run(lab: &Lab, variant: &plan::Variant, trial: &plan::Trial, stop: &Stop, keep: bool) -> Ended {
    let clock = Clock::start();
    let mut ended = Ended::new(clock);
    let sink = match lab.sink(variant, trial, clock) {
        Ok(sink) => sink,
        Err(error) => {
            ended.otherwise(Status::Failed, whole(error.as_ref()));
            return ended;
        }
    };
    let data = match lab.sets(&variant.scenario, trial) {
        Ok(data) => data,
        Err(error) => {
            ended.otherwise(Status::Failed, whole(error.as_ref()));
            return ended;
        }
    };
    let (events, gathering) = Gathering::start(sink.points());
    let measuring = Measuring {
        scenario: Arc::new(variant.scenario.clone()),
        clock,
        events,
        points: sink.points(),
        seed: trial.seed,
        logs: lab.dir.join("latency").join(trial.position.to_string()),
        clones: Vec::new(),
        progress: lab.progress.clone(),
        data,
    };
    lab.servers(measuring, trial, stop, keep, &mut ended).await;
    match gathering.stop().await {
        Ok(events) => ended.events = events,
        Err(died) => ended.otherwise(Status::Failed, format!("what gathers events failed: {died}")),
    }
    match sink.stop().await {
        Ok(finished) => {
            ended.accounting = finished.accounting;
            lab.put_back(finished.sink);
            if let Some(error) = finished.error {
                ended.otherwise(Status::Invalid, format!("metrics are not whole: {error}"));
            }
        }
        Err(died) => ended.otherwise(Status::Failed, format!("the writer of metrics failed: {died}")),
    }
    let valid = &lab.outline.variants[trial.variant].scenario.valid;
    if ended.status == Status::Ok
        && let Some(reason) = judge::invalid(valid, &ended.values)
    {
        ended.otherwise(Status::Invalid, reason);
    }
    ended
}

impl Lab {
    fn sink(&self, variant: &plan::Variant, trial: &plan::Trial, clock: Clock) -> anyhow::Result<sink::Running> {
        let labels = Labels {
            run_id: self.run_id.clone(),
            scenario: variant.scenario.name.clone(),
            variant: variant.name.clone(),
            trial: trial.trial,
        };
        let before = self.file.lock().ok().and_then(|mut file| file.take());
        let file = before.map_or_else(|| sink::File::append(self.dir.join(sink::FILE)), Ok)?;
        Ok(sink::Running::start(Sink::File(file), &labels, clock, self.orphans.clone()))
    }

    /// Keeps the file for the next trial: it knows how far it is whole.
    fn put_back(&self, sink: Sink) {
        if let (Sink::File(file), Ok(mut place)) = (sink, self.file.lock()) {
            *place = Some(file);
        }
    }

    /// What each campaign of clones works with.
    fn benches(
        &self,
        with: &Measuring,
        cluster: &Arc<Cluster>,
        trial: &plan::Trial,
    ) -> anyhow::Result<Vec<(String, clones::Bench)>> {
        let ledger = with.scenario.probe.ledger.is_some().then(ledger::watermark);
        let bench = |(i, (name, campaign)): (usize, (&String, &Campaign))| {
            let bench = clones::Bench {
                place: self.place.clone(),
                cluster: cluster.clone(),
                make: self.makes.of_clones(&with.scenario, campaign)?,
                watermark: ledger.clone(),
                clock: with.clock,
                events: with.events.clone(),
                points: with.points.clone(),
                // Apart from those of the loads.
                seed: with.seed.wrapping_add((i as u64 + 1) << 32),
                logs: self.dir.join("nodes").join(trial.position.to_string()).join("clones"),
                latency: with.logs.clone(),
            };
            Ok((name.clone(), bench))
        };
        with.scenario.clone.iter().enumerate().map(bench).collect()
    }

    /// Up, phases, down.
    async fn servers(&self, mut measuring: Measuring, trial: &plan::Trial, stop: &Stop, keep: bool, ended: &mut Ended) {
        let scenario = measuring.scenario.clone();
        let specs = match self.specs(&scenario) {
            Ok(specs) => specs,
            Err(error) => return ended.otherwise(Status::Failed, whole(error.as_ref())),
        };
        let cluster = match self.up(&scenario, trial, &specs, stop).await {
            Ok(cluster) => Arc::new(cluster),
            Err((status, reason)) => return ended.otherwise(status, reason),
        };
        came_up(&measuring, &cluster, ended);
        match cluster.settings().await {
            Ok(settings) => ended.settings = Some(settings),
            Err(error) => ended.otherwise(Status::Invalid, format!("settings could not be read: {error}")),
        }
        let tables = match self.tables(&cluster, &scenario, stop).await {
            Ok(()) => self.replicate(&cluster, &scenario, stop).await,
            Err(ended) => Err(ended),
        };
        match tables {
            Ok(made) => ended.values.extend(logical::values(&made)),
            Err((status, reason)) => {
                ended.otherwise(status, reason);
                return self.down(&cluster, ended).await;
            }
        }
        match self.benches(&measuring, &cluster, trial) {
            Ok(benches) => measuring.clones = benches,
            Err(error) => {
                ended.otherwise(Status::Failed, whole(error.as_ref()));
                return self.down(&cluster, ended).await;
            }
        }
        // In a task of its own, so that a panic is a value and the servers are still taken down.
        match tokio::spawn(measuring.run(cluster.clone(), stop.clone())).await {
            Ok(Ok(Phases::Whole(parts))) => ended.take_in(parts),
            Ok(Ok(Phases::Interrupted(problems))) => {
                ended.otherwise(Status::Interrupted, "interrupted".into());
                for problem in problems {
                    ended.otherwise(Status::Interrupted, problem);
                }
            }
            Ok(Err(error)) => ended.otherwise(Status::Failed, whole(error.as_ref())),
            Err(died) => ended.otherwise(Status::Failed, format!("the harness failed: {died}")),
        }
        for end in cluster.nodes.iter().filter_map(|node| node.own_end()) {
            ended.otherwise(Status::Failed, end.to_owned());
        }
        // Somebody else's stay up anyway.
        if keep && ended.status != Status::Interrupted && !cluster.is_external() {
            match cluster.keep() {
                Ok(kept) => ended.kept = kept.iter().map(ToString::to_string).collect(),
                Err(error) => ended.otherwise(Status::Failed, format!("servers could not be kept: {error}")),
            }
        } else {
            self.down(&cluster, ended).await;
        }
    }
}

/// How long the servers took to come, and what is to be known of them.
fn came_up(measuring: &Measuring, cluster: &Cluster, ended: &mut Ended) {
    ended.values.push(Value::new("cluster.up", measuring.clock.elapsed().as_secs_f64()));
    for (node, why) in &cluster.in_memory {
        let text = format!("its disk is in memory, where flushing costs nothing: {why}");
        let (elapsed, kind) = (measuring.clock.elapsed(), "disk.in_memory");
        // The receiver lives as long as the trial.
        let _ = measuring.events.send(Event { elapsed, kind, node: Some(node.clone()), text });
    }
    for (node, copy) in &cluster.copies {
        ended.values.push(Value::new("template.copy", copy.took.as_secs_f64()).node(node));
        let text = format!("its data came by `{}` in {:.1?}: {}", copy.driver, copy.took, copy.why);
        let (elapsed, kind) = (measuring.clock.elapsed(), "template.copied");
        let _ = measuring.events.send(Event { elapsed, kind, node: Some(node.clone()), text });
    }
    for mismatch in &cluster.unconfirmed {
        ended.otherwise(Status::Invalid, mismatch.to_string());
    }
}
