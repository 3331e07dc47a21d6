//! Delay and bandwidth.

use super::*;

#[tokio::test]
async fn a_delay_shows_in_round_trips_and_in_the_handshake() {
    let bench = Bench::new(delayed(DELAY)).await;
    let start = Instant::now();
    let (mut client, server) = bench.pair().await;
    let accepted = start.elapsed();
    assert!(accepted >= DELAY && accepted < 10 * DELAY, "{accepted:?}");
    echo(server);
    let first = round_trip(&mut client).await;
    assert!(start.elapsed() >= 4 * DELAY && first < 20 * DELAY, "{first:?}");
    let second = round_trip(&mut client).await;
    assert!(second >= 2 * DELAY && second < 10 * DELAY, "{second:?}");
    bench.proxy.shape(Shape::default());
    let third = round_trip(&mut client).await;
    assert!(third < DELAY, "the shape changes while connections live: {third:?}");
}

#[tokio::test]
async fn an_end_is_delayed_too() {
    let (_bench, client, mut server) = connected(delayed(DELAY)).await;
    sleep(4 * DELAY).await;
    let start = Instant::now();
    drop(client);
    assert!(soon(receive(&mut server)).await.is_empty());
    let took = start.elapsed();
    assert!(took >= DELAY && took < 10 * DELAY, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_does_not_limit_throughput_to_a_buffer_at_a_time() {
    let (_bench, mut client, mut server) = connected(delayed(Duration::from_millis(100))).await;
    let took = transfer(&mut client, &mut server, 32 << 20).await;
    // One buffer of 256 KiB at a time would take 12.8 s.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bandwidth_is_shared_by_all_connections() {
    let bench = Bench::new(limited(4_000_000)).await;
    let (mut a, mut b) = (bench.pair().await, bench.pair().await);
    let start = Instant::now();
    let (first, second) =
        tokio::join!(transfer(&mut a.0, &mut a.1, 1_000_000), transfer(&mut b.0, &mut b.1, 1_000_000));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(5), "{took:?}");
    let apart = first.abs_diff(second);
    assert!(apart < Duration::from_millis(250), "they have it in turn: {first:?} and {second:?}");
}

#[tokio::test]
async fn each_direction_has_the_bandwidth() {
    let bench = Bench::new(limited(1_000_000)).await;
    let ((mut a, mut b), (mut c, mut d)) = (bench.pair().await, bench.pair().await);
    let start = Instant::now();
    tokio::join!(transfer(&mut a, &mut b, 1_000_000), transfer(&mut d, &mut c, 1_000_000));
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_millis(1900), "{took:?}");
}

#[tokio::test]
async fn a_narrow_way_that_is_widened_goes_on_at_once() {
    let (bench, mut client, mut server) = connected(limited(1)).await;
    let start = Instant::now();
    let widens = async {
        sleep(MOMENT).await;
        bench.proxy.shape(Shape::default());
    };
    client.write_all(b"x").await.unwrap();
    tokio::join!(widens, async { assert_eq!(soon(server.read_u8()).await.unwrap(), b'x') });
    assert!(start.elapsed() >= Duration::from_millis(999), "what was on its way has its time");
    let took = transfer(&mut client, &mut server, 100_000).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}
