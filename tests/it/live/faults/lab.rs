//! A primary `a`, and standbys: `t` beside it, and `s` at another site, which is reached through proxies. Clients
//! reach the primary directly and, those of the other site, through a proxy.

use super::super::docker::image_here;
use super::super::fixture;
use super::{LIMIT, not_run};
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::{Inventory, Thing};
use pgbench_rs::base::units::Size;
use pgbench_rs::clean;
use pgbench_rs::cluster::template::Template;
use pgbench_rs::cluster::ways::WaysSpec;
use pgbench_rs::cluster::{Cluster, Node, node::NodeSpec};
use pgbench_rs::disk::{Format, OwnDisk};
use pgbench_rs::driver::docker::{Dock, Docker, Engine};
use pgbench_rs::driver::{self, Make, Setup, Workplace};
use pgbench_rs::fault::{Fault, Reach, Undo};
use pgbench_rs::metric::Event;
use pgbench_rs::net::{Party, Placed};
use pgbench_rs::pg::Host;
use pgbench_rs::pg::connect::{ConnectError, connect};
use pgbench_rs::pg::programs::Installed;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_postgres::{Client, SimpleQueryMessage};

/// On which driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Process,
    Docker,
}

/// How a client reaches the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    Not,
    Yes,
}

impl Proxied {
    pub const BOTH: [Proxied; 2] = [Proxied::Not, Proxied::Yes];

    pub fn party(self) -> Party {
        Party::Clients((self == Proxied::Yes).then(|| "y".to_owned()))
    }
}

pub struct Lab {
    pub kind: Kind,
    pub reach: Reach,
    pub events: mpsc::UnboundedReceiver<Event>,
    run: String,
    engine: Option<Engine>,
    rows: AtomicI32,
    inventory: Arc<Inventory>,
    _root: tempfile::TempDir,
}

impl Lab {
    /// Absent, and said so, where it cannot be.
    pub async fn start(kind: Kind) -> Option<Lab> {
        let what = format!("live::faults ({kind:?})");
        if !nix::unistd::geteuid().is_root() {
            not_run(&what, "run the tests as root");
            return None;
        }
        let image = match (kind, Engine::connect(None).await) {
            (Kind::Process, _) => None,
            (Kind::Docker, Ok(engine)) => image_here(&engine).await,
            (Kind::Docker, Err(error)) => {
                println!("{error}");
                None
            }
        };
        if kind == Kind::Docker && image.is_none() {
            not_run(&what, "start a Docker engine, and make the images with .ci/images");
            return None;
        }
        let root = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").unwrap();
        let run = format!("faults-{}-{kind:?}", std::process::id()).to_lowercase();
        let inventory = inventory(root.path(), &run);
        let place = Workplace::open(setup(root.path(), &run, &inventory)).await.expect("a work directory");
        let (make, engine) = match image {
            None => (fixture::make(None), None),
            Some(reference) => {
                let dock = Dock::open(&place, &Docker::default()).await.unwrap_or_else(|error| panic!("{error}"));
                let image = Arc::new(dock.image(&reference, |_| {}).await.unwrap_or_else(|error| panic!("{error}")));
                let engine = dock.engine.clone();
                (Make::Docker { dock, image }, Some(engine))
            }
        };
        let fill = |client: Client| async move {
            client.batch_execute("CREATE TABLE t (n int); CREATE TABLE wide (n int, x text)").await?;
            Ok(())
        };
        let template = Template::build(&place, "t", &make, fill).await.unwrap_or_else(|error| panic!("{error}"));
        let nodes = [("a", None, "x", 100), ("t", Some("a"), "x", 100), ("s", Some("a"), "y", 200)];
        let nodes = nodes.map(|node| spec(node, &make));
        let cluster = Cluster::up(&place, "1", &[&template], &nodes, &ways()).await;
        let cluster = Arc::new(cluster.unwrap_or_else(|error| panic!("{error}")));
        let (events, received) = mpsc::unbounded_channel();
        let reach =
            Reach { cluster, manager: None, clock: Clock::start(), events, data: Default::default(), values: None };
        let rows = AtomicI32::new(0);
        Some(Lab { kind, reach, events: received, run, engine, rows, inventory, _root: root })
    }

