//! What containers use and what happens to them, as a trial sees it: held against the control group's own files.

#![expect(clippy::unwrap_used, reason = "a test's own functions may fail it, as its body may")]

use super::fixture::not_run;
use super::lab::{self, HOW, LIMIT, Lab, Offer};
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::units::Size;
use pgbench_rs::cluster::node::NodeSpec;
use pgbench_rs::disk::{self, throttle};
use pgbench_rs::driver::docker::Limits;
use pgbench_rs::metric::{Event, Field, Point, Points, Value};
use pgbench_rs::sampler::container::Running;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const SECOND: Duration = Duration::from_secs(1);

/// An image that is here, newest first; where there is none, that is said.
async fn any_image(what: &str) -> Option<Offer> {
    for version in [18, 17, 15] {
        if let Some(offer) = lab::image(version).await {
            return Some(offer);
        }
    }
    not_run(what, HOW);
    None
}

/// One primary `a` in a container of this size.
async fn small(offer: &Offer, limits: Limits, settings: &[(&str, &str)]) -> Lab {
    Lab::start(offer, |make| vec![NodeSpec { limits, ..lab::node(make, "a", None, settings) }]).await
}

/// The files of a container's control groups, of either version.
struct Cgroup {
    v1: bool,
    /// By controller; of version 2 there is but one.
    dirs: BTreeMap<String, PathBuf>,
}

impl Cgroup {
    fn of(run: &str) -> Cgroup {
        let docker = |args: &[&str]| {
            let output = Command::new("docker").args(args).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let label = format!("label=pgbench-rs.run={run}");
        let id = docker(&["ps", "-q", "--filter", &label, "--filter", "label=pgbench-rs.node=a"]);
        let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &id]);
        let mut cgroup = Cgroup { v1: false, dirs: BTreeMap::new() };
        for line in fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().lines() {
            let (controllers, path) = line.split_once(':').unwrap().1.split_once(':').unwrap();
            for controller in controllers.split(',') {
                let dir = PathBuf::from(format!("/sys/fs/cgroup/{controller}{path}"));
                cgroup.v1 |= controller == "memory";
                cgroup.dirs.insert(controller.to_owned(), dir);
            }
        }
        if cgroup.v1 {
            counted(pid.parse().unwrap());
        }
        cgroup
    }

    fn text(&self, controller: &str, file: &str) -> String {
        let controller = if self.v1 { controller } else { "" };
        fs::read_to_string(self.dirs[controller].join(file)).unwrap()
    }

    fn number(&self, controller: &str, file: &str) -> u64 {
        self.text(controller, file).trim().parse().unwrap()
    }

    fn of_list(&self, controller: &str, file: &str, name: &str) -> u64 {
        let text = self.text(controller, file);
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).unwrap()
    }

    /// Of all devices.
    fn bytes(&self, what: &str) -> u64 {
        if self.v1 {
            let text = self.text("blkio", "blkio.throttle.io_service_bytes");
            let of_it = |line: &str| line.split_once(' ')?.1.strip_prefix(what)?.trim().parse::<u64>().ok();
            return text.lines().filter_map(of_it).sum();
        }
        let key = format!("{}bytes=", what[..1].to_lowercase());
        self.text("", "io.stat")
            .split_whitespace()
            .filter_map(|word| word.strip_prefix(&key)?.parse::<u64>().ok())
            .sum()
    }

    /// What it says now, by the names of the sampled fields.
    fn read(&self) -> BTreeMap<&'static str, u64> {
        let (cpu, held, inactive) = match self.v1 {
            true => (
                self.number("cpuacct", "cpuacct.usage"),
                self.of_list("cpu", "cpu.stat", "throttled_time"),
                self.of_list("memory", "memory.stat", "total_inactive_file"),
            ),
            false => (
                self.of_list("", "cpu.stat", "usage_usec") * 1000,
                self.of_list("", "cpu.stat", "throttled_usec") * 1000,
                self.of_list("", "memory.stat", "inactive_file"),
            ),
        };
        let usage = self.number("memory", if self.v1 { "memory.usage_in_bytes" } else { "memory.current" });
        BTreeMap::from([
            ("cpu_usage_ns", cpu),
            ("cpu_periods", self.of_list("cpu", "cpu.stat", "nr_periods")),
            ("cpu_throttled_periods", self.of_list("cpu", "cpu.stat", "nr_throttled")),
            ("cpu_throttled_ns", held),
            ("blkio_read_bytes", self.bytes("Read")),
            ("blkio_write_bytes", self.bytes("Write")),
            ("memory_bytes", usage - inactive),
        ])
    }
}

