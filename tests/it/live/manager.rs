//! The manager over real servers: a failover, a switchover and back, a switchover that cannot be.

use super::fixture;
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::hunt::Hunt;
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::Inventory;
use pgbench_rs::clean;
use pgbench_rs::cluster::Cluster;
use pgbench_rs::cluster::node::NodeSpec;
use pgbench_rs::cluster::template::Template;
use pgbench_rs::cluster::ways::WaysSpec;
use pgbench_rs::driver::Part;
use pgbench_rs::driver::{self, Setup, Workplace};
use pgbench_rs::failover::Phase;
use pgbench_rs::manager::{Builtin, Detect, Fence, Outcome, Running, SwitchoverError};
use pgbench_rs::metric::Event;
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::programs::Installed;
use pgbench_rs::pg::standby_names::StandbyNames;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(60);

/// A primary `a` and the standbys `s1` and `s2`, watched by a manager.
struct Lab {
    root: tempfile::TempDir,
    inventory: Arc<Inventory>,
    cluster: Arc<Cluster>,
    clock: Clock,
    events: mpsc::UnboundedReceiver<Event>,
    manager: Running,
}

impl Lab {
    async fn start(synchronous: &str, slot: bool) -> Lab {
        let root = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").expect("a directory");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).expect("chmod");
        let index = Index::at(root.path().join("state"));
        fs::create_dir_all(root.path().join("results")).expect("a directory");
        let inventory =
            Inventory::create(&index, &root.path().join("results/inventory.jsonl"), "run-1").expect("an inventory");
        let setup = Setup {
            run: "run-1".to_owned(),
            installed: Installed::find(&[]).expect("PostgreSQL"),
            user: driver::server_user(None, false).expect("a user for servers"),
            inventory: inventory.clone(),
            work: root.path().join("work"),
            logs: root.path().join("results/nodes"),
            start_limit: LIMIT,
            keep: false,
        };
        let driver = Workplace::open(setup).await.expect("a work directory");
        let fill = |client: tokio_postgres::Client| async move {
            client.batch_execute("CREATE TABLE t (n int)").await?;
            Ok(())
        };
        let template = Template::build(&driver, "t", &fixture::make(None), fill).await.expect("a template");
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let node = |name: &str, follows: Option<&str>| NodeSpec {
            name: name.to_owned(),
            primary: follows.is_none(),
            follows: follows.map(str::to_owned),
            site: None,
            slot,
            priority: 100,
            settings: vec![
                setting("shared_buffers", "16MB"),
                setting("fsync", "off"),
                setting("synchronous_standby_names", synchronous),
            ],
            dir: None,
            make: fixture::make(None),
            limits: Default::default(),
            disk: None,
        };
        let nodes = [node("a", None), node("s1", Some("a")), node("s2", Some("a"))];
        let cluster = Cluster::up(&driver, "trial-1", &[&template], &nodes, &WaysSpec::default())
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let cluster = Arc::new(cluster);
        let (clock, (events, received)) = (Clock::start(), mpsc::unbounded_channel());
        let settings = Builtin { detect: Detect::default(), fence: Fence::Driver, site: None, automatic: true };
        let synchronous = StandbyNames::parse(synchronous).expect("a value");
        let manager = Running::start(settings, cluster.clone(), synchronous, clock, events).await.expect("a manager");
        Lab { root, inventory, cluster, clock, events: received, manager }
    }

    async fn query(&self, node: &str, sql: &str) -> Option<String> {
        let host = &self.cluster.node(node).expect("a node").host;
        let client = connect(host, &self.cluster.login("test"), Duration::from_secs(5)).await.ok()?;
        let messages = client.simple_query(sql).await.ok()?;
        messages.into_iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("").to_owned()),
            tokio_postgres::SimpleQueryMessage::CommandComplete(rows) => Some(rows.to_string()),
            _ => None,
        })
    }

    /// Waits until `sql` gives `answer` on `node`.
    async fn until(&mut self, node: &str, sql: &str, answer: &str) {
        let began = Instant::now();
        let mut last = None;
        while began.elapsed() < LIMIT {
            last = self.query(node, sql).await;
            if last.as_deref() == Some(answer) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{node}: {sql} gave {last:?}, not {answer}\n{}", self.story());
    }

    /// Waits for an event of this kind.
    async fn event(&mut self, kind: &str) -> Event {
        let wait = async {
            while let Some(event) = self.events.recv().await {
                eprintln!("{:?} {} {}", event.elapsed, event.kind, event.text);
                if event.kind == kind {
                    return event;
                }
            }
            panic!("the manager ended before {kind}");
        };
        tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("no event {kind}"))
    }

    fn story(&mut self) -> String {
        std::iter::from_fn(|| self.events.try_recv().ok())
            .map(|event| format!("{} {}\n", event.kind, event.text))
            .collect()
    }

    async fn end(self) -> Outcome {
        let outcome = self.manager.stop().await;
        self.cluster.down().await.expect("down");
        let undone = clean::undo_own(&self.inventory);
        assert!(undone.errors.is_empty(), "{:?}", undone.errors);
        let mut hunt = Hunt::default();
        hunt.directory(fs::canonicalize(self.root.path()).expect("a directory"), "postgres".to_owned());
        assert!(hunt.find().is_empty(), "processes were left");
        outcome
    }
}

