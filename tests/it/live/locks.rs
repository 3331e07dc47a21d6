//! Who waits for whose locks, with real queues.

use super::fixture::Primary;
use super::sampling::{Sampling, session};
use pgbench_rs::metric::{Field, Point};
use std::time::Duration;

/// A field of a point of `pg_lock_tree`.
fn of_tree(point: &Point, name: &str) -> Option<f64> {
    let field = point.fields.iter().find(|(field, _)| point.measurement == "pg_lock_tree" && *field == name);
    match field?.1 {
        Field::Int(n) => Some(n as f64),
        Field::Float(n) => Some(n),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_three_deep_is_seen_as_it_is_and_kept_as_episodes() {
    let server = Primary::start(&["fsync=off", "compute_query_id=on"]);
    let [a, b, c, d] = futures_util::future::join_all([1, 2, 3, 4].map(|_| session(&server, "pgbr-load-app")))
        .await
        .try_into()
        .unwrap_or_else(|_| unreachable!());
    a.batch_execute("CREATE TABLE t (n int, x int); INSERT INTO t SELECT n, 0 FROM generate_series(1, 3) n")
        .await
        .unwrap();
    let update = |n: u32| format!("UPDATE t SET x = x + 1 WHERE n = {n}");
    for (session, n) in [(&a, 1), (&b, 2), (&c, 3)] {
        session.batch_execute(&format!("BEGIN; {}", update(n))).await.unwrap();
    }
    let mut sampling = Sampling::start(&[("a", &server)]).await;
    sampling.until("nobody waiting", |points| points.iter().any(|p| of_tree(p, "waiters") == Some(0.0))).await;
    let mut waiting = tokio::task::JoinSet::new();
    for (session, n) in [(b, 1), (c, 2), (d, 3)] {
        let sql = format!("{}; COMMIT", update(n));
        waiting.spawn(async move { session.batch_execute(&sql).await });
    }
    let deep = |point: &&Point| of_tree(point, "max_depth") == Some(3.0);
    sampling
        .until("queue of a second", |points| {
            points
                .iter()
                .filter(deep)
                .any(|point| of_tree(point, "longest_wait_seconds").is_some_and(|wait| wait > 1.0))
        })
        .await;
    let point = sampling.seen.iter().find(deep).expect("seen");
    let fields = ["waiters", "roots", "roots_idle_in_transaction", "roots_prepared"];
    assert_eq!(fields.map(|field| of_tree(point, field)), [3.0, 1.0, 1.0, 0.0].map(Some));
    let ash = sampling.seen.iter().filter(|point| point.measurement == "pg_ash");
    let waits = ash.filter(|point| point.tags[1].1 == "Lock" && point.tags[2].1 == "transactionid");
    assert!(waits.count() > 5, "waits of the class Lock");
    a.batch_execute("COMMIT").await.unwrap();
    while let Some(done) = waiting.join_next().await {
        done.unwrap().unwrap();
    }
    let last = sampling.seen.len();
    sampling.until("end of waiting", |points| points[last..].iter().any(|p| of_tree(p, "waiters") == Some(0.0))).await;

    let ended = sampling.running.stop().await;
    let blocked_by = |state: &str| ended.episodes.iter().filter(|e| e.pair.blocker_state == state).collect::<Vec<_>>();
    let (first, behind) = (blocked_by("idle in transaction"), blocked_by("active"));
    let [episode] = first.as_slice() else { panic!("{:?}", ended.episodes) };
    assert_eq!((episode.pair.lock.as_str(), episode.pairs_max, episode.depth_max), ("transactionid", 1, Some(1)));
    assert!(episode.ended - episode.began > Duration::from_millis(500) && episode.ticks >= 5, "{episode:?}");
    assert!(episode.longest_wait.is_some_and(|wait| wait > 1.0), "{episode:?}");
    assert!(episode.pair.waiter.is_some() && episode.pair.blocker.is_some(), "{episode:?}");
    // The two further back are alike in all that is kept: one query, blocked by one that is active.
    assert!(behind.iter().any(|e| e.pairs_max == 2 && e.depth_max == Some(3)), "{behind:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_that_is_forgotten_is_the_root() {
    let server = Primary::start(&["fsync=off", "max_prepared_transactions=2"]);
    let (a, b) = (session(&server, "test").await, session(&server, "test").await);
    a.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    a.batch_execute("BEGIN; LOCK t; PREPARE TRANSACTION 'forgotten'").await.unwrap();
    let waiter = tokio::spawn(async move { b.batch_execute("SELECT * FROM t").await });
    let mut sampling = Sampling::start(&[("a", &server)]).await;
    sampling
        .until("root that is prepared", |points| points.iter().any(|p| of_tree(p, "roots_prepared") == Some(1.0)))
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    a.batch_execute("ROLLBACK PREPARED 'forgotten'").await.unwrap();
    waiter.await.unwrap().unwrap();
    let ended = sampling.running.stop().await;
    let [episode] = ended.episodes.as_slice() else { panic!("{:?}", ended.episodes) };
    let pair = &episode.pair;
    let (lock, relation) = (pair.lock.as_str(), pair.relation.as_deref());
    assert_eq!((pair.blocker_state.as_str(), lock, relation), ("prepared", "relation", Some("t")));
}