/// Kernels of late count what a group of version 1 writes to a disk only once that is limited: with a limit that no
/// disk reaches.
fn counted(pid: i32) {
    if !nix::unistd::geteuid().is_root() {
        return not_run("block I/O of containers", "run the tests as root");
    }
    let cgroup = disk::cgroup::Cgroup::of(pid).unwrap();
    let all = throttle::Limits { read: Some(100 << 30), write: Some(100 << 30) };
    throttle::set(&cgroup, throttle::Device::of(Path::new("/var/tmp")).unwrap(), all).unwrap();
}

/// How late a reading may come that stands for its instant.
const LATE: Duration = Duration::from_millis(100);

/// Reads the files at every whole second of wall time, as the sampler reads the engine.
async fn watch(
    cgroup: Cgroup,
    clock: Clock,
    mut over: mpsc::Receiver<()>,
) -> BTreeMap<u128, BTreeMap<&'static str, u64>> {
    let mut all = BTreeMap::new();
    loop {
        let now = clock.elapsed();
        let within = u64::try_from(clock.at(now).subsec_nanosecond()).unwrap();
        let due = now + SECOND - Duration::from_nanos(within);
        tokio::select! {
            _ = over.recv() => return all,
            () = tokio::time::sleep_until(clock.instant(due).into()) => {
                let read = cgroup.read();
                // On a busy machine it may come late, and is then a reading of another instant.
                if clock.elapsed() < due + LATE {
                    all.insert(due.as_millis(), read);
                }
            }
        }
    }
}

/// Keeps processor, memory and disk busy, a third of the time: other tests run beside this one.
async fn load(lab: &Lab, time: Duration) {
    let client = lab.connect("a").await;
    let (began, mut rested) = (Instant::now(), Instant::now());
    for round in 0.. {
        if began.elapsed() > time {
            break;
        }
        if rested.elapsed() > SECOND {
            tokio::time::sleep(2 * SECOND).await;
            rested = Instant::now();
        }
        let fill = "INSERT INTO t SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, 3000) n";
        client.batch_execute(fill).await.unwrap();
        client.batch_execute("SELECT sum(length(upper(s))) FROM t WHERE n % 7 = 0").await.unwrap();
        if round % 40 == 39 {
            client.batch_execute("TRUNCATE t").await.unwrap();
        }
    }
}

fn value(point: &Point, name: &str) -> Option<u64> {
    let (_, field) = point.fields.iter().find(|(field, _)| *field == name)?;
    match field {
        Field::Int(value) => u64::try_from(*value).ok(),
        _ => None,
    }
}

