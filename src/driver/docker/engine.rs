//! Reaching a container engine as the docker client does, and saying why it cannot be reached.

use super::address::{Address, Reach, Why};
pub use super::error::EngineError;
pub(super) use super::error::asked;
use crate::driver::start::whole;
use bollard::{API_DEFAULT_VERSION, Docker};
use std::fmt;
use std::io;
use std::path::Path;

/// How long the engine may take to answer a request, in seconds. Creating a container takes well under one,
/// pulling an image answers at once and then reports.
const ANSWER_SECONDS: u64 = 120;
/// The oldest interface that is spoken, `1.41`: that of Docker 20.10. Later ones only add what is used here.
const OLDEST: usize = 41;

/// A container engine that answered.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(super) docker: Docker,
    address: Address,
    why: Why,
    reach: Reach,
    version: EngineVersion,
}

/// What a record says of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineVersion {
    /// Its own version, such as `20.10.24`.
    pub engine: String,
    /// The version of the interface that is spoken with it, such as `1.41`.
    pub api: String,
}

impl fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (API {})", self.engine, self.api)
    }
}

impl Engine {
    /// Reaches the engine that `host` names, else the one that docker's own clients would choose. What TLS there is
    /// is always verified.
    pub async fn connect(host: Option<&str>) -> Result<Engine, EngineError> {
        Engine::choose(host, None).await
    }

    /// Reaches the engine of a driver's table.
    pub async fn of(settings: &super::Docker) -> Result<Engine, EngineError> {
        Engine::choose(settings.host.as_deref(), settings.certs.as_deref()).await
    }

    async fn choose(host: Option<&str>, certs: Option<&Path>) -> Result<Engine, EngineError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (address, why) = Address::choose(host, certs, variable)?;
        Engine::at(address, why).await
    }

    /// Reaches an engine again that was reached before, from whatever environment.
    pub async fn again(address: Address) -> Result<Engine, EngineError> {
        Engine::at(address, Why::Scenario).await
    }

    async fn at(address: Address, why: Why) -> Result<Engine, EngineError> {
        let reach = address.reach()?;
        // As it is called in errors: who has not named it himself wants to know who did.
        let name = match &why {
            Why::Scenario | Why::Default { unread: None } => address.host.clone(),
            why => format!("{} ({why})", address.host),
        };
        let docker = open(&address.host, &name, &reach).await?;
        let said = docker.negotiate_version().await.map_err(|error| unreachable(&name, &reach, &error))?;
        let version = said.version().await.map_err(|error| unreachable(&name, &reach, &error))?;
        let version =
            EngineVersion { engine: version.version.unwrap_or_default(), api: said.client_version().to_string() };
        let engine = Engine { docker: said, address, why, reach, version };
        if !engine.speaks(OLDEST) {
            let EngineVersion { engine, api } = engine.version;
            return Err(EngineError::Old { host: name, engine, api, oldest: format!("1.{OLDEST}") });
        }
        Ok(engine)
    }

    /// Its name, as in `DOCKER_HOST`.
    pub fn name(&self) -> &str {
        &self.address.host
    }

    /// How it is reached again.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Why it is this one.
    pub fn why(&self) -> &Why {
        &self.why
    }

    /// Whether it sees this machine's files.
    pub fn is_local(&self) -> bool {
        matches!(self.reach, Reach::Socket(_))
    }

    /// The host of a remote engine.
    pub fn remote_host(&self) -> Option<&str> {
        self.reach.remote_host()
    }

    /// What tells it from others, however it is reached: its id, and where it keeps what it has, for engines of one
    /// machine may share an id.
    pub(super) async fn identity(&self) -> Result<String, EngineError> {
        let info = self.docker.info().await.map_err(asked("asking the engine for its id"))?;
        Ok(format!("{} {}", info.id.unwrap_or_default(), info.docker_root_dir.unwrap_or_default()))
    }

    /// Its version and the interface's.
    pub fn version(&self) -> &EngineVersion {
        &self.version
    }

    /// Whether the interface that is spoken is at least `1.minor`.
    pub(super) fn speaks(&self, minor: usize) -> bool {
        let version = self.docker.client_version();
        (version.major_version, version.minor_version) >= (1, minor)
    }
}

/// `name` is for errors.
async fn open(host: &str, name: &str, reach: &Reach) -> Result<Docker, EngineError> {
    let opened = match reach {
        Reach::Socket(path) => {
            // The client's own error would not say whether the socket is missing or closed.
            tokio::net::UnixStream::connect(path).await.map_err(|error| no_socket(name, &error))?;
            Docker::connect_with_unix(&path.to_string_lossy(), ANSWER_SECONDS, API_DEFAULT_VERSION)
        }
        Reach::Tcp(address, None) => Docker::connect_with_http(address, ANSWER_SECONDS, API_DEFAULT_VERSION),
        Reach::Tcp(address, Some(dir)) => {
            let [key, cert, ca] = ["key.pem", "cert.pem", "ca.pem"].map(|file| dir.join(file));
            for file in [&ca, &cert, &key] {
                let tls = |error: io::Error| EngineError::Tls {
                    host: name.to_owned(),
                    why: format!("{}: {error}", file.display()),
                };
                std::fs::File::open(file).map_err(tls)?;
            }
            Docker::connect_with_ssl(address, &key, &cert, &ca, ANSWER_SECONDS, API_DEFAULT_VERSION)
        }
        Reach::Ssh(_) => Docker::connect_with_ssh(host, ANSWER_SECONDS, API_DEFAULT_VERSION, None),
    };
    opened.map_err(|error| unreachable(name, reach, &error))
}

fn no_socket(name: &str, error: &io::Error) -> EngineError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => EngineError::Permission { host: name.to_owned() },
        _ => EngineError::Nobody { host: name.to_owned(), why: error.to_string() },
    }
}

fn unreachable(name: &str, reach: &Reach, error: &bollard::errors::Error) -> EngineError {
    let (host, why) = (name.to_owned(), whole(error));
    if let bollard::errors::Error::DockerResponseServerError { status_code: 400, message } = error
        && message.contains("HTTP request to an HTTPS server")
    {
        let why = "it speaks TLS, and nothing says with which certificates".to_owned();
        return EngineError::Tls { host, why };
    }
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::PermissionDenied if matches!(reach, Reach::Socket(_)) => {
                    return EngineError::Permission { host };
                }
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound if !matches!(reach, Reach::Ssh(_)) => {
                    return EngineError::Nobody { host, why: io.to_string() };
                }
                _ => {}
            }
        }
        cause = error.source();
    }
    match reach {
        Reach::Tcp(_, Some(_)) => EngineError::Tls { host, why },
        Reach::Ssh(_) => EngineError::Ssh { host, why },
        _ => EngineError::Nobody { host, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_socket_is_no_missing_engine() {
        let closed = no_socket("unix:///x", &io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(closed.starts_with("no permission") && closed.contains("hint: let this user join"), "{closed}");
        let missing = no_socket("unix:///x", &io::ErrorKind::NotFound.into()).to_string();
        assert!(missing.starts_with("no container engine answers at unix:///x: "), "{missing}");
    }
}
