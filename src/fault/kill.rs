//! kill -9 of every process of a server. On one host this is the kindest death: its sockets are reset at
//! once, and what it wrote to the page cache survives.

use super::{FaultError, Reach, Undo, all_run, inject_all};
use crate::cluster::Node;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Settings of [`super::Fault::Kill`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Which servers.
    pub of: String,
}

pub(super) async fn inject(targets: Vec<Arc<Node>>, reach: &Reach) -> Result<Undo, FaultError> {
    all_run(&targets)?;
    let undo = Undo::Start(targets.clone());
    inject_all(&targets, undo, reach, |node| async move {
        node.kill().await.map(drop).map_err(|source| FaultError::failed("cannot kill", &node.name, source))
    })
    .await
}