    pub async fn inject(&self, fault: Value) -> Undo {
        self.try_inject(fault).await.unwrap_or_else(|error| panic!("{:?}: {error}", self.kind))
    }

    pub async fn try_inject(&self, fault: Value) -> Result<Undo, String> {
        let began = Instant::now();
        let told = fault.to_string();
        let fault: Fault = serde_json::from_value(fault).expect("a fault");
        let aim = fault.aim(&self.reach).await.map_err(|error| error.to_string())?;
        let undo = fault.inject(aim, &self.reach).await.map_err(|error| error.to_string())?;
        println!("{:?} {:.1?}: {told} took {:.0?}", self.kind, self.reach.clock.elapsed(), began.elapsed());
        Ok(undo)
    }

    pub async fn undo(&self, undo: Undo) {
        undo.undo(&self.reach).await.unwrap_or_else(|error| panic!("{:?}: {error}", self.kind));
    }

    pub fn node(&self, name: &str) -> &Arc<Node> {
        self.reach.cluster.node(name).expect("a node")
    }

    async fn connect(&self, host: &Host, limit: Duration) -> Result<Client, ConnectError> {
        connect(host, &self.reach.cluster.login("test"), limit).await
    }

    pub async fn observer(&self, node: &str, limit: Duration) -> Result<Client, ConnectError> {
        let host = self.reach.cluster.hosts().into_iter().find(|host| host.node == node).expect("a node");
        self.connect(&host, limit).await
    }

    /// A client of the primary.
    pub async fn client(&self, proxied: Proxied) -> Result<Client, ConnectError> {
        let host = self.reach.cluster.ways().host(&proxied.party(), &self.node("a").host);
        self.connect(&host, Duration::from_secs(1)).await
    }

    pub async fn manager(&self) -> Result<Client, ConnectError> {
        let host = self.reach.cluster.ways().host(&Party::Manager, &self.node("a").host);
        self.connect(&host, Duration::from_secs(1)).await
    }

