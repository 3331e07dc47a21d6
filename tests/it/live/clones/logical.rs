//! Clones of publishers and of subscribers.

use super::super::fixture::Primary;
use super::super::lab::{LIMIT, node};
use super::elsewhere::clone_says;
use super::lab::Lab;
use super::plain::Plain;
use pgbench_rs::clone::{Method, Recipe};
use pgbench_rs::driver::Shutdown;
use pgbench_rs::pg::connect::connect;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

fn copy() -> Recipe {
    Recipe { method: Method::Copy, ..Recipe::default() }
}

async fn rows(client: &Client, least: i64) {
    let began = Instant::now();
    while client.query_one("SELECT count(*) FROM books", &[]).await.expect("a row").get::<_, i64>(0) < least {
        assert!(began.elapsed() < LIMIT, "fewer than {least} rows came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn publish(publisher: &Client, from: i64, to: i64) {
    let insert = format!("INSERT INTO books SELECT generate_series({from}, {to})");
    publisher.batch_execute(&insert).await.expect("published");
}

/// The slot on the publisher is the subscriber's alone: what a clone takes from it never comes to the subscriber.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_of_a_subscriber_would_take_its_changes() {
    let primary = Primary::start(&["wal_level=logical"]);
    let publisher = connect(&primary.host, &primary.login("test"), LIMIT).await.expect("a connection");
    publisher
        .batch_execute("CREATE TABLE books (id bigint); CREATE PUBLICATION p FOR TABLE books")
        .await
        .expect("set up");
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let subscriber = lab.connect("a").await;
    let conninfo = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", primary.host.port);
    subscriber.batch_execute("CREATE TABLE books (id bigint)").await.expect("set up");
    let subscribe = format!("CREATE SUBSCRIPTION s CONNECTION '{conninfo}' PUBLICATION p");
    subscriber.batch_execute(&subscribe).await.expect("subscribed");
    publish(&publisher, 1, 100).await;
    rows(&subscriber, 100).await;

    let clone = lab.clone(&lab.source("a"), &copy(), "c").await;
    let data = lab.plain_copy("a").await;
    let subscribing = lab.cluster.node("a").expect("a node").clone();
    subscribing.stop(Shutdown::Fast, LIMIT).await.expect("stopped");
    publish(&publisher, 101, 200).await;
    // Longer than a worker waits until it tries again.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let cloned = clone.connect(None).await.unwrap_or_else(|error| panic!("{error}"));
    let count: i64 = cloned.query_one("SELECT count(*) FROM books", &[]).await.expect("a row").get(0);
    assert_eq!(count, 100, "the clone follows the publisher");
    let row = cloned.query_one("SELECT subenabled, subslotname::text FROM pg_subscription", &[]).await.expect("a row");
    assert_eq!((row.get(0), row.get::<_, Option<&str>>(1)), (false, None));
    cloned.batch_execute("DROP SUBSCRIPTION s").await.expect("dropped in the clone");
    let slots: i64 = publisher.query_one("SELECT count(*) FROM pg_replication_slots", &[]).await.expect("a row").get(0);
    assert_eq!(slots, 1, "the clone dropped the subscriber's slot");
    drop(cloned);
    assert!(clone.destroy().await.left.is_empty());
    subscribing.start().await.unwrap_or_else(|error| panic!("{error}"));
    let subscriber = lab.connect("a").await;
    rows(&subscriber, 200).await;

    // The same with a plain server on a plain copy.
    subscribing.stop(Shutdown::Fast, LIMIT).await.expect("stopped");
    publish(&publisher, 201, 300).await;
    let plain = Plain::start(&data, lab.cluster.login("test"), &[]).await.unwrap_or_else(|said| panic!("{said}"));
    rows(&plain.connect().await, 300).await;
    let end: String = publisher.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.expect("a row").get(0);
    let confirmed = format!("SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots");
    let began = Instant::now();
    while !publisher.query_one(&confirmed, &[]).await.expect("a row").get::<_, bool>(0) {
        assert!(began.elapsed() < LIMIT, "the harm did not happen: nothing is confirmed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(plain);
    subscribing.start().await.unwrap_or_else(|error| panic!("{error}"));
    publish(&publisher, 1000, 1000).await;
    let subscriber = lab.connect("a").await;
    let began = Instant::now();
    while subscriber.query_one("SELECT count(*) FROM books WHERE id = 1000", &[]).await.expect("a row").get::<_, i64>(0)
        < 1
    {
        assert!(began.elapsed() < LIMIT, "the subscriber does not follow any more");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lost = "SELECT 100 - count(*) FROM books WHERE id BETWEEN 201 AND 300";
    assert!(subscriber.query_one(lost, &[]).await.expect("a row").get::<_, i64>(0) > 0, "the harm did not happen");
    drop((subscriber, publisher));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copied_slots_would_keep_a_server_from_starting_and_wal_from_going() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[("wal_level", "logical")])]).await;
    let client = lab.connect("a").await;
    let make =
        "SELECT pg_create_logical_replication_slot('l', 'pgoutput'), pg_create_physical_replication_slot('p', true)";
    client.query(make, &[]).await.expect("slots");
    let mut recipe = copy();
    recipe.settings.insert("wal_level".to_owned(), "replica".to_owned());
    let attempt = lab.attempt(&lab.source("a"), &recipe, "c").await;
    assert!(attempt.facts.kept_out.contains(&"replication slots: l, p".to_owned()), "{:?}", attempt.facts.kept_out);
    let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(clone_says(&clone, "SELECT count(*)::text FROM pg_replication_slots").await, "0");
    assert!(clone.destroy().await.left.is_empty());
    let there = "SELECT count(*) FROM pg_replication_slots WHERE NOT temporary";
    assert_eq!(
        client.query_one(there, &[]).await.expect("a row").get::<_, i64>(0),
        2,
        "the source's slots are its own"
    );

    let data = lab.plain_copy("a").await;
    let said = Plain::start(&data, lab.cluster.login("test"), &["wal_level=replica"]).await.err();
    let said = said.expect("the harm did not happen");
    assert!(said.contains("logical replication slot \"l\" exists, but wal_level < logical"), "{said}");
    let plain = Plain::start(&data, lab.cluster.login("test"), &[]).await.unwrap_or_else(|said| panic!("{said}"));
    let kept =
        plain.connect().await.query("SELECT restart_lsn::text FROM pg_replication_slots", &[]).await.expect("rows");
    assert_eq!(kept.len(), 2, "the harm did not happen: nothing holds back the WAL");
    drop((plain, client));
    lab.end().await;
}

/// Recovery of a subscriber's WAL needs a place for each origin that changes came from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_from_a_publisher_is_recovered() {
    let primary = Primary::start(&["wal_level=logical"]);
    let publisher = connect(&primary.host, &primary.login("test"), LIMIT).await.expect("a connection");
    publisher
        .batch_execute("CREATE TABLE books (id bigint); CREATE PUBLICATION p FOR TABLE books")
        .await
        .expect("set up");
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let subscriber = lab.connect("a").await;
    let conninfo = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", primary.host.port);
    subscriber.batch_execute("CREATE TABLE books (id bigint)").await.expect("set up");
    // What is seen is then also on disk.
    let subscribe =
        format!("CREATE SUBSCRIPTION s CONNECTION '{conninfo}' PUBLICATION p WITH (synchronous_commit = on)");
    subscriber.batch_execute(&subscribe).await.expect("subscribed");
    rows(&subscriber, 0).await;
    for batch in 0..20 {
        publish(&publisher, batch * 100 + 1, batch * 100 + 100).await;
    }
    rows(&subscriber, 2000).await;
    let recipe = Recipe {
        mode: pgbench_rs::clone::Mode::Recovery(pgbench_rs::clone::Recovery { checkpoint: false }),
        protect: pgbench_rs::clone::Protect::Freeze,
        ..copy()
    };
    let clone = lab.clone(&lab.source("a"), &recipe, "c").await;
    assert_eq!(clone_says(&clone, "SELECT count(*)::text FROM books").await, "2000");
    assert!(clone.destroy().await.left.is_empty());

    let data = lab.plain_copy("a").await;
    let bare = ["max_replication_slots=0", "max_logical_replication_workers=0"];
    let said = Plain::start(&data, lab.cluster.login("test"), &bare).await.err().expect("the harm did not happen");
    assert!(said.contains("replication") && said.contains("FATAL") || said.contains("PANIC"), "{said}");
    drop((subscriber, publisher));
    lab.end().await;
}
