//! What of a server lies outside its data directory: tablespaces, WAL, configuration, an archive.

use super::super::fixture::{Primary, run};
use super::super::lab::node;
use super::lab::Lab;
use super::plain::Plain;
use pgbench_rs::clone::{Caller, Method, Order, Reach, Recipe, Source, create};
use pgbench_rs::driver::Shutdown;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn copy() -> Recipe {
    Recipe { method: Method::Copy, ..Recipe::default() }
}

/// A directory beside the nodes' own that the server's user can write to.
fn beside(lab: &Lab, name: &str) -> PathBuf {
    let path = lab.place.dir().join(name);
    fs::create_dir(&path).expect("a directory");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("chmod");
    if nix::unistd::geteuid().is_root() {
        run(Command::new("chown").arg("postgres:").arg(&path));
    }
    path
}

/// The names and contents of all files.
pub fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.push((path.clone(), fs::read(&path).expect("a file")));
        }
    }
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tablespace_outside_would_lose_its_files() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let place = beside(&lab, "tablespace");
    let client = lab.connect("a").await;
    let create = format!("CREATE TABLESPACE ts LOCATION '{}'", place.display());
    client.batch_execute(&create).await.expect("a tablespace");
    client.batch_execute("CREATE TABLE t TABLESPACE ts AS SELECT 1 AS n").await.expect("a table");
    let file: String = client.query_one("SELECT pg_relation_filepath('t')", &[]).await.expect("a row").get(0);
    let file = lab.cluster.node("a").expect("a node").dir.join(file);

    let attempt = lab.attempt(&lab.source("a"), &copy(), "c").await;
    let error = attempt.outcome.expect_err("refused").to_string();
    assert!(error.contains("the tablespace `ts`") && error.contains(&*place.to_string_lossy()), "{error}");
    assert!(file.exists());

    let data = lab.plain_copy("a").await;
    let plain = Plain::start(&data, lab.cluster.login("test"), &[]).await.unwrap_or_else(|said| panic!("{said}"));
    plain.connect().await.batch_execute("DROP TABLE t; CHECKPOINT").await.expect("dropped in the copy");
    drop(plain);
    assert!(!file.exists() || fs::metadata(&file).expect("its size").len() == 0, "the harm did not happen");
    assert!(client.query_one("SELECT n FROM t", &[]).await.is_err() || !file.exists());
    drop(client);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wal_outside_would_be_overwritten() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let source_node = lab.cluster.node("a").expect("a node").clone();
    source_node.stop(Shutdown::Fast, Duration::from_secs(60)).await.expect("stopped");
    let (inside, outside) = (source_node.dir.join("pg_wal"), lab.place.dir().join("wal"));
    run(Command::new("mv").arg(&inside).arg(&outside));
    symlink(&outside, &inside).expect("a link");
    source_node.start().await.unwrap_or_else(|error| panic!("{error}"));

    for recipe in [copy(), Recipe { method: Method::Auto, ..copy() }] {
        let error = lab.attempt(&lab.source("a"), &recipe, "c").await.outcome.expect_err("refused").to_string();
        assert!(error.contains("pg_wal of") && error.contains(&*outside.to_string_lossy()), "{error}");
        assert!(error.contains("hint: put the WAL into the data directory"), "{error}");
    }
    // pg_basebackup fetches the WAL from the server, and makes a directory of it.
    let clone = lab.clone(&lab.source("a"), &Recipe { method: Method::Basebackup, ..copy() }, "c").await;
    assert!(clone.data().join("pg_wal").symlink_metadata().expect("it is there").is_dir());
    let before = contents(&outside);
    let client = clone.connect(None).await.unwrap_or_else(|error| panic!("{error}"));
    client.batch_execute("CREATE TABLE t AS SELECT generate_series(1, 10000) AS n").await.expect("writes");
    drop(client);
    assert!(clone.destroy().await.left.is_empty());
    assert!(contents(&outside) == before, "a clone wrote to the source's WAL");

    source_node.stop(Shutdown::Fast, Duration::from_secs(60)).await.expect("stopped");
    let before = contents(&outside);
    let data = lab.plain_copy("a").await;
    let plain = Plain::start(&data, lab.cluster.login("test"), &[]).await.unwrap_or_else(|said| panic!("{said}"));
    plain
        .connect()
        .await
        .batch_execute("CREATE TABLE t AS SELECT generate_series(1, 10000) AS n")
        .await
        .expect("writes");
    drop(plain);
    assert!(contents(&outside) != before, "the harm did not happen");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_would_archive_over_the_sources_archive() {
    let root = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").expect("a directory");
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let archive = format!("cp %p {}/%f", root.path().display());
    let settings = [("archive_mode", "on"), ("archive_command", &*archive)];
    let lab = Lab::start(|make| vec![node(make, "a", None, &settings)]).await;
    let files = || contents(root.path());
    let client = lab.connect("a").await;
    let switch = "CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t VALUES (1); SELECT pg_switch_wal()";
    client.batch_execute(switch).await.expect("a switch");
    wait("the source archives", || files().len() == 1).await;
    let data = lab.plain_copy("a").await;
    let before = files();

    let clone = lab.clone(&lab.source("a"), &copy(), "c").await;
    assert!(clone_says(&clone, "SHOW archive_mode").await == "off");
    // Under the backup interface the source itself has ended a segment.
    wait("the source archives", || files().len() > before.len()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let archived = files();
    let connected = clone.connect(None).await.unwrap_or_else(|error| panic!("{error}"));
    connected.batch_execute(switch).await.expect("a switch");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(files() == archived, "the clone archived");
    drop(connected);
    assert!(clone.destroy().await.left.is_empty());

    // The copy was made before: its next segment has a name under which the source has archived another one.
    let plain = Plain::start(&data, lab.cluster.login("test"), &[]).await.unwrap_or_else(|said| panic!("{said}"));
    plain.connect().await.batch_execute(switch).await.expect("a switch");
    let replaced = || files().iter().any(|(name, bytes)| archived.iter().any(|(n, b)| n == name && b != bytes));
    wait("the harm", replaced).await;
    drop((plain, client));
    lab.end().await;
}

/// As Debian has it: no configuration in the data directory, and a process id file beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configuration_outside_is_not_needed_and_not_used() {
    let outside = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").expect("a directory");
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let at = |name: &str| outside.path().join(name);
    let setting = |name: &str, file: &str| format!("{name}={}", at(file).display());
    let pidfile = setting("external_pid_file", "main.pid");
    let (conf, hba) = (setting("config_file", "postgresql.conf"), setting("hba_file", "pg_hba.conf"));
    let ident = setting("ident_file", "pg_ident.conf");
    let primary = Primary::start_with(&[&conf, &hba, &ident, &pidfile, "work_mem=12MB"], |data| {
        for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
            run(Command::new("mv").arg(data.join(name)).arg(at(name)));
        }
    });
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let source = Source::running("debian", &primary.data(), primary.host.clone(), primary.login("test"));
    let source = Arc::new(source.unwrap_or_else(|error| panic!("{error}")));
    let pid = fs::read_to_string(at("main.pid")).expect("a process id");

    let order = Order { reach: Reach::Socket, ..lab.order("c") };
    let attempt = create(&lab.place, &source, &copy(), order, Caller::default()).await;
    let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(clone_says(&clone, "SHOW config_file").await, clone.data().join("postgresql.conf").to_string_lossy());
    assert_eq!(clone_says(&clone, "SHOW hba_file").await, clone.data().join("pg_hba.conf").to_string_lossy());
    // By which queries are planned: that is the source's.
    assert_eq!(clone_says(&clone, "SHOW work_mem").await, "12MB");
    assert!(clone.host().host.starts_with(&*clone.home().to_string_lossy()), "not by its socket: {:?}", clone.host());
    assert_eq!(fs::read_to_string(at("main.pid")).expect("a process id"), pid);
    assert!(clone.destroy().await.left.is_empty());
    assert_eq!(fs::read_to_string(at("main.pid")).expect("a process id"), pid);

    let data = lab.place.dir().join("plain");
    run(Command::new("cp").arg("-a").arg(primary.data()).arg(&data));
    let said = Plain::start(&data, primary.login("test"), &[]).await.err().expect("the harm did not happen");
    assert!(said.contains("could not access the server configuration file"), "{said}");
    // With the configuration of the source it takes the source's file for its own.
    let plain = Plain::start(&data, primary.login("test"), &[&conf, &hba, &ident, &pidfile]).await;
    assert!(plain.is_ok() && fs::read_to_string(at("main.pid")).expect("a process id") != pid);
    drop((plain, primary));
    lab.end().await;
}

pub async fn clone_says(clone: &pgbench_rs::clone::ThinClone, question: &str) -> String {
    let client = clone.connect(None).await.unwrap_or_else(|error| panic!("{error}"));
    client.query_one(question, &[]).await.expect("a row").get(0)
}

pub async fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < super::super::lab::LIMIT, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
