//! Which engine is meant, and how it is reached: what the scenario says, else what docker's own clients go by, which
//! is `DOCKER_HOST`, then a context (`DOCKER_CONTEXT`, or the one that `docker context use` has named), then the
//! socket of this machine.
//!
//! ```text
//! ~/.docker/ or $DOCKER_CONFIG/
//!   config.json                          currentContext
//!   contexts/meta/<id>/meta.json         a context's name and the address of its engine
//!   contexts/tls/<id>/docker/            its ca.pem, cert.pem and key.pem, where it has any
//! ```

use super::engine::EngineError;
use serde::Deserialize;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const DEFAULT_SOCKET: &str = "unix:///var/run/docker.sock";
/// The context that stands for the machine's own socket and has no file.
const DEFAULT_CONTEXT: &str = "default";

/// How an engine is reached: enough to reach it again, also from a process with another environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As in `DOCKER_HOST`.
    pub host: String,
    /// The folder of ca.pem, cert.pem and key.pem, where TLS is spoken.
    pub certs: Option<PathBuf>,
}

/// Why it is this engine and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The scenario names it.
    Scenario,
    /// `DOCKER_HOST` names it.
    DockerHost,
    /// A context of docker's clients.
    Context {
        /// The context.
        name: String,
        /// What named the context.
        by: &'static str,
    },
    /// Nobody names one.
    Default {
        /// Why what might name one could not be read.
        unread: Option<String>,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Scenario => f.write_str("which the scenario names"),
            Why::DockerHost => f.write_str("which DOCKER_HOST names"),
            Why::Context { name, by } => write!(f, "of the docker context `{name}`, which {by} names"),
            Why::Default { unread: None } => f.write_str("the default"),
            Why::Default { unread: Some(why) } => write!(f, "the default, for {why}"),
        }
    }
}

/// The ways to reach one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Socket(PathBuf),
    /// With the folder of certificates, when TLS is spoken.
    Tcp(String, Option<PathBuf>),
    Ssh(String),
}

impl Address {
    /// Chooses the engine: `host`, where the scenario names one, else as docker's clients do. `certs` go over those of
    /// the environment or the context. `variable` reads the environment.
    pub(super) fn choose(
        host: Option<&str>,
        certs: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(Address, Why), EngineError> {
        let named = host.filter(|host| !host.is_empty()).map(|host| (host.to_owned(), Why::Scenario));
        let named = named.or_else(|| Some((variable("DOCKER_HOST")?, Why::DockerHost)));
        let (address, why) = match named {
            Some((host, why)) => (Address { certs: from_environment(&host, &variable), host }, why),
            None => from_context(&variable)?,
        };
        // Whoever reaches it again may stand elsewhere.
        let absolute = |dir: PathBuf| std::path::absolute(&dir).unwrap_or(dir);
        let address = Address { certs: certs.map(Path::to_owned).or(address.certs).map(absolute), ..address };
        if certs.is_some() && !matches!(address.reach()?, Reach::Tcp(_, Some(_))) {
            let why = "`certs` is for engines that are reached by TCP, and this one is not".to_owned();
            return Err(EngineError::Tls { host: address.host, why });
        }
        Ok((address, why))
    }

    /// How it is reached.
    pub(super) fn reach(&self) -> Result<Reach, EngineError> {
        let wrong = || EngineError::Name { host: self.host.clone() };
        let (scheme, rest) = self.host.split_once("://").ok_or_else(wrong)?;
        match scheme {
            _ if rest.is_empty() => Err(wrong()),
            "unix" => Ok(Reach::Socket(rest.into())),
            "tcp" | "https" => Ok(Reach::Tcp(rest.to_owned(), self.certs.clone())),
            "http" => Ok(Reach::Tcp(rest.to_owned(), None)),
            "ssh" => Ok(Reach::Ssh(rest.to_owned())),
            _ => Err(wrong()),
        }
    }
}

impl Reach {
    /// The host of an engine of another machine.
    pub(super) fn remote_host(&self) -> Option<&str> {
        match self {
            Reach::Socket(_) => None,
            Reach::Tcp(address, _) | Reach::Ssh(address) => Some(host_of(address)),
        }
    }
}

/// The certificates for an engine that no context names: `DOCKER_TLS_VERIFY` or `DOCKER_CERT_PATH` asks for them.
fn from_environment(host: &str, variable: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let asked = variable("DOCKER_TLS_VERIFY").is_some() || variable("DOCKER_CERT_PATH").is_some();
    let wanted = host.starts_with("https://") || host.starts_with("tcp://") && asked;
    wanted.then(|| {
        variable("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| config_folder(variable)).unwrap_or_default()
    })
}

/// Where docker's clients keep their settings.
fn config_folder(variable: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let at_home = || variable("HOME").map(|home| Path::new(&home).join(".docker"));
    variable("DOCKER_CONFIG").map(PathBuf::from).or_else(at_home)
}

/// `config.json`, as far as it is of interest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    current_context: Option<String>,
}

/// The current context's engine, or the default.
fn from_context(variable: &impl Fn(&str) -> Option<String>) -> Result<(Address, Why), EngineError> {
    let folder = config_folder(variable);
    let (name, by, unread) = match (variable("DOCKER_CONTEXT"), &folder) {
        (Some(name), _) => (Some(name), "DOCKER_CONTEXT", None),
        (None, None) => (None, "", None),
        (None, Some(folder)) => match current(&folder.join("config.json")) {
            Ok(name) => (name, "`docker context use`", None),
            // As docker's clients do, who say so and go on.
            Err(why) => (None, "", Some(why)),
        },
    };
    match name.filter(|name| !name.is_empty() && name != DEFAULT_CONTEXT) {
        None => Ok((Address { host: DEFAULT_SOCKET.to_owned(), certs: None }, Why::Default { unread })),
        Some(name) => {
            let address = context(folder.as_deref(), &name);
            let address = address.map_err(|why| EngineError::Context { name: name.clone(), by, why })?;
            Ok((address, Why::Context { name, by }))
        }
    }
}

/// The current context, where the file names one.
fn current(config: &Path) -> Result<Option<String>, String> {
    match fs::read(config) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be read: {error}", config.display())),
        Ok(text) => match serde_json::from_slice::<Config>(&text) {
            Ok(config) => Ok(config.current_context),
            Err(error) => Err(format!("{} cannot be understood: {error}", config.display())),
        },
    }
}

