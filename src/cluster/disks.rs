//! Disks of the nodes' own, and what is done to them: filling them, and slowing them down.

use super::Node;
use crate::base::Name;
use crate::disk::DiskError;
use crate::disk::ballast::Ballast;
use crate::disk::cgroup::Cgroup;
use crate::disk::mount::FileSystem;
use crate::disk::throttle::{self, Device, Limits};
use crate::driver::Server;
use crate::driver::outcome::SignalError;
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
    /// The control group whose speed was limited.
    slowed: Option<Arc<Cgroup>>,
    /// One of our own, that a server which is a process was put into.
    own: Option<Arc<Cgroup>>,
}

/// Why nothing was done to a disk.
#[derive(Debug, thiserror::Error)]
pub enum NodeDiskError {
    /// The system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A server's driver refused.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// It has none of its own.
    #[error("`{0}` has no disk of its own")]
    None(Name),
    /// It does not run, so nobody writes to the disk.
    #[error("`{0}` does not run")]
    Down(Name),
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

    /// Limits what its server may write and read, in bytes a second.
    pub async fn slow_disk(&self, write: Option<u64>, read: Option<u64>) -> Result<(), NodeDiskError> {
        let disk = self.disk()?;
        let mut state = disk.state.lock().await;
        let cgroup = match &**self.server() {
            Server::Process(server) => match &state.own {
                Some(own) => own.clone(),
                None => {
                    let setup = &server.place().setup;
                    // Trials follow each other, and nodes bear the same names in all of them.
                    let name = format!("{}-{}-{}", setup.run, std::process::id(), self.name);
                    let own = Arc::new(Cgroup::create(&setup.inventory, &name)?);
                    server.confine(own.clone())?;
                    state.own.insert(own).clone()
                }
            },
            Server::Container(server) => {
                let pid = server.state().await?.and_then(|state| state.pid);
                Arc::new(Cgroup::of(pid.ok_or_else(|| NodeDiskError::Down(self.name.clone()))?)?)
            }
            Server::External(_) => return Err(NodeDiskError::None(self.name.clone())),
        };
        throttle::set(&cgroup, Device::of(disk.file_system.path())?, Limits { read, write })?;
        state.slowed = Some(cgroup);
        Ok(())
    }

    /// Lets it be as fast as it is.
    pub async fn free_disk(&self) -> Result<(), NodeDiskError> {
        let mut state = self.disk()?.state.lock().await;
        if let Some(cgroup) = &state.slowed {
            // A container's group goes with its processes.
            if cgroup.path.exists() {
                throttle::lift(&cgroup.path).map_err(DiskError::Left)?;
            }
        }
        state.slowed = None;
        Ok(())
    }

    fn disk(&self) -> Result<&Disk, NodeDiskError> {
        self.disk.as_deref().ok_or_else(|| NodeDiskError::None(self.name.clone()))
    }
}
