//! What the servers of a plan are made with: programs that are installed, images that are here or are pulled. Found
//! out before anything is made, so that what is missing is said at once.

use super::progress::Progress;
use crate::base::Name;
use crate::base::mask::mask;
use crate::driver::docker::{Dock, Docker, Engine, Image};
use crate::driver::external::{External, ExternalServer};
use crate::driver::{Driver, Make, Workplace};
use crate::pg::connect::{connect, in_words};
use crate::pg::programs::Installed;
use crate::pg::settings;
use crate::pg::version::{Major, Version};
use crate::plan::Plan;
use crate::probe::clones::Campaign;
use crate::record;
use crate::scenario::topology::NodePlan;
use crate::scenario::{Role, Scenario};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The version of an image whose name says none: the newest that this program knows.
const NEWEST: Major = Major(*settings::KNOWN.end());

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// All makes of a plan.
pub struct Makes(Vec<(Driver, Option<Major>, Make)>);

impl Makes {
    /// Finds them: reaches engines, pulls images.
    pub async fn find(plan: &Plan, place: &Arc<Workplace>, progress: &Progress) -> anyhow::Result<Makes> {
        let mut makes = Makes(Vec::new());
        let mut docks: Vec<(Docker, Arc<Dock>)> = Vec::new();
        for node in nodes(plan) {
            if makes.get(&node).is_some() {
                continue;
            }
            let make = match &node.driver {
                Driver::Process(_) => Make::Process(place.setup.installed.choose(node.version)?.clone()),
                Driver::Docker(docker) => {
                    let dock = dock(docker, place, &mut docks, progress).await?;
                    let reference = docker.reference(node.version.unwrap_or(NEWEST).0);
                    progress.doing(&format!("looking for the image {reference}"));
                    let image = dock.image(&reference, |line| progress.doing(line)).await?;
                    right_version(&image, node.version)?;
                    Make::Docker { dock, image: Arc::new(image) }
                }
                Driver::External(settings) => external(&node, settings, place, progress).await?,
            };
            makes.0.push((node.driver.clone(), node.version, make));
        }
        makes.find_for_clones(plan, place, &mut docks, progress).await?;
        makes.reach_each_other(plan)?;
        for node in nodes(plan) {
            let version = makes.of(&node)?.major();
            let missing = |(setting, _): (&String, &String)| settings::missing(setting, version);
            if let Some(missing) = node.settings.iter().find_map(missing) {
                bail!("node `{}`: {missing}\n\nhint: {}", node.name, missing.hint());
            }
        }
        for variant in &plan.variants {
            variant.scenario.fits(&makes.majors(&variant.scenario)?).map_err(anyhow::Error::msg)?;
        }
        Ok(makes)
    }

    /// Finds what the servers of clones are made with, where that is something else than their sources are.
    async fn find_for_clones(
        &mut self,
        plan: &Plan,
        place: &Arc<Workplace>,
        docks: &mut Vec<(Docker, Arc<Dock>)>,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        for scenario in plan.variants.iter().map(|variant| &variant.scenario) {
            for campaign in scenario.clone.values() {
                let Some(driver) = &campaign.driver else { continue };
                let major = self.of_source(scenario, campaign)?.major();
                if self.with(driver, Some(major)).is_some() {
                    continue;
                }
                let make = match driver {
                    Driver::Process(_) => Make::Process(place.setup.installed.choose(Some(major))?.clone()),
                    Driver::Docker(docker) => {
                        let dock = dock(docker, place, docks, progress).await?;
                        let reference = docker.reference(major.0);
                        progress.doing(&format!("looking for the image {reference}"));
                        let image = dock.image(&reference, |line| progress.doing(line)).await?;
                        right_version(&image, Some(major))?;
                        Make::Docker { dock, image: Arc::new(image) }
                    }
                    Driver::External(_) => bail!("nobody else runs a clone that is made here"),
                };
                self.0.push((driver.clone(), Some(major), make));
            }
        }
        Ok(())
    }

