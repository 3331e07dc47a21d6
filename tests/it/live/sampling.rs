//! The sampler against real servers: what it reads, and what it does when a server freezes.

use super::fixture::Primary;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::units::Time;
use pgbench_rs::metric::sampled::{Kind, MEASUREMENTS};
use pgbench_rs::metric::{Event, Field, Point, Points, Value};
use pgbench_rs::pg::connect::connect;
use pgbench_rs::sampler::{Ended, Running, Sample, Target};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Longest that a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(30);

pub struct Sampling {
    pub running: Running,
    points: mpsc::Receiver<Vec<Point>>,
    pub events: mpsc::UnboundedReceiver<Event>,
    pub seen: Vec<Point>,
}

impl Sampling {
    pub async fn start(servers: &[(&str, &Primary)]) -> Sampling {
        let hosts = servers.iter().map(|(node, server)| {
            let mut host = server.host.clone();
            host.node = node.to_string();
            host
        });
        let (sender, points) = Points::channel(10_000);
        let (event_sender, events) = mpsc::unbounded_channel();
        let sample = Sample { waits: Time::ms(100), every: Time::ms(200), tables: Time::s(1) };
        let login = servers[0].1.login("test");
        let target = |host| Target { host, login: login.clone(), tables: Vec::new() };
        let running = Running::start(hosts.map(target).collect(), &sample, Clock::start(), sender, event_sender).await;
        Sampling { running, points, events, seen: Vec::new() }
    }

    /// Collects points until `enough` of all seen so far.
    pub async fn until(&mut self, what: &str, enough: impl Fn(&[Point]) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !enough(&self.seen) {
            let batch = tokio::time::timeout_at(limit.into(), self.points.recv()).await;
            self.seen.extend(batch.unwrap_or_else(|_| panic!("no {what} within {LIMIT:?}")).expect("a sampler"));
        }
    }
}

/// Holds a point against the catalogue.
pub fn as_declared(point: &Point) {
    let measurement = MEASUREMENTS.iter().find(|m| m.name == point.measurement).expect("declared");
    assert_eq!(point.tags.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), measurement.tags, "{point:?}");
    for (name, value) in &point.fields {
        let declared = measurement.fields.iter().find(|field| field.name == *name).expect("declared");
        let fits = match value {
            Field::Int(_) => matches!(declared.kind, Kind::Counter | Kind::Gauge),
            Field::Float(_) => matches!(declared.kind, Kind::Total | Kind::Real),
            Field::Bool(_) => declared.kind == Kind::Truth,
            Field::Text(_) => declared.kind == Kind::Text,
        };
        assert!(fits, "{}.{name} is {value:?}", point.measurement);
    }
}

fn ups(points: &[Point], node: &str, up: i64) -> usize {
    let is = |point: &&Point| point.node == node && field(point, "up") == Some(&Field::Int(up));
    points.iter().filter(is).count()
}

fn field<'a>(point: &'a Point, name: &str) -> Option<&'a Field> {
    point.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
}

fn value(values: &[Value], metric: &str, node: &str) -> f64 {
    let found = values.iter().find(|value| value.metric == metric && value.node.as_deref() == Some(node));
    found.unwrap_or_else(|| panic!("no {metric} of {node}")).value
}

