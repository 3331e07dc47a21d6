//! The probes against real servers: what is done behind their back must show in their values.

use super::fixture::Primary;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::units::Time;
use pgbench_rs::metric::{Event, Point, Points, Value};
use pgbench_rs::pg::connect::connect;
use pgbench_rs::probe::{Ledger, ledger};
use std::path::Path;
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
    let connected = async {
        loop {
            match connect(&server.host, &server.login("control"), LIMIT).await {
                Ok(client) => return client,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(PATIENCE, connected).await.expect("the test server takes connections")
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
    let settings = Ledger { writers: 4, rate: 200.0, timeout: Time::s(2) };
    let (hosts, login) = (vec![server.host.clone()], server.login("ledger"));
    let started =
        ledger::Running::start(&settings, hosts, login, desk.clock, desk.tell.clone(), desk.points.clone()).await;
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
    let values = ledger.stop().await;
    let counts = ["acked_lost", "duplicates", "unexpected", "holes", "unknown", "failed", "weak_ok", "recovered"];
    let counts = counts.map(|name| count(&values, &format!("ledger.{name}")));
    assert_eq!(counts, [7, 1, 1, 7, 0, 0, 0, 0], "{values:?}");
    assert_eq!(count(&values, "ledger.attempted"), count(&values, "ledger.acked"));
    assert!(value(&values, "failover.write_outage", None).unwrap() < 2.0);
    assert!(value(&values, "failover.write_outage", Some("w4")).is_some());
    let kinds = all(|| desk.told.try_recv().ok().map(|event| event.kind));
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
    // Back to asynchronous only after the cancel, as that too would end the wait.
    let cancel = "SELECT count(*) FILTER (WHERE pg_cancel_backend(pid)) FROM pg_stat_activity
                  WHERE wait_event = 'SyncRep' AND application_name = 'ledger'";
    let cancelled: i64 = control.query_one(cancel, &[]).await.unwrap().get(0);
    assert_eq!(cancelled, 4);
    until(&control, "SELECT count(*) >= 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
    control.batch_execute(&sync("")).await.unwrap();
    control.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    more_rows(&control, 20).await;
    let values = ledger.stop().await;
    assert_eq!(count(&values, "ledger.weak_ok"), 4, "{values:?}");
    assert!(count(&values, "ledger.skipped") > 0, "instants passed while the writers waited");
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
    let values = ledger.stop().await;
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
    assert_eq!(kinds, ["ledger.last_ack", "ledger.no_verdict"]);
}
