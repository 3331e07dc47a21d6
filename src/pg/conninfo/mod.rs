//! Connection strings by libpq's rules: what the string says, then the service file, then the environment, then the
//! defaults; the password file for the password.
//!
//! Two things are otherwise, as a node is one server and its sessions are the harness's: a list of hosts is refused, and
//! `application_name` and `client_encoding` are ours. What libpq knows and this does not is refused when leaving it out
//! would make a difference.

mod environment;
mod keyword;
mod parse;
mod unsupported;

pub use environment::Environment;

use super::dial::SocketOptions;
use super::tls::{Mode, RootsFrom, Tls, TlsError, TlsOptions};
use super::{Access, Host, Secret};
use crate::base::near::near;
use parse::Given;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where servers put their Unix sockets: on Debian and Red Hat, and as PostgreSQL is built otherwise.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Why a connection string cannot be used. None shows a password.
#[derive(Debug, thiserror::Error)]
pub enum ConninfoError {
    /// It cannot be read.
    #[error("{0}")]
    Syntax(String),
    /// No such keyword.
    #[error("there is no keyword `{keyword}`{}", near.map(|near| format!("\nhint: did you mean `{near}`?")).unwrap_or_default())]
    Unknown {
        /// As written.
        keyword: String,
        /// What was probably meant.
        near: Option<&'static str>,
    },
    /// A value that its keyword cannot have.
    #[error("{keyword}: {why}")]
    Value {
        /// The keyword.
        keyword: &'static str,
        /// What is wrong.
        why: String,
    },
    /// More than one server.
    #[error("{keyword} is a list; one node is one server\nhint: make a node of each, with a conninfo of its own")]
    Several {
        /// `host`, `hostaddr` or `port`.
        keyword: &'static str,
    },
    /// A service that is nowhere defined.
    #[error("service `{service}` is not defined{}", if files.is_empty() { "; there is no service file".to_owned() } else { format!(" in {files}") })]
    NoService {
        /// Its name.
        service: String,
        /// Where it was looked for.
        files: String,
    },
    /// A service file that cannot be read.
    #[error("{file}{}: {why}", line.map(|line| format!(", line {line}")).unwrap_or_default(), file = file.display())]
    ServiceFile {
        /// The file.
        file: PathBuf,
        /// Its line.
        line: Option<usize>,
        /// What is wrong.
        why: String,
    },
    /// No TLS as asked for.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// What a connection string comes to.
#[derive(Debug)]
pub struct Resolved {
    /// Host name, address, or directory of Unix sockets: what is dialled.
    pub host: String,
    /// TCP port, or the number in the name of the Unix socket.
    pub port: u16,
    /// How to log in there.
    pub access: Access,
    /// What the user may want to know: a password file that is not used, a keyword that has no effect.
    pub notes: Vec<String>,
}

impl Resolved {
    /// The server as node `node`.
    pub fn into_host(self, node: impl Into<String>) -> Host {
        Host { access: Some(Arc::new(self.access)), ..Host::new(node, self.host, self.port) }
    }
}

/// Whether a connection string can be read, without looking at files or the environment.
pub fn check(conninfo: &str) -> Result<(), ConninfoError> {
    parse::parse(conninfo).map(drop)
}

/// A connection string without the passwords in it, in the keyword/value form, and whether there were any.
pub fn without_password(conninfo: &str) -> Result<(String, bool), ConninfoError> {
    let mut said = parse::parse(conninfo)?;
    let before = said.len();
    said.retain(|keyword, _| !matches!(*keyword, "password" | "sslpassword"));
    let pairs: Vec<(&str, &str)> = said.iter().map(|(keyword, value)| (*keyword, value.as_str())).collect();
    Ok((super::conf::conninfo(&pairs), said.len() < before))
}

/// Reads a connection string and everything that it leaves to others.
pub fn resolve(conninfo: &str, environment: &Environment) -> Result<Resolved, ConninfoError> {
    let said = parse::parse(conninfo)?;
    let settings = Settings::gather(said, environment)?;
    let mut notes = unsupported::check(&settings)?;
    for keyword in ["host", "hostaddr"] {
        if settings.get(keyword).is_some_and(|list| list.contains(',')) {
            return Err(ConninfoError::Several { keyword });
        }
    }
    let port = settings.port()?;
    let named = settings.get("host").map(str::to_owned);
    let address = settings.get("hostaddr").map(str::to_owned);
    if let Some(address) = address.as_ref().filter(|address| address.parse::<IpAddr>().is_err()) {
        return Err(value("hostaddr", format!("`{address}` is no IP address")));
    }
    let host = address.or_else(|| named.clone()).unwrap_or_else(|| sockets(port));
    let is_unix = host.starts_with(['/', '@']);
    if is_unix && settings.get("requirepeer").is_some() {
        return Err(value("requirepeer", "who runs the server is not checked here".to_owned()));
    }
    let user = settings.get("user").map(str::to_owned).or_else(|| environment.user.clone());
    let user = user.ok_or_else(|| value("user", "there is none, and the system's user has no name".to_owned()))?;
    let dbname = settings.get("dbname").unwrap_or(&user).to_owned();
    let password = match settings.get("password") {
        Some(password) => Some(password.to_owned()),
        None => {
            let host = named.as_deref().unwrap_or(&host);
            let host = if SOCKETS.contains(&host) { "localhost" } else { host };
            let found = environment.password(settings.get("passfile"), [host, &port.to_string(), &dbname, &user]);
            found.unwrap_or_else(|why| {
                notes.push(why);
                None
            })
        }
    };
    let tls = if is_unix { Tls::off() } else { Tls::new(&settings.tls(named, environment)?)? };
    let access = Access {
        user,
        password: password.filter(|password| !password.is_empty()).map(Secret::new),
        dbname,
        options: settings.get("options").map(str::to_owned),
        connect_timeout: settings.number("connect_timeout")?.filter(|s| *s > 0).map(Duration::from_secs),
        socket: settings.socket()?,
        tls,
    };
    Ok(Resolved { host, port, access, notes })
}

/// libpq's place for Unix sockets, which depends on how it was built.
fn sockets(port: u16) -> String {
    let there = SOCKETS.iter().find(|dir| Path::new(dir).join(format!(".s.PGSQL.{port}")).exists());
    let there = there.or_else(|| SOCKETS.iter().find(|dir| Path::new(dir).is_dir()));
    (*there.unwrap_or(&SOCKETS[1])).to_owned()
}

fn value(keyword: &'static str, why: String) -> ConninfoError {
    ConninfoError::Value { keyword, why }
}

/// All values, wherever they are from.
struct Settings {
    /// What the string itself says.
    said: Vec<&'static str>,
    all: Given,
}

impl Settings {
    /// The string goes over the service, the service over the environment.
    fn gather(said: Given, environment: &Environment) -> Result<Settings, ConninfoError> {
        let own = |keyword: &str, variable: &str| {
            said.get(keyword).map(String::as_str).or_else(|| environment.variable(variable)).filter(|v| !v.is_empty())
        };
        let service = match own("service", "PGSERVICE") {
            Some(service) => environment.service(service, own("servicefile", "PGSERVICEFILE"))?,
            None => Given::new(),
        };
        let names = said.keys().copied().collect();
        let mut all = said;
        for (keyword, value) in service {
            all.entry(keyword).or_insert(value);
        }
        for keyword in keyword::KEYWORDS {
            let variable = keyword.variable.and_then(|variable| environment.variable(variable));
            if let Some(value) = variable {
                all.entry(keyword.name).or_insert_with(|| value.to_owned());
            }
        }
        // An old variable that libpq still reads.
        if environment.variable("PGREQUIRESSL").is_some_and(|value| value.starts_with('1')) {
            all.entry("sslmode").or_insert_with(|| "require".to_owned());
        }
        Ok(Settings { said: names, all })
    }

