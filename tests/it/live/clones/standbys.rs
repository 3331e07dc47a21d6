//! Clones of standbys.

use super::super::lab::{LIMIT, node};
use super::elsewhere::clone_says;
use super::lab::Lab;
use super::plain::Plain;
use pgbench_rs::clone::{Method, Mode, Protect, Recipe, Recovery, Source};
use pgbench_rs::driver::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn copy() -> Recipe {
    Recipe { method: Method::Copy, ..Recipe::default() }
}

/// A copy of a standby is another one, of the same name: a primary that waits for it is answered by the wrong server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_of_a_standby_would_be_waited_for_in_its_place() {
    let settings = [("synchronous_standby_names", "s")];
    let lab = Lab::start(|make| vec![node(make, "a", None, &settings), node(make, "s", Some("a"), &[])]).await;
    let primary = lab.connect("a").await;
    primary.batch_execute("CREATE TABLE t (n int)").await.expect("acknowledged by the standby");
    let clone = lab.clone(&lab.source("s"), &copy(), "c").await;
    let data = lab.plain_copy("s").await;
    lab.cluster.node("s").expect("a node").stop(Shutdown::Fast, LIMIT).await.expect("stopped");

    assert_eq!(clone_says(&clone, "SELECT pg_is_in_recovery()::text").await, "false");
    assert_eq!(clone_says(&clone, "SHOW primary_conninfo").await, "");
    let cloned = clone.connect(None).await.unwrap_or_else(|error| panic!("{error}"));
    // It waits for nobody, though its source's primary does.
    cloned.batch_execute("INSERT INTO t VALUES (1)").await.expect("it takes writes");
    let streaming = "SELECT count(*) FROM pg_stat_replication";
    assert_eq!(primary.query_one(streaming, &[]).await.expect("a row").get::<_, i64>(0), 0, "the clone streams");
    let commit = primary.batch_execute("INSERT INTO t VALUES (2)");
    let waited = tokio::time::timeout(Duration::from_secs(1), commit).await;
    assert!(waited.is_err(), "a write was acknowledged though the standby is down");
    drop(cloned);
    assert!(clone.destroy().await.left.is_empty());

    let plain = Plain::start(&data, lab.cluster.login("test"), &[]).await.unwrap_or_else(|said| panic!("{said}"));
    let observer = lab.connect("a").await;
    let began = Instant::now();
    while observer.query_one(streaming, &[]).await.expect("a row").get::<_, i64>(0) == 0 {
        assert!(began.elapsed() < LIMIT, "the harm did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The client has no connection of its own to this standby, and takes its word for that of the one that is down.
    let commit = observer.batch_execute("INSERT INTO t VALUES (3)");
    assert!(tokio::time::timeout(LIMIT, commit).await.is_ok_and(|done| done.is_ok()), "the harm did not happen");
    drop((plain, primary, observer));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_of_a_standby_that_makes_none_is_known() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[]), node(make, "s", Some("a"), &[])]).await;
    let (primary, source) = (lab.connect("a").await, lab.source("s"));
    let recipe = Recipe { protect: Protect::Freeze, mode: Mode::Recovery(Recovery { checkpoint: true }), ..copy() };
    let mut made = Vec::new();
    for (name, checkpoint) in [("c1", true), ("c2", false)] {
        primary.batch_execute("CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t VALUES (1)").await.expect("writes");
        if checkpoint {
            primary.batch_execute("CHECKPOINT").await.expect("a checkpoint");
            let end: String = primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.expect("a row").get(0);
            let (standby, began) = (lab.connect("s").await, Instant::now());
            let there = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
            while !standby.query_one(&there, &[]).await.expect("a row").get::<_, bool>(0) {
                assert!(began.elapsed() < LIMIT, "the standby does not stream");
            }
        }
        let attempt = lab.attempt(&source, &recipe, name).await;
        let checkpointed = attempt.facts.checkpointed.expect("it was asked for");
        assert_eq!(checkpointed.made, checkpointed.before != checkpointed.after);
        made.push(checkpointed.made);
        assert!(attempt.facts.source.as_ref().is_some_and(|source| source.in_recovery));
        let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
        assert!(clone.destroy().await.left.is_empty());
    }
    assert_eq!(made, [true, false]);
    drop(primary);
    lab.end().await;
}

/// Primary, standby and clones have one system identifier: it does not tell them apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_of_another_server_is_never_cloned() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[]), node(make, "s", Some("a"), &[])]).await;
    let (primary, standby) = (lab.cluster.node("a").expect("a node"), lab.cluster.node("s").expect("a node"));
    let mixed = Source::running("a", &standby.dir, primary.host.clone(), lab.cluster.login("test"));
    let mixed = Arc::new(mixed.unwrap_or_else(|error| panic!("{error}")));
    let error = lab.attempt(&mixed, &copy(), "c").await.outcome.expect_err("refused").to_string();
    assert!(error.contains("is not the data directory of the server that was asked"), "{error}");
    assert!(error.contains(&format!("has port {}, this one {}", standby.host.port, primary.host.port)), "{error}");

    let stopped = Arc::new(Source::stopped("s", &standby.dir).unwrap_or_else(|error| panic!("{error}")));
    let error = lab.attempt(&stopped, &copy(), "c").await.outcome.expect_err("refused").to_string();
    assert!(error.contains("a server runs on the directory"), "{error}");
    standby.stop(Shutdown::Fast, LIMIT).await.expect("stopped");
    let clone = lab.clone(&stopped, &copy(), "c").await;
    assert_eq!(clone_says(&clone, "SELECT pg_is_in_recovery()::text").await, "false");
    assert!(clone.destroy().await.left.is_empty());

    let mixed = Source::running("a", &standby.dir, primary.host.clone(), lab.cluster.login("test"));
    let mixed = Arc::new(mixed.unwrap_or_else(|error| panic!("{error}")));
    let error = lab.attempt(&mixed, &copy(), "c").await.outcome.expect_err("refused").to_string();
    assert!(error.contains("no server runs on it"), "{error}");
    lab.end().await;
}
