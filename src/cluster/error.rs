//! Why a cluster, or a template, could not be built.

use super::network::NetworkError;
use super::node::Node;
use super::template::FillError;
use super::templates::StoreError;
use crate::base::exec::CommandError;
use crate::disk::DiskError;
use crate::driver::MakeError;
use crate::driver::files::{CopyError, RemoveError};
use crate::driver::outcome::SignalError;
use crate::driver::start::{StartError, whole};
use crate::pg::connect::ConnectError;
use crate::pg::programs::ProgramsError;
use crate::snapshot::SnapshotError;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a cluster, or a template, could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The nodes do not make a cluster.
    #[error("{0}")]
    Topology(String),
    /// There are no programs of a node's version.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// A setting is the driver's own business.
    #[error("node `{node}`: `{setting}` cannot be set: {why}")]
    Reserved {
        /// The node.
        node: String,
        /// The setting.
        setting: String,
        /// Why.
        why: &'static str,
    },
    /// A file or directory could not be made.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Servers that somebody else runs do not replicate each other's database.
    #[error(
        "node `{node}` leads to {database}, and `{of}` to {other}\n\
         hint: all nodes of a scenario are servers of one cluster; let each `conninfo` name the same database and \
         lead to the same schema"
    )]
    Elsewhere {
        /// The node.
        node: String,
        /// Where it leads.
        database: Box<str>,
        /// Another node.
        of: String,
        /// Where that one leads.
        other: Box<str>,
    },
    /// The network could not be made.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A disk could not be made.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A server could not be made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// A data directory could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A data directory could not be copied in the way of its file system.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The store of templates could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A data directory could not be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// A helper command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A server did not start.
    #[error(transparent)]
    Start(Box<StartError>),
    /// A server did not end.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// A server that had started takes no connection any more.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A server refused a statement.
    #[error("node `{node}`: {what}: {}", whole(source))]
    Sql {
        /// The node.
        node: String,
        /// What was done.
        what: &'static str,
        /// What the server said.
        source: tokio_postgres::Error,
    },
    /// A standby does not stream.
    #[error("standby `{standby}` does not stream from `{upstream}` after {waited:.1?}: {last_status}{}", log.as_ref().map(|log| format!("\nlog: {}", log.display())).unwrap_or_default())]
    Streaming {
        /// The standby.
        standby: String,
        /// The node that it follows.
        upstream: String,
        /// How long was waited.
        waited: Duration,
        /// What the upstream says of it.
        last_status: String,
        /// The standby's log, where it is kept here.
        log: Option<PathBuf>,
    },
    /// A subscription brings no changes.
    #[error("subscription `{subscription}` of `{subscriber}` is not ready after {waited:.1?}: {last_status}{}", log.as_ref().map(|log| format!("\nlog: {}", log.display())).unwrap_or_default())]
    Subscribing {
        /// The subscription.
        subscription: String,
        /// The subscriber.
        subscriber: String,
        /// How long was waited.
        waited: Duration,
        /// What the subscriber says of it.
        last_status: String,
        /// The subscriber's log, where it is kept here.
        log: Option<PathBuf>,
    },
    /// A server that somebody else runs is not what the scenario says.
    #[error(
        "node `{node}` is to be a {wanted}, and its server is {found}\n\
         hint: let its `role` and `conninfo` agree; after a promotion nobody makes the old primary a standby again"
    )]
    Role {
        /// The node.
        node: String,
        /// Its role in the scenario.
        wanted: &'static str,
        /// What its server says.
        found: &'static str,
    },
    /// Loading the data failed.
    #[error("template `{template}` could not be filled: {source}")]
    Fill {
        /// The template.
        template: String,
        /// Why.
        source: FillError,
    },
    /// A template's server had to be killed.
    #[error("the server of template `{template}` did not shut down within {limit:?}")]
    Unclean {
        /// The template.
        template: String,
        /// How long it was given.
        limit: Duration,
    },
    /// Building failed, and so did taking down what stood.
    #[error("{cause}\nand then {down}")]
    AndDown {
        /// Why building failed.
        cause: Box<BuildError>,
        /// What is left.
        down: super::DownError,
    },
}

/// For `map_err`: an error of the system, with the path that it is about.
pub(super) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> BuildError + use<> {
    let path = path.to_owned();
    move |source| BuildError::Io { path, source }
}

/// For `map_err`: what a node's server said, and when.
pub(super) fn sql(node: &Node, what: &'static str) -> impl FnOnce(tokio_postgres::Error) -> BuildError + use<> {
    let node = node.name.clone();
    move |source| BuildError::Sql { node, what, source }
}
