//! Ending a server in a container, and knowing that it has ended.

use super::ContainerServer;
use crate::driver::Shutdown;
use crate::driver::docker::container::State;
use crate::driver::docker::follow::End;
use crate::driver::outcome::{Evidence, Killed, Proof, SignalError, Stopped};
use crate::driver::start::log_tail;
use std::time::{Duration, Instant};

/// How long a container may take to end after SIGKILL; a process that waits for a disk takes its time.
const DYING: Duration = Duration::from_secs(10);

impl ContainerServer {
    /// Kills (SIGKILL) everything in the container, and returns when it has ended.
    pub async fn kill(&self) -> Result<Killed, SignalError> {
        let began = Instant::now();
        let (killed, _) = self.end_it().await?;
        Ok(Killed { processes: usize::from(killed), took: began.elapsed() })
    }

    /// Kills everything and says how it is known that nothing is left.
    pub async fn fence(&self) -> Result<Proof, SignalError> {
        let began = Instant::now();
        let (before, _) = self.end_it().await?;
        // A start that was under way has failed now; once it has let go, nothing more can come of it.
        let _no_start = self.starting.lock().await;
        let (after, state) = self.end_it().await?;
        let state = state.unwrap_or_else(|| State { status: "removed".to_owned(), ..State::default() });
        let evidence =
            Evidence::Container { name: self.name.clone(), status: state.status, exit_code: state.exit_code };
        let killed = usize::from(before || after);
        Ok(Proof { node: self.name().to_owned(), evidence, killed, took: began.elapsed() })
    }

    /// Whether it had to be killed, and how it stands now: it does not run.
    async fn end_it(&self) -> Result<(bool, Option<State>), SignalError> {
        let began = Instant::now();
        let engine = &self.dock.engine;
        let running = self.running().clone();
        if let Some(running) = &running {
            running.ask();
        }
        let killed = engine.signal(&self.name, "SIGKILL").await.map_err(|source| self.failed(source))?;
        let ended = async {
            if let Some(running) = &running {
                running.ended().await;
            }
        };
        let in_time = tokio::time::timeout(DYING, ended).await.is_ok();
        loop {
            let state = engine.state(&self.name).await.map_err(|source| self.failed(source))?;
            match state {
                Some(state) if state.running && (!in_time || began.elapsed() > DYING) => {
                    let (node, waited) = (self.name().to_owned(), began.elapsed());
                    let left = format!("container {} is {}", self.name, state.status);
                    return Err(SignalError::Undead { node, waited, left });
                }
                Some(state) if state.running => tokio::time::sleep(Duration::from_millis(5)).await,
                state => return Ok((killed, state)),
            }
        }
    }

    /// Tells it to stop; after `limit` it is killed. A paused container is let go on; frozen parts of a server
    /// that runs stay frozen, which may well use up the limit.
    pub async fn stop(&self, how: Shutdown, limit: Duration) -> Result<Stopped, SignalError> {
        let began = Instant::now();
        let running = self.running().clone();
        let Some(running) = running.filter(|running| running.end().is_none()) else {
            let killed = self.kill().await?.processes > 0;
            return Ok(Stopped { took: began.elapsed(), thawed: false, killed });
        };
        running.ask();
        let signal = match how {
            Shutdown::Fast => "SIGINT",
            Shutdown::Immediate => "SIGQUIT",
        };
        let thawed = self.state().await?.is_some_and(|state| state.paused);
        // The signal comes first, so that a frozen server does nothing else before it stops.
        self.dock.engine.signal(&self.name, signal).await.map_err(|source| self.failed(source))?;
        if thawed {
            self.unpause().await?;
        }
        let in_time = tokio::time::timeout(limit, running.ended()).await.is_ok();
        if !in_time {
            self.kill().await?;
        }
        Ok(Stopped { took: began.elapsed(), thawed, killed: !in_time })
    }

    /// Ends it and removes its container; the data directory stays.
    pub async fn remove(&self) -> Result<(), SignalError> {
        self.kill().await?;
        self.dock.engine.remove(&self.name).await.map_err(|source| self.failed(source))
    }

    /// That it ended when nobody had told it to, the first time that this happened, with the end of its log: a
    /// crash of which it did not recover, memory used up, somebody else's signal.
    pub fn own_end(&self) -> Option<&str> {
        if let Some(end) = self.running().as_ref().and_then(|running| running.own_end()) {
            self.own_end.get_or_init(|| self.told(&end));
        }
        self.own_end.get().map(String::as_str)
    }

    fn told(&self, end: &End) -> String {
        let (node, log) = (self.name(), log_tail(&self.log, 0));
        let limit = self.limits.memory.filter(|_| end.out_of_memory);
        let hint = limit.map_or(String::new(), |limit| format!("\nhint: `memory` lets it use {limit}"));
        format!("node `{node}`: {}, and nobody had told it to\n{log}{hint}", end.in_words())
    }
}
