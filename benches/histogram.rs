//! What it costs to count one completed transaction.

use criterion::{Criterion, criterion_group, criterion_main};
use pgbench_rs::base::histogram::Histogram;
use std::hint::black_box;
use std::time::Duration;

fn record(c: &mut Criterion) {
    // Latencies as a load has them: most near each other, a tail.
    let durations: Vec<Duration> =
        (0..1024u64).map(|i| Duration::from_nanos(80_000 + i * 97 % 40_000 + (i % 100 / 99) * 3_000_000)).collect();
    let mut group = c.benchmark_group("histogram");
    group.throughput(criterion::Throughput::Elements(durations.len() as u64));
    let mut histogram = Histogram::default();
    group.bench_function("record", |b| {
        b.iter(|| durations.iter().for_each(|duration| histogram.record(black_box(*duration))));
    });
    group.finish();

    let mut all = Histogram::default();
    c.bench_function("histogram/merge", |b| b.iter(|| all.merge(black_box(&histogram))));
    c.bench_function("histogram/p99", |b| b.iter(|| black_box(&histogram).quantile(0.99)));
}

criterion_group!(benches, record);
criterion_main!(benches);
