//! Connecting for control, probes and sampling, with errors that say what was wrong: a server that is
//! not there, one that refuses the login, one that is still starting, one that does not answer.

use super::dial::{DialError, Failure, Socket, Way, dial};
use super::{Host, Login, Who, tls};
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Config, NoTls, config::SslMode, error::SqlState};

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
        source: io::Error,
    },
    /// The login was refused, by the server, or by us who could not trust it.
    #[error("no login to {host}:{port}: {source}")]
    Authentication {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// What was wrong.
        source: LoginError,
    },
    /// The server answered with another error: it is starting, stopping, full.
    #[error("{host}:{port} takes no connection: {}", said(source))]
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

/// Why a login failed on a server that was reached.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The server said so.
    #[error("{}", said(.0))]
    Server(tokio_postgres::Error),
    /// No agreement on encryption.
    #[error("{0}")]
    Tls(String),
}

impl ConnectError {
    /// The SQLSTATE, when it was the server that refused.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            ConnectError::Authentication { source: LoginError::Server(source), .. }
            | ConnectError::Refused { source, .. } => source.code().map(SqlState::code),
            ConnectError::Unreachable { .. } | ConnectError::Authentication { .. } | ConnectError::Timeout { .. } => {
                None
            }
        }
    }
}

/// What a statement failed of, with the SQLSTATE, and what a role without the right to do it needs.
pub fn in_words(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else { return said(error) };
    let hint = match *db.code() {
        SqlState::INSUFFICIENT_PRIVILEGE if db.message().contains("schema") => {
            "\nhint: GRANT CREATE ON SCHEMA … TO the role, or a schema of its own first in its search_path"
        }
        SqlState::INSUFFICIENT_PRIVILEGE => "\nhint: a role that is no superuser needs the right to do this; see GRANT",
        _ => "",
    };
    format!("{} (SQLSTATE {}){hint}", db.message(), db.code().code())
}

/// An error with its cause: the driver itself says only "db error", or "error communicating with the server".
fn said(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(cause) if error.as_db_error().is_some() => cause.to_string(),
        Some(cause) => cause.downcast_ref::<io::Error>().map_or_else(|| format!("{error}: {cause}"), tls::in_words),
        None => error.to_string(),
    }
}

/// A connection as it is driven: encryption is the socket's own.
pub type Connection = tokio_postgres::Connection<Socket, NoTlsStream>;

/// Why one attempt failed.
#[derive(Debug)]
pub enum AttemptError {
    /// Before the login.
    Dial(DialError),
    /// In it, and whether it was encrypted.
    Login(tokio_postgres::Error, bool),
}

/// Connects and logs in, however long that takes: for callers with a limit of their own.
pub async fn open(host: &Host, login: &Login) -> Result<(Client, Connection), AttemptError> {
    let config = config(host.who(login));
    let mut way = Way::first(host);
    loop {
        let error = match attempt(host, &config, way).await {
            Ok(connected) => return Ok(connected),
            Err(error) => error,
        };
        let failure = match &error {
            AttemptError::Dial(error) => Some(Failure::from(error)),
            AttemptError::Login(error, encrypted) => error.code().map(|_| Failure::refused(*encrypted)),
        };
        way = failure.and_then(|failure| way.after(host, failure)).ok_or(error)?;
    }
}

async fn attempt(host: &Host, config: &Config, way: Way) -> Result<(Client, Connection), AttemptError> {
    let socket = dial(host, way).await.map_err(AttemptError::Dial)?;
    let encrypted = socket.is_encrypted();
    config.connect_raw(socket, NoTls).await.map_err(|error| AttemptError::Login(error, encrypted))
}

fn config(who: Who<'_>) -> Config {
    let mut config = Config::new();
    config.user(who.user).dbname(who.dbname).application_name(who.application_name).ssl_mode(SslMode::Disable);
    if !who.password.is_empty() {
        config.password(who.password);
    }
    if let Some(options) = who.options {
        config.options(options);
    }
    config
}

/// Connects within `limit`. The connection is driven by a task of the current runtime and ends with the client.
pub async fn connect(host: &Host, login: &Login, limit: Duration) -> Result<Client, ConnectError> {
    let limit = host.limit(limit);
    let (name, port) = (host.host.clone(), host.port);
    match tokio::time::timeout(limit, open(host, login)).await {
        Err(_) => Err(ConnectError::Timeout { host: name, port, limit }),
        Ok(Err(error)) => Err(because(name, port, error)),
        Ok(Ok((client, connection))) => {
            // The connection's error reaches every request that is waiting; there is nobody else to tell.
            tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok(client)
        }
    }
}

fn because(host: String, port: u16, error: AttemptError) -> ConnectError {
    match error {
        AttemptError::Dial(DialError::Io(source)) => ConnectError::Unreachable { host, port, source },
        AttemptError::Dial(DialError::Tls(reason)) => {
            ConnectError::Authentication { host, port, source: LoginError::Tls(reason) }
        }
        AttemptError::Login(source, _) => match source.code().map(SqlState::code) {
            Some(code) if !code.starts_with("28") => ConnectError::Refused { host, port, source },
            None if !is_of_login(&source) => {
                ConnectError::Unreachable { host, port, source: io::Error::other(said(&source)) }
            }
            _ => ConnectError::Authentication { host, port, source: LoginError::Server(source) },
        },
    }
}

/// Whether it was the driver that could not log in: no password where one is asked for, a method that it does not
/// speak. Its text alone says so.
fn is_of_login(error: &tokio_postgres::Error) -> bool {
    matches!(error.to_string().as_str(), "invalid configuration" | "authentication error")
}

impl AttemptError {
    /// The driver's own error, for those who can take no other. It lets nobody make one, so it is what it says of a
    /// connection that breaks for this reason.
    pub async fn of_driver(self) -> tokio_postgres::Error {
        let error = match self {
            AttemptError::Login(error, _) => return error,
            AttemptError::Dial(DialError::Io(error)) => error,
            AttemptError::Dial(DialError::Tls(reason)) => io::Error::other(reason),
        };
        let mut config = Config::new();
        config.user("nobody").ssl_mode(SslMode::Disable);
        loop {
            let broken = Broken(io::Error::new(error.kind(), error.to_string()));
            if let Err(error) = config.connect_raw(broken, NoTls).await {
                return error;
            }
        }
    }
}

/// A connection that is broken from the start.
struct Broken(io::Error);

impl Broken {
    fn error<T>(&self) -> Poll<io::Result<T>> {
        Poll::Ready(Err(io::Error::new(self.0.kind(), self.0.to_string())))
    }
}

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.error()
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.error()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.error()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.error()
    }
}
