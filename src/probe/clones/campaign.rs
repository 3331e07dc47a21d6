//! The rounds of a campaign, from the beginning of its phase to its end.

use super::Campaign;
use super::guard::{Guard, Low};
use super::life::{Life, Outcome};
use super::summary::{self, Summary};
use super::way::Way;
use crate::base::clock::Clock;
use crate::base::user::User;
use crate::clone::worth::Watermark;
use crate::clone::{Base, Caller, CloneError, Mode, Order, Reach, Source};
use crate::cluster::{Cluster, Node};
use crate::driver::docker::Limits;
use crate::driver::{Make, Workplace};
use crate::metric::{Event, Events, Points, Value};
use crate::pg::find::Finder;
use crate::snapshot::label::Label;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

/// How long is looked for the source.
const FIND: Duration = Duration::from_secs(5);

/// What a campaign works with.
#[derive(Clone)]
pub struct Bench {
    /// Where its clones are named.
    pub place: Arc<Workplace>,
    /// The servers, one of which is cloned.
    pub cluster: Arc<Cluster>,
    /// What the clones' servers are made with.
    pub make: Make,
    /// Rows that a clone should have.
    pub watermark: Option<Watermark>,
    /// The trial's clock.
    pub clock: Clock,
    /// Where events go.
    pub events: Events,
    /// Where points go.
    pub points: Points,
    /// The trial's seed.
    pub seed: u64,
    /// Folder of the clones' own logs.
    pub logs: PathBuf,
    /// Folder of the latency logs of what is sent to clones.
    pub latency: PathBuf,
}

/// How far the phases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its phase has not begun.
    Before,
    /// It is its phase.
    On,
    /// Its phase is over.
    Over,
}

/// A campaign that waits for its phase, or is in it.
#[derive(Debug)]
pub struct Running {
    phase: String,
    stage: watch::Sender<Stage>,
    task: JoinHandle<Ended>,
}

/// What came of a campaign.
#[derive(Debug, Default)]
pub struct Ended {
    /// Rows for `summary.csv`.
    pub values: Vec<Value>,
    /// By which ways its clones came.
    pub ways: Vec<Way>,
    /// Why the trial is not what was asked for.
    pub problems: Vec<String>,
}

impl Running {
    /// A campaign called `name`, which begins with its phase.
    pub fn start(name: &str, campaign: &Campaign, bench: Bench) -> Running {
        let (stage, told) = watch::channel(Stage::Before);
        let phase = campaign.phase.clone();
        let rounds = Rounds { name: name.to_owned(), campaign: Arc::new(campaign.clone()), bench, stage: told };
        Running { phase, stage, task: tokio::spawn(rounds.run()) }
    }

    /// A phase begins.
    pub fn phase(&self, name: &str) {
        self.stage.send_modify(|stage| match *stage {
            Stage::Before if name == self.phase => *stage = Stage::On,
            Stage::On if name != self.phase => *stage = Stage::Over,
            _ => {}
        });
    }

    /// Gives up what is being made, destroys what lives, and sums up.
    pub async fn stop(self) -> Ended {
        self.stage.send_replace(Stage::Over);
        self.task.await.unwrap_or_else(|died| Ended {
            problems: vec![format!("the campaign of clones failed: {died}")],
            ..Ended::default()
        })
    }
}

struct Rounds {
    name: String,
    campaign: Arc<Campaign>,
    bench: Bench,
    stage: watch::Receiver<Stage>,
}

impl Rounds {
    async fn run(mut self) -> Ended {
        // A sender that is gone means that nobody wants clones any more.
        let begins = self.stage.wait_for(|stage| *stage != Stage::Before).await.is_ok();
        if !begins || *self.stage.borrow() == Stage::Over {
            return Ended::default();
        }
        match self.whole().await {
            Ok(ended) => ended,
            Err(why) => Ended { problems: vec![format!("no clone of {}: {why}", self.name)], ..Ended::default() },
        }
    }

