//! A data directory, wherever it is: on this machine, where its files are files, or on another, where the engine
//! there reads and writes them.

use super::Workplace;
use super::docker::volume::Volume;
use super::docker::{DockError, EngineError};
use crate::base::exec::{Command, CommandError};
use crate::snapshot::{OwnDataset, SnapshotError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Generous: it moves as much as the data set is large.
const COPY_LIMIT: Duration = Duration::from_secs(3600);

/// A data directory. No server need run on it.
#[derive(Clone, Debug)]
pub enum Files {
    /// On this machine.
    Here {
        /// The run that it belongs to.
        place: Arc<Workplace>,
        /// It.
        dir: PathBuf,
        /// The dataset of ZFS that it is, if it is one.
        dataset: Option<Arc<OwnDataset>>,
    },
    /// On an engine of another machine.
    Volume(Arc<Volume>),
}

/// Why a data directory could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// `cp` failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// An engine failed.
    #[error(transparent)]
    Dock(#[from] DockError),
    /// One is here and one is not.
    #[error("{from} is not on the same side as {to}: one is on this machine, one on an engine of another", from = from.display(), to = to.display())]
    Sides {
        /// What was to be copied.
        from: PathBuf,
        /// To where.
        to: PathBuf,
    },
}

/// Why a data directory could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// An engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A dataset could not be destroyed.
    #[error(transparent)]
    Dataset(#[from] SnapshotError),
}

impl Files {
    /// Its path, as its server sees it.
    pub fn dir(&self) -> &Path {
        match self {
            Files::Here { dir, .. } => dir,
            Files::Volume(volume) => volume.data(),
        }
    }

    /// What the file `name` in it says.
    pub async fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        match self {
            // They are small, and nothing is measured meanwhile.
            Files::Here { dir, .. } => std::fs::read(dir.join(name)),
            Files::Volume(volume) => volume.read(name).await,
        }
    }

    /// What the file `name` in it says, which is text.
    pub async fn read_to_string(&self, name: &str) -> io::Result<String> {
        String::from_utf8(self.read(name).await?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Writes the file `name`, the server user's own that nobody else can read, in place of what was there.
    pub async fn write(&self, name: &str, text: &str) -> io::Result<()> {
        match self {
            Files::Here { place, dir, .. } => place.write(&dir.join(name), text),
            Files::Volume(volume) => volume.write(name, text.as_bytes()).await,
        }
    }

    /// Whether the file `name` is there.
    pub async fn exists(&self, name: &str) -> io::Result<bool> {
        match self {
            Files::Here { dir, .. } => dir.join(name).try_exists(),
            Files::Volume(volume) => match volume.read(name).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                read => read.map(|_| true),
            },
        }
    }

    /// Copies all of `from` to here, where nothing is yet; on a file system that can, the copy shares its blocks.
    pub async fn copy(&self, from: &Files) -> Result<(), CopyError> {
        match (from, self) {
            (Files::Here { dir: from, .. }, Files::Here { place, dir, .. }) => {
                let command = Command::new("cp", COPY_LIMIT).args(["-a", "--reflink=auto", "--"]);
                let command = command.arg(from.join(".")).arg(dir).user(place.setup.user.as_ref());
                command.run(&place.setup.inventory).await?;
                Ok(())
            }
            (Files::Volume(from), Files::Volume(to)) => Ok(to.copy(from).await?),
            (from, to) => Err(CopyError::Sides { from: from.dir().to_owned(), to: to.dir().to_owned() }),
        }
    }

    /// Removes what of it does not go with the directory that holds it: a volume on another machine, a dataset. Nothing
    /// may run on it.
    pub async fn remove(&self) -> Result<(), RemoveError> {
        match self {
            Files::Here { dataset: Some(dataset), .. } => dataset.destroy().await?,
            Files::Here { dataset: None, .. } => {}
            Files::Volume(volume) => volume.remove().await?,
        }
        Ok(())
    }

    /// What it is made of on another machine, if it is there.
    pub fn volume(&self) -> Option<&Arc<Volume>> {
        match self {
            Files::Here { .. } => None,
            Files::Volume(volume) => Some(volume),
        }
    }
}
