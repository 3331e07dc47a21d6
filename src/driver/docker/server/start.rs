//! Starting a server in a container, and what is said when that fails.

use super::{At, ContainerServer};
use crate::driver::docker::container::{bind, labels, log_config};
use crate::driver::docker::engine::{EngineError, asked};
use crate::driver::docker::follow::{FOR_MEMORY, Follow, Running};
use crate::driver::docker::volume::Given;
use crate::driver::start::{Pid, StartError, Step, accepts_login};
use crate::net::namespace::NetNs;
use bollard::models::{ContainerCreateBody, HostConfig, NetworkingConfig};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// `/dev/shm` when nobody says; see [`Limits::shm_size`](crate::driver::docker::Limits::shm_size).
const SHM: i64 = 1 << 30;

impl ContainerServer {
    /// Starts the container and waits until a login gets a row. Returns how long that took.
    ///
    /// When it fails, nothing of the server is left running.
    pub async fn start(&self) -> Result<Duration, StartError> {
        let began = Instant::now();
        self.start_by_steps(|_| {}).await.map(|()| began.elapsed())
    }

    /// The same; `told` is told when each step begins.
    pub async fn start_by_steps(&self, told: impl Fn(Step)) -> Result<(), StartError> {
        let _one_start = self.starting.lock().await;
        let began = Instant::now();
        let log_offset = fs::metadata(&self.log).map_or(0, |meta| meta.len());
        let error = |status: String| self.with_hint(StartError::new(&self.host, &self.log, log_offset, began, status));
        if self.is_running() {
            return Err(error("it runs already".to_owned()));
        }
        // In a container the server has another pid than here.
        let seen = self.volume.is_none() && !self.settings.is_empty();
        let pidfile = seen.then(|| Pid::before_start(&self.data));
        told(Step::Create);
        let created = self.made.get_or_try_init(|| self.create()).await;
        created.map_err(|source| error(source.to_string()))?;
        told(Step::Launch);
        let running = self.launch().await.map_err(|source| error(source.to_string()))?;
        told(Step::Accept);
        let ready = tokio::select! {
            end = running.ended() => Err(end.in_words()),
            ready = self.ready(pidfile.as_ref(), told) => ready,
        };
        match ready {
            Ok(()) => {
                running.set_ready();
                Ok(())
            }
            Err(status) => {
                // Killed first, so that the error shows the whole of its log.
                let killed = self.kill().await;
                let error = error(status);
                match killed {
                    Ok(_) => Err(error),
                    Err(left) => Err(StartError { last_status: format!("{}; {left}", error.last_status), ..error }),
                }
            }
        }
    }

    /// What was cut off stays cut off, in the network namespace that this start has made, and a disk that was slow stays
    /// slow; then waits for a login.
    async fn ready(&self, pidfile: Option<&Pid>, told: impl Fn(Step)) -> Result<(), String> {
        if let Some(filter) = &self.filter
            && let Some(path) = self.network_namespace().await.map_err(|error| error.to_string())?
        {
            let entered = filter.enter(NetNs::at(path)).await;
            entered.map_err(|error| format!("its network is not as it is to be: {error}"))?;
        }
        self.slow_disk_again().await.map_err(|error| format!("its disk is not as slow as it is to be: {error}"))?;
        accepts_login(&self.host, self.place(), pidfile, told).await
    }

