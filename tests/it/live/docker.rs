//! Servers in containers of a real engine: their life and death, what they may use, and what is left of them.

#![expect(clippy::unwrap_used, reason = "a test's own functions may fail it, as its body may")]

use super::fixture::not_run;
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::Inventory;
use pgbench_rs::base::units::Size;
use pgbench_rs::clean;
use pgbench_rs::clean::watchdog::Watchdog;
use pgbench_rs::driver::docker::cleanup::Kind;
use pgbench_rs::driver::docker::events::What;
use pgbench_rs::driver::docker::{ContainerServer, Dock, Docker, Engine, Image, Limits, Network};
use pgbench_rs::driver::{self, Part, Setup, Shutdown, Workplace};
use pgbench_rs::pg::conf;
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::control;
use pgbench_rs::pg::programs::Installed;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
const HOW: &str = "start a Docker engine, and make the images with .ci/images";

/// A run of its own with servers in containers, of which nothing is left when it is dropped.
struct Lab {
    root: tempfile::TempDir,
    run: String,
    index: Index,
    inventory: Arc<Inventory>,
    place: Arc<Workplace>,
    dock: Arc<Dock>,
    image: Image,
}

/// An image that is here: of the newest version that was built, or as `PGBENCH_RS_TEST_IMAGE` says, where
/// `{version}` stands for the version.
pub async fn image_here(engine: &Engine) -> Option<String> {
    let pattern = std::env::var("PGBENCH_RS_TEST_IMAGE").unwrap_or_else(|_| "pgbench-rs/postgres:{version}".to_owned());
    for version in ["17", "15", "18"] {
        let reference = pattern.replace("{version}", version);
        let listed = Command::new("docker").args(["image", "inspect", &reference]).output();
        if listed.is_ok_and(|output| output.status.success()) {
            return Some(reference);
        }
    }
    println!("no image on the engine at {}", engine.name());
    None
}

impl Lab {
    /// Absent, and said so, where there is no engine or no image.
    async fn open(what: &str, settings: Docker) -> Option<Lab> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let reference = match Engine::connect(None).await {
            Ok(engine) => image_here(&engine).await,
            Err(error) => {
                println!("{error}");
                None
            }
        };
        let Some(reference) = reference else {
            not_run(what, HOW);
            return None;
        };
        let root = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let run = format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let index = Index::at(root.path().join("state"));
        fs::create_dir_all(root.path().join("results")).unwrap();
        let inventory = Inventory::create(&index, &root.path().join("results/inventory.jsonl"), &run).unwrap();
        let setup = Setup {
            run: run.clone(),
            installed: Installed::find(&[]).expect("PostgreSQL"),
            user: driver::server_user(None, false).expect("a user for servers"),
            inventory: inventory.clone(),
            work: root.path().join("work"),
            logs: root.path().join("results/nodes"),
            start_limit: LIMIT,
            keep: false,
        };
        let place = Workplace::open(setup).await.expect("a work directory");
        let dock = Dock::open(&place, &settings).await.unwrap_or_else(|error| panic!("{error}"));
        let image = dock.image(&reference, |_| {}).await.unwrap_or_else(|error| panic!("{error}"));
        Some(Lab { root, run, index, inventory, place, dock, image })
    }

    /// A node with a cluster of its own that `initdb` has made, not started yet.
    async fn node(&self, name: &str, limits: Limits, settings: &[(&str, &str)]) -> ContainerServer {
        let (dir, data) = self.directory(name);
        let pwfile = dir.join("pwfile");
        fs::write(&pwfile, self.place.login("").password.expose()).unwrap();
        self.own(&pwfile);
        self.dock.initdb(&self.image, &pwfile, &data).await.unwrap_or_else(|error| panic!("{error}"));
        fs::remove_file(&pwfile).unwrap();
        let server = self.server(name, limits, data);
        self.configure(&server, settings);
        server
    }

    fn directory(&self, name: &str) -> (PathBuf, PathBuf) {
        let (_, dir) =
            self.inventory.directory(&self.place.dir().join(name), self.place.dir(), Some("postgres")).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).unwrap();
        let data = dir.join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        self.own(&data);
        (dir, data)
    }

    fn server(&self, name: &str, limits: Limits, data: PathBuf) -> ContainerServer {
        let logs = self.root.path().join(format!("results/nodes/{name}"));
        fs::create_dir_all(&logs).unwrap();
        ContainerServer::new(&self.dock, name, &self.image, limits, data, logs.join("postgresql.log")).unwrap()
    }

    fn configure(&self, server: &ContainerServer, settings: &[(&str, &str)]) {
        let port = server.host.port.to_string();
        let listen = if self.dock.lan.is_some() { "*" } else { "127.0.0.1" };
        let mut all = vec![
            ("listen_addresses", listen),
            ("port", &port),
            ("unix_socket_directories", ""),
            ("cluster_name", server.name()),
            ("shared_buffers", "16MB"),
            ("fsync", "off"),
        ];
        all.extend(settings);
        fs::write(server.data.join("postgresql.conf"), conf::postgresql_conf(&all)).unwrap();
        let hba = "host all all samenet scram-sha-256\nhost replication all samenet scram-sha-256\n";
        fs::write(server.data.join("pg_hba.conf"), hba).unwrap();
    }

    fn own(&self, path: &Path) {
        if let Some(user) = driver::server_user(None, false).unwrap() {
            user.own(path).unwrap();
        }
    }

    async fn client(&self, server: &ContainerServer) -> tokio_postgres::Client {
        connect(&server.host, &self.place.login("test"), LIMIT).await.expect("a connection")
    }

    /// Undoes the run and holds that nothing at all is left of it.
    async fn end(self) {
        let undone = clean::undo_own(&self.inventory);
        assert!(undone.errors.is_empty(), "{:?}", undone.errors);
        assert_eq!(self.dock.engine.labelled(&self.run).await.unwrap(), []);
        assert!(!self.place.dir().exists());
        assert!(clean::runs(&self.index).unwrap().is_empty());
    }
}

