//! What a node's server is made with: programs of this machine, or an image on an engine. Found out once, before
//! anything is made.

use super::docker::volume::Volume;
use super::docker::{ContainerServer, Dock, DockError, Image, Limits};
use super::external::{External, ExternalServer};
use super::files::RemoveError;
use super::process::ProcessServer;
use super::{Files, Server, Workplace};
use crate::base::exec::CommandError;
use crate::net::lan::Attached;
use crate::pg::conninfo::ConninfoError;
use crate::pg::control;
use crate::pg::programs::{Programs, ProgramsError};
use crate::pg::version::{Major, Version};
use crate::snapshot::{self, SnapshotError};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a server is made with.
#[derive(Clone, Debug)]
pub enum Make {
    /// Programs of this machine.
    Process(Programs),
    /// An image.
    Docker {
        /// Where its containers are.
        dock: Arc<Dock>,
        /// The image.
        image: Arc<Image>,
    },
    /// Nothing: somebody else runs it.
    External {
        /// How it is reached, and what may be done to it.
        settings: Arc<External>,
        /// The version that it said it has.
        version: Version,
    },
}

/// Where a server stands on the network of its trial.
#[derive(Clone, Copy, Debug)]
pub enum Stand<'a> {
    /// Where its driver puts it.
    Own,
    /// In a network namespace of its own, if it is a process.
    Namespace(&'a Attached),
    /// At this address of the machine, if it uses the machine's own network: others of the trial are on the bridge that
    /// the address is of, and reach no loopback.
    At(Ipv4Addr),
}

/// Why a server could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A container could not be made.
    #[error(transparent)]
    Dock(#[from] DockError),
    /// A directory could not be made.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A data directory could not be made.
    #[error(transparent)]
    Directory(#[from] SnapshotError),
    /// What was half made of one could not be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// There is no port for it.
    #[error("no port can be had: {0}")]
    Port(io::Error),
    /// The connection string of a server of somebody else's.
    #[error("node `{node}`: {source}")]
    Conninfo {
        /// The node.
        node: String,
        /// What is wrong with it.
        source: ConninfoError,
    },
    /// There are no programs of its version on this machine.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// There is nothing to make of a server that somebody else runs.
    #[error("a data directory of somebody else's server is not made here")]
    NotOurs,
}

impl Make {
    /// The version of the servers that it makes.
    pub fn version(&self) -> Version {
        match self {
            Make::Process(programs) => programs.version,
            Make::Docker { image, .. } => image.version,
            Make::External { version, .. } => *version,
        }
    }

    /// The major version.
    pub fn major(&self) -> Major {
        Major(self.version().major)
    }

    /// What tells it from others: data directories that one made are for it alone. Of engines on other machines, the
    /// same image counts as the same wherever it is; of those on this machine, too, but apart, for their directories lie
    /// elsewhere.
    pub fn key(&self) -> String {
        match self {
            Make::Docker { dock, image } if dock.is_remote() => format!("docker elsewhere {}", image.id),
            Make::Process(programs) => format!("process {}", programs.dir.display()),
            Make::Docker { image, .. } => format!("docker {}", image.id),
            Make::External { .. } => "external".to_owned(),
        }
    }

    /// A few letters for names of directories: `15`, `image17`.
    pub fn label(&self) -> String {
        match self {
            Make::Process(programs) => programs.version.major.to_string(),
            Make::Docker { image, .. } => format!("image{}", image.version.major),
            Make::External { .. } => "external".to_owned(),
        }
    }

    /// Whether its servers are on an engine of another machine, of which nothing lies here.
    pub fn is_remote(&self) -> bool {
        matches!(self, Make::Docker { dock, .. } if dock.is_remote())
    }

    /// Makes the empty data directory `dir`/data, which is the server user's own, where its servers are, and so that it
    /// can be cloned as well as its file system allows. `of` names what it is for. It goes by [`Files::remove`].
    pub async fn files(&self, place: &Arc<Workplace>, of: &str, dir: &Path) -> Result<Files, MakeError> {
        match self {
            Make::Docker { dock, image } if dock.is_remote() => {
                Ok(Files::Volume(Arc::new(Volume::create(dock, image, of, dir).await?)))
            }
            _ => {
                let dir = dir.join("data");
                let dataset = snapshot::directory(&dir, &place.setup.inventory).await?.map(Arc::new);
                let files = Files::Here { place: place.clone(), dir: dir.clone(), dataset };
                match place.give(&dir) {
                    Ok(()) => Ok(files),
                    Err(source) => {
                        files.remove().await.map_err(MakeError::from).and(Err(MakeError::Io { path: dir, source }))
                    }
                }
            }
        }
    }

    /// Makes a cluster in the empty data directory `files`, whose superuser has the password in the file `pwfile`; see
    /// [`control::initdb`].
    pub async fn initdb(&self, place: &Workplace, pwfile: &Path, files: &Files) -> Result<(), MakeError> {
        match self {
            Make::Process(programs) => {
                let (setup, superuser) = (&place.setup, &place.login("").user);
                control::initdb(programs, setup.user.as_ref(), superuser, pwfile, files.dir(), &setup.inventory)
                    .await?;
            }
            Make::Docker { dock, image } => match files.volume() {
                Some(volume) => volume.initdb(image, pwfile).await?,
                None => dock.initdb(image, pwfile, files.dir()).await?,
            },
            Make::External { .. } => return Err(MakeError::NotOurs),
        }
        Ok(())
    }

    /// Throws away the WAL of the data directory `dir`, on which no server runs, so that it starts without recovery;
    /// see [`control::resetwal`].
    pub async fn resetwal(&self, place: &Workplace, dir: &Path) -> Result<(), MakeError> {
        match self {
            Make::Process(programs) => {
                let setup = &place.setup;
                control::resetwal(programs, setup.user.as_ref(), dir, &setup.inventory).await?;
            }
            Make::Docker { dock, image } => dock.resetwal(image, dir).await?,
            Make::External { .. } => return Err(MakeError::NotOurs),
        }
        Ok(())
    }

    /// A server that does not run yet, at an address of its own.
    pub fn server(
        &self,
        place: &Arc<Workplace>,
        name: &str,
        (files, log): (&Files, PathBuf),
        limits: Limits,
        stand: Stand<'_>,
    ) -> Result<Server, MakeError> {
        Ok(match self {
            Make::Process(programs) => {
                let lan = match stand {
                    Stand::Namespace(attached) => Some(attached),
                    Stand::Own | Stand::At(_) => None,
                };
                let data = files.dir().to_owned();
                let server = ProcessServer::new(place.clone(), programs.clone(), name, data, log, lan);
                Server::Process(server.map_err(MakeError::Port)?)
            }
            Make::Docker { dock, image } => {
                let at = match stand {
                    Stand::At(address) => Some(address),
                    Stand::Own | Stand::Namespace(_) => None,
                };
                let server = match files.volume() {
                    Some(volume) => ContainerServer::on(dock, name, image, limits, volume, log),
                    None => ContainerServer::new(dock, name, image, limits, files.dir().to_owned(), log, at),
                };
                Server::Container(server?)
            }
            Make::External { settings, .. } => {
                let server = ExternalServer::new(place.clone(), name, settings);
                Server::External(server.map_err(|source| MakeError::Conninfo { node: name.to_owned(), source })?)
            }
        })
    }
}
