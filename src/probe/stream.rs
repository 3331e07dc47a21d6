//! A stream of changes from one server to another, physical or logical: what lag is of, and what must make both equal.

use crate::base::Name;

/// Changes of one node that come to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Where they come from when the trial begins.
    pub from: Name,
    /// Where they go.
    pub to: Name,
    /// How.
    pub by: By,
}

/// How changes come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// As WAL that is replayed; through this slot, if through one.
    Replay {
        /// The slot on the node that is followed.
        slot: Option<Name>,
    },
    /// By a subscription.
    Subscription {
        /// Its name.
        name: Name,
        /// Its slot on the publisher.
        slot: Name,
        /// What it subscribes to.
        publications: Vec<Name>,
        /// The rows of the visibility probe that it brings.
        marks: Vec<Name>,
    },
}

impl Stream {
    /// What figures of it are of: `a>s1`, `a>b.books`.
    pub fn subject(&self) -> String {
        match &self.by {
            By::Replay { .. } => format!("{}>{}", self.from, self.to),
            By::Subscription { name, .. } => format!("{}>{}.{name}", self.from, self.to),
        }
    }
}
