//! All that drives and watches one trial beside its servers: manager, sampler, probes, loads. They start
//! in that order and stop in the reverse one, so that a watcher sees all of what it watches.

use super::logical::{self, Ending, bloat, feeds, streams};
use super::progress::Progress;
use crate::base::clock::Clock;
use crate::cluster::Cluster;
use crate::etl::pgbench;
use crate::manager::{self, Manager};
use crate::metric::{Events, Points, Value};
use crate::net::Party;
use crate::pg::connect::connect;
use crate::pg::{Host, standby_names::StandbyNames, synchronous_commit::waits_for_standbys};
use crate::probe::{Ledger, bloat as bloats, clones, lag, ledger, recovery, steady, streaming, visibility};
use crate::sampler;
use crate::scenario::{Data, Phase, Role, Scenario};
use crate::workload::space::Imdb;
use crate::workload::{self, Setup, Target};
use anyhow::Context;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What a part needs to start.
pub struct Start<'a> {
    pub scenario: &'a Scenario,
    pub cluster: Arc<Cluster>,
    pub clock: Clock,
    pub events: Events,
    pub points: Points,
    pub seed: u64,
    /// Folder of the latency logs, `<load>.hlog`.
    pub logs: &'a Path,
    /// The campaigns of clones, with what each works with.
    pub benches: &'a [(String, clones::Bench)],
}

/// The two probes of lag, where the scenario has them.
type Lags = (Option<visibility::Running>, Option<lag::Running>);

impl Start<'_> {
    /// The ledger, which writes on one of `hosts`.
    async fn ledger(&self, hosts: Vec<Host>) -> anyhow::Result<Option<ledger::Running>> {
        let Some(settings) = &self.scenario.probe.ledger else { return Ok(None) };
        let of_sites = ledger_hosts(settings, &self.cluster);
        let running = ledger::Running::start(
            settings,
            &of_sites,
            hosts,
            self.cluster.login("pgbr-ledger"),
            self.clock,
            self.events.clone(),
            self.points.clone(),
        );
        running.await.map(Some).context("the ledger cannot start")
    }

    /// The probes of lag. Markers are written on a server of one of `groups`.
    fn lags(&self, groups: Vec<Vec<Host>>) -> anyhow::Result<Lags> {
        let (cluster, probes) = (&self.cluster, &self.scenario.probe);
        let streams = streams(self.scenario, cluster);
        let with = |name: &str| (cluster.login(name), self.clock, self.points.clone());
        let visibility = probes.visibility.as_ref().map(|settings| {
            let asked = (groups, feeds(&streams, cluster));
            visibility::Running::start(settings, asked, with("pgbr-visibility"))
        });
        let visibility = visibility.transpose().context("the visibility probe cannot start")?;
        let lag = probes.lag.as_ref().map(|settings| {
            let beats = visibility.is_some();
            lag::Running::start(settings, cluster.hosts(), streams, with("pgbr-lag"), beats)
        });
        Ok((visibility, lag.transpose().context("the lag probe cannot start")?))
    }

    async fn loads(&self) -> anyhow::Result<Vec<(String, workload::Running)>> {
        let imdb = imdb(self.scenario, &self.cluster).await?;
        let mut loads = Vec::new();
        for (i, (name, load)) in self.scenario.load.iter().enumerate() {
            let setup = Setup {
                name: name.clone(),
                target: target(&load.to, self.scenario, &self.cluster, &Party::Clients(load.site.clone())),
                login: self.cluster.login("pgbr-load"),
                clock: self.clock,
                points: self.points.clone(),
                seed: self.seed.wrapping_add(i as u64),
                log: self.logs.join(format!("{name}.hlog")),
            };
            let imdb = imdb.clone().filter(|_| load.mix.needs_imdb());
            let running = workload::Running::start_on(load, setup, imdb).await;
            loads.push((name.clone(), running.with_context(|| format!("load {name} cannot start"))?));
        }
        Ok(loads)
    }
}

/// The parts of one trial, running.
pub struct Parts {
    pub manager: Option<Arc<manager::Running>>,
    sampler: sampler::Running,
    containers: sampler::container::Running,
    host: sampler::host::Running,
    ledger: Option<ledger::Running>,
    visibility: Option<visibility::Running>,
    lag: Option<lag::Running>,
    bloat: Option<bloats::Running>,
    cluster: Arc<Cluster>,
    streaming: Option<streaming::Running>,
    loads: Vec<(String, workload::Running)>,
    clones: Vec<clones::Running>,
    measured: Option<Duration>,
}

/// What the parts ended with.
#[derive(Default)]
pub struct Ended {
    pub values: Vec<Value>,
    /// `view.column` of what the servers do not have.
    pub absent: BTreeSet<String>,
    /// By which ways clones came.
    pub clones: Vec<clones::Way>,
    /// Who waited for whose locks.
    pub episodes: Vec<sampler::Episode>,
    /// Why the apparatus cannot be believed.
    pub problems: Vec<String>,
    /// Why the trial failed.
    pub failures: Vec<String>,
}

