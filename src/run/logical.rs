//! Logical replication of a trial: made after its servers are up, read to the end when its load has ended.

use super::Lab;
use super::guests::replayed;
use super::progress::Progress;
use super::signals::Stop;
use crate::cluster::logical::Subscribed;
use crate::cluster::{Cluster, Node};
use crate::driver::start::whole;
use crate::etl::books;
use crate::metric::{Event, Value};
use crate::pg::Host;
use crate::pg::connect::{connect, in_words};
use crate::pg::find::Finder;
use crate::probe::bloat;
use crate::probe::stream::{By, Stream};
use crate::probe::truth::{Drain, Drained, Truth, compare};
use crate::probe::visibility;
use crate::record::Status;
use crate::scenario::Scenario;
use anyhow::{Context, anyhow};
use std::sync::Arc;
use std::time::Duration;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long is looked for the server that accepts writes at the end.
const FIND: Duration = Duration::from_secs(5);

impl Lab {
    /// Tables of books, publications and subscriptions; else how the trial ends.
    pub(super) async fn replicate(
        &self,
        cluster: &Cluster,
        scenario: &Scenario,
        stop: &Stop,
    ) -> Result<Vec<Subscribed>, (Status, String)> {
        let mut asked = stop.clone();
        tokio::select! {
            made = self.make(cluster, scenario) => made.map_err(|error| (Status::Failed, whole(error.as_ref()))),
            () = asked.wait() => Err((Status::Interrupted, "interrupted while subscriptions were made".to_owned())),
        }
    }

    async fn make(&self, cluster: &Cluster, scenario: &Scenario) -> anyhow::Result<Vec<Subscribed>> {
        let heads: Vec<&Arc<Node>> = cluster.nodes.iter().filter(|node| node.follows.is_none()).collect();
        let names: Vec<_> = scenario.publication.keys().cloned().collect();
        for head in heads {
            let books = scenario.books();
            let marks = scenario.probe.visibility.is_some() && !names.is_empty();
            if books.is_none() && !marks {
                continue;
            }
            let said = |error| anyhow!("node `{}`: {}", head.name, in_words(&error));
            let client = connect(&head.host, &cluster.login("pgbench-rs prepare"), CONNECT_LIMIT).await?;
            if let Some(books) = books {
                books::fill(&client, books).await.map_err(said).context("filling the table of books")?;
            }
            if marks {
                visibility::add(&client, &names).await.map_err(said).context("the visibility probe")?;
            }
        }
        if scenario.books().is_some() {
            self.replayed(cluster).await?;
        }
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.progress.doing("making subscriptions");
        cluster.publish(&scenario.publications(&self.makes.majors(scenario)?)).await?;
        let made = cluster.subscribe(&scenario.subscriptions()).await?;
        cluster.reserve(scenario.successors()).await?;
        Ok(made)
    }
}

impl Lab {
    /// Waits until all standbys hold what was made above them.
    async fn replayed(&self, cluster: &Cluster) -> anyhow::Result<()> {
        for node in cluster.nodes.iter().filter(|node| node.follows.is_some()) {
            let head = cluster.head(node);
            let client = connect(&head.host, &cluster.login("pgbench-rs prepare"), CONNECT_LIMIT).await?;
            let row = client.query_one("SELECT pg_current_wal_lsn()::text", &[]).await;
            let row = row.map_err(|error| anyhow!("node `{}`: {}", head.name, in_words(&error)))?;
            replayed(node, row.get(0), &self.place).await?;
        }
        Ok(())
    }
}

/// The probe of bloat, on the primary and its standbys.
pub(super) async fn bloat(scenario: &Scenario, cluster: &Cluster) -> anyhow::Result<Option<bloat::Running>> {
    let group = cluster.group(cluster.hosts());
    let is_primary = |host: &Host| cluster.node(&host.node).is_some_and(|node| node.began_as_primary);
    let (primaries, standbys): (Vec<Host>, Vec<Host>) = group.into_iter().partition(is_primary);
    let (Some(_), Some(primary)) = (&scenario.probe.bloat, primaries.into_iter().next()) else { return Ok(None) };
    let started = bloat::Running::start(primary, standbys, cluster.login("pgbr-bloat")).await;
    started.map(Some).map_err(anyhow::Error::msg).context("the probe of bloat cannot start")
}

/// How long each subscription took to bring its tables.
pub(super) fn values(made: &[Subscribed]) -> Vec<Value> {
    let value = |one: &Subscribed| {
        let value = Value::new("logical.copy", one.took.as_secs_f64());
        value.node(&one.spec.to).subject(one.spec.subject())
    };
    made.iter().map(value).collect()
}

/// The streams of a cluster: of each standby as it was in the beginning, and of each subscription as it is.
pub(super) fn streams(scenario: &Scenario, cluster: &Cluster) -> Vec<Stream> {
    let standby = |node: &Arc<Node>| {
        let by = By::Replay { slot: node.slot_name() };
        Some(Stream { from: node.follows.clone()?, to: node.name.clone(), by })
    };
    let subscriptions = cluster.subscriptions().into_iter().map(|spec| {
        let marks = spec.publications.iter().flat_map(|name| scenario.marks(name)).collect();
        let by = By::Subscription { name: spec.name, slot: spec.slot, publications: spec.publications, marks };
        Stream { from: spec.from, to: spec.to, by }
    });
    cluster.nodes.iter().filter_map(standby).chain(subscriptions).collect()
}

