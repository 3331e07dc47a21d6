//! What one execution of a prepared statement takes with a real server at the other end: the wire with its socket, over
//! TCP loopback, one after the other on one connection. Beside it what `SELECT 1` takes without preparing.

#[path = "../tests/it/live/fixture.rs"]
#[allow(dead_code, reason = "the live tests need more of it")]
mod fixture;

use criterion::{Criterion, criterion_group, criterion_main};
use fixture::Primary;
use pgbench_rs::etl;
use pgbench_rs::pg::wire::{Param, Wire};
use std::hint::black_box;
use std::time::Duration;
use tokio_postgres::types::Type;

const LIMIT: Duration = Duration::from_secs(10);
const SELECT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";
const UPDATE: &str = "UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2";

fn round_trips(c: &mut Criterion) {
    // Without flushes and vacuums: the disk would be most of it, and what is compared is our side.
    let server = Primary::start(&["fsync=off", "synchronous_commit=off", "autovacuum=off", "checkpoint_timeout=1h"]);
    // One thread, as a client has it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut wire, select, update) = runtime.block_on(async {
        let login = server.login("bench");
        let client = pgbench_rs::pg::connect::connect(&server.host, &login, LIMIT).await.expect("a connection");
        etl::pgbench::fill(&client, 1, |_, _| {}).await.expect("pgbench's tables");
        let mut wire = Wire::connect(&server.host, &login, LIMIT).await.expect("a connection");
        let select = wire.prepare(SELECT, &[Type::INT4]).await.expect(SELECT);
        let update = wire.prepare(UPDATE, &[Type::INT4, Type::INT4]).await.expect(UPDATE);
        (wire, select, update)
    });
    let mut aid = 0;
    let mut group = c.benchmark_group("server");
    group.bench_function("prepared select", |b| {
        b.iter(|| {
            aid = aid % 100_000 + 1;
            let done = runtime.block_on(wire.execute(&select, black_box(&[Param::Int4(aid)]))).expect(SELECT);
            assert_eq!(done.rows, 1);
        });
    });
    group.bench_function("prepared update", |b| {
        b.iter(|| {
            aid = aid % 10 + 1;
            let of = [Param::Int4(1), Param::Int4(aid)];
            let done = runtime.block_on(wire.execute(&update, black_box(&of))).expect(UPDATE);
            assert!(done.tag.as_str().starts_with("UPDATE"));
        });
    });
    group.bench_function("simple", |b| {
        b.iter(|| runtime.block_on(wire.simple(black_box("SELECT 1"))).expect("SELECT 1").rows);
    });
    group.finish();
}

criterion_group!(benches, round_trips);
criterion_main!(benches);
