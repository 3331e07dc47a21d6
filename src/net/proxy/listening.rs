//! Takes connections, and resets them when it is asked to.

use super::connection::{Shared, prepare};
use socket2::SockRef;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

/// How long to wait before the next try when the system has no descriptor or memory for a connection.
const PAUSE: Duration = Duration::from_millis(10);

/// To reset all connections, and to say how many there were.
pub(super) type Reset = oneshot::Sender<usize>;

/// Connections by what became of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) accepted: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// A listening socket and its connections, which are reset when it is dropped.
pub(super) struct Listening {
    pub(super) listener: TcpListener,
    pub(super) shared: Shared,
    pub(super) tally: Arc<Tally>,
    pub(super) connections: JoinSet<()>,
}

impl Listening {
    /// Runs until nobody can ask for a reset any more.
    pub(super) async fn run(mut self, mut resets: mpsc::UnboundedReceiver<Reset>) {
        loop {
            tokio::select! {
                biased;
                asked = resets.recv() => match asked {
                    Some(reset) => {
                        let _ = reset.send(self.reset().await);
                    }
                    None => return self.connections.shutdown().await,
                },
                Some(ended) = self.connections.join_next() => settle(ended),
                accepted = self.listener.accept() => match accepted {
                    Ok((client, _)) => self.serve(client),
                    Err(_) => {
                        self.tally.failed.fetch_add(1, Ordering::Relaxed);
                        self.shared.alarm.until(Instant::now() + PAUSE).await;
                    }
                },
            }
        }
    }

    /// Resets every connection that a client has, those that were not taken from the system yet among them.
    async fn reset(&mut self) -> usize {
        while let Ok(client) = self.accept_now() {
            self.serve(client);
        }
        let live = self.tally.open.load(Ordering::Relaxed) as usize;
        self.connections.abort_all();
        while let Some(ended) = self.connections.join_next().await {
            settle(ended);
        }
        live
    }

    /// Takes a connection that the system has already, of which the runtime need not have heard.
    fn accept_now(&self) -> io::Result<TcpStream> {
        let (client, _) = SockRef::from(&self.listener).accept()?;
        client.set_nonblocking(true)?;
        TcpStream::from_std(client.into())
    }

    fn serve(&mut self, mut client: TcpStream) {
        let open = Open::count(&self.tally);
        if prepare(&client).is_err() {
            self.tally.failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let shared = self.shared.clone();
        self.connections.spawn(async move {
            // It is counted before the client, whose socket is dropped behind this, can know of it.
            if shared.serve(&mut client).await.is_err() {
                open.0.failed.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

/// A connection that is counted as open until this is dropped.
struct Open(Arc<Tally>);

impl Open {
    fn count(tally: &Arc<Tally>) -> Open {
        tally.accepted.fetch_add(1, Ordering::Relaxed);
        tally.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(tally))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's panic is the proxy's.
fn settle(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
