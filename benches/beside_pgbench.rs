//! Our load beside pgbench on the same server: throughput, and the client's CPU time for one transaction.
//!
//! ```text
//! cargo bench --bench beside_pgbench -- [--pairs 10] [--seconds 10] [--clients 8] [--scale 10] [--case select_only/1]
//! ```
//!
//! Each case runs pairs of adjacent runs in the order A B, B A, A B, …, and says the median of the pairs' ratios
//! (ours / pgbench's) with an interval that holds whatever the distribution: the k-th smallest and k-th largest ratio.
//! pgbench's CPU is that of its process; ours is that of this whole process, from connecting until the load has
//! ended, its collector and latency log included.

#[path = "../tests/it/live/fixture.rs"]
#[allow(dead_code, reason = "the live tests need more of it")]
mod fixture;

use fixture::Primary;
use nix::sys::resource::{UsageWho, getrusage};
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::units::Time;
use pgbench_rs::etl;
use pgbench_rs::metric::Points;
use pgbench_rs::report::statistics::{Interval, median, median_interval};
use pgbench_rs::workload::mix::{Mix, Scale};
use pgbench_rs::workload::profile::{Closed, Profile};
use pgbench_rs::workload::{Load, Running, Setup, Target};
use std::process::Command;
use std::time::Duration;

/// What the command line asks for.
struct Options {
    pairs: usize,
    seconds: u64,
    clients: u32,
    scale: u32,
    case: Option<String>,
}

/// One run: transactions per second, client CPU seconds per transaction.
#[derive(Clone, Copy)]
struct Run {
    tps: f64,
    cpu: f64,
}

fn main() {
    // `cargo bench` says so; `cargo test` starts every bench too, and this one takes minutes.
    if !std::env::args().any(|arg| arg == "--bench") {
        return println!("not measured: `make bench` does");
    }
    let options = options();
    let server = Primary::start(&[
        "shared_buffers=256MB",
        "max_wal_size=4GB",
        "checkpoint_timeout=1h",
        "autovacuum=off",
        // Both sides alike; without it a disk's flush would drown the difference between two clients.
        "fsync=off",
    ]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let limit = Duration::from_secs(10);
    runtime.block_on(async {
        let login = server.login("fill");
        let client = pgbench_rs::pg::connect::connect(&server.host, &login, limit).await.expect("a connection");
        etl::pgbench::fill(&client, options.scale, |_, _| {}).await.expect("pgbench's tables");
    });
    println!(
        "{} pairs of {} s, {} clients, scale {}, prepared, TCP loopback, fsync off; ratio = ours / pgbench's",
        options.pairs, options.seconds, options.clients, options.scale
    );
    for threads in [1, 2] {
        for (name, builtin) in [("select_only", "select-only"), ("tpcb", "tpcb-like")] {
            let case = format!("{name}/{threads}");
            if options.case.as_ref().is_some_and(|only| *only != case) {
                continue;
            }
            let mut pairs = Vec::new();
            for pair in 0..options.pairs {
                let theirs = || pgbench(&server, &options, builtin, threads);
                let ours = || runtime.block_on(our_load(&server, &options, name, threads));
                let reset = || runtime.block_on(reset(&server));
                reset();
                let (ours, theirs) = if pair % 2 == 0 {
                    let theirs = theirs();
                    reset();
                    (ours(), theirs)
                } else {
                    let ours = ours();
                    reset();
                    (ours, theirs())
                };
                pairs.push((ours, theirs));
            }
            report(&case, &pairs);
        }
    }
}

fn options() -> Options {
    let mut options = Options { pairs: 10, seconds: 10, clients: 8, scale: 10, case: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--pairs" => options.pairs = value().parse().expect("--pairs takes a number"),
            "--seconds" => options.seconds = value().parse().expect("--seconds takes a number"),
            "--clients" => options.clients = value().parse().expect("--clients takes a number"),
            "--scale" => options.scale = value().parse().expect("--scale takes a number"),
            "--case" => options.case = Some(value()),
            // What `cargo bench` itself passes on.
            "--bench" => {}
            other => panic!("{other}: known are --pairs, --seconds, --clients, --scale, --case"),
        }
    }
    options
}

