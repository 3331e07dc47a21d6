//! Filling pgbench's tables: our `load pgbench` beside `pgbench -i`, on the same server.
//!
//! ```text
//! cargo bench --bench fill_pgbench -- [--pairs 5] [--scale 50] [--fsync]
//! ```
//!
//! Pairs of adjacent runs in the order A B, B A, A B, …; the median of the pairs' ratios (ours / pgbench's) with an interval
//! that holds whatever the distribution. Each run begins with `CHECKPOINT` and drops what the one before made, and both
//! end with the same tables, keys and statistics, which a test holds (`the_tables_are_pgbenchs`).

#[path = "../tests/it/live/fixture.rs"]
#[allow(dead_code, reason = "the live tests need more of it")]
mod fixture;

use fixture::Primary;
use nix::sys::resource::{UsageWho, getrusage};
use pgbench_rs::etl;
use pgbench_rs::pg::connect::connect;
use pgbench_rs::report::statistics::{Interval, median, median_interval};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const LIMIT: Duration = Duration::from_secs(10);

/// One run: seconds, and seconds of the client's CPU.
#[derive(Clone, Copy)]
struct Run {
    time: f64,
    cpu: f64,
}

fn main() {
    if !std::env::args().any(|arg| arg == "--bench") {
        return println!("not measured: `make bench-load` does");
    }
    let (mut pairs, mut scale, mut fsync) = (5, 50, "fsync=off");
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value =
            || words.next().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{word} needs a number"));
        match word.as_str() {
            "--pairs" => pairs = value(),
            "--scale" => scale = value(),
            "--fsync" => fsync = "fsync=on",
            "--bench" => {}
            other => panic!("{other}: known are --pairs, --scale, --fsync"),
        }
    }
    let server =
        Primary::start(&["shared_buffers=256MB", "max_wal_size=8GB", "checkpoint_timeout=1h", "autovacuum=off", fsync]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = runtime.block_on(connect(&server.host, &server.login("bench"), LIMIT)).expect("a connection");
    println!("{pairs} pairs, scale {scale}, TCP loopback, {fsync}; ratio = ours / pgbench's");
    let mut all = Vec::new();
    for pair in 0..pairs {
        let ours = || {
            runtime.block_on(measured(UsageWho::RUSAGE_SELF, &client, async {
                etl::pgbench::fill(&client, scale, |_, _| {}).await.expect("filled");
            }))
        };
        let theirs =
            || runtime.block_on(measured(UsageWho::RUSAGE_CHILDREN, &client, async { pgbench(&server, scale) }));
        let (ours, theirs) = if pair % 2 == 0 {
            let theirs = theirs();
            (ours(), theirs)
        } else {
            let ours = ours();
            (ours, theirs())
        };
        println!("  {:.2} s beside {:.2} s; CPU {:.2} s beside {:.2} s", ours.time, theirs.time, ours.cpu, theirs.cpu);
        all.push((ours, theirs));
    }
    for (name, of) in [("time", (|run| run.time) as fn(&Run) -> f64), ("client CPU", |run| run.cpu)] {
        let ratios: Vec<f64> = all.iter().map(|(ours, theirs)| of(ours) / of(theirs)).collect();
        let middle = median(&ratios).expect("a pair");
        let interval = median_interval(&ratios).map_or_else(String::new, |Interval { low, high, coverage }| {
            format!(" [{low:.3}, {high:.3}] ({:.1} %)", coverage * 100.0)
        });
        println!("{name:10} {middle:.3}{interval}");
    }
}

/// Runs it from a checkpoint on, without the tables of the run before.
async fn measured(who: UsageWho, client: &Client, work: impl Future<Output = ()>) -> Run {
    let drop = "DROP TABLE IF EXISTS pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers";
    for sql in [drop, "CHECKPOINT"] {
        client.batch_execute(sql).await.expect(sql);
    }
    let (began, before) = (Instant::now(), cpu(who));
    work.await;
    Run { time: began.elapsed().as_secs_f64(), cpu: cpu(who) - before }
}

fn pgbench(server: &Primary, scale: u32) {
    let mut command = Command::new(fixture::program_path("pgbench"));
    command.args(["-i", "-q", "-s", &scale.to_string(), "-h", &server.host.host, "-U", "postgres"]);
    fixture::run(command.args(["-p", &server.host.port.to_string(), "postgres"]));
}

fn cpu(who: UsageWho) -> f64 {
    let usage = getrusage(who).expect("getrusage");
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
