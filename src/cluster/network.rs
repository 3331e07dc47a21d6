//! The network of a trial's nodes, and what can be done to it.

use super::ways::Block;
use super::{Cluster, Node};
use std::collections::BTreeSet;
use std::io;

impl Cluster {
    /// Lets packets vanish.
    pub async fn block(&self, _blocks: &BTreeSet<Block>) -> io::Result<()> {
        Err(io::Error::other("x"))
    }

    /// Lets packets pass again.
    pub async fn mend(&self, _blocks: &BTreeSet<Block>) -> io::Result<()> {
        Err(io::Error::other("x"))
    }

    /// Pulls the plug of a node's network.
    pub async fn unplug(&self, _node: &Node) -> io::Result<()> {
        Err(io::Error::other("x"))
    }

    /// Plugs it in again.
    pub async fn replug(&self, _node: &Node) -> io::Result<()> {
        Err(io::Error::other("x"))
    }
}

impl Node {
    /// Fills its disk but for `leave` bytes.
    pub async fn fill_disk(&self, _leave: u64) -> io::Result<()> {
        Err(io::Error::other("x"))
    }
    /// Removes what fills it.
    pub async fn drain_disk(&self) -> io::Result<()> {
        Err(io::Error::other("x"))
    }
    /// Slows it down.
    pub async fn slow_disk(&self, _write: Option<u64>, _read: Option<u64>) -> io::Result<()> {
        Err(io::Error::other("x"))
    }
    /// Lets it be as fast as it is.
    pub async fn free_disk(&self) -> io::Result<()> {
        Err(io::Error::other("x"))
    }
}
