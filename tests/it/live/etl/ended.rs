//! Loads that are ended in the middle, from outside: what was complete stays, what was not is not there, and another load
//! goes on.
//!
//! A pipe in the place of a file holds a load where it is: it gives some rows and then no more.

use super::super::fixture::Primary;
use super::files::{Folder, LIMIT, good};
use super::{SMALL, client, lines};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, mkfifo};
use pgbench_rs::etl::imdb::Schema;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// A load by the program itself, held in the middle of title.akas.
struct Held {
    child: Child,
    /// The pipe's other end, which stays open.
    pipe: File,
}

fn program(primary: &Primary, folder: &Folder, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgbench-rs"));
    let to = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", primary.host.port);
    command.args(["load", "imdb", "--from"]).arg(folder.path()).args(["--to", &to, "--streams", "2", "--json"]);
    command.arg("--rejects").arg(folder.path().join("rejects")).args(more).stdin(Stdio::null());
    command
}

/// Starts a load and waits until only the table behind the pipe is not complete.
async fn hold(primary: &Primary, folder: &Folder, more: &[&str]) -> Held {
    fs::remove_file(folder.file("title.akas")).expect("it is there");
    mkfifo(&folder.file("title.akas"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let mut command = program(primary, folder, more);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let path = folder.file("title.akas");
    let opening = tokio::task::spawn_blocking(move || File::options().write(true).open(path));
    let mut pipe = tokio::time::timeout(LIMIT, opening).await.expect("it is read").expect("no panic").expect("a pipe");
    pipe.write_all(&Folder::bytes("title.akas", &["tt0000001\t1\thalf"; 4])[..100]).expect("it is read");
    let client = client(primary).await;
    until(&client, "SELECT count(*) = 6 FROM pgbench_rs_load WHERE is_complete").await;
    until(&client, "SELECT count(*) = 1 FROM pg_stat_progress_copy").await;
    Held { child, pipe }
}

async fn until(client: &Client, what: &str) {
    let limit = Instant::now() + LIMIT;
    // Before the first load there is no table to ask.
    while !client.query_one(what, &[]).await.is_ok_and(|row| row.get(0)) {
        assert!(Instant::now() < limit, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// With the real file in the pipe's place, another load makes what is missing, and only that.
async fn resume(primary: &Primary, folder: &Folder) {
    fs::remove_file(folder.file("title.akas")).expect("it is there");
    folder.write("title.akas", &good("title.akas"));
    let output = program(primary, folder, &["--existing", "resume"]).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let loaded: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for table in loaded["tables"].as_array().expect("tables") {
        let is_akas = table["name"] == "title_akas";
        assert_eq!((table["kept"].as_bool(), table["copy"].is_f64()), (Some(!is_akas), is_akas), "{table}");
        assert_eq!(table["rejected"], 0);
    }
    assert_eq!(lines(&client(primary).await, "title.akas", Schema::Typed).await, good("title.akas"));
}

fn ended(held: Held) -> Output {
    let Held { child, pipe } = held;
    let limit = Instant::now() + LIMIT;
    let pid = child.id();
    let watch = std::thread::spawn(move || {
        while Instant::now() < limit && kill(Pid::from_raw(pid as i32), None).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let output = child.wait_with_output().expect("it ends");
    drop(pipe);
    watch.join().expect("no panic");
    assert!(Instant::now() < limit, "it ended in time");
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_load_is_gone_on_with() {
    let primary = Primary::start(&SMALL);
    let folder = Folder::new();
    let mut held = hold(&primary, &folder, &["--server-setting", "max_wal_size=5GB"]).await;
    held.child.kill().expect("it runs");
    ended(held);
    let client = client(&primary).await;
    until(&client, "SELECT to_regclass('title_akas') IS NULL").await;
    // The dead load's setting stays until somebody takes it back, which the next load does.
    until(&client, "SELECT setting = '5120' FROM pg_settings WHERE name = 'max_wal_size'").await;
    let refused = program(&primary, &folder, &[]).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("`resume` keeps"), "{refused:?}");
    until(&client, "SELECT setting = '1024' FROM pg_settings WHERE name = 'max_wal_size'").await;
    resume(&primary, &folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_load_undoes_what_is_not_complete() {
    let primary = Primary::start(&SMALL);
    let folder = Folder::new();
    let held = hold(&primary, &folder, &["--server-setting", "max_wal_size=5GB"]).await;
    kill(Pid::from_raw(held.child.id() as i32), Signal::SIGINT).expect("it runs");
    let output = ended(held);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let client = client(&primary).await;
    let after = "SELECT to_regclass('title_akas') IS NULL AND to_regclass('pgbench_rs_load_settings') IS NULL \
                 AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'pgbench-rs%')";
    assert!(client.query_one(after, &[]).await.expect("a row").get::<_, bool>(0), "at once, not some time later");
    until(&client, "SELECT setting = '1024' FROM pg_settings WHERE name = 'max_wal_size'").await;
    resume(&primary, &folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_goes_on_after_its_server_died() {
    let mut primary = Primary::start(&SMALL);
    let folder = Folder::new();
    let held = hold(&primary, &folder, &[]).await;
    primary.kill();
    let output = ended(held);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("title_akas") && said.contains("closed"), "{said}");
    primary.start_again();
    resume(&primary, &folder).await;
}