    /// What the servers of a campaign's clones are made with.
    pub fn of_clones(&self, scenario: &Scenario, campaign: &Campaign) -> anyhow::Result<Make> {
        let source = self.of_source(scenario, campaign)?;
        let Some(driver) = &campaign.driver else { return Ok(source.clone()) };
        let found = self.with(driver, Some(source.major())).cloned();
        found.with_context(|| format!("nothing was found to make clones of the driver `{}` with", driver.name()))
    }

    /// What the server is made with that a campaign clones.
    fn of_source(&self, scenario: &Scenario, campaign: &Campaign) -> anyhow::Result<&Make> {
        let nodes = scenario.nodes();
        let named = nodes.iter().find(|node| node.name == campaign.of);
        // Whoever is meant by a role is of the primary's version.
        let primary = nodes.iter().find(|node| node.role == Role::Primary);
        self.of(named.or(primary).context("there is no primary")?)
    }

    /// Refuses servers that would not reach each other, and what those on engines of other machines cannot do. `check`
    /// cannot always know: `DOCKER_HOST` may name the engine.
    fn reach_each_other(&self, plan: &Plan) -> anyhow::Result<()> {
        for scenario in plan.variants.iter().map(|variant| &variant.scenario) {
            let nodes = scenario.nodes();
            let (mut far, mut near) = (None, None);
            let mut bridge: Option<(&str, &Arc<Dock>)> = None;
            for node in &nodes {
                let make = self.of(node)?;
                *(if make.is_remote() { &mut far } else { &mut near }) = Some(&node.name);
                let Make::Docker { dock, .. } = make else { continue };
                if dock.lan.is_some() {
                    one_bridge(*bridge.get_or_insert((&node.name, dock)), (&node.name, dock))?;
                }
            }
            let Some(far) = far else { continue };
            if let Some(near) = near {
                bail!(
                    "`{near}` is on this machine's engine, and `{far}` on another's\n\n\
                     hint: name this machine's engine as another sees it, such as `host = \"ssh://me@this-machine\"`"
                );
            }
            if let Some(only_here) = scenario.only_here() {
                bail!(
                    "`{far}` is on another machine's engine, where this cannot be: {only_here}\n\n\
                     hint: use the engine of this machine (`host = \"unix:///var/run/docker.sock\"`)"
                );
            }
        }
        Ok(())
    }

    fn get(&self, node: &NodePlan) -> Option<&Make> {
        self.with(&node.driver, node.version)
    }

    fn with(&self, driver: &Driver, version: Option<Major>) -> Option<&Make> {
        let is_it = |(of, major, _): &&(Driver, Option<Major>, Make)| of == driver && *major == version;
        self.0.iter().find(is_it).map(|(_, _, make)| make)
    }

    /// What a node's server is made with.
    pub fn of(&self, node: &NodePlan) -> anyhow::Result<&Make> {
        self.get(node).with_context(|| format!("nothing was found to make node `{}` with", node.name))
    }

    /// The versions of a scenario's nodes.
    pub fn majors(&self, scenario: &Scenario) -> anyhow::Result<BTreeMap<Name, Major>> {
        scenario.nodes().into_iter().map(|node| Ok((node.name.clone(), self.of(&node)?.major()))).collect()
    }

    /// Whether some servers are on engines of other machines.
    pub fn elsewhere(&self) -> bool {
        self.0.iter().any(|(_, _, make)| make.is_remote())
    }

    /// For the record.
    pub fn servers(&self) -> Vec<record::Server> {
        let mut servers: Vec<record::Server> = self.0.iter().map(|(_, _, make)| server(make)).collect();
        servers.dedup();
        servers
    }
}

fn server(make: &Make) -> record::Server {
    let version = make.version().to_string();
    match make {
        Make::Process(programs) => {
            record::Server { version, bindir: Some(programs.dir.clone()), image: None, engine: None, conninfo: None }
        }
        Make::Docker { dock, image } => record::Server {
            version,
            bindir: None,
            image: Some(format!("{} ({})", image.reference, image.identity())),
            engine: Some(format!("{} at {}, {}", dock.engine.version(), dock.engine.name(), dock.engine.why())),
            conninfo: None,
        },
        Make::External { settings, .. } => record::Server {
            version,
            bindir: None,
            image: None,
            engine: None,
            conninfo: Some(mask(&settings.conninfo)),
        },
    }
}

