//! The proxy between a client and a server that are sockets of the test: what a network would do to them.

mod breaks;
mod shapes;

use super::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};
use std::future::Future;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// What anything may take that is not to be waited for in vain.
const PATIENCE: Duration = Duration::from_secs(20);

/// What certainly has not happened when it has not happened by then.
const MOMENT: Duration = Duration::from_millis(200);

const DELAY: Duration = Duration::from_millis(300);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("waited in vain")
}

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn delayed(delay: Duration) -> Shape {
    Shape { delay, ..Shape::default() }
}

fn limited(bandwidth: u64) -> Shape {
    Shape { bandwidth: NonZeroU64::new(bandwidth), ..Shape::default() }
}

/// A listening server and a proxy before it.
struct Bench {
    listener: TcpListener,
    proxy: Proxy,
}

impl Bench {
    async fn new(shape: Shape) -> Bench {
        let listener = TcpListener::bind(any()).await.unwrap();
        let to = ("127.0.0.1", listener.local_addr().unwrap().port());
        Bench { proxy: Proxy::start(any(), to, shape).unwrap(), listener }
    }

    async fn client(&self) -> TcpStream {
        let client = soon(TcpStream::connect(self.proxy.address())).await.unwrap();
        client.set_nodelay(true).unwrap();
        client
    }

    /// Both ends of a connection.
    async fn pair(&self) -> (TcpStream, TcpStream) {
        let (client, accepted) = tokio::join!(self.client(), soon(self.listener.accept()));
        let server = accepted.unwrap().0;
        server.set_nodelay(true).unwrap();
        (client, server)
    }
}

/// Both ends of a connection through a proxy that lives as long.
async fn connected(shape: Shape) -> (Bench, TcpStream, TcpStream) {
    let bench = Bench::new(shape).await;
    let (client, server) = bench.pair().await;
    (bench, client, server)
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Xoshiro256PlusPlus::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Writes all of it in pieces of any size, with a pause now and then, and ends.
async fn send(mut to: impl AsyncWriteExt + Unpin, all: &[u8], seed: u64) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut rest = all;
    while !rest.is_empty() {
        let most = if random.random_bool(0.5) { 200 } else { 100_000 };
        let (now, later) = rest.split_at(random.random_range(1..=most).min(rest.len()));
        to.write_all(now).await.unwrap();
        rest = later;
        if random.random_bool(0.02) {
            sleep(Duration::from_millis(1)).await;
        }
    }
    to.shutdown().await.unwrap();
}

async fn receive(mut from: impl AsyncReadExt + Unpin) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).await.unwrap();
    all
}

/// Sends `len` bytes to a server that reads them all; gives how long it took until the server saw the end.
async fn transfer(client: &mut TcpStream, server: &mut TcpStream, len: usize) -> Duration {
    let all = bytes(1, len);
    let start = Instant::now();
    let sends = async {
        client.write_all(&all).await.unwrap();
        client.shutdown().await.unwrap();
    };
    let ((), got) = soon(async { tokio::join!(sends, receive(server)) }).await;
    assert!(got == all, "{} of {len} bytes", got.len());
    start.elapsed()
}

/// One byte there and one back, the client's part of it.
async fn round_trip(client: &mut TcpStream) -> Duration {
    let start = Instant::now();
    soon(client.write_all(b"?")).await.unwrap();
    assert_eq!(soon(client.read_u8()).await.unwrap(), b'?');
    start.elapsed()
}

/// Answers each byte with itself.
fn echo(mut server: TcpStream) {
    tokio::spawn(async move {
        while let Ok(byte) = server.read_u8().await {
            server.write_all(&[byte]).await.unwrap();
        }
    });
}

async fn is_reset(socket: &mut TcpStream) {
    let error = soon(socket.read_u8()).await.expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
}

/// Nothing arrives at this end, no byte, no end and no reset.
async fn is_silent(socket: &mut TcpStream) {
    assert!(timeout(MOMENT, socket.read_u8()).await.is_err(), "something arrived");
}

