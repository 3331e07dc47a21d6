//! The one place that dials: TCP from the address that was asked for, with the socket options that libpq sets, or a
//! Unix socket; then TLS, as far as the server's connection string asks for it.

use super::Host;
use super::tls::{self, Mode};
use postgres_protocol::message::frontend;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// Options of a TCP connection; what is absent is the system's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Whether a silent peer is asked if it is still there.
    pub keepalives: bool,
    /// After how long a silence.
    pub idle: Option<Duration>,
    /// How long until it is asked again.
    pub interval: Option<Duration>,
    /// How many questions may go unanswered.
    pub count: Option<u32>,
    /// How long sent data may go unacknowledged.
    pub user_timeout: Option<Duration>,
}

/// What libpq does when nothing is said.
impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions { keepalives: true, idle: None, interval: None, count: None, user_timeout: None }
    }
}

/// Why there is no connection to log in on.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The system or the network says so.
    #[error("{0}")]
    Io(io::Error),
    /// The two sides could not agree on encryption.
    #[error("{0}")]
    Tls(String),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        DialError::Io(error)
    }
}

/// One attempt to connect. `sslmode` may stand for two of them, of which the second is made when the first failed in
/// such a way that it may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Without encryption.
    Plain,
    /// Encrypted if the server can.
    Offered,
    /// Encrypted or not at all.
    Required,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was reached.
    Unreachable,
    /// The TLS handshake failed.
    Handshake,
    /// The server refused the session on a connection that was encrypted.
    RefusedEncrypted,
    /// The server refused the session on a connection that was not.
    RefusedPlain,
}

impl Failure {
    /// That the server refused the session on `socket`.
    pub fn refused(encrypted: bool) -> Failure {
        if encrypted { Failure::RefusedEncrypted } else { Failure::RefusedPlain }
    }
}

impl From<&DialError> for Failure {
    fn from(error: &DialError) -> Failure {
        match error {
            DialError::Io(_) => Failure::Unreachable,
            DialError::Tls(_) => Failure::Handshake,
        }
    }
}

impl Way {
    /// The first attempt.
    #[inline]
    pub fn first(host: &Host) -> Way {
        match host.access.as_ref().map(|access| access.tls.mode) {
            None | Some(Mode::Disable | Mode::Allow) => Way::Plain,
            Some(Mode::Prefer) => Way::Offered,
            Some(Mode::Require | Mode::VerifyCa | Mode::VerifyFull) => Way::Required,
        }
    }

    /// What to try after `self` has failed.
    pub fn after(self, host: &Host, failure: Failure) -> Option<Way> {
        let mode = host.access.as_ref().map(|access| access.tls.mode);
        match (mode, self, failure) {
            (Some(Mode::Prefer), Way::Offered, Failure::Handshake | Failure::RefusedEncrypted) => Some(Way::Plain),
            (Some(Mode::Allow), Way::Plain, Failure::RefusedPlain) if !is_directory(&host.host) => Some(Way::Offered),
            _ => None,
        }
    }
}

/// A connection to a server, not logged in yet.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// TLS on TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A Unix socket.
    Unix(UnixStream),
}

/// Connects to `host`, encrypted as `way` says. Takes as long as it takes: the caller has the limit.
pub async fn dial(host: &Host, way: Way) -> Result<Socket, DialError> {
    if is_directory(&host.host) {
        return Ok(Socket::Unix(unix(host).await?));
    }
    let default = SocketOptions::default();
    let options = host.access.as_ref().map_or(&default, |access| &access.socket);
    let stream = tcp(host).await?;
    stream.set_nodelay(true)?;
    set(&stream, options)?;
    match (&host.access, way) {
        (None, _) | (_, Way::Plain) => Ok(Socket::Tcp(stream)),
        (Some(access), _) => encrypt(stream, &access.tls, way).await,
    }
}

/// Whether it names a directory of Unix sockets, or an abstract one.
fn is_directory(host: &str) -> bool {
    host.starts_with(['/', '@'])
}

