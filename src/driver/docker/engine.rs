//! Reaching a container engine as the docker client does, and saying why it cannot be reached.

use crate::driver::start::whole;
use bollard::{API_DEFAULT_VERSION, Docker};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// How long the engine may take to answer a request, in seconds. Creating a container takes well under one,
/// pulling an image answers at once and then reports.
const ANSWER_SECONDS: u64 = 120;
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
const FORMS: &str = "unix:///path/of/socket, tcp://host:port or ssh://user@host";

/// A container engine that answered.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(super) docker: Docker,
    name: String,
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

/// Why an engine did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The name of an engine cannot be understood.
    #[error("`{host}` names no container engine\nhint: write it as in DOCKER_HOST: {FORMS}")]
    Name {
        /// What was written.
        host: String,
    },
    /// Nobody answers.
    #[error(
        "no container engine answers at {host}: {why}\n\
         hint: start one (`systemctl start docker`), or name another with DOCKER_HOST"
    )]
    Nobody {
        /// How it was to be reached.
        host: String,
        /// What the system said.
        why: String,
    },
    /// The socket is there and closed to this user.
    #[error(
        "no permission to use the container engine at {host}\n\
         hint: let this user join the group `docker` (`usermod -aG docker USER`, then log in anew), or run this as root"
    )]
    Permission {
        /// How it was to be reached.
        host: String,
    },
    /// The two sides could not agree on TLS.
    #[error(
        "no TLS with the container engine at {host}: {why}\n\
         hint: DOCKER_CERT_PATH names the folder that holds ca.pem, cert.pem and key.pem"
    )]
    Tls {
        /// How it was to be reached.
        host: String,
        /// What failed.
        why: String,
    },
    /// `ssh` did not get there.
    #[error(
        "the container engine at {host} is not reached by ssh: {why}\n\
         hint: `ssh HOST docker version` must work without asking for anything; another port than 22 goes into ~/.ssh/config"
    )]
    Ssh {
        /// How it was to be reached.
        host: String,
        /// What `ssh` said.
        why: String,
    },
    /// It answered that it could not.
    #[error("{what}: the container engine says: {said}")]
    Refused {
        /// What it was asked to do.
        what: String,
        /// The status of HTTP.
        status: u16,
        /// What it said.
        said: String,
    },
    /// It did not answer, or not in a form that is understood.
    #[error("{what}: {why}")]
    Lost {
        /// What it was asked to do.
        what: String,
        /// What happened.
        why: String,
    },
}

/// How an engine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reach {
    Socket(PathBuf),
    /// With the folder of certificates, when TLS is spoken.
    Tcp(String, Option<PathBuf>),
    Ssh(String),
}

