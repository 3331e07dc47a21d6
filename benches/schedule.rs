//! What it costs to plan the next arrival of an open loop.

use criterion::{Criterion, criterion_group, criterion_main};
use pgbench_rs::workload::Schedule;
use pgbench_rs::workload::profile::Arrivals;
use pgbench_rs::workload::rate::Rate;

fn take(c: &mut Criterion) {
    for (name, arrivals) in [("constant", Arrivals::Constant), ("poisson", Arrivals::Poisson)] {
        let mut schedule = Schedule::new((Rate::Steady(1e4), arrivals), 0, 2, 1);
        c.bench_function(&format!("schedule/{name}"), |b| b.iter(|| schedule.take()));
    }
}

criterion_group!(benches, take);
criterion_main!(benches);
