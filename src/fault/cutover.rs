//! A cutover: clients move from a publisher to one of its subscribers, as at the end of an upgrade by logical replication.
//!
//! The publisher accepts no more writes and its clients are sent away; the subscriber gets what is still on its way;
//! sequences and other subscribers are brought over; its own subscription goes; it accepts writes, and clients that look
//! for a server that does find it. What was left behind is then said, item by item. When the subscriber does not catch
//! up in time, clients go back to where they were.

use super::{FaultError, Reach, Undo};
use crate::base::units::Time;
use crate::cluster::logical::SubscriptionSpec;
use crate::cluster::{BuildError, Cluster, Node};
use crate::metric::Value;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

/// Whose sessions are ended: loads, and the probes that write. Those who watch go on.
const CLIENTS: &[&str] = &["pgbr-load", "pgbr-ledger", "pgbr-visibility"];

/// Settings of [`super::Fault::Cutover`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cutover {
    /// The subscriber that takes over.
    pub to: String,
    /// Whether its sequences, whose values no subscription brings, are set to the publisher's.
    #[serde(default = "yes")]
    pub sequences: bool,
    /// Whether the publisher's other subscribers subscribe to it instead.
    #[serde(default = "yes")]
    pub subscribers: bool,
    /// How long it may take to catch up before clients go back.
    #[serde(default = "ten_seconds")]
    pub timeout: Time,
}

/// Who and what takes part.
struct Move<'r> {
    cluster: &'r Cluster,
    from: Arc<Node>,
    to: Arc<Node>,
    /// The subscription of `to`.
    own: Vec<SubscriptionSpec>,
    /// Those of others to `from`.
    others: Vec<SubscriptionSpec>,
}

impl Cutover {
    pub(super) async fn inject(&self, nodes: Vec<Arc<Node>>, reach: &Reach) -> Result<Undo, FaultError> {
        let failed = |error: BuildError| FaultError::failed("cannot cut over to", &self.to, error);
        let Some(to) = nodes.first().cloned() else { return Err(FaultError::NoTarget { target: self.to.clone() }) };
        let going = Move::begin(&reach.cluster, to).ok_or_else(|| FaultError::NoTarget { target: self.to.clone() })?;
        self.go(&going, reach).await.map_err(failed)?;
        Ok(Undo::Nothing)
    }

    async fn go(&self, going: &Move<'_>, reach: &Reach) -> Result<(), BuildError> {
        let Move { cluster, from, to, own, others } = going;
        let brought = cluster.brought_to(to).await?;
        let began = Instant::now();
        cluster.accept_writes(from, false).await?;
        cluster.end_sessions(from, CLIENTS).await?;
        reach.say("cutover.closed", Some(&from.name), format!("{} accepts no writes and has no clients", from.name));
        let closed = Instant::now();
        let moved: &[SubscriptionSpec] = if self.subscribers { others } else { &[] };
        let waits: Vec<SubscriptionSpec> = own.iter().chain(moved).cloned().collect();
        if let Err(missing) = cluster.caught_up(from, &waits, *self.timeout).await? {
            cluster.accept_writes(from, true).await?;
            let text = format!("not caught up within {}, so clients go back: {missing}", self.timeout);
            reach.say("cutover.rolled_back", Some(&to.name), text);
            reach.measured(Value::new("cutover.rolled_back", 1.0).node(&to.name));
            return Ok(());
        }
        reach.measured(Value::new("cutover.caught_up", closed.elapsed().as_secs_f64()).node(&to.name));
        if self.sequences {
            cluster.copy_sequences(from, to).await?;
        }
        for spec in moved {
            cluster.move_subscription(spec, from, to).await?;
        }
        for spec in own {
            cluster.unsubscribe(spec).await?;
        }
        let mut forgotten = cluster.sequences_behind(from, to).await?;
        let then = cluster.as_of_now(to).await?;
        cluster.accept_writes(to, true).await?;
        cluster.cut_over();
        reach.say("cutover.opened", Some(&to.name), format!("{} accepts writes", to.name));
        reach.measured(Value::new("cutover.duration", began.elapsed().as_secs_f64()).node(&to.name));
        forgotten.extend(cluster.not_brought(from, (to, then), &brought).await?);
        forgotten.extend(cluster.left_behind(from, to));
        reach.measured(Value::new("cutover.forgotten", forgotten.len() as f64).node(&to.name));
        forgotten.into_iter().for_each(|item| reach.say("cutover.forgotten", Some(&to.name), item));
        Ok(())
    }
}

impl<'r> Move<'r> {
    /// Nothing where `to` subscribes to nobody.
    fn begin(cluster: &'r Cluster, to: Arc<Node>) -> Option<Move<'r>> {
        let head = |spec: &SubscriptionSpec| cluster.node(&spec.from).map(|node| cluster.head(node));
        let (own, rest): (Vec<_>, Vec<_>) = cluster.subscriptions().into_iter().partition(|spec| spec.to == to.name);
        let from = own.first().and_then(head)?.clone();
        let others = rest.into_iter().filter(|spec| head(spec).is_some_and(|node| node.name == from.name)).collect();
        Some(Move { cluster, from, to, own, others })
    }
}

fn yes() -> bool {
    true
}

fn ten_seconds() -> Time {
    Time::s(10)
}
