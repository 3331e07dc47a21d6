//! What one execution of a prepared statement costs on our side of the socket, without the socket.

use bytes::BytesMut;
use criterion::{Criterion, criterion_group, criterion_main};
use pgbench_rs::pg::wire::{Answer, Done, Incoming, Param, Statement};
use std::hint::black_box;

/// The answer to `SELECT abalance FROM pgbench_accounts WHERE aid = $1`, binary, outside a transaction.
const ROW: &[u8] = b"2\0\0\0\x04D\0\0\0\x0e\0\x01\0\0\0\x04\0\0\x12\x34C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";

/// The answer to one of tpcb's updates.
const UPDATE: &[u8] = b"2\0\0\0\x04C\0\0\0\x0dUPDATE 1\0Z\0\0\0\x05T";

fn exchange(c: &mut Criterion) {
    let statement = Statement::new("s1");
    let mut out = BytesMut::with_capacity(1024);
    c.bench_function("wire/encode", |b| {
        b.iter(|| {
            out.clear();
            statement.encode(black_box(&[Param::Int4(4711), Param::Int4(12)]), &mut out);
            out.len()
        });
    });
    let mut incoming = Incoming::default();
    for (name, bytes) in [("select", ROW), ("update", UPDATE)] {
        c.bench_function(&format!("wire/parse {name}"), |b| b.iter(|| parse(&mut incoming, black_box(bytes))));
    }
}

fn parse(incoming: &mut Incoming, bytes: &[u8]) -> Done {
    incoming.push(bytes);
    let mut answer = Answer::default();
    while let Some(frame) = incoming.frame().expect("a canned answer") {
        if answer.take(frame).expect("a canned answer") {
            break;
        }
    }
    answer.done
}

criterion_group!(benches, exchange);
criterion_main!(benches);