    async fn whole(&mut self) -> Result<Ended, String> {
        let node = self.source().await?;
        let login = self.bench.cluster.login("pgbench-rs clone");
        let live = Source::running(node.name.clone(), &node.dir, node.host.clone(), login);
        let live = Arc::new(live.map_err(|error| error.to_string())?.ours(node.server().clone()));
        let mut summary = Summary::new(&self.name, &self.campaign.phase, &node.name);
        let Mode::Precooked(_) = self.campaign.recipe.mode else {
            self.rounds(&live, &live, &mut summary).await;
            return Ok(summary.ended(&self.bench));
        };
        let began = Instant::now();
        let order = self.order(&live, "base");
        let guard = Guard::watch(live.data(), self.campaign.recipe.reserve);
        let (mut stage, mut low) = (self.stage.clone(), guard.low());
        let cooking = |caller| Base::cook(&self.bench.place, &live, &self.campaign.recipe, order, caller);
        let (cooked, given_up) = while_wanted(&mut stage, &mut low, cooking).await;
        let base = cooked.map_err(|uncooked| match (uncooked.cause, given_up) {
            (CloneError::Unwanted(_), Some(why)) => format!("its base was given up: {why}"),
            (CloneError::Unwanted(_), None) => "its base was not cooked when its phase ended".to_owned(),
            (cause, _) => cause.to_string(),
        })?;
        drop(guard);
        summary.cooked(began.elapsed());
        summary.way(Way::of(&self.name, &node.name, &self.campaign.recipe, &base.facts, true));
        self.rounds(&live, base.source(), &mut summary).await;
        let left = base.destroy().await.left;
        summary
            .problems
            .extend(left.into_iter().map(|left| format!("the base of {} was not removed: {left}", self.name)));
        Ok(summary.ended(&self.bench))
    }

    /// Rounds of clones of `source`, until there were enough or the phase is over.
    async fn rounds(&mut self, live: &Arc<Source>, source: &Arc<Source>, summary: &mut Summary) {
        let began = Instant::now();
        let (mut round, mut instant) = (0, 0);
        while self.campaign.rounds.is_none_or(|most| round < most) && *self.stage.borrow() == Stage::On {
            if let Some(every) = self.campaign.every {
                let passed = began.elapsed().as_nanos().div_ceil(every.as_nanos().max(1)) as u32;
                summary.skipped += u64::from(passed.saturating_sub(instant));
                instant = instant.max(passed);
                tokio::select! {
                    () = sleep_until(began + every.saturating_mul(instant)) => {}
                    () = over(&mut self.stage) => return,
                }
                instant += 1;
            }
            for life in self.round(live, source, round).await {
                if summary.lives.is_empty() {
                    self.say_how(&summary.node, &life);
                }
                if let Some(facts) = &life.facts {
                    summary.way(Way::of(&self.name, &summary.node, &self.campaign.recipe, facts, false));
                }
                self.say(&summary.node, &life);
                self.bench.points.send(vec![summary.point(&life)]);
                summary.lives.push(life);
            }
            round += 1;
        }
    }

    /// Makes all clones of a round, then lets all of them live, then destroys them.
    async fn round(&self, live: &Arc<Source>, source: &Arc<Source>, round: u32) -> Vec<Life> {
        let guard = Guard::watch(live.data(), self.campaign.recipe.reserve);
        let mut making = JoinSet::new();
        for i in 0..self.campaign.at_once {
            let number = round * self.campaign.at_once + i + 1;
            let life = Life::new((&self.name, &live.name), number, self.campaign.clone(), self.bench.clone());
            let order = self.order(live, &number.to_string());
            let (live, source, stage, low) = (live.clone(), source.clone(), self.stage.clone(), guard.low());
            making.spawn(async move { life.make(&live, &source, order, (stage, low)).await });
        }
        let mut living = JoinSet::new();
        for life in making.join_all().await {
            let (stage, low) = (self.stage.clone(), guard.low());
            living.spawn(async move { life.live(stage, low).await });
        }
        let mut lives = living.join_all().await;
        lives.sort_by_key(|life| life.number);
        lives
    }

