//! A subscription's slot is lost: dropped on the publisher while it is in use. The WAL that the subscriber lacks is not
//! kept for it any more, so taking it back means beginning anew: without what it had, from a new copy.

use super::disable_subscription::{run, session};
use super::{FaultError, Reach, Undo};
use crate::cluster::logical::SubscriptionSpec;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How long the subscriber may hold on to its slot, which it takes again whenever its sender is ended.
const LIMIT: Duration = Duration::from_secs(10);

/// Settings of [`super::Fault::DropSlot`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropSlot {
    /// Of which subscription.
    pub of: String,
}

pub(super) async fn inject(spec: SubscriptionSpec, reach: &Reach) -> Result<Undo, FaultError> {
    let client = session(&spec.from, reach).await?;
    let name = spec.slot.replace('\'', "''");
    let began = Instant::now();
    loop {
        // The sender is gone some time after it was told to go.
        let end = "SELECT pg_terminate_backend(active_pid, 1000) FROM pg_replication_slots";
        run(&client, &spec.from, &format!("{end} WHERE slot_name = '{name}' AND active")).await?;
        match run(&client, &spec.from, &format!("SELECT pg_drop_replication_slot('{name}')")).await {
            Ok(()) => return Ok(Undo::Resubscribe(spec)),
            Err(error) if began.elapsed() > LIMIT => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Subscribes anew, with a new slot and a new copy.
pub(super) async fn resubscribe(spec: &SubscriptionSpec, reach: &Reach) -> Result<(), FaultError> {
    let client = session(&spec.to, reach).await?;
    let name = format!("\"{}\"", spec.name.replace('"', "\"\""));
    // With a slot it would want to drop that on the publisher.
    for how in
        [format!("ALTER SUBSCRIPTION {name} DISABLE"), format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")]
    {
        run(&client, &spec.to, &how).await?;
    }
    run(&client, &spec.to, &format!("DROP SUBSCRIPTION {name}")).await?;
    let subscribed = reach.cluster.resubscribe(spec).await;
    subscribed.map(drop).map_err(|source| FaultError::failed("cannot subscribe anew on", &spec.to, source))
}