impl Parts {
    /// Starts them all; what was started is dropped, and so ended, when one cannot start.
    pub async fn start(with: &Start<'_>) -> anyhow::Result<Parts> {
        let Start { scenario, cluster, clock, events, points, .. } = with;
        let groups = cluster.serving(&cluster.hosts());
        let manager = match &scenario.manager {
            Manager::None(_) => None,
            Manager::Builtin(builtin) => {
                let synchronous = synchronous(scenario)?;
                let start =
                    manager::Running::start(builtin.clone(), cluster.clone(), synchronous, *clock, events.clone());
                Some(Arc::new(start.await.context("the manager cannot start")?))
            }
        };
        // In somebody else's database only what is ours is of interest.
        let tables: Vec<String> = if scenario.is_external() { own_tables(scenario) } else { Vec::new() };
        let login = cluster.login(sampler::APPLICATION_NAME);
        let sampled = |host| sampler::Target { host, login: login.clone(), tables: tables.clone() };
        let targets = cluster.hosts().into_iter().map(sampled).collect();
        let sampler = sampler::Running::start(targets, &scenario.sample, *clock, points.clone(), events.clone()).await;
        let every = *scenario.sample.every;
        let containers = sampler::container::Running::start(&cluster.nodes, every, *clock, points, events).await;
        let host = sampler::host::Running::start(&cluster.nodes, every, *clock, points);
        let ledger = with.ledger(groups.concat()).await?;
        let (visibility, lag) = with.lags(groups)?;
        let bloat = bloat(scenario, cluster).await?;
        let hosts = cluster.group(cluster.hosts());
        let streaming = scenario
            .measured()
            .is_some()
            .then(|| streaming::Running::start(hosts, cluster.login("pgbr-streaming"), *clock, events.clone()));
        let loads = with.loads().await?;
        let campaigns = with.benches.iter().filter_map(|(name, bench)| Some((name, scenario.clone.get(name)?, bench)));
        let clones =
            campaigns.map(|(name, campaign, bench)| clones::Running::start(name, campaign, bench.clone())).collect();
        let cluster = cluster.clone();
        Ok(Parts {
            manager,
            sampler,
            containers,
            host,
            ledger,
            visibility,
            lag,
            bloat,
            cluster,
            streaming,
            loads,
            clones,
            measured: None,
        })
    }

    /// A phase begins.
    pub fn phase(&self, phase: &Phase) {
        self.containers.phase(&phase.name);
        if let Some(visibility) = &self.visibility {
            visibility.phase(&phase.name);
        }
        if let Some(lag) = &self.lag {
            lag.phase(&phase.name);
        }
        for campaign in &self.clones {
            campaign.phase(&phase.name);
        }
        for (_, load) in &self.loads {
            load.phase(&phase.name);
        }
    }

    /// The measured fault was injected at `t0`.
    pub fn fault(&mut self, t0: Duration) {
        self.measured = Some(t0);
        if let Some(ledger) = &self.ledger {
            ledger.fault(t0);
        }
        if let Some(streaming) = &self.streaming {
            streaming.fault(t0);
        }
    }

    /// Completed and failed transactions of all loads so far.
    pub fn live(&self) -> (u64, u64) {
        let live = self.loads.iter().map(|(_, load)| load.live());
        live.fold((0, 0), |(done, errors), live| (done + live.done, errors + live.errors))
    }

    /// Destroys the clones that there are, which stand on what is about to go; all else ends when it is dropped.
    pub async fn abandon(self) -> Vec<String> {
        let mut problems = Vec::new();
        for campaign in self.clones {
            problems.extend(campaign.stop().await.problems);
        }
        problems
    }

    /// Stops what drives and measures. From here on nothing that the harness does is taken for an effect of
    /// the scenario. `steady_from` is where the steady stretch before the measured fault begins; of `stretches` is asked
    /// whether they were steady.
    pub async fn halt(self, scenario: &Scenario, steady_from: Duration, stretches: &[steady::Stretch]) -> Halted {
        let mut ended = Ended::default();
        for campaign in self.clones {
            let clones::Ended { values, ways, problems } = campaign.stop().await;
            ended.values.extend(values);
            ended.clones.extend(ways);
            ended.problems.extend(problems);
        }
        for (name, load) in self.loads {
            match load.stop().await {
                Ok(outcome) => {
                    if let Some(t0) = self.measured {
                        ended.values.extend(recovery::value(&name, &outcome.throughput, steady_from, t0));
                    }
                    let steady = stretches.iter().flat_map(|of| steady::values(&name, &outcome.throughput, of));
                    ended.values.extend(steady);
                    if !outcome.account.closes() {
                        ended
                            .problems
                            .push(format!("the account of load {name} does not close: {:?}", outcome.account));
                    }
                    ended.values.extend(outcome.values);
                }
                Err(error) => ended.problems.push(format!("load {name}: {error}")),
            }
        }
        let ending = Ending::begin(scenario, &self.cluster).await;
        if let Some(visibility) = self.visibility {
            ended.values.extend(visibility.stop().await);
        }
        if let Some(lag) = self.lag {
            ended.values.extend(lag.stop().await);
        }
        if let Some(bloat) = self.bloat {
            ended.values.extend(bloat.stop().await);
        }
        let ledger = match self.ledger {
            Some(ledger) => Some(ledger.halt().await),
            None => None,
        };
        if let Some(streaming) = self.streaming {
            ended.values.extend(streaming.stop().await);
        }
        let Parts { manager, sampler, containers, host, measured, .. } = self;
        Halted { ended, ending, ledger, manager, sampler, containers, host, measured }
    }
}

