//! One trial: up, phases, verdict, down. Whatever happens in between, down is reached.

use super::parts::{self, Parts, Start};
use super::progress::Progress;
use super::signals::Stop;
use super::steps::Steps;
use super::timeline::moments;
use super::{Lab, need};
use crate::base::clock::Clock;
use crate::cluster::Cluster;
use crate::cluster::node::NodeSpec;
use crate::driver::Make;
use crate::driver::start::whole;
use crate::fault::Reach;
use crate::metric::line::Labels;
use crate::metric::{Event, Events, Points, Value};
use crate::plan;
use crate::record::{self, Status};
use crate::report::judge;
use crate::scenario::topology::NodePlan;
use crate::scenario::{Phase, Role, Scenario};
use crate::sink::{self, Accounting, Sink};
use anyhow::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often live throughput is shown.
const SHOW: Duration = Duration::from_millis(500);

/// What a trial came to.
pub struct Ended {
    clock: Clock,
    status: Status,
    reason: Option<String>,
    values: Vec<Value>,
    events: Vec<Event>,
    accounting: Accounting,
    absent: BTreeSet<String>,
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

    /// It ended otherwise than well. What was said first stands first, and a failure stays one.
    fn otherwise(&mut self, status: Status, reason: String) {
        if self.status != Status::Failed {
            self.status = status;
        }
        match &mut self.reason {
            None => self.reason = Some(reason),
            Some(before) => *before = format!("{before}; {reason}"),
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

/// How the phases ended.
enum Phases {
    Whole(parts::Ended),
    Interrupted,
}

/// Runs one trial of a variant.
pub async fn run(lab: &Lab, variant: &plan::Variant, trial: &plan::Trial, stop: &Stop, keep: bool) -> Ended {
    let clock = Clock::start();
    let mut ended = Ended::new(clock);
    let (events, mut inbox) = mpsc::unbounded_channel();
    let sink = match lab.sink(variant, trial, clock) {
        Ok(sink) => sink,
        Err(error) => {
            ended.otherwise(Status::Failed, whole(error.as_ref()));
            return ended;
        }
    };
    let measuring = Measuring {
        scenario: Arc::new(variant.scenario.clone()),
        clock,
        events,
        points: sink.points(),
        seed: trial.seed,
        logs: lab.dir.join("latency").join(trial.position.to_string()),
        progress: lab.progress.clone(),
    };
    lab.servers(measuring, trial, stop, keep, &mut ended).await;
    match sink.stop().await {
        Ok(finished) => {
            ended.accounting = finished.accounting;
            if let Some(error) = finished.error {
                ended.otherwise(Status::Invalid, format!("metrics are not whole: {error}"));
            }
        }
        Err(died) => ended.otherwise(Status::Failed, format!("the writer of metrics failed: {died}")),
    }
    while let Ok(event) = inbox.try_recv() {
        ended.events.push(event);
    }
    ended.events.sort_by_key(|event| event.elapsed);
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
        let file = sink::File::append(self.dir.join("metrics.lp.gz"))?;
        Ok(sink::Running::start(Sink::File(file), &labels, clock))
    }

    fn specs(&self, scenario: &Scenario) -> anyhow::Result<Vec<NodeSpec>> {
        let spec = |node: NodePlan| self.makes.of(&node).cloned().map(|make| spec(node, make));
        scenario.nodes().into_iter().map(spec).collect()
    }

    /// Up, phases, down.
    async fn servers(&self, measuring: Measuring, trial: &plan::Trial, stop: &Stop, keep: bool, ended: &mut Ended) {
        let scenario = measuring.scenario.clone();
        let specs = match self.specs(&scenario) {
            Ok(specs) => specs,
            Err(error) => return ended.otherwise(Status::Failed, whole(error.as_ref())),
        };
        let cluster = match self.up(&scenario, trial, &specs, stop).await {
            Ok(cluster) => Arc::new(cluster),
            Err((status, reason)) => return ended.otherwise(status, reason),
        };
        ended.values.push(Value::new("cluster.up", measuring.clock.elapsed().as_secs_f64()));
        for mismatch in &cluster.unconfirmed {
            ended.otherwise(Status::Invalid, mismatch.to_string());
        }
        match cluster.settings().await {
            Ok(settings) => ended.settings = Some(settings),
            Err(error) => ended.otherwise(Status::Invalid, format!("settings could not be read: {error}")),
        }
        if let Err((status, reason)) = self.tables(&cluster, &scenario, stop).await {
            ended.otherwise(status, reason);
            return self.down(&cluster, ended).await;
        }
        // In a task of its own, so that a panic is a value and the servers are still taken down.
        match tokio::spawn(measuring.run(cluster.clone(), stop.clone())).await {
            Ok(Ok(Phases::Whole(parts))) => {
                ended.values.extend(parts.values);
                ended.absent = parts.absent;
                for problem in parts.problems {
                    ended.otherwise(Status::Invalid, problem);
                }
            }
            Ok(Ok(Phases::Interrupted)) => ended.otherwise(Status::Interrupted, "interrupted".into()),
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

    async fn up(
        &self,
        scenario: &Scenario,
        trial: &plan::Trial,
        specs: &[NodeSpec],
        stop: &Stop,
    ) -> Result<Cluster, (Status, String)> {
        let interrupted = |when: &str| (Status::Interrupted, format!("interrupted {when}"));
        let ways = scenario.ways();
        let mut asked = stop.clone();
        let position = trial.position.to_string();
        let cluster = if scenario.is_external() {
            tokio::select! {
                cluster = Cluster::attach(&self.place, specs, &ways) => cluster,
                () = asked.wait() => return Err(interrupted("while servers were connected to")),
            }
        } else {
            let need = specs.first().map(|spec| need(scenario, &spec.make));
            let template = need.and_then(|need| self.templates.get(&need));
            let template = template.ok_or_else(|| interrupted("before its template was made"))?;
            tokio::select! {
                cluster = Cluster::up(&self.place, &position, template, specs, &ways) => cluster,
                // What stands half built is undone from the inventory at the end of the run.
                () = asked.wait() => return Err(interrupted("while servers started")),
            }
        };
        cluster.map_err(|error| (Status::Failed, error.to_string()))
    }

    /// What a template would hold, on servers that have none.
    async fn tables(&self, cluster: &Cluster, scenario: &Scenario, stop: &Stop) -> Result<(), (Status, String)> {
        if !cluster.is_external() {
            return Ok(());
        }
        let mut asked = stop.clone();
        let mut guests = self.guests.lock().await;
        tokio::select! {
            ready = guests.ready(cluster, scenario, &self.place, &self.progress) => {
                ready.map_err(|error| (Status::Failed, whole(error.as_ref())))
            }
            () = asked.wait() => Err((Status::Interrupted, "interrupted while tables were made".to_owned())),
        }
    }

    async fn down(&self, cluster: &Cluster, ended: &mut Ended) {
        if let Err(error) = cluster.down().await {
            ended.otherwise(Status::Failed, error.to_string());
        }
    }
}

fn spec(node: NodePlan, make: Make) -> NodeSpec {
    NodeSpec {
        name: node.name,
        primary: node.role == Role::Primary,
        follows: node.follows,
        site: node.site,
        slot: node.slot,
        priority: node.priority,
        settings: node.settings.into_iter().collect(),
        dir: node.dir,
        make,
        limits: node.limits,
        disk: node.disk.map(|size| size.0),
    }
}

/// The part of a trial between up and down.
struct Measuring {
    scenario: Arc<Scenario>,
    clock: Clock,
    events: Events,
    points: Points,
    seed: u64,
    /// Folder of the trial's latency logs.
    logs: PathBuf,
    progress: Arc<Progress>,
}

impl Measuring {
    async fn run(self, cluster: Arc<Cluster>, mut stop: Stop) -> anyhow::Result<Phases> {
        std::fs::create_dir_all(&self.logs).with_context(|| format!("cannot make {}", self.logs.display()))?;
        let start = Start {
            scenario: &self.scenario,
            cluster: cluster.clone(),
            clock: self.clock,
            events: self.events.clone(),
            points: self.points.clone(),
            seed: self.seed,
            logs: &self.logs,
        };
        let mut parts = tokio::select! {
            parts = Parts::start(&start) => parts?,
            () = stop.wait() => return Ok(Phases::Interrupted),
        };
        let reach = Reach { cluster, manager: parts.manager.clone(), clock: self.clock, events: self.events.clone() };
        let mut steps = Steps::new(self.scenario.clone(), reach);
        let begin = Instant::now();
        let mut at = begin;
        let mut starts = Vec::new();
        for (index, phase) in self.scenario.phase.iter().enumerate() {
            starts.push(self.clock.since(at));
            if !self.phase(index, phase, at, &mut parts, &mut steps, &mut stop).await {
                if self.scenario.is_external() {
                    // They go on: what was done to them is taken back.
                    steps.finish().await;
                } else {
                    steps.abandon();
                }
                return Ok(Phases::Interrupted);
            }
            at += *phase.lasts;
        }
        // A step that was due at the very end may have told its instant only now.
        if let Some(t0) = *steps.measured().borrow() {
            parts.fault(t0);
        }
        // In this order, so that an outage that only the undoing ends is not measured as one that ended.
        let halted = parts.halt(self.steady_from(&starts)).await;
        let not_run = steps.finish().await;
        let mut ended = halted.finish(&self.progress).await;
        ended.problems.extend(not_run);
        Ok(Phases::Whole(ended))
    }

    /// One phase, which begins at the instant `at`; `false` when it was interrupted.
    async fn phase(
        &self,
        index: usize,
        phase: &Phase,
        at: Instant,
        parts: &mut Parts,
        steps: &mut Steps,
        stop: &mut Stop,
    ) -> bool {
        parts.phase(phase, &self.scenario);
        self.progress.phase(&phase.name, *phase.lasts);
        self.say("phase.start", format!("{} for {}", phase.name, phase.lasts));
        let moments = moments(phase);
        let mut due = moments.iter().peekable();
        let mut measured = steps.measured();
        let mut show = tokio::time::interval(SHOW);
        let mut before = (Instant::now(), parts.live());
        loop {
            let next = due.peek().map_or(*phase.lasts, |moment| moment.at);
            tokio::select! {
                () = stop.wait() => return false,
                () = tokio::time::sleep_until((at + next).into()) => match due.next() {
                    Some(moment) => steps.act(index, moment),
                    None => break,
                },
                Ok(()) = measured.changed() => {
                    if let Some(t0) = *measured.borrow_and_update() {
                        parts.fault(t0);
                    }
                }
                _ = show.tick() => {
                    let (then, (done, errors)) = before;
                    let seconds = then.elapsed().as_secs_f64().max(1e-3);
                    before = (Instant::now(), parts.live());
                    let (now_done, now_errors) = before.1;
                    let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
                    self.progress.live(at.elapsed(), *phase.lasts, rate(now_done, done), rate(now_errors, errors));
                }
            }
        }
        self.say("phase.end", phase.name.clone());
        true
    }

    /// Where the steady stretch before the measured fault begins: the phase before the fault's, or the
    /// fault's own when it is the first.
    fn steady_from(&self, starts: &[Duration]) -> Duration {
        let phase = self.scenario.measured().map_or(0, |measured| measured.phase);
        starts.get(phase.saturating_sub(1)).copied().unwrap_or_default()
    }

    fn say(&self, kind: &'static str, text: String) {
        // The receiver lives as long as the trial.
        let _ = self.events.send(Event { elapsed: self.clock.elapsed(), kind, node: None, text });
    }
}
