//! A server's disk that is full or slow: a file system of the node's own (`node.NAME.disk`), never another.

use super::{FaultError, Reach, Undo, inject_all};
use crate::base::units::Size;
use crate::cluster::Node;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Settings of [`super::Fault::FillDisk`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FillDisk {
    /// Whose.
    pub of: String,
    /// Bytes that are left free.
    #[serde(default)]
    pub leave: Size,
}

/// Settings of [`super::Fault::SlowDisk`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowDisk {
    /// Whose.
    pub of: String,
    /// Bytes a second that are written.
    #[serde(default)]
    pub write: Option<Size>,
    /// Bytes a second that are read.
    #[serde(default)]
    pub read: Option<Size>,
}

impl FillDisk {
    pub(super) async fn inject(&self, targets: Vec<Arc<Node>>, reach: &Reach) -> Result<Undo, FaultError> {
        let leave = self.leave.0;
        inject_all(&targets, Undo::Drain(targets.clone()), reach, |node| async move {
            node.fill_disk(leave)
                .await
                .map_err(|source| FaultError::failed("cannot fill the disk of", &node.name, source))
        })
        .await
    }
}

impl SlowDisk {
    pub(super) async fn inject(&self, targets: Vec<Arc<Node>>, reach: &Reach) -> Result<Undo, FaultError> {
        let (write, read) = (self.write.map(|size| size.0), self.read.map(|size| size.0));
        inject_all(&targets, Undo::Unthrottle(targets.clone()), reach, |node| async move {
            let slowed = node.slow_disk(write, read).await;
            slowed.map_err(|source| FaultError::failed("cannot slow down the disk of", &node.name, source))
        })
        .await
    }
}

impl SlowDisk {
    /// Such as `2MB/s written`.
    pub(super) fn in_words(&self) -> String {
        let rate = |size: Option<Size>, what: &str| size.map(|size| format!("{size} a second {what}"));
        [rate(self.write, "written"), rate(self.read, "read")].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Removes what fills disks.
pub(super) async fn drain(nodes: Vec<Arc<Node>>) -> Result<(), FaultError> {
    let mut first = Ok(());
    for node in nodes {
        let drained = node.drain_disk().await;
        first = first.and(drained.map_err(|source| FaultError::failed("cannot empty the disk of", &node.name, source)));
    }
    first
}

/// Lets disks be as fast as they are.
pub(super) async fn unthrottle(nodes: Vec<Arc<Node>>) -> Result<(), FaultError> {
    let mut first = Ok(());
    for node in nodes {
        let freed = node.free_disk().await;
        first = first.and(freed.map_err(|source| FaultError::failed("cannot free the disk of", &node.name, source)));
    }
    first
}