/// The parts after the last phase: only those that watch are left.
pub struct Halted {
    ended: Ended,
    ending: Option<Ending>,
    ledger: Option<ledger::Halted>,
    manager: Option<Arc<manager::Running>>,
    sampler: sampler::Running,
    containers: sampler::container::Running,
    host: sampler::host::Running,
    measured: Option<Duration>,
}

impl Halted {
    /// Reads the surviving database, stops what is left, and gathers everything.
    pub async fn finish(self, progress: &Progress, say: impl Fn(&'static str, Option<String>, String)) -> Ended {
        let mut ended = self.ended;
        let mut verdict = None;
        if let Some(ledger) = self.ledger {
            progress.doing("reading the surviving database");
            let (values, read) = ledger.verdict().await;
            ended.values.extend(values);
            verdict = read;
        }
        if let Some(ending) = self.ending {
            let logical::Found { values, failures } = ending.judge(progress, say).await;
            ended.values.extend(values);
            ended.failures = failures;
        }
        if let Some(manager) = self.manager {
            match Arc::try_unwrap(manager) {
                Ok(manager) => {
                    let outcome = manager.stop().await;
                    ended.values.extend(outcome.values(self.measured));
                    let fenced = outcome.fenced(self.measured).zip(verdict);
                    ended.values.extend(fenced.and_then(|(fenced, verdict)| verdict.lost_after(fenced)));
                }
                Err(_) => ended.problems.push("a step still held the manager when the trial ended".into()),
            }
        }
        let sampled = self.sampler.stop().await;
        ended.values.extend(sampled.values);
        ended.values.extend(self.containers.stop().await);
        drop(self.host);
        (ended.absent, ended.episodes) = (sampled.absent, sampled.episodes);
        ended
    }
}

/// What acknowledgements of the primary wait for; nothing, where `synchronous_commit` lets them wait for nobody.
fn synchronous(scenario: &Scenario) -> anyhow::Result<Option<StandbyNames>> {
    let nodes = scenario.nodes();
    let Some(primary) = nodes.iter().find(|node| node.role == Role::Primary) else { return Ok(None) };
    let names = primary.settings.get("synchronous_standby_names").map(String::as_str).unwrap_or_default();
    match primary.settings.get("synchronous_commit").and_then(|commit| waits_for_standbys(commit)) {
        Some(false) => Ok(None),
        _ => StandbyNames::parse(names).map_err(anyhow::Error::msg).context("synchronous_standby_names"),
    }
}

/// What loads that read IMDb's tables draw from, if there are such loads.
async fn imdb(scenario: &Scenario, cluster: &Cluster) -> anyhow::Result<Option<Arc<Imdb>>> {
    if !scenario.load.values().any(|load| load.mix.needs_imdb()) {
        return Ok(None);
    }
    let primary = cluster.nodes.iter().find(|node| node.began_as_primary).context("there is no primary")?;
    let data = scenario.loaded_before().find(|(_, data)| data.imdb().is_some());
    let (_, data) = data.context("no data set brings IMDb's tables")?;
    let client = connect(&primary.host, &cluster.login("pgbr-load"), CONNECT_LIMIT).await?;
    let sampled = Imdb::sample(&client, data.counted(), data.answers()).await;
    Ok(Some(Arc::new(sampled.context("keys for loads on IMDb's tables")?)))
}

/// The tables that loads and probes work on, and those that are loaded.
fn own_tables(scenario: &Scenario) -> Vec<String> {
    let own = pgbench::NAMES.into_iter().chain([ledger::TABLE, visibility::TABLE]);
    own.map(str::to_owned).chain(scenario.data.values().flat_map(Data::names)).collect()
}

/// The servers as the writers of each site reach them.
fn ledger_hosts(settings: &Ledger, cluster: &Cluster) -> Vec<Vec<Host>> {
    let mut sites: Vec<Option<String>> = settings.sites.iter().cloned().map(Some).collect();
    if sites.is_empty() {
        sites.push(None);
    }
    sites.into_iter().map(|site| cluster.serving(&cluster.hosts_of(&Party::Clients(site))).concat()).collect()
}

fn target(to: &str, scenario: &Scenario, cluster: &Cluster, clients: &Party) -> Target {
    let nodes = scenario.nodes();
    let is_standby = |host: &Host| nodes.iter().any(|node| node.name == host.node && node.role == Role::Standby);
    let hosts = cluster.hosts_of(clients);
    match to {
        "@primary" => Target::Writable(cluster.serving(&hosts).concat()),
        "@standbys" => Target::Nodes(cluster.group(hosts).into_iter().filter(is_standby).collect()),
        node => Target::Nodes(hosts.into_iter().filter(|host| host.node == node).collect()),
    }
}
