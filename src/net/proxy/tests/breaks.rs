//! Stalls, resets, refusals, the end of a proxy; many connections.

use super::*;

#[tokio::test]
async fn a_stall_holds_one_direction_and_loses_nothing() {
    let (bench, mut client, mut server) = connected(Shape::default()).await;
    bench.proxy.stall(Way::Forth, true);
    client.write_all(b"held").await.unwrap();
    client.shutdown().await.unwrap();
    is_silent(&mut server).await;
    server.write_all(b"free").await.unwrap();
    let mut free = [0; 4];
    soon(client.read_exact(&mut free)).await.unwrap();
    bench.proxy.stall(Way::Forth, false);
    assert_eq!(soon(receive(&mut server)).await, b"held", "the end is held too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_amid_a_transfer_loses_nothing() {
    let (bench, mut client, mut server) = connected(delayed(Duration::from_millis(20))).await;
    let stalls = async {
        for _ in 0..5 {
            sleep(Duration::from_millis(20)).await;
            bench.proxy.stall(Way::Forth, true);
            sleep(Duration::from_millis(30)).await;
            bench.proxy.stall(Way::Forth, false);
        }
    };
    tokio::join!(stalls, transfer(&mut client, &mut server, 64 << 20));
}

#[tokio::test]
async fn a_stall_holds_resets_and_new_connections() {
    let (bench, client, mut server) = connected(Shape::default()).await;
    bench.proxy.stall(Way::Forth, true);
    client.set_zero_linger().unwrap();
    drop(client);
    is_silent(&mut server).await;
    let newcomer = bench.client().await;
    assert!(timeout(MOMENT, bench.listener.accept()).await.is_err(), "a connection went through");
    bench.proxy.stall(Way::Forth, false);
    is_reset(&mut server).await;
    soon(bench.listener.accept()).await.unwrap();
    drop(newcomer);
}

#[tokio::test]
async fn reset_resets_both_ends_of_every_connection() {
    let bench = Bench::new(Shape::default()).await;
    let (mut a, mut b) = (bench.pair().await, bench.pair().await);
    bench.proxy.stall(Way::Back, true);
    // Its connection is the system's as yet, or waits for the stall's end.
    let mut c = bench.client().await;
    assert_eq!(soon(bench.proxy.reset()).await.unwrap(), 3);
    for socket in [&mut a.0, &mut a.1, &mut b.0, &mut b.1, &mut c] {
        is_reset(socket).await;
    }
    assert_eq!(bench.proxy.counts().open, 0);
    bench.proxy.stall(Way::Back, false);
    let (mut client, server) = bench.pair().await;
    echo(server);
    round_trip(&mut client).await;
}

#[tokio::test]
async fn a_refusal_is_a_reset_after_a_round_trip() {
    let Bench { listener, proxy } = Bench::new(delayed(DELAY)).await;
    drop(listener);
    let start = Instant::now();
    let mut client = soon(TcpStream::connect(proxy.address())).await.unwrap();
    is_reset(&mut client).await;
    assert!(start.elapsed() >= 2 * DELAY);
    assert_eq!((proxy.counts().accepted, proxy.counts().failed), (1, 1));
}

#[tokio::test]
async fn a_client_that_gives_up_while_the_server_does_not_answer_is_forgotten() {
    // A server whose system does not answer: its queue of connections is full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(any()).unwrap();
    let listener = socket.listen(0).unwrap();
    let server = listener.local_addr().unwrap();
    let _fills = soon(TcpStream::connect(server)).await.unwrap();
    let proxy = Proxy::start(any(), ("127.0.0.1", server.port()), Shape::default()).unwrap();
    let resets = soon(TcpStream::connect(proxy.address())).await.unwrap();
    let mut ends = soon(TcpStream::connect(proxy.address())).await.unwrap();
    let stays = soon(TcpStream::connect(proxy.address())).await.unwrap();
    until(|| proxy.counts().open == 3).await;
    resets.set_zero_linger().unwrap();
    drop(resets);
    ends.write_all(b"what nobody reads").await.unwrap();
    drop(ends);
    until(|| proxy.counts().open == 1).await;
    assert_eq!(proxy.counts().failed, 0);
    drop(stays);
}

#[tokio::test]
async fn stop_ends_everything_and_frees_the_port() {
    let (Bench { proxy, listener: _listener }, mut client, mut server) = connected(Shape::default()).await;
    let address = proxy.address();
    soon(proxy.stop()).await;
    is_reset(&mut client).await;
    is_reset(&mut server).await;
    let error = soon(TcpStream::connect(address)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    TcpListener::bind(address).await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_is_dropped_ends_too_and_its_thread_goes_on_for_others() {
    let proxies = Proxies::start().unwrap();
    let listener = TcpListener::bind(any()).await.unwrap();
    let to = ("localhost", listener.local_addr().unwrap().port());
    let open = || proxies.open(any(), to, Shape::default()).unwrap();
    let (dropped, kept) = (open(), open());
    let mut client = soon(TcpStream::connect(dropped.address())).await.unwrap();
    drop(dropped);
    is_reset(&mut client).await;
    drop(proxies);
    let mut client = soon(TcpStream::connect(kept.address())).await.unwrap();
    // The first connection may have come as far as here.
    tokio::spawn(async move {
        while let Ok((server, _)) = listener.accept().await {
            echo(server);
        }
    });
    round_trip(&mut client).await;
}

#[tokio::test]
async fn the_server_is_reached_from_the_address_that_is_given() {
    let listener = TcpListener::bind(any()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let from = IpAddr::from([127, 0, 0, 9]);
    let to = To { host: "localhost".into(), port, from: Some(from) };
    let proxy = Proxy::start(any(), to, Shape::default()).unwrap();
    let _client = soon(TcpStream::connect(proxy.address())).await.unwrap();
    let (_server, peer) = soon(listener.accept()).await.unwrap();
    assert_eq!(peer.ip(), from);
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error() {
    let taken = Bench::new(Shape::default()).await;
    let error = Proxy::start(taken.proxy.address(), ("127.0.0.1", 1), Shape::default()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_at_once() {
    let Bench { listener, proxy } = Bench::new(delayed(Duration::from_millis(10))).await;
    tokio::spawn(async move {
        while let Ok((server, _)) = listener.accept().await {
            echo(server);
        }
    });
    let address = proxy.address();
    let clients: Vec<_> = (0..200)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = soon(TcpStream::connect(address)).await.unwrap();
                for _ in 0..10 {
                    round_trip(&mut client).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    until(|| proxy.counts().open == 0).await;
    let counts = proxy.counts();
    assert_eq!((counts.accepted, counts.failed, counts.forth, counts.back), (200, 0, 2000, 2000));
}
