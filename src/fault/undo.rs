//! Taking a fault back.

use super::apply_conflict::{self, Conflict};
use super::hold_snapshot::Reports;
use super::{
    Between, FaultError, Reach, disable_subscription, disk, drop_slot, freeze, link, partition, pause_replay, stop,
};
use crate::cluster::logical::SubscriptionSpec;
use crate::cluster::ways::{Lane, Slower};
use crate::cluster::{Node, Part};
use crate::net::cut::Cut;
use std::sync::Arc;

/// What is to be done to take a fault back.
#[derive(Clone)]
pub enum Undo {
    /// Nothing: it has no lasting effect of its own.
    Nothing,
    /// Start servers that it ended.
    Start(Vec<Arc<Node>>),
    /// Let processes go on.
    Thaw(Vec<(Arc<Node>, Part)>),
    /// Let standbys replay.
    ResumeReplay(Vec<Arc<Node>>),
    /// Let packets pass.
    Mend(Arc<Cut>),
    /// Plug servers in.
    Replug(Vec<Arc<Node>>),
    /// Ways are as slow as they were.
    Quicken(Vec<Lane>, Slower),
    /// Let what was held pass.
    Release(Vec<Lane>, Between),
    /// Remove what fills disks.
    Drain(Vec<Arc<Node>>),
    /// Disks are as fast as they were.
    Unthrottle(Vec<Arc<Node>>),
    /// Let a subscription apply again.
    EnableSubscription(SubscriptionSpec),
    /// Subscribe anew.
    Resubscribe(SubscriptionSpec),
    /// Remove a row from a subscriber.
    Resolve(Conflict),
    /// End long reports.
    EndReports(Arc<Reports>),
    /// One after the other.
    Both(Box<Undo>, Box<Undo>),
}

impl Undo {
    /// Takes the fault back.
    pub async fn undo(self, reach: &Reach) -> Result<(), FaultError> {
        match self {
            Undo::Nothing => Ok(()),
            Undo::Start(nodes) => stop::start_again(nodes, reach).await,
            Undo::Thaw(parts) => freeze::thaw(parts).await,
            Undo::ResumeReplay(nodes) => pause_replay::resume(nodes, reach).await,
            Undo::Mend(cut) => {
                let mended = cut.heal().await.map(drop);
                mended.map_err(|source| FaultError::failed("cannot mend the network of", "the trial", source))
            }
            Undo::Replug(nodes) => partition::replug(nodes, reach).await,
            Undo::Quicken(lanes, by) => {
                lanes.iter().for_each(|lane| reach.cluster.ways().quicken(lane, by));
                Ok(())
            }
            Undo::Release(lanes, ways) => {
                link::release(&lanes, &ways, reach);
                Ok(())
            }
            Undo::Drain(nodes) => disk::drain(nodes).await,
            Undo::Unthrottle(nodes) => disk::unthrottle(nodes).await,
            Undo::EnableSubscription(spec) => disable_subscription::enable(&spec, reach).await,
            Undo::Resubscribe(spec) => drop_slot::resubscribe(&spec, reach).await,
            Undo::Resolve(conflict) => apply_conflict::resolve(&conflict, reach).await,
            Undo::EndReports(reports) => {
                drop(reports);
                Ok(())
            }
            Undo::Both(first, second) => {
                let first = Box::pin(first.undo(reach)).await;
                first.and(Box::pin(second.undo(reach)).await)
            }
        }
    }
}
