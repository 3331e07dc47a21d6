//! Stopping a server as `pg_ctl stop` does, and starting one again that a fault ended.

use super::{FaultError, Reach, Undo};
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
    pub(super) async fn inject(&self, targets: Vec<Arc<Node>>) -> Result<Undo, FaultError> {
        let mode = match self.mode {
            StopMode::Fast => Shutdown::Fast,
            StopMode::Immediate => Shutdown::Immediate,
        };
        for node in &targets {
            node.stop(mode, LIMIT).await.map_err(|source| FaultError::failed("cannot stop", &node.name, source))?;
        }
        Ok(Undo::Start(targets))
    }
}

/// Starts servers that a fault ended. One that was primary stays down when another accepts writes by now:
/// starting it as it was would make two primaries.
pub(super) async fn start_again(nodes: Vec<Arc<Node>>, reach: &Reach) -> Result<(), FaultError> {
    for node in nodes {
        if node.is_running() {
            continue;
        }
        if !node.is_standby_on_disk()
            && let Some(other) = reach.writable().await
        {
            let text = format!("left down: {} accepts writes now", other.name);
            reach.say("fault.not_undone", Some(&node.name), text);
            continue;
        }
        node.start().await.map_err(|source| FaultError::failed("cannot start again", &node.name, source))?;
    }
    Ok(())
}
