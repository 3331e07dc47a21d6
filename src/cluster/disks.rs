//! Disks of the nodes' own, and what is done to them: filling them, and slowing them down.

use super::Node;
use crate::base::Name;
use crate::disk::DiskError;
use crate::disk::ballast::Ballast;
use crate::disk::cgroup::Cgroup;
use crate::disk::mount::FileSystem;
use crate::disk::throttle::{self, Device, Limits};
use crate::driver::Server;
use crate::driver::docker::throttle::ThrottleError;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Mutex;

/// A node's disk.
#[derive(Debug)]
pub(super) struct Disk {
    file_system: FileSystem,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ballast: Option<Ballast>,
    /// The control group of our own that a server which is a process was put into.
    own: Option<Arc<Cgroup>>,
}

/// Why nothing was done to a disk.
#[derive(Debug, thiserror::Error)]
pub enum NodeDiskError {
    /// The system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A container's driver refused.
    #[error(transparent)]
    Throttle(#[from] ThrottleError),
    /// It has none of its own.
    #[error("`{0}` has no disk of its own")]
    None(Name),
}

impl Disk {
    pub(super) fn new(file_system: FileSystem) -> Disk {
        Disk { file_system, state: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        self.file_system.path()
    }

    /// Lifts what slows it, and unmounts it. Nothing of the server is left.
    pub(super) async fn remove(&self) -> Result<(), DiskError> {
        let mut state = self.state.lock().await;
        if let Some(own) = state.own.take() {
            own.remove().await?;
        }
        self.file_system.unmount().await
    }
}

impl Node {
    /// Fills its disk but for `leave` bytes.
    pub async fn fill_disk(&self, leave: u64) -> Result<(), NodeDiskError> {
        let disk = self.disk()?;
        let mut state = disk.state.lock().await;
        if state.ballast.is_none() {
            state.ballast = Some(disk.file_system.fill(leave).await?);
        }
        Ok(())
    }

    /// Removes what fills it.
    pub async fn drain_disk(&self) -> Result<(), NodeDiskError> {
        let mut state = self.disk()?.state.lock().await;
        if let Some(ballast) = &state.ballast {
            ballast.release().await?;
        }
        state.ballast = None;
        Ok(())
    }

    /// Limits what its server may write and read, in bytes a second, now and whenever it is started again.
    pub async fn slow_disk(&self, write: Option<u64>, read: Option<u64>) -> Result<(), NodeDiskError> {
        let disk = self.disk()?;
        let mut state = disk.state.lock().await;
        let (device, limits) = (Device::of(disk.file_system.path())?, Limits { read, write });
        match &**self.server() {
            Server::Process(server) => {
                let cgroup = match &state.own {
                    Some(own) => own.clone(),
                    None => {
                        let setup = &server.place().setup;
                        // Trials follow each other, and nodes bear the same names in all of them.
                        let name = format!("{}-{}-{}", setup.run, std::process::id(), self.name);
                        let own = Arc::new(Cgroup::create(&setup.inventory, &name)?);
                        server.confine(own.clone())?;
                        state.own.insert(own).clone()
                    }
                };
                throttle::set(&cgroup, device, limits)?;
            }
            Server::Container(server) => server.slow_disk(device, limits).await?,
            Server::External(_) => return Err(NodeDiskError::None(self.name.clone())),
        }
        Ok(())
    }

    /// Lets it be as fast as it is.
    pub async fn free_disk(&self) -> Result<(), NodeDiskError> {
        let state = self.disk()?.state.lock().await;
        if let Some(server) = self.server().container() {
            server.free_disk().await?;
        }
        if let Some(own) = &state.own {
            throttle::lift(&own.path).map_err(DiskError::Left)?;
        }
        Ok(())
    }

    fn disk(&self) -> Result<&Disk, NodeDiskError> {
        self.disk.as_deref().ok_or_else(|| NodeDiskError::None(self.name.clone()))
    }
}
