//! `ALTER SUBSCRIPTION … DISABLE`: the subscriber stops applying, and the publisher's slot keeps what it will need.

use super::{FIND, FaultError, Reach, Undo};
use crate::cluster::logical::SubscriptionSpec;
use crate::pg::connect::{connect, in_words};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio_postgres::Client;

/// How long a statement may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Settings of [`super::Fault::DisableSubscription`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisableSubscription {
    /// Which subscription.
    pub of: String,
}

pub(super) async fn inject(spec: SubscriptionSpec, reach: &Reach) -> Result<Undo, FaultError> {
    alter(&spec, "DISABLE", reach).await?;
    Ok(Undo::EnableSubscription(spec))
}

/// Lets it apply again.
pub(super) async fn enable(spec: &SubscriptionSpec, reach: &Reach) -> Result<(), FaultError> {
    alter(spec, "ENABLE", reach).await
}

async fn alter(spec: &SubscriptionSpec, how: &str, reach: &Reach) -> Result<(), FaultError> {
    let client = session(&spec.to, reach).await?;
    run(&client, &spec.to, &format!("ALTER SUBSCRIPTION \"{}\" {how}", spec.name)).await
}

/// A session on a node, for what is done to a subscription.
pub(super) async fn session(node: &str, reach: &Reach) -> Result<Client, FaultError> {
    let failed = |source| FaultError::failed("cannot connect to", node, source);
    let host = reach.cluster.hosts().into_iter().find(|host| host.node == node);
    let host = host.ok_or_else(|| FaultError::NoTarget { target: node.to_owned() })?;
    let client = connect(&host, &reach.cluster.login("pgbr-fault"), FIND).await.map_err(failed)?;
    // Clients of one that is to take over may not write there yet.
    run(&client, node, "SET default_transaction_read_only = off").await?;
    Ok(client)
}

/// Runs a statement on a node within [`ANSWER`].
pub(super) async fn run(client: &Client, node: &str, statement: &str) -> Result<(), FaultError> {
    const WHAT: &str = "cannot alter replication on";
    match tokio::time::timeout(ANSWER, client.batch_execute(statement)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(FaultError::failed(WHAT, node, in_words(&error))),
        Err(_) => Err(FaultError::failed(WHAT, node, format!("no answer within {ANSWER:?}"))),
    }
}
