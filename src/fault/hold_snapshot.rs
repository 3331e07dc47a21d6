//! A long report on a standby: a transaction that reads pgbench's accounts and stays open, asking again and again, so that it
//! needs rows that the primary may remove. Without `hot_standby_feedback` the primary does not know: replay waits for it
//! (`max_standby_streaming_delay`), then it is cancelled. With it the primary keeps the rows, and grows.

use super::{FIND, FaultError, Reach, Undo};
use crate::cluster::Node;
use crate::metric::Event;
use crate::pg::connect::{connect, in_words};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio_postgres::Client;

/// Time between two reads.
const AGAIN: Duration = Duration::from_millis(100);

/// Settings of [`super::Fault::HoldSnapshot`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldSnapshot {
    /// Where it reads.
    pub of: String,
}

/// Reports that are under way; dropped, they end.
#[derive(Debug)]
pub struct Reports(Vec<AbortHandle>);

impl Drop for Reports {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

pub(super) async fn inject(nodes: Vec<Arc<Node>>, reach: &Reach) -> Result<Undo, FaultError> {
    let mut reports = Reports(Vec::new());
    for node in nodes {
        let client = connect(&node.host, &reach.cluster.login("pgbr-report"), FIND).await;
        let client = client.map_err(|source| FaultError::failed("cannot read on", &node.name, source))?;
        let begun = client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
        begun.map_err(|source| FaultError::failed("cannot read on", &node.name, source))?;
        let (events, clock) = (reach.events.clone(), reach.clock);
        let task = tokio::spawn(async move {
            let text = format!("the report on {} ended: {}", node.name, read(&client).await);
            let (elapsed, kind) = (clock.elapsed(), "report.cancelled");
            // A closed channel means that the trial is over, and nobody would read it.
            let _ = events.send(Event { elapsed, kind, node: Some(node.name.clone()), text });
        });
        reports.0.push(task.abort_handle());
    }
    Ok(Undo::EndReports(Arc::new(reports)))
}

/// Reads until that fails; why it did.
async fn read(client: &Client) -> String {
    loop {
        if let Err(error) = client.query_one("SELECT sum(abalance::int8)::int8 FROM pgbench_accounts", &[]).await {
            return in_words(&error);
        }
        tokio::time::sleep(AGAIN).await;
    }
}
