//! One clone, from its request to its end.

use super::Campaign;
use super::campaign::{Bench, Stage, over, while_wanted};
use super::guard::Low;
use crate::clone::worth::{Mark, Worth};
use crate::clone::{CloneError, Facts, Order, Phase, Source, Span, ThinClone, create};
use crate::metric::{Event, Value};
use crate::workload::{self, Setup, Target};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The phase of a load that goes to a clone.
const EXPLORE: &str = "explore";

/// A clone that lives, or did.
pub(super) struct Life {
    /// Which of its campaign, from 1.
    pub number: u32,
    /// What came of its request.
    pub outcome: Outcome,
    /// When it was asked for, by the trial's clock.
    pub asked: Duration,
    /// The parts of its life, as far as it came.
    pub spans: Vec<Span>,
    /// From the request to its first row.
    pub ready: Option<Duration>,
    /// What was found out when it was made.
    pub facts: Option<Facts>,
    /// What it is worth, as far as that was found out.
    pub worth: Option<Worth>,
    /// Bytes of its own, when it was ready and at its end.
    pub space: [Option<u64>; 2],
    /// What its load got.
    pub load: Vec<Value>,
    /// What went wrong with it beside that.
    pub problems: Vec<String>,
    name: String,
    node: String,
    campaign: Arc<Campaign>,
    bench: Bench,
    clone: Option<ThinClone>,
    mark: Option<Mark>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was there.
    Made,
    /// It was not, and why.
    Failed(String),
    /// It was ended, or given up, for the room that the source needs, and why.
    Evicted(String),
    /// Its phase ended before; and how far it was then.
    Unfinished(String),
}

impl Life {
    /// One of the campaign `name`, of the node `node`.
    pub(super) fn new((name, node): (&str, &str), number: u32, campaign: Arc<Campaign>, bench: Bench) -> Life {
        Life {
            number,
            outcome: Outcome::Unfinished("not begun".to_owned()),
            asked: bench.clock.elapsed(),
            spans: Vec::new(),
            ready: None,
            facts: None,
            worth: None,
            space: [None, None],
            load: Vec::new(),
            problems: Vec::new(),
            name: name.to_owned(),
            node: node.to_owned(),
            campaign,
            bench,
            clone: None,
            mark: None,
        }
    }

    /// What it is called: `explore/3`.
    pub(super) fn called(&self) -> String {
        format!("{}/{}", self.name, self.number)
    }

    /// How long a part of its life took; absent when it did not come to its end.
    pub(super) fn took(&self, phase: Phase) -> Option<Duration> {
        self.spans.iter().find(|span| span.phase == phase && span.ended).map(|span| span.took)
    }

    /// Asks for it, from `source`; what it lacks is held against `live`, the server itself. When its phase ends before it
    /// is there, it is given up.
    pub(super) async fn make(
        mut self,
        live: &Source,
        source: &Arc<Source>,
        order: Order,
        (mut stage, mut low): (watch::Receiver<Stage>, Low),
    ) -> Life {
        // A frozen server never answers, and is thawed only after the clones have ended.
        let marked = tokio::select! {
            marked = Mark::take(live, self.bench.watermark.as_ref()) => marked,
            () = over(&mut stage) => {
                self.outcome = Outcome::Unfinished("asking where the source stands".to_owned());
                return self;
            }
        };
        match marked {
            Ok(mark) => self.mark = Some(mark),
            Err(error) => {
                self.outcome = Outcome::Failed(error.to_string());
                return self;
            }
        }
        self.asked = self.bench.clock.elapsed();
        let making = |caller| create(&self.bench.place, source, &self.campaign.recipe, order, caller);
        let (attempt, given_up) = while_wanted(&mut stage, &mut low, making).await;
        self.ready = attempt.ready();
        self.spans.clone_from(&attempt.spans);
        self.facts = Some(attempt.facts);
        match attempt.outcome {
            Ok(clone) => {
                self.outcome = Outcome::Made;
                self.clone = Some(clone);
            }
            Err(CloneError::Unwanted(_)) if given_up.is_some() => self.evicted(given_up.unwrap_or_default()),
            Err(CloneError::Unwanted(at)) => {
                self.outcome = Outcome::Unfinished(at.map_or("not begun".to_owned(), |phase| phase.to_string()));
            }
            Err(error) => self.outcome = Outcome::Failed(error.to_string()),
        }
        self
    }

    /// Lets it be checked, live, and end; all but its end is given up when its phase ends.
    pub(super) async fn live(mut self, mut stage: watch::Receiver<Stage>, mut low: Low) -> Life {
        let Some(clone) = self.clone.take() else { return self };
        tokio::select! {
            () = self.explore(&clone) => {}
            () = over(&mut stage) => {}
            why = low.wait() => {
                // First of all, for it writes on.
                let killed = clone.server().kill().await;
                self.problems.extend(killed.err().map(|error| format!("{} was not ended: {error}", self.called())));
                self.evicted(why);
            }
        }
        self.space[1] = clone.space().await.ok().flatten();
        let destroyed = clone.destroy().await;
        self.spans.extend(destroyed.spans);
        let called = self.called();
        self.problems.extend(destroyed.left.into_iter().map(|left| format!("{called} was not removed: {left}")));
        self
    }

    /// It has ended, or was given up, for the source's sake.
    fn evicted(&mut self, why: String) {
        let (elapsed, node) = (self.bench.clock.elapsed(), Some(self.node.clone()));
        let event = Event { elapsed, kind: "clone.evicted", node, text: format!("{}: {why}", self.called()) };
        // Nobody reads events after the trial.
        let _ = self.bench.events.send(event);
        self.outcome = Outcome::Evicted(why);
    }

    async fn explore(&mut self, clone: &ThinClone) {
        self.space[0] = clone.space().await.ok().flatten();
        if let Some(mark) = &self.mark {
            match clone.worth(mark, self.campaign.check).await {
                Ok(worth) => self.worth = Some(worth),
                Err(error) => self.problems.push(format!("what {} is worth: {error}", self.called())),
            }
        }
        if let Err(error) = self.send(clone).await {
            self.problems.push(format!("the load of {}: {error}", self.called()));
        }
    }

    /// Sends its load for as long as it lives.
    async fn send(&mut self, clone: &ThinClone) -> Result<(), workload::LoadError> {
        let lasts = *self.campaign.lasts;
        let Some(explore) = &self.campaign.load else {
            tokio::time::sleep(lasts).await;
            return Ok(());
        };
        let name = format!("{}-{}", self.name, self.number);
        let setup = Setup {
            log: self.bench.latency.join(format!("{name}.hlog")),
            name,
            target: Target::Nodes(vec![clone.host().clone()]),
            login: clone.login("pgbr-explore"),
            clock: self.bench.clock,
            points: self.bench.points.clone(),
            seed: self.bench.seed.wrapping_add(u64::from(self.number)),
        };
        let load = workload::Running::start(&explore.load(), setup).await?;
        load.phase(EXPLORE);
        tokio::time::sleep(lasts).await;
        self.load = load.stop().await?.values;
        Ok(())
    }
}
