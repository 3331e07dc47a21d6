//! The primary's disk, which is its own.

use super::{LIMIT, Lab, not_run};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// How long it takes to write some megabytes and have them on disk.
async fn writes(lab: &Lab) -> Duration {
    let client = lab.observer("a", LIMIT).await.expect("a session");
    let began = Instant::now();
    let wide = "INSERT INTO wide SELECT n, repeat('x', 1000) FROM generate_series(1, 4000) n";
    client.batch_execute(&format!("TRUNCATE wide; {wide}; CHECKPOINT")).await.expect("written");
    began.elapsed()
}

pub async fn slow(lab: &Lab) {
    writes(lab).await;
    let before = writes(lab).await;
    let undo = match lab.try_inject(json!({"slow_disk": {"of": "@primary", "write": "2MB"}})).await {
        Ok(undo) => undo,
        Err(why) => return not_run(&format!("live::faults (slow disks, {:?})", lab.kind), &why.replace('\n', "; ")),
    };
    let during = writes(lab).await;
    // A container that starts again has another control group.
    lab.node("a").kill().await.expect("killed");
    lab.node("a").start().await.unwrap_or_else(|error| panic!("{error}"));
    let again = writes(lab).await;
    lab.undo(undo).await;
    let after = writes(lab).await;
    lab.node("a").kill().await.expect("killed");
    lab.node("a").start().await.unwrap_or_else(|error| panic!("{error}"));
    let last = writes(lab).await;
    println!(
        "{:?}: 4 MB: {before:.1?} before, {during:.1?} at 2 MB/s, {again:.1?} after a start, {after:.1?} undone, {last:.1?} \
         after a start",
        lab.kind
    );
    for slow in [during, again] {
        let free = before.max(after).max(last);
        assert!(slow > Duration::from_secs(2) && slow > free * 3, "{before:?} {during:?} {again:?} {after:?} {last:?}");
    }
    // Slowed down while it is down, it is slow when it comes.
    lab.node("a").kill().await.expect("killed");
    let undo = lab.inject(json!({"slow_disk": {"of": "a", "write": "2MB"}})).await;
    lab.node("a").start().await.unwrap_or_else(|error| panic!("{error}"));
    let down = writes(lab).await;
    lab.node("a").kill().await.expect("killed");
    lab.undo(undo).await;
    lab.node("a").start().await.unwrap_or_else(|error| panic!("{error}"));
    let up = writes(lab).await;
    println!("{:?}: {down:.1?} when it was slowed down while it was down, {up:.1?} when that was undone so", lab.kind);
    assert!(down > Duration::from_secs(2) && down > up * 3, "{down:?} {up:?}");
}

/// What does not fit is refused, and a server that has no room for its WAL goes down.
pub async fn full(lab: &Lab) {
    let row = lab.insert().await;
    let undo = lab.inject(json!({"fill_disk": {"of": "a"}})).await;
    let client = lab.observer("a", LIMIT).await.expect("a session");
    let wide = "INSERT INTO wide SELECT n, repeat('x', 1000) FROM generate_series(1, 4000) n";
    let refused = refused(&client, wide).await;
    let state = refused.code().expect("the server's own word").code().to_owned();
    println!("{:?}: a full disk: SQLSTATE {state}", lab.kind);
    assert_eq!(state, "53100", "{refused:?}");
    assert!(lab.has("a", row).await, "what is there cannot be read");

    // Nothing but WAL.
    let wal = "SELECT pg_logical_emit_message(false, 'test', repeat('x', 4000000)) IS NULL";
    let broken = self::refused(&client, wal).await;
    assert!(client.is_closed() || broken.as_db_error().is_some_and(|error| error.severity() == "PANIC"), "{broken:?}");
    let began = Instant::now();
    let log = || std::fs::read_to_string(lab.node("a").log().unwrap()).unwrap();
    while !(log().contains("PANIC:") && log().contains("No space left on device")) {
        assert!(began.elapsed() < LIMIT, "{}", log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It tries to recover, for which there is no room either.
    while lab.node("a").is_running() && began.elapsed() < LIMIT {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("{:?}: without room for WAL its server ended after {:.1?}", lab.kind, began.elapsed());
    assert!(!lab.node("a").is_running() && lab.node("a").own_end().is_some(), "{}", log());
    lab.undo(undo).await;
    lab.node("a").start().await.unwrap_or_else(|error| panic!("{error}"));
    assert!(lab.has("a", row).await);
    lab.query("a", "TRUNCATE wide").await;
    let row = lab.insert().await;
    lab.arrives(row, "after the disk was full").await;
}

/// Says it again and again, until that fails.
async fn refused(client: &Client, sql: &str) -> tokio_postgres::Error {
    for _ in 0..100 {
        if let Err(error) = client.batch_execute(sql).await {
            return error;
        }
    }
    panic!("400 MB fit on a full disk: {sql}");
}
