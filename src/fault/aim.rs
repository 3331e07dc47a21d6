//! Whom a fault is for: as written, and as it stands at the moment.

use super::{Fault, FaultError, Reach};
use crate::cluster::Node;
use crate::cluster::logical::SubscriptionSpec;
use crate::cluster::ways::Lane;
use crate::net::side::{self, Party, Side};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The two sides of a fault of the network, as written.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'f> {
    /// One side; in one direction: who sends.
    pub from: &'f Side,
    /// The other.
    pub to: &'f Side,
    /// Only what `from` sends is meant.
    pub one_way: bool,
}

/// Whom a fault is for, found before the instant at which it acts, so that the search is not part of what is
/// measured.
#[derive(Clone, Debug, Default)]
pub struct Aim {
    /// Servers.
    pub nodes: Vec<Arc<Node>>,
    /// The parties on both sides.
    pub ways: Option<Between>,
    /// A subscription.
    pub subscription: Option<SubscriptionSpec>,
}

/// The parties on both sides of a fault of the network.
#[derive(Clone, Debug)]
pub struct Between {
    /// One side.
    pub from: BTreeSet<Party>,
    /// The other.
    pub to: BTreeSet<Party>,
    /// Only what `from` sends is meant.
    pub one_way: bool,
}

impl<'f> Sides<'f> {
    /// As faults write them: `between` two sides, or one way `from` one `to` the other.
    pub(super) fn written(
        between: Option<&'f [Side; 2]>,
        from: Option<&'f Side>,
        to: Option<&'f Side>,
    ) -> Option<Sides<'f>> {
        match between {
            Some([from, to]) => Some(Sides { from, to, one_way: false }),
            None => Some(Sides { from: from?, to: to?, one_way: true }),
        }
    }
}

impl Fault {
    /// Finds whom it is for.
    pub async fn aim(&self, reach: &Reach) -> Result<Aim, FaultError> {
        let mut aim = Aim::default();
        if let Some(target) = self.target() {
            aim.nodes = reach.resolve(target).await?;
        }
        if let Some(name) = self.subscription() {
            let found = reach.cluster.subscriptions().into_iter().find(|spec| spec.name == name);
            let found = found.ok_or_else(|| FaultError::NoTarget { target: name.to_owned() })?;
            aim.nodes = reach.resolve(&found.to).await?;
            aim.subscription = Some(found);
        }
        let all = reach.cluster.placed();
        if let Some(sides) = self.sides() {
            let roles = reach.roles(&[sides.from, sides.to]).await;
            let (from, to) = side::parties((sides.from, sides.to), &all, Some(&roles));
            if from.is_empty() || to.is_empty() {
                let nobody = if from.is_empty() { sides.from } else { sides.to };
                return Err(FaultError::NoTarget { target: nobody.to_string() });
            }
            aim.ways = Some(Between { from, to, one_way: sides.one_way });
        }
        if let Fault::LoseHost(_) = self {
            let from: BTreeSet<Party> = aim.nodes.iter().map(|node| Party::Node(node.name.clone())).collect();
            let to = all.into_iter().map(|placed| placed.party).filter(|party| !from.contains(party)).collect();
            aim.ways = Some(Between { from, to, one_way: false });
        }
        Ok(aim)
    }
}

impl Aim {
    /// Whom, in a few words.
    pub fn words(&self) -> String {
        let list = |parties: &BTreeSet<Party>| parties.iter().map(Party::to_string).collect::<Vec<_>>().join(", ");
        match &self.ways {
            Some(ways) if self.nodes.is_empty() => match ways.one_way {
                true => format!("from {} to {}", list(&ways.from), list(&ways.to)),
                false => format!("between {} and {}", list(&ways.from), list(&ways.to)),
            },
            _ => self.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", "),
        }
    }

    /// The subscription that is meant.
    pub(super) fn subscribed(self) -> Result<SubscriptionSpec, FaultError> {
        self.subscription.ok_or_else(|| FaultError::NoTarget { target: "a subscription".to_owned() })
    }

    /// The ways through proxies that are meant.
    pub(super) fn lanes(&self, reach: &Reach) -> Result<Vec<Lane>, FaultError> {
        let Some(ways) = &self.ways else { return Ok(Vec::new()) };
        let lanes: Vec<Lane> = side::ways(&ways.from, &ways.to).into_iter().collect();
        match lanes.iter().find(|lane| !reach.cluster.ways().is_laid(lane)) {
            Some((from, to)) => Err(FaultError::NoProxy { from: from.to_string(), to: to.clone() }),
            None => Ok(lanes),
        }
    }
}
