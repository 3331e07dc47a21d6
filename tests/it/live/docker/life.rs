//! How servers in containers live and die, freeze, come back, and what they may use.

use super::{LIMIT, Lab, docker, start};
use pgbench_rs::base::units::Size;
use pgbench_rs::driver::docker::events::What;
use pgbench_rs::driver::docker::{ContainerServer, Docker, Limits, Network};
use pgbench_rs::driver::{Part, Shutdown};
use pgbench_rs::pg::conf;
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::control;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

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
