//! Connecting for control, probes and sampling, with errors that say what was wrong: a server that is
//! not there, one that refuses the login, one that is still starting, one that does not answer.

use super::{Host, Login};
use std::time::Duration;
use tokio_postgres::{Client, NoTls, error::SqlState};

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing listens there, or the network says so.
    #[error("cannot reach {host}:{port}: {source}")]
    Unreachable {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// What the system said.
        source: tokio_postgres::Error,
    },
    /// The login was refused.
    #[error("{host}:{port} refuses the login: {source}")]
    Authentication {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// What the server said.
        source: tokio_postgres::Error,
    },
    /// The server answered with another error: it is starting, stopping, full.
    #[error("{host}:{port} takes no connection: {source}")]
    Refused {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// What the server said.
        source: tokio_postgres::Error,
    },
    /// No answer in time.
    #[error("{host}:{port} did not answer within {limit:?}")]
    Timeout {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// How long was waited.
        limit: Duration,
    },
}

impl ConnectError {
    /// The SQLSTATE, when it was the server that refused.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            ConnectError::Unreachable { source, .. }
            | ConnectError::Authentication { source, .. }
            | ConnectError::Refused { source, .. } => source.code().map(SqlState::code),
            ConnectError::Timeout { .. } => None,
        }
    }
}

/// Connects within `limit`. The connection is driven by a task of the current runtime and ends with the client.
pub async fn connect(host: &Host, login: &Login, limit: Duration) -> Result<Client, ConnectError> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(&host.host)
        .port(host.port)
        .user(&login.user)
        .password(login.password.expose())
        .dbname(&login.dbname)
        .application_name(&login.application_name);
    let (name, port) = (host.host.clone(), host.port);
    match tokio::time::timeout(limit, config.connect(NoTls)).await {
        Err(_) => Err(ConnectError::Timeout { host: name, port, limit }),
        Ok(Err(source)) => Err(match source.code().map(SqlState::code) {
            None => ConnectError::Unreachable { host: name, port, source },
            Some(code) if code.starts_with("28") => ConnectError::Authentication { host: name, port, source },
            Some(_) => ConnectError::Refused { host: name, port, source },
        }),
        Ok(Ok((client, connection))) => {
            // The connection's error reaches every request that is waiting; there is nobody else to tell.
            tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok(client)
        }
    }
}
