//! What a proxy costs that does nothing to the bytes: throughput and round trips, beside a connection that goes
//! directly to the server, both over loopback.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use pgbench_rs::net::proxy::{Proxy, Shape};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const MEGABYTES: usize = 64;

/// A row or a small result.
const MESSAGE: usize = 200;

/// A server with a thread for each connection, which says first what it wants: `s`, a sink that tells when a
/// megabyte has arrived, or `e`, an echo of messages.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || serve(connection));
        }
    });
    address
}

fn serve(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut kind = [0];
    connection.read_exact(&mut kind)?;
    let mut bytes = vec![0; if kind == *b"s" { 1 << 20 } else { MESSAGE }];
    loop {
        connection.read_exact(&mut bytes)?;
        let answer = if kind == *b"s" { &bytes[..1] } else { &bytes[..] };
        connection.write_all(answer)?;
    }
}

fn connect(to: SocketAddr, kind: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(to).expect("a connection");
    connection.set_nodelay(true).expect("TCP_NODELAY");
    connection.write_all(kind).expect("the first byte");
    connection
}

/// Sends the bytes and waits until they have arrived.
fn throughput(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, to: SocketAddr) {
    let mut connection = connect(to, b"s");
    let (bytes, mut answers) = (vec![7; MEGABYTES << 20], [0; MEGABYTES]);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function(name, |b| {
        b.iter(|| {
            connection.write_all(&bytes).expect("the server reads");
            connection.read_exact(&mut answers).expect("the server answers");
        });
    });
}

fn round_trip(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, to: SocketAddr) {
    let mut connection = connect(to, b"e");
    let mut message = [7; MESSAGE];
    group.bench_function(name, |b| {
        b.iter(|| {
            connection.write_all(&message).expect("the server reads");
            connection.read_exact(&mut message).expect("the server answers");
        });
    });
}

fn proxy(criterion: &mut Criterion) {
    let server = server();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let to = (server.ip().to_string(), server.port());
    let proxy = Proxy::start(listen, to.clone(), Shape::default()).expect("a proxy");
    let delay = Duration::from_millis(1);
    let slow = Proxy::start(listen, to, Shape { delay, ..Shape::default() }).expect("a proxy");

    let mut group = criterion.benchmark_group("64 MiB");
    group.sample_size(10);
    throughput(&mut group, "direct", server);
    throughput(&mut group, "proxy", proxy.address());
    throughput(&mut group, "proxy, 1 ms each way", slow.address());
    group.finish();

    let mut group = criterion.benchmark_group("round trip of 200 bytes");
    round_trip(&mut group, "direct", server);
    round_trip(&mut group, "proxy", proxy.address());
    // How much more than 2 ms it is says how precise the delay is.
    round_trip(&mut group, "proxy, 1 ms each way", slow.address());
    group.finish();
}

criterion_group!(benches, proxy);
criterion_main!(benches);
