//! One trial: up, phases, verdict, down. Whatever happens in between, down is reached.

use super::events::Gathering;
use super::parts::{self, Parts, Start};
use super::progress::Progress;
use super::signals::Stop;
use super::steps::Steps;
use super::timeline::moments;
use super::{Lab, logical};
use crate::base::clock::Clock;
use crate::cluster::Cluster;
use crate::driver::start::whole;
use crate::fault::{Reach, load};
use crate::metric::line::Labels;
use crate::metric::{Event, Events, Points, Value};
use crate::plan;
use crate::probe::clones::{self, Campaign};
use crate::probe::{ledger, steady};
use crate::record::{self, Status};
use crate::report::judge;
use crate::sampler;
use crate::scenario::{Phase, Scenario};
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

/// How the phases ended.
enum Phases {
    Whole(parts::Ended),
    /// With what could not be taken back of servers that go on.
    Interrupted(Vec<String>),
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

/// The part of a trial between up and down.
struct Measuring {
    scenario: Arc<Scenario>,
    clock: Clock,
    events: Events,
    points: Points,
    seed: u64,
    /// Folder of the trial's latency logs.
    logs: PathBuf,
    /// The campaigns of clones, with what each works with.
    clones: Vec<(String, clones::Bench)>,
    progress: Arc<Progress>,
    /// What steps load.
    data: load::Sets,
}

impl Measuring {
    async fn run(self, cluster: Arc<Cluster>, mut stop: Stop) -> anyhow::Result<Phases> {
        for dir in self.clones.iter().map(|(_, bench)| &bench.logs).chain([&self.logs]) {
            std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let start = Start {
            scenario: &self.scenario,
            cluster: cluster.clone(),
            clock: self.clock,
            events: self.events.clone(),
            points: self.points.clone(),
            seed: self.seed,
            logs: &self.logs,
            benches: &self.clones,
        };
        let mut parts = tokio::select! {
            parts = Parts::start(&start) => parts?,
            () = stop.wait() => return Ok(Phases::Interrupted(Vec::new())),
        };
        let (loads, mut loaded) = mpsc::unbounded_channel();
        let data = load::Sets { done: Some(loads), ..self.data.clone() };
        let (clock, events) = (self.clock, self.events.clone());
        let (values, mut measured) = mpsc::unbounded_channel();
        let reach = Reach { cluster, manager: parts.manager.clone(), clock, events, data, values: Some(values) };
        let mut steps = Steps::new(self.scenario.clone(), reach);
        let begin = Instant::now();
        let mut at = begin;
        let mut starts = Vec::new();
        let mut stretches = Vec::new();
        for (index, phase) in self.scenario.phase.iter().enumerate() {
            starts.push(self.clock.since(at));
            let Some(end) = self.phase(index, phase, at, &mut parts, &mut steps, &mut stop).await else {
                let mut problems = parts.abandon().await;
                if self.scenario.is_external() {
                    // They go on: what was done to them is taken back.
                    problems.extend(steps.finish().await);
                } else {
                    steps.abandon();
                }
                return Ok(Phases::Interrupted(problems));
            };
            stretches.extend(self.stretch(phase, at, end));
            at = end;
        }
        // A step that was due at the very end may have told its instant only now.
        if let Some(t0) = *steps.measured().borrow() {
            parts.fault(t0);
        }
        // In this order, so that an outage that only the undoing ends is not measured as one that ended.
        let halted = parts.halt(&self.scenario, self.steady_from(&starts), &stretches).await;
        let not_run = steps.finish().await;
        let mut ended = halted.finish(&self.progress, logical::event(self.clock, &self.events)).await;
        ended.problems.extend(not_run);
        while let Ok(value) = measured.try_recv() {
            ended.values.push(value);
        }
        while let Ok(done) = loaded.try_recv() {
            ended.values.extend(done.values());
            self.say_loaded(&done);
        }
        Ok(Phases::Whole(ended))
    }

    /// One phase, which begins at the instant `at`; when it ended, or nothing when it was interrupted.
    async fn phase(
        &self,
        index: usize,
        phase: &Phase,
        at: Instant,
        parts: &mut Parts,
        steps: &mut Steps,
        stop: &mut Stop,
    ) -> Option<Instant> {
        parts.phase(phase);
        self.progress.phase(&phase.name, *phase.lasts);
        self.say("phase.start", phase.in_words());
        let moments = moments(phase);
        let mut due = moments.iter().peekable();
        let mut measured = steps.measured();
        let mut show = tokio::time::interval(SHOW);
        let mut before = (Instant::now(), parts.live());
        let mut done = steps.done();
        let until = phase.until.as_ref().map(|step| (index, step.clone()));
        let mut end = at + *phase.lasts;
        loop {
            let next = due.peek().map_or(*phase.lasts, |moment| moment.at);
            tokio::select! {
                () = stop.wait() => return None,
                () = tokio::time::sleep_until((at + next).into()) => match due.next() {
                    Some(moment) => steps.act(index, moment),
                    None => {
                        if let Some(step) = &phase.until {
                            steps.too_long(index, step);
                        }
                        break;
                    }
                },
                Ok(all) = done.wait_for(|all| until.as_ref().is_some_and(|step| all.contains(step))), if until.is_some() => {
                    drop(all);
                    end = Instant::now();
                    break;
                }
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
        Some(end)
    }

    /// Where the steady stretch before the measured fault begins: the phase before the fault's, or the
    /// fault's own when it is the first.
    fn steady_from(&self, starts: &[Duration]) -> Duration {
        let phase = self.scenario.measured().map_or(0, |measured| measured.phase);
        starts.get(phase.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// A phase that could have been steady: nothing was done in it, or its scenario says what is warm-up.
    fn stretch(&self, phase: &Phase, from: Instant, to: Instant) -> Option<steady::Stretch> {
        let (phase, warm_up) = match phase.warm_up {
            None if !phase.steps.is_empty() => return None,
            warm_up => (phase.name.clone(), warm_up.map(|warm_up| *warm_up)),
        };
        Some(steady::Stretch { phase, from: self.clock.since(from), to: self.clock.since(to), warm_up })
    }

    /// What was loaded from files, which change daily, and what the loader has to say.
    fn say_loaded(&self, done: &load::Done) {
        for file in done.loaded.tables.iter().filter_map(|table| table.file.as_ref()) {
            let (path, bytes, blake3) = (file.path.display(), file.bytes, &file.blake3);
            self.say("etl.file", format!("{}: {path}, {bytes} bytes, BLAKE3 {blake3}", done.name));
        }
        for note in &done.loaded.notes {
            self.say("etl.note", format!("{}: {note}", done.name));
        }
    }

    fn say(&self, kind: &'static str, text: String) {
        // The receiver lives as long as the trial.
        let _ = self.events.send(Event { elapsed: self.clock.elapsed(), kind, node: None, text });
    }
}
