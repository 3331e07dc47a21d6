//! `[sink.NAME]`: the servers that take line protocol, and how each is asked to. Secrets come from the environment or
//! from a file, never from the scenario, and stand in nothing that is written.

use super::http::{Authorization, Door};
use crate::pg::Secret;
use serde::{Deserialize, Deserializer, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use url::Url;

/// Where points go beside `metrics.lp.gz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// InfluxDB 2 and 3, and InfluxDB Cloud: `/api/v2/write`.
    Influx(Influx),
    /// InfluxDB 1: `/write?db=`.
    Influx1(Influx1),
    /// VictoriaMetrics: `/write`. It keeps no strings (they become 0), and every number as a float.
    VictoriaMetrics(VictoriaMetrics),
}

/// Settings of [`Destination::Influx`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Influx {
    /// Such as `http://127.0.0.1:8086`.
    pub url: Address,
    /// The organization, by name or id.
    pub org: String,
    /// The bucket, which must be there.
    pub bucket: String,
    /// Environment variable with the API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_env: Option<String>,
    /// File with the API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

/// Settings of [`Destination::Influx1`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Influx1 {
    /// Such as `http://127.0.0.1:8086`.
    pub url: Address,
    /// The database, which must be there.
    pub database: String,
    /// Whom to log in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Environment variable with the user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// File with the user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// Settings of [`Destination::VictoriaMetrics`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VictoriaMetrics {
    /// Such as `http://127.0.0.1:8428`, of a cluster with its path.
    pub url: Address,
    /// Environment variable with the bearer token of a proxy before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_env: Option<String>,
    /// File with that token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

/// Where a secret is to be had: in the environment, or in a file.
type Place<'a> = (Option<&'a str>, Option<&'a Path>);

impl Destination {
    /// Its address.
    pub fn url(&self) -> &Address {
        match self {
            Destination::Influx(influx) => &influx.url,
            Destination::Influx1(influx) => &influx.url,
            Destination::VictoriaMetrics(victoria) => &victoria.url,
        }
    }

    /// What keeps its secret: the keys, and what they say.
    pub fn secret(&self) -> ([&'static str; 2], Place<'_>) {
        match self {
            Destination::Influx(Influx { token_env, token_file, .. })
            | Destination::VictoriaMetrics(VictoriaMetrics { token_env, token_file, .. }) => {
                (["token_env", "token_file"], (token_env.as_deref(), token_file.as_deref()))
            }
            Destination::Influx1(Influx1 { password_env, password_file, .. }) => {
                (["password_env", "password_file"], (password_env.as_deref(), password_file.as_deref()))
            }
        }
    }

    /// Reads its secret; nothing is sent yet.
    ///
    /// # Errors
    /// The variable is not set, the file cannot be read, or the secret is nothing that fits into a header.
    pub fn open(&self) -> Result<Door, DestinationError> {
        let secret = read_secret(self.secret().1)?;
        let path = |path: &str, query: &[(&str, &str)]| self.url().join(path, query);
        let (url, authorization) = match self {
            Destination::Influx(influx) => (
                path("api/v2/write", &[("org", &influx.org), ("bucket", &influx.bucket), ("precision", "ms")]),
                secret.map(Authorization::Token),
            ),
            Destination::Influx1(influx) => {
                let user = influx.user.clone();
                let login = user.map(|user| Authorization::Basic(user, secret.unwrap_or_else(|| Secret::new(""))));
                (path("write", &[("db", &influx.database), ("precision", "ms")]), login)
            }
            Destination::VictoriaMetrics(_) => {
                (path("write", &[("precision", "ms")]), secret.map(Authorization::Bearer))
            }
        };
        Door::new(&url, authorization)
    }
}

/// Why a destination cannot even be asked.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// Of the secret.
    #[error("the environment variable {0} is not set\nhint: set it, or name a file that has the secret")]
    NotSet(String),
    /// Of the secret.
    #[error("cannot read the secret in {}: {source}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not told what is wrong with it, which would show a part of it.
    #[error("the secret is empty, or has characters that no header can carry")]
    Secret,
    /// Of the system's certificates.
    #[error("the system's certificates cannot be read: {0}")]
    Certificates(io::Error),
}

fn read_secret((variable, file): Place<'_>) -> Result<Option<Secret>, DestinationError> {
    let text = match (variable, file) {
        (Some(variable), _) => std::env::var(variable).map_err(|_| DestinationError::NotSet(variable.to_owned()))?,
        (None, Some(path)) => {
            std::fs::read_to_string(path).map_err(|source| DestinationError::File { path: path.to_owned(), source })?
        }
        (None, None) => return Ok(None),
    };
    match text.trim() {
        "" => Err(DestinationError::Secret),
        secret => Ok(Some(Secret::new(secret))),
    }
}

/// A server's address: `http` or `https`, a host, perhaps a port and a path, and no password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Address(Url);

impl Address {
    fn join(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.0.clone();
        let below = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.set_path(&below);
        url.query_pairs_mut().extend_pairs(query);
        url
    }
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        // The text itself is not repeated: it may hold a password.
        let wrong = |what: &str| format!("{what}; write an address such as `http://127.0.0.1:8086`");
        let url = Url::parse(text).map_err(|error| wrong(&format!("this is no URL ({error})")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("this is no address of a web server"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let hint = "name the environment variable or the file that has it, with `token_env` or `token_file` \
                        (of InfluxDB 1 `user` and `password_env` or `password_file`)";
            return Err(format!("a login does not belong into an address; {hint}"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("what is written where is said by other keys than the address"));
        }
        Ok(Address(url))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn paths_before_and_names_within_are_kept() {
        let url = address("https://proxy.example/influx/").join("api/v2/write", &[("bucket", "a&b c"), ("org", "ö")]);
        assert_eq!(url.as_str(), "https://proxy.example/influx/api/v2/write?bucket=a%26b+c&org=%C3%B6");
        assert_eq!(address("http://127.0.0.1:8086").join("write", &[]).as_str(), "http://127.0.0.1:8086/write?");
    }

    #[test]
    fn what_is_no_address() {
        for text in ["", "127.0.0.1:8086", "ftp://a", "http://u:hunter2@a", "http://u@a", "http://a/?db=x", "file:///x"]
        {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains("; ") && !error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_are_read_trimmed_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret = read_secret((None, Some(&path))).unwrap().unwrap();
        assert_eq!((secret.expose(), format!("{secret:?}").as_str()), ("hunter2", "****"));
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(read_secret((None, Some(&path))), Err(DestinationError::Secret)));
        let error = read_secret((Some("PGBENCH_RS_NO_SUCH_VARIABLE"), None)).unwrap_err().to_string();
        assert!(error.starts_with("the environment variable PGBENCH_RS_NO_SUCH_VARIABLE is not set\nhint:"), "{error}");
    }
}