/// After a failed test.
impl Drop for Lab {
    fn drop(&mut self) {
        let _ = driver::docker::cleanup::remove(self.dock.engine.name(), &self.run);
    }
}

pub fn docker(args: &[&str]) -> String {
    let output =
        Command::new("docker").args(args).output().expect("the docker client is needed: apt-get install docker.io");
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn start(server: &ContainerServer) -> Duration {
    server.start().await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_lives_dies_and_lives_again() {
    for network in [Network::Bridge, Network::Host] {
        let settings = Docker { network, ..Docker::default() };
        let Some(lab) = Lab::open("the life of a server in a container", settings).await else { return };
        let server = lab.node("a", Limits::default(), &[]).await;
        println!("{network:?}: first start {:?}", start(&server).await);
        let client = lab.client(&server).await;
        client.batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1); CHECKPOINT").await.unwrap();
        assert!(server.start().await.unwrap_err().to_string().contains("it runs already"));

        let killed = server.kill().await.unwrap();
        println!("kill {:?}", killed.took);
        assert_eq!((killed.processes, server.is_running()), (1, false));
        assert_eq!(server.own_end(), None);
        println!("start after a kill {:?}", start(&server).await);
        let rows = lab.client(&server).await.query_one("SELECT count(*) FROM t", &[]).await.unwrap();
        assert_eq!(rows.get::<_, i64>(0), 1);

        let stopped = server.stop(Shutdown::Fast, LIMIT).await.unwrap();
        println!("stop {stopped}");
        assert!(!stopped.killed && !stopped.thawed);
        let control = control::read_control_file(&server.data).unwrap();
        assert!(control.is_shut_down(), "{control:?}");
        start(&server).await;
        let stopped = server.stop(Shutdown::Immediate, LIMIT).await.unwrap();
        assert!(!stopped.killed, "{stopped}");
        assert_eq!(control::read_control_file(&server.data).unwrap().state, "in production");

        start(&server).await;
        let proof = server.fence().await.unwrap().to_string();
        println!("{proof}");
        assert!(
            proof.starts_with("no process of `a` is left: killed, the engine says of container pgbench-rs-"),
            "{proof}"
        );
        assert!(proof.contains(": exited with status 137, after "), "{proof}");
        let again = server.fence().await.unwrap();
        assert_eq!(again.killed, 0);

        let log = fs::read_to_string(&server.log).unwrap();
        assert_eq!(log.matches("database system is ready to accept connections").count(), 4, "{log}");
        assert!(log.contains("database system is shut down\n"), "{log}");
        server.remove().await.unwrap();
        drop(server);
        lab.end().await;
    }
}

/// A primary, and a standby that streams from it.
async fn pair(lab: &Lab) -> (ContainerServer, ContainerServer) {
    let a = lab.node("a", Limits::default(), &[]).await;
    let (_, data) = lab.directory("s");
    let copied = Command::new("cp").args(["-a", "--"]).arg(a.data.join(".")).arg(&data).status().unwrap();
    assert!(copied.success());
    let s = lab.server("s", Limits::default(), data);
    lab.configure(&s, &[]);
    fs::write(s.data.join("standby.signal"), "").unwrap();
    let info = conf::conninfo(&[
        ("host", &a.host.host),
        ("user", "postgres"),
        ("passfile", &lab.place.passfile().to_string_lossy()),
        ("application_name", "s"),
    ]);
    let auto = conf::postgresql_conf(&[("primary_conninfo", info.as_str())]);
    fs::write(s.data.join("postgresql.auto.conf"), auto).unwrap();
    start(&a).await;
    lab.client(&a).await.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    start(&s).await;
    (a, s)
}

async fn count(client: &tokio_postgres::Client) -> i64 {
    client.query_one("SELECT count(*) FROM t", &[]).await.map_or(-1, |row| row.get(0))
}

async fn arrives(client: &tokio_postgres::Client, rows: i64, what: &str) {
    let began = Instant::now();
    while count(client).await != rows {
        assert!(began.elapsed() < LIMIT, "the row did not arrive: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn freezing_stops_what_it_names() {
    let Some(lab) = Lab::open("freezing servers in containers", Docker::default()).await else { return };
    let (a, s) = pair(&lab).await;
    let error = a.freeze(Part::WalReceiver).await.unwrap_err().to_string();
    assert!(error.contains("`a` has no WAL receiver"), "{error}");
    let (on_a, on_s) = (lab.client(&a).await, lab.client(&s).await);
    arrives(&on_s, 0, "the table").await;
    let mut rows = 0;
    for (server, part) in [(&a, Part::WalSenders), (&s, Part::WalReceiver)] {
        let began = Instant::now();
        assert_eq!(server.freeze(part).await.unwrap(), 1, "{part:?}");
        println!("froze {part:?} in {:?}", began.elapsed());
        on_a.execute("INSERT INTO t VALUES (0)", &[]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(count(&on_s).await, rows, "{part:?} was frozen and the row arrived");
        assert_eq!(server.thaw(part).await.unwrap(), 1, "{part:?}");
        rows += 1;
        arrives(&on_s, rows, "after the thaw").await;
    }
    assert!(a.freeze(Part::Server).await.unwrap() > 4);
    assert!(a.freeze(Part::Server).await.unwrap() > 4, "a second time does no harm");
    assert!(a.is_running() && a.state().await.unwrap().unwrap().paused);
    let silent = tokio::time::timeout(Duration::from_millis(300), count(&on_a)).await;
    assert!(silent.is_err(), "a frozen server answered");
    assert!(a.thaw(Part::Server).await.unwrap() > 4);
    assert_eq!(a.thaw(Part::Server).await.unwrap(), 0);
    arrives(&lab.client(&a).await, rows, "after the thaw of all").await;

    a.freeze(Part::Server).await.unwrap();
    let stopped = a.stop(Shutdown::Fast, LIMIT).await.unwrap();
    assert!(stopped.thawed && !stopped.killed && !a.is_running(), "{stopped}");
    start(&a).await;
    a.freeze(Part::Server).await.unwrap();
    s.freeze(Part::Server).await.unwrap();
    for server in [&a, &s] {
        let proof = server.fence().await.unwrap();
        println!("{proof}");
        assert_eq!(proof.killed, 1);
        assert!(!server.state().await.unwrap().unwrap().running);
    }
    drop((a, s));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unplugged_server_comes_back_at_its_address() {
    let Some(lab) = Lab::open("unplugging containers", Docker::default()).await else { return };
    let (a, s) = pair(&lab).await;
    let on_a = lab.client(&a).await;
    let before = a.network_namespace().await.unwrap().unwrap();
    assert!(before.exists());
    s.disconnect().await.unwrap();
    assert!(connect(&s.host, &lab.place.login("test"), Duration::from_secs(1)).await.is_err());
    on_a.execute("INSERT INTO t VALUES (0)", &[]).await.unwrap();
    s.reconnect().await.unwrap();
    arrives(&lab.client(&s).await, 1, "after it was plugged in again").await;
    s.disconnect().await.unwrap();
    s.kill().await.unwrap();
    s.reconnect().await.unwrap();
    start(&s).await;
    let addresses: Vec<String> = [&a, &s].map(|server| server.host.host.clone()).to_vec();
    assert_ne!(addresses[0], addresses[1]);
    drop((a, s));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_in_force_and_memory_that_is_used_up_is_said() {
    let Some(lab) = Lab::open("limits of containers", Docker::default()).await else { return };
    let limits = Limits { memory: Some(Size(128 << 20)), cpus: Some(0.5), shm_size: Some(Size(64 << 20)) };
    let server = lab.node("a", limits, &[]).await;
    let mut happenings = lab.dock.engine.happenings(&lab.run).await.unwrap();
    start(&server).await;
    let config = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.ShmSize}}";
    let config = docker(&["inspect", "-f", config, server.container()]);
    assert_eq!(config, "134217728 134217728 500000000 67108864");

    let client = lab.client(&server).await;
    let before = server.stats().await.unwrap();
    let began = Instant::now();
    client.batch_execute("SELECT sum(sqrt(n)) FROM generate_series(1, 3000000) n").await.unwrap();
    let (after, took) = (server.stats().await.unwrap(), began.elapsed());
    println!("{after:?}");
    let used = Duration::from_nanos(after.cpu_usage_ns.unwrap() - before.cpu_usage_ns.unwrap());
    assert!(used.as_secs_f64() < took.as_secs_f64() * 0.6 + 0.1, "{used:?} of {took:?} with half a processor");
    // Only where there is a limit are there periods. On a busy machine nobody is held, for nobody gets that far.
    assert!(after.cpu_periods.unwrap() > before.cpu_periods.unwrap());
    assert!(after.cpu_throttled_periods.is_some());
    assert_eq!(after.memory_limit_bytes, Some(128 << 20));
    assert!(after.memory_bytes.unwrap() < 128 << 20 && after.net_rx_bytes.unwrap() > 0 && after.pids.unwrap() > 4);

    let greedy = "SELECT count(*) FROM (SELECT array_agg(repeat(n::text, 20)) FROM generate_series(1, 5000000) n) x";
    client.batch_execute("SET work_mem = '1GB'").await.unwrap();
    client.batch_execute(greedy).await.expect_err("so much memory was given");
    use futures_util::StreamExt;
    let told = tokio::time::timeout(LIMIT, happenings.next()).await.expect("in time").unwrap().unwrap();
    println!("{told:?}");
    assert_eq!((told.node.as_str(), told.what), ("a", What::OutOfMemory));
    server.kill().await.unwrap();
    assert!(server.state().await.unwrap().unwrap().out_of_memory);
    assert_eq!(server.stats().await.unwrap().fields(), [], "of what does not run there is nothing to read");
    drop(server);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_said() {
    let Some(lab) = Lab::open("errors of servers in containers", Docker::default()).await else { return };
    let broken = lab.node("b", Limits::default(), &[("shared_buffers", "plenty")]).await;
    let error = broken.start().await.unwrap_err().to_string();
    assert!(error.starts_with("node `b` did not start within "), "{error}");
    assert!(error.contains("the container exited with status 1\nlog: "), "{error}");
    assert!(error.contains("invalid value for parameter \"shared_buffers\": \"plenty\""), "{error}");

    let server = lab.node("a", Limits::default(), &[]).await;
    start(&server).await;
    docker(&["kill", "-s", "SIGINT", server.container()]);
    let began = Instant::now();
    while server.own_end().is_none() {
        assert!(began.elapsed() < LIMIT, "its end was not noticed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let end = server.own_end().unwrap();
    assert!(end.starts_with("node `a`: the container exited with status 0, and nobody had told it to\nlog: "), "{end}");
    assert!(end.contains("database system is shut down"), "{end}");
    assert!(!server.is_running());

    let missing = lab.dock.image("pgbench-rs/no-such-image:1", |_| {}).await.unwrap_err().to_string();
    println!("{missing}");
    assert!(missing.contains("`pgbench-rs/no-such-image:1`") && missing.contains("\nhint: "), "{missing}");
    drop((broken, server));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_file_is_read_as_pg_controldata_reads_it() {
    let Some(lab) = Lab::open("control files of servers in containers", Docker::default()).await else { return };
    let server = lab.node("a", Limits::default(), &[]).await;
    start(&server).await;
    lab.client(&server).await.batch_execute("CREATE TABLE t (n int); SELECT pg_switch_wal()").await.unwrap();
    server.stop(Shutdown::Fast, LIMIT).await.unwrap();
    let ours = control::read_control_file(&server.data).unwrap();
    let mount = format!("{}:/d:ro", server.data.display());
    let args = ["run", "--rm", "--network=none", "--user=0", "--entrypoint=pg_controldata", "-v", &mount];
    let theirs = docker(&[&args[..], &[lab.image.reference.as_str(), "-D", "/d"]].concat());
    let field = |name: &str| {
        let line = theirs.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().trim().to_owned()
    };
    assert_eq!(ours.state, field("Database cluster state"));
    assert_eq!(ours.checkpoint.to_string(), field("Latest checkpoint location"));
    assert_eq!(ours.timeline.to_string(), field("Latest checkpoint's TimeLineID"));
    drop(server);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_bears_the_label_is_removed() {
    let Some(lab) = Lab::open("removing what a run made on an engine", Docker::default()).await else { return };
    let other = format!("bystander-{}", lab.run);
    let label = format!("pgbench-rs.run={}-other", lab.run);
    let image = lab.image.reference.clone();
    docker(&["network", "create", "--label", &label, "--subnet", "198.19.255.0/24", &other]);
    docker(&["volume", "create", "--label", &label, &other]);
    let mount = format!("{other}:/x");
    docker(&["run", "-d", "--name", &other, "--label", &label, "-v", &mount, "--entrypoint=sleep", &image, "600"]);
    docker(&["volume", "create", "--label", &format!("pgbench-rs.run={}", lab.run)]);

    let server = lab.node("a", Limits::default(), &[]).await;
    start(&server).await;
    server.freeze(Part::Server).await.unwrap();
    let engine = lab.dock.engine.clone();
    let run = lab.run.clone();
    let kinds: Vec<Kind> = engine.labelled(&run).await.unwrap().iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [Kind::Container, Kind::Network, Kind::Volume]);
    // As if the harness had been killed: its end of the watchdog's pipe closes without a farewell.
    drop(Watchdog::start(Path::new(env!("CARGO_BIN_EXE_pgbench-rs")), lab.inventory.path()).unwrap());
    let began = Instant::now();
    while server.is_running() {
        assert!(began.elapsed() < LIMIT, "the watchdog did not kill the frozen container");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("the watchdog killed it after {:?}", began.elapsed());
    assert_eq!(engine.kill_labelled(&run).await.unwrap(), 0);
    drop(server);
    lab.end().await;
    assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &other]), "true");
    docker(&["network", "inspect", &other]);
    docker(&["rm", "-f", &other]);
    docker(&["volume", "rm", &other]);
    docker(&["network", "rm", &other]);
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_said() {
    for (host, expected) in [
        ("tcp://127.0.0.1:1", "no container engine answers at tcp://127.0.0.1:1: "),
        ("unix:///nowhere/docker.sock", "no container engine answers at unix:///nowhere/docker.sock: "),
        ("ssh://nobody@127.0.0.1:1", "the container engine at ssh://nobody@127.0.0.1:1 is not reached by ssh: "),
        ("docker.sock", "`docker.sock` names no container engine"),
    ] {
        let error = Engine::connect(Some(host)).await.unwrap_err().to_string();
        println!("{error}");
        assert!(error.starts_with(expected) && error.contains("\nhint: "), "{error}");
    }
}

/// Not a test: what the test below runs as another user.
#[tokio::test]
#[ignore = "started by another test"]
async fn knocks() {
    match Engine::connect(None).await {
        Ok(_) => println!("let in"),
        Err(error) => println!("{error}"),
    }
}

#[tokio::test]
async fn a_user_who_may_not_is_told() {
    if Engine::connect(None).await.is_err() || !nix::unistd::geteuid().is_root() {
        return not_run("an engine's closed door", "start a Docker engine, and run the tests as root");
    }
    let dir = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("it");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"])
        .arg(&program)
        .args(["--exact", "live::docker::knocks", "--ignored", "--nocapture"])
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("no permission to use the container engine at "), "{said}");
    assert!(said.contains("\nhint: let this user join the group `docker`"), "{said}");
}
