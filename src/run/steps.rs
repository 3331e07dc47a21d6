//! Doing what a phase's steps say, at their instants, and taking it back. Each act runs in a task of its
//! own, so that a slow one (a switchover) does not delay the phase clock.

use super::timeline::{Act, Moment};
use crate::fault::{Fault, FaultError, Reach, Undo};
use crate::metric::Event;
use crate::scenario::Scenario;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longest that taking everything back may take at the end of a trial.
const UNDO_LIMIT: Duration = Duration::from_secs(90);

/// The steps of one trial.
pub struct Steps {
    scenario: Arc<Scenario>,
    reach: Reach,
    /// The instant of the measured fault, once it was injected.
    measured: watch::Sender<Option<Duration>>,
    /// Steps that are done, by phase and name, however that came.
    done: watch::Sender<BTreeSet<(usize, String)>>,
    /// What was injected and not yet taken back, by phase and step.
    injected: BTreeMap<(usize, String), JoinHandle<Result<Undo, FaultError>>>,
    undoing: Vec<(String, JoinHandle<Result<(), FaultError>>)>,
    not_run: Vec<String>,
}

impl Steps {
    /// Steps that act through `reach`.
    pub fn new(scenario: Arc<Scenario>, reach: Reach) -> Steps {
        let measured = watch::Sender::new(None);
        let done = watch::Sender::default();
        Steps { scenario, reach, measured, done, injected: BTreeMap::new(), undoing: Vec::new(), not_run: Vec::new() }
    }

    /// Tells the instant of the measured fault, when it comes.
    pub fn measured(&self) -> watch::Receiver<Option<Duration>> {
        self.measured.subscribe()
    }

    /// Tells of steps that are done.
    pub fn done(&self) -> watch::Receiver<BTreeSet<(usize, String)>> {
        self.done.subscribe()
    }

    /// The phase that was to last until this step's end is over before.
    pub fn too_long(&mut self, phase: usize, step: &str) {
        if let Some(task) = self.injected.remove(&(phase, step.to_owned())) {
            task.abort();
        }
        let of = &self.scenario.phase[phase];
        self.not_run.push(format!("step {}.{step} was not done within {}", of.name, of.lasts));
    }

    /// Acts at one moment of the phase with this index.
    pub fn act(&mut self, phase: usize, moment: &Moment) {
        let key = (phase, moment.step.clone());
        match moment.act {
            Act::Undo => {
                if let Some(task) = self.injected.remove(&key) {
                    self.undo(phase, &moment.step, task);
                }
            }
            Act::Inject => {
                let Some(step) = self.scenario.phase[phase].steps.get(&moment.step) else { return };
                let measured = self.scenario.measured().is_some_and(|m| m.phase == phase && m.name == moment.step);
                let name = format!("{}.{}", self.scenario.phase[phase].name, moment.step);
                let tell = measured.then(|| self.measured.clone());
                let injecting = inject(step.act.clone(), name, self.reach.clone(), tell);
                let (done, of) = (self.done.clone(), key.clone());
                let task = tokio::spawn(async move {
                    let injected = injecting.await;
                    done.send_if_modified(|all| all.insert(of));
                    injected
                });
                self.injected.insert(key, task);
            }
        }
    }

    fn undo(&mut self, phase: usize, step: &str, task: JoinHandle<Result<Undo, FaultError>>) {
        let reach = self.reach.clone();
        let name = format!("{}.{step}", self.scenario.phase[phase].name);
        let text = format!("{name} is taken back");
        self.undoing.push((
            name,
            tokio::spawn(async move {
                let undo = joined(task).await?;
                if !matches!(undo, Undo::Nothing) {
                    say(&reach, "fault.undo", text);
                }
                undo.undo(&reach).await
            }),
        ));
    }

    /// Gives up every act that is under way. The servers go down as they are, frozen or not, so there is
    /// nothing to take back.
    pub fn abandon(self) {
        self.injected.into_values().for_each(|task| task.abort());
        self.undoing.into_iter().for_each(|(_, task)| task.abort());
    }

    /// Takes back what is left, and tells which steps did not do what they should.
    pub async fn finish(mut self) -> Vec<String> {
        for ((phase, step), task) in std::mem::take(&mut self.injected) {
            self.undo(phase, &step, task);
        }
        let limit = tokio::time::Instant::now() + UNDO_LIMIT;
        for (name, task) in std::mem::take(&mut self.undoing) {
            let abort = task.abort_handle();
            match tokio::time::timeout_at(limit, joined(task)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.not_run.push(format!("step {name} was not run as written: {error}")),
                Err(_) => {
                    abort.abort();
                    self.not_run.push(format!("step {name} did not end within {UNDO_LIMIT:?}"));
                }
            }
        }
        for problem in &self.not_run {
            say(&self.reach, "fault.failed", problem.clone());
        }
        self.not_run
    }
}

/// Injects the fault of `step` (`phase.step`); `tell` hears the instant at which it began.
async fn inject(
    fault: Fault,
    step: String,
    reach: Reach,
    tell: Option<watch::Sender<Option<Duration>>>,
) -> Result<Undo, FaultError> {
    let aim = fault.aim(&reach).await?;
    let names = aim.words();
    let elapsed = reach.clock.elapsed();
    if let Some(tell) = tell {
        // Of a repeated step, the first time counts.
        tell.send_if_modified(|at| at.is_none() && at.replace(elapsed).is_none());
    }
    let node = (aim.nodes.len() == 1).then(|| names.clone());
    let text = fault.describe(&names);
    // Nobody reads events after the trial.
    let _ =
        reach.events.send(Event { elapsed, kind: fault.event(), node: node.clone(), text: format!("{step}: {text}") });
    let undo = fault.inject(aim, &reach).await?;
    let _ = reach.events.send(Event {
        elapsed: reach.clock.elapsed(),
        kind: "fault.done",
        node,
        text: format!("{step}: {text}"),
    });
    Ok(undo)
}

fn say(reach: &Reach, kind: &'static str, text: String) {
    // Nobody reads events after the trial.
    let _ = reach.events.send(Event { elapsed: reach.clock.elapsed(), kind, node: None, text });
}

/// What a task came to; a panic in it is a failure of the step.
async fn joined<T>(task: JoinHandle<Result<T, FaultError>>) -> Result<T, FaultError> {
    task.await.unwrap_or_else(|died| Err(FaultError::Died(died.to_string())))
}
