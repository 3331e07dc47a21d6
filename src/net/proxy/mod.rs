//! A TCP proxy that stands on a way between two parties, and makes it slow, or breaks it: delay, jitter and
//! bandwidth, a stall in either direction, resets. It needs no privileges and works with every driver.
//!
//! What it does as a network would:
//!
//! * Bytes that are sent at t arrive at t + delay ± jitter, in their order. Many may be on their way at once
//!   ([`Shape::in_flight`]), so that a delay alone hardly limits throughput.
//! * All connections of a proxy share its bandwidth, in turn. A connection may have 50 ms of the link's time
//!   queued; then its sender feels back pressure, where a network would lose packets.
//! * An end (FIN) and a reset (RST) travel as bytes do, and arrive behind the bytes that were sent before. An end
//!   in one direction leaves the other alone. Whatever else ends a connection shows as a reset, never as an end.
//! * The server is connected to one delay after the client connected, the first bytes reach it after three, as
//!   behind a handshake, and a refusal reaches the client after two.
//! * While a direction is stalled nothing passes in it: no bytes, no end, no reset. A new connection needs both.
//!
//! What it does not, and what a test must therefore not conclude from it:
//!
//! * The proxy's own kernel answers the client's SYN at once: `connect()` succeeds without a delay, while
//!   stalled, and even if the server then refuses (which shows as a reset, not as `ECONNREFUSED`).
//! * It also acknowledges data and keepalive probes: `tcp_user_timeout`, `tcp_keepalives_*` and the round trip
//!   times of `ss -i` see the proxy, not the peer. For packets that vanish there are partitions.
//! * Bytes that the proxy has taken arrive even if their sender's host is lost meanwhile: those on their way, and
//!   those in the receive buffer of its socket while it is stalled or the link is in demand.
//! * There is no loss, no reordering, no slow start, and no limit on packets a second.
//! * The server sees the proxy's address as that of its client: [`To::from`], if it is given.

mod alarm;
mod connection;
mod listening;
mod pump;
mod queue;
mod shape;
#[cfg(test)]
mod tests;
mod thread;

pub use shape::Shape;
pub use thread::Proxies;

use connection::Shared;
use listening::{Listening, Reset, Tally};
use pump::Lane;
use shape::Link;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

/// How many connections may wait until the proxy's thread takes them.
const BACKLOG: u32 = 1024;

/// A direction of the connections through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From those who connect to the server.
    Forth,
    /// From the server to those who connected.
    Back,
}

/// The server behind a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    /// Host name or address. A name is looked up for each connection.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The address of this machine from which it is connected to; absent: the system chooses.
    pub from: Option<IpAddr>,
}

impl<Host: Into<String>> From<(Host, u16)> for To {
    fn from((host, port): (Host, u16)) -> To {
        To { host: host.into(), port, from: None }
    }
}

/// What has gone through a proxy so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were taken.
    pub accepted: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Connections that did not come about: the server refused or could not be reached, or the system had no
    /// means for one more.
    pub failed: u64,
    /// Bytes passed on to the server.
    pub forth: u64,
    /// Bytes passed on to the clients.
    pub back: u64,
}

/// A running proxy. When it is dropped its connections are reset and its port is free, as soon as its thread
/// comes to it; [`Proxy::stop`] waits for that.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    resets: mpsc::UnboundedSender<Reset>,
    forth: Arc<Lane>,
    back: Arc<Lane>,
    tally: Arc<Tally>,
    running: JoinHandle<()>,
    /// Keeps the thread.
    thread: Proxies,
}

/// What holds for all connections now.
#[derive(Clone, Copy, Debug, Default)]
struct Rules {
    shape: Shape,
    forth_stalled: bool,
    back_stalled: bool,
}

impl Rules {
    fn stalled(&self, way: Way) -> bool {
        match way {
            Way::Forth => self.forth_stalled,
            Way::Back => self.back_stalled,
        }
    }

    fn is_free(&self) -> bool {
        !self.forth_stalled && !self.back_stalled
    }
}

impl Proxies {
    /// Starts a proxy on this thread, which listens at `listen` (port 0: any that is free).
    pub fn open(&self, listen: SocketAddr, to: impl Into<To>, shape: Shape) -> io::Result<Proxy> {
        let listener = self.listen(listen)?;
        let address = listener.local_addr()?;
        let (rules, ruled) = watch::channel(Rules { shape, ..Rules::default() });
        let (resets, asked) = mpsc::unbounded_channel();
        let lane = || Arc::new(Lane { link: Link::new(), passed: AtomicU64::new(0) });
        let (forth, back, tally) = (lane(), lane(), Arc::<Tally>::default());
        let shared = Shared {
            to: Arc::new(to.into()),
            rules: ruled,
            forth: Arc::clone(&forth),
            back: Arc::clone(&back),
            alarm: Arc::clone(self.alarm()),
        };
        let listening = Listening { listener, shared, tally: Arc::clone(&tally), connections: JoinSet::new() };
        let running = self.runtime().spawn(listening.run(asked));
        Ok(Proxy { address, rules, resets, forth, back, tally, running, thread: self.clone() })
    }

    fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let _on_it = self.runtime().enter();
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    }
}

impl Proxy {
    /// Starts a proxy on a thread of its own; [`Proxies::open`] starts several on one.
    pub fn start(listen: SocketAddr, to: impl Into<To>, shape: Shape) -> io::Result<Proxy> {
        Proxies::start()?.open(listen, to, shape)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what the way does to bytes from now on. Those on their way arrive when they would have, and later
    /// ones do not overtake them.
    pub fn shape(&self, shape: Shape) {
        self.forth.link.clear();
        self.back.link.clear();
        self.rules.send_modify(|rules| rules.shape = shape);
    }

    /// Stalls a direction, or lets it go on: what was held then arrives.
    pub fn stall(&self, way: Way, stalled: bool) {
        self.rules.send_modify(|rules| match way {
            Way::Forth => rules.forth_stalled = stalled,
            Way::Back => rules.back_stalled = stalled,
        });
    }

    /// Resets (RST) both ends of every connection, at once and whatever is stalled; gives their number.
    pub async fn reset(&self) -> io::Result<usize> {
        let (done, reset) = oneshot::channel();
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the proxy has failed");
        self.resets.send(done).map_err(|_| gone())?;
        reset.await.map_err(|_| gone())
    }

    /// What has gone through it so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            accepted: read(&self.tally.accepted),
            open: read(&self.tally.open),
            failed: read(&self.tally.failed),
            forth: read(&self.forth.passed),
            back: read(&self.back.passed),
        }
    }

    /// Resets its connections and waits until its port is free. A panic in it goes on here.
    pub async fn stop(self) {
        let Proxy { resets, running, thread, .. } = self;
        drop(resets);
        if let Err(error) = running.await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
        drop(thread);
    }
}