/// One place for all servers of the same engine and network.
async fn dock(
    docker: &Docker,
    place: &Arc<Workplace>,
    docks: &mut Vec<(Docker, Arc<Dock>)>,
    progress: &Progress,
) -> anyhow::Result<Arc<Dock>> {
    let where_it_is = Docker { image: None, ..docker.clone() };
    if let Some((_, dock)) = docks.iter().find(|(settings, _)| *settings == where_it_is) {
        return Ok(dock.clone());
    }
    progress.doing("reaching the container engine");
    let engine = Engine::of(docker).await?;
    for (_, known) in docks.iter() {
        if known.is_for(&engine, docker).await? {
            let dock = known.clone();
            docks.push((where_it_is, dock.clone()));
            return Ok(dock);
        }
    }
    let dock = Dock::on(place, engine, docker).await?;
    docks.push((where_it_is, dock.clone()));
    Ok(dock)
}

/// Nothing is passed on from one engine's bridge to another's.
fn one_bridge((name, dock): (&str, &Arc<Dock>), (other, its): (&str, &Arc<Dock>)) -> anyhow::Result<()> {
    if Arc::ptr_eq(dock, its) {
        return Ok(());
    }
    bail!(
        "`{name}` is on a network of the engine at {}, and `{other}` on one of the engine at {}\n\n\
         hint: two engines' networks do not reach each other; let the nodes of one use `network = \"host\"`",
        dock.engine.name(),
        its.engine.name()
    )
}

/// A server that somebody else runs, with the version that it says it has. It is started when it does not answer and
/// a command for that is named.
async fn external(
    node: &NodePlan,
    settings: &External,
    place: &Arc<Workplace>,
    progress: &Progress,
) -> anyhow::Result<Make> {
    let name = &node.name;
    progress.doing(&format!("connecting to the server of `{name}`"));
    let server = ExternalServer::new(place.clone(), name, settings).with_context(|| format!("node `{name}`"))?;
    for note in &server.notes {
        progress.say(&format!("note on the conninfo of `{name}`: {note}"));
    }
    server.start().await?;
    let client = connect(&server.host, &place.login("pgbench-rs version"), CONNECT_LIMIT).await?;
    let asked = client.query_one("SELECT current_setting('server_version_num')::int8", &[]).await;
    let row = asked.map_err(|error| anyhow::anyhow!("node `{name}`: asking for its version: {}", in_words(&error)))?;
    let number = u32::try_from(row.get::<_, i64>(0)).unwrap_or_default();
    let version = Version { major: number / 10_000, minor: number % 10_000 };
    match node.version {
        Some(wanted) if wanted.0 != version.major => bail!(
            "the server of `{name}` is PostgreSQL {version}, and version {wanted} was asked for\n\n             hint: leave `postgres.version` out; the version of a server that somebody else runs is what it is"
        ),
        _ => Ok(Make::External { settings: Arc::new(settings.clone()), version }),
    }
}

fn right_version(image: &Image, wanted: Option<Major>) -> anyhow::Result<()> {
    match wanted {
        Some(wanted) if image.version.major != wanted.0 => bail!(
            "the image `{}` holds PostgreSQL {}, and version {wanted} was asked for\n\n\
             hint: let `{{version}}` stand in its name, such as `image = \"postgres:{{version}}\"`",
            image.reference,
            image.version
        ),
        _ => Ok(()),
    }
}

/// The programs of all versions that a plan needs; none where no server is a process.
pub fn programs(plan: &Plan, explicit: &[std::path::PathBuf]) -> anyhow::Result<Installed> {
    let of_processes: Vec<Option<Major>> =
        nodes(plan).filter(|node| matches!(node.driver, Driver::Process(_))).map(|node| node.version).collect();
    if of_processes.is_empty() {
        return Ok(Installed::default());
    }
    Ok(Installed::find(explicit)?.needed(of_processes)?)
}

fn nodes(plan: &Plan) -> impl Iterator<Item = NodePlan> {
    plan.variants.iter().flat_map(|variant| variant.scenario.nodes())
}