/// The time under load in seconds: 300, of which the 1 % is promised, where everything is required; or as
/// `PGBENCH_RS_CGROUP_SECONDS` says.
fn seconds() -> u64 {
    match std::env::var("PGBENCH_RS_CGROUP_SECONDS") {
        Ok(seconds) => seconds.parse().unwrap(),
        Err(_) if std::env::var("REQUIRE_ALL").is_ok_and(|all| all == "1") => 300,
        Err(_) => 15,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampled_figures_are_the_control_groups_own() {
    let Some(offer) = any_image("statistics of containers").await else { return };
    let time = seconds();
    let limits = Limits { memory: Some(Size(512 << 20)), cpus: Some(0.5), shm_size: None };
    let lab = small(&offer, limits, &[("shared_buffers", "64MB"), ("autovacuum", "off")]).await;
    lab.connect("a").await.batch_execute("CREATE TABLE t (n int, s text)").await.unwrap();
    let (clock, (events, mut told)) = (Clock::start(), mpsc::unbounded_channel());
    let (points, mut sampled) = Points::channel(10_000);
    let (end, over) = mpsc::channel(1);
    let own = tokio::spawn(watch(Cgroup::of(&lab.run), clock, over));
    let running = Running::start(&lab.cluster.nodes, Duration::from_millis(100), clock, &points, &events).await;
    running.phase("load");
    // Quiet at both ends, so that a reading a little later is the same.
    tokio::time::sleep(4 * SECOND).await;
    load(&lab, Duration::from_secs(time)).await;
    lab.connect("a").await.batch_execute("CHECKPOINT").await.unwrap();
    tokio::time::sleep(5 * SECOND).await;
    let values = running.stop().await;
    drop(end);
    let own = own.await.unwrap();
    let sampled: Vec<Point> = std::iter::from_fn(|| sampled.try_recv().ok()).flatten().collect();
    assert!(told.try_recv().is_err(), "something happened");
    compare(&sampled, &own, time);
    println!("{values:?}");
    let summary = |metric: &str| values.iter().find(|value: &&Value| value.metric == metric).unwrap().value;
    assert!(summary("container.ticks") >= time as f64);
    assert!(summary("container.throttled") <= 1.0 && summary("container.memory.max") < (512 << 20) as f64);
    lab.end().await;
}

fn compare(sampled: &[Point], own: &BTreeMap<u128, BTreeMap<&'static str, u64>>, time: u64) {
    let both: Vec<(&Point, &BTreeMap<&str, u64>)> =
        sampled.iter().filter_map(|point| Some((point, own.get(&point.elapsed.as_millis())?))).collect();
    // What either side has missed is no difference; but much of it would prove nothing.
    assert!(
        both.len() as u64 >= time / 2,
        "{} points, {} readings, {} at the same instants",
        sampled.len(),
        own.len(),
        both.len()
    );
    println!("{} readings of both at the same whole seconds", both.len());
    let mut wrong = Vec::new();
    for name in own.values().next().unwrap().keys() {
        let ours: Vec<u64> = both.iter().map(|(point, _)| value(point, name).unwrap_or(0)).collect();
        let theirs: Vec<u64> = both.iter().map(|(_, own)| own[name]).collect();
        let figure = |all: &[u64]| match *name {
            "memory_bytes" => all.iter().sum::<u64>() as f64 / all.len() as f64,
            _ => all[all.len() - 1] as f64 - all[0] as f64,
        };
        let (ours, theirs) = (figure(&ours), figure(&theirs));
        let off = (ours - theirs).abs();
        println!("{name}: {ours:.0}, the control group's own {theirs:.0}, {:.3} % off", 100.0 * off / theirs.max(1.0));
        // Memory comes and goes between the two readings; in a short run that is not yet evened out.
        let may = if *name == "memory_bytes" && both.len() < 60 { 0.05 } else { 0.01 };
        // A period or two can begin between them.
        if off > may * theirs && !(name.ends_with("periods") && off <= 2.0) {
            wrong.push(format!("{name}: {ours} and {theirs}"));
        }
        let busy = matches!(*name, "cpu_usage_ns" | "cpu_periods")
            || *name == "blkio_write_bytes" && nix::unistd::geteuid().is_root();
        if busy && theirs == 0.0 {
            wrong.push(format!("{name}: nothing happened"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_is_used_up_is_an_event_and_a_reason() {
    let Some(offer) = any_image("memory of containers that is used up").await else { return };
    let limits = Limits { memory: Some(Size(96 << 20)), ..Limits::default() };
    let lab =
        small(&offer, limits, &[("shared_buffers", "16MB"), ("work_mem", "1GB"), ("restart_after_crash", "off")]).await;
    let (clock, (events, mut told)) = (Clock::start(), mpsc::unbounded_channel());
    let (points, _sampled) = Points::channel(10_000);
    let running = Running::start(&lab.cluster.nodes, SECOND, clock, &points, &events).await;
    let began = clock.elapsed();
    let greedy = "SELECT count(*) FROM (SELECT array_agg(repeat(n::text, 20)) FROM generate_series(1, 5000000) n) x";
    let refused = lab.connect("a").await.batch_execute(greedy).await;
    println!("the client: {}", refused.expect_err("so much memory was given"));
    let node = lab.cluster.node("a").unwrap();
    // The engine tells on another connection than that which shows the end, and on a busy machine later.
    let (limit, mut all) = (Instant::now() + LIMIT, Vec::<Event>::new());
    let heard = |all: &[Event]| {
        ["container.oom", "container.died"].iter().all(|kind| all.iter().any(|event| event.kind == *kind))
    };
    while node.own_end().is_none() || !heard(&all) {
        assert!(Instant::now() < limit, "its end was not noticed: {:?} {all:?}", node.own_end());
        tokio::time::sleep(Duration::from_millis(5)).await;
        all.extend(std::iter::from_fn(|| told.try_recv().ok()));
    }
    running.stop().await;
    let told = all;
    println!("{told:#?}\n{}", node.own_end().unwrap());
    let oom = told.iter().find(|event| event.kind == "container.oom").expect("container.oom");
    assert!(oom.text.starts_with("a used up its 96MB of memory, and the kernel killed a process: "), "{}", oom.text);
    assert!(oom.text.contains("was terminated by signal 9"), "{}", oom.text);
    assert!(oom.elapsed >= began && oom.elapsed <= clock.elapsed() && oom.node.as_deref() == Some("a"));
    let died = told.iter().find(|event| event.kind == "container.died").expect("container.died");
    assert!(died.text.starts_with("the container of a ended with status "), "{}", died.text);
    let reason = node.own_end().unwrap();
    assert!(reason.contains("killed a process of it for memory: it used all that it may, and nobody"), "{reason}");
    assert!(reason.ends_with("hint: `memory` lets it use 96MB"), "{reason}");
    lab.end().await;
}
