//! Freezing a server, or its part in replication: the processes stay, the sockets stay, nothing answers.

use super::{FaultError, Reach, Undo, inject_all};
use crate::cluster::{Node, Part};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Settings of [`super::Fault::Freeze`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Which servers.
    pub of: String,
    /// Which of their processes.
    #[serde(default)]
    pub what: FreezeWhat,
}

/// Which processes of a server are frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreezeWhat {
    /// All of them.
    #[default]
    Server,
    /// A standby's WAL receiver.
    WalReceiver,
    /// A primary's WAL senders.
    WalSenders,
    /// A subscriber's workers of logical replication, and the process that would start others.
    LogicalWorkers,
}

impl Freeze {
    pub(super) async fn inject(&self, targets: Vec<Arc<Node>>, reach: &Reach) -> Result<Undo, FaultError> {
        let part = match self.what {
            FreezeWhat::Server => Part::Server,
            FreezeWhat::WalReceiver => Part::WalReceiver,
            FreezeWhat::WalSenders => Part::WalSenders,
            FreezeWhat::LogicalWorkers => Part::LogicalWorkers,
        };
        let undo = Undo::Thaw(targets.iter().map(|node| (node.clone(), part)).collect());
        inject_all(&targets, undo, reach, |node| async move {
            node.freeze(part).await.map(drop).map_err(|source| FaultError::failed("cannot freeze", &node.name, source))
        })
        .await
    }
}

/// Lets frozen processes go on; those that were killed meanwhile (fenced) need no thaw.
pub(super) async fn thaw(parts: Vec<(Arc<Node>, Part)>) -> Result<(), FaultError> {
    let mut first = Ok(());
    for (node, part) in parts {
        let thawed = node.thaw(part).await.map(drop);
        first = first.and(thawed.map_err(|source| FaultError::failed("cannot thaw", &node.name, source)));
    }
    first
}
