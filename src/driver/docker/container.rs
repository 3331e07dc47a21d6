//! What is done with any container of a run: asking how it stands, signals, commands in it, containers
//! that run one command and are gone.

use super::engine::{Engine, EngineError, asked};
use super::volume::{Given, give};
use super::{LABEL_NODE, LABEL_RUN};
use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, ContainerState, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptions,
};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// How much of a command's output is kept, from its end.
const OUTPUT_MAX: usize = 1 << 20;

/// How a container stands, as its engine says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// `created`, `running`, `paused`, `exited`, …
    pub status: String,
    /// Whether it runs, paused or not.
    pub running: bool,
    /// Whether all of it is frozen.
    pub paused: bool,
    /// Its first process in the engine's machine, while it runs.
    pub pid: Option<i32>,
    /// The status with which its first process ended.
    pub exit_code: Option<i64>,
    /// Whether one of its processes was killed because memory was used up.
    pub out_of_memory: bool,
}

/// What a command in a container came to.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit status.
    pub status: i64,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A command to be run in a container of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Once<'a> {
    pub run: &'a str,
    pub image: &'a str,
    /// Instead of the image's own entry point.
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Vec<String>,
    /// `uid:gid`.
    pub user: Option<String>,
    pub binds: Vec<String>,
    /// Files that it finds there.
    pub given: Vec<Given>,
    /// Whose those files are.
    pub owner: (u32, u32),
    /// It sees the network of the engine's host.
    pub host_network: bool,
    pub limit: Duration,
}

/// A mount of a file or directory at the same path inside as outside, so that paths in configuration files,
/// logs and symbolic links mean the same on both sides.
pub(super) fn bind(path: &Path, writable: bool) -> String {
    bind_at(path, path, writable)
}

pub(super) fn bind_at(outside: &Path, inside: &Path, writable: bool) -> String {
    format!("{}:{}:{}", outside.display(), inside.display(), if writable { "rw" } else { "ro" })
}

pub(super) fn labels(run: &str, node: Option<&str>) -> HashMap<String, String> {
    let node = node.map(|node| (LABEL_NODE.to_owned(), node.to_owned()));
    [(LABEL_RUN.to_owned(), run.to_owned())].into_iter().chain(node).collect()
}

/// The driver of a container's log on the engine's side: small files that rotate. What the results hold is
/// read while it is written.
pub(super) fn log_config() -> HostConfigLogConfig {
    HostConfigLogConfig { typ: Some("local".to_owned()), config: None }
}

impl From<ContainerState> for State {
    fn from(state: ContainerState) -> State {
        let running = state.running.unwrap_or(false);
        State {
            status: state.status.map_or_else(|| "unknown".to_owned(), |status| status.to_string()),
            running,
            paused: state.paused.unwrap_or(false),
            pid: state.pid.filter(|pid| *pid > 0).and_then(|pid| pid.try_into().ok()),
            exit_code: state.exit_code.filter(|_| !running),
            out_of_memory: state.oom_killed.unwrap_or(false),
        }
    }
}