/// The same state before every run: no history, no dead rows in the small tables, checkpointed.
async fn reset(server: &Primary) {
    let login = server.login("reset");
    let client =
        pgbench_rs::pg::connect::connect(&server.host, &login, Duration::from_secs(10)).await.expect("a connection");
    for sql in [
        "TRUNCATE pgbench_history",
        "VACUUM pgbench_branches",
        "VACUUM pgbench_tellers",
        "VACUUM pgbench_accounts",
        "CHECKPOINT",
    ] {
        client.batch_execute(sql).await.expect(sql);
    }
}

fn pgbench(server: &Primary, options: &Options, builtin: &str, threads: u32) -> Run {
    let before = cpu(UsageWho::RUSAGE_CHILDREN);
    let output = Command::new(fixture::program_path("pgbench"))
        .args(["-n", "-M", "prepared", "-b", builtin, "-h", &server.host.host, "-U", "postgres"])
        .args(["-p", &server.host.port.to_string(), "-c", &options.clients.to_string(), "-j", &threads.to_string()])
        .args(["-T", &options.seconds.to_string(), "postgres"])
        .output()
        .expect("pgbench is needed: apt-get install postgresql");
    let cpu = cpu(UsageWho::RUSAGE_CHILDREN) - before;
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = |label: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(label));
        let number = line.and_then(|rest| rest.trim_start().split([' ', '/']).next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no `{label}` in pgbench's output: {text}{:?}", output.stderr))
    };
    Run { tps: figure("tps ="), cpu: cpu.as_secs_f64() / figure("number of transactions actually processed:") }
}

async fn our_load(server: &Primary, options: &Options, name: &str, threads: u32) -> Run {
    let scale = Scale { scale: options.scale };
    let load = Load {
        site: None,
        mix: if name == "tpcb" { Mix::Tpcb(scale) } else { Mix::SelectOnly(scale) },
        profile: Profile::Closed(Closed {}),
        clients: options.clients,
        threads,
        to: "a".into(),
        timeout: None::<Time>,
        pool: None,
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (points, _unread) = Points::channel(1);
    let setup = Setup {
        name: "bench".into(),
        target: Target::Nodes(vec![server.host.clone()]),
        login: server.login("bench"),
        clock: Clock::start(),
        points,
        seed: 1,
        log: dir.path().join("bench.hlog"),
    };
    let before = cpu(UsageWho::RUSAGE_SELF);
    let running = Running::start(&load, setup).await.expect("the load starts");
    running.phase("run");
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let outcome = running.stop().await.expect("the load ends");
    let cpu = cpu(UsageWho::RUSAGE_SELF) - before;
    assert_eq!(outcome.account.errors, 0, "{outcome:?}");
    let tps = outcome.values.iter().find(|value| value.metric == "load.tps").expect("load.tps").value;
    Run { tps, cpu: cpu.as_secs_f64() / outcome.account.done as f64 }
}

fn cpu(who: UsageWho) -> Duration {
    let usage = getrusage(who).expect("getrusage");
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000))
        .sum()
}

fn report(case: &str, pairs: &[(Run, Run)]) {
    let of = |what: fn(&Run) -> f64| {
        let ratios: Vec<f64> = pairs.iter().map(|(ours, theirs)| what(ours) / what(theirs)).collect();
        let median = median(&ratios).expect("a pair");
        median_interval(&ratios).map_or_else(
            || format!("{median:.3} (one pair)"),
            |Interval { low, high, coverage }| format!("{median:.3} [{low:.3}, {high:.3}] ({:.1} %)", coverage * 100.0),
        )
    };
    let typical = |what: fn(&(Run, Run)) -> f64| median(&pairs.iter().map(what).collect::<Vec<_>>()).expect("a pair");
    println!(
        "{case:14} tps {}   CPU/tx {}   medians: {:.0}/s beside {:.0}/s, {:.2} µs beside {:.2} µs",
        of(|run| run.tps),
        of(|run| run.cpu),
        typical(|(ours, _)| ours.tps),
        typical(|(_, theirs)| theirs.tps),
        typical(|(ours, _)| ours.cpu * 1e6),
        typical(|(_, theirs)| theirs.cpu * 1e6),
    );
}
