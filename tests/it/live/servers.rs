//! Clusters of real servers: up and down, ports, failed starts, freezing, and the death of the harness.

#![expect(clippy::unwrap_used, reason = "a test's own functions may fail it, as its body may")]

use super::fixture;
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::hunt::Hunt;
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::Inventory;
use pgbench_rs::base::proc;
use pgbench_rs::base::shm::{self, Segment};
use pgbench_rs::clean;
use pgbench_rs::clean::watchdog::Watchdog;
use pgbench_rs::cluster::Cluster;
use pgbench_rs::cluster::node::{Node, NodeSpec};
use pgbench_rs::cluster::template::Template;
use pgbench_rs::cluster::ways::WaysSpec;
use pgbench_rs::driver::{self, Setup, Workplace};
use pgbench_rs::driver::{Part, Shutdown};
use pgbench_rs::fault::{Aim, Fault, Kill, PauseReplay, Reach};
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::programs::Installed;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// A run of its own, with its own index.
struct Lab {
    index: Index,
    driver: Arc<Workplace>,
    inventory: Arc<Inventory>,
    template: Template,
}

impl Lab {
    async fn open(root: &Path, keep: bool, start_limit: Duration) -> Lab {
        let (index, driver, inventory) = Lab::driver(root, keep, start_limit).await;
        let fill = |client: tokio_postgres::Client| async move {
            client.batch_execute("CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)").await?;
            Ok(())
        };
        let template = Template::build(&driver, "t", &fixture::make(None), fill).await.expect("a template");
        Lab { index, driver, inventory, template }
    }

    async fn driver(root: &Path, keep: bool, start_limit: Duration) -> (Index, Arc<Workplace>, Arc<Inventory>) {
        let index = Index::at(root.join("state"));
        fs::create_dir_all(root.join("results")).unwrap();
        let inventory = Inventory::create(&index, &root.join("results/inventory.jsonl"), "run-1").unwrap();
        let setup = Setup {
            run: "run-1".to_owned(),
            installed: Installed::find(&[]).expect("PostgreSQL"),
            user: driver::server_user(None, false).expect("a user for servers"),
            inventory: inventory.clone(),
            work: root.join("work"),
            logs: root.join("results/nodes"),
            start_limit,
            keep,
        };
        (index, Workplace::open(setup).await.expect("a work directory"), inventory)
    }

    async fn up(&self, nodes: &[NodeSpec]) -> Cluster {
        Cluster::up(&self.driver, "trial-1", &[&self.template], nodes, &WaysSpec::default())
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Undoes the run and holds that nothing at all is left of it.
    fn end(self) {
        let undone = clean::undo_own(&self.inventory);
        assert!(undone.errors.is_empty(), "{:?}", undone.errors);
        assert_eq!(undone.killed, 0, "processes were left");
        assert!(!self.driver.dir().exists());
        assert!(clean::runs(&self.index).unwrap().is_empty());
    }
}

/// A directory that servers can reach, gone when dropped, with what a failed test left running in it.
struct Root(tempfile::TempDir);

impl Root {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let mut hunt = Hunt::default();
        hunt.directory(fs::canonicalize(self.path()).unwrap(), "postgres".to_owned());
        hunt.end(Duration::ZERO, Duration::from_secs(5));
    }
}

fn root() -> Root {
    let root = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").expect("a directory");
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).unwrap();
    Root(root)
}

fn spec(name: &str, follows: Option<&str>) -> NodeSpec {
    NodeSpec {
        name: name.to_owned(),
        primary: follows.is_none(),
        follows: follows.map(str::to_owned),
        site: None,
        slot: false,
        priority: 100,
        settings: vec![("shared_buffers".to_owned(), "16MB".to_owned()), ("fsync".to_owned(), "off".to_owned())],
        dir: None,
        make: fixture::make(None),
        limits: Default::default(),
        disk: None,
    }
}

fn with(mut spec: NodeSpec, name: &str, value: &str) -> NodeSpec {
    spec.settings.push((name.to_owned(), value.to_owned()));
    spec
}

fn servers_in(dir: &Path) -> Vec<proc::Stat> {
    let dir = fs::canonicalize(dir).unwrap();
    proc::standing_in(&proc::alive(), &[(dir, "postgres".to_owned())])
}

