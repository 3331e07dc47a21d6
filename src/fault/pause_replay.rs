//! `pg_wal_replay_pause()`: a standby goes on receiving WAL and stops applying it.

use super::{FIND, FaultError, Reach, Undo, at_once, inject_all};
use crate::cluster::Node;
use crate::pg::connect::connect;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Settings of [`super::Fault::PauseReplay`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseReplay {
    /// Which standbys.
    pub of: String,
}

pub(super) async fn inject(targets: Vec<Arc<Node>>, reach: &Reach) -> Result<Undo, FaultError> {
    let undo = Undo::ResumeReplay(targets.clone());
    inject_all(&targets, undo, reach, |node| {
        sql(node, reach.clone(), "SELECT pg_wal_replay_pause()", "cannot pause replay on")
    })
    .await
}

/// Lets replay go on. A standby that was promoted meanwhile, or that is gone, has nothing to resume.
pub(super) async fn resume(mut nodes: Vec<Arc<Node>>, reach: &Reach) -> Result<(), FaultError> {
    nodes.retain(|node| node.is_running());
    let resume = "DO $$ BEGIN IF pg_is_in_recovery() THEN PERFORM pg_wal_replay_resume(); END IF; END $$";
    at_once(&nodes, |node| sql(node, reach.clone(), resume, "cannot resume replay on")).await
}

async fn sql(node: Arc<Node>, reach: Reach, statement: &'static str, what: &'static str) -> Result<(), FaultError> {
    let client = connect(&node.host, &reach.cluster.login("pgbr-fault"), FIND)
        .await
        .map_err(|source| FaultError::failed(what, &node.name, source))?;
    match tokio::time::timeout(FIND, client.simple_query(statement)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(source)) => Err(FaultError::failed(what, &node.name, source)),
        Err(_) => Err(FaultError::failed(what, &node.name, format!("no answer within {FIND:?}"))),
    }
}
