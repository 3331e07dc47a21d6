//! What a run made on an engine, found by its label: listed, killed, removed. Nothing else is touched, and
//! nothing is ever pruned.

use super::LABEL_RUN;
use super::address::Address;
use super::engine::{Engine, EngineError, asked};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptions,
};
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A container.
    Container,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

/// Something on an engine that bears a run's label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// Its kind.
    pub kind: Kind,
    /// Its id, or the name of a volume.
    pub id: String,
    /// How people know it.
    pub name: String,
    /// Of a container, that it runs.
    pub running: bool,
}

impl fmt::Display for Labelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Container => "container",
            Kind::Network => "network",
            Kind::Volume => "volume",
        };
        write!(f, "{kind} {}{}", self.name, if self.running { " (runs)" } else { "" })
    }
}

/// A container that was asked for is there before this has passed, or will not be.
const SETTLES: Duration = Duration::from_secs(1);

impl Engine {
    /// Everything of a run: containers first, then networks and volumes, in the order in which they can be removed.
    pub async fn labelled(&self, run: &str) -> Result<Vec<Labelled>, EngineError> {
        if run.is_empty() {
            return Ok(Vec::new());
        }
        let filters = HashMap::from([("label", vec![format!("{LABEL_RUN}={run}")])]);
        let what = || asked("listing what bears the run's label");
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = self.docker.list_containers(Some(options)).await.map_err(what())?;
        let mut found: Vec<Labelled> = containers.into_iter().filter_map(container).collect();
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        for network in self.docker.list_networks(Some(options)).await.map_err(what())? {
            if let (Some(id), Some(name)) = (network.id, network.name) {
                found.push(Labelled { kind: Kind::Network, id, name, running: false });
            }
        }
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = self.docker.list_volumes(Some(options)).await.map_err(what())?.volumes.unwrap_or_default();
        let volume = |name: String| Labelled { kind: Kind::Volume, id: name.clone(), name, running: false };
        found.extend(volumes.into_iter().map(|found| volume(found.name)));
        Ok(found)
    }

    /// Kills a run's containers, paused ones too; returns how many ran. They are not removed.
    pub async fn kill_labelled(&self, run: &str) -> Result<usize, EngineError> {
        let mut killed = 0;
        for container in self.labelled(run).await?.iter().filter(|found| found.running) {
            killed += usize::from(self.signal(&container.id, "SIGKILL").await?);
        }
        Ok(killed)
    }

    /// Removes everything of a run, whatever its state, and returns what it was. Goes on after an error; then
    /// the first one is returned.
    pub async fn remove_labelled(&self, run: &str) -> Result<Vec<Labelled>, EngineError> {
        let (mut removed, mut failed) = (Vec::new(), None);
        for found in self.labelled(run).await? {
            let done = match found.kind {
                Kind::Container => self.remove(&found.id).await,
                Kind::Network => {
                    self.docker.remove_network(&found.id).await.map_err(asked(format!("removing {found}")))
                }
                Kind::Volume => {
                    let options = None::<RemoveVolumeOptions>;
                    self.docker.remove_volume(&found.id, options).await.map_err(asked(format!("removing {found}")))
                }
            };
            match done {
                Err(error) if error.status() != Some(404) => failed = failed.or(Some(error)),
                _ => removed.push(found),
            }
        }
        failed.map_or(Ok(removed), Err)
    }
}

fn container(found: bollard::models::ContainerSummary) -> Option<Labelled> {
    let id = found.id?;
    let name = found.names.unwrap_or_default().into_iter().next();
    let name = name.map_or_else(|| id.clone(), |name| name.trim_start_matches('/').to_owned());
    let state = found.state.map(|state| state.to_string()).unwrap_or_default();
    let running = matches!(state.as_str(), "running" | "paused" | "restarting");
    Some(Labelled { kind: Kind::Container, id, name, running })
}

/// Everything of `run` on the engine at an address, as in the inventory. Blocks; may be called anywhere.
pub fn list(engine: &Address, run: &str) -> Result<Vec<Labelled>, EngineError> {
    apart(engine, async |engine| engine.labelled(run).await)
}

/// Kills the containers of `run`; see [`Engine::kill_labelled`]. Blocks; may be called anywhere.
pub fn kill(engine: &Address, run: &str) -> Result<usize, EngineError> {
    apart(engine, async |engine| engine.kill_labelled(run).await)
}

/// Kills one container. Blocks; may be called anywhere.
pub(super) fn kill_one(engine: &Address, container: &str) -> Result<bool, EngineError> {
    apart(engine, async |engine| engine.signal(container, "SIGKILL").await)
}

/// Removes everything of `run`; see [`Engine::remove_labelled`]. Blocks; may be called anywhere.
pub fn remove(engine: &Address, run: &str) -> Result<Vec<Labelled>, EngineError> {
    apart(engine, async |engine| engine.remove_labelled(run).await)
}

/// Removes everything of a `run` whose harness was killed. The engine goes on with what that asked of it last, so it is looked
/// at until nothing more comes. Blocks; may be called anywhere.
pub fn remove_of_dead(engine: &Address, run: &str) -> Result<Vec<Labelled>, EngineError> {
    apart(engine, async |engine| {
        let mut removed = engine.remove_labelled(run).await?;
        loop {
            tokio::time::sleep(SETTLES).await;
            match engine.remove_labelled(run).await? {
                late if late.is_empty() => return Ok(removed),
                late => removed.extend(late),
            }
        }
    })
}

/// Works with an engine on a thread of its own: the caller may be within a runtime, where another cannot be
/// waited for.
fn apart<T: Send>(
    address: &Address,
    work: impl AsyncFnOnce(Engine) -> Result<T, EngineError> + Send,
) -> Result<T, EngineError> {
    let lost = |why: String| EngineError::Lost { what: "working with the container engine".to_owned(), why };
    let body = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| lost(error.to_string()))?;
        runtime.block_on(async { work(Engine::again(address.clone()).await?).await })
    };
    std::thread::scope(|scope| scope.spawn(body).join()).unwrap_or_else(|_| Err(lost("its thread ended".to_owned())))
}
