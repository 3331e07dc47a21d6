//! Packets that vanish between two sides: no reset, no refusal, nothing. What has a connection across learns of it
//! from its own timeouts (keepalive, `tcp_user_timeout`, `wal_receiver_timeout`), as between hosts.

use super::{Aim, FaultError, Reach, Undo};
use crate::cluster::Node;
use crate::net::{Party, Side};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Settings of [`super::Fault::Partition`]: `between` both ways, or one way `from` one side `to` the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// The two sides that do not reach each other.
    #[serde(default)]
    pub between: Option<[Side; 2]>,
    /// What this side sends vanishes.
    #[serde(default)]
    pub from: Option<Side>,
    /// This side is not reached.
    #[serde(default)]
    pub to: Option<Side>,
}

/// Settings of [`super::Fault::LoseHost`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoseHost {
    /// Which servers' hosts.
    pub of: String,
}

/// Settings of [`super::Fault::Disconnect`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disconnect {
    /// Which servers.
    pub of: String,
}

/// Cuts what `aim` names.
pub(super) async fn cut(aim: &Aim, reach: &Reach) -> Result<Undo, FaultError> {
    let Some(ways) = &aim.ways else { return Ok(Undo::Nothing) };
    let ways_of = |from: &BTreeSet<Party>, to: &BTreeSet<Party>| {
        from.iter().flat_map(|from| to.iter().map(move |to| (from.clone(), to.clone()))).collect::<Vec<_>>()
    };
    let mut pairs = ways_of(&ways.from, &ways.to);
    if !ways.one_way {
        pairs.extend(ways_of(&ways.to, &ways.from));
    }
    let blocks: BTreeSet<_> = pairs.iter().flat_map(|(from, to)| reach.cluster.ways().blocks(from, to)).collect();
    let cut = reach.cluster.block(&blocks).await;
    let cut = cut.map_err(|source| FaultError::failed("cannot cut off", &aim.words(), source))?;
    Ok(Undo::Mend(Arc::new(cut)))
}

/// Pulls the plug of each server's network.
pub(super) async fn unplug(nodes: Vec<Arc<Node>>, reach: &Reach) -> Result<Undo, FaultError> {
    let undo = Undo::Replug(nodes.clone());
    let cluster = reach.cluster.clone();
    super::inject_all(&nodes, undo, reach, |node| {
        let cluster = cluster.clone();
        async move {
            let unplugged = cluster.unplug(&node).await;
            unplugged.map_err(|source| FaultError::failed("cannot disconnect", &node.name, source))
        }
    })
    .await
}

/// Plugs servers in again.
pub(super) async fn replug(nodes: Vec<Arc<Node>>, reach: &Reach) -> Result<(), FaultError> {
    let mut first = Ok(());
    for node in nodes {
        let plugged = reach.cluster.replug(&node).await;
        first = first.and(plugged.map_err(|source| FaultError::failed("cannot connect again", &node.name, source)));
    }
    first
}

/// A host that is gone: nothing comes from it any more, not even a reset, and then its server is dead.
pub(super) async fn lose(aim: Aim, reach: &Reach) -> Result<Undo, FaultError> {
    let cut = cut(&aim, reach).await?;
    match super::kill::inject(aim.nodes.clone(), reach).await {
        Ok(killed) => Ok(Undo::Both(Box::new(cut), Box::new(killed))),
        Err(cause) => match Box::pin(cut.undo(reach)).await {
            Ok(()) => Err(cause),
            Err(undo) => Err(FaultError::NotTakenBack { cause: Box::new(cause), undo: Box::new(undo) }),
        },
    }
}
