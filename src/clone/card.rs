//! What must be known of a clone that outlives the program that made it: of what, how and for whom it was made, and what
//! became of it. It is kept on the [`shelf`](super::shelf).

use super::phase::Span;
use super::precooked::Cooked;
use super::protocol::Protocol;
use super::recipe::{Method, Recipe};
use crate::base::proc::Identity;
use crate::base::units::Time;
use crate::snapshot::Place;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What must be known of a clone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Its name.
    pub name: String,
    /// The run that it is.
    pub run: String,
    /// Whose it is, in words.
    pub owner: String,
    /// When it was asked for, in RFC 3339.
    pub created_at: String,
    /// How long it is wanted.
    pub expires: Option<Time>,
    /// What it was made of.
    pub from: From,
    /// Who makes it, while it is not ready.
    pub maker: Identity,
    /// What became of it.
    pub ready: Option<Ready>,
}

/// What a clone was made of, and how: enough to make it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct From {
    /// The source's connection string, without a password.
    pub conninfo: String,
    /// A password was taken out of it.
    pub had_password: bool,
    /// The source's data directory.
    pub data_dir: PathBuf,
    /// How it was made.
    pub recipe: Recipe,
    /// Where clones go, when that was said.
    pub to: Option<PathBuf>,
    /// Where the server's programs are, when that was said.
    pub postgres: Option<PathBuf>,
    /// The image of its container, if it is one.
    pub image: Option<String>,
    /// The container uses the network of the engine's host.
    pub host_network: bool,
    /// No way leads out of the container's network.
    #[serde(default)]
    pub no_egress: bool,
    /// How long the server may take to start.
    pub start_limit: Time,
}

/// What became of a clone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// How to connect to it, without a password.
    pub conninfo: String,
    /// Its port.
    pub port: u16,
    /// Its own directory.
    pub home: PathBuf,
    /// Its data directory.
    pub data: PathBuf,
    /// Its copy, when a snapshot driver made it.
    pub copy: Option<Place>,
    /// How the directory was copied.
    pub method: Method,
    /// What kept the copy whole.
    pub protocol: Option<Protocol>,
    /// How it came up, in words.
    pub mode: String,
    /// It may be inconsistent, for it was made so.
    #[serde(rename = "unsafe")]
    pub is_unsafe: bool,
    /// Seconds from the request to the first row.
    pub seconds: Option<f64>,
    /// The phases of its making.
    pub phases: Vec<Span>,
    /// What of the source was kept out of it.
    pub kept_out: Vec<String>,
    /// Prepared transactions that came with it, which hold their locks unless they were rolled back.
    pub prepared: Vec<String>,
    /// Databases that may be sorted otherwise than the clone's system sorts.
    pub collations: Vec<String>,
    /// What is known of it as a base of others; then no server runs on it.
    pub base: Option<Cooked>,
}

impl Card {
    /// When it is no longer wanted.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let created: Timestamp = self.created_at.parse().ok()?;
        created.checked_add(jiff::SignedDuration::try_from(self.expires?.0).ok()?).ok()
    }

    /// How old it is.
    pub fn age(&self, now: Timestamp) -> Option<std::time::Duration> {
        let created: Timestamp = self.created_at.parse().ok()?;
        now.duration_since(created).try_into().ok()
    }
}
