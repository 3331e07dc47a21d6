//! What is done on a way through a proxy.

use super::{LIMIT, Lab, Proxied, SHORT};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

async fn round_trip(client: &Client) -> Duration {
    let began = Instant::now();
    client.batch_execute("SELECT 1").await.expect("an answer");
    began.elapsed()
}

/// The fastest of a few: what the way takes at least.
async fn fastest(client: &Client) -> Duration {
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        fastest = fastest.min(round_trip(client).await);
    }
    fastest
}

pub async fn slow(lab: &Lab) {
    let client = lab.client(Proxied::Yes).await.expect("a client");
    let before = fastest(&client).await;
    let undo = lab.inject(json!({"link": {"between": ["site:y", "@primary"], "delay": "50ms"}})).await;
    let during = fastest(&client).await;
    let beside = fastest(&lab.client(Proxied::Not).await.expect("a client")).await;
    lab.undo(undo).await;
    let after = fastest(&client).await;
    println!("{:?}: a round trip: {before:?}; slow {during:?}, beside it {beside:?}; {after:?}", lab.kind);
    assert!(during >= Duration::from_millis(100) && during < Duration::from_millis(300));
    assert!([before, beside, after].into_iter().all(|free| free < Duration::from_millis(50)));
}

/// The end of one leaves the other in force.
pub async fn overlapping(lab: &Lab) {
    let client = lab.client(Proxied::Yes).await.expect("a client");
    let link = |delay| json!({"link": {"between": ["site:y", "@primary"], "delay": delay}});
    let first = lab.inject(link("30ms")).await;
    let second = lab.inject(link("60ms")).await;
    let both = fastest(&client).await;
    lab.undo(first).await;
    let one = fastest(&client).await;
    lab.undo(second).await;
    let none = fastest(&client).await;
    println!("{:?}: a round trip: slow twice {both:?}, once {one:?}, not at all {none:?}", lab.kind);
    assert!(both >= Duration::from_millis(180) && one >= Duration::from_millis(120), "{both:?} {one:?}");
    assert!(one < Duration::from_millis(180) && none < Duration::from_millis(50), "{one:?} {none:?}");

    let all = lab.inject(json!({"stall": {"between": ["site:y", "@primary"]}})).await;
    let back = lab.inject(json!({"stall": {"from": "@primary", "to": "site:y"}})).await;
    lab.undo(all).await;
    let mut answer = std::pin::pin!(client.batch_execute("SELECT 1"));
    assert!(tokio::time::timeout(SHORT, &mut answer).await.is_err(), "the end of one stall ended the other");
    lab.undo(back).await;
    tokio::time::timeout(LIMIT, answer).await.expect("in time").expect("the session lives");
}

pub async fn reset(lab: &Lab) {
    let client = lab.client(Proxied::Yes).await.expect("a client");
    let beside = lab.client(Proxied::Not).await.expect("a client");
    lab.inject(json!({"reset": {"between": ["site:y", "@primary"]}})).await;
    let ended = tokio::time::timeout(LIMIT, client.batch_execute("SELECT 1")).await.expect("in time");
    assert!(ended.is_err(), "the connection lives");
    round_trip(&beside).await;
    round_trip(&lab.client(Proxied::Yes).await.expect("the next one")).await;
    let row = lab.insert().await;
    lab.arrives(row, "after its connection was reset").await;
}

pub async fn held(lab: &Lab) {
    let client = lab.client(Proxied::Yes).await.expect("a client");
    let undo = lab.inject(json!({"stall": {"between": ["site:y", "@primary"]}})).await;
    let row = lab.next_row();
    let insert = format!("INSERT INTO t VALUES ({row})");
    let mut answer = std::pin::pin!(client.batch_execute(&insert));
    assert!(tokio::time::timeout(SHORT, &mut answer).await.is_err(), "it was answered");
    assert!(!lab.has("a", row).await, "it has arrived");
    let other = lab.insert().await;
    lab.arrives_at("t", other, "while the other site is held").await;
    assert!(!lab.has("s", other).await, "it has arrived");
    lab.undo(undo).await;
    tokio::time::timeout(LIMIT, answer).await.expect("in time").expect("the session lives");
    lab.arrives(row, "after it was held").await;
}
