//! What happens in a trial while its servers stand: its phases with their loads, probes, steps and samplers.

use super::logical;
use super::parts::{self, Parts, Start};
use super::progress::Progress;
use super::signals::Stop;
use super::steps::Steps;
use super::timeline::moments;
use crate::base::clock::Clock;
use crate::cluster::Cluster;
use crate::fault::{Reach, load};
use crate::metric::{Event, Events, Points};
use crate::probe::{clones, steady};
use crate::scenario::{Phase, Scenario};
use anyhow::Context;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often live throughput is shown.
const SHOW: Duration = Duration::from_millis(500);

/// How the phases ended.
pub enum Phases {
    /// With all that was measured.
    Whole(parts::Ended),
    /// With what could not be taken back of servers that go on.
    Interrupted(Vec<String>),
}

/// The part of a trial between up and down.
pub struct Measuring {
    /// The variant's.
    pub scenario: Arc<Scenario>,
    /// The trial's; its zero is before the servers came.
    pub clock: Clock,
    /// Where events go.
    pub events: Events,
    /// Where sampled points go.
    pub points: Points,
    /// Of all that is random in the trial.
    pub seed: u64,
    /// Folder of the trial's latency logs.
    pub logs: PathBuf,
    /// The campaigns of clones, with what each works with.
    pub clones: Vec<(String, clones::Bench)>,
    /// Where live throughput is shown.
    pub progress: Arc<Progress>,
    /// What steps load.
    pub data: load::Sets,
}

impl Measuring {
    /// Goes through the phases. Fails when something of the harness cannot be started or written.
    pub async fn run(self, cluster: Arc<Cluster>, mut stop: Stop) -> anyhow::Result<Phases> {
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
