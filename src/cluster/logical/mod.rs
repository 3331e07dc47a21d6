//! Logical replication of a running cluster: publications on nodes that accept writes, subscriptions of others to them,
//! through slots by name. A subscriber starts from the template as every node does; what of it a subscription is to
//! bring anew is removed before.
//!
//! Nothing of it needs to be undone: publications, subscriptions and slots lie in data directories that go with the
//! trial.

mod catalogue;
mod cutover;
mod subscribe;
mod written;

pub use catalogue::{Published, published};
pub use written::{Initial, Origin, Part, Publication, Streaming, Subscription, Tables};

use super::Cluster;
use super::node::Node;
use crate::base::Name;
use crate::pg::Host;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A publication to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationSpec {
    /// Its name.
    pub name: Name,
    /// The node.
    pub on: Name,
    /// Its tables.
    pub tables: Tables,
}

/// A subscription to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionSpec {
    /// Its name.
    pub name: Name,
    /// The publisher.
    pub from: Name,
    /// The subscriber.
    pub to: Name,
    /// What it subscribes to.
    pub publications: Vec<Name>,
    /// The slot on the publisher.
    pub slot: Name,
    /// How the rows that are there come over.
    pub copy: Initial,
    /// Its other settings.
    pub options: Vec<(&'static str, &'static str)>,
}

impl SubscriptionSpec {
    /// What figures of it are of: `a>b.name`.
    pub fn subject(&self) -> String {
        format!("{}>{}.{}", self.from, self.to, self.name)
    }
}

/// A subscription that was made, and how long it took until all its tables were there and changes came.
#[derive(Clone, Debug)]
pub struct Subscribed {
    /// What was made.
    pub spec: SubscriptionSpec,
    /// From `CREATE SUBSCRIPTION` on.
    pub took: Duration,
}

impl Cluster {
    /// The subscriptions as they are now.
    pub fn subscriptions(&self) -> Vec<SubscriptionSpec> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether clients were moved to another node than the one that was the primary at the beginning, or its standbys.
    pub fn is_cut_over(&self) -> bool {
        self.cut_over.load(Ordering::Relaxed)
    }

    /// Says that they were.
    pub fn cut_over(&self) {
        self.cut_over.store(true, Ordering::Relaxed);
    }

    /// The node at the head of the physical group that a node belongs to: itself, when it follows nobody.
    pub fn head<'c>(&'c self, node: &'c Arc<Node>) -> &'c Arc<Node> {
        let mut head = node;
        // A group is a tree; see `in_order`.
        while let Some(upstream) = head.follows.as_deref().and_then(|name| self.node(name)) {
            head = upstream;
        }
        head
    }

    /// Whether a node belongs to the physical group of the primary: it is that, or one of the standbys below.
    pub fn is_in_group(&self, node: &str) -> bool {
        self.node(node).is_some_and(|node| self.head(node).began_as_primary)
    }

    /// The groups that take clients' writes one after the other: the primary's, then those of nodes that are to take over.
    /// At any time one of all these accepts writes.
    pub fn serving(&self, hosts: &[Host]) -> Vec<Vec<Host>> {
        let began = self.nodes.iter().find(|node| node.began_as_primary).map(|node| &node.name);
        let heads = began.into_iter().chain(self.successors.get().into_iter().flatten());
        let is_in = |host: &&Host, head: &Name| self.node(&host.node).is_some_and(|node| self.head(node).name == *head);
        heads.map(|head| hosts.iter().filter(|host| is_in(host, head)).cloned().collect()).collect()
    }

    /// Those of `hosts` that belong to the primary's group: one of them accepts writes for the others. A subscriber
    /// accepts writes of its own, and nobody who looks for the primary must find it.
    pub fn group(&self, hosts: Vec<Host>) -> Vec<Host> {
        hosts.into_iter().filter(|host| self.is_in_group(&host.node)).collect()
    }
}
