//! What is PostgreSQL's own: configuration files and quoting, connecting, the server's programs,
//! versions and their settings, LSNs, the wire protocol of the hot path.

pub mod conf;
pub mod connect;
pub mod control;
pub mod find;
pub mod lsn;
pub mod pgbench;
pub mod programs;
pub mod standby_names;
pub mod synchronous_commit;
pub mod version;
pub mod wire;

pub use lsn::Lsn;

use std::fmt;

/// A server as another host would name it: never a socket path, never a pid.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Host {
    /// The node's name in the scenario.
    pub node: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
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