impl Engine {
    /// How a container stands; absent when there is none such.
    pub async fn state(&self, container: &str) -> Result<Option<State>, EngineError> {
        match self.docker.inspect_container(container, None).await.map_err(asked("asking for a container's state")) {
            Ok(inspected) => Ok(Some(inspected.state.unwrap_or_default().into())),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a signal to a container's first process, which passes it on to the server. A paused container is
    /// let go on by the engine when that signal ends it. False: it does not run.
    pub(super) async fn signal(&self, container: &str, signal: &str) -> Result<bool, EngineError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        match self.docker.kill_container(container, Some(options)).await.map_err(asked(format!("sending {signal}"))) {
            Ok(()) => Ok(true),
            // Gone, or not running: 409, and 500 from engines that notice it late.
            Err(EngineError::Refused { status: 404 | 409, .. }) => Ok(false),
            Err(EngineError::Refused { status: 500, said, .. }) if said.contains("is not running") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a container, whatever its state, with the volumes that have no name. No harm is done when it is
    /// gone.
    pub(super) async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker.remove_container(container, Some(options)).await.map_err(asked("removing a container")) {
            // 409: somebody else is removing it.
            Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(()),
            removed => removed,
        }
    }

    /// Waits until a container does not run.
    pub(super) async fn ended(&self, container: &str) -> Result<(), EngineError> {
        let mut waiting = Box::pin(self.docker.wait_container(container, None::<WaitContainerOptions>));
        match waiting.next().await {
            // An exit status other than 0 comes as an error.
            Some(Ok(_)) | Some(Err(bollard::errors::Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) => Err(asked("waiting for a container")(error)),
            None => Err(EngineError::Lost {
                what: "waiting for a container".to_owned(),
                why: "the engine ended the conversation".to_owned(),
            }),
        }
    }

    /// What a container prints from now on. It ends when the container does.
    pub(super) async fn attach(
        &self,
        container: &str,
    ) -> Result<bollard::container::AttachContainerResults, EngineError> {
        let options = AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true).build();
        self.docker.attach_container(container, Some(options)).await.map_err(asked("following a container's output"))
    }

    /// Runs a command in a container of its own, which is removed whatever happens.
    pub(super) async fn once(&self, once: Once<'_>) -> Result<Output, EngineError> {
        let body = ContainerCreateBody {
            image: Some(once.image.to_owned()),
            entrypoint: once.entrypoint,
            cmd: Some(once.cmd),
            user: once.user,
            env: Some(vec!["LC_ALL=C".to_owned()]),
            labels: Some(labels(once.run, None)),
            network_disabled: Some(!once.host_network),
            host_config: Some(HostConfig {
                binds: Some(once.binds),
                init: Some(true),
                network_mode: Some(if once.host_network { "host" } else { "none" }.to_owned()),
                log_config: Some(log_config()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let made = self.docker.create_container(None, body).await.map_err(asked("creating a container"))?;
        let run = async {
            give(self, &made.id, &once.given, once.owner).await?;
            self.run_to_end(&made.id).await
        };
        let ran = tokio::time::timeout(once.limit, run).await;
        let removed = self.remove(&made.id).await;
        let late = || EngineError::Lost {
            what: "running a command in a container".to_owned(),
            why: format!("it was killed after its limit of {:?}", once.limit),
        };
        let output = ran.map_err(|_| late())??;
        removed.map(|()| output)
    }

    async fn run_to_end(&self, container: &str) -> Result<Output, EngineError> {
        let mut attached = self.attach(container).await?;
        self.docker.start_container(container, None).await.map_err(asked("starting a container"))?;
        let (stdout, stderr) = collect(&mut attached.output).await?;
        self.ended(container).await?;
        let state = self.state(container).await?.unwrap_or_default();
        Ok(Output { status: state.exit_code.unwrap_or(-1), stdout, stderr })
    }

    /// Runs a command in a container that runs, as its user.
    pub(super) async fn exec(&self, container: &str, cmd: Vec<String>) -> Result<Output, EngineError> {
        use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
        let options = CreateExecOptions {
            cmd: Some(cmd),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let what = || asked("running a command in a container");
        let made = self.docker.create_exec(container, options).await.map_err(what())?;
        let started = self.docker.start_exec(&made.id, None::<StartExecOptions>).await.map_err(what())?;
        let StartExecResults::Attached { mut output, .. } = started else {
            let why = "the engine did not show the output".to_owned();
            return Err(EngineError::Lost { what: "running a command in a container".to_owned(), why });
        };
        let (stdout, stderr) = collect(&mut output).await?;
        let ended = self.docker.inspect_exec(&made.id).await.map_err(what())?;
        Ok(Output { status: ended.exit_code.unwrap_or(-1), stdout, stderr })
    }
}

async fn collect(
    from: &mut (impl futures_util::Stream<Item = Result<LogOutput, bollard::errors::Error>> + Unpin),
) -> Result<(String, String), EngineError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(printed) = from.next().await {
        let printed = printed.map_err(asked("reading what a command prints"))?;
        let to = if matches!(printed, LogOutput::StdErr { .. }) { &mut stderr } else { &mut stdout };
        to.extend_from_slice(printed.as_ref());
        to.drain(..to.len().saturating_sub(OUTPUT_MAX));
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((text(stdout), text(stderr)))
}
