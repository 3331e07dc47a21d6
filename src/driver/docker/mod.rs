//! Servers in containers of a Docker engine, on this machine or on another.
//!
//! Everything that a run makes on an engine bears the label `pgbench-rs.run=<run>` and is found, killed
//! and removed by it; nothing else is ever touched.

pub mod address;
pub mod cleanup;
pub mod container;
pub mod dock;
pub mod engine;
mod error;
pub mod events;
pub mod follow;
mod freeze;
pub mod image;
pub mod network;
mod ports;
pub mod server;
pub mod stats;
pub mod throttle;
pub mod volume;

pub use address::Address;
pub use dock::{Dock, DockError};
pub use engine::{Engine, EngineError};
pub use image::{Image, ImageError};
pub use network::{Lan, LanError};
pub use server::ContainerServer;

use crate::base::units::Size;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The label of everything that a run makes; its value is the run's id.
pub const LABEL_RUN: &str = "pgbench-rs.run";
/// The label of what belongs to one node; its value is the node's name.
pub const LABEL_NODE: &str = "pgbench-rs.node";

/// How servers in containers exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    /// The image, by default `postgres:{version}`; `{version}` stands for the major version.
    pub image: Option<String>,
    /// The engine, as in `DOCKER_HOST`; absent: as the docker client would choose it.
    pub host: Option<String>,
    /// The folder of ca.pem, cert.pem and key.pem for an engine that is reached by TCP; absent: as the docker client
    /// would choose them.
    pub certs: Option<PathBuf>,
    /// How the servers are reached; on an engine of another machine always by that machine's own network.
    pub network: Network,
    /// Where servers of an engine on another machine listen and are reached, from here and from the other nodes;
    /// absent: at the engine's own host.
    pub address: Option<String>,
}

/// How servers in containers are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A bridge network of the run's own, on which every node has an address of its own.
    #[default]
    Bridge,
    /// The network of the engine's host, a port for each node.
    Host,
    /// A bridge network of the run's own from which nothing is passed on to other machines or networks: for clones, which
    /// may have ways of their own to other servers. What of this machine itself listens on more than the loopback is
    /// reached all the same, at the bridge's address.
    Internal,
}

/// What a server in a container may use. What is absent is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory, page cache included; there is no swap beyond it.
    pub memory: Option<Size>,
    /// Processors' worth of time.
    pub cpus: Option<f64>,
    /// `/dev/shm`, where parallel queries put what they share; absent: 1 GB. (The engine's own default of 64 MB
    /// makes large parallel queries fail with "No space left on device". It is a limit, and takes no memory
    /// until it is used; what is used counts as `memory`.)
    pub shm_size: Option<Size>,
}

impl Docker {
    /// Whether the engine is one of another machine, by the way it is reached; absent when `DOCKER_HOST` or a context
    /// decides, and of a name that cannot be understood.
    pub fn is_remote(&self) -> Option<bool> {
        let reach = self.address()?.reach().ok()?;
        Some(reach.remote_host().is_some())
    }

    fn address(&self) -> Option<Address> {
        let host = self.host.clone().filter(|host| !host.is_empty())?;
        Some(Address { host, certs: self.certs.clone() })
    }

    /// What is wrong with how its engine is named, as far as can be told without asking anybody: the key, and why.
    pub fn wrong(&self) -> Option<(&'static str, String)> {
        let address = self.address()?;
        match address.reach() {
            Err(error) => Some(("host", error.to_string())),
            Ok(address::Reach::Tcp(_, Some(_))) => None,
            Ok(_) if self.certs.is_none() => None,
            Ok(_) => {
                let text = format!("no TLS is spoken with the engine at {}", address.host);
                Some(("certs", format!("{text}\nhint: leave `certs` out; it is for engines at `tcp://…`")))
            }
        }
    }

    /// The image's name for PostgreSQL of this major version.
    pub fn reference(&self, major: u32) -> String {
        self.image.as_deref().unwrap_or("postgres:{version}").replace("{version}", &major.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_in_the_images_name() {
        assert_eq!(Docker::default().reference(17), "postgres:17");
        let own: Docker = toml::from_str("image = \"here/pg-{version}:x\"\nnetwork = \"host\"").unwrap();
        assert_eq!((own.reference(18).as_str(), own.network), ("here/pg-18:x", Network::Host));
        assert!(toml::from_str::<Docker>("imag = \"x\"").is_err());
    }
}