/// `meta.json` of a context, as far as it is of interest.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    name: String,
    #[serde(default)]
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
struct Endpoints {
    docker: Option<Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(default)]
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// The engine of a context.
fn context(folder: Option<&Path>, name: &str) -> Result<Address, String> {
    let contexts = folder.ok_or("there is no HOME in which contexts could lie")?.join("contexts");
    let (id, meta) = find(&contexts.join("meta"), name)?;
    let endpoint = meta.endpoints.docker.ok_or("it names no engine")?;
    let host = if endpoint.host.is_empty() { DEFAULT_SOCKET.to_owned() } else { endpoint.host };
    let certs = Some(contexts.join("tls").join(id).join("docker")).filter(|certs| certs.is_dir());
    if endpoint.skip_tls_verify && certs.is_none() {
        return Err("it says not to verify the engine's certificate, and here that is always done".to_owned());
    }
    // What lies there is of no use to a socket, but does no harm either.
    let certs = certs.filter(|_| host.starts_with("tcp://") || host.starts_with("https://"));
    Ok(Address { host, certs })
}

/// The context of that name, and the folder's name that stands for it. (It is a hash of the name; looking into all of
/// them needs no hash and also finds what there is instead.)
fn find(all: &Path, name: &str) -> Result<(PathBuf, Meta), String> {
    let mut names = Vec::new();
    let said = |error: io::Error| format!("{}: {error}", all.display());
    let entries = match fs::read_dir(all) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        entries => entries.map_err(said)?.collect::<io::Result<Vec<_>>>().map_err(said)?,
    };
    for entry in entries {
        let file = entry.path().join("meta.json");
        let text = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let meta: Meta = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        if meta.name == name {
            return Ok((entry.file_name().into(), meta));
        }
        names.push(format!("`{}`", meta.name));
    }
    names.push(format!("`{DEFAULT_CONTEXT}`"));
    names.sort();
    Err(format!("there is none such; the contexts are {}", names.join(", ")))
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

    fn choose(host: Option<&str>, variables: &[(&str, &str)]) -> Result<(Address, Why), EngineError> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Address::choose(host, None, variable)
    }

    fn reach(host: &str, variables: &[(&str, &str)]) -> Reach {
        choose(Some(host), variables).unwrap().0.reach().unwrap()
    }

    /// A made-up folder of settings of docker's clients, with the contexts `lab` and `bare`.
    fn settings(config: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), config).unwrap();
        for (id, meta) in [
            (
                "1a",
                r#"{"Name":"bare","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///run/x.sock","SkipTLSVerify":false}}}"#,
            ),
            (
                "2b",
                r#"{"Name":"lab","Metadata":{"Description":"d"},"Endpoints":{"docker":{"Host":"tcp://lab:2376","SkipTLSVerify":false}}}"#,
            ),
            ("3c", r#"{"Name":"lax","Endpoints":{"docker":{"Host":"tcp://lax:2376","SkipTLSVerify":true}}}"#),
            ("4d", r#"{"Name":"cloud","Endpoints":{}}"#),
        ] {
            let meta_dir = dir.path().join("contexts/meta").join(id);
            fs::create_dir_all(&meta_dir).unwrap();
            fs::write(meta_dir.join("meta.json"), meta).unwrap();
        }
        fs::create_dir_all(dir.path().join("contexts/tls/2b/docker")).unwrap();
        dir
    }

    #[test]
    fn names_are_read_as_the_docker_client_reads_them() {
        assert_eq!(reach("unix:///run/x.sock", &[]), Reach::Socket("/run/x.sock".into()));
        assert_eq!(reach("tcp://h:2375", &[]), Reach::Tcp("h:2375".into(), None));
        assert_eq!(reach("http://h:2375", &[("DOCKER_TLS_VERIFY", "1")]), Reach::Tcp("h:2375".into(), None));
        let own = reach("tcp://h:2376", &[("DOCKER_CERT_PATH", "/c")]);
        assert_eq!(own, Reach::Tcp("h:2376".into(), Some("/c".into())));
        let at_home = reach("tcp://h:2376", &[("DOCKER_TLS_VERIFY", "1"), ("HOME", "/home/x")]);
        assert_eq!(at_home, Reach::Tcp("h:2376".into(), Some("/home/x/.docker".into())));
        assert_eq!(reach("ssh://me@h", &[]), Reach::Ssh("me@h".into()));
        for wrong in ["/var/run/docker.sock", "h:2375", "npipe:////./pipe/x", "tcp://"] {
            let address = Address { host: wrong.to_owned(), certs: None };
            assert!(address.reach().unwrap_err().to_string().contains("hint: write it as in DOCKER_HOST"));
        }
    }

    #[test]
    fn certificates_of_the_scenario_go_over_others_and_are_for_tcp() {
        let variable = |name: &str| (name == "DOCKER_CERT_PATH").then(|| "/of/all".to_owned());
        let own = Some(Path::new("/of/one"));
        let (address, _) = Address::choose(Some("tcp://h:2376"), own, variable).unwrap();
        assert_eq!(address.certs.as_deref(), own);
        let (relative, _) = Address::choose(Some("tcp://h:2376"), Some(Path::new("tls")), variable).unwrap();
        assert_eq!(relative.certs, Some(std::env::current_dir().unwrap().join("tls")));
        let error = Address::choose(Some("unix:///x"), own, variable).unwrap_err().to_string();
        assert!(error.contains("`certs` is for engines that are reached by TCP"), "{error}");
    }

    #[test]
    fn the_engine_is_chosen_as_docker_itself_does() {
        let dir = settings(r#"{"auths":{},"currentContext":"lab"}"#);
        let folder = dir.path().to_str().unwrap();
        let config = ("DOCKER_CONFIG", folder);
        let host = |choice: Result<(Address, Why), EngineError>| {
            let (address, why) = choice.unwrap();
            (address.host, why.to_string())
        };
        let chosen = |host: &str, why: &str| (host.to_owned(), why.to_owned());
        let lab = "of the docker context `lab`, which `docker context use` names";
        assert_eq!(host(choose(None, &[config])), chosen("tcp://lab:2376", lab));
        let certs = dir.path().join("contexts/tls/2b/docker");
        // The environment's certificates are not for contexts.
        assert_eq!(choose(None, &[config, ("DOCKER_CERT_PATH", "/c")]).unwrap().0.certs, Some(certs));
        let bare = ("DOCKER_CONTEXT", "bare");
        let of_bare = "of the docker context `bare`, which DOCKER_CONTEXT names";
        assert_eq!(host(choose(None, &[config, bare])), chosen("unix:///run/x.sock", of_bare));
        let by_host = ("DOCKER_HOST", "tcp://h:1");
        assert_eq!(host(choose(None, &[config, bare, by_host])), chosen("tcp://h:1", "which DOCKER_HOST names"));
        assert_eq!(host(choose(Some("ssh://h"), &[config, by_host])), chosen("ssh://h", "which the scenario names"));
        let default = ("DOCKER_CONTEXT", "default");
        assert_eq!(host(choose(None, &[config, default])), chosen(DEFAULT_SOCKET, "the default"));
        assert_eq!(host(choose(Some(""), &[("HOME", "/nowhere")])), chosen(DEFAULT_SOCKET, "the default"));
    }

    #[test]
    fn a_context_that_is_of_no_use_is_said() {
        let dir = settings("{}");
        let config = ("DOCKER_CONFIG", dir.path().to_str().unwrap());
        assert_eq!(choose(None, &[config]).unwrap().1, Why::Default { unread: None });
        for (name, expected) in [
            ("lap", "there is none such; the contexts are `bare`, `cloud`, `default`, `lab`, `lax`\nhint: "),
            ("lax", "it says not to verify the engine's certificate"),
            ("cloud", "it names no engine"),
        ] {
            let error = choose(None, &[config, ("DOCKER_CONTEXT", name)]).unwrap_err().to_string();
            let begin = format!("the docker context `{name}`, which DOCKER_CONTEXT names, is of no use: ");
            assert!(error.starts_with(&begin) && error.contains(expected), "{error}");
        }
        fs::write(dir.path().join("config.json"), "currentContext: lab").unwrap();
        let (address, why) = choose(None, &[config]).unwrap();
        assert_eq!(address.host, DEFAULT_SOCKET);
        assert!(why.to_string().contains("config.json cannot be understood: "), "{why}");
    }

    #[test]
    fn the_host_of_an_address() {
        for (address, host) in [("h:2375", "h"), ("me@h:22/x", "h"), ("[::1]:2375", "::1"), ("10.0.0.1", "10.0.0.1")] {
            assert_eq!(host_of(address), host);
        }
    }
}