    /// A value; an empty one is none.
    fn get(&self, keyword: &str) -> Option<&str> {
        self.all.get(keyword).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A whole number; libpq takes negative ones for 0.
    fn number(&self, keyword: &'static str) -> Result<Option<u64>, ConninfoError> {
        let Some(text) = self.get(keyword) else { return Ok(None) };
        match text.trim().parse::<i32>() {
            Ok(number) => Ok(Some(u64::try_from(number).unwrap_or(0))),
            Err(_) => Err(value(keyword, format!("`{text}` is no whole number"))),
        }
    }

    fn port(&self) -> Result<u16, ConninfoError> {
        let Some(text) = self.get("port") else { return Ok(5432) };
        if text.contains(',') {
            return Err(ConninfoError::Several { keyword: "port" });
        }
        // The text is not shown: of a URI whose password holds a slash it is the password.
        let number = text.trim().parse().ok().filter(|port| *port != 0);
        number.ok_or_else(|| value("port", "is no number from 1 to 65535".to_owned()))
    }

    fn flag(&self, keyword: &'static str, default: bool) -> Result<bool, ConninfoError> {
        match self.get(keyword) {
            None => Ok(default),
            Some("1") => Ok(true),
            Some("0") => Ok(false),
            Some(other) => Err(value(keyword, format!("`{other}` is neither 0 nor 1"))),
        }
    }

    /// One of several words.
    fn one_of<T: Copy>(&self, keyword: &'static str, words: &[(&'static str, T)]) -> Result<Option<T>, ConninfoError> {
        let Some(text) = self.get(keyword) else { return Ok(None) };
        if let Some((_, found)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(Some(*found));
        }
        let list = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let meant = near(text, words.iter().map(|(word, _)| *word));
        let hint = meant.map(|meant| format!("\nhint: did you mean `{meant}`?")).unwrap_or_default();
        Err(value(keyword, format!("`{text}` is none of {list}{hint}")))
    }

