//! Every fault of the network and the disk on real servers: processes in network namespaces, and containers.
//! One cluster for all of it, on each driver.

#![expect(clippy::unwrap_used, reason = "a test's own functions may fail it, as its body may")]

mod disks;
mod lab;
mod takeover;
mod ways;

use super::fixture::not_run;
use lab::{Kind, Lab, Proxied};
use serde_json::json;
use std::time::{Duration, Instant};

/// Long enough for what was sent into a partition not to come.
const SHORT: Duration = Duration::from_millis(700);
const LIMIT: Duration = Duration::from_secs(30);

async fn everything(kind: Kind) {
    let Some(mut lab) = Lab::start(kind).await else { return };
    both_ways(&lab).await;
    user_timeout(&lab).await;
    one_way(&lab).await;
    clients_only(&lab).await;
    overlapping(&lab).await;
    started_within(&lab).await;
    unplugged(&lab).await;
    lost(&lab).await;
    ways::slow(&lab).await;
    ways::overlapping(&lab).await;
    ways::reset(&lab).await;
    ways::held(&lab).await;
    disks::slow(&lab).await;
    disks::full(&lab).await;
    takeover::through_proxies(&mut lab).await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_processes() {
    everything(Kind::Process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_containers() {
    everything(Kind::Docker).await;
}

/// Nothing resets a connection: standbys do not get what the primary goes on writing, and get it afterwards.
async fn both_ways(lab: &Lab) {
    let undo = lab.inject(json!({"partition": {"between": ["@primary", "@standbys"]}})).await;
    let row = lab.insert().await;
    tokio::time::sleep(SHORT * 4).await;
    for standby in ["s", "t"] {
        assert!(!lab.has(standby, row).await, "{standby} got it");
    }
    assert_eq!(lab.query("a", "SELECT count(*) FROM pg_stat_replication").await, "2", "without a timeout they stay");
    lab.undo(undo).await;
    lab.arrives(row, "after the partition").await;
}

/// As between hosts, a partition is where `tcp_user_timeout` acts.
async fn user_timeout(lab: &Lab) {
    lab.query("a", "ALTER SYSTEM SET tcp_user_timeout = '2s'").await;
    lab.query("a", "SELECT pg_reload_conf()").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let undo = lab.inject(json!({"partition": {"between": ["a", ["s", "t"]]}})).await;
    let (row, began) = (lab.insert().await, Instant::now());
    lab.until("a", "SELECT count(*) FROM pg_stat_replication", "0").await;
    let took = began.elapsed();
    println!("{:?}: tcp_user_timeout = 2 s ended the WAL senders after {took:.1?}", lab.kind);
    assert!((1800..8000).contains(&took.as_millis()), "{took:?}");
    lab.undo(undo).await;
    lab.arrives(row, "after the partition that ended the WAL senders").await;
    lab.query("a", "ALTER SYSTEM RESET tcp_user_timeout").await;
    lab.query("a", "SELECT pg_reload_conf()").await;
}

/// What clients ask for is done and they do not hear of it; or nobody hears of it.
async fn one_way(lab: &Lab) {
    for (from, to, done) in [("@primary", "@clients", true), ("@clients", "@primary", false)] {
        for proxied in Proxied::BOTH {
            let client = lab.client(proxied).await.expect("a client");
            let undo = lab.inject(json!({"partition": {"from": from, "to": to}})).await;
            let row = lab.next_row();
            let insert = format!("INSERT INTO t VALUES ({row})");
            let mut answer = std::pin::pin!(client.batch_execute(&insert));
            let what = format!("{:?}: from {from} to {to}, {proxied:?}", lab.kind);
            assert!(tokio::time::timeout(SHORT, &mut answer).await.is_err(), "{what}: it was answered");
            assert_eq!(lab.has("a", row).await, done, "{what}");
            lab.undo(undo).await;
            let answer = tokio::time::timeout(LIMIT, answer).await;
            answer.unwrap_or_else(|_| panic!("{what}: no answer afterwards")).expect("the session lives");
            assert!(lab.has("a", row).await, "{what}");
        }
    }
}

async fn clients_only(lab: &Lab) {
    let undo = lab.inject(json!({"partition": {"between": ["@clients", "@primary"]}})).await;
    for proxied in Proxied::BOTH {
        assert!(lab.client(proxied).await.is_err(), "{:?}: a client, {proxied:?}, got in", lab.kind);
    }
    let row = lab.insert().await;
    lab.arrives(row, "while clients are cut off").await;
    lab.manager().await.expect("the manager gets in");
    lab.undo(undo).await;
    for proxied in Proxied::BOTH {
        lab.client(proxied).await.expect("a client");
    }
}

/// Of two partitions that cut the same, the end of one leaves it cut.
async fn overlapping(lab: &Lab) {
    let wide = lab.inject(json!({"partition": {"between": ["@primary", "@standbys"]}})).await;
    let narrow = lab.inject(json!({"partition": {"between": ["s", "@rest"]}})).await;
    let row = lab.insert().await;
    lab.undo(wide).await;
    lab.arrives_at("t", row, "which only the first partition cut off").await;
    tokio::time::sleep(SHORT).await;
    assert!(!lab.has("s", row).await, "the end of one partition ended the other");
    lab.undo(narrow).await;
    lab.arrives(row, "after both partitions").await;
}

/// A server that starts within a partition is in it, though a container that starts has another namespace.
async fn started_within(lab: &Lab) {
    let undo = lab.inject(json!({"partition": {"between": [["s", "t"], "@primary"]}})).await;
    let stop = lab.inject(json!({"stop": {"of": "t", "mode": "fast"}})).await;
    lab.undo(stop).await;
    lab.node("s").kill().await.expect("killed");
    let other = lab.inject(json!({"partition": {"between": ["s", "a"]}})).await;
    lab.node("s").start().await.expect("started");
    let row = lab.insert().await;
    tokio::time::sleep(SHORT * 2).await;
    for standby in ["s", "t"] {
        assert!(!lab.has(standby, row).await, "{standby} got it");
        assert_eq!(lab.query(standby, "SELECT count(*) FROM pg_stat_wal_receiver").await, "0");
    }
    lab.undo(undo).await;
    lab.arrives_at("t", row, "after it was started within a partition").await;
    assert!(!lab.has("s", row).await, "what was set while it was down is not in force");
    lab.undo(other).await;
    lab.arrives(row, "after both").await;
    // Down when it heals: the next start is in no partition.
    let undo = lab.inject(json!({"partition": {"between": ["t", "a"]}})).await;
    lab.node("t").kill().await.expect("killed");
    lab.undo(undo).await;
    lab.node("t").start().await.expect("started");
    let row = lab.insert().await;
    lab.arrives(row, "after a partition that healed while it was down").await;
}

async fn unplugged(lab: &Lab) {
    let before = lab.address("t").await;
    let undo = lab.inject(json!({"disconnect": {"of": "t"}})).await;
    assert!(lab.observer("t", Duration::from_secs(1)).await.is_err(), "it is reached");
    let row = lab.insert().await;
    tokio::time::sleep(SHORT).await;
    lab.undo(undo).await;
    lab.arrives(row, "after it was unplugged").await;
    assert_eq!(lab.address("t").await, before);
    let row = lab.insert().await;
    lab.arrives(row, "afterwards").await;
}

/// Not even a reset comes from a host that is gone.
async fn lost(lab: &Lab) {
    let receivers = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'";
    let undo = lab.inject(json!({"lose_host": {"of": "@primary"}})).await;
    assert!(!lab.node("a").is_running());
    tokio::time::sleep(SHORT).await;
    for standby in ["s", "t"] {
        assert_eq!(lab.query(standby, receivers).await, "1", "{standby} was told");
    }
    lab.undo(undo).await;
    let row = lab.insert().await;
    lab.arrives(row, "after its host was lost and came back").await;
}