/// The servers that a subscription's writes come to, a subscriber's standbys included.
pub(super) fn feeds(streams: &[Stream], cluster: &Cluster) -> Vec<visibility::Feed> {
    let hosts = cluster.hosts();
    let mut feeds = Vec::new();
    for stream in streams {
        let By::Subscription { name, marks, .. } = &stream.by else { continue };
        let below = cluster.nodes.iter().filter(|node| cluster.head(node).name == stream.to);
        let within: Vec<String> = below.clone().map(|node| node.name.clone()).collect();
        for node in below {
            if let Some(host) = hosts.iter().find(|host| host.node == node.name) {
                let (subscription, marks, within) = (name.clone(), marks.clone(), within.clone());
                feeds.push(visibility::Feed { host: host.clone(), subscription, marks, within });
            }
        }
    }
    feeds
}

/// What must come true at the end of a trial.
pub(super) struct Ending {
    truth: Truth,
    cluster: Arc<Cluster>,
    drain: Drain,
}

/// What was found at the end.
#[derive(Default)]
pub(super) struct Found {
    pub values: Vec<Value>,
    /// Why the trial failed.
    pub failures: Vec<String>,
}

impl Ending {
    /// The load has ended: from now on targets catch up. Nothing where the scenario does not ask for it.
    pub async fn begin(scenario: &Scenario, cluster: &Arc<Cluster>) -> Option<Ending> {
        let asked = scenario.probe.truth.clone();
        let truth = asked.or_else(|| (!scenario.subscription.is_empty()).then(Truth::default))?;
        let streams = now(streams(scenario, cluster), cluster).await;
        let drain = Drain::start(streams, cluster.hosts(), cluster.login("pgbench-rs drain"));
        Some(Ending { truth, cluster: cluster.clone(), drain })
    }

    /// Nothing writes any more and faults are undone: gives targets what time is left, then compares.
    pub async fn judge(self, progress: &Progress, say: impl Fn(&'static str, Option<String>, String)) -> Found {
        progress.doing("waiting until all targets have caught up");
        let drained = self.drain.finish(*self.truth.catch_up).await;
        let mut found = Found::default();
        for one in &drained {
            let subject = one.stream.subject();
            let behind = Value::new("truth.behind", f64::from(u8::from(one.took.is_err())));
            found.values.push(behind.node(&one.stream.to).subject(&subject));
            match &one.took {
                Ok(took) => {
                    let value = Value::new("lag.drained", took.as_secs_f64());
                    found.values.push(value.node(&one.stream.to).subject(subject));
                }
                Err(why) => {
                    let text = format!("{subject} has not caught up within {}: {why}", self.truth.catch_up);
                    say("truth.behind", Some(one.stream.to.clone()), text.clone());
                    found.failures.push(text);
                }
            }
        }
        progress.doing("comparing all targets with their sources");
        // Writers went on for a moment after the load.
        let streams: Vec<Stream> = drained.iter().map(|one| one.stream.clone()).collect();
        let caught_up: Vec<Stream> = drained.into_iter().filter(|one| one.took.is_ok()).map(|one| one.stream).collect();
        let login = self.cluster.login("pgbench-rs truth");
        let again = Drain::start(caught_up, self.cluster.hosts(), login.clone()).finish(*self.truth.catch_up).await;
        for Drained { stream, took } in again {
            let subject = stream.subject();
            if let Err(why) = took {
                found.failures.push(format!("{subject} has not caught up in the end: {why}"));
                continue;
            }
            let host = |name: &str| self.cluster.hosts().into_iter().find(|host| host.node == name);
            let (Some(from), Some(to)) = (host(&stream.from), host(&stream.to)) else { continue };
            let others: Vec<Stream> =
                streams.iter().filter(|one| one.to == stream.to && **one != stream).cloned().collect();
            match compare(&stream, &others, (&from, &to), &login).await {
                Ok(compared) => {
                    let of = |value: Value| value.node(&stream.to).subject(&subject);
                    found.values.push(of(Value::new("truth.rows", compared.rows as f64)));
                    found.values.push(of(Value::new("truth.differing", compared.differences.len() as f64)));
                    for difference in compared.differences {
                        let text = format!("{subject}: {difference}");
                        say("truth.differs", Some(stream.to.clone()), text.clone());
                        found.failures.push(text);
                    }
                }
                Err(why) => found.failures.push(format!("{subject} could not be compared: {why}")),
            }
        }
        if !self.truth.fails {
            found.failures.clear();
        }
        found
    }
}

/// The streams as they are at the end: standbys of the primary's group follow whoever of it accepts writes by now. After a
/// cutover nobody of it does.
async fn now(streams: Vec<Stream>, cluster: &Cluster) -> Vec<Stream> {
    if cluster.is_cut_over() {
        return streams;
    }
    let group = cluster.group(cluster.hosts());
    let finder = Finder::new(group, cluster.login("pgbench-rs truth"), FIND);
    let primary = tokio::time::timeout(FIND, finder.writable()).await.ok().map(|host| host.node);
    let began = cluster.nodes.iter().find(|node| node.began_as_primary).map(|node| node.name.clone());
    let (Some(primary), Some(began)) = (primary, began) else { return streams };
    if primary == began {
        return streams;
    }
    let mut all: Vec<Stream> = streams.into_iter().filter(|stream| stream.to != primary).collect();
    for stream in all.iter_mut().filter(|stream| stream.from == began) {
        stream.from.clone_from(&primary);
    }
    // Who died is not brought back.
    if cluster.node(&began).is_some_and(|node| node.is_running()) {
        all.push(Stream { from: primary, to: began, by: By::Replay { slot: None } });
    }
    all
}

/// For [`Ending::judge`]: an event of now.
pub(super) fn event(
    clock: crate::base::clock::Clock,
    events: &crate::metric::Events,
) -> impl Fn(&'static str, Option<String>, String) {
    move |kind, node, text| {
        // The receiver lives as long as the trial.
        let _ = events.send(Event { elapsed: clock.elapsed(), kind, node, text });
    }
}
