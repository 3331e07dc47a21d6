//! The probes against real servers: what is done behind their back must show in their values.

use super::fixture::{self, Primary};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::units::Time;
use pgbench_rs::metric::{Event, Point, Points, Value};
use pgbench_rs::pg::Host;
use pgbench_rs::pg::connect::connect;
use pgbench_rs::probe::{Ledger, Visibility, ledger, streaming, visibility};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

const LIMIT: Duration = Duration::from_secs(5);

/// What a test waits for; the limit is a hundred times what it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `query` answers true.
async fn until(client: &Client, query: &str) {
    let holds = async {
        while !client.query_one(query, &[]).await.expect(query).get::<_, bool>(0) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("waited in vain for: {query}"));
}

/// A connection for the test itself, as soon as the server takes one.
async fn control(server: &Primary) -> Client {
    control_of(&server.host, server).await
}

async fn control_of(host: &Host, primary: &Primary) -> Client {
    let connected = async {
        loop {
            match connect(host, &primary.login("control"), LIMIT).await {
                Ok(client) => return client,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(PATIENCE, connected).await.expect("the test server takes connections")
}

/// A standby of a primary by `pg_basebackup`, gone when dropped.
struct Standby {
    host: Host,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Standby {
    fn of(primary: &Primary, node: &str) -> Standby {
        let dir = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir().expect("a temporary directory");
        let data = dir.path().join("data");
        fixture::open_to_all(dir.path());
        let mut backup = fixture::server_command("pg_basebackup");
        backup.args(["-h", &primary.host.host, "-p", &primary.host.port.to_string(), "-U", "postgres"]);
        fixture::run(backup.args(["-R", "-c", "fast", "-X", "stream", "-D"]).arg(&data));
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port();
        let mut server = fixture::server_command("postgres");
        server.arg("-D").arg(&data).args(["-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        server.args(["-p", &port.to_string(), "-c", "wal_retrieve_retry_interval=100ms"]);
        let child = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres starts");
        Standby { host: Host::new(node, "127.0.0.1", port), child, _dir: dir }
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGQUIT);
        let _ = self.child.wait();
    }
}

/// The server's main process.
async fn postmaster(client: &Client) -> Pid {
    let row = client.query_one("SHOW data_directory", &[]).await.expect("SHOW");
    let file = Path::new(row.get::<_, &str>(0)).join("postmaster.pid");
    let text = std::fs::read_to_string(&file).expect("postmaster.pid");
    Pid::from_raw(text.lines().next().and_then(|line| line.parse().ok()).expect("a pid in its first line"))
}

fn value(values: &[Value], metric: &str, subject: Option<&str>) -> Option<f64> {
    values.iter().find(|v| v.metric == metric && v.subject.as_deref() == subject).map(|v| v.value)
}

fn count(values: &[Value], metric: &str) -> u64 {
    value(values, metric, None).unwrap_or_else(|| panic!("no {metric} in {values:?}")) as u64
}

fn all<T>(mut next: impl FnMut() -> Option<T>) -> Vec<T> {
    std::iter::from_fn(&mut next).collect()
}

/// What a probe is given besides servers.
struct Desk {
    clock: Clock,
    tell: pgbench_rs::metric::Events,
    told: UnboundedReceiver<Event>,
    points: Points,
    sampled: Receiver<Vec<Point>>,
}

fn desk() -> Desk {
    let ((tell, told), (points, sampled)) = (unbounded_channel(), Points::channel(1000));
    Desk { clock: Clock::start(), tell, told, points, sampled }
}

/// Starts a ledger at 200 writes a second on `server`.
async fn ledger(server: &Primary, control: &Client, desk: &Desk) -> ledger::Running {
    ledger::prepare(control).await.expect("the ledger's table");
    let settings = Ledger { writers: 4, rate: 200.0, timeout: Time::s(10), sites: Vec::new() };
    let (hosts, login) = (vec![server.host.clone()], server.login("ledger"));
    let started = ledger::Running::start(
        &settings,
        std::slice::from_ref(&hosts),
        hosts.clone(),
        login,
        desk.clock,
        desk.tell.clone(),
        desk.points.clone(),
    )
    .await;
    started.expect("the ledger starts")
}

async fn more_rows(control: &Client, rows: i64) {
    let now: i64 = control.query_one("SELECT count(*) FROM pgbench_rs_ledger", &[]).await.expect("count").get(0);
    until(control, &format!("SELECT count(*) >= {} FROM pgbench_rs_ledger", now + rows)).await;
}

#[tokio::test]
async fn the_ledger_sees_what_is_done_behind_its_back() {
    let (server, mut desk) = (Primary::start(&["fsync=off"]), desk());
    let control = control(&server).await;
    let ledger = ledger(&server, &control, &desk).await;
    more_rows(&control, 100).await;
    // Of each kind: rows that go, one that comes twice, one that nobody sent.
    let changes = "DELETE FROM pgbench_rs_ledger WHERE writer = 1 AND seq BETWEEN 2 AND 8;
                   INSERT INTO pgbench_rs_ledger SELECT * FROM pgbench_rs_ledger WHERE writer = 0 AND seq = 3;
                   INSERT INTO pgbench_rs_ledger VALUES (99, 1)";
    control.batch_execute(changes).await.unwrap();
    more_rows(&control, 20).await;
    ledger.fault(desk.clock.elapsed());
    more_rows(&control, 200).await;
    let values = ledger.halt().await.verdict().await.0;
    let counts = ["acked_lost", "duplicates", "unexpected", "holes", "unknown", "failed", "weak_ok", "recovered"];
    let counts = counts.map(|name| count(&values, &format!("ledger.{name}")));
    assert_eq!(counts, [7, 1, 1, 7, 0, 0, 0, 0], "{values:?}");
    assert_eq!(count(&values, "ledger.attempted"), count(&values, "ledger.acked"));
    assert!(value(&values, "failover.write_outage", None).unwrap() < 2.0);
    assert!(value(&values, "failover.write_outage", Some("w4")).is_some());
    let mut kinds = all(|| desk.told.try_recv().ok().map(|event| event.kind));
    // On a busy machine a write may be late, which is said, and is no fault of the server.
    kinds.retain(|kind| *kind != "ledger.first_miss");
    assert_eq!(kinds, ["ledger.last_ack", "ledger.first_ack", "ledger.acked_lost"]);
    let points: Vec<Point> = all(|| desk.sampled.try_recv().ok()).concat();
    assert!(points.iter().all(|point| point.measurement == "ledger") && points.len() >= 2, "{points:?}");
}

#[tokio::test]
async fn a_cancelled_synchronous_wait_is_a_weak_acknowledgement() {
    let (server, desk) = (Primary::start(&["fsync=off"]), desk());
    let control = control(&server).await;
    let ledger = ledger(&server, &control, &desk).await;
    more_rows(&control, 20).await;
    let sync = |names: &str| format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'");
    control.batch_execute("SET synchronous_commit = local").await.unwrap();
    control.batch_execute(&sync("ghost")).await.unwrap();
    control.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let waiting = "SELECT count(*) = 4 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until(&control, waiting).await;
    sleep(Duration::from_millis(300)).await;
    // Back to asynchronous only after the cancel, as that too would end the wait.
    let cancel = "SELECT count(*) FILTER (WHERE pg_cancel_backend(pid)) FROM pg_stat_activity
                  WHERE wait_event = 'SyncRep' AND application_name = 'ledger'";
    let cancelled: i64 = control.query_one(cancel, &[]).await.unwrap().get(0);
    assert_eq!(cancelled, 4);
    until(&control, "SELECT count(*) >= 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
    control.batch_execute(&sync("")).await.unwrap();
    control.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    more_rows(&control, 20).await;
    let values = ledger.halt().await.verdict().await.0;
    assert_eq!(count(&values, "ledger.weak_ok"), 4, "{values:?}");
    assert!(count(&values, "ledger.skipped") >= 4, "each writer has an instant every 20 ms");
    assert_eq!((count(&values, "ledger.acked_lost"), count(&values, "ledger.weak_lost")), (0, 0));
    assert_eq!(value(&values, "failover.write_outage", None), None, "no fault was told of");
}

#[tokio::test]
async fn writes_that_never_come_back_give_a_lower_bound_and_no_verdict() {
    let (server, mut desk) = (Primary::start(&["fsync=off"]), desk());
    let control = control(&server).await;
    let ledger = ledger(&server, &control, &desk).await;
    more_rows(&control, 50).await;
    let t0 = desk.clock.elapsed();
    kill(postmaster(&control).await, Signal::SIGQUIT).unwrap();
    ledger.fault(t0);
    sleep(Duration::from_secs(1)).await;
    let values = ledger.halt().await.verdict().await.0;
    let at_least = value(&values, "failover.write_outage_at_least", None).expect("a lower bound");
    assert!((0.9..20.0).contains(&at_least), "{at_least}");
    assert_eq!(value(&values, "failover.write_outage", None), None);
    for writer in ["w1", "w2", "w3", "w4"] {
        assert!(value(&values, "failover.write_outage_at_least", Some(writer)).is_some(), "{values:?}");
    }
    assert_eq!(value(&values, "ledger.acked_lost", None), None, "nobody can say");
    let outcomes = ["acked", "unknown", "failed", "weak_ok"].map(|name| count(&values, &format!("ledger.{name}")));
    assert_eq!(outcomes.iter().sum::<u64>(), count(&values, "ledger.attempted"));
    assert!(outcomes[1] <= 4 && count(&values, "ledger.skipped") > 20, "{values:?}");
    let kinds = all(|| desk.told.try_recv().ok().map(|event| event.kind));
    assert_eq!(kinds, ["ledger.last_ack", "ledger.first_miss", "ledger.no_verdict"]);
}

#[tokio::test]
async fn visibility_shows_how_long_replay_was_paused() {
    let (primary, mut desk) = (Primary::start(&["fsync=off"]), desk());
    let control = control(&primary).await;
    visibility::prepare(&control).await.unwrap();
    let standby = Standby::of(&primary, "s1");
    let replica = control_of(&standby.host, &primary).await;
    let (hosts, login) = (vec![primary.host.clone(), standby.host.clone()], primary.login("visibility"));
    let settings = Visibility { every: Time::ms(50), poll: Time::ms(2) };
    let probe =
        visibility::Running::start(&settings, (vec![hosts], Vec::new()), (login, desk.clock, desk.points.clone()))
            .unwrap();
    until(&replica, "SELECT marker > 5 FROM pgbench_rs_visibility WHERE name = ''").await;
    replica.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    until(&replica, "SELECT pg_get_wal_replay_pause_state() = 'paused'").await;
    sleep(Duration::from_secs(1)).await;
    replica.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    let marker: i64 = control.query_one("SELECT marker FROM pgbench_rs_visibility", &[]).await.unwrap().get(0);
    until(&replica, &format!("SELECT marker > {} FROM pgbench_rs_visibility", marker + 5)).await;
    let values = probe.stop().await;
    let of = |metric| value(&values, metric, Some("a>s1")).unwrap_or_else(|| panic!("no {metric} in {values:?}"));
    let (lower, upper) = (of("lag.visible.lower.max"), of("lag.visible.upper.max"));
    // The first write after the pause came within 50 ms of it.
    assert!(lower > 0.8 && upper >= lower && upper < 20.0, "{lower} {upper}");
    assert!(of("lag.visible.lower.p50") <= of("lag.visible.upper.p50"));
    assert!(of("lag.visible.seen") > 10.0);
    assert_eq!(of("lag.visible.unseen"), 0.0);
    assert!(values.iter().all(|v| v.subject.as_deref() == Some("a>s1")), "the primary is no target: {values:?}");
    let points: Vec<Point> = all(|| desk.sampled.try_recv().ok()).concat();
    assert!(points.iter().any(|point| point.measurement == "lag_visible" && point.node == "s1"));
}

#[tokio::test]
async fn a_failover_by_hand_is_measured_by_every_probe() {
    let (primary, mut desk) = (Primary::start(&["fsync=off"]), desk());
    let control = control(&primary).await;
    visibility::prepare(&control).await.unwrap();
    ledger::prepare(&control).await.unwrap();
    let (s1, s2) = (Standby::of(&primary, "s1"), Standby::of(&primary, "s2"));
    let (on_s1, on_s2) = (control_of(&s1.host, &primary).await, control_of(&s2.host, &primary).await);
    let hosts = || vec![primary.host.clone(), s1.host.clone(), s2.host.clone()];
    let (clock, tell, points) = (desk.clock, desk.tell.clone(), desk.points.clone());
    let settings = Visibility::default();
    let seen = visibility::Running::start(
        &settings,
        (vec![hosts()], Vec::new()),
        (primary.login("visibility"), clock, points.clone()),
    )
    .unwrap();
    let streams = streaming::Running::start(hosts(), primary.login("streaming"), clock, tell.clone());
    let settings = Ledger { writers: 4, rate: 200.0, timeout: Time::s(1), sites: Vec::new() };
    let ledger =
        ledger::Running::start(&settings, &[hosts()], hosts(), primary.login("ledger"), clock, tell, points).await;
    let ledger = ledger.unwrap();
    until(&on_s2, "SELECT count(*) > 100 FROM pgbench_rs_ledger").await;
    until(&on_s2, "SELECT marker > 5 FROM pgbench_rs_visibility WHERE name = ''").await;

    let t0 = clock.elapsed();
    kill(postmaster(&control).await, Signal::SIGQUIT).unwrap();
    ledger.fault(t0);
    streams.fault(t0);
    until(&on_s1, "SELECT pg_promote()").await;
    let upstream = format!("host=127.0.0.1 port={} user=postgres", s1.host.port);
    on_s2.batch_execute(&format!("ALTER SYSTEM SET primary_conninfo = '{upstream}'")).await.unwrap();
    on_s2.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let rows: i64 = on_s1.query_one("SELECT count(*) FROM pgbench_rs_ledger", &[]).await.unwrap().get(0);
    until(&on_s2, &format!("SELECT count(*) > {} FROM pgbench_rs_ledger", rows + 100)).await;

    let (lost, lags, streaming) = (ledger.halt().await.verdict().await.0, seen.stop().await, streams.stop().await);
    let outage = value(&lost, "failover.write_outage", None).expect("writes came back");
    assert!(outage > 0.01 && outage < 20.0, "{outage}");
    assert_eq!(value(&lost, "failover.write_outage_at_least", None), None);
    assert_eq!((count(&lost, "ledger.holes"), count(&lost, "ledger.duplicates")), (0, 0), "{lost:?}");
    assert_eq!(count(&lost, "ledger.unexpected"), 0);
    assert!(value(&lags, "lag.visible.seen", Some("a>s2")).unwrap() > 1.0, "{lags:?}");
    assert!(value(&lags, "lag.visible.seen", Some("s1>s2")).unwrap() > 1.0, "{lags:?}");
    let nodes: Vec<_> = streaming.iter().map(|value| (value.metric, value.node.as_deref())).collect();
    assert_eq!(nodes, [("standby.streaming", Some("s2"))]);
    assert!(streaming[0].value > 0.0 && streaming[0].value < 25.0);
    let events: Vec<Event> = all(|| desk.told.try_recv().ok());
    let event = |kind| events.iter().find(|event| event.kind == kind).unwrap_or_else(|| panic!("no {kind}"));
    assert!(event("ledger.last_ack").elapsed < event("ledger.first_ack").elapsed);
    assert!(event("ledger.first_ack").elapsed > t0);
    let missed = event("ledger.first_miss").elapsed;
    assert!(t0 <= missed && missed < event("ledger.first_ack").elapsed, "{events:?}");
    assert!(event("standby.streaming").text.contains(&s1.host.port.to_string()), "{events:?}");
}