const STREAMS_FROM: &str = "SELECT sender_port FROM pg_stat_wal_receiver WHERE status = 'streaming'";

fn names(values: &[pgbench_rs::metric::Value]) -> Vec<&str> {
    values.iter().map(|value| value.metric).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_is_replaced_and_the_others_follow() {
    let mut lab = Lab::start("ANY 1 (a, s1, s2)", true).await;
    lab.until("a", "INSERT INTO t VALUES (1)", "1").await;
    let fault = lab.clock.elapsed();
    lab.cluster.node("a").expect("a").kill().await.expect("killed");
    let promoted = lab.event("failover.promoted").await.node.expect("a node");
    assert!(lab.clock.elapsed() - fault < Duration::from_secs(20), "{:?}", lab.clock.elapsed() - fault);
    lab.event("failover.repointed").await;
    let other = if promoted == "s1" { "s2" } else { "s1" };
    let port = lab.cluster.node(&promoted).expect("the new primary").host.port.to_string();
    lab.until(other, STREAMS_FROM, &port).await;
    lab.until(&promoted, "INSERT INTO t VALUES (2)", "1").await;
    lab.until(other, "SELECT count(*) FROM t", "2").await;
    let outcome = lab.end().await;
    assert_eq!((&outcome.primary, &outcome.phase), (&promoted, &Phase::Stable));
    let values = outcome.values(Some(fault));
    assert_eq!(names(&values), ["failover.detect", "failover.elect", "failover.fence", "failover.promote"]);
    assert!(values.iter().all(|value| value.value > 0.0 && value.value < 20.0), "{values:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_primary_is_fenced() {
    let mut lab = Lab::start("", false).await;
    lab.cluster.node("a").expect("a").freeze(Part::Server).await.expect("frozen");
    let promoted = lab.event("failover.promoted").await.node.expect("a node");
    assert!(!lab.cluster.node("a").expect("a").is_running());
    lab.until(&promoted, "INSERT INTO t VALUES (1)", "1").await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switchover_loses_nothing_and_can_be_turned_back() {
    let mut lab = Lab::start("", true).await;
    let mut rows = 0;
    for to in ["s1", "a"] {
        let from = if to == "a" { "s1" } else { "a" };
        lab.until(from, "INSERT INTO t SELECT generate_series(1, 1000)", "1000").await;
        rows += 1000;
        let done = lab.manager.switchover(Some(to.to_owned()), LIMIT).await;
        assert_eq!(done, Ok(to.to_owned()), "{}", lab.story());
        lab.event("switchover.rejoined").await;
        let port = lab.cluster.node(to).expect("the new primary").host.port.to_string();
        for standby in [from, "s2"] {
            lab.until(standby, STREAMS_FROM, &port).await;
            lab.until(standby, "SELECT count(*) FROM t", &rows.to_string()).await;
        }
        assert_eq!(lab.query(to, "SELECT count(*) FROM t").await, Some(rows.to_string()));
    }
    let outcome = lab.end().await;
    assert_eq!(names(&outcome.values(None)), ["switchover.duration", "switchover.duration"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switchover_to_a_standby_that_hangs_is_rolled_back() {
    let mut lab = Lab::start("", false).await;
    lab.cluster.node("s1").expect("s1").freeze(Part::WalReceiver).await.expect("frozen");
    let done = lab.manager.switchover(Some("s1".to_owned()), Duration::from_secs(2)).await;
    assert!(matches!(&done, Err(SwitchoverError::Failed(reason)) if reason.contains("s1 did not receive")), "{done:?}");
    lab.until("a", "INSERT INTO t VALUES (1)", "1").await;
    lab.cluster.node("s1").expect("s1").thaw(Part::WalReceiver).await.expect("thaw");
    lab.until("s1", "SELECT count(*) FROM t", "1").await;
    let outcome = lab.end().await;
    assert_eq!((outcome.primary.as_str(), outcome.phase), ("a", Phase::Stable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_hangs_is_rolled_back_too() {
    let mut lab = Lab::start("", false).await;
    lab.until("a", "INSERT INTO t VALUES (1)", "1").await;
    // Not the target: it catches up, and then the primary waits for the other one before it exits.
    lab.cluster.node("s2").expect("s2").freeze(Part::WalReceiver).await.expect("frozen");
    let done = lab.manager.switchover(Some("s1".to_owned()), Duration::from_secs(2)).await;
    assert!(matches!(&done, Err(SwitchoverError::Failed(reason)) if reason.contains("primary again")), "{done:?}");
    lab.until("a", "INSERT INTO t VALUES (2)", "1").await;
    lab.cluster.node("s2").expect("s2").thaw(Part::WalReceiver).await.expect("thaw");
    for standby in ["s1", "s2"] {
        lab.until(standby, "SELECT count(*) FROM t", "2").await;
    }
    let outcome = lab.end().await;
    assert_eq!((outcome.primary.as_str(), outcome.phase), ("a", Phase::Stable));
}