/// A session with a server that may still be starting.
pub async fn session(server: &Primary, application_name: &str) -> tokio_postgres::Client {
    let limit = Instant::now() + LIMIT;
    loop {
        match connect(&server.host, &server.login(application_name), LIMIT).await {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < limit, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The postmaster that listens on `server`'s port, and its children.
fn processes(server: &Primary) -> Vec<Pid> {
    let port = server.host.port.to_string();
    let mut stats = Vec::new();
    let mut postmaster = None;
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let (Ok(stat), Ok(command)) =
            (std::fs::read_to_string(entry.path().join("stat")), std::fs::read(entry.path().join("cmdline")))
        else {
            continue;
        };
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let parent: i32 = after_name.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
        stats.push((pid, parent));
        let arguments: Vec<_> = command.split(|byte| *byte == 0).collect();
        if arguments.windows(2).any(|pair| pair[0] == b"-p" && pair[1] == port.as_bytes()) {
            postmaster = Some(pid);
        }
    }
    let postmaster = postmaster.expect("a postmaster");
    let tree = stats.iter().filter(|(pid, parent)| *pid == postmaster || *parent == postmaster);
    tree.map(|(pid, _)| Pid::from_raw(*pid)).collect()
}

/// Freezes a server for as long as it lives.
struct Frozen(Vec<Pid>);

impl Frozen {
    fn new(server: &Primary) -> Frozen {
        let frozen = Frozen(processes(server));
        for pid in &frozen.0 {
            kill(*pid, Signal::SIGSTOP).expect("SIGSTOP");
        }
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill(*pid, Signal::SIGCONT);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_is_what_the_catalogue_declares() {
    let server = Primary::start(&["fsync=off"]);
    let load = session(&server, "pgbr-load-app").await;
    let control = session(&server, "pgbr-control").await;
    control.batch_execute("BEGIN").await.expect("BEGIN");
    load.batch_execute("CREATE TABLE t (x int); BEGIN; INSERT INTO t VALUES (1)").await.expect("an open transaction");
    let mut sampling = Sampling::start(&[("a", &server)]).await;
    let has = |points: &[Point], name: &str| points.iter().any(|point| point.measurement == name);
    let expected = ["pg_stat_database", "pg_stat_wal", "pg_ash", "pg_replication", "pgbr_sampler"];
    sampling.until("complete tick", |points| expected.iter().all(|name| has(points, name))).await;
    let Ended { values, absent, .. } = sampling.running.stop().await;

    sampling.seen.iter().for_each(as_declared);
    assert!(sampling.seen.iter().all(|point| point.role == "primary"));
    let ash: Vec<&Point> = sampling.seen.iter().filter(|point| point.measurement == "pg_ash").collect();
    let state = ("state", "idle in transaction".to_owned());
    let open: Vec<_> = ash.iter().filter(|point| point.tags.contains(&state)).collect();
    assert!(!open.is_empty(), "the load's open transaction is in {ash:?}");
    assert!(open.iter().all(|p| field(p, "sessions") == Some(&Field::Int(1))), "and our control session is not");
    let positions = sampling.seen.iter().find(|point| point.measurement == "pg_replication").expect("positions");
    assert!(matches!(field(positions, "current_lsn_bytes"), Some(Field::Int(bytes)) if *bytes > 0));
    assert_eq!(field(positions, "received_lsn_bytes"), None, "what is NULL is absent");
    for known in ["pg_stat_database.datname", "pg_stat_database.xact_commit", "pg_stat_replication.sent_lsn"] {
        assert!(!absent.contains(known), "{known} exists in every version");
    }
    assert!(value(&values, "sampler.ticks", "a") >= 1.0);
}

/// `pg_receivewal` is to its server what a standby is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_of_wal_is_seen_with_its_positions() {
    let server = Primary::start(&["fsync=off"]);
    let client = session(&server, "test").await;
    let row = client.query_one("SELECT setting FROM pg_config WHERE name = 'BINDIR'", &[]).await.expect("pg_config");
    let program = std::path::Path::new(row.get::<_, &str>(0)).join("pg_receivewal");
    let to = tempfile::tempdir().expect("a temporary directory");
    let mut receiver = std::process::Command::new(program)
        .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &server.host.port.to_string(), "-D"])
        .arg(to.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("pg_receivewal starts");
    let mut sampling = Sampling::start(&[("a", &server)]).await;
    let streams = |point: &Point| {
        point.measurement == "pg_stat_replication"
            && point.tags == [("application_name", "pg_receivewal".to_owned())]
            && field(point, "state") == Some(&Field::Text("streaming".into()))
            && matches!(field(point, "sent_lsn"), Some(Field::Int(bytes)) if *bytes > 0)
            && matches!(field(point, "reply_time"), Some(Field::Float(at)) if *at > 1.7e9)
    };
    sampling.until("streaming receiver", |points| points.iter().any(streams)).await;
    sampling.running.stop().await;
    receiver.kill().expect("it runs");
    receiver.wait().expect("it is our child");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_down_and_holds_nobody_up() {
    let (frozen_server, other) = (Primary::start(&["fsync=off"]), Primary::start(&["fsync=off"]));
    session(&frozen_server, "test").await;
    session(&other, "test").await;
    let mut sampling = Sampling::start(&[("a", &frozen_server), ("b", &other)]).await;
    sampling.until("first ticks", |points| ups(points, "a", 1) > 0 && ups(points, "b", 1) > 0).await;

    let frozen = Frozen::new(&frozen_server);
    let before = ups(&sampling.seen, "b", 1);
    sampling.until("tick with up = 0", |points| ups(points, "a", 0) >= 10).await;
    assert!(ups(&sampling.seen, "b", 1) > before, "the other server is sampled all the while");
    assert_eq!(ups(&sampling.seen, "b", 0), 0);

    drop(frozen);
    let answered = ups(&sampling.seen, "a", 1);
    sampling.until("tick after the thaw", |points| ups(points, "a", 1) > answered).await;

    let _frozen = Frozen::new(&frozen_server);
    let before = ups(&sampling.seen, "a", 0);
    sampling.until("tick with up = 0 again", |points| ups(points, "a", 0) > before).await;
    let stopping = Instant::now();
    let values = sampling.running.stop().await.values;
    assert!(stopping.elapsed() < Duration::from_secs(10), "stopping took {:?}", stopping.elapsed());

    let down = value(&values, "sampler.down", "a") * value(&values, "sampler.ticks", "a");
    assert!(down.round() >= 10.0, "{down} ticks without an answer");
    let kinds: Vec<_> = std::iter::from_fn(|| sampling.events.try_recv().ok()).map(|event| event.kind).collect();
    assert_eq!(kinds, ["sampler.lost", "sampler.back", "sampler.lost"]);
}
