//! PostgreSQL behind a proxy: what its sessions see of a way that is slow, or broken.

use super::fixture::Primary;
use pgbench_rs::net::proxy::{Counts, Proxy, Shape, Way};
use pgbench_rs::pg::Host;
use pgbench_rs::pg::connect::connect;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

const LIMIT: Duration = Duration::from_secs(20);

const DELAY: Duration = Duration::from_millis(100);

/// A server and a proxy before it.
struct Bench {
    server: Primary,
    proxy: Proxy,
}

impl Bench {
    fn start() -> Bench {
        let server = Primary::start(&["fsync=off"]);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let to = (server.host.host.as_str(), server.host.port);
        let proxy = Proxy::start(listen, to, Shape::default()).expect("the proxy starts");
        Bench { server, proxy }
    }

    /// A session through the proxy.
    async fn session(&self) -> Client {
        let address = self.proxy.address();
        let host = Host::new("a", address.ip().to_string(), address.port());
        connect(&host, &self.server.login("proxied"), LIMIT).await.expect("a connection through the proxy")
    }
}

async fn number(client: &Client, sql: &str) -> i32 {
    timeout(LIMIT, client.query_one(sql, &[])).await.expect("an answer in time").expect(sql).get(0)
}

#[tokio::test]
async fn queries_work_through_a_proxy_and_take_as_long_as_it_says() {
    let bench = Bench::start();
    let client = bench.session().await;
    assert_eq!(number(&client, "SELECT 42").await, 42);
    let long: String = client.query_one("SELECT repeat('x', 3000000)", &[]).await.expect("a long row").get(0);
    assert_eq!(long.len(), 3_000_000);
    let Counts { accepted, open, failed, back, .. } = bench.proxy.counts();
    assert!((accepted, open, failed) == (1, 1, 0) && back > 3_000_000);

    bench.proxy.shape(Shape { delay: DELAY, ..Shape::default() });
    let start = Instant::now();
    client.batch_execute("SELECT 1").await.expect("a simple query");
    let took = start.elapsed();
    assert!(took >= 2 * DELAY && took < 20 * DELAY, "a simple query is one round trip: {took:?}");
    let start = Instant::now();
    bench.session().await;
    let took = start.elapsed();
    assert!(took >= 4 * DELAY && took < 40 * DELAY, "a connection is at least two round trips: {took:?}");
}

#[tokio::test]
async fn a_query_that_is_stalled_goes_on_afterwards() {
    let bench = Bench::start();
    let client = bench.session().await;
    bench.proxy.stall(Way::Back, true);
    let query = client.query_one("SELECT 42", &[]);
    tokio::pin!(query);
    assert!(timeout(Duration::from_millis(500), &mut query).await.is_err(), "an answer passed");
    bench.proxy.stall(Way::Back, false);
    let row = timeout(LIMIT, query).await.expect("an answer in time").expect("the session lives");
    assert_eq!(row.get::<_, i32>(0), 42);
}

#[tokio::test]
async fn a_reset_ends_the_session_and_the_next_one_works() {
    let bench = Bench::start();
    let client = bench.session().await;
    let sleeps = client.batch_execute("SELECT pg_sleep(60)");
    let resets = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.proxy.reset().await.expect("the proxy runs")
    };
    let (ended, reset) = timeout(LIMIT, async { tokio::join!(sleeps, resets) }).await.expect("the session ends");
    let error = ended.expect_err("a session without a connection");
    assert!(error.code().is_none(), "nothing of it is the server's: {error:?}");
    assert_eq!(reset, 1);
    assert_eq!(number(&bench.session().await, "SELECT 42").await, 42);
}

#[tokio::test]
async fn what_the_server_says_last_passes() {
    let bench = Bench::start();
    let (client, other) = (bench.session().await, bench.session().await);
    let pid = number(&client, "SELECT pg_backend_pid()").await;
    let sleeps = client.batch_execute("SELECT pg_sleep(60)");
    let terminates = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await.expect("pg_terminate_backend")
    };
    let (ended, _) = timeout(LIMIT, async { tokio::join!(sleeps, terminates) }).await.expect("the session ends");
    let error = ended.expect_err("a session that was terminated");
    assert_eq!(error.code(), Some(&SqlState::ADMIN_SHUTDOWN), "{error:?}");
}
