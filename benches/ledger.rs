//! The ledger's own cost: what it does for every acknowledgement, and the verdict at the end.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pgbench_rs::base::ranges::Ranges;
use pgbench_rs::probe::ledger::book::{Book, Outcome};
use pgbench_rs::probe::ledger::verdict::Survivor;
use std::hint::black_box;
use std::time::Duration;

const WRITERS: usize = 4;
const ROWS: u64 = 1_000_000;

/// A book of `ROWS` writes, the last 1 % of them unknown in runs of 10, every thousandth one weak.
fn book() -> Book {
    let mut book = Book::new(WRITERS);
    for i in 0..ROWS {
        let outcome = match i {
            _ if i >= ROWS / 100 * 99 && i / 40 % 2 == 0 => Outcome::Unknown,
            _ if i % 1000 == 0 => Outcome::Weak,
            _ => Outcome::Ok,
        };
        book.settle(i as usize % WRITERS, outcome, 1, Duration::from_millis(10 * i));
    }
    book
}

fn recording(c: &mut Criterion) {
    let mut group = c.benchmark_group("ledger");
    group.throughput(Throughput::Elements(1));
    let (mut ranges, mut seq) = (Ranges::new(), 0);
    group.bench_function("ranges/insert ascending", |b| {
        b.iter(|| {
            seq += 1;
            black_box(ranges.insert(seq))
        });
    });
    let (mut book, mut at) = (Book::new(WRITERS), Duration::ZERO);
    book.fault(Duration::ZERO);
    group.bench_function("book/acknowledge", |b| {
        b.iter(|| {
            at += Duration::from_millis(10);
            book.settle(black_box(1), Outcome::Ok, 1, at);
        });
    });
    group.finish();
}

fn verdict(c: &mut Criterion) {
    let book = book();
    let mut group = c.benchmark_group("ledger");
    group.sample_size(20).throughput(Throughput::Elements(ROWS));
    // As they come from the server: by writer, then by sequence number; one run in fifty is gone.
    let rows = || {
        let seqs = 1..=(ROWS / WRITERS as u64) as i64;
        (0..WRITERS as i32)
            .flat_map(move |writer| seqs.clone().filter(|seq| seq / 20 % 50 != 7).map(move |seq| (writer, seq)))
    };
    group.bench_function("verdict/1e6 rows", |b| {
        b.iter_batched(
            || Survivor::new(&book),
            |mut survivor| {
                rows().for_each(|(writer, seq)| survivor.holds(writer, seq, 1));
                black_box(survivor.verdict())
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, recording, verdict);
criterion_main!(benches);