    /// What helps: more of what it may use, or another way to it. On another machine the address may be none of its own,
    /// or not lead there from here.
    fn with_hint(&self, error: StartError) -> StartError {
        let says = |words: &str| error.log_tail.contains(words);
        let (engine, address) = (self.dock.engine.name(), &self.host.host);
        let hint = match &self.at {
            _ if error.last_status.contains(FOR_MEMORY) => match self.limits.memory {
                Some(limit) => format!("`memory` lets it use {limit}; give it more, or smaller `shared_buffers`"),
                None => "the engine's machine has no more memory; let it have smaller `shared_buffers`".to_owned(),
            },
            _ if says("could not resize shared memory segment") => {
                "`/dev/shm` is full in its container; give the node a larger `shm_size`".to_owned()
            }
            At::Lan(_) if says("ready to accept connections") => format!(
                "it runs, and {address} is not reached from here: does a firewall keep this machine from networks of \
                 {engine}, or are they not this machine's (an engine without root, Docker Desktop)? such an engine is \
                 reached as one of another machine (`host = \"tcp://…\"` or `ssh://…`)"
            ),
            At::Remote(port) if says("Address already in use") => {
                format!(
                    "another program of the machine of {engine} listens on {address}:{port}; run this again: the port will be another"
                )
            }
            At::Remote(_) if says("could not bind") || says("could not create any TCP/IP sockets") => {
                format!(
                    "let `address = \"…\"` in the driver's table name an address that the machine of {engine} has itself"
                )
            }
            At::Remote(port) if says("ready to accept connections") => format!(
                "it runs, and {address}:{port} is not reached from here; let `address = \"…\"` in the driver's table say \
                 where the machine of {engine} is reached, or open the ports from 20000 to 30000 there"
            ),
            _ => return error,
        };
        StartError { hint: Some(hint), ..error }
    }

    async fn launch(&self) -> Result<Arc<Running>, EngineError> {
        let engine = &self.dock.engine;
        let (ended, running) = Running::new();
        let follow = Follow::begin(engine, &self.name, &self.log).await?;
        engine.docker.start_container(&self.name, None).await.map_err(asked("starting the container"))?;
        self.parts_frozen.store(false, Ordering::Relaxed);
        tokio::spawn(follow.until_the_end(ended));
        let running = Arc::new(running);
        // What is replaced would be forgotten.
        self.own_end();
        *self.running() = Some(running.clone());
        Ok(running)
    }

    async fn create(&self) -> Result<(), EngineError> {
        let dock = &self.dock;
        let binds = match &self.volume {
            Some(volume) => vec![volume.bind()],
            None => {
                let own = [bind(&dock.place.passfile(), false), bind(&self.data, true)];
                // The directory of its Unix socket, when it is reached by one.
                let socket = self.host.host.starts_with('/').then(|| bind(self.host.host.as_ref(), true));
                dock.common_binds().into_iter().chain(own).chain(socket).collect()
            }
        };
        let data = self.data.display().to_string();
        let command = ["postgres".to_owned(), "-D".to_owned(), data.clone()].into_iter();
        let bytes = |size: crate::base::units::Size| i64::try_from(size.0).unwrap_or(i64::MAX);
        let memory = self.limits.memory.map(bytes);
        let (network_mode, networking_config) = match (&self.at, &dock.lan) {
            (At::Lan(address), Some(lan)) => {
                let endpoints = [(lan.id().to_owned(), lan.endpoint(*address))];
                let config = NetworkingConfig { endpoints_config: Some(endpoints.into_iter().collect()) };
                (lan.id().to_owned(), Some(config))
            }
            _ => ("host".to_owned(), None),
        };
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: Some(command.chain(crate::driver::arguments(&self.settings)).collect()),
            user: Some(dock.user()),
            env: Some(vec![format!("PGDATA={data}"), "LC_ALL=C".to_owned()]),
            labels: Some(labels(&dock.place.setup.run, Some(self.name()))),
            stop_signal: Some("SIGINT".to_owned()),
            host_config: Some(HostConfig {
                binds: Some(binds),
                init: Some(true),
                memory,
                // Memory and swap together: no swap.
                memory_swap: memory,
                nano_cpus: self.limits.cpus.map(|cpus| (cpus * 1e9) as i64),
                shm_size: Some(self.limits.shm_size.map_or(SHM, bytes)),
                network_mode: Some(network_mode),
                log_config: Some(log_config()),
                ..HostConfig::default()
            }),
            networking_config,
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&self.name).build();
        let created = dock.engine.docker.create_container(Some(options), body).await;
        created.map_err(asked(format!("creating the container of `{}`", self.name())))?;
        if self.volume.is_some() {
            let path = dock.place.passfile();
            let lost =
                |error: std::io::Error| EngineError::Lost { what: path.display().to_string(), why: error.to_string() };
            let text = fs::read(&path).map_err(lost)?;
            dock.give(&self.name, &[dock.passwd(), Given { path, text, mode: 0o600 }]).await?;
        }
        Ok(())
    }
}
