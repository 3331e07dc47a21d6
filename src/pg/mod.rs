//! What is PostgreSQL's own: configuration files and quoting, connecting, the server's programs,
//! versions and their settings, LSNs, the wire protocol of the hot path.

pub mod conf;
pub mod connect;
pub mod control;
pub mod find;
pub mod lsn;
pub mod pgbench;
pub mod programs;
pub mod settings;
pub mod standby_names;
pub mod synchronous_commit;
pub mod version;
pub mod wire;

pub use lsn::Lsn;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// A server as another host would name it: never a socket path, never a pid.
///
/// Two are equal when they name the same node, address and port, however they are reached.
#[derive(Clone, Debug)]
pub struct Host {
    /// The node's name in the scenario.
    pub node: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The address of this machine from which it is connected to; absent: the system chooses.
    pub from: Option<IpAddr>,
    /// How a server that somebody else runs is logged in to; absent: as to all servers of the run, in plain TCP.
    pub access: Option<Arc<Access>>,
}

impl Host {
    /// A server of the run's own, reached directly.
    pub fn new(node: impl Into<String>, host: impl Into<String>, port: u16) -> Host {
        Host { node: node.into(), host: host.into(), port, from: None, access: None }
    }
}

impl PartialEq for Host {
    fn eq(&self, other: &Host) -> bool {
        (&self.node, &self.host, self.port) == (&other.node, &other.host, other.port)
    }
}

impl Eq for Host {}

/// What a connection string says beside host and port.
#[derive(Debug)]
pub struct Access {
    /// Role name.
    pub user: String,
    /// Its password, if one was found.
    pub password: Option<Secret>,
    /// Database.
    pub dbname: String,
}

/// Who connects, and to which database.
#[derive(Clone, Debug)]
pub struct Login {
    /// Role name.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Database.
    pub dbname: String,
    /// `application_name`; control, load, ledger and sampler sessions are told apart by it.
    pub application_name: String,
}

/// A password or token: it prints as `****` wherever it could show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}