async fn unix(host: &Host) -> io::Result<UnixStream> {
    let socket = format!("{}/.s.PGSQL.{}", host.host, host.port);
    let connected = match socket.strip_prefix('@') {
        None => UnixStream::connect(Path::new(&socket)).await,
        // Linux has such addresses begin with a zero byte.
        Some(name) => UnixStream::connect(format!("\0{name}")).await,
    };
    connected.map_err(|error| io::Error::new(error.kind(), format!("{socket}: {error}")))
}

/// Tries one address after the other, as libpq does.
async fn tcp(host: &Host) -> Result<TcpStream, DialError> {
    if let Ok(address) = host.host.parse::<IpAddr>() {
        return Ok(reach(SocketAddr::new(address, host.port), host.from).await?);
    }
    let name = host.host.as_str();
    let unknown =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot find the address of `{name}`: {error}"));
    let found = tokio::net::lookup_host((name, host.port)).await.map_err(unknown)?;
    let mut last = io::Error::other(format!("`{name}` has no address"));
    for address in found {
        match reach(address, host.from).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

async fn reach(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = from {
        // Without it a port whose last connection is in TIME_WAIT could not be used again, to whatever server.
        socket.set_reuseaddr(true)?;
        let bound = socket.bind(SocketAddr::new(from, 0));
        bound.map_err(|error| io::Error::new(error.kind(), format!("cannot connect from {from}: {error}")))?;
    }
    socket.connect(to).await
}

fn set(stream: &TcpStream, options: &SocketOptions) -> io::Result<()> {
    let socket = SockRef::from(stream);
    if options.keepalives {
        socket.set_keepalive(true)?;
        let mut keepalive = TcpKeepalive::new();
        if let Some(idle) = options.idle {
            keepalive = keepalive.with_time(idle);
        }
        if let Some(interval) = options.interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(count) = options.count {
            keepalive = keepalive.with_retries(count);
        }
        if (options.idle, options.interval, options.count) != (None, None, None) {
            socket.set_tcp_keepalive(&keepalive)?;
        }
    }
    if options.user_timeout.is_some() {
        socket.set_tcp_user_timeout(options.user_timeout)?;
    }
    Ok(())
}

async fn encrypt(mut stream: TcpStream, tls: &tls::Tls, way: Way) -> Result<Socket, DialError> {
    if !tls.direct && !offered(&mut stream).await? {
        return match way {
            Way::Required => Err(DialError::Tls(format!(
                "the server does not support TLS, which sslmode={} requires",
                tls.mode.as_str()
            ))),
            Way::Plain | Way::Offered => Ok(Socket::Tcp(stream)),
        };
    }
    let encrypted = tls.handshake(stream).await.map_err(DialError::Tls)?;
    Ok(Socket::Tls(Box::new(encrypted)))
}

/// Asks the server for TLS. Only its one byte is read: what else came with it was not encrypted, and breaks the handshake.
async fn offered(stream: &mut TcpStream) -> Result<bool, DialError> {
    let mut request = bytes::BytesMut::with_capacity(8);
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    match stream.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        // What it says is not to be believed: anybody on the way could have said it.
        b'E' => Err(io::Error::other("the server answered the request for TLS with an error").into()),
        other => Err(io::Error::other(format!(
            "the server answered the request for TLS with `{}`; is it PostgreSQL?",
            other.escape_ascii()
        ))
        .into()),
    }
}

impl Socket {
    /// Whether it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Socket::Tls(_))
    }

    /// Sends `bytes` if that takes no waiting.
    pub fn try_send(&mut self, bytes: &[u8]) {
        match self {
            Socket::Tcp(stream) => drop(stream.try_write(bytes)),
            Socket::Unix(stream) => drop(stream.try_write(bytes)),
            Socket::Tls(stream) => {
                let mut cx = Context::from_waker(std::task::Waker::noop());
                if let Poll::Ready(Ok(_)) = Pin::new(&mut *stream).poll_write(&mut cx, bytes) {
                    let _ = Pin::new(stream).poll_flush(&mut cx);
                }
            }
        }
    }
}

impl AsyncRead for Socket {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // They keep nothing back.
            Socket::Tcp(_) | Socket::Unix(_) => Poll::Ready(Ok(())),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
