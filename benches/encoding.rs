//! What recording costs: a point as a line of line protocol, a trial's rows as CSV.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pgbench_rs::metric::line::{Encoder, Labels};
use pgbench_rs::metric::sampled::{DATABASE, Kind};
use pgbench_rs::metric::{Field, Point};
use pgbench_rs::record::SummaryRow;
use std::hint::black_box;
use std::time::Duration;

/// A tick of `pg_stat_database`: the widest line there is.
fn point() -> Point {
    let fields = DATABASE.fields.iter().zip(1_000_000..).map(|(field, i)| {
        let value = match field.kind {
            Kind::Counter | Kind::Gauge => Field::Int(i),
            _ => Field::Float(i as f64 / 7.0),
        };
        (field.name, value)
    });
    Point {
        measurement: DATABASE.name,
        node: "s1".into(),
        role: "standby",
        tags: vec![("datname", "pgbench".into())],
        fields: fields.collect(),
        elapsed: Duration::from_secs(1),
    }
}

fn line_protocol(c: &mut Criterion) {
    let labels = Labels {
        run_id: "20261122T102600Z-3f2a".into(),
        scenario: "failover".into(),
        variant: "commit=remote_apply,standbys=2".into(),
        trial: 3,
    };
    let (mut encoder, point, mut lines) = (Encoder::new(&labels), point(), Vec::new());
    encoder.encode(&point, 1_700_000_000_000, &mut lines);
    let mut group = c.benchmark_group("line_protocol");
    group.throughput(Throughput::Bytes(lines.len() as u64));
    group.bench_function("pg_stat_database", |b| {
        b.iter(|| {
            lines.clear();
            encoder.encode(black_box(&point), 1_700_000_000_000, &mut lines)
        });
    });
    group.finish();
}

fn csv_rows(c: &mut Criterion) {
    let row = |i: u32| SummaryRow {
        run_id: "20261122T102600Z-3f2a".into(),
        scenario: "failover".into(),
        variant: "commit=remote_apply,standbys=2".into(),
        trial: 3,
        phase: Some("kill".into()),
        node: None,
        subject: Some("app/tpcb".into()),
        metric: "load.response.p99".into(),
        unit: "s".into(),
        value: f64::from(i) / 7000.0,
    };
    let rows: Vec<SummaryRow> = (0..200).map(row).collect();
    let mut group = c.benchmark_group("csv");
    group.throughput(Throughput::Elements(rows.len() as u64));
    group.bench_function("summary", |b| {
        b.iter(|| {
            let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::with_capacity(1 << 15));
            for row in black_box(&rows) {
                csv.serialize(row).expect("rows are flat");
            }
            csv.into_inner().expect("the writer is memory").len()
        });
    });
    group.finish();
}

criterion_group!(benches, line_protocol, csv_rows);
criterion_main!(benches);
