//! What the machine and the processes of a server use.

use super::fixture::make;
use super::lab::{self, Lab, Offer};
use super::sampling::as_declared;
use pgbench_rs::base::clock::Clock;
use pgbench_rs::driver::Make;
use pgbench_rs::metric::{Field, Point, Points};
use pgbench_rs::sampler::host::Running;
use std::time::Duration;

fn ints(points: &[Point], measurement: &str, field: &str) -> Vec<i64> {
    let of = points.iter().filter(|point| point.measurement == measurement);
    let values = of.filter_map(|point| point.fields.iter().find(|(name, _)| *name == field));
    values.filter_map(|(_, value)| if let Field::Int(n) = value { Some(*n) } else { None }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_backends_used_that_have_ended_is_not_forgotten() {
    let Make::Process(programs) = make(None) else { panic!("processes") };
    let lab = Lab::start(&Offer::Programs(programs), |make| {
        vec![lab::node(make, "a", None, &[("shared_buffers", "16MB"), ("fsync", "off")])]
    })
    .await;
    let (sender, mut points) = Points::channel(1000);
    let running = Running::start(&lab.cluster.nodes, Duration::from_secs(1), Clock::start(), &sender);
    for _ in 0..12 {
        let client = lab.connect("a").await;
        let sql = "CREATE TEMPORARY TABLE t AS SELECT repeat('x', 100) FROM generate_series(1, 300000)";
        client.batch_execute(sql).await.expect("work");
        drop(client);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(running);
    let mut seen = Vec::new();
    while let Ok(batch) = points.try_recv() {
        seen.extend(batch);
    }
    seen.iter().for_each(as_declared);
    for field in ["cpu_user_ns", "write_calls", "write_bytes"] {
        let values = ints(&seen, "server_processes", field);
        assert!(values.len() >= 2, "{field}: {values:?}");
        assert!(values.is_sorted(), "{field} fell: {values:?}");
    }
    let cpu = ints(&seen, "server_processes", "cpu_user_ns");
    assert!(cpu.last() > cpu.first(), "{cpu:?}");
    assert!(ints(&seen, "server_processes", "memory_private_bytes").iter().all(|bytes| *bytes > 1 << 20));
    assert!(ints(&seen, "host", "cpu_idle_ns").len() >= 2 && ints(&seen, "host", "memory_total_bytes")[0] > 0);
    assert!(ints(&seen, "file_system", "available_bytes")[0] > 0);
    lab.end().await;
}
