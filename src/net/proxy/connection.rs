//! One connection: the server is connected to as late as a packet would reach it, then both directions run
//! until both have ended, or one end is gone.

use super::alarm::Alarm;
use super::pump::{Lane, Over, Pump};
use super::{Rules, To, Way};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::tcp::ReadHalf;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

/// How long a server is tried on behalf of a client that is gone. One that is reached within it learns of the client
/// what a server would; of the others nothing must be left that connects when they are back.
const OUT_OF_REACH: Duration = Duration::from_secs(1);

/// What all connections of a proxy share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) to: Arc<To>,
    pub(super) rules: watch::Receiver<Rules>,
    pub(super) forth: Arc<Lane>,
    pub(super) back: Arc<Lane>,
    pub(super) alarm: Arc<Alarm>,
}

impl Shared {
    /// Serves a client, whose socket is prepared, until both ends are closed or reset. Whoever drops this
    /// resets both.
    pub(super) async fn serve(mut self, client: &mut TcpStream) -> io::Result<()> {
        let sent = self.first_packet().await;
        let connected = tokio::select! {
            connected = dial(&self.to) => connected,
            () = given_up(client) => return Ok(()),
        };
        let mut server = match connected {
            Ok(server) => server,
            Err(error) => {
                self.answer().await;
                return Err(error);
            }
        };
        if self.pass(client, &mut server, sent).await == Over::Ended {
            // What is still in the system's buffers must arrive.
            for socket in [&*client, &server] {
                socket2::SockRef::from(socket).set_linger(None)?;
            }
        }
        Ok(())
    }

    /// Waits until the first packet of a connection would have reached the server; gives when it was sent.
    /// As a connection needs both ways, it is sent when nothing is stalled.
    async fn first_packet(&mut self) -> Instant {
        loop {
            let rules = self.free(Rules::is_free).await;
            let sent = Instant::now();
            self.alarm.until(sent + rules.shape.travel()).await;
            if self.rules.borrow().is_free() {
                return sent;
            }
        }
    }

    /// Waits until the server's refusal would have reached the client.
    async fn answer(&mut self) {
        let travel = self.rules.borrow().shape.travel();
        self.alarm.until(Instant::now() + travel).await;
        self.free(|rules| !rules.stalled(Way::Back)).await;
    }

    async fn free(&mut self, is_free: impl FnMut(&Rules) -> bool) -> Rules {
        let rules = self.rules.wait_for(is_free).await.map(|rules| *rules);
        match rules {
            Ok(rules) => rules,
            // The proxy is gone, and will end this.
            Err(_) => std::future::pending().await,
        }
    }

    /// Passes bytes both ways, for a client that sent its first packet at `sent`.
    async fn pass(&mut self, client: &mut TcpStream, server: &mut TcpStream, sent: Instant) -> Over {
        let shape = self.rules.borrow().shape;
        // The client waits for the answer to its first packet before it sends bytes; the server's bytes come later
        // still, whoever speaks first.
        let forth = sent + shape.travel() + shape.travel() + shape.travel();
        let back = forth + shape.travel();
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let mut ways = Ways {
            forth: Pump::new(Way::Forth, &self.forth, &self.alarm, forth),
            back: Pump::new(Way::Back, &self.back, &self.alarm, back),
            client: End { read: from_client, socket: to_client.as_ref(), failure: Failure::of(to_client.as_ref()) },
            server: End { read: from_server, socket: to_server.as_ref(), failure: Failure::of(to_server.as_ref()) },
        };
        loop {
            let rules = *self.rules.borrow_and_update();
            tokio::select! {
                biased;
                changed = self.rules.changed() => match changed {
                    Ok(()) => {
                        ways.forth.reshaped();
                        ways.back.reshaped();
                    }
                    Err(_) => return Over::Reset,
                },
                over = poll_fn(|cx| ways.poll(cx, &rules)) => return over,
            }
        }
    }
}

/// Both directions between two sockets.
struct Ways<'a> {
    forth: Pump,
    back: Pump,
    client: End<'a>,
    server: End<'a>,
}

struct End<'a> {
    read: ReadHalf<'a>,
    socket: &'a TcpStream,
    failure: Failure<'a>,
}

impl Ways<'_> {
    /// Ready when both directions have ended, or one by a reset.
    fn poll(&mut self, cx: &mut Context<'_>, rules: &Rules) -> Poll<Over> {
        // Whoever has said that it sends no more is read no more, so that its reset shows here alone.
        if self.client.failure.poll(cx) && self.forth.has_end() {
            self.forth.reset(&rules.shape);
        }
        if self.server.failure.poll(cx) && self.back.has_end() {
            self.back.reset(&rules.shape);
        }
        loop {
            let forth = self.forth.poll(cx, rules, &mut self.client.read, self.server.socket);
            let back = self.back.poll(cx, rules, &mut self.server.read, self.client.socket);
            match (forth, back) {
                (Poll::Ready(Over::Reset), _) | (_, Poll::Ready(Over::Reset)) => return Poll::Ready(Over::Reset),
                (Poll::Ready(Over::Broken), Poll::Ready(Over::Broken)) => return Poll::Ready(Over::Reset),
                (Poll::Ready(Over::Broken), _) => self.back.reset(&rules.shape),
                (_, Poll::Ready(Over::Broken)) => self.forth.reset(&rules.shape),
                (Poll::Ready(Over::Ended), Poll::Ready(Over::Ended)) => return Poll::Ready(Over::Ended),
                _ => return Poll::Pending,
            }
        }
    }
}

/// Whether a socket has failed, however nobody reads from it or writes to it.
struct Failure<'a>(Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>);

impl<'a> Failure<'a> {
    fn of(socket: &'a TcpStream) -> Failure<'a> {
        Failure(Some(Box::pin(async {
            // An error means that the runtime ends.
            let _ = socket.ready(Interest::ERROR).await;
        })))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if self.0.as_mut().is_some_and(|failure| failure.as_mut().poll(cx).is_ready()) {
            self.0 = None;
        }
        self.0.is_none()
    }
}

/// Packets leave at once; a socket that is dropped sends a reset, so that what is cut off never looks like an end.
pub(super) fn prepare(socket: &impl AsFd) -> io::Result<()> {
    let socket = socket2::SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))
}

/// Waits until a client, whose connection does not stand yet, has been gone for so long that the server it asked for
/// is out of reach.
async fn given_up(client: &TcpStream) {
    // The end of reading counts as urgent; bytes, which may be there already, do not.
    let _ = client.ready(Interest::PRIORITY | Interest::ERROR).await;
    tokio::time::sleep(OUT_OF_REACH).await;
}

/// Connects to the first of the server's addresses that takes it.
async fn dial(to: &To) -> io::Result<TcpStream> {
    let mut failed = None;
    for address in tokio::net::lookup_host((to.host.as_str(), to.port)).await? {
        if to.from.is_some_and(|from| from.is_ipv4() != address.is_ipv4()) {
            continue;
        }
        match connect(to, address).await {
            Ok(server) => return Ok(server),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| {
        let message = format!("{} has no address that can be reached from {:?}", to.host, to.from);
        io::Error::new(io::ErrorKind::AddrNotAvailable, message)
    }))
}

async fn connect(to: &To, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Before the server knows of it: a reset may come at any time.
    prepare(&socket)?;
    if let Some(from) = to.from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(address).await
}