    fn socket(&self) -> Result<SocketOptions, ConninfoError> {
        let some = |keyword| self.number(keyword).map(|given| given.filter(|number| *number > 0));
        let count = some("keepalives_count")?.map(|count| count as u32);
        Ok(SocketOptions {
            keepalives: self.number("keepalives")? != Some(0),
            idle: some("keepalives_idle")?.map(Duration::from_secs),
            interval: some("keepalives_interval")?.map(Duration::from_secs),
            count,
            user_timeout: some("tcp_user_timeout")?.map(Duration::from_millis),
        })
    }

    fn tls(&self, host: Option<String>, environment: &Environment) -> Result<TlsOptions, ConninfoError> {
        let given = self.one_of("sslmode", &Mode::ALL)?;
        let is_system = self.get("sslrootcert") == Some("system");
        let mode = given.unwrap_or(if is_system { Mode::VerifyFull } else { Mode::Prefer });
        let weak = |what: &str, needs: &str| {
            let why = format!("`{}` is too weak for {what}, which needs {needs}", mode.as_str());
            Err(value("sslmode", why))
        };
        if is_system && mode < Mode::VerifyFull {
            return weak("sslrootcert=system", "verify-full");
        }
        let direct = self.one_of("sslnegotiation", &[("postgres", false), ("direct", true)])?.unwrap_or(false);
        if direct && mode < Mode::Require {
            return weak("sslnegotiation=direct", "require, verify-ca or verify-full");
        }
        let file = |keyword: &str, name: &str| {
            self.get(keyword).map(PathBuf::from).or_else(|| environment.of_postgresql(name))
        };
        let (never, needs) = self
            .one_of(
                "sslcertmode",
                &[("disable", (true, false)), ("allow", (false, false)), ("require", (false, true))],
            )?
            .unwrap_or((false, false));
        Ok(TlsOptions {
            mode,
            direct,
            host,
            roots: match is_system {
                true => Some(RootsFrom::System),
                false => file("sslrootcert", "root.crt").map(RootsFrom::File),
            },
            cert: file("sslcert", "postgresql.crt").filter(|_| !never),
            key: file("sslkey", "postgresql.key"),
            needs_cert: needs,
            sni: self.flag("sslsni", true)?,
            from_13: unsupported::version(self, "ssl_min_protocol_version")? == Some(unsupported::Version::Tls13),
            up_to_12: match unsupported::version(self, "ssl_max_protocol_version")? {
                Some(unsupported::Version::Old) => {
                    return Err(value("ssl_max_protocol_version", "TLS is spoken from TLSv1.2 on".to_owned()));
                }
                other => other == Some(unsupported::Version::Tls12),
            },
        })
    }
}

#[cfg(test)]
mod tests;