impl Engine {
    /// Reaches the engine that `host` names, else the one of `DOCKER_HOST`, else the one of this machine. TCP
    /// is encrypted when `DOCKER_TLS_VERIFY` or `DOCKER_CERT_PATH` says so; the engine's certificate is then
    /// always verified.
    pub async fn connect(host: Option<&str>) -> Result<Engine, EngineError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let name = host.map(str::to_owned).filter(|host| !host.is_empty()).or_else(|| variable("DOCKER_HOST"));
        let name = name.unwrap_or_else(|| format!("unix://{DEFAULT_SOCKET}"));
        let reach = reach(&name, variable)?;
        let docker = open(&name, &reach).await?;
        let said = docker.negotiate_version().await.map_err(|error| unreachable(&name, &reach, &error))?;
        let version = said.version().await.map_err(|error| unreachable(&name, &reach, &error))?;
        let version =
            EngineVersion { engine: version.version.unwrap_or_default(), api: said.client_version().to_string() };
        Ok(Engine { docker: said, name, reach, version })
    }

    /// Its name for the inventory: what reaches it again, as in `DOCKER_HOST`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it sees this machine's files.
    pub fn is_local(&self) -> bool {
        matches!(self.reach, Reach::Socket(_))
    }

    /// The host of a remote engine.
    pub fn remote_host(&self) -> Option<&str> {
        match &self.reach {
            Reach::Socket(_) => None,
            Reach::Tcp(address, _) => Some(host_of(address)),
            Reach::Ssh(address) => Some(host_of(address)),
        }
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

/// For `map_err`: what the engine was asked to do.
pub(super) fn asked(what: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> EngineError {
    let what = what.into();
    move |error| match error {
        bollard::errors::Error::DockerResponseServerError { status_code, message } => {
            EngineError::Refused { what, status: status_code, said: message.trim().to_owned() }
        }
        bollard::errors::Error::DockerStreamError { error } => EngineError::Refused { what, status: 0, said: error },
        other => EngineError::Lost { what, why: whole(&other) },
    }
}

impl EngineError {
    /// The status with which the engine refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            EngineError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

fn reach(name: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Reach, EngineError> {
    let wrong = || EngineError::Name { host: name.to_owned() };
    let (scheme, rest) = name.split_once("://").ok_or_else(wrong)?;
    if rest.is_empty() {
        return Err(wrong());
    }
    let certificates = || {
        let of_client = variable("DOCKER_CONFIG").map(PathBuf::from);
        let at_home = || variable("HOME").map(|home| Path::new(&home).join(".docker"));
        variable("DOCKER_CERT_PATH").map(PathBuf::from).or(of_client).or_else(at_home).unwrap_or_default()
    };
    let wanted = variable("DOCKER_TLS_VERIFY").is_some() || variable("DOCKER_CERT_PATH").is_some();
    match scheme {
        "unix" => Ok(Reach::Socket(rest.into())),
        "tcp" | "http" => Ok(Reach::Tcp(rest.to_owned(), (scheme == "tcp" && wanted).then(certificates))),
        "https" => Ok(Reach::Tcp(rest.to_owned(), Some(certificates()))),
        "ssh" => Ok(Reach::Ssh(rest.to_owned())),
        _ => Err(wrong()),
    }
}

async fn open(name: &str, reach: &Reach) -> Result<Docker, EngineError> {
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
        Reach::Ssh(_) => Docker::connect_with_ssh(name, ANSWER_SECONDS, API_DEFAULT_VERSION, None),
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
        let why = "it speaks TLS, and neither DOCKER_TLS_VERIFY nor DOCKER_CERT_PATH is set".to_owned();
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

/// The host of `user@host:port/path`.
fn host_of(address: &str) -> &str {
    let address = address.split('/').next().unwrap_or(address);
    let address = address.rsplit('@').next().unwrap_or(address);
    match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => address.split(':').next().unwrap_or(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn names_are_read_as_the_docker_client_reads_them() {
        assert_eq!(reach("unix:///run/x.sock", with(&[])).unwrap(), Reach::Socket("/run/x.sock".into()));
        assert_eq!(reach("tcp://h:2375", with(&[])).unwrap(), Reach::Tcp("h:2375".into(), None));
        let dir = with(&[("DOCKER_CERT_PATH", "/c")]);
        assert_eq!(reach("tcp://h:2376", dir).unwrap(), Reach::Tcp("h:2376".into(), Some("/c".into())));
        let verify = with(&[("DOCKER_TLS_VERIFY", "1"), ("HOME", "/home/x")]);
        assert_eq!(reach("tcp://h:2376", verify).unwrap(), Reach::Tcp("h:2376".into(), Some("/home/x/.docker".into())));
        assert_eq!(reach("ssh://me@h", with(&[])).unwrap(), Reach::Ssh("me@h".into()));
        for wrong in ["/var/run/docker.sock", "h:2375", "npipe:////./pipe/x", "tcp://"] {
            assert!(reach(wrong, with(&[])).unwrap_err().to_string().contains("hint: write it as in DOCKER_HOST"));
        }
    }

    #[test]
    fn the_host_of_an_address() {
        for (address, host) in [("h:2375", "h"), ("me@h:22/x", "h"), ("[::1]:2375", "::1"), ("10.0.0.1", "10.0.0.1")] {
            assert_eq!(host_of(address), host);
        }
    }

    #[test]
    fn a_closed_socket_is_no_missing_engine() {
        let closed = no_socket("unix:///x", &io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(closed.starts_with("no permission") && closed.contains("hint: let this user join"), "{closed}");
        let missing = no_socket("unix:///x", &io::ErrorKind::NotFound.into()).to_string();
        assert!(missing.starts_with("no container engine answers at unix:///x: "), "{missing}");
    }
}
