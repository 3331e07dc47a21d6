//! How fast a container may write to its disk and read from it. The kernel limits the control group that the container
//! has, which ends with it: the limit is set anew whenever the container starts, a few milliseconds after it has.

use super::server::ContainerServer;
use crate::disk::DiskError;
use crate::disk::cgroup::Cgroup;
use crate::disk::throttle::{self, Device, Limits};
use crate::driver::outcome::SignalError;

/// Why a container's disk was not made slow, or not let go.
#[derive(Debug, thiserror::Error)]
pub enum ThrottleError {
    /// The system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The engine did not say where the container is.
    #[error(transparent)]
    Signal(#[from] SignalError),
}

impl ContainerServer {
    /// Limits what it may write to `device` and read from it, now and after every start, until
    /// [`ContainerServer::free_disk`]. When it fails, nothing is limited that was not before.
    pub async fn slow_disk(&self, device: Device, limits: Limits) -> Result<(), ThrottleError> {
        let mut slowed = self.slowed.lock().await;
        self.throttle(device, limits).await?;
        *slowed = Some((device, limits));
        Ok(())
    }

    /// Lets its disk be as fast as it is.
    pub async fn free_disk(&self) -> Result<(), ThrottleError> {
        let mut slowed = self.slowed.lock().await;
        if let Some((device, _)) = *slowed {
            self.throttle(device, Limits::default()).await?;
        }
        *slowed = None;
        Ok(())
    }

    /// It has just been started.
    pub(super) async fn slow_disk_again(&self) -> Result<(), ThrottleError> {
        match *self.slowed.lock().await {
            Some((device, limits)) => self.throttle(device, limits).await,
            None => Ok(()),
        }
    }

    /// Sets the limits of its control group, if it runs.
    async fn throttle(&self, device: Device, limits: Limits) -> Result<(), ThrottleError> {
        let pid = async || Ok::<_, SignalError>(self.state().await?.and_then(|state| state.pid));
        let Some(first) = pid().await? else { return Ok(()) };
        match Cgroup::of(first).and_then(|cgroup| throttle::set(&cgroup, device, limits)) {
            // It has ended meanwhile, and its group with it.
            Err(_) if pid().await? != Some(first) => Ok(()),
            set => Ok(set?),
        }
    }
}
