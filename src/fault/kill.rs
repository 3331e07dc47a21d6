//! kill -9 of every process of a server. On one host this is the kindest death: its sockets are reset at
//! once, and what it wrote to the page cache survives.

use super::{FaultError, Undo};
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

pub(super) async fn inject(targets: Vec<Arc<Node>>) -> Result<Undo, FaultError> {
    for node in &targets {
        node.kill().await.map_err(|source| FaultError::failed("cannot kill", &node.name, source))?;
    }
    Ok(Undo::Start(targets))
}
