//! What making rows costs: the generators of synthetic data into lines and into chunks, and the chunk's own encoding.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pgbench_rs::etl::chunk::Chunk;
use pgbench_rs::etl::imdb::Schema;
use pgbench_rs::etl::source::Part;
use pgbench_rs::etl::synthetic::{Generator, Synthetic, Which, source};
use pgbench_rs::etl::tables;
use pgbench_rs::scenario::{self, Source};
use std::hint::black_box;

/// Large enough that Zipf's distributions have their full range; nothing of it is kept.
const OF: Synthetic = Synthetic { scale: 0.05, seed: 1 };
const ROWS: u64 = 4096;

fn lines(c: &mut Criterion) {
    let (generator, mut bytes) = (Generator::new(OF), Vec::new());
    let mut group = c.benchmark_group("lines");
    group.throughput(Throughput::Elements(ROWS));
    for which in Which::ALL {
        group.bench_function(which.name(), |b| {
            b.iter(|| {
                bytes.clear();
                generator.lines(which, black_box(10_000..10_000 + ROWS), &mut bytes);
                bytes.len()
            });
        });
    }
    group.finish();
}

fn chunks(c: &mut Criterion) {
    let mut group = c.benchmark_group("chunks");
    let all = source::Tables::new(OF, Schema::Typed);
    for (n, table) in all.tables().into_iter().enumerate() {
        let mut chunk = Chunk::default();
        all.open(n, Part::WHOLE).fill(&mut chunk);
        group.throughput(Throughput::Elements(chunk.rows()));
        group.bench_function(table.name, |b| {
            b.iter(|| {
                chunk.clear();
                all.open(black_box(n), Part::WHOLE).fill(&mut chunk)
            });
        });
    }
    group.finish();
}

const ORDERS: &str = r#"
[tables.customer]
rows = 100_000
primary_key = ["id"]
columns.id = { type = "bigint", values = { kind = "sequence" } }

[tables.orders]
rows = 1_000_000
columns.id = { type = "bigint", values = { kind = "sequence" } }
columns.customer_id = { type = "bigint", references = "customer.id", values = { kind = "zipf", exponent = 0.9 } }
columns.status = { type = "text", values = { kind = "choice", weights = { open = 1, paid = 9 } } }
columns.total = { type = "double precision", values = { kind = "gaussian", mean = 80, deviation = 30 } }
columns.note = { type = "text", nulls = 0.5, values = { kind = "text", min = 10, max = 40 } }
"#;

fn own_tables(c: &mut Criterion) {
    let shape = scenario::tables::read(&Source::new("orders.toml", ORDERS)).expect("it reads");
    let all = tables::Tables::new(shape);
    let (mut chunk, mut rows) = (Chunk::default(), all.open(1, Part::WHOLE));
    rows.fill(&mut chunk);
    let mut group = c.benchmark_group("tables");
    group.throughput(Throughput::Elements(chunk.rows()));
    group.bench_function("orders", |b| {
        b.iter(|| {
            chunk.clear();
            all.open(black_box(1), Part::WHOLE).fill(&mut chunk)
        });
    });
    group.finish();
}

/// A row of pgbench's accounts: encoding and nothing else.
fn encoding(c: &mut Criterion) {
    let mut chunk = Chunk::default();
    let mut group = c.benchmark_group("encoding");
    group.throughput(Throughput::Elements(ROWS));
    group.bench_function("accounts", |b| {
        b.iter(|| {
            chunk.clear();
            for aid in 0..black_box(ROWS) as i32 {
                chunk.begin(4);
                chunk.int4(aid);
                chunk.int4(1);
                chunk.int4(0);
                chunk.text("");
                chunk.end();
            }
            chunk.rows()
        });
    });
    group.finish();
}

criterion_group!(benches, lines, chunks, own_tables, encoding);
criterion_main!(benches);