    /// The first column of the answer, as the observer gets it.
    pub async fn query(&self, node: &str, sql: &str) -> String {
        let client = self.observer(node, LIMIT).await.unwrap_or_else(|error| panic!("{:?}: {error}", self.kind));
        let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{node}: {sql}: {error:?}"));
        let first = messages.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("").to_owned()),
            _ => None,
        });
        first.unwrap_or_default()
    }

    pub async fn until(&self, node: &str, sql: &str, answer: &str) {
        let began = Instant::now();
        loop {
            let last = self.query(node, sql).await;
            if last == answer {
                return;
            }
            assert!(began.elapsed() < LIMIT, "{:?}: {node}: {sql} gives {last}, not {answer}", self.kind);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn next_row(&self) -> i32 {
        self.rows.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts a row into the primary.
    pub async fn insert(&self) -> i32 {
        let row = self.next_row();
        self.query("a", &format!("INSERT INTO t VALUES ({row})")).await;
        row
    }

    pub async fn has(&self, node: &str, row: i32) -> bool {
        self.query(node, &format!("SELECT count(*) FROM t WHERE n = {row}")).await == "1"
    }

    pub async fn arrives_at(&self, node: &str, row: i32, when: &str) {
        let began = Instant::now();
        while !self.has(node, row).await {
            assert!(began.elapsed() < LIMIT, "{:?}: {node} does not get it {when}", self.kind);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("{:?}: {node} got it {:.1?} later, {when}", self.kind, began.elapsed());
    }

    pub async fn arrives(&self, row: i32, when: &str) {
        tokio::join!(self.arrives_at("s", row, when), self.arrives_at("t", row, when));
    }

    /// Where the server itself says that the observer has reached it.
    pub async fn address(&self, node: &str) -> String {
        self.query(node, "SELECT inet_server_addr()").await
    }

    /// Nothing is left of it.
    pub async fn end(self) {
        let entries = self.inventory.contents().entries;
        self.reach.cluster.down().await.expect("down");
        let undone = clean::undo_own(&self.inventory);
        assert!(undone.errors.is_empty(), "{:?}", undone.errors);
        for entry in entries {
            let left = match &entry.thing {
                Thing::Namespace { name } => Path::new("/run/netns").join(name).exists(),
                Thing::Device { name } => Path::new("/sys/class/net").join(name).exists(),
                Thing::Mount { path } => {
                    fs::read_to_string("/proc/self/mounts").unwrap().contains(path.to_str().unwrap())
                }
                Thing::Cgroup { path } | Thing::Directory { path, .. } => path.exists(),
                _ => false,
            };
            assert!(!left, "{} is left", entry.thing);
        }
        if let Some(engine) = &self.engine {
            assert_eq!(engine.labelled(&self.run).await.unwrap(), []);
        }
        println!("{:?}: {:.1?} altogether", self.kind, self.reach.clock.elapsed());
    }
}

/// A test that fails leaves nothing either.
impl Drop for Lab {
    fn drop(&mut self) {
        clean::undo_own(&self.inventory);
    }
}

fn inventory(root: &Path, run: &str) -> Arc<Inventory> {
    fs::set_permissions(root, fs::Permissions::from_mode(0o711)).unwrap();
    fs::create_dir_all(root.join("results")).unwrap();
    Inventory::create(&Index::at(root.join("state")), &root.join("results/inventory.jsonl"), run).unwrap()
}

fn setup(root: &Path, run: &str, inventory: &Arc<Inventory>) -> Setup {
    Setup {
        run: run.to_owned(),
        installed: Installed::find(&[]).expect("PostgreSQL"),
        user: driver::server_user(None, false).expect("a user for servers"),
        inventory: inventory.clone(),
        work: root.join("work"),
        logs: root.join("results/nodes"),
        start_limit: LIMIT,
        keep: false,
    }
}

fn spec((name, follows, site, priority): (&str, Option<&str>, &str, u32), make: &Make) -> NodeSpec {
    let settings = [
        ("shared_buffers", "16MB"),
        ("max_wal_size", "64MB"),
        ("min_wal_size", "32MB"),
        // A standby that was late when the primary went down finds what it needs.
        ("wal_keep_size", "96MB"),
        // Who was cut off notices soon that the other side has given up.
        ("wal_receiver_status_interval", "1s"),
        ("wal_retrieve_retry_interval", "200ms"),
    ];
    NodeSpec {
        name: name.to_owned(),
        primary: follows.is_none(),
        follows: follows.map(str::to_owned),
        site: Some(site.to_owned()),
        slot: false,
        priority,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        dir: None,
        make: make.clone(),
        limits: Default::default(),
        disk: (name == "a").then_some(OwnDisk { size: Size(256 << 20), format: Format::Ext4 }),
    }
}

/// All of site `y` is reached from `x` through proxies, and the other way round.
fn ways() -> WaysSpec {
    let party = |party: Party, site: &str| Placed { party, site: Some(site.to_owned()) };
    let parties = vec![
        Placed { party: Proxied::Not.party(), site: None },
        party(Proxied::Yes.party(), "y"),
        party(Party::Manager, "y"),
    ];
    let node = |name: &str| Party::Node(name.to_owned());
    let mut lanes = vec![];
    for here in ["a", "t"] {
        lanes.push((node("s"), here.to_owned()));
        lanes.push((node(here), "s".to_owned()));
        lanes.push((Proxied::Yes.party(), here.to_owned()));
        lanes.push((Party::Manager, here.to_owned()));
    }
    WaysSpec { vanishing: true, parties, slow: lanes.into_iter().map(|lane| (lane, Default::default())).collect() }
}
