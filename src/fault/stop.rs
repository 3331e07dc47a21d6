//! Stopping a server as `pg_ctl stop` does, and starting one again that a fault ended.

use super::{FaultError, Reach, Undo, all_run, at_once, inject_all};
use crate::cluster::{Node, Shutdown};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take to stop before it is killed; `pg_ctl` gives up after the same time.
const LIMIT: Duration = Duration::from_secs(60);

/// Settings of [`super::Fault::Stop`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Which servers.
    pub of: String,
    /// `fast` or `immediate`.
    pub mode: StopMode,
}

/// How a server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopMode {
    /// Rolls back what is open, writes a shutdown checkpoint, sends the rest of the WAL to standbys.
    Fast,
    /// Exits at once; the next start recovers.
    Immediate,
}

impl Stop {
    pub(super) async fn inject(&self, targets: Vec<Arc<Node>>, reach: &Reach) -> Result<Undo, FaultError> {
        let how = match self.mode {
            StopMode::Fast => Shutdown::Fast,
            StopMode::Immediate => Shutdown::Immediate,
        };
        all_run(&targets)?;
        let undo = Undo::Start(targets.clone());
        inject_all(&targets, undo, reach, |node| stop(node, how, LIMIT)).await
    }
}

/// A server that had to be killed was not stopped: what a stop writes and sends at its end is missing.
async fn stop(node: Arc<Node>, how: Shutdown, limit: Duration) -> Result<(), FaultError> {
    match node.stop(how, limit).await {
        Ok(stopped) if stopped.killed => Err(FaultError::Killed { node: node.name.clone(), limit }),
        Ok(_) => Ok(()),
        Err(source) => Err(FaultError::failed("cannot stop", &node.name, source)),
    }
}

/// Starts servers that a fault ended. One that was fenced stays down, and so does one that was primary when
/// another accepts writes by now: starting it as it was would make two primaries.
pub(super) async fn start_again(nodes: Vec<Arc<Node>>, reach: &Reach) -> Result<(), FaultError> {
    let (mut standbys, mut primaries) = (Vec::new(), Vec::new());
    let mut first = Ok(());
    for node in nodes.into_iter().filter(|node| !node.is_running()) {
        // A subscriber accepts writes of its own, and does not become a second primary by that.
        if !reach.cluster.is_in_group(&node.name) {
            standbys.push(node);
            continue;
        }
        match node.is_standby_on_disk().await {
            Ok(true) => standbys.push(node),
            Ok(false) => primaries.push(node),
            Err(source) => first = first.and(Err(FaultError::failed("cannot start again", &node.name, source))),
        }
    }
    // One after the other, so that the second sees the first accept writes.
    for node in primaries {
        first = first.and(primary_again(node, reach).await);
    }
    let started = at_once(&standbys, |node| async move {
        node.start().await.map(drop).map_err(|source| FaultError::failed("cannot start again", &node.name, source))
    });
    first.and(started.await)
}

async fn primary_again(node: Arc<Node>, reach: &Reach) -> Result<(), FaultError> {
    let left_down = |why: String| reach.say("fault.not_undone", Some(&node.name), format!("left down: {why}"));
    if let Some(other) = reach.writable().await {
        left_down(format!("{} accepts writes now", other.name));
        return Ok(());
    }
    // Asked last: a promotion may be under way that nobody sees accept writes yet.
    if node.is_fenced() {
        left_down("it was fenced".to_owned());
        return Ok(());
    }
    match node.start().await {
        Ok(_) => Ok(()),
        Err(_) if node.is_fenced() => {
            left_down("it was fenced while it started".to_owned());
            Ok(())
        }
        Err(source) => Err(FaultError::failed("cannot start again", &node.name, source)),
    }
}