async fn until(mut holds: impl FnMut() -> bool) {
    soon(async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_bytes_arrive_unchanged_both_ways() {
    let jittery = Shape { delay: Duration::from_millis(5), jitter: Duration::from_millis(5), bandwidth: None };
    let narrow = Shape { bandwidth: NonZeroU64::new(20 << 20), ..jittery };
    for (seed, shape) in [(1, Shape::default()), (2, jittery), (3, narrow)] {
        let (bench, client, server) = connected(shape).await;
        let (there, back) = (bytes(seed, 5_000_000), bytes(seed + 100, 3_000_000));
        let ((client_reads, client_writes), (server_reads, server_writes)) = (client.into_split(), server.into_split());
        let ((), (), got_there, got_back) = soon(async {
            tokio::join!(
                send(client_writes, &there, seed),
                send(server_writes, &back, seed + 1),
                receive(server_reads),
                receive(client_reads)
            )
        })
        .await;
        assert!(got_there == there && got_back == back, "{shape:?}");
        let Counts { accepted, failed, forth, back, .. } = bench.proxy.counts();
        assert_eq!((accepted, failed, forth, back), (1, 0, 5_000_000, 3_000_000));
        until(|| bench.proxy.counts().open == 0).await;
    }
}

#[tokio::test]
async fn an_end_in_one_direction_leaves_the_other_alone() {
    let (_bench, mut client, mut server) = connected(Shape::default()).await;
    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(soon(receive(&mut server)).await, b"last words");
    server.write_all(b"answer").await.unwrap();
    let mut answer = [0; 6];
    soon(client.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"answer");
    drop(server);
    assert!(soon(receive(&mut client)).await.is_empty(), "an end and no reset");

    let (_bench, mut client, mut server) = connected(Shape::default()).await;
    server.shutdown().await.unwrap();
    assert!(soon(receive(&mut client)).await.is_empty());
    client.write_all(b"still here").await.unwrap();
    drop(client);
    assert_eq!(soon(receive(&mut server)).await, b"still here");
}

#[tokio::test]
async fn a_reset_goes_through_in_both_directions_behind_the_bytes() {
    let shape = delayed(Duration::from_millis(50));
    let (_bench, mut client, mut server) = connected(shape).await;
    client.write_all(b"x").await.unwrap();
    client.set_zero_linger().unwrap();
    sleep(MOMENT).await;
    drop(client);
    assert_eq!(soon(server.read_u8()).await.unwrap(), b'x');
    is_reset(&mut server).await;

    let (_bench, mut client, mut server) = connected(shape).await;
    // A server that resets before the proxy sees that it is connected is one that refuses.
    client.write_all(b"?").await.unwrap();
    soon(server.read_u8()).await.unwrap();
    server.write_all(b"x").await.unwrap();
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(soon(client.read_u8()).await.unwrap(), b'x');
    is_reset(&mut client).await;
}

#[tokio::test]
async fn a_reset_goes_through_after_an_end() {
    let (bench, mut client, mut server) = connected(Shape::default()).await;
    client.shutdown().await.unwrap();
    assert!(soon(receive(&mut server)).await.is_empty());
    // The client is gone for good now, which nobody's bytes find out.
    client.set_zero_linger().unwrap();
    drop(client);
    until(|| bench.proxy.counts().open == 0).await;
    let gone = soon(async {
        loop {
            if let Err(error) = server.write_all(b"x").await {
                return error.kind();
            }
        }
    });
    assert!(matches!(gone.await, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe));
}

#[tokio::test]
async fn a_reset_goes_through_to_a_peer_that_does_not_read() {
    let (bench, client, mut server) = connected(Shape::default()).await;
    let fills = async {
        let chunk = vec![0; 64 << 10];
        while timeout(MOMENT, server.write_all(&chunk)).await.is_ok() {}
    };
    soon(fills).await;
    server.set_zero_linger().unwrap();
    drop(server);
    // The server's end is read only when the client makes room, so that it is the client's bytes that find out.
    client.try_write(b"x").unwrap();
    until(|| bench.proxy.counts().open == 0).await;
}