    /// What a clone is called, and where it goes: beside its source, on the same file system.
    fn order(&self, live: &Source, which: &str) -> Order {
        let name = format!("{}-{which}", self.name);
        let within = live.data().parent().unwrap_or(live.data()).to_owned();
        Order {
            dir: format!("clone-{name}"),
            within,
            make: self.bench.make.clone(),
            limits: Limits::default(),
            log: Some(self.bench.logs.join(format!("{name}.log"))),
            reach: Reach::Login,
            port: None,
            dbname: None,
            label: Label { owner: User::own_name(), expires: None },
            name,
        }
    }

    /// By which way the first one came, and why.
    fn say_how(&self, node: &str, life: &Life) {
        let Some(facts) = &life.facts else { return };
        let mut text = format!("{}: {}, {}", life.called(), facts.method, facts.mode);
        if let Some(protocol) = facts.protocol {
            text += &format!(", {protocol}");
        }
        text.extend(facts.why.as_ref().map(|why| format!("; {why}")));
        if !facts.kept_out.is_empty() {
            text += &format!("; kept out: {}", facts.kept_out.join("; "));
        }
        let event = Event { elapsed: life.asked, kind: "clone.method", node: Some(node.to_owned()), text };
        // Nobody reads events after the trial.
        let _ = self.bench.events.send(event);
    }

    fn say(&self, node: &str, life: &Life) {
        let (kind, text) = match &life.outcome {
            Outcome::Made => ("clone.ready", life.called()),
            // It was said when it was.
            Outcome::Evicted(_) => return,
            Outcome::Failed(why) => ("clone.failed", format!("{}: {why}", life.called())),
            Outcome::Unfinished(at) => {
                ("clone.unfinished", format!("{} was not there when its phase ended, but at: {at}", life.called()))
            }
        };
        let tell = |elapsed, kind, text| {
            // Nobody reads events after the trial.
            let _ = self.bench.events.send(Event { elapsed, kind, node: Some(node.to_owned()), text });
        };
        tell(life.asked + life.ready.unwrap_or_default(), kind, text);
        if let Some(worth) = life.worth.as_ref().filter(|worth| !worth.is_whole()) {
            // What is missing may be no more than its age.
            let kind = if summary::is_inconsistent(worth) { "clone.inconsistent" } else { "clone.behind" };
            let text = format!("{}: {}", life.called(), summary::in_words(worth));
            tell(self.bench.clock.elapsed(), kind, text);
        }
    }

    /// The node that is cloned.
    async fn source(&self) -> Result<Arc<Node>, String> {
        let cluster = &self.bench.cluster;
        let name = match self.campaign.of.as_str() {
            "@primary" => {
                let finder = Finder::new(cluster.group(cluster.hosts()), cluster.login("pgbench-rs clone"), FIND);
                let found = timeout(FIND, finder.writable()).await;
                found.map_err(|_| format!("no server accepted writes within {FIND:?}"))?.node.clone()
            }
            node => node.to_owned(),
        };
        cluster.node(&name).cloned().ok_or_else(|| format!("there is no node `{name}`"))
    }
}

/// What comes of making something. When the phase ends before, or room runs low, it is no longer wanted, and has undone
/// itself; of the latter, why.
pub(super) async fn while_wanted<T, Making: Future<Output = T>>(
    stage: &mut watch::Receiver<Stage>,
    low: &mut Low,
    making: impl FnOnce(Caller) -> Making,
) -> (T, Option<String>) {
    let (wanted, unwanted) = oneshot::channel();
    let mut making = Box::pin(making(Caller { told: None, unwanted: Some(unwanted) }));
    let why = tokio::select! {
        made = &mut making => return (made, None),
        () = over(stage) => None,
        why = low.wait() => Some(why),
    };
    drop(wanted);
    (making.await, why)
}

/// Waits until the phase is over.
pub(super) async fn over(stage: &mut watch::Receiver<Stage>) {
    // The error means that the other end is gone, which comes to the same.
    let _ = stage.wait_for(|stage| *stage == Stage::Over).await;
}
