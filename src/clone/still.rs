//! A source that stands still while it is copied, and goes on whatever happens.

use crate::driver::outcome::SignalError;
use crate::driver::{Part, Server};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedMutexGuard;

/// A server of which some processes may be frozen. Dropping it lets them go on.
#[derive(Debug)]
pub(super) struct Still {
    server: Arc<Server>,
    since: Instant,
    /// Nobody else freezes it meanwhile, for he would also let it go on.
    _alone: OwnedMutexGuard<()>,
    thawed: bool,
}

impl Still {
    /// To be had before the first process is frozen.
    pub fn before(server: Arc<Server>, alone: OwnedMutexGuard<()>) -> Still {
        Still { server, since: Instant::now(), _alone: alone, thawed: false }
    }

    /// Freezes every process of it; returns when all stand still.
    pub async fn freeze(&self) -> Result<usize, SignalError> {
        self.server.freeze(Part::Server).await
    }

    /// Lets it go on. Returns how long it may have stood still.
    pub async fn thaw(mut self) -> Result<Duration, SignalError> {
        self.server.thaw(Part::Server).await?;
        self.thawed = true;
        Ok(self.since.elapsed())
    }
}

/// The net below [`Still::thaw`], for a panic and for a thaw that failed.
impl Drop for Still {
    fn drop(&mut self) {
        if self.thawed {
            return;
        }
        match &*self.server {
            Server::Process(server) => {
                server.thaw(Part::Server);
            }
            Server::Container(_) | Server::External(_) => {
                let server = self.server.clone();
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    // Nobody is left who could be told. A container that stays frozen goes with its run.
                    runtime.spawn(async move { server.thaw(Part::Server).await.map(drop) });
                }
            }
        }
    }
}
