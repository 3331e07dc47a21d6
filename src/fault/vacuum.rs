//! `ANALYZE` and `VACUUM` of the whole database, catalogs too, as autovacuum does it when it gets round to it: what nobody
//! needs any more is removed, also on standbys, where somebody may still need it.

use super::{FIND, FaultError, Reach, Undo};
use crate::cluster::Node;
use crate::pg::connect::connect;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Settings of [`super::Fault::Vacuum`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vacuum {}

pub(super) async fn inject(nodes: Vec<Arc<Node>>, reach: &Reach) -> Result<Undo, FaultError> {
    for node in nodes {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| FaultError::Failed {
            what: "cannot vacuum",
            node: node.name.clone(),
            source,
        };
        let client = connect(&node.host, &reach.cluster.login("pgbr-fault"), FIND).await;
        let client = client.map_err(|error| failed(error.into()))?;
        for statement in ["ANALYZE", "VACUUM"] {
            client.batch_execute(statement).await.map_err(|error| failed(error.into()))?;
        }
    }
    Ok(Undo::Nothing)
}