/// The servers' first processes; unlike backends they do not come and go.
fn postmasters_in(dir: &Path) -> Vec<i32> {
    let servers = servers_in(dir);
    let is_child = |stat: &proc::Stat| servers.iter().any(|other| other.identity.pid == stat.parent);
    let mut pids: Vec<i32> = servers.iter().filter(|stat| !is_child(stat)).map(|stat| stat.identity.pid).collect();
    pids.sort();
    pids
}

/// Of the shared memory that servers have, what is there still.
fn still_there(segments: &[Segment]) -> Vec<&Segment> {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let exists = |segment: &&Segment| match segment {
        Segment::Posix(path) => path.exists(),
        Segment::SysV(id) => table.lines().any(|line| line.split_ascii_whitespace().nth(1) == Some(&id.to_string())),
    };
    segments.iter().filter(exists).collect()
}

fn shared_memory_in(dir: &Path) -> Vec<Segment> {
    postmasters_in(dir).into_iter().flat_map(shm::mapped).collect()
}

async fn client(cluster: &Cluster, node: &Node) -> tokio_postgres::Client {
    connect(&node.host, &cluster.login("test"), LIMIT).await.expect("a connection")
}

async fn count(client: &tokio_postgres::Client) -> i64 {
    client.query_one("SELECT count(*) FROM t", &[]).await.expect("a row").get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cascade_goes_up_and_leaves_nothing() {
    let root = root();
    let lab = Lab::open(root.path(), false, LIMIT).await;
    let slotted = NodeSpec { slot: true, ..spec("s-2", Some("s1")) };
    let elsewhere = root.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let elsewhere = NodeSpec { dir: Some(elsewhere), ..spec("s1", Some("a")) };
    let nodes = [slotted, elsewhere, with(spec("a", None), "work_mem", "8192kB")];
    let cluster = lab.up(&nodes).await;
    assert_eq!(cluster.unconfirmed, []);
    let names: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["a", "s1", "s-2"]);

    let primary = client(&cluster, &cluster.nodes[0]).await;
    primary.execute("INSERT INTO t VALUES (0)", &[]).await.unwrap();
    let last = client(&cluster, &cluster.nodes[2]).await;
    let began = Instant::now();
    while count(&last).await != 1001 {
        assert!(began.elapsed() < LIMIT, "the row did not arrive");
    }
    let middle = client(&cluster, &cluster.nodes[1]).await;
    let slot = middle.query_one("SELECT slot_name::text, active FROM pg_replication_slots", &[]).await.unwrap();
    assert_eq!((slot.get(0), slot.get(1)), ("s_2", true));
    assert!(servers_in(root.path()).len() > 10);

    let dirs: Vec<PathBuf> = cluster.nodes.iter().map(|node| node.dir.clone()).collect();
    cluster.down().await.unwrap();
    cluster.down().await.expect("a second time does nothing");
    assert!(dirs.iter().all(|dir| !dir.exists()));
    assert_eq!(servers_in(root.path()), []);
    for name in names {
        let log = root.path().join(format!("results/nodes/trial-1/{name}/postgresql.log"));
        assert!(fs::read_to_string(log).unwrap().contains("ready to accept"));
    }
    let everything = Command::new("grep").args(["-rl", cluster.login("").password.expose()]).arg(root.path()).output();
    let holders = String::from_utf8(everything.unwrap().stdout).unwrap();
    assert_eq!(holders.trim(), lab.driver.passfile().to_str().unwrap(), "the password is elsewhere too");
    lab.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_keeps_its_port_through_kills_and_stops() {
    let root = root();
    let lab = Lab::open(root.path(), false, LIMIT).await;
    let cluster = lab.up(&[spec("a", None)]).await;
    let node = &cluster.nodes[0];
    for round in 0..3 {
        let clients = [client(&cluster, node).await, client(&cluster, node).await];
        let segments = shared_memory_in(root.path());
        assert_eq!((segments.len(), still_there(&segments).len()), (2, 2), "{segments:?}");
        let killed = node.kill().await.unwrap();
        assert_eq!(still_there(&segments), Vec::<&Segment>::new());
        assert!(!node.is_running() && killed.processes > 4, "{killed:?}");
        assert_eq!(servers_in(root.path()), []);
        // While it is down others look for ports, in both directions.
        let others: Vec<TcpListener> = (0..200).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        assert!(others.iter().all(|other| other.local_addr().unwrap().port() != node.host.port));
        node.start().await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        drop(clients);
        // The server closes these first: its port is left with connections in TIME_WAIT.
        let _clients = [client(&cluster, node).await, client(&cluster, node).await];
        let stopped = node.stop(Shutdown::Fast, LIMIT).await.unwrap();
        assert!(!stopped.killed, "{stopped}");
        assert!(node.shutdown_checkpoint().await.unwrap().0 > 0);
        node.start().await.unwrap_or_else(|error| panic!("round {round}, after a stop: {error}"));
    }
    let proof = node.fence().await.unwrap();
    assert!(proof.to_string().starts_with("no process of `a` is left: "), "{proof}");
    assert!(node.shutdown_checkpoint().await.unwrap_err().to_string().contains("not shut down in order"));
    assert_eq!(node.fence().await.unwrap().killed, 0);
    cluster.down().await.unwrap();
    lab.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_at_start_shows_its_log() {
    let root = root();
    let lab = Lab::open(root.path(), false, LIMIT).await;
    let broken = [with(spec("a", None), "shared_buffers", "plenty")];
    let error = Cluster::up(&lab.driver, "trial-1", &[&lab.template], &broken, &WaysSpec::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("node `a` did not start within "), "{error}");
    assert!(error.contains("the server exited with status 1\nlog: "), "{error}");
    assert!(error.contains("invalid value for parameter \"shared_buffers\": \"plenty\""), "{error}");
    lab.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_answers_is_given_up() {
    let root = root();
    let lab = Lab::open(root.path(), false, Duration::from_secs(5)).await;
    let nodes = [spec("a", None), with(spec("s", Some("a")), "pre_auth_delay", "30s")];
    let error = Cluster::up(&lab.driver, "trial-1", &[&lab.template], &nodes, &WaysSpec::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("node `s` did not start within 5"), "{error}");
    assert!(error.contains("last answer: ") && error.contains("\nlog: "), "{error}");
    assert_eq!(servers_in(root.path()), []);
    lab.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_somebody_took_is_named() {
    let root = root();
    let lab = Lab::open(root.path(), false, LIMIT).await;
    let cluster = lab.up(&[spec("a", None)]).await;
    let node = &cluster.nodes[0];
    node.kill().await.unwrap();
    let bystander = TcpListener::bind(("127.0.0.1", node.host.port)).expect("SO_REUSEADDR lets it");
    let error = node.start().await.unwrap_err().to_string();
    assert!(error.contains("Address already in use"), "{error}");
    assert!(error.contains(&format!("\nhint: another process listens on 127.0.0.1:{}", node.host.port)), "{error}");
    drop(bystander);
    node.start().await.unwrap_or_else(|error| panic!("{error}"));
    cluster.down().await.unwrap();
    lab.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn freezing_stops_what_it_names_and_a_frozen_server_stops() {
    let root = root();
    let lab = Lab::open(root.path(), false, LIMIT).await;
    let cluster = lab.up(&[spec("a", None), spec("s", Some("a"))]).await;
    let (a, s) = (&cluster.nodes[0], &cluster.nodes[1]);
    assert!(a.freeze(Part::WalReceiver).await.unwrap_err().to_string().contains("`a` has no WAL receiver"));
    let (on_a, on_s) = (client(&cluster, a).await, client(&cluster, s).await);
    let mut rows = 1000;
    for (node, part) in [(a, Part::WalSenders), (s, Part::WalReceiver)] {
        assert_eq!(node.freeze(part).await.unwrap(), 1);
        on_a.execute("INSERT INTO t VALUES (0)", &[]).await.unwrap();
        // Streaming takes a millisecond; three hundred times that is no noise.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(count(&on_s).await, rows, "{part:?} was frozen and the row arrived");
        assert_eq!(node.thaw(part).await.expect("thaw"), 1);
        rows += 1;
        let began = Instant::now();
        while count(&on_s).await != rows {
            assert!(began.elapsed() < LIMIT, "the row did not arrive after the thaw of {part:?}");
        }
    }
    assert!(a.freeze(Part::Server).await.unwrap() > 4);
    assert!(a.is_running());
    let silent = tokio::time::timeout(Duration::from_millis(300), count(&on_a)).await;
    assert!(silent.is_err(), "a frozen server answered");
    let stopped = a.stop(Shutdown::Fast, LIMIT).await.unwrap();
    assert!(stopped.thawed && !stopped.killed && !a.is_running(), "{stopped}");
    s.freeze(Part::Server).await.unwrap();
    s.kill().await.unwrap();
    s.follow_on_start(&cluster.way(s, a)).await.unwrap();
    a.start().await.unwrap_or_else(|error| panic!("{error}"));
    s.start().await.unwrap_or_else(|error| panic!("{error}"));
    a.freeze(Part::WalSenders).await.ok();
    s.freeze(Part::Server).await.unwrap();
    cluster.down().await.expect("frozen servers go down too");
    lab.end();
}

/// Not a test: the harness that the tests below start and kill.
#[test]
#[ignore = "started by other tests"]
fn harness() {
    let Ok(mode) = std::env::var("PGBENCH_RS_TEST_HARNESS") else { return };
    let root = PathBuf::from(std::env::var_os("PGBENCH_RS_TEST_ROOT").unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        // Of an `unmarked` one only the watchdog can end the servers: they get no signal.
        let keep = matches!(mode.as_str(), "kept" | "unmarked");
        let (index, driver, inventory) = Lab::driver(&root, keep, LIMIT).await;
        let watchdog = Watchdog::start(Path::new(env!("CARGO_BIN_EXE_pgbench-rs")), inventory.path()).unwrap();
        println!("begun");
        let template = Template::build(&driver, "t", &fixture::make(None), |_| async { Ok(()) }).await.unwrap();
        let lab = Lab { index, driver, inventory, template };
        let cluster = lab.up(&[spec("a", None), spec("s", Some("a"))]).await;
        match mode.as_str() {
            "frozen" => {
                for node in &cluster.nodes {
                    node.freeze(Part::Server).await.unwrap();
                }
            }
            "walsenders" => drop(cluster.nodes[0].freeze(Part::WalSenders).await.unwrap()),
            "kept" => drop(cluster.keep().unwrap()),
            _ => {}
        }
        println!("data {}", cluster.nodes[0].dir.display());
        println!("ready");
        tokio::time::sleep(Duration::from_secs(600)).await;
        watchdog.farewell().unwrap();
    });
}

/// A process that a failed test does not leave running.
struct Started(Child);

impl Started {
    fn kill_hard(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the harness above in a process of its own and waits until it prints `line`; returns what it
/// printed until then.
fn start_harness(root: &Path, mode: &str, line: &str) -> (Started, Vec<String>) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "live::servers::harness", "--ignored", "--nocapture"])
        .env("PGBENCH_RS_TEST_HARNESS", mode)
        .env("PGBENCH_RS_TEST_ROOT", root)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Started(child.unwrap());
    let mut lines = Vec::new();
    for printed in BufReader::new(child.0.stdout.take().unwrap()).lines() {
        lines.push(printed.unwrap());
        if lines.last().is_some_and(|last| last.ends_with(line)) {
            return (child, lines);
        }
    }
    panic!("the harness ended early: {lines:?}");
}

/// Holds that within 5 s no server is left below `root`, and that `clean` finds and removes the rest.
fn nothing_left(root: &Path, what: &str) {
    let died = Instant::now();
    while !servers_in(root).is_empty() {
        assert!(died.elapsed() < Duration::from_secs(5), "{what}: servers are left: {:?}", servers_in(root));
        std::thread::sleep(Duration::from_millis(10));
    }
    // One that had only just been forked must not come to life afterwards either.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(servers_in(root), [], "{what}");
    let runs = clean::runs(&Index::at(root.join("state"))).unwrap();
    assert_eq!(runs.len(), 1, "{what}");
    assert!(!runs[0].alive);
    let remains = runs[0].remains.as_ref().unwrap();
    assert!(remains.processes.is_empty() && !remains.directories.is_empty(), "{what}: {remains:?}");
    let undone = runs[0].remove(false).unwrap();
    assert!(undone.errors.is_empty(), "{what}: {:?}", undone.errors);
    assert_eq!(fs::read_dir(root.join("work")).unwrap().count(), 0, "{what}");
    assert!(clean::runs(&Index::at(root.join("state"))).unwrap().is_empty(), "{what}");
}

#[test]
fn no_server_outlives_a_killed_harness() {
    for mode in ["running", "unmarked", "frozen", "walsenders"] {
        let root = root();
        let (mut harness, lines) = start_harness(root.path(), mode, "ready");
        let data = lines.iter().find_map(|line| line.strip_prefix("data ")).unwrap();
        let mut bystander = Started(Command::new("sleep").arg("600").current_dir(data).spawn().unwrap());
        assert!(servers_in(root.path()).len() > 8);
        let segments = shared_memory_in(root.path());
        assert_eq!(segments.len(), 4, "{segments:?}");
        harness.kill_hard();
        let died = Instant::now();
        while !servers_in(root.path()).is_empty() {
            assert!(died.elapsed() < Duration::from_secs(5), "{mode}: {:?}", servers_in(root.path()));
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(still_there(&segments), Vec::<&Segment>::new(), "{mode}");
        assert!(bystander.0.try_wait().unwrap().is_none(), "{mode}: who merely stood there was killed");
        bystander.kill_hard();
        nothing_left(root.path(), mode);
    }
}

#[test]
fn no_server_outlives_a_harness_killed_while_it_builds() {
    for delay in [0, 30, 100, 300, 700, 1100, 1500, 2000] {
        let root = root();
        let (mut harness, _) = start_harness(root.path(), "building", "begun");
        std::thread::sleep(Duration::from_millis(delay));
        harness.kill_hard();
        nothing_left(root.path(), &format!("killed after {delay} ms"));
    }
}

#[test]
fn kept_servers_outlive_the_harness_until_they_are_cleaned() {
    let root = root();
    let (mut harness, _) = start_harness(root.path(), "kept", "ready");
    let before = postmasters_in(root.path());
    assert_eq!(before.len(), 2);
    harness.kill_hard();
    // Longer than the watchdog hunts when it finds nothing.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(postmasters_in(root.path()), before);
    let runs = clean::runs(&Index::at(root.path().join("state"))).unwrap();
    let remains = runs[0].remains.clone().unwrap();
    assert!(remains.processes.iter().all(|process| process.kept) && remains.processes.len() > 2);
    let undone = runs[0].remove(false).unwrap();
    assert_eq!((undone.killed, undone.errors.len()), (0, 0), "{:?}", undone.errors);
    assert_eq!(postmasters_in(root.path()), before);
    let undone = runs[0].remove(true).unwrap();
    assert!(undone.killed > 2 && undone.errors.is_empty(), "{:?}", undone.errors);
    assert_eq!(servers_in(root.path()), []);
    assert_eq!(fs::read_dir(root.path().join("work")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_whole_or_none_and_leaves_fenced_servers_down() {
    let root = root();
    let lab = Lab::open(root.path(), false, LIMIT).await;
    let cluster = Arc::new(lab.up(&[spec("a", None), spec("s1", Some("a")), spec("s2", Some("a"))]).await);
    let (events, mut said) = tokio::sync::mpsc::unbounded_channel();
    let reach = Reach {
        cluster: cluster.clone(),
        manager: None,
        clock: Clock::start(),
        events,
        data: Default::default(),
        values: None,
    };
    let [a, s1, s2] = ["a", "s1", "s2"].map(|name| cluster.node(name).unwrap().clone());
    let kill = Fault::Kill(Kill { of: "@standbys".to_owned() });

    let standbys = kill.aim(&reach).await.unwrap().nodes;
    assert_eq!(standbys.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["s1", "s2"]);
    let undo = kill.inject(Aim { nodes: standbys, ..Aim::default() }, &reach).await.unwrap();
    assert!(!s1.is_running() && !s2.is_running());
    let refused = kill
        .inject(Aim { nodes: vec![a.clone(), s1.clone()], ..Aim::default() }, &reach)
        .await
        .err()
        .map(|error| error.to_string());
    assert_eq!(refused.as_deref(), Some("s1 is not running"));
    assert!(a.is_running());
    undo.undo(&reach).await.unwrap();
    assert!(s1.is_running() && s2.is_running());

    // A primary replays nothing, so the standby's replay is let go on, too.
    let pause = Fault::PauseReplay(PauseReplay { of: "@standbys".to_owned() });
    assert!(pause.inject(Aim { nodes: vec![s1.clone(), a.clone()], ..Aim::default() }, &reach).await.is_err());
    let client = connect(&s1.host, &cluster.login("test"), LIMIT).await.unwrap();
    let row = client.query_one("SELECT pg_is_wal_replay_paused()", &[]).await.unwrap();
    assert!(!row.get::<_, bool>(0));

    let undo = kill.inject(Aim { nodes: vec![a.clone()], ..Aim::default() }, &reach).await.unwrap();
    a.fence().await.unwrap();
    undo.undo(&reach).await.unwrap();
    assert!(!a.is_running());
    let event = said.try_recv().unwrap();
    assert_eq!((event.kind, event.node.as_deref()), ("fault.not_undone", Some("a")));
    assert_eq!(event.text, "left down: it was fenced");

    cluster.down().await.unwrap();
    lab.end();
}
