//! What is PostgreSQL's own: configuration files and quoting, connecting (libpq's rules, TLS), the
//! server's programs, versions and their settings, LSNs, the wire protocol of the hot path.

pub mod books;
pub mod conf;
pub mod connect;
pub mod conninfo;
pub mod control;
pub mod control_file;
pub mod dial;
pub mod find;
pub mod lsn;
pub mod pgbench;
pub mod pidfile;
pub mod programs;
pub mod settings;
pub mod standby_names;
pub mod synchronous_commit;
pub mod tls;
pub mod version;
pub mod wire;

pub use lsn::Lsn;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::Tls;

/// A server as another host would name it: never a pid, and no socket path unless it is somebody else's.
///
/// Two are equal when they name the same node, address and port, however they are reached.
#[derive(Clone, Debug)]
pub struct Host {
    /// The node's name in the scenario.
    pub node: String,
    /// Host name or address. Of a server that somebody else runs it may be a directory of Unix sockets.
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

    /// Who `login` is on this server: what its connection string says goes over what the run's own servers have.
    pub fn who<'a>(&'a self, login: &'a Login) -> Who<'a> {
        let application_name = login.application_name.as_str();
        match &self.access {
            None => Who {
                user: &login.user,
                password: login.password.expose(),
                dbname: &login.dbname,
                options: None,
                application_name,
            },
            Some(access) => Who {
                user: &access.user,
                password: access.password.as_ref().map_or("", Secret::expose),
                dbname: &access.dbname,
                options: access.options.as_deref(),
                application_name,
            },
        }
    }

    /// How long connecting may take: `limit`, or what the connection string allows when that is less.
    pub fn limit(&self, limit: Duration) -> Duration {
        let own = self.access.as_ref().and_then(|access| access.connect_timeout);
        own.map_or(limit, |own| own.min(limit))
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
    /// Command-line options for the server (`options`).
    pub options: Option<String>,
    /// How long connecting may take, where what connects would wait longer.
    pub connect_timeout: Option<Duration>,
    /// Options of the TCP connection.
    pub socket: dial::SocketOptions,
    /// Encryption.
    pub tls: Tls,
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

/// A login as one server takes it.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    /// Role name.
    pub user: &'a str,
    /// Its password; empty: none.
    pub password: &'a str,
    /// Database.
    pub dbname: &'a str,
    /// Command-line options for the server.
    pub options: Option<&'a str>,
    /// `application_name`.
    pub application_name: &'a str,
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
